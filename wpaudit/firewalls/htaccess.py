"""Rules in ``.htaccess`` files and in Apache's own configuration, as a layer: what blocks a request, line by line."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from datetime import timedelta

from wpaudit.domain import Evidence
from wpaudit.domain import Gap
from wpaudit.domain import Mode
from wpaudit.domain import Suspect
from wpaudit.errors import CommandTimeout
from wpaudit.errors import ModeUnavailable
from wpaudit.firewalls import serverconf
from wpaudit.firewalls.apache.errorlog import recent
from wpaudit.firewalls.apache.finding import LAYER
from wpaudit.firewalls.apache.finding import SOURCES
from wpaudit.firewalls.apache.finding import Found
from wpaudit.firewalls.apache.finding import rule_files
from wpaudit.firewalls.apache.finding import suspects
from wpaudit.firewalls.apache.harness import SERVER
from wpaudit.firewalls.apache.harness import harnessed
from wpaudit.firewalls.apache.harness import kept_as
from wpaudit.firewalls.apache.harness import owned
from wpaudit.firewalls.apache.harness import plan_for
from wpaudit.firewalls.apache.lines import evidence
from wpaudit.firewalls.apache.lines import hints
from wpaudit.firewalls.apache.planning import RuleFile
from wpaudit.firewalls.apache.planning import refusals
from wpaudit.firewalls.apache.planning import unswitchable
from wpaudit.firewalls.apache.reader import read
from wpaudit.firewalls.apache.remedies import Remedy
from wpaudit.firewalls.apache.remedies import remedies
from wpaudit.firewalls.apache.swap import prospect
from wpaudit.firewalls.apache.wrapper import units
from wpaudit.firewalls.reading import Garbled
from wpaudit.firewalls.reading import read_files
from wpaudit.firewalls.switching import kept_in
from wpaudit.firewalls.switching import recovered
from wpaudit.firewalls.warden import Done
from wpaudit.firewalls.warden import recover
from wpaudit.ports import Ground
from wpaudit.ports import Layer
from wpaudit.ports import Switcher

MOST_SUSPECTS = 5_000
# Header names of this layer alone: other layers use others in the same request.
HEADER, OFF = 'X-Wpaudit-Htaccess', 'X-Wpaudit-Htaccess-Off'
TIME = '%Y%m%d%H%M%S'
ZONES = 26 * 3600  # seconds between the westernmost and the easternmost time zone


class Htaccess:
    """``ports.Layer`` for the Apache rules of one site. Files are read once; a swap is of what was listed."""

    name = LAYER

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._read: Found | None = None
        self._time = ''  # of the host, when the files were read; none where no file can be replaced

    def listing(self) -> tuple[tuple[Suspect, ...], tuple[Gap, ...]]:
        """List what blocks requests to this site, and what could not be read."""
        try:
            found = self._found()
        except (CommandTimeout, Garbled) as error:
            return (), (Gap(SOURCES, error.message),)
        alone, ever = refusals(found.files)
        rules = [
            replace(one, stuck=file.stuck or ever.get(one.id, ''), live_only=alone.get(one.id, ''))
            for file in found.files for one in suspects(file)
        ]
        gaps = (*found.gaps, *unswitchable(found.files))
        if len(rules) > MOST_SUSPECTS:
            gaps = (*gaps, Gap(SOURCES, f'there are {len(rules):,} of them; {MOST_SUSPECTS:,} are listed'))
        return tuple(rules[:MOST_SUSPECTS]), tuple(dict.fromkeys(gaps))

    def evidence(self) -> tuple[tuple[Evidence, ...], tuple[Gap, ...]]:
        """Return what Apache's error logs of the last minutes say: which kind of rule refused a request, not which."""
        found = self._found()
        lines, gaps = recent(self._ground, found.logs)
        return evidence(hints(lines), {file.path: file.units for file in found.files}), gaps

    @contextmanager
    def switching(self, mode: Mode) -> Iterator[Switcher]:
        """Have the rules of the site's files switched, until the exit.

        Isolated: all files are wrapped, and each request says what is off for it. Live: a text is put in place for each
        set, in which it is off for everybody. Raises ModeUnavailable, with every file as it was, when that cannot be
        done or the web server does not like it.
        """
        files = self._found().files
        if not self._time:
            raise ModeUnavailable('there is no file with rules of Apache that could be replaced')
        expires = _expiry(self._time, self._ground.seconds)
        with harnessed(self._ground, plan_for(files, mode, expires, header=HEADER, off=OFF)) as switcher:
            yield switcher

    def _found(self) -> Found:
        if self._read is None:
            ground = self._ground
            found = rule_files(ground.shell, ground.path, ground.url, reader=serverconf.reader(ground))
            owners = [file.path for file in found.files if not (file.server or file.stuck)]
            reasons = dict(_closed(ground, [file for file in found.files if file.server and not file.stuck]))
            if owners or not all(reasons.values()):
                seen = prospect(owned(ground).shell, owners)
                self._time, reasons = seen.time, {**reasons, **seen.reasons}
            files = tuple(replace(file, stuck=file.stuck or reasons[file.path]) for file in found.files)
            self._read = replace(found, files=files)
        return self._read


def _closed(ground: Ground, files: Sequence[RuleFile]) -> Iterator[tuple[str, str]]:
    """Say of the server's own files why they cannot be changed, '' where they can."""
    known: dict[Sequence[str], str] = {}
    for file in files:
        if file.servers not in known:
            known[file.servers] = serverconf.obstacle(ground, file.servers)
        yield file.path, known[file.servers]


def layer_of(ground: Ground) -> Layer:
    """Return the layer of one site."""
    return Htaccess(ground)


def restored(ground: Ground) -> Done | None:
    """Put back what an interrupted run left of this site's files; None when it left nothing. Raises SiteBusy."""
    owner = owned(ground)
    done = [
        recover(owner.shell, directory=kept_in(ground, kept_as(ground))),
        recovered(ground, kept_as(ground, SERVER)),
    ]
    left = [one for one in done if one is not None]
    return Done(max(one.status for one in left), b'\n'.join(one.output for one in left)) if left else None


def advice(ground: Ground, rule: Suspect, path: str) -> tuple[str, ...]:
    """Return what to change in a file so that ``path`` of the site passes one rule, the narrowest change first."""
    name, _, line = rule.id.rpartition(':')
    text = read_files(ground.shell, [name])[name].text
    unit = next((one for one in units(read(text)) if str(one.line) == line), None)
    if unit is None:
        return ()
    return tuple(f'in {name}: {_change(one, text)}; then {one.effect}' for one in remedies(text, unit, path=path))


def _change(one: Remedy, text: str) -> str:
    lines = f'line {one.first}' if one.first == one.last else f'lines {one.first}-{one.last}'
    if not one.lines:
        return f'take out {lines}'
    added = one.text.count('\n') - text.count('\n') >= len(one.lines)
    written = ' / '.join(one.lines)
    return f'put before {lines}: {written}' if added else f'put in place of {lines}: {written}'


def _expiry(now: str, seconds: float) -> str:
    """Return when the wrapped files become what they were, in the web server's time.

    Nobody can see its time zone, which may be another than the host's: hence a margin as wide as all of them.
    """
    then = datetime.strptime(now, TIME) + timedelta(seconds=seconds + ZONES)
    return then.strftime(TIME)
