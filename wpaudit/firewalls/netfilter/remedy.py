"""What a person can type against a culprit: the exact commands, as text. wpaudit never runs them.

First the narrowest exception, which lets the site's own packets pass before the rule; then the removal of the rule.
Both are gone with the next start of the firewall, so where it is kept is said too.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from collections.abc import Sequence

from wpaudit.firewalls.netfilter.matching import Packet
from wpaudit.firewalls.netfilter.matching import matching_elements
from wpaudit.firewalls.netfilter.matching import parsed
from wpaudit.firewalls.netfilter.rules import NFT
from wpaudit.firewalls.netfilter.rules import NamedSet
from wpaudit.firewalls.netfilter.rules import Rule
from wpaudit.firewalls.netfilter.suspicion import DIVERTING

_FAMILY = {4: 'ip', 6: 'ip6'}  # by the version of IP
_OTHER = {4: 'ip6', 6: 'ip'}
_KEPT = {
    NFT: 'to keep it, change /etc/nftables.conf, or whatever loads these rules (firewalld, a script), too',
    'iptables': 'to keep it, change what loads these rules (ufw, netfilter-persistent, a script), too',
}


def remedies(rule: Rule, packet: Packet, sets: Sequence[NamedSet] = ()) -> tuple[str, ...]:
    """Return commands against ``rule`` for the connection ``packet``, the gentlest first, then a sentence.

    An exception is not offered where it cannot be narrow: for rules that divert, or when no address is known.
    """
    lines = [*_unblocked(rule, packet, sets)]
    diverts = any(one.kind in DIVERTING for one in rule.verdicts)
    exception = _exception(rule, packet)
    if exception and not diverts:
        lines.append(exception)
    lines.append(_removal(rule))
    return *(line for line in lines if line), _KEPT[NFT if rule.tool == NFT else 'iptables']


def _removal(rule: Rule) -> str:
    if rule.tool == NFT:
        return _nft(f'delete rule {rule.family} {rule.table} {rule.chain} handle {rule.place}')
    return shlex.join((rule.tool, '-t', rule.table, '-D', rule.chain, str(rule.place)))


def _exception(rule: Rule, packet: Packet) -> str:
    addresses = [one for one in (parsed(packet.saddr), parsed(packet.daddr)) if one is not None]
    if not addresses or any(rule.family == _OTHER[one.version] for one in addresses):
        return ''
    if rule.tool == NFT:
        narrow = ' '.join([*_nft_addresses(packet), *_ports(packet)])
        return _nft(f'insert rule {rule.family} {rule.table} {rule.chain} position {rule.place} {narrow} accept')
    ends = [word for flag, value in (('-s', packet.saddr), ('-d', packet.daddr)) if value for word in (flag, value)]
    ports = ['-p', packet.protocol, *_options(packet)] if packet.dport or packet.sport else []
    place = (rule.tool, '-t', rule.table, '-I', rule.chain, str(rule.place))
    return shlex.join((*place, *ends, *ports, '-j', 'ACCEPT'))


def _nft_addresses(packet: Packet) -> list[str]:
    found = []
    for field, value in (('saddr', packet.saddr), ('daddr', packet.daddr)):
        address = parsed(value)
        if address is not None:
            found.append(f'{_FAMILY[address.version]} {field} {address}')
    return found


def _ports(packet: Packet) -> list[str]:
    return [f'{packet.protocol} {field} {port}' for field, port in _known(packet)]


def _options(packet: Packet) -> list[str]:
    return [word for field, port in _known(packet) for word in (f'--{field}', str(port))]


def _known(packet: Packet) -> list[tuple[str, int]]:
    return [(field, port) for field, port in (('sport', packet.sport), ('dport', packet.dport)) if port]


def _unblocked(rule: Rule, packet: Packet, sets: Sequence[NamedSet]) -> list[str]:
    """Where a rule blocks what is in a set: take just the matching entry out of the set."""
    found = []
    for side, value in ((rule.matches.saddr, packet.saddr), (rule.matches.daddr, packet.daddr)):
        for one in _named(side, rule, sets):
            found += [_without(one, element) for element in matching_elements(value, one)]
    return found


def asked(rule: Rule, sets: Sequence[NamedSet]) -> tuple[NamedSet, ...]:
    """Return the sets in which a rule looks addresses up."""
    return tuple(dict.fromkeys(
        one for side in (rule.matches.saddr, rule.matches.daddr) for one in _named(side, rule, sets)))


def _named(side: Sequence[str] | None, rule: Rule, sets: Sequence[NamedSet]) -> Iterator[NamedSet]:
    names = {word[1:] for word in side or () if word.startswith('@')}
    yield from (one for one in sets if one.name in names and _belongs(one, rule))


def _belongs(named: NamedSet, rule: Rule) -> bool:
    if rule.tool != NFT:
        return named.tool == 'ipset'
    return (named.tool, named.family, named.table) == (NFT, rule.family, rule.table)


def _without(named: NamedSet, element: str) -> str:
    if named.tool == NFT:
        return _nft(f'delete element {named.family} {named.table} {named.name} {{ {element} }}')
    return shlex.join(('ipset', 'del', named.name, element))


def _nft(text: str) -> str:
    return f'nft {shlex.quote(text)}'
