"""Rules as suspects: the rest of wpaudit knows no others."""

from __future__ import annotations

from collections.abc import Sequence

from wpaudit.domain import Gap
from wpaudit.domain import Kind
from wpaudit.domain import Suspect
from wpaudit.firewalls.netfilter.prospect import Suspected
from wpaudit.firewalls.netfilter.reading import Read
from wpaudit.firewalls.netfilter.remedy import asked
from wpaudit.firewalls.netfilter.rules import NFT
from wpaudit.firewalls.netfilter.rules import NamedSet
from wpaudit.firewalls.netfilter.rules import Rule
from wpaudit.firewalls.netfilter.rules import hooks
from wpaudit.firewalls.netfilter.suspicion import judged

NAME = 'netfilter'
RULES = 'netfilter rules'
LONGEST_NAME = 200
MOST_SUSPECTS = 2_000
_MISSED_SHOWN = 10
_ENTRIES_SHOWN = 20


def suspected(read: Read) -> tuple[tuple[Suspected, ...], tuple[Gap, ...]]:
    """Return the rules that are suspects, chain by chain, with the hooks they are reached by; and what is missing."""
    reached = hooks(read.ruleset)
    found: dict[str, Suspected] = {}
    missed: list[Gap] = []
    for rule in read.ruleset.rules:
        at = reached.get(rule.home, frozenset())
        said = judged(rule, at, read.account.ssh_ports)
        if said.missed or (said.suspect and rule.id in found):
            missed.append(Gap(f'netfilter rule {rule.id}', f'cannot be switched: {said.reason}'))
        elif said.suspect:
            found[rule.id] = rule, at
    homes = list(dict.fromkeys(rule.home for rule, _ in found.values()))
    kept = sorted(found.values(), key=lambda one: homes.index(one[0].home))
    return tuple(kept[:MOST_SUSPECTS]), (*read.gaps, *_bounded(missed), *_too_many(len(kept)))


def suspect_of(rule: Rule, reached: frozenset[str], sets: Sequence[NamedSet] = ()) -> Suspect:
    """Return a rule as the rest of wpaudit knows it. Its text is its name, its comment a part of that.

    What is in the sets that it asks is told as its details.
    """
    table = f'{rule.family} {rule.table}' if rule.tool == NFT else rule.table
    tool = 'nftables' if rule.tool == NFT else rule.tool
    hook = f', at {", ".join(sorted(reached))}' if reached else ''
    return Suspect(
        rule.id, Kind.RULE, name=_cut(rule.text), layer=NAME, where=f'{tool}, table {table}, chain {rule.chain}{hook}',
        details=tuple((f'set {one.name}', _entries(one)) for one in asked(rule, sets)),
    )


def _entries(named: NamedSet) -> str:
    shown = [one.value for one in named.elements[:_ENTRIES_SHOWN]]
    more = len(named.elements) - len(shown)
    return _cut(', '.join(shown)) + (f' and {more} more' if more else '')


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_NAME else f'{text[:LONGEST_NAME - 1]}…'


def _bounded(missed: list[Gap]) -> list[Gap]:
    more = len(missed) - _MISSED_SHOWN
    return missed[:_MISSED_SHOWN] + ([Gap(RULES, f'{more} more cannot be switched')] if more > 0 else [])


def _too_many(count: int) -> list[Gap]:
    return [Gap(RULES, f'{count - MOST_SUSPECTS} of {count} are left out')] if count > MOST_SUSPECTS else []
