"""Rules, chains and sets of the packet filter as frozen data, the same for nftables and iptables.

Texts are as the tools wrote them (surrogateescape), never rewritten: what is put back must be what was there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import field

NFT = 'nft'
OURS = re.compile(r'wpa-[0-9a-f]{8}-[0-9]+')  # names of what a run puts beside the rules

Ports = tuple[tuple[int, int], ...]  # inclusive ranges


@dataclass(frozen=True)
class Matches:
    """What a rule's matches say for certain; None where they say nothing, or something that is not understood.

    ``exact`` is False when there is a match that none of the fields holds: the rule may apply to less than they say.
    Addresses are texts of addresses, networks or ranges (``10.0.0.1-10.0.0.9``), or ``@NAME`` of a set.
    """

    protocols: frozenset[str] | None = None
    dports: Ports | None = None
    sports: Ports | None = None
    saddr: tuple[str, ...] | None = None
    daddr: tuple[str, ...] | None = None
    iif: tuple[str, ...] | None = None
    oif: tuple[str, ...] | None = None
    states: frozenset[str] | None = None
    exact: bool = True


@dataclass(frozen=True)
class Verdict:
    """One thing a rule can do with a packet: ``drop``, ``jump`` to the chain ``target``, ``dnat`` to ``ports``."""

    kind: str
    target: str = ''
    ports: Ports = ()


@dataclass(frozen=True)
class Rule:
    """One rule. ``tool`` is ``nft``, or the program that owns it: ``iptables``, ``ip6tables``, ``iptables-legacy``, ...

    ``place`` is the handle for nft and the number in the chain, from 1, for iptables. ``text`` is what the tool takes
    to make the rule again, without its chain, handle or counters in brackets. ``flaw`` says why it cannot be
    switched, ``''`` when it can. ``listed`` is the id it was listed by, where it stands at another number by now.
    """

    tool: str
    family: str
    table: str
    chain: str
    place: int
    text: str
    verdicts: tuple[Verdict, ...] = ()
    matches: Matches = field(default_factory=Matches)
    comment: str = ''
    packets: int = 0
    octets: int = 0
    flaw: str = ''
    listed: str = ''

    @property
    def id(self) -> str:
        """What the layer keys it by. All but plain ``iptables`` bear their tool's name: tables are called alike."""
        if self.listed:
            return self.listed
        if self.tool == NFT:
            return f'{self.family} {self.table} {self.chain} handle {self.place}'
        return f'{"" if self.tool == "iptables" else f"{self.tool} "}{self.table} {self.chain} {self.place}'

    @property
    def home(self) -> tuple[str, str, str, str]:
        """The chain it stands in."""
        return self.tool, self.family, self.table, self.chain


@dataclass(frozen=True)
class Chain:
    """One chain. ``hook`` is ``''`` for those that are only jumped to."""

    tool: str
    family: str
    table: str
    name: str
    hook: str = ''
    policy: str = ''

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What rules name it by."""
        return self.tool, self.family, self.table, self.name


@dataclass(frozen=True)
class Element:
    """One entry of a set, as the tool wrote it. Seconds are 0 where it never expires."""

    value: str
    timeout: int = 0
    expires: int = 0
    comment: str = ''


@dataclass(frozen=True)
class NamedSet:
    """A set with its entries; ``whole`` is False when there were too many to keep. ``tool`` is ``nft`` or ``ipset``."""

    tool: str
    family: str
    table: str
    name: str
    type: str = ''
    elements: tuple[Element, ...] = ()
    whole: bool = True


@dataclass(frozen=True)
class Ruleset:
    """All that was read."""

    rules: tuple[Rule, ...] = ()
    chains: tuple[Chain, ...] = ()
    sets: tuple[NamedSet, ...] = ()

    def joined(self, *others: Ruleset) -> Ruleset:
        """Return this and the others as one."""
        every = (self, *others)
        return Ruleset(
            tuple(rule for one in every for rule in one.rules),
            tuple(chain for one in every for chain in one.chains),
            tuple(named for one in every for named in one.sets),
        )


def hooks(ruleset: Ruleset) -> dict[tuple[str, str, str, str], frozenset[str]]:
    """Return by which hooks each chain is reached, jumps followed; chains that nothing leads to have none."""
    steps: dict[tuple[str, str, str, str], set[tuple[str, str, str, str]]] = {}
    for rule in ruleset.rules:
        goals = {(*rule.home[:3], one.target) for one in rule.verdicts if one.target}
        steps.setdefault(rule.home, set()).update(goals)
    reached: dict[tuple[str, str, str, str], set[str]] = {chain.key: set() for chain in ruleset.chains}
    for chain in ruleset.chains:
        if chain.hook:
            for key in _from(chain.key, steps):
                reached.setdefault(key, set()).add(chain.hook)
    return {key: frozenset(found) for key, found in reached.items()}


def _from(
    start: tuple[str, str, str, str], steps: dict[tuple[str, str, str, str], set[tuple[str, str, str, str]]],
) -> Iterable[tuple[str, str, str, str]]:
    seen, left = {start}, [start]
    while left:
        for key in steps.get(left.pop(), ()):
            if key not in seen:
                seen.add(key)
                left.append(key)
    return seen
