"""ModSecurity as a layer: its rules as suspects."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import replace

from wpaudit.domain import Evidence
from wpaudit.domain import Gap
from wpaudit.domain import Kind
from wpaudit.domain import Mode
from wpaudit.domain import Suspect
from wpaudit.errors import CommandTimeout
from wpaudit.errors import ModeUnavailable
from wpaudit.firewalls.modsecurity.apache import apache_configuration
from wpaudit.firewalls.modsecurity.apache import server_root
from wpaudit.firewalls.modsecurity.exceptions import remedies
from wpaudit.firewalls.modsecurity.files import distinct
from wpaudit.firewalls.modsecurity.files import for_user
from wpaudit.firewalls.modsecurity.harness import request_headers
from wpaudit.firewalls.modsecurity.lines import Hit
from wpaudit.firewalls.modsecurity.logs import accused
from wpaudit.firewalls.modsecurity.logs import evidence
from wpaudit.firewalls.modsecurity.logs import logs_of
from wpaudit.firewalls.modsecurity.logs import tails
from wpaudit.firewalls.modsecurity.nginx import nginx_configuration
from wpaudit.firewalls.modsecurity.planning import Loaded
from wpaudit.firewalls.modsecurity.planning import exemptions
from wpaudit.firewalls.modsecurity.planning import fitting
from wpaudit.firewalls.modsecurity.planning import live_text
from wpaudit.firewalls.modsecurity.planning import paths_of
from wpaudit.firewalls.modsecurity.planning import place_for
from wpaudit.firewalls.modsecurity.planning import planned
from wpaudit.firewalls.modsecurity.planning import planned_live
from wpaudit.firewalls.modsecurity.planning import written
from wpaudit.firewalls.modsecurity.rules import Rule
from wpaudit.firewalls.modsecurity.running import WebServer
from wpaudit.firewalls.modsecurity.running import web_servers
from wpaudit.firewalls.modsecurity.scopes import Configuration
from wpaudit.firewalls.modsecurity.scopes import Found
from wpaudit.firewalls.modsecurity.scopes import concerned
from wpaudit.firewalls.modsecurity.scopes import found_in
from wpaudit.firewalls.modsecurity.seclang import Engine
from wpaudit.firewalls.reading import Garbled
from wpaudit.firewalls.serverconf import obstacle
from wpaudit.firewalls.serverconf import reader
from wpaudit.firewalls.serverconf import reconfigured
from wpaudit.firewalls.serverconf import renew
from wpaudit.firewalls.switching import Fields
from wpaudit.firewalls.switching import recovered
from wpaudit.firewalls.warden import Done
from wpaudit.ports import Ground
from wpaudit.ports import Layer
from wpaudit.ports import Shell
from wpaudit.ports import Switcher

LAYER = 'modsecurity'
LONGEST_NAME = 300  # characters of a message
MARGIN = 120        # seconds after its run at which a harness that was left does nothing any more
_OTHERS = 'nothing says that the server which has loaded it serves this site, so it is left alone'
_TOO_MANY = 'there are more rules than one header field can name'


class ModSecurity:
    """``ports.Layer`` for the rules that the host's nginx and Apache have loaded for one site.

    Configurations and logs are read once: a harness is for what was listed, and what it makes others log is no
    evidence.
    """

    name = LAYER

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._read: tuple[Loaded, tuple[Gap, ...]] | None = None
        self._logged: tuple[tuple[Hit, ...], tuple[Gap, ...]] | None = None

    def listing(self) -> tuple[tuple[Suspect, ...], tuple[Gap, ...]]:
        """List the rules that may block a request to this site, each id once, and what could not be read."""
        try:
            loaded, gaps = self._loaded()
        except (CommandTimeout, Garbled) as error:
            return (), (Gap('rules of ModSecurity', error.message),)
        kept, stuck = fitting(loaded.ids), self._obstacle(loaded)
        return tuple(
            replace(one, stuck=stuck, live_only='' if int(one.id) in kept else _TOO_MANY)
            for one in suspects(loaded.found)), gaps

    def evidence(self) -> tuple[tuple[Evidence, ...], tuple[Gap, ...]]:
        """Say which rules the newest request to the probes' paths has hit, as far as logs can be read."""
        loaded, _ = self._loaded()
        hits, gaps = self._hits()
        return evidence(hits, loaded.ids), gaps

    @contextmanager
    def switching(self, mode: Mode) -> Iterator[Switcher]:
        """Hold what switches rules in the configuration of every server that has loaded them for this site.

        For single requests a harness says which rules are off for whom, and the servers read it once; live, for
        everybody, they read anew which rules are out at each switch. Raises ModeUnavailable, with all as it was.
        """
        loaded, _ = self._loaded()
        if mode is Mode.LIVE:
            with self._live(loaded) as switcher:
                yield switcher
            return
        expires = _now(self._ground.shell) + int(self._ground.seconds) + MARGIN
        hits, _ = self._hits()
        plan = planned(loaded, hits, expires=expires)
        with reconfigured(self._ground, kept_as(self._ground), plan.change) as (_, make):
            yield make(
                mode, lambda off: request_headers(sorted(int(one) for one in off), plan.word), parallel=True,
                exempting=lambda rules: exemptions(plan, loaded, rules, paths_of(self._ground.requests)),
            )

    @contextmanager
    def _live(self, loaded: Loaded) -> Iterator[Switcher]:
        change = planned_live(loaded)
        now: frozenset[str] = frozenset()
        with reconfigured(self._ground, kept_as(self._ground), change) as (warden, make):

            def hold(off: frozenset[str]) -> Fields:
                nonlocal now
                if off != now:
                    text = live_text(sorted(int(one) for one in off))
                    renew(warden, [replace(one, text=text) for one in change.additions])
                    now = off
                return ()

            yield make(Mode.LIVE, hold, parallel=False)

    def _obstacle(self, loaded: Loaded) -> str:
        """Say why none of the rules can be switched, '' when they can."""
        if not loaded.ids:
            return ''
        if loaded.others:
            return _OTHERS
        try:
            planned(loaded, (), expires=1)
        except ModeUnavailable as error:
            return error.message
        return obstacle(self._ground, [one.path for one, _ in loaded.servers])

    def _loaded(self) -> tuple[Loaded, tuple[Gap, ...]]:
        if self._read is None:
            shell = reader(self._ground)
            configurations, gaps = read(shell)
            if any('u:USER:' in gap.why for gap in gaps):
                gaps = for_user(gaps, _login(shell))
            loaded = loaded_for(configurations, self._ground.path, self._ground.url)
            self._read = loaded, (*gaps, *_idle(loaded.found))
        return self._read

    def _hits(self) -> tuple[tuple[Hit, ...], tuple[Gap, ...]]:
        if self._logged is None:
            loaded, _ = self._loaded()
            paths: dict[str, None] = {}
            gaps: list[Gap] = []
            for configuration, scopes in loaded.servers:
                files, missing = logs_of(configuration, list(scopes))
                paths |= dict.fromkeys(files)
                gaps += missing
            try:
                found = tails(reader(self._ground), list(paths))
            except (CommandTimeout, Garbled) as error:  # they only order the search
                self._logged = (), (Gap('logs of ModSecurity', error.message),)
                return self._logged
            rules = [rule for one in loaded.found for rule in one.rules.rules]
            hits = accused(found.texts.values(), found.now, rules, paths_of(self._ground.requests))
            self._logged = hits, (*gaps, *found.gaps)
        return self._logged


def layer_of(ground: Ground) -> Layer:
    """Return the layer of one site."""
    return ModSecurity(ground)


def restored(ground: Ground) -> Done | None:
    """Put back what an interrupted run left for this site; None when it left nothing. Raises SiteBusy."""
    return recovered(ground, kept_as(ground))


def advice(ground: Ground, rule: Suspect, path: str) -> tuple[str, ...]:
    """Return what to paste so that ``path`` of the site passes one rule, the narrowest first; nobody has tried it."""
    loaded = loaded_for(read(reader(ground))[0], ground.path, ground.url)
    found = remedies(int(rule.id), path=path, variable='', own_id=loaded.free(1))
    return tuple(
        f'{place_for(loaded, int(rule.id), one.stands)} {written(one.text, loaded, int(rule.id))}; then {one.effect}'
        for one in found)


def kept_as(ground: Ground) -> str:
    """Return the last words of the warden's directory: one for each site."""
    digest = hashlib.sha256(posixpath.normpath(ground.path).encode('utf-8', 'surrogateescape')).hexdigest()[:12]
    return f'{LAYER}-{digest}'


def loaded_for(configurations: Sequence[Configuration], path: str, url: str) -> Loaded:
    """Return what is loaded for a site; where no server is said to be this site's, what is loaded at all."""
    chosen = [(one, concerned(one, path, url)) for one in configurations]
    others = not any(indices for _, indices in chosen)
    if others:
        chosen = [(one, tuple(range(len(one.scopes)))) for one in configurations]
    found = [(one, {index: found_in(one, index) for index in indices}) for one, indices in chosen]
    kept = tuple((one, scopes) for one, scopes in found if any(each.rules.rules for each in scopes.values()))
    return Loaded(kept, others)


def _now(shell: Shell) -> int:
    said = shell.run(['date', '+%s'], timeout=30).stdout.split()[-1:]
    if not said or not said[0].isdigit():
        raise ModeUnavailable('the host does not say what time it is')
    return int(said[0])


def read(shell: Shell) -> tuple[tuple[Configuration, ...], tuple[Gap, ...]]:
    """Return the configurations of the web servers that run on a host, and what could not be read of them."""
    configurations: list[Configuration] = []
    gaps: list[Gap] = []
    for server in web_servers(shell):
        configuration, missing = _read_one(shell, server)
        configurations.append(configuration)
        gaps += missing
    return tuple(configurations), distinct(gaps)


def _read_one(shell: Shell, server: WebServer) -> tuple[Configuration, tuple[Gap, ...]]:
    if server.engine is Engine.V2:
        return apache_configuration(shell, server.path, server.root or server_root(server.path))
    return nginx_configuration(shell, server.path)


def suspects(found: tuple[Found, ...]) -> tuple[Suspect, ...]:
    """Return the rules as suspects. One that several servers or hosts load is one suspect: ids are what is switched."""
    rules: dict[int, Rule] = {}
    for one in found:
        for rule in one.suspects:
            rules.setdefault(rule.id, rule)
    return tuple(
        Suspect(
            str(rule.id), Kind.RULE, rule.msg[:LONGEST_NAME], layer=LAYER, where=f'{rule.path}:{rule.first}',
            details=_details(rule),
        )
        for rule in rules.values()
    )


def _details(rule: Rule) -> tuple[tuple[str, str], ...]:
    found = (('phase', str(rule.phase)), ('tags', ', '.join(rule.tags)[:LONGEST_NAME]))
    return tuple((name, text) for name, text in found if text)


def _idle(found: tuple[Found, ...]) -> tuple[Gap, ...]:
    """Say where rules are loaded that cannot block anything."""
    if any(one.enforced for one in found):
        return ()
    return distinct(
        Gap('rules of ModSecurity', f'they block nothing, so none is listed: {_why(one)}')
        for one in found if one.rules.rules
    )


def _why(one: Found) -> str:
    if one.mode == 'on':
        return 'nginx has `modsecurity off` where they are'
    return f'SecRuleEngine is {one.mode} in {one.mode_at}' if one.mode_at else 'SecRuleEngine is nowhere on'


def _login(shell: Shell) -> str:
    name = shell.run(['id', '-un'], timeout=30).stdout.decode('utf-8', 'replace').strip()
    return name if name.replace('-', '').replace('_', '').replace('.', '').isalnum() else 'USER'
