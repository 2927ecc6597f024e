"""Which files hold the rules of Apache for one site: ``.htaccess`` files, and the server's own configuration."""

from __future__ import annotations

import glob
import posixpath
import shlex
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace

from wpaudit.domain import Gap
from wpaudit.domain import Kind
from wpaudit.domain import Suspect
from wpaudit.firewalls.apache.planning import RuleFile
from wpaudit.firewalls.apache.reader import read
from wpaudit.firewalls.apache.serving import USUAL_NAME
from wpaudit.firewalls.apache.serving import Line
from wpaudit.firewalls.apache.serving import Serving
from wpaudit.firewalls.apache.serving import serving
from wpaudit.firewalls.apache.units import CONDITIONS
from wpaudit.firewalls.apache.units import Unit
from wpaudit.firewalls.apache.wrapper import units
from wpaudit.firewalls.modsecurity.running import web_servers
from wpaudit.firewalls.modsecurity.seclang import Engine
from wpaudit.firewalls.reading import HostFile
from wpaudit.firewalls.reading import State
from wpaudit.firewalls.reading import read_files
from wpaudit.firewalls.reading import read_matching
from wpaudit.ports import Shell

LAYER = 'htaccess'
# Directories below WordPress in which security plugins, hosts and intruders leave a .htaccess.
BELOW = (
    'wp-admin', 'wp-includes', 'wp-content', 'wp-content/*', 'wp-content/plugins/*', 'wp-content/themes/*',
    'wp-content/uploads/*',
)
SOURCES = 'rules in .htaccess'
_OTHERS = 'nothing says that this Apache serves the site, so its configuration is left alone'
_TOO_LARGE = 'the file is too large to be read to its end'
_OTHER = 'no Apache is seen to serve this site; they are listed as Apache would read them (LiteSpeed may differ)'
_UNSEEN = 'no Apache is seen to serve this site, and other servers may read what is put in otherwise'
_NGINX = 'nginx serves this site and does not read them: what they say changes nothing, and none of it is listed'


@dataclass(frozen=True)
class Found:
    """The files whose rules count for a site, what could not be read, and the error logs of its Apaches."""

    files: tuple[RuleFile, ...]
    gaps: tuple[Gap, ...]
    logs: tuple[str, ...] = ()


def rule_files(shell: Shell, path: str, url: str, *, reader: Shell) -> Found:
    """Read all files whose rules count for a site, and say which could not be read. Changes nothing.

    ``reader`` reads the server's own configuration, root's shell where that may be: nobody else writes there. What
    lies in the site is read by the login: a link in it may lead anywhere.
    """
    path = posixpath.normpath(path)
    servers = web_servers(reader)
    real = read_files(shell, [path])[path].real
    site = tuple(dict.fromkeys(one for one in (path, real) if one))
    apaches = [serving(reader, one.path, one.root, site, url) for one in servers if one.engine is Engine.V2]
    ours = [one for one in apaches if one.here]
    if not ours and any(one.engine is Engine.V3 for one in servers):
        there = _access_files(shell, path, (USUAL_NAME,))
        return Found((), (Gap(SOURCES, _NGINX),) if any(one.state is State.FILE for one in there) else ())
    chosen = ours or apaches
    files, gaps = _site_files(shell, path, chosen, stuck='' if apaches else _UNSEEN)
    if not apaches and files:
        gaps = (*gaps, Gap(SOURCES, _OTHER))
    logs = tuple(dict.fromkeys(log for one in chosen for log in one.logs))
    servers_own = server_files(chosen, site)
    if not ours:
        servers_own = tuple(replace(one, stuck=one.stuck or _OTHERS) for one in servers_own)
    return Found((*servers_own, *files), (*(gap for one in chosen for gap in one.gaps), *gaps), logs)


def _site_files(
    shell: Shell, path: str, chosen: Sequence[Serving], *, stuck: str,
) -> tuple[tuple[RuleFile, ...], tuple[Gap, ...]]:
    """Read the ``.htaccess`` files that these Apaches read."""
    names = tuple(dict.fromkeys(name for one in chosen for name in one.names())) or (USUAL_NAME,)
    files: list[RuleFile] = []
    gaps: list[Gap] = []
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
        files.append(RuleFile(file.path, file.text, units=units(document), stuck=stuck))
    if inert:
        gaps.append(Gap(SOURCES, f'AllowOverride is None, so Apache does not read {", ".join(inert)}'))
    return tuple(files), tuple(gaps)


def server_files(chosen: Sequence[Serving], site: Sequence[str]) -> tuple[RuleFile, ...]:
    """Return the configuration files with rules, each once, whatever it is called and however many read it."""
    found: dict[str, RuleFile] = {}
    for serving_one in chosen:
        for file in vhost_files(serving_one, site):
            known = found.setdefault(file.real or file.path, file)
            units_of = dict.fromkeys((*known.units, *file.units))
            servers = dict.fromkeys((*known.servers, *file.servers))
            found[file.real or file.path] = replace(known, units=tuple(units_of), servers=tuple(servers))
    return tuple(found.values())


def vhost_files(one: Serving, site: Sequence[str]) -> Iterator[RuleFile]:
    """Yield the configuration files of one Apache that hold rules for this site's requests."""
    counting: dict[str, set[int]] = {}
    for line in one.lines:
        if one.concerns(line) and one.about(line, site):
            counting.setdefault(line.path, set()).add(line.directive.first)
    within = {line.path: around for line in one.lines if (around := _around(line))}
    for path, firsts in counting.items():
        found = tuple(unit for unit in units(one.documents[path]) if firsts & set(range(unit.first, unit.last + 1)))
        kept = tuple(unit for unit in found if not _everywhere(one, path, unit))
        if kept:
            real = one.reals.get(path, '')
            yield RuleFile(
                path, one.texts[path], server=True, units=kept, servers=(one.path,), real=real,
                stuck=within.get(path, '') if real else _TOO_LARGE,
            )


def _around(line: Line) -> str:
    """Say why a file cannot be wrapped that is included inside a section of another: its lines go with those around."""
    outer = [section.name for path, section in line.sections if path != line.path]
    name = next((one for one in outer if one not in ('virtualhost', *CONDITIONS)), '')
    return f'the file is included inside a <{name}> of another one, whose lines count with its own' if name else ''


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
