"""Rules in ``.htaccess`` files and in Apache's own configuration, as a layer: what blocks a request, line by line."""

from __future__ import annotations

import glob
import hashlib
import posixpath
import secrets
import shlex
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from datetime import timedelta

from wpaudit.domain import Evidence
from wpaudit.domain import Gap
from wpaudit.domain import Kind
from wpaudit.domain import Mode
from wpaudit.domain import Suspect
from wpaudit.errors import CommandTimeout
from wpaudit.errors import ModeUnavailable
from wpaudit.firewalls.acting import Acting
from wpaudit.firewalls.apache.planning import ANY_KEY
from wpaudit.firewalls.apache.planning import RuleFile
from wpaudit.firewalls.apache.planning import planned
from wpaudit.firewalls.apache.planning import unswitchable
from wpaudit.firewalls.apache.reader import read
from wpaudit.firewalls.apache.remedies import Remedy
from wpaudit.firewalls.apache.remedies import remedies
from wpaudit.firewalls.apache.serving import USUAL_NAME
from wpaudit.firewalls.apache.serving import Serving
from wpaudit.firewalls.apache.serving import serving
from wpaudit.firewalls.apache.swap import keeping
from wpaudit.firewalls.apache.swap import prospect
from wpaudit.firewalls.apache.swap import swap
from wpaudit.firewalls.apache.units import Key
from wpaudit.firewalls.apache.units import Unit
from wpaudit.firewalls.apache.wrapper import units
from wpaudit.firewalls.modsecurity.running import web_servers
from wpaudit.firewalls.modsecurity.seclang import Engine
from wpaudit.firewalls.reading import Garbled
from wpaudit.firewalls.reading import HostFile
from wpaudit.firewalls.reading import State
from wpaudit.firewalls.reading import read_files
from wpaudit.firewalls.reading import read_matching
from wpaudit.firewalls.switching import kept_in
from wpaudit.firewalls.switching import warded
from wpaudit.firewalls.warden import Done
from wpaudit.firewalls.warden import recover
from wpaudit.ports import Ground
from wpaudit.ports import Shell
from wpaudit.ports import Switcher
from wpaudit.signals import shielded

LAYER = 'htaccess'
MOST_SUSPECTS = 5_000
# Directories below WordPress in which security plugins, hosts and intruders leave a .htaccess.
BELOW = (
    'wp-admin', 'wp-includes', 'wp-content', 'wp-content/*', 'wp-content/plugins/*', 'wp-content/themes/*',
    'wp-content/uploads/*',
)
_SOURCES = 'rules in .htaccess'
_OTHER = 'no Apache is seen to serve this site; they are listed as Apache would read them (LiteSpeed may differ)'
_UNSEEN = 'no Apache is seen to serve this site, and other servers may read what is put in otherwise'
_NGINX = 'nginx serves this site and does not read them: what they say changes nothing, and none of it is listed'
_RELOAD = 'it stands in the configuration of the server, whose changes count after a reload only'
# Header names of this layer alone: other layers use others in the same request.
HEADER, OFF = 'X-Wpaudit-Htaccess', 'X-Wpaudit-Htaccess-Off'
TIME = '%Y%m%d%H%M%S'
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
            return (), (Gap(_SOURCES, error.message),)
        refused = planned(files, ANY_KEY).refused
        found = [
            replace(one, stuck=file.stuck or refused.get(one.id, '')) for file in files for one in suspects(file)
        ]
        if len(found) > MOST_SUSPECTS:
            gaps = (*gaps, Gap(_SOURCES, f'there are {len(found):,} of them; {MOST_SUSPECTS:,} are listed'))
        return tuple(found[:MOST_SUSPECTS]), tuple(dict.fromkeys((*gaps, *unswitchable(files))))

    def evidence(self) -> tuple[tuple[Evidence, ...], tuple[Gap, ...]]:
        """Know of no log that would name one of these rules."""
        return (), ()

    @contextmanager
    def switching(self, mode: Mode) -> Iterator[Switcher]:
        """Wrap all ``.htaccess`` files of the site, so that each request says what is off for it, until the exit.

        Raises ModeUnavailable, with every file as it was, when that cannot be done or the web server does not like it.
        """
        if mode is not Mode.ISOLATED:
            raise ModeUnavailable('rules of .htaccess files are switched for single requests only (--mode isolated)')
        files, _ = self._files()
        if not self._time:
            raise ModeUnavailable('there is no .htaccess file that could be replaced')
        key = Key(secrets.token_hex(16), _expiry(self._time, self._ground.seconds), HEADER, OFF)
        plan = planned(files, key)
        ground = acting(self._ground)
        with warded(ground, _directory(ground), lambda _directory: keeping(plan.changes)) as (warden, make):
            with shielded():
                swap(warden, plan.changes, root=ground.path, url=ground.url)
            yield make(mode, lambda off: key.headers(plan.numbers[one] for one in off), parallel=True)

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


def rule_files(shell: Shell, path: str, url: str) -> tuple[tuple[RuleFile, ...], tuple[Gap, ...]]:
    """Read all files whose rules count for a site, and say which could not be read. Changes nothing."""
    path = posixpath.normpath(path)
    servers = web_servers(shell)
    real = read_files(shell, [path])[path].real
    site = tuple(dict.fromkeys(one for one in (path, real) if one))
    apaches = [serving(shell, one.path, one.root, site, url) for one in servers if one.engine is Engine.V2]
    ours = [one for one in apaches if one.here]
    if not ours and any(one.engine is Engine.V3 for one in servers):
        there = _access_files(shell, path, (USUAL_NAME,))
        return (), (Gap(_SOURCES, _NGINX),) if any(one.state is State.FILE for one in there) else ()
    chosen = ours or apaches
    gaps = [gap for one in chosen for gap in one.gaps]
    files = [file for one in chosen for file in vhost_files(one, site)]
    names = tuple(dict.fromkeys(name for one in chosen for name in one.names())) or (USUAL_NAME,)
    inert = []
    for file in _access_files(shell, path, names):
        gaps += _gaps(file)
        directory = posixpath.dirname(file.real or file.path)
        if file.state is not State.FILE or file.cut:
            continue
        if chosen and not any(one.overrides(directory) for one in chosen):
            inert.append(file.path)
            continue
        document = read(file.text)
        gaps += [Gap(file.path, f'not read: {problem}') for problem in document.problems]
        files.append(RuleFile(file.path, file.text, units=units(document), stuck='' if apaches else _UNSEEN))
    if inert:
        gaps.append(Gap(_SOURCES, f'AllowOverride is None, so Apache does not read {", ".join(inert)}'))
    if not apaches and any(not file.server for file in files):
        gaps.append(Gap(_SOURCES, _OTHER))
    return tuple(files), tuple(gaps)


def vhost_files(one: Serving, site: Sequence[str]) -> Iterator[RuleFile]:
    """Yield the configuration files of Apache that hold rules for this site's requests."""
    counting: dict[str, set[int]] = {}
    for line in one.lines:
        if one.concerns(line) and one.about(line, site):
            counting.setdefault(line.path, set()).add(line.directive.first)
    for path, firsts in counting.items():
        found = tuple(unit for unit in units(one.documents[path]) if firsts & set(range(unit.first, unit.last + 1)))
        kept = tuple(unit for unit in found if not _everywhere(one, path, unit))
        if kept:
            yield RuleFile(path, one.texts[path], server=True, units=kept)


def _everywhere(one: Serving, path: str, unit: Unit) -> bool:
    """Tell whether a unit only hides files that every Apache hides: .htaccess and the like."""
    line = next(line for line in one.lines if line.path == path and line.directive.first == unit.line)
    return any(section.name == 'filesmatch' and '^\\.ht' in section.args for _, section in line.sections)


def suspects(file: RuleFile) -> Iterator[Suspect]:
    """Yield the units of a file as suspects. A condition of a rule is one only while the rule is on."""
    for unit in file.units:
        lines = f'line {unit.first}' if unit.first == unit.last else f'lines {unit.first}-{unit.last}'
        where = ', '.join(filter(None, (
            lines, f'in "{unit.owner}"' if unit.owner else '', unit.reason,
            'changes count after a graceful reload' if file.server else '',
        )))
        requires = (f'{file.path}:{unit.part_of}',) if unit.part_of else ()
        yield Suspect(f'{file.path}:{unit.line}', Kind.RULE, unit.name, layer=LAYER, where=where, requires=requires)


def _access_files(shell: Shell, path: str, names: Sequence[str]) -> list[HostFile]:
    """Read ``.htaccess`` of the site's directory, those above, and the usual ones below; each file once."""
    above = [path]
    while above[-1] not in ('/', ''):
        above.append(posixpath.dirname(above[-1]))
    plain = [posixpath.join(directory, name) for directory in above[::-1] for name in names]
    found = list(read_files(shell, plain).values())
    if '\\' not in path:
        patterns = [f'{glob.escape(path)}/{below}/{name}' for below in BELOW for name in names]
        found += [file for files in read_matching(shell, patterns).values() for file in files]
    return list(_distinct(file for file in found if '*' not in file.path or file.state is State.FILE))


def _distinct(files: Iterable[HostFile]) -> Iterator[HostFile]:
    seen = set()
    for file in files:
        key = file.identity if file.state is State.FILE else (file.path, 0)
        if key not in seen:
            seen.add(key)
            yield file


def _gaps(file: HostFile) -> Iterator[Gap]:
    if file.state is State.UNREADABLE:
        yield Gap(file.path, f'may not be read; look at it with: sudo cat {shlex.quote(file.path)}')
    elif file.state is State.SKIPPED:
        yield Gap(file.path, 'was left out: there is too much to read')
    elif file.state is State.SPECIAL:
        yield Gap(file.path, 'is no plain file, so it was not opened')
    elif file.cut:
        yield Gap(file.path, f'is larger than {len(file.data):,} bytes and was not read')
