"""Rules in ``.htaccess`` files and in Apache's own configuration, as a layer: what blocks a request, line by line."""

from __future__ import annotations

import hashlib
import posixpath
import secrets
from collections.abc import Iterator
from collections.abc import Mapping
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
from wpaudit.firewalls.acting import Acting
from wpaudit.firewalls.apache.finding import LAYER
from wpaudit.firewalls.apache.finding import SOURCES
from wpaudit.firewalls.apache.finding import rule_files
from wpaudit.firewalls.apache.finding import suspects
from wpaudit.firewalls.apache.planning import ANY_KEY
from wpaudit.firewalls.apache.planning import RuleFile
from wpaudit.firewalls.apache.planning import live
from wpaudit.firewalls.apache.planning import planned
from wpaudit.firewalls.apache.planning import unswitchable
from wpaudit.firewalls.apache.reader import read
from wpaudit.firewalls.apache.remedies import Remedy
from wpaudit.firewalls.apache.remedies import remedies
from wpaudit.firewalls.apache.removing import REMOVABLE
from wpaudit.firewalls.apache.swap import Turning
from wpaudit.firewalls.apache.swap import keeping
from wpaudit.firewalls.apache.swap import prospect
from wpaudit.firewalls.apache.swap import swap
from wpaudit.firewalls.apache.units import Key
from wpaudit.firewalls.apache.units import LiveKey
from wpaudit.firewalls.apache.wrapper import units
from wpaudit.firewalls.reading import Garbled
from wpaudit.firewalls.reading import read_files
from wpaudit.firewalls.switching import Fields
from wpaudit.firewalls.switching import kept_in
from wpaudit.firewalls.switching import warded
from wpaudit.firewalls.warden import Done
from wpaudit.firewalls.warden import recover
from wpaudit.ports import Ground
from wpaudit.ports import Switcher
from wpaudit.signals import shielded

MOST_SUSPECTS = 5_000
_RELOAD = 'it stands in the configuration of the server, whose changes count after a reload only'
# Header names of this layer alone: other layers use others in the same request.
HEADER, OFF = 'X-Wpaudit-Htaccess', 'X-Wpaudit-Htaccess-Off'
TIME = '%Y%m%d%H%M%S'
OVER = '0' * 14  # a time that has passed
ZONES = 26 * 3600  # seconds between the westernmost and the easternmost time zone


class Htaccess:
    """``ports.Layer`` for the Apache rules of one site. Files are read once; a swap is of what was listed."""

    name = LAYER

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._read: tuple[tuple[RuleFile, ...], tuple[Gap, ...]] | None = None
        self._time = ''  # of the host, when the files were read

    def listing(self) -> tuple[tuple[Suspect, ...], tuple[Gap, ...]]:
        """List what blocks requests to this site, and what could not be read."""
        try:
            files, gaps = self._files()
        except (CommandTimeout, Garbled) as error:
            return (), (Gap(SOURCES, error.message),)
        alone, ever = planned(files, ANY_KEY).refused, planned(files, LiveKey(expires=OVER), gone=REMOVABLE).refused
        found = [
            replace(one, stuck=file.stuck or ever.get(one.id, ''), live_only=alone.get(one.id, ''))
            for file in files for one in suspects(file)
        ]
        if len(found) > MOST_SUSPECTS:
            gaps = (*gaps, Gap(SOURCES, f'there are {len(found):,} of them; {MOST_SUSPECTS:,} are listed'))
        return tuple(found[:MOST_SUSPECTS]), tuple(dict.fromkeys((*gaps, *unswitchable(files))))

    def evidence(self) -> tuple[tuple[Evidence, ...], tuple[Gap, ...]]:
        """Know of no log that would name one of these rules."""
        return (), ()

    @contextmanager
    def switching(self, mode: Mode) -> Iterator[Switcher]:
        """Have the rules of the site's files switched, until the exit.

        Isolated: all files are wrapped, and each request says what is off for it. Live: a text is put in place for each
        set, in which it is off for everybody. Raises ModeUnavailable, with every file as it was, when that cannot be
        done or the web server does not like it.
        """
        files, _ = self._files()
        if not self._time:
            raise ModeUnavailable('there is no file with rules of Apache that could be replaced')
        expires = _expiry(self._time, self._ground.seconds)
        key = Key(secrets.token_hex(16), expires, HEADER, OFF) if mode is Mode.ISOLATED else LiveKey(expires=OVER)
        plan = planned(files, key)
        ground = acting(self._ground)
        where = {'root': ground.path, 'url': ground.url}
        with warded(ground, _directory(ground), lambda _directory: keeping(plan.changes)) as (warden, make):
            if mode is Mode.ISOLATED:
                with shielded():
                    swap(warden, plan.changes, **where)
                yield make(mode, lambda off: key.headers(plan.numbers[one] for one in off), parallel=True)
                return
            with shielded():
                turning = Turning(warden, plan.changes, **where)

            def hold(off: frozenset[str]) -> Fields:
                turning.to(live(files, off, expires), expires)
                return ()

            yield make(mode, hold, parallel=False)

    def _files(self) -> tuple[tuple[RuleFile, ...], tuple[Gap, ...]]:
        if self._read is None:
            files, gaps = rule_files(self._ground.shell, self._ground.path, self._ground.url)
            paths = [file.path for file in files if not (file.server or file.stuck)]
            reasons: Mapping[str, str] = {}
            if paths:
                found = prospect(acting(self._ground).shell, paths)
                self._time, reasons = found.time, found.reasons
            files = tuple(
                replace(file, stuck=_RELOAD if file.server else file.stuck or reasons[file.path]) for file in files
            )
            self._read = files, gaps
        return self._read


def restored(ground: Ground) -> Done | None:
    """Put back what an interrupted run left of this site's files; None when it left nothing. Raises SiteBusy."""
    ground = acting(ground)
    return recover(ground.shell, directory=kept_in(ground, _directory(ground)))


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


def acting(ground: Ground) -> Ground:
    """Return the ground as the site's owner has it."""
    return replace(ground, shell=Acting(ground.shell, ground.become))


def _directory(ground: Ground) -> str:
    """Return the last words of the warden's directory: one for each site, since the files are its own."""
    digest = hashlib.sha256(posixpath.normpath(ground.path).encode('utf-8', 'surrogateescape')).hexdigest()[:12]
    return f'{LAYER}-{digest}'


def _expiry(now: str, seconds: float) -> str:
    """Return when the wrapped files become what they were, in the web server's time.

    Nobody can see its time zone, which may be another than the host's: hence a margin as wide as all of them.
    """
    then = datetime.strptime(now, TIME) + timedelta(seconds=seconds + ZONES)
    return then.strftime(TIME)
