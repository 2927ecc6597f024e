"""Guards of iptables rules: transactions of ``iptables-restore --noflush``, and sets of ipset whose elements expire.

A rule is never named by its number when it goes, but by its whole text: when somebody else was quicker (fail2ban
inserts and deletes all the time) the transaction fails and changes nothing, or deletes our rule and no other.
``-R CHAIN n`` would overwrite whatever stands at that number by then.

Counters: the copy is made with the rule's counters, and the rule is put back with those the copy has by then.
``-m limit``, ``-m quota``, ``-m connlimit`` and ``-m statistic`` begin anew; the lists of ``-m recent`` and
``-m hashlimit`` stay.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import replace

from wpaudit.firewalls.netfilter.guards import PUT_BY
from wpaudit.firewalls.netfilter.guards import By
from wpaudit.firewalls.netfilter.guards import Changed
from wpaudit.firewalls.netfilter.guards import Command
from wpaudit.firewalls.netfilter.guards import Disarming
from wpaudit.firewalls.netfilter.guards import Guard
from wpaudit.firewalls.netfilter.guards import bounded
from wpaudit.firewalls.netfilter.guards import encoded
from wpaudit.firewalls.netfilter.guards import outside
from wpaudit.firewalls.netfilter.iptables import words_of
from wpaudit.firewalls.netfilter.rules import Rule

SETS = ('ipset', 'restore')
LOCK_SECONDS = '5'  # to wait for other users of iptables (the lock of xtables)
# hash:net takes no /0 (ipset(8)); two halves are everything
_ALL = {'ip': ('0.0.0.0/1', '128.0.0.0/1'), 'ip6': ('::/1', '8000::/1')}
_DEFAULTS = re.compile(r'"(?:\\.|[^"\\])*"|( --mask 255\.255\.255\.255| --connlimit-mask 32)(?= )', re.DOTALL)
_INET = {'ip': 'inet', 'ip6': 'inet6'}
_VERSION = {'ip': 4, 'ip6': 6}


def save(tool: str) -> tuple[str, ...]:
    """Return the command that lists all that a tool has, with counters."""
    return f'{tool}-save', '-c'


def arm(guards: Sequence[Guard], rules: Sequence[Rule]) -> tuple[Command, ...]:
    """Make the sets, then move the rules. ``rules`` are all that were read: some may look the same as a guarded one.

    Each guard must have been ``spelled``.
    """
    if not guards:
        return ()
    commands = [Command(SETS, encoded([line for guard in guards for line in _created(guard)]))]
    for tool, theirs in _by_tool(guards).items():
        tables = _by_table(theirs).items()
        lines = encoded([line for table, some in tables for line in _table_armed(table, some, rules)])
        commands.append(Command(restore(tool), lines))
    return tuple(commands)


def spelled(guard: Guard, finds: Callable[[Command], bool]) -> Guard | None:
    """Return the guard with the spelling by which iptables finds its rule; None when there is none.

    ``finds`` runs a command that changes nothing and tells whether it succeeded. What iptables-save writes is not
    always what it was told: an address mask that was not given is all ones in sixteen bytes, and one that was, in four.
    A rule that has no spelling could only be taken out by its number, hence is not switched.
    """
    rule = guard.rule
    for text in dict.fromkeys((rule.text, _DEFAULTS.sub(lambda found: '' if found[1] else found[0], rule.text))):
        words = words_of(text) or ()
        if finds(Command((rule.tool, '--wait', LOCK_SECONDS, '-t', rule.table, '-C', rule.chain, *words))):
            return replace(guard, spelling=text)
    return None


def off(guards: Sequence[Guard], ids: frozenset[str], seconds: float) -> tuple[Command, ...]:
    """Switch exactly the rules ``ids`` off, and all others on, for at most ``seconds`` (1 to 3600).

    First on, then off: what is in between is nearer to the state without wpaudit.
    """
    if not guards:
        return ()
    lasting = bounded(seconds)
    lines = [f'flush {name}' for guard in guards for name in _sets(guard)]
    lines += [
        f'add {name} {value} timeout {lasting}'
        for guard in guards if guard.rule.id in ids for name, values in _sets(guard).items() for value in values
    ]
    return (Command(SETS, encoded(lines)),)


def disarm(guards: Sequence[Guard], now: Sequence[Rule]) -> Disarming:
    """Put every rule back that is as this run left it. ``now`` are all rules, read a moment ago."""
    changed: list[Changed] = []
    ours: list[tuple[Guard, Rule, Rule]] = []
    for guard in guards:
        place, copy, why = _copy(guard, now)
        if place is None or copy is None:
            changed.append(Changed(guard.rule, why))
        else:
            ours.append((guard, place, copy))
    commands = []
    for tool, theirs in _by_tool([guard for guard, _, _ in ours]).items():
        lines: list[str] = []
        for table, some in _by_table(theirs).items():
            theirs_here = [one for one in ours if one[0] in some]
            lines += [f'*{table}', *_put_back(theirs_here), 'COMMIT']
        commands.append(Command(restore(tool), encoded(lines)))
    destroyed = [f'destroy {name}' for guard, _, _ in ours for name in _sets(guard)]
    return Disarming((*commands, *((Command(SETS, encoded(destroyed)),) if destroyed else ())), tuple(changed))


def _put_back(ours: Sequence[tuple[Guard, Rule, Rule]]) -> Iterator[str]:
    for guard, place, copy in ours:
        yield from restored(guard, place.place, copy)


def restore(tool: str) -> tuple[str, ...]:
    """Return the command that applies changes to one table at a time as a whole, with counters."""
    return f'{tool}-restore', '--noflush', '--counters', '--wait', LOCK_SECONDS


def restored(guard: Guard, place: int | str, copy: Rule) -> list[str]:
    """Return the lines that put one rule back at the number ``place``."""
    rule = guard.rule
    return [
        f'-D {rule.chain} {jump(guard)}',
        f'[{copy.packets}:{copy.octets}] -I {rule.chain} {place} {guard.text}',
        f'-F {guard.name}',
        f'-X {guard.name}',
    ]


def jump(guard: Guard) -> str:
    """Return the text of what stands in a rule's place."""
    return f'-m comment --comment {PUT_BY} -j {guard.name}'


def set_names(guard: Guard) -> tuple[str, ...]:
    """Return the names of a guard's sets."""
    return tuple(_sets(guard))


def _table_armed(table: str, guards: Sequence[Guard], rules: Sequence[Rule]) -> Iterator[str]:
    yield f'*{table}'
    for guard in guards:
        yield f':{guard.name} - [0:0]'
        for line in _returns(guard):
            yield f'-A {guard.name} {line}'
        yield f'[{guard.rule.packets}:{guard.rule.octets}] -A {guard.name} {guard.text}'
    for chain in dict.fromkeys(guard.rule.home for guard in guards):
        yield from _chain_armed([guard for guard in guards if guard.rule.home == chain], rules)
    yield 'COMMIT'


def _chain_armed(guards: Sequence[Guard], rules: Sequence[Rule]) -> Iterator[str]:
    """Take the rules out by their texts, and put what replaces them where they were, from the top.

    Rules with the same text go and come back together: a text does not say which of them it means.
    """
    by_place = {guard.rule.place: guard for guard in guards}
    texts = {guard.rule.text: guard.text for guard in guards}
    home = guards[0].rule.home
    touched = sorted((one for one in rules if one.home == home and one.text in texts), key=lambda one: one.place)
    for one in touched:
        yield f'-D {one.chain} {texts[one.text]}'
    for one in touched:
        guard = by_place.get(one.place)
        text = f'-I {one.chain} {one.place} {texts[one.text] if guard is None else jump(guard)}'
        yield f'[{one.packets}:{one.octets}] {text}' if guard is None else f'[0:0] {text}'


def _created(guard: Guard) -> Iterator[str]:
    for name in _sets(guard):
        yield f'create {name} hash:net family {_INET[guard.rule.family]} hashsize 64 maxelem 64 timeout {LOCK_SECONDS}'


def _sets(guard: Guard) -> Mapping[str, tuple[str, ...]]:
    """Return the sets of a guard: name -> the elements that mean "off"."""
    family = guard.rule.family
    found: dict[str, tuple[str, ...]] = {}
    if By.UID in guard.ways:
        found[f'{guard.name}u'] = _ALL[family]
    if By.NOTHING in guard.ways:
        found[f'{guard.name}e'] = _ALL[family]
    if guard.ways & {By.SOURCE, By.DESTINATION}:
        own = tuple(str(one) for one in outside(guard.who) if one.version == _VERSION[family])
        found[f'{guard.name}a'] = own
    return found


def _returns(guard: Guard) -> Iterator[str]:
    """Return the rules that leave the chain before it gets to the guarded one, as iptables-save writes them."""
    if By.UID in guard.ways:
        yield f'-m owner --uid-owner {guard.who.uid} -m set --match-set {guard.name}u dst -j RETURN'
    if By.NOTHING in guard.ways:
        yield f'-m set --match-set {guard.name}e src -j RETURN'
    for way, direction in ((By.SOURCE, 'src'), (By.DESTINATION, 'dst')):
        if way in guard.ways:
            yield f'-m set --match-set {guard.name}a {direction} -j RETURN'


def _copy(guard: Guard, now: Sequence[Rule]) -> tuple[Rule | None, Rule | None, str]:
    """Return what stands in a rule's place and its copy, or why they are not as this run left them."""
    places = [one for one in now if one.home == guard.rule.home and one.text == jump(guard)]
    inside = [one for one in now if one.home == (*guard.rule.home[:3], guard.name)]
    if len(places) != 1:
        return None, None, 'it was changed or removed by somebody else meanwhile' if places else 'it is gone'
    if not inside or [one.text for one in inside] != [*_returns(guard), guard.rule.text]:
        return None, None, 'its guard was changed by somebody else meanwhile'
    return places[0], inside[-1], ''


def _by_tool(guards: Iterable[Guard]) -> dict[str, list[Guard]]:
    found: dict[str, list[Guard]] = {}
    for guard in guards:
        found.setdefault(guard.rule.tool, []).append(guard)
    return found


def _by_table(guards: Iterable[Guard]) -> dict[str, list[Guard]]:
    found: dict[str, list[Guard]] = {}
    for guard in guards:
        found.setdefault(guard.rule.table, []).append(guard)
    return found
