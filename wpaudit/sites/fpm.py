"""Read php-fpm's pools: their configuration, their processes, and how busy they are.

Sources: https://www.php.net/manual/en/install.fpm.configuration.php; sapi/fpm/fpm/fpm_conf.c (includes, ``$pool``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field

from wpaudit.domain import Gap
from wpaudit.facts import Pool
from wpaudit.sites.configs import Fetched
from wpaudit.sites.configs import Files
from wpaudit.sites.configs import joined_path
from wpaudit.sites.hostask import Process
from wpaudit.sites.servers import address

USUAL = (
    '/etc/php/*/fpm/php-fpm.conf', '/etc/php-fpm.conf', '/usr/local/etc/php-fpm.conf',
    '/usr/local/php*/etc/php-fpm.conf', '/opt/plesk/php/*/etc/php-fpm.conf',
    '/opt/cpanel/ea-php*/root/etc/php-fpm.conf', '/opt/alt/php*/etc/php-fpm.conf',
    '/etc/opt/remi/php*/php-fpm.conf', '/etc/php*/php-fpm.conf',
)
_MASTER = re.compile(r'php-fpm: master process \((.+?)\)')
_WORKER = re.compile(r'php-fpm: pool (\S+)')
_UNITS = {'': 1, 's': 1, 'm': 60, 'h': 3600, 'd': 86400}
# What a worker sleeps in while it waits for a connection: accept() of TCP and of unix sockets (net/ipv4, net/unix).
_WAITING = re.compile(r'inet_csk_accept|wait_for_more_packets|unix_accept|skb_recv|locks_lock|flock')


@dataclass(frozen=True)
class Section:
    """One pool as configured. ``master`` is the process it belongs to, 0 when that does not run or is not known."""

    name: str
    values: Mapping[str, str]
    path: str = ''
    master: int = 0
    error_log: str = ''
    ini: Mapping[str, str] = field(default_factory=dict)  # of the php.ini it is likely to use

    @property
    def listen(self) -> str:
        """Return the socket, as ``servers.address`` writes it."""
        return address(self.values.get('listen', ''))

    def value(self, name: str) -> str:
        """Return one setting with ``$pool`` filled in."""
        return self.values.get(name, '').replace('$pool', self.name)

    def php(self) -> dict[str, str]:
        """Return php.ini values that hold in this pool."""
        found = dict(self.ini)
        for name, value in self.values.items():
            inner = re.fullmatch(r'php_(?:admin_)?(?:value|flag)\[([\w.]+)\]', name)
            if inner:
                found[inner[1]] = value
        return found


@dataclass
class Pools:
    """What reading php-fpm's configuration gave."""

    sections: list[Section] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)


def masters(processes: Iterable[Process]) -> dict[int, str]:
    """Return the main configuration file of each running master: from its title, else its command line."""
    found = {}
    for process in processes:
        title = _MASTER.search(process.title)
        words = list(process.line)
        if title:
            found[process.pid] = title[1]
        elif words and re.search(r'php[\d.-]*fpm[\d.]*$', words[0]):
            for at, word in enumerate(words):
                if word in {'-y', '--fpm-config'} and at + 1 < len(words):
                    found[process.pid] = words[at + 1]
                elif word.startswith('--fpm-config='):
                    found[process.pid] = word.partition('=')[2]
    return found


def read(files: Files, processes: Iterable[Process]) -> Pools:
    """Read the running masters' configurations, or those in the usual places when none runs."""
    running = masters(processes)
    roots = {path: pid for pid, path in running.items()}
    pools = Pools()
    fetched = Fetched()
    fetched.fetch(files, roots or USUAL, _includes, what='php-fpm:', quiet=not roots)
    mains = [(path, roots.get(path, 0)) for root in roots or USUAL for path in fetched.paths.get(root, ())]
    programs = {process.pid: process.program for process in processes}
    inis = {path: _ini_places(path, programs.get(pid, '')) for path, pid in mains}
    texts = {file.path: file.text for file in files.files(place for places in inis.values() for place in places)}
    for path, pid in mains:
        ini = next((texts[place] for place in inis[path] if texts.get(place)), '')
        pools.sections += _sections(fetched, path, pid, dict(_pairs(ini)))
    pools.gaps += fetched.gaps
    return pools


def _includes(path: str, text: str) -> Iterator[str]:
    base = path.rpartition('/')[0]
    for key, value in _pairs(text):
        if key == 'include':
            # Relative to the prefix, which is above etc on most builds (fpm_conf.c, fpm_evaluate_full_path).
            yield value if value.startswith('/') else joined_path(base, value.removeprefix('etc/'))


def _ini_places(main: str, program: str) -> tuple[str, ...]:
    """Return where the php.ini of a master may be; Debian and Plesk keep it beside the main file."""
    beside = main.rpartition('/')[0]
    version = re.search(r'(\d\.\d)$', program)
    return (f'{beside}/php.ini', *((f'/etc/php/{version[1]}/fpm/php.ini',) if version else ()), f'{beside}/php/php.ini')


def _sections(fetched: Fetched, root: str, master: int, ini: Mapping[str, str]) -> Iterator[Section]:
    blocks: dict[str, tuple[str, dict[str, str]]] = {}
    for path in _family(fetched, root, ()):
        name = 'global'
        for key, value in _pairs(fetched.texts[path]):
            if key == '[':
                name = value
            elif key != 'include':
                blocks.setdefault(name, (path, {}))[1][key] = value
    log = blocks.get('global', ('', {}))[1].get('error_log', '')
    for name, (path, values) in blocks.items():
        if name != 'global' and values.get('listen'):
            filled = {**values, 'listen': values['listen'].replace('$pool', name)}
            yield Section(name, filled, path, master, '' if log == 'syslog' else log, ini)


def _family(fetched: Fetched, path: str, way: tuple[str, ...]) -> Iterator[str]:
    """Yield a file and those it includes; each once, whatever they include."""
    seen = {path: None}
    queue = [path]
    while queue:
        for pattern in _includes(path, fetched.texts[queue.pop()]):
            for found in fetched.paths.get(pattern, ()):
                if found not in seen:
                    seen[found] = None
                    queue.append(found)
    yield from seen


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith('['):
            yield '[', line[1:].partition(']')[0]
        elif line and line[0] not in ';#':
            key, equals, value = line.partition('=')
            if equals:
                yield key.strip(), re.sub(r'\s+;.*$', '', value).strip().strip('"\'')


def seconds(text: str) -> float:
    """Read php-fpm's times: ``30s``, ``2m``; 0 when it cannot be read."""
    found = re.fullmatch(r'(\d{1,9})\s*([smhd]?)', text.strip())
    return float(int(found[1]) * _UNITS[found[2]]) if found else 0.0


def whole(text: str) -> int:
    """Read a number; -1 when it is none."""
    return int(text) if re.fullmatch(r'\d{1,9}', text.strip()) else -1


@dataclass(frozen=True)
class Pulse:
    """What was asked about one socket: the word of ``facts.Pool.socket``, pm.status, and the kernel's queue."""

    word: str = ''
    status: str = ''
    queue: int = -1
    limit: int = -1


def pools(sections: Iterable[Section], processes: Iterable[Process], pulses: Mapping[str, Pulse],
          serving: Iterable[str]) -> Iterator[Pool]:
    """Put together what is known of every pool; those that only show in the process table come last, by name."""
    workers: dict[tuple[int, str], list[Process]] = {}
    for process in processes:
        title = _WORKER.search(process.title)
        if title:
            workers.setdefault((process.parent, title[1]), []).append(process)
    targets = set(serving)
    for section in sections:
        staff = workers.pop((section.master, section.name), [] if section.master else None)
        pulse = pulses.get(section.listen, Pulse())
        yield _pool(section, staff, pulse, serves=section.listen in targets)
        targets.discard(section.listen)
    for (_, name), staff in workers.items():
        yield Pool(name, '', workers=len(staff), busy=_busy(staff))
    for target in sorted(targets):
        pulse = pulses.get(target, Pulse())
        yield Pool('', target, queue=pulse.queue, queue_limit=pulse.limit, socket=pulse.word, serves_site=True)


def _pool(section: Section, staff: list[Process] | None, pulse: Pulse, *, serves: bool) -> Pool:
    status = _status(pulse.status)
    busy = -1 if staff is None else _busy(staff)
    return Pool(
        section.name, section.listen, section.value('pm'), whole(section.value('pm.max_children')),
        seconds(section.value('request_terminate_timeout')), -1 if staff is None else len(staff),
        max(0, status['active processes'] - 1) if 'active processes' in status else busy,
        status.get('listen queue', pulse.queue), status.get('listen queue len', pulse.limit) or pulse.limit,
        pulse.word, serves,
    )


def _status(text: str) -> dict[str, int]:
    """Read pm.status as JSON; the request for it is one of the active processes."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {str(name): value for name, value in found.items() if isinstance(value, int) and 0 <= value < 1 << 31}


def _busy(staff: list[Process]) -> int:
    """Count workers at work: by what they sleep in where the kernel tells, else those that run this very moment."""
    if staff and all(one.waits and one.waits != '0' for one in staff if one.state == 'S'):
        return sum(1 for one in staff if one.state != 'S' or not _WAITING.search(one.waits))
    return sum(1 for one in staff if one.state in {'R', 'D'})
