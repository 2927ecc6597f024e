"""Guards: a rule goes on for everybody but the probe, or is off for everybody, for seconds that the kernel counts.

Armed once, each rule moves with its text into a chain of its own, and a jump to that chain takes its place (for nft
under the same handle). The chain returns before it gets to the rule where the packet is in the rule's guard set. From
then on switching is adding elements to sets, and each element ends by itself: when wpaudit dies, all rules hold for
everybody again after as many seconds as were asked for, without any command.

A chain, and not a condition in front of the rule (``meta skuid != @set ...``), because such a condition says no more
than it is asked: packets without a socket have no uid, and in an ``inet`` table ``ip saddr != @set`` lets all of IPv6
pass the rule.

Which packets are the probe's can be told

* at input, prerouting and ingress by its source address, as the host sees it. Behind a CDN or another proxy that is the
  proxy's, and visitors come from there as well: then rules can be switched live only;
* at output by the uid of a process that makes the probe's requests on the host (the shadow, a second web server), and
  by the destination address where the rule stops answers;
* at input, for answers to the shadow from other machines, by its uid too: the kernel knows the socket they are for by
  then. Only nft asks for it there (xt_owner is for packets that go out);
* at forward and postrouting by either address.

Loopback addresses are never the probe's alone, but for one: that which the shadow's connections to loopback come from.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from wpaudit.firewalls.netfilter.matching import parsed
from wpaudit.firewalls.netfilter.rules import NFT
from wpaudit.firewalls.netfilter.rules import Rule

MOST_SECONDS = 3600
PUT_BY = 'wpaudit'  # the comment of what a run puts in a rule's place
_TOKEN = re.compile(r'[0-9a-f]{8}')
INCOMING = frozenset({'input', 'prerouting', 'ingress'})
_BOTH_WAYS = frozenset({'forward', 'postrouting'})
_OWNED = frozenset({'output', 'postrouting'})  # where iptables knows the owner of a packet (xt_owner)


class By(StrEnum):
    """What tells the probe's packets from all others."""

    UID = 'uid'
    SOURCE = 'source'
    DESTINATION = 'destination'
    NOTHING = 'nothing'  # live: the rule is off for everybody


@dataclass(frozen=True)
class Who:
    """Whose packets pass: those of a uid on the host, those from and to these addresses, or everybody's.

    ``loopback`` is an address of 127.0.0.0/8 that nothing but the uid's connections comes from; ``demux`` tells whether
    the kernel knows at input whose socket a packet is for (early demultiplexing, tcp_early_demux in ip-sysctl.rst).
    """

    uid: int | None = None
    addresses: tuple[str, ...] = ()
    loopback: str = ''
    everybody: bool = False
    demux: bool = True


@dataclass(frozen=True)
class Command:
    """One command for the host, to be run as root, in the order of the plan; any failing one ends it."""

    argv: tuple[str, ...]
    stdin: bytes = b''


@dataclass(frozen=True)
class Guard:
    """One rule with its guard. ``name`` is that of the chain, and of the sets with a letter behind it.

    ``spelling`` is the text by which the tool finds the rule where that is not the text it writes; ``''`` where it is.
    """

    rule: Rule
    name: str
    ways: frozenset[By]
    who: Who
    spelling: str = ''

    @property
    def text(self) -> str:
        """What the tool takes for exactly this rule."""
        return self.spelling or self.rule.text


def ways(rule: Rule, reached: frozenset[str], who: Who) -> frozenset[By]:
    """Return what tells the probe's packets at the hooks ``reached``; empty where only live switching is possible."""
    if who.everybody:
        return frozenset({By.NOTHING})
    found = set()
    if who.uid is not None and _knows_the_uid(rule, reached, who):
        found.add(By.UID)
    if own(who):
        if reached & (INCOMING | _BOTH_WAYS):
            found.add(By.SOURCE)
        if reached & (_BOTH_WAYS | {'output'}) or (who.loopback and reached & INCOMING):
            found.add(By.DESTINATION)
    return frozenset(found)


def _knows_the_uid(rule: Rule, reached: frozenset[str], who: Who) -> bool:
    if rule.tool == NFT:
        return 'output' in reached or ('input' in reached and who.demux)
    return 'output' in reached and reached <= _OWNED


def own(who: Who) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, ...]:
    """Return the addresses of the probe that others cannot have."""
    every = [parsed(one) for one in who.addresses]
    found = [one for one in every if one is not None and not one.is_loopback and not one.is_unspecified]
    return *found, *([ipaddress.ip_address(who.loopback)] if who.loopback else [])


def guarded(
    rules: Sequence[tuple[Rule, frozenset[str]]], token: str, who: Who,
) -> tuple[tuple[Guard, ...], tuple[tuple[Rule, str], ...]]:
    """Give each rule, with the hooks it is reached by, its guard; also return the rules that get none, and why.

    ``token`` is eight hexadecimal digits that no other run has. Raises ValueError for another one.
    """
    if not _TOKEN.fullmatch(token):
        raise ValueError(f'{token!r} is no token')
    guards: list[Guard] = []
    left: list[tuple[Rule, str]] = []
    for number, (rule, reached) in enumerate(rules):
        how = ways(rule, reached, who)
        if rule.flaw:
            left.append((rule, rule.flaw))
        elif not how:
            left.append((rule, f'at {", ".join(sorted(reached)) or "no hook"} nothing tells the probe from visitors'))
        else:
            guards.append(Guard(rule, f'wpa-{token}-{number}', how, who))
    return tuple(guards), tuple(left)


def bounded(seconds: float) -> int:
    """Return whole seconds that the kernel can count. Raises ValueError where there are none."""
    if not 1 <= seconds <= MOST_SECONDS:
        raise ValueError(f'{seconds} s is no time for a guard')
    return int(seconds)


def encoded(lines: Sequence[str]) -> bytes:
    """Write lines for a tool's stdin."""
    return ''.join(f'{line}\n' for line in lines).encode('utf-8', 'surrogateescape')
