"""What can be felt from outside of the processes: sockets and their queues, memory, disks, names of upstreams."""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence

from wpaudit.facts import Disk
from wpaudit.sites.fpm import Pulse
from wpaudit.sites.fpm import Section
from wpaudit.sites.hostask import About
from wpaudit.sites.hostask import HostAsk
from wpaudit.sites.said import encoded
from wpaudit.sites.servers import address
from wpaudit.sites.servers import stream_of

MOST = 50  # sockets asked
SLOW = 90.0  # seconds; a resolver without an answer needs half a minute for one name (resolv.conf(5))
WORDS = frozenset({'missing', 'refused', 'denied', 'full', 'answers'})  # of facts.Pool.socket
_SOCKET = re.compile(r'^ *\d+: ([0-9A-F]{8}):([0-9A-F]{4}) \S+ (\w\w) [0-9A-F]+:([0-9A-F]+)', re.MULTILINE)
LISTENING = '0A'  # TCP_LISTEN (include/net/tcp_states.h)


def pulses(ask: HostAsk, sections: Iterable[Section], targets: Iterable[str]) -> dict[str, Pulse]:
    """Knock at every pool's socket, ask those for pm.status that have it, and read the queues."""
    status = {one.listen: one.value('pm.status_path') for one in sections if one.listen}
    places = list(dict.fromkeys([*targets, *status]))[:MOST]
    if not places:
        return {}
    said = ask.ask('host-sockets', seconds=SLOW, sockets=[
        {'address': encoded(stream_of(one)), 'status': encoded(status.get(one, ''))} for one in places])
    words = {one.raw('address'): one for one in said.parts('sockets')}
    queues = queues_of(said.raw('unix'), said.raw('ss'), said.raw('tcp'))
    found = {}
    for place in places:
        one = words.get(stream_of(place))
        queue, limit = queues.get(place, (-1, -1))
        if one:
            word = one.text('word')
            found[place] = Pulse(word if word in WORDS else '', one.text('status'), queue, limit)
    return found


def queues_of(unix: str, tcp: str, proc: str) -> dict[str, tuple[int, int]]:
    """Return (waiting, limit) by address from ``ss -xlnH``, ``ss -tlnH`` and /proc/net/tcp; -1 is not known."""
    return {**dict(_tcp(proc)), **dict(_ss(tcp)), **dict(_ss(unix))}


def _ss(text: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """Read ``ss -lnH``: state, queue, limit, local address; unix sockets have a netid in front and an inode behind."""
    for line in text.splitlines():
        words = line.split()
        if 'LISTEN' in words[:2]:
            words = words[words.index('LISTEN'):]
            if len(words) > 3 and words[1].isdigit() and words[2].isdigit():  # noqa: PLR2004 - state, queue, limit, address
                yield address(words[3]), (int(words[1]), int(words[2]))


def _tcp(text: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """Read /proc/net/tcp: of a listening socket, rx_queue is the accept queue (net/ipv4/tcp_ipv4.c, get_tcp4_sock)."""
    for found in _SOCKET.finditer(text):
        if found[3] == LISTENING:
            octets = [str(int(found[1][at:at + 2], 16)) for at in (6, 4, 2, 0)]  # of a little-endian machine
            yield address(f'{".".join(octets)}:{int(found[2], 16)}'), (int(found[4], 16), -1)


def memory(about: About) -> tuple[int, int, int]:
    """Return bytes of memory, available ones, and of free swap; -1 is not known. A container's limit counts."""
    found = {name: int(kib) * 1024 for name, kib in re.findall(r'^(\w+): +(\d{1,15}) kB$', about.memory, re.MULTILINE)}
    total, available = found.get('MemTotal', -1), found.get('MemAvailable', -1)
    limit, used = about.limit.strip(), about.used.strip()
    if limit.isdigit() and used.isdigit() and 0 < int(limit) < total:
        total, available = int(limit), min(available, max(0, int(limit) - int(used)))
    return total, available, found.get('SwapFree', -1)


def disks(ask: HostAsk, paths: Sequence[str]) -> tuple[Disk, ...]:
    """Return the space at these paths; of several on one file system the first stands for all."""
    said = ask.ask('host-disks', paths=[encoded(one) for one in paths])
    found: dict[int, Disk] = {}
    for one in said.parts('disks'):
        disk = Disk(one.raw('path'), int(one.number('size')), int(one.number('free')), one.whole('inodes'))
        found.setdefault(one.whole('device'), disk)
    return tuple(found.values())


def reached(ask: HostAsk, places: Iterable[str]) -> dict[str, str]:
    """Try where the web server sends requests on to: '' or why it cannot be reached from the host."""
    wanted = list(dict.fromkeys(places))[:20]
    named = [one for one in wanted if not one.startswith('unix:')]
    found = {}
    if named:
        said = ask.ask('host-names', seconds=SLOW, names=[
            {'host': encoded(one.rpartition(':')[0]), 'port': int(one.rpartition(':')[2])} for one in named])
        for place, one in zip(named, said.parts('names'), strict=False):
            found[place] = _sentence(one.text('word'), one.text('detail'))
    sockets = [one for one in wanted if one.startswith('unix:')]
    for place, pulse in pulses(ask, (), sockets).items():
        found[place] = '' if pulse.word == 'answers' else f'its socket: {pulse.word or "no answer"}'
    return found


def _sentence(word: str, detail: str) -> str:
    return {'': '', 'dns': 'could not be resolved'}.get(word, detail or word)
