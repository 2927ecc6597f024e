"""From rules and scopes to what is changed on the host, and what a request has to say then."""

from __future__ import annotations

import posixpath
import re
import secrets
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urlsplit

from wpaudit.domain import Exemption
from wpaudit.domain import Request
from wpaudit.errors import ModeUnavailable
from wpaudit.firewalls.modsecurity.exceptions import Stands
from wpaudit.firewalls.modsecurity.exceptions import is_plain
from wpaudit.firewalls.modsecurity.exceptions import remedies
from wpaudit.firewalls.modsecurity.harness import Target
from wpaudit.firewalls.modsecurity.harness import free_ids
from wpaudit.firewalls.modsecurity.harness import harness
from wpaudit.firewalls.modsecurity.harness import ids_needed
from wpaudit.firewalls.modsecurity.lines import Hit
from wpaudit.firewalls.modsecurity.scopes import Configuration
from wpaudit.firewalls.modsecurity.scopes import Form
from wpaudit.firewalls.modsecurity.scopes import Found
from wpaudit.firewalls.modsecurity.scopes import Place
from wpaudit.firewalls.modsecurity.scopes import chain
from wpaudit.firewalls.modsecurity.scopes import ends
from wpaudit.firewalls.modsecurity.scopes import places
from wpaudit.firewalls.modsecurity.seclang import Engine
from wpaudit.firewalls.reading import HostFile
from wpaudit.firewalls.reading import State
from wpaudit.firewalls.serverconf import Addition
from wpaudit.firewalls.serverconf import Change
from wpaudit.firewalls.serverconf import Edit
from wpaudit.firewalls.serverconf import beside
from wpaudit.firewalls.serverconf import new_word

MOST_TARGETS = 40
MOST_PATHS = 5
OWN_IDS = 200      # set apart for exceptions: those in the harness, and those that people are told to paste
LONGEST = 7_000    # bytes of the header that names rules; nginx and Apache take 8 KiB (large_client_header_buffers)
_NGINX_RULES = re.compile(r'[ \t]*modsecurity_rules\b')


@dataclass(frozen=True)
class Loaded:
    """What is loaded for one site: for each server the scopes that are asked, with what the engine has there."""

    servers: tuple[tuple[Configuration, Mapping[int, Found]], ...] = ()
    others: bool = False  # no server is said to be this site's, so these are only shown

    @property
    def found(self) -> tuple[Found, ...]:
        """What the engines have loaded."""
        return tuple(one for _, scopes in self.servers for one in scopes.values())

    @cached_property
    def ids(self) -> tuple[int, ...]:
        """The suspects, each once."""
        return tuple(dict.fromkeys(rule.id for one in self.found for rule in one.suspects))

    def free(self, count: int) -> int:
        """Return the first of so many ids in a row that nothing uses."""
        taken = {rule.id for one in self.found for rule in one.rules.rules}
        return free_ids(count, taken, [pair for one in self.found for pair in one.rules.removals])


@dataclass(frozen=True)
class Plan:
    """A change, and what goes with it. ``word`` proves the right to name rules; the host has its hash."""

    change: Change
    word: str
    targets: tuple[Target, ...]
    first_own: int


def fitting(ids: Sequence[int]) -> frozenset[int]:
    """Return those of the rules that one header can name together, the first ones."""
    size = 0
    kept = []
    for one in ids:
        size += len(str(one)) + 1
        if size < LONGEST:
            kept.append(one)
    return frozenset(kept)


def paths_of(requests: Sequence[Request]) -> tuple[str, ...]:
    """Return the paths that the probes ask for."""
    return tuple(dict.fromkeys(urlsplit(one.url).path or '/' for one in requests))


def planned(loaded: Loaded, hits: Sequence[Hit], *, expires: int) -> Plan:
    """Return the harness in all places of a site's scopes. Raises ModeUnavailable."""
    rules = tuple(one for one in loaded.ids if one in fitting(loaded.ids))
    pairs = dict.fromkeys((hit.rule, hit.variable) for hit in hits if hit.rule in rules and is_plain(hit.variable))
    standing = [(one, place) for one, scopes in loaded.servers for place in places(one, list(scopes))]
    count = min(len(pairs), MOST_TARGETS)
    needed = ids_needed(len(rules) + count)
    first = loaded.free(OWN_IDS + len(standing) * needed)
    targets = tuple(Target(first + at, *pair) for at, pair in enumerate(list(pairs)[:count]))
    word = secrets.token_hex(16)
    texts = [harness(rules, word, expires, targets=targets, first_id=first + OWN_IDS + at * needed)
             for at in range(len(standing))]
    return Plan(_change(standing, texts), word, targets, first + count)


def planned_live(loaded: Loaded) -> Change:
    """Return empty files of ours at the end of all scopes, for lines that take rules out. Raises ModeUnavailable."""
    standing = [
        (one, place) for one, scopes in loaded.servers
        for place in (ends if one.engine is Engine.V2 else places)(one, list(scopes))
    ]
    return _change(standing, [live_text(())] * len(standing))


def live_text(off: Sequence[int]) -> str:
    """Return what takes these rules out for everybody."""
    return ''.join(f'SecRuleRemoveById {one}\n' for one in off) or '# no rule is off\n'


def _change(standing: Sequence[tuple[Configuration, Place]], texts: Sequence[str]) -> Change:
    word = new_word()
    lines: dict[str, dict[int, list[str]]] = {}  # by real path, then by line
    files: dict[str, HostFile] = {}
    additions = []
    for number, ((configuration, place), text) in enumerate(zip(standing, texts, strict=True)):
        file = _file(configuration, place)
        files[file.real] = file
        addition = Addition(posixpath.join(beside(file.real, word), f'rules-{number}'), text)
        try:
            line = place.text(addition.path)
        except ValueError as error:
            raise ModeUnavailable(f'{addition.path} has a name that no server could be told') from error
        lines.setdefault(file.real, {}).setdefault(place.line, []).append(line)
        additions.append(addition)
    edits = tuple(Edit(path, files[path].text, with_lines(files[path].text, added)) for path, added in lines.items())
    if not edits:
        raise ModeUnavailable('there is no place for what would switch rules of ModSecurity')
    return Change(tuple(dict.fromkeys(one.path for one, _ in standing)), edits, tuple(additions), word)


def _file(configuration: Configuration, place: Place) -> HostFile:
    file = configuration.files.get(place.path)
    if file is None or file.state is not State.FILE or file.cut or not file.real:
        raise ModeUnavailable(f'{place.path} could not be read whole, and what switches rules would stand in it')
    if place.form is Form.NGINX:
        line = file.text.split('\n')[place.line - 1:place.line]
        if not line or not _NGINX_RULES.match(line[0]):
            raise ModeUnavailable(
                f'{place.path}:{place.line}: modsecurity_rules shares its line with something else, so nothing can be '
                'put before it: give it a line of its own')
    return file


def with_lines(text: str, added: Mapping[int, Sequence[str]]) -> str:
    """Return the text with whole lines put before some of its lines (numbers from 1); what is there stays as it is."""
    lines = [f'{line}\n' for line in text.split('\n')]
    lines[-1] = lines[-1][:-1]
    for number in sorted(added, reverse=True):
        at = min(number - 1, len(lines))
        if at == len(lines) and lines[-1] and not lines[-1].endswith('\n'):
            lines[-1] += '\n'
        lines[at:at] = added[number]
    return ''.join(lines)


# -- exceptions ---------------------------------------------------------------------------------------

def exemptions(plan: Plan, loaded: Loaded, rules: frozenset[str], paths: Sequence[str]) -> tuple[Exemption, ...]:
    """Return what is narrower than to switch these rules off, for each rule the narrowest first.

    The second of a rule bears its own id: the probes ask for these paths and for no others, so that it is enough has
    been seen already.
    """
    found = []
    own_id = plan.first_own
    for rule in sorted(one for one in loaded.ids if str(one) in rules):
        for number, variable in [(one.number, one.variable) for one in plan.targets if one.rule == rule] + [(rule, '')]:
            every = [remedies(rule, path=path, variable=variable, own_id=own_id + at)
                     for at, path in enumerate(paths[:MOST_PATHS])]
            own_id += len(paths)
            narrow = [one[0] for one in every if len(one) > 1]
            if len(narrow) == len(paths) and own_id < plan.first_own + OWN_IDS - MOST_TARGETS:
                where = place_for(loaded, rule)
                found.append(Exemption(
                    str(number), str(rule), '; '.join(one.effect for one in narrow),
                    tuple(f'{where} {written(one.text, loaded, rule)}' for one in narrow)))
    return tuple(found)


def place_for(loaded: Loaded, rule: int, stands: Stands = Stands.BEFORE) -> str:
    """Say where a line has to stand that is read before a rule, or behind it."""
    place = _place(loaded, rule)
    if place is None:
        return f'{stands}:'
    if stands is Stands.BEFORE:
        return f'in {place.path}, before line {place.line}:'
    return f'in {place.path}, as its last line:'


def written(text: str, loaded: Loaded, rule: int) -> str:
    """Return a line as it has to be written there: nginx takes rules between quotes."""
    place = _place(loaded, rule)
    return f"modsecurity_rules '{text}';" if place is not None and place.form is Form.NGINX else text


def _place(loaded: Loaded, rule: int) -> Place | None:
    """Return the place before the rules of the scope in which a rule stands: what is put there is for no other site."""
    for configuration, scopes in loaded.servers:
        for index, found in scopes.items():
            stands = next(((one.path, one.first) for one in found.suspects if one.id == rule), None)
            outwards = chain(configuration, index) if stands else []
            own = [one for one in outwards if any(
                (each.path, each.piece.first) == stands for each in configuration.scopes[one].own)]
            around = chain(configuration, own[0]) if own else []
            place = next((place for one in around for place in configuration.scopes[one].places), None)
            if place is not None:
                return place
    return None
