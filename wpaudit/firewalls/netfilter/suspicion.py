"""Which rules are suspects. One pure function decides, and says why.

A suspect stops, diverts or delays packets of the site, and switching it off can only let more through. A rule that lets
something in is none: switching it off could lock the owner out, wpaudit's own SSH first.
"""

from __future__ import annotations

from dataclasses import dataclass

from wpaudit.firewalls.netfilter.rules import NFT
from wpaudit.firewalls.netfilter.rules import OURS
from wpaudit.firewalls.netfilter.rules import Matches
from wpaudit.firewalls.netfilter.rules import Ports
from wpaudit.firewalls.netfilter.rules import Rule

SSH_PORT = 22
STOPPING = frozenset({'drop', 'reject', 'tarpit', 'delude', 'chaos', 'steal'})
DIVERTING = frozenset({'queue', 'nfqueue', 'dnat', 'redirect', 'tproxy', 'synproxy', 'netmap', 'fwd'})
FOLLOWED = frozenset({'jump', 'goto'})
_OPAQUE = {'anonymous': 'it holds a chain without a name', 'unreadable': 'its text cannot be taken apart'}
_SITE_UDP = (53, 443)  # names of upstreams, HTTP/3
_FAMILIES = frozenset({'ip', 'ip6', 'inet', 'bridge', 'netdev'})


@dataclass(frozen=True)
class Judged:
    """Whether a rule is a suspect, and why. ``missed`` marks one that could matter and cannot be switched."""

    suspect: bool
    reason: str
    missed: bool = False


def judged(rule: Rule, reached: frozenset[str], ssh_ports: frozenset[int] = frozenset({SSH_PORT})) -> Judged:
    """Decide about one rule that packets reach by the hooks ``reached``."""
    if OURS.fullmatch(rule.chain) or any(OURS.fullmatch(one.target) for one in rule.verdicts):
        return Judged(False, 'a run of wpaudit put it there')
    kinds = frozenset(one.kind for one in rule.verdicts)
    held = _stops_nothing(rule, kinds) or _elsewhere(rule, reached)
    if held:
        return Judged(False, held)
    held = _about_ssh(rule.matches, ssh_ports)
    if held:
        return Judged(False, held)
    held = _closes_ssh(rule, kinds, ssh_ports) or next((_OPAQUE[kind] for kind in kinds & _OPAQUE.keys()), rule.flaw)
    if held:
        return Judged(False, held, missed=True)
    verb = ', '.join(sorted(kinds & (STOPPING | DIVERTING)))
    return Judged(True, f'{verb} at {", ".join(sorted(reached))}')


def _stops_nothing(rule: Rule, kinds: frozenset[str]) -> str:
    if kinds & (STOPPING | DIVERTING | _OPAQUE.keys()):
        return ''
    if kinds & FOLLOWED:
        return 'it only leads to other rules, which are judged by themselves'
    if rule.tool == NFT and 'xt' in kinds:
        return ''
    return 'it stops and diverts nothing'


def _elsewhere(rule: Rule, reached: frozenset[str]) -> str:
    if rule.family not in _FAMILIES:
        return f'{rule.family} packets carry no site'
    if not reached:
        return 'no packet is led to its chain'
    return _not_the_site(rule.matches)


def _not_the_site(matches: Matches) -> str:
    """Say why a rule cannot concern a web site; only where that is certain."""
    protocols = matches.protocols
    if protocols is None:
        return ''
    carrying = protocols & {'tcp', 'udp'}
    if not carrying:
        return f'it is about {"/".join(sorted(protocols)) or "nothing"} only'
    needed = any(within(port, matches.dports) and within(port, matches.sports) for port in _SITE_UDP)
    return 'it is about udp that no site needs' if carrying == {'udp'} and not needed else ''


def _about_ssh(matches: Matches, ssh_ports: frozenset[int]) -> str:
    about = any(covered(only, ssh_ports) for only in (matches.dports, matches.sports) if only)
    return 'it is about SSH' if about else ''


def _closes_ssh(rule: Rule, kinds: frozenset[str], ssh_ports: frozenset[int]) -> str:
    """Say how switching a rule off could close SSH. What only stops packets cannot."""
    if 'vmap' in kinds and kinds - STOPPING - {'vmap'}:
        return 'it also accepts or leads on, so switching it off could close SSH'
    leads_there = any(within(port, one.ports) for one in rule.verdicts if one.ports for port in ssh_ports)
    if kinds & DIVERTING and (leads_there or _may_be_ssh(rule.matches, ssh_ports)):
        return 'SSH could come through it, so switching it off could close SSH'
    return ''


def covered(ports: Ports, among: frozenset[int]) -> bool:
    """Tell whether ``ports`` holds nothing but ports of ``among``."""
    return all(high - low < len(among) and frozenset(range(low, high + 1)) <= among for low, high in ports)


def within(port: int, ports: Ports | None) -> bool:
    """Tell whether a port may be among ``ports``; None is all of them."""
    return ports is None or any(low <= port <= high for low, high in ports)


def _may_be_ssh(matches: Matches, ssh_ports: frozenset[int]) -> bool:
    if matches.protocols is not None and 'tcp' not in matches.protocols:
        return False
    to_sshd = any(within(port, matches.dports) for port in ssh_ports)
    from_sshd = any(within(port, matches.sports) for port in ssh_ports)
    return to_sshd or (from_sshd and matches.dports is None)
