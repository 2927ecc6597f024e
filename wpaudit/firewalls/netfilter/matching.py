"""What a rule can apply to: small, certain facts out of its matches, compared with one connection."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass

from wpaudit.firewalls.netfilter.rules import Matches
from wpaudit.firewalls.netfilter.rules import NamedSet
from wpaudit.firewalls.netfilter.rules import Ports
from wpaudit.firewalls.netfilter.rules import Rule

HIGHEST_PORT = 65535
_DIGITS = 5
NAMED_PORTS = {'ssh': 22, 'domain': 53, 'http': 80, 'https': 443, 'mysql': 3306, 'http-alt': 8080, 'smtp': 25}

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Packet:
    """The first packet of a connection; what is None or ``''`` is not known and fits everything."""

    protocol: str = 'tcp'
    saddr: str = ''
    daddr: str = ''
    dport: int = 0
    sport: int = 0


def may_match(matches: Matches, packet: Packet, sets: Sequence[NamedSet] = (), rule: Rule | None = None) -> bool:
    """Tell whether a rule can apply to ``packet``: False only where that is certain."""
    if matches.protocols is not None and packet.protocol not in matches.protocols:
        return False
    if not _in_ports(packet.dport, matches.dports) or not _in_ports(packet.sport, matches.sports):
        return False
    of_rule = [one for one in sets if rule is None or _seen_by(one, rule)]
    return _in_addresses(packet.saddr, matches.saddr, of_rule) and _in_addresses(packet.daddr, matches.daddr, of_rule)


def _seen_by(named: NamedSet, rule: Rule) -> bool:
    if rule.tool != 'nft':
        return named.tool == 'ipset'
    return (named.tool, named.family, named.table) == ('nft', rule.family, rule.table)


def matching_elements(value: str, named: NamedSet) -> tuple[str, ...]:
    """Return the entries of a set that hold the address ``value``, as they are written there."""
    address = parsed(value)
    if address is None:
        return ()
    return tuple(one.value for one in named.elements if _holds(one.value, address))


def parsed(value: str) -> Address | None:
    """Read an address; None when it is none."""
    try:
        found = ipaddress.ip_address(value)
    except ValueError:
        return None
    mapped = getattr(found, 'ipv4_mapped', None)
    return mapped or found


def _in_ports(port: int, ports: Ports | None) -> bool:
    return not port or ports is None or any(low <= port <= high for low, high in ports)


def _in_addresses(value: str, wanted: tuple[str, ...] | None, sets: Iterable[NamedSet]) -> bool:
    address = parsed(value)
    if wanted is None or address is None:
        return True
    by_name = {f'@{one.name}': one for one in sets}
    return any(_one(word, address, by_name) for word in wanted)


def _one(word: str, address: Address, sets: dict[str, NamedSet]) -> bool:
    if not word.startswith('@'):
        return _holds(word, address)
    named = sets.get(word)
    return named is None or not named.whole or any(_holds(one.value, address) for one in named.elements)


def _holds(word: str, address: Address) -> bool:
    """Tell whether an address, network or range holds ``address``. What cannot be read may hold it."""
    word = word.split(',', maxsplit=1)[0].split(' . ', maxsplit=1)[0]  # ipset: "10.0.0.1,tcp:80"; nft: "10.0.0.1 . 80"
    low, dash, high = word.partition('-')
    try:
        if dash:
            ends = ipaddress.ip_address(low), ipaddress.ip_address(high)
            return ends[0].version == address.version and int(ends[0]) <= int(address) <= int(ends[1])
        network = ipaddress.ip_network(word, strict=False)
    except ValueError:
        return True
    return network.version == address.version and address in network


def ports(words: Iterable[object]) -> Ports | None:
    """Read ports and ranges (``80``, ``8000:8010``, ``8000-8010``, ``http``); None when one cannot be read."""
    found = []
    for word in words:
        text = str(NAMED_PORTS.get(str(word), word)).replace('-', ':')
        low, colon, high = text.partition(':')
        first = _port(low or '0') if text else None
        last = _port(high or str(HIGHEST_PORT)) if colon else first
        if first is None or last is None:
            return None
        found.append((first, last))
    return tuple(found)


def _port(word: str) -> int | None:
    number = int(word) if word.isascii() and word.isdigit() and len(word) <= _DIGITS else HIGHEST_PORT + 1
    return number if number <= HIGHEST_PORT else None
