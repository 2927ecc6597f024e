"""Have the rules of a site's files switched: what is put in place of ``.htaccess`` and of the server's own files.

The two are changed by different users and in different ways, each with a way back of its own: ``.htaccess`` by the
site's owner through ``swap``, the configuration by whoever runs the server through ``serverconf``, which reloads it.
"""

from __future__ import annotations

import hashlib
import posixpath
import secrets
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import ExitStack
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import replace

from wpaudit.domain import Exemption
from wpaudit.domain import Mode
from wpaudit.domain import Restoration
from wpaudit.errors import ModeUnavailable
from wpaudit.firewalls.acting import Acting
from wpaudit.firewalls.apache.finding import LAYER
from wpaudit.firewalls.apache.planning import RuleFile
from wpaudit.firewalls.apache.planning import live
from wpaudit.firewalls.apache.planning import live_files
from wpaudit.firewalls.apache.planning import planned
from wpaudit.firewalls.apache.swap import Change
from wpaudit.firewalls.apache.swap import Turning
from wpaudit.firewalls.apache.swap import keeping
from wpaudit.firewalls.apache.swap import swap
from wpaudit.firewalls.apache.units import Key
from wpaudit.firewalls.reading import State
from wpaudit.firewalls.reading import read_files
from wpaudit.firewalls.serverconf import Addition
from wpaudit.firewalls.serverconf import Change as Reconfiguration
from wpaudit.firewalls.serverconf import Edit
from wpaudit.firewalls.serverconf import beside
from wpaudit.firewalls.serverconf import merged
from wpaudit.firewalls.serverconf import new_word
from wpaudit.firewalls.serverconf import reader
from wpaudit.firewalls.serverconf import reconfigured
from wpaudit.firewalls.serverconf import renew
from wpaudit.firewalls.switching import Fields
from wpaudit.firewalls.switching import RuleStep
from wpaudit.firewalls.switching import RuleSwitcher
from wpaudit.firewalls.switching import warded
from wpaudit.ports import Ground
from wpaudit.ports import Switcher
from wpaudit.signals import shielded

SERVER = 'apache'  # names the directory of the warden that keeps the server's own files
_STRANGE = '*?[]"\\\n'  # would mean something in an Include


@dataclass(frozen=True)
class Plan:
    """What a run has put in place. ``hold`` makes rules be off and returns the fields of a probe."""

    mode: Mode
    files: Sequence[RuleFile]
    changes: Sequence[Change]
    expires: str
    fields: Callable[[frozenset[str]], Fields]

    def of(self, *, server: bool) -> list[Change]:
        """Return the changes of one kind of file."""
        paths = {file.path for file in self.files if file.server is server}
        return [one for one in self.changes if one.path in paths]

    def texts(self, off: frozenset[str]) -> dict[str, str]:
        """Return what a live set puts in place, by path."""
        return live(self.files, off, self.expires)


def plan_for(files: Sequence[RuleFile], mode: Mode, expires: str, *, header: str, off: str) -> Plan:
    """Say what a run in this mode puts in place first. A live one begins with texts that mean what the old ones do."""
    if mode is Mode.LIVE:
        return Plan(mode, files, live_files(files), expires, lambda _: ())
    key = Key(secrets.token_hex(16), expires, header, off)
    found = planned(files, key)
    return Plan(mode, files, found.changes, expires, lambda rules: key.headers(found.numbers[one] for one in rules))


@contextmanager
def harnessed(ground: Ground, plan: Plan) -> Iterator[Switcher]:
    """Put a plan in place, until the exit. Raises ModeUnavailable, with every file as it was, when that cannot be."""
    with ExitStack() as stack:
        parts = []
        if plan.of(server=True):
            parts.append(stack.enter_context(_reloaded(ground, plan)))
        if plan.of(server=False) or not parts:
            parts.append(stack.enter_context(_swapped(ground, plan)))
        yield parts[0] if len(parts) == 1 else Both(parts)


def owned(ground: Ground) -> Ground:
    """Return the ground as the site's owner has it."""
    return replace(ground, shell=Acting(ground.shell, ground.become))


def kept_as(ground: Ground, name: str = LAYER) -> str:
    """Return the last words of a warden's directory: one for each site, even where a server has several."""
    digest = hashlib.sha256(posixpath.normpath(ground.path).encode('utf-8', 'surrogateescape')).hexdigest()[:12]
    return f'{name}-{digest}'


@contextmanager
def _swapped(ground: Ground, plan: Plan) -> Iterator[RuleSwitcher]:
    ground, changes = owned(ground), plan.of(server=False)
    with warded(ground, kept_as(ground), lambda _directory: keeping(changes)) as (warden, make):
        if plan.mode is Mode.ISOLATED:
            with shielded():
                swap(warden, changes, root=ground.path, url=ground.url)
            yield make(plan.mode, plan.fields, parallel=True)
            return
        with shielded():
            turning = Turning(warden, changes, root=ground.path, url=ground.url)

        def hold(off: frozenset[str]) -> Fields:
            turning.to(plan.texts(off), plan.expires)
            return ()

        yield make(plan.mode, hold, parallel=False)


@contextmanager
def _reloaded(ground: Ground, plan: Plan) -> Iterator[RuleSwitcher]:
    """Lines that another layer of the run has put into the same files since they were read stay where they are."""
    changes = plan.of(server=True)
    files = {file.path: file for file in plan.files}
    servers = tuple(dict.fromkeys(server for one in changes for server in files[one.path].servers))
    current = _current(ground, [files[one.path].real for one in changes])
    there = {one.path: current[files[one.path].real] for one in changes}
    word, name = new_word(), kept_as(ground, SERVER)
    if plan.mode is Mode.ISOLATED:
        edits = tuple(
            Edit(files[one.path].real, there[one.path], merged(one.old, one.new, there[one.path])) for one in changes)
        with reconfigured(ground, name, Reconfiguration(servers, edits, word=word)) as (_, make):
            yield make(plan.mode, plan.fields, parallel=True)
        return
    ours = {one.path: _included(files[one.path].real, word, number) for number, one in enumerate(changes)}
    edits = tuple(Edit(files[one.path].real, there[one.path], f'Include "{ours[one.path]}"\n') for one in changes)
    texts = {one.path: merged(one.old, one.new, there[one.path]) for one in changes}
    additions = tuple(Addition(ours[path], text) for path, text in texts.items())
    with reconfigured(ground, name, Reconfiguration(servers, edits, additions, word)) as (warden, make):

        def hold(off: frozenset[str]) -> Fields:
            found = plan.texts(off)
            wanted = {one.path: merged(one.old, found.get(one.path, one.old), there[one.path]) for one in changes}
            anew = [Addition(ours[path], text) for path, text in wanted.items() if text != texts[path]]
            if anew:
                renew(warden, anew)
                texts.update(wanted)
            return ()

        yield make(plan.mode, hold, parallel=False)


def _current(ground: Ground, paths: Sequence[str]) -> dict[str, str]:
    """Return the texts of files as they are now, read as root where that may be."""
    found = read_files(reader(ground), paths)
    lost = [path for path in paths if found[path].state is not State.FILE or found[path].cut]
    if lost:
        raise ModeUnavailable(f'{lost[0]} can no longer be read')
    return {path: found[path].text for path in paths}


def _included(path: str, word: str, number: int) -> str:
    """Return where the text stands that a file includes while it is switched live."""
    found = f'{beside(path, word)}/{SERVER}-{number}'
    if set(found) & set(_STRANGE):
        raise ModeUnavailable(f'{path} has a name that no Include can spell, so it is not switched for everybody')
    return found


class Both:
    """Several switchers as one, each with its own files."""

    records = False
    certain = False

    def __init__(self, parts: Sequence[RuleSwitcher]) -> None:
        self._parts = parts
        self.mode = parts[0].mode
        self.parallel = all(one.parallel for one in parts)

    @contextmanager
    def switched(self, off: frozenset[str], *, theme: bool = False, record: bool = False) -> Iterator[RuleStep]:
        """Hold exactly ``off`` off in all files. Isolated, every part knows the fields, which are the same."""
        with ExitStack() as stack:
            steps = [stack.enter_context(one.switched(off)) for one in self._parts]
            yield steps[0]

    def exemptions(self, rules: frozenset[str]) -> tuple[Exemption, ...]:
        """Know none."""
        return ()

    def restoration(self) -> Restoration:
        """Return how all of it was left: verified when every part is."""
        done = [one.restoration() for one in self._parts]
        worst = next((one for one in done if not one.verified), done[0])
        return replace(
            worst,
            before=' '.join(one.before for one in done), after=' '.join(one.after for one in done if one.after),
            left_behind=tuple(path for one in done for path in one.left_behind),
            changed_seconds=max(one.changed_seconds for one in done),
            message='; '.join(dict.fromkeys(one.message for one in done if one.message)),
        )
