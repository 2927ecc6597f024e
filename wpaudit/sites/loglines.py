"""Choose the lines of logs that are about our own requests. Pure.

A line about somebody else's request is nobody's business here: a line that names a request is ours when it holds a
marker of ours, stands on the connection of one that does, or repeats a path of ours within the second. Lines without a
request count by their time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field

from wpaudit.facts import LogLine
from wpaudit.sites.logtimes import Clock
from wpaudit.sites.logtimes import time_of

LINE = 2000      # characters kept of one line, with what belongs to it
MOST = 400       # lines kept in all
SLACK = 1.0      # seconds: most logs know whole ones only
SHARED = 1.5     # seconds around a marked request in which an address that others use too counts as ours
PATIENCE = 150.0  # seconds that a request may take before its error is written

_REQUEST = re.compile(r'request: "[A-Z]+ (\S+)')
_NGINX_CONNECTION = re.compile(r'\d+#\d+: \*(\d+) ')
_CLIENT = {
    'nginx': re.compile(r', client: ([0-9A-Fa-f.:]+)'),
    'apache': re.compile(r'\[client ([0-9A-Fa-f.:]+?)(?::\d+)?\]'),  # with the port: server/log.c
}
_SAID = re.compile(r'child (\d+) said into std(?:err|out): "(.*)"(?:, pipe is closed)?$')
_POOL = re.compile(r'\[pool ([^\]\s]+)\]')
_KERNEL = re.compile(
    r'segfault|general protection|trap (?:invalid|divide)|oom-kill|OOM killer|Out of memory|Killed process|oom_reaper'
    r'|I/O error|No space left|nf_conntrack: .*table full|TCP: .*SYN flooding|Remounting filesystem read-only',
    re.IGNORECASE)
_PHP = re.compile(
    r'PHP (?:Fatal|Parse|Compile|Core|Recoverable|Catchable)|Uncaught |Allowed memory size|Maximum execution time')
_FPM = re.compile(r'\] (?:WARNING|ERROR|ALERT): |Terminating|exiting|ready to handle|Reloading')
_NGINX = re.compile(r'\[(?:error|crit|alert|emerg)\]|exited on signal')
_APACHE = re.compile(r'[:[](?:error|crit|alert|emerg)\]|exit signal|MaxRequestWorkers|caught SIG')


@dataclass(frozen=True)
class LogText:
    """What was read of one log."""

    source: str
    path: str
    text: str


@dataclass(frozen=True)
class Own:
    """A request of our own from the host: its path with query, and from when to when, on the host's clock."""

    path: str
    start: float
    end: float


@dataclass(frozen=True)
class Asked:
    """What lines are looked for. Times are on the host's clock."""

    since: float
    until: float
    markers: Sequence[str]
    clock: Clock
    own: Sequence[Own] = ()
    pools: frozenset[str] = frozenset()  # the names of those that serve the site; empty when not known


@dataclass
class _Entry:
    source: str
    path: str
    at: float
    text: str
    marker: str = ''


@dataclass
class _Known:
    """What the lines with a marker taught: connections by log, and when each client's address was ours."""

    connections: dict[tuple[str, str], str] = field(default_factory=dict)
    clients: dict[str, list[tuple[float, str]]] = field(default_factory=dict)
    shared: set[str] = field(default_factory=set)


def chosen(logs: Sequence[LogText], asked: Asked) -> tuple[LogLine, ...]:
    """Return the lines that are about us, those with a marker first when there are too many; in order of time."""
    entries = [entry for log in logs for entry in _entries(log, asked)]
    known = _learned(entries)
    found = []
    for entry in entries:
        why, marker = _reason(entry, known, asked)
        if why:
            found.append(LogLine(entry.source, entry.text, entry.path, entry.at, why, marker))
    rank = {'marker': 0, 'connection': 1, 'time': 2}
    kept = sorted(found, key=lambda line: (rank[line.matched], -line.at))[:MOST]
    return tuple(sorted(kept, key=lambda line: line.at))


def _entries(log: LogText, asked: Asked) -> Iterator[_Entry]:
    entry: _Entry | None = None
    middle = (asked.since + asked.until) / 2
    for line in log.text.split('\n'):
        if not line.strip():
            continue
        at = time_of(log.source, line[:1000], asked.clock, middle)
        if entry and (not at or _goes_on(entry, line)):
            if log.source not in {'access', 'kernel'} and len(entry.text) < LINE:
                said = _SAID.search(line)
                entry.text = f'{entry.text}\n{said[2] if said else line}'[:LINE]  # a trace, or the rest of a message
        elif at:
            if entry:
                yield entry
            marker = next((one for one in asked.markers if one and one in line), '')
            entry = _Entry(log.source, log.path, at, line[:LINE].rstrip('\r'), marker)
    if entry:
        yield entry


def _goes_on(entry: _Entry, line: str) -> bool:
    """Tell whether php-fpm passes on another line of what the same worker said (catch_workers_output)."""
    if entry.source != 'php-fpm':
        return False
    before, now = _SAID.search(entry.text.split('\n', 1)[0]), _SAID.search(line)
    return bool(before and now and before[1] == now[1] and not now[2].startswith(('NOTICE: ', 'PHP message')))


def _learned(entries: Sequence[_Entry]) -> _Known:
    known = _Known()
    for entry in entries:
        if not entry.marker:
            continue
        connection = _NGINX_CONNECTION.search(entry.text) if entry.source == 'nginx' else None
        if connection:
            known.connections[entry.path, connection[1]] = entry.marker
        client = _client(entry)
        if client:
            known.clients.setdefault(client, []).append((entry.at, entry.marker))
    known.shared |= {_client(one) for one in entries if one.source == 'access' and not one.marker} & set(known.clients)
    return known


def _client(entry: _Entry) -> str:
    if entry.source == 'access':
        words = entry.text.split(None, 2)
        # Some formats begin with the name of the virtual host.
        return next((word for word in words[:2] if re.fullmatch(r'[0-9A-Fa-f:]*[.:][0-9A-Fa-f.:]+', word)), '')
    found = _CLIENT[entry.source].search(entry.text) if entry.source in _CLIENT else None
    return found[1] if found else ''


def _reason(entry: _Entry, known: _Known, asked: Asked) -> tuple[str, str]:
    """Return why a line is about us, with the marker it is about; '' when it is not."""
    if entry.marker:
        return 'marker', entry.marker
    if entry.source == 'access' or not asked.since - SLACK <= entry.at <= asked.until + SLACK:
        return '', ''
    connection = _NGINX_CONNECTION.search(entry.text) if entry.source == 'nginx' else None
    if connection and (entry.path, connection[1]) in known.connections:
        return 'connection', known.connections[entry.path, connection[1]]
    request = _REQUEST.search(entry.text)
    if request:
        return ('time', '') if _is_own(request[1], entry.at, asked) else ('', '')
    client = _client(entry)
    if client:
        return _by_client(client, entry, known, asked)
    return ('time', '') if _tells(entry, asked) else ('', '')


def _is_own(path: str, at: float, asked: Asked) -> bool:
    return any(path == one.path and one.start - SLACK <= at <= one.end + SLACK for one in asked.own)


def _by_client(client: str, entry: _Entry, known: _Known, asked: Asked) -> tuple[str, str]:
    """Apache's error log names no request, only the client: ours when that address asked with a marker about then."""
    late = SHARED if client in known.shared else PATIENCE
    for at, marker in sorted(known.clients.get(client, ()), reverse=True):
        if at - SHARED <= entry.at <= at + late:
            return 'connection', marker
    local = client in {'127.0.0.1', '::1'} and client not in known.shared
    if local and any(one.start - SLACK <= entry.at <= one.end + SLACK for one in asked.own):
        return 'connection', ''
    return '', ''


def _tells(entry: _Entry, asked: Asked) -> bool:
    """Tell whether a line without a request says something about the server that a failure could come from."""
    if entry.source == 'php-fpm':
        pool = _POOL.search(entry.text)
        foreign = pool is not None and bool(asked.pools) and pool[1] not in asked.pools
        wanted = _PHP if _SAID.search(entry.text.split('\n', 1)[0]) else _FPM
        return bool(wanted.search(entry.text)) and not foreign
    wanted = {'kernel': _KERNEL, 'php': _PHP, 'wordpress': _PHP, 'nginx': _NGINX, 'apache': _APACHE}[entry.source]
    return bool(wanted.search(entry.text))
