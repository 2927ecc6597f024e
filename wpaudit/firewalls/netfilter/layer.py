"""The layer: lists the rules of the packet filter that could stop the site."""

from __future__ import annotations

from contextlib import AbstractContextManager

from wpaudit.domain import Evidence
from wpaudit.domain import Gap
from wpaudit.domain import Kind
from wpaudit.domain import Mode
from wpaudit.domain import Suspect
from wpaudit.errors import CommandTimeout
from wpaudit.errors import ModeUnavailable
from wpaudit.firewalls.netfilter.reading import Read
from wpaudit.firewalls.netfilter.reading import Reader
from wpaudit.firewalls.netfilter.rules import NFT
from wpaudit.firewalls.netfilter.rules import Rule
from wpaudit.firewalls.netfilter.rules import hooks
from wpaudit.firewalls.netfilter.suspicion import judged
from wpaudit.ports import Ground
from wpaudit.ports import Switcher

NAME = 'netfilter'
LONGEST_NAME = 200
MOST_SUSPECTS = 2_000
_MISSED_SHOWN = 10


class NetfilterLayer:
    """``ports.Layer`` for nftables and every kind of iptables on one host."""

    name = NAME

    def __init__(self, ground: Ground) -> None:
        self._reader = Reader(ground.shell)

    def listing(self) -> tuple[tuple[Suspect, ...], tuple[Gap, ...]]:
        """List the rules that can be suspects and what could not be read. Changes nothing."""
        try:
            return listed(self._reader.read())
        except CommandTimeout as error:
            return (), (Gap('netfilter rules', error.message),)

    def evidence(self) -> tuple[tuple[Evidence, ...], tuple[Gap, ...]]:
        """Know of no log that would name one of these rules."""
        return (), ()

    def switching(self, mode: Mode) -> AbstractContextManager[Switcher]:
        """Refuse: rules of the packet filter are listed and planned for, and not switched by this version."""
        raise ModeUnavailable(f'netfilter rules cannot be switched {mode.value} by this version of wpaudit')


def listed(read: Read) -> tuple[tuple[Suspect, ...], tuple[Gap, ...]]:
    """Turn what was read into suspects and gaps."""
    reached = hooks(read.ruleset)
    suspects: dict[str, Suspect] = {}
    missed: list[Gap] = []
    for rule in read.ruleset.rules:
        at = reached.get(rule.home, frozenset())
        said = judged(rule, at, read.account.ssh_ports)
        if said.missed or (said.suspect and rule.id in suspects):
            missed.append(Gap(f'netfilter rule {rule.id}', f'cannot be switched: {said.reason}'))
        elif said.suspect:
            suspects[rule.id] = suspect_of(rule, at)
    kept = tuple(suspects.values())
    return kept[:MOST_SUSPECTS], (*read.gaps, *_bounded(missed), *_too_many(len(kept)))


def suspect_of(rule: Rule, reached: frozenset[str]) -> Suspect:
    """Return a rule as the rest of wpaudit knows it. Its text is its name, its comment a part of that."""
    table = f'{rule.family} {rule.table}' if rule.tool == NFT else rule.table
    tool = 'nftables' if rule.tool == NFT else rule.tool
    hook = f', at {", ".join(sorted(reached))}' if reached else ''
    return Suspect(
        rule.id, Kind.RULE, name=_cut(rule.text), layer=NAME, where=f'{tool}, table {table}, chain {rule.chain}{hook}',
    )


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_NAME else f'{text[:LONGEST_NAME - 1]}…'


def _bounded(missed: list[Gap]) -> list[Gap]:
    more = len(missed) - _MISSED_SHOWN
    return missed[:_MISSED_SHOWN] + ([Gap('netfilter rules', f'{more} more cannot be switched')] if more > 0 else [])


def _too_many(count: int) -> list[Gap]:
    return [Gap('netfilter rules', f'{count - MOST_SUSPECTS} of {count} are left out')] if count > MOST_SUSPECTS else []
