"""Clues from the state of the site's host, and from what the plugins cost. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Mapping

from wpaudit.domain import Cost
from wpaudit.facts import Clue
from wpaudit.facts import HostState
from wpaudit.facts import Pool
from wpaudit.facts import Purpose
from wpaudit.triage import rate
from wpaudit.triage.fields import header_bytes
from wpaudit.triage.scene import Scene

_SOURCE = 'host'
_SOCKETS = {
    'missing': ('socket-missing-now', 'the socket of the pool {name} ({listen}) is not there'),
    'refused': ('socket-refused-now', 'nothing listens for the pool {name} at {listen}'),
    'denied': ('socket-denied-now', 'the socket of the pool {name} ({listen}) may not be used'),
    'full': ('socket-full-now', 'the queue of the pool {name} ({listen}) is full'),
    'answers': ('socket-answers', 'the pool {name} answers at {listen}'),
}
_MIB = 1 << 20
_FULL = 16 * _MIB         # free bytes of a disk that is as good as full
_FULL_SHARE = 0.002
_ROOM = 0.05
_LOW_MEMORY, _MUCH_MEMORY = 0.05, 0.25
_PASSING = 0.25           # what counts of a queue for which there are workers
_HIGH_LOAD = 2.0          # processes waiting for each processor
_SLOW, _SHARE = 2.0, 0.5  # seconds of one plugin, and its share, from which on its time is a reason
_BIG_HEADER, _MUCH = 1000, 64 * _MIB
_EARLY, _LATE = 0.25, 1.0  # seconds around a time limit
_FRAMING = 64             # bytes of status line and FastCGI record that share the buffer with the fields
_SIZE = re.compile(r'\s{0,9}+(\d{1,12}+)\s{0,9}+([kKmM]?)')
_TIME = re.compile(r'\s{0,9}+(\d{1,9}+(?:\.\d{1,3}+)?)\s{0,9}+(ms|m|h|s|)')
_UNITS = {'ms': 0.001, '': 1.0, 's': 1.0, 'm': 60.0, 'h': 3600.0}
_BUFFERS = ('fastcgi_buffer_size', 'proxy_buffer_size')
_TIMEOUTS = ('fastcgi_read_timeout', 'proxy_read_timeout', 'ProxyTimeout', 'Timeout')


def host_clues(scene: Scene) -> Iterator[Clue]:
    """Yield what the host's state says; without a host nothing."""
    if scene.host is not None:
        for pool in scene.pools():
            yield from _pool(pool)
            yield from _pool_limit(scene, pool)
        yield from _machine(scene.host)
        yield from _upstreams(scene.host)
        yield from _server_limit(scene, scene.host.settings)
        yield from _header(scene, scene.host.settings)
    yield from _costs(scene.seen.costs)


def _pool(pool: Pool) -> Iterator[Clue]:
    names = {'pool': pool.name, 'upstream': pool.listen}
    if pool.socket in _SOCKETS:
        kind, sentence = _SOCKETS[pool.socket]
        yield Clue(kind, _SOURCE, sentence.format(name=pool.name, listen=pool.listen), names=names)
    limit = {**names, 'limit': str(pool.max_children)}
    at_work = f'{pool.busy} of {pool.max_children} workers of the pool {pool.name} are at work'
    if pool.max_children > 0 and pool.busy >= pool.max_children:
        yield Clue('pool-full', _SOURCE, at_work, names=limit)
    elif 0 <= pool.busy <= pool.max_children // 2 and pool.queue <= 0:
        yield Clue('pool-idle', _SOURCE, at_work)
    if pool.queue > 0:
        of = f' of {pool.queue_limit}' if pool.queue_limit > 0 else ''
        # Those that idle workers could take wait only for a moment: for a processor, or for a worker being started.
        strength = _PASSING if pool.busy >= 0 and pool.busy + pool.queue <= pool.max_children else 1.0
        said = f'{pool.queue}{of} connections wait for the pool {pool.name}'
        yield Clue('pool-queue', _SOURCE, said, names=limit, strength=strength)


def _pool_limit(scene: Scene, pool: Pool) -> Iterator[Clue]:
    """php-fpm looks every third of the limit (fpm_process_ctl.c, fpm_pctl_heartbeat), so it ends up to that late."""
    limit, typical = pool.terminate_timeout, _typical(scene)
    if limit > 0 and limit - _EARLY <= typical <= limit * 4 / 3 + _LATE:
        sentence = f'the failures come after {typical:.1f} s, request_terminate_timeout of {pool.name} is {limit:g} s'
        yield Clue('limit-of-pool', _SOURCE, sentence, names={'seconds': f'{limit:g} s', 'pool': pool.name})


def _server_limit(scene: Scene, settings: Mapping[str, str]) -> Iterator[Clue]:
    typical = _typical(scene)
    for name, value in settings.items():
        limit = seconds(value) if name.endswith(_TIMEOUTS) else 0.0
        if limit > 0 and -_EARLY <= typical - limit <= _LATE:
            yield Clue('limit-of-server', _SOURCE, f'the failures come after {typical:.1f} s, {name} is {value}',
                       names={'seconds': f'{limit:g} s'})
            return


def _typical(scene: Scene) -> float:
    return rate.timing([look.answer for look in scene.failing]).typical


def _machine(host: HostState) -> Iterator[Clue]:
    full = [disk for disk in host.disks if disk.free <= max(_FULL, disk.size * _FULL_SHARE) or disk.inodes_free == 0]
    for disk in full:
        what = 'no inode' if disk.inodes_free == 0 else f'{disk.free / _MIB:.0f} MiB'
        yield Clue('disk-full-now', _SOURCE, f'{disk.path} has {what} free', names={'path': disk.path})
    if host.disks and not full and all(disk.free > disk.size * _ROOM for disk in host.disks):
        yield Clue('disk-has-room', _SOURCE, 'no disk is full')
    if host.memory > 0 and host.memory_available >= 0:
        share = host.memory_available / host.memory
        sentence = f'{host.memory_available / _MIB:.0f} of {host.memory / _MIB:.0f} MiB of memory are free'
        if share < _LOW_MEMORY and host.swap_free < host.memory * _LOW_MEMORY:
            yield Clue('memory-low', _SOURCE, sentence)
        elif share > _MUCH_MEMORY:
            yield Clue('memory-plenty', _SOURCE, sentence)
    if host.processors > 0 and host.load > _HIGH_LOAD * host.processors:
        yield Clue('load-high', _SOURCE, f'the load is {host.load:.1f} on {host.processors} processors')


def _upstreams(host: HostState) -> Iterator[Clue]:
    for upstream, why in host.upstreams.items():
        if why:
            unresolved = 'resolve' in why or 'Name or service' in why or 'not found' in why
            yield Clue('upstream-dns-now' if unresolved else 'upstream-down-now', _SOURCE,
                       f'{upstream}, where the web server sends requests on, is not there ({why})',
                       names={'upstream': upstream})


def _header(scene: Scene, settings: Mapping[str, str]) -> Iterator[Clue]:
    """Compare the header that php-fpm sends past the web server with the web server's buffer."""
    buffers = [(name, size(value)) for name, value in settings.items() if name.endswith(_BUFFERS) and size(value)]
    sizes = [header_bytes(look.answer) for look in scene.of(Purpose.FASTCGI) if look.answer.headers]
    if not buffers or not sizes:
        return
    name, limit = buffers[0]
    most = max(sizes) + _FRAMING
    sentence = f'the header of the page takes about {most} bytes, {name} is {limit}'
    if most > limit:
        yield Clue('header-over-buffer', _SOURCE, sentence, names={'buffer': f'{limit} bytes'})
    elif most < limit / 2:
        yield Clue('header-under-buffer', _SOURCE, sentence)


def _costs(costs: tuple[Cost, ...]) -> Iterator[Clue]:
    """Name the dearest plugin in time, memory and header, where it is dear."""
    plugins = [one for one in costs if one.suspects]
    total = sum(one.seconds for one in costs)
    for one in sorted(plugins, key=lambda cost: -cost.seconds)[:1]:
        if one.seconds >= _SLOW and one.seconds >= _SHARE * total:
            yield Clue('plugin-slow', 'recorder', f'{one.name} took {one.seconds:.1f} of {total:.1f} s', _plugin(one))
    for one in sorted(plugins, key=lambda cost: -cost.memory)[:1]:
        if one.memory >= _MUCH:
            yield Clue('plugin-memory', 'recorder', f'{one.name} took {one.memory / _MIB:.0f} MiB', _plugin(one))
    for one in sorted(plugins, key=lambda cost: -cost.header_bytes)[:1]:
        if one.header_bytes >= _BIG_HEADER:
            sentence = f'{one.name} added {one.header_bytes} bytes to the header'
            yield Clue('plugin-headers', 'recorder', sentence, _plugin(one))


def _plugin(one: Cost) -> str:
    return one.suspects[0].split('/', 1)[0].removesuffix('.php')


def size(text: str) -> int:
    """Read ``4k``; 0 for what is no size."""
    match = _SIZE.fullmatch(text[:40])
    return int(match[1]) * {'': 1, 'k': 1024, 'm': _MIB}[match[2].lower()] if match else 0


def seconds(text: str) -> float:
    """Read ``60s``, ``1m`` or ``300``; 0 for what is no time."""
    match = _TIME.fullmatch(text[:40])
    return float(match[1]) * _UNITS[match[2]] if match else 0.0
