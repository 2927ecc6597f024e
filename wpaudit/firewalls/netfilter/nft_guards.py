"""Guards of nftables rules as transactions of ``nft -f``: each one happens as a whole or not at all.

The way back is ``sh/unguard.sh``, which does what ``restored`` says.

Counters: a rule is put back with the numbers its copy has by then, so packets of visitors that it met meanwhile are
counted as ever. Where none came by, ``nft -a list ruleset`` is the same, byte for byte, handles included. What a rule
keeps to itself and nft does not show begins anew: the bucket of ``limit``, the connections of ``ct count``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Sequence

from wpaudit.firewalls.netfilter.guards import PUT_BY
from wpaudit.firewalls.netfilter.guards import By
from wpaudit.firewalls.netfilter.guards import Command
from wpaudit.firewalls.netfilter.guards import Guard
from wpaudit.firewalls.netfilter.guards import bounded
from wpaudit.firewalls.netfilter.guards import encoded
from wpaudit.firewalls.netfilter.guards import own

APPLY = ('nft', '-f', '-')
TRY = ('nft', '-c', '-f', '-')
_SIZE = 16
_NUMBERS = re.compile(r'\b(counter packets) \d+ (bytes) \d+|\b(used) \d+ [a-z]+|\b(last) (?:never|used \S+)')


def arm(guards: Sequence[Guard]) -> tuple[Command, ...]:
    """Rehearse all of it, the way back included, then do: every rule moves behind its guard in one transaction."""
    if not guards:
        return ()
    text = encoded([line for guard in guards for line in _armed(guard)])
    return rehearsal(guards), Command(APPLY, text)


def rehearsal(guards: Sequence[Guard]) -> Command:
    """Let nft and the kernel check the way there and the way back, and change nothing.

    When it fails for many guards, those it fails for alone have texts that nft does not read back.
    """
    lines = [line for guard in guards for line in (*_armed(guard), *restored(guard, guard.rule.text))]
    return Command(TRY, encoded(lines))


def off(guards: Sequence[Guard], ids: frozenset[str], seconds: float) -> tuple[Command, ...]:
    """Switch exactly the rules ``ids`` off, and all others on, for at most ``seconds`` (1 to 3600)."""
    if not guards:
        return ()
    lasting = bounded(seconds)
    lines = [f'flush set {_at(guard)} {name}' for guard in guards for name in sets(guard)]
    lines += [
        f'add element {_at(guard)} {name} {{ {", ".join(f"{value} timeout {lasting}s" for value in values)} }}'
        for guard in guards if guard.rule.id in ids for name, (_, values) in sets(guard).items() if values
    ]
    return (Command(APPLY, encoded(lines)),)


def restored(guard: Guard, text: str) -> list[str]:
    """Return the transaction that puts one rule back as ``text``, and takes its guard away."""
    rule = guard.rule
    return [
        f'flush chain {_at(guard)} {guard.name}',  # the copy goes first: a meter may be there only once
        f'replace rule {_at(guard)} {rule.chain} handle {rule.place} {text}',
        f'delete chain {_at(guard)} {guard.name}',
        *(f'delete set {_at(guard)} {name}' for name in sets(guard)),
    ]


def jump(guard: Guard) -> str:
    """Return the text of what stands in a rule's place."""
    return f'jump {guard.name} comment "{PUT_BY}"'


def uncounted(text: str) -> str:
    """Return a rule's text without what has been counted: the same for as long as nobody changes the rule."""
    return _NUMBERS.sub(r'\1\2\3\4', text)


def _armed(guard: Guard) -> Iterator[str]:
    rule, at = guard.rule, _at(guard)
    for name, (kind, _) in sets(guard).items():
        yield f'add set {at} {name} {{ type {kind}; size {_SIZE}; flags timeout; }}'
    yield f'add chain {at} {guard.name}'
    yield f'replace rule {at} {rule.chain} handle {rule.place} {jump(guard)}'
    for line in returns(guard):
        yield f'add rule {at} {guard.name} {line}'
    yield f'add rule {at} {guard.name} {rule.text}'


def _at(guard: Guard) -> str:
    return f'{guard.rule.family} {guard.rule.table}'


def sets(guard: Guard) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return the sets of a guard: name -> type, and the elements that mean "off"."""
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    family = guard.rule.family
    if By.UID in guard.ways:
        found[f'{guard.name}u'] = 'uid', (str(guard.who.uid),)
    if By.NOTHING in guard.ways:
        found[f'{guard.name}e'] = 'ether_type', ('ip', 'ip6')
    if guard.ways & {By.SOURCE, By.DESTINATION}:
        for version, kind, other in ((4, 'ipv4_addr', 'ip6'), (6, 'ipv6_addr', 'ip')):
            if family != other:
                values = tuple(str(one) for one in own(guard.who) if one.version == version)
                found[f'{guard.name}v{version}'] = kind, values[:_SIZE]
    return found


def returns(guard: Guard) -> Iterator[str]:
    """Return the lines that leave the chain before it gets to the rule."""
    names = sets(guard)
    for field, letter in (('meta skuid', 'u'), ('meta protocol', 'e')):  # nfproto is for inet tables only
        if (name := f'{guard.name}{letter}') in names:
            yield f'{field} @{name} return'
    for way, field in ((By.SOURCE, 'saddr'), (By.DESTINATION, 'daddr')):
        for protocol, letter in (('ip', 'v4'), ('ip6', 'v6')):
            if way in guard.ways and (name := f'{guard.name}{letter}') in names:
                yield f'{protocol} {field} @{name} return'
