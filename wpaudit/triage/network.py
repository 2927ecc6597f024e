"""Clues from names, connections and TLS. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence

from wpaudit.facts import Handshake
from wpaudit.facts import Resolution
from wpaudit.triage.compare import Difference
from wpaudit.triage.scene import HERE
from wpaudit.triage.scene import Scene

_TCP = {'refused': 'refused', 'timeout': 'connect-timeout', 'unreachable': 'unreachable',
        'reset': 'closed-without-answer'}
_HOST = 'host'


def network_differences(scene: Scene) -> Iterator[Difference]:
    """Yield what names and connections say, here and elsewhere."""
    yield from _names(scene.seen.resolutions)
    here = [one for one in scene.seen.handshakes if one.vantage == HERE and not _no_ipv6(one, scene.seen.handshakes)]
    yield from _connections(here)
    yield from _tls([one for one in here if not one.tcp_error])
    yield from _reached_elsewhere(here, [one for one in scene.seen.handshakes if one.vantage not in {HERE, _HOST}])


def means_something(one: Resolution) -> bool:
    """Did the name lead to an address?"""
    return bool(one.ipv4 or one.ipv6)


def _names(resolutions: Sequence[Resolution]) -> Iterator[Difference]:
    here = [one for one in resolutions if one.vantage == HERE]
    others = [one for one in resolutions if one.vantage != HERE]
    lost = [one for one in here if not means_something(one)]
    if lost:
        yield Difference(
            f'{lost[0].name} does not resolve here ({lost[0].error or "no address"})', 'no-dns', 'dns', shown=False)
    found = [one for one in others if means_something(one)]
    if lost and found:
        yield Difference(f'{lost[0].name} resolves at {found[0].vantage}, not here', 'here-only', 'dns')
    for other in others:
        same = next((one for one in here if one.name == other.name and means_something(one)), None)
        if same and not means_something(other):
            yield Difference(f'{other.name} resolves here, not at {other.vantage} ({other.error or "no address"})')
        elif same and _disjoint(same, other):
            sentence = f'{other.name} is {_addresses(same)} here, {_addresses(other)} at {other.vantage}'
            # Hosts often have their own name in /etc/hosts.
            yield Difference(sentence, 'dns-differs', 'dns', 0.0 if other.vantage == _HOST else 1.0)


def _disjoint(one: Resolution, other: Resolution) -> bool:
    return not set(one.ipv4 + one.ipv6) & set(other.ipv4 + other.ipv6)


def _addresses(one: Resolution) -> str:
    return ', '.join((one.ipv4 + one.ipv6)[:3])


def _no_ipv6(one: Handshake, all_of_them: Sequence[Handshake]) -> bool:
    """Is it this machine that has no IPv6? Then all of it is unreachable, while IPv4 is not."""
    six = [other for other in all_of_them if other.vantage == one.vantage and ':' in other.address]
    four = [other for other in all_of_them if other.vantage == one.vantage and ':' not in other.address]
    return ':' in one.address and bool(four) and all(other.tcp_error == 'unreachable' for other in six)


def _connections(here: Sequence[Handshake]) -> Iterator[Difference]:
    bad = [one for one in here if one.tcp_error]
    if not bad:
        return
    good = [one for one in here if not one.tcp_error]
    where = f'{bad[0].address} port {bad[0].port}'
    if not good:
        for error in dict.fromkeys(one.tcp_error for one in bad):
            share = sum(one.tcp_error == error for one in bad) / len(bad)
            yield Difference(f'no connection to {where} ({error})', _TCP.get(error, 'connect-timeout'), 'tcp', share,
                             shown=False)
        return
    six = all(':' in one.address for one in bad) and not any(':' in one.address for one in good)
    sentence = f'no connection to {where} ({bad[0].tcp_error}), but to {good[0].address}'
    yield Difference(sentence, 'ipv6-only' if six else 'one-address', 'tcp')


def _tls(connected: Sequence[Handshake]) -> Iterator[Difference]:
    bad = [one for one in connected if one.tls_error]
    if not bad:
        return
    if len(bad) == len(connected):
        yield Difference(f'TLS fails at {bad[0].address}: {bad[0].tls_error}', 'no-tls', 'tls', shown=False)
    else:
        yield Difference(f'TLS fails at {bad[0].address} only: {bad[0].tls_error}', 'one-address', 'tls')


def _reached_elsewhere(here: Sequence[Handshake], others: Sequence[Handshake]) -> Iterator[Difference]:
    for one in here:
        other = next((two for two in others if two.address == one.address and not two.tcp_error), None)
        if one.tcp_error and other:
            yield Difference(f'{one.address} takes connections from {other.vantage}, not from here', 'here-only', 'tcp')
            return
