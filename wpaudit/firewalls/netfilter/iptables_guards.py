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
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence

from wpaudit.firewalls.netfilter.guards import PUT_BY
from wpaudit.firewalls.netfilter.guards import By
from wpaudit.firewalls.netfilter.guards import Command
from wpaudit.firewalls.netfilter.guards import Guard
from wpaudit.firewalls.netfilter.guards import bounded
from wpaudit.firewalls.netfilter.guards import encoded
from wpaudit.firewalls.netfilter.guards import own
from wpaudit.firewalls.netfilter.iptables import words_of
from wpaudit.firewalls.netfilter.rules import Rule

SETS = ('ipset', 'restore')
LOCK_SECONDS = '5'  # to wait for other users of iptables (the lock of xtables)
# hash:net takes no /0 (ipset(8)); two halves are everything
_ALL = {'ip': ('0.0.0.0/1', '128.0.0.0/1'), 'ip6': ('::/1', '8000::/1')}
_DEFAULTS = re.compile(r'"(?:\\.|[^"\\])*"|( --mask 255\.255\.255\.255| --connlimit-mask 32)(?= )', re.DOTALL)
_INET = {'ip': 'inet', 'ip6': 'inet6'}
_VERSION = {'ip': 4, 'ip6': 6}


def arm(guards: Sequence[Guard], rules: Sequence[Rule]) -> tuple[Command, ...]:
    """Make the sets, then move the rules. ``rules`` are all that were read: some may look the same as a guarded one.

    Each guard must bear one of its rule's ``spellings``. All is tried before it is done.
    """
    if not guards:
        return ()
    trials, commands = [], []
    for tool, theirs in _by_tool(guards).items():
        tables = _by_table(theirs).items()
        lines = encoded([line for table, some in tables for line in _table_armed(table, some, rules)])
        trials.append(Command((*restore(tool), '--test'), lines))
        commands.append(Command(restore(tool), lines))
    return Command(SETS, encoded([line for guard in guards for line in _created(guard)])), *trials, *commands


def spellings(rule: Rule) -> tuple[tuple[str, Command], ...]:
    """Return the texts by which iptables may find a rule, each with a command that says whether it does.

    What iptables-save writes is not always what it was told: an address mask that was not given is all ones in sixteen
    bytes, and one that was, in four. A rule that has no spelling could only be taken out by its number, hence is not
    switched.
    """
    texts = dict.fromkeys((rule.text, _DEFAULTS.sub(lambda found: '' if found[1] else found[0], rule.text)))
    check = (rule.tool, '--wait', LOCK_SECONDS, '-t', rule.table, '-C', rule.chain)
    return tuple((text, Command((*check, *(words_of(text) or ())))) for text in texts)


def off(guards: Sequence[Guard], ids: frozenset[str], seconds: float, *, again: bool = False) -> tuple[Command, ...]:
    """Switch exactly the rules ``ids`` off, and all others on, for at most ``seconds`` (1 to 3600).

    First on, then off: what is in between is nearer to the state without wpaudit. ``again`` only starts the time anew
    for those that are off.
    """
    if not guards:
        return ()
    lasting = bounded(seconds)
    lines = [] if again else [f'flush {name}' for guard in guards for name in sets(guard)]
    lines += [
        f'add -exist {name} {value} timeout {lasting}'
        for guard in guards if guard.rule.id in ids for name, values in sets(guard).items() for value in values
    ]
    return (Command(SETS, encoded(lines)),)


def restore(tool: str) -> tuple[str, ...]:
    """Return the command that applies changes to one table at a time as a whole, with counters."""
    return f'{tool}-restore', '--noflush', '--counters', '--wait', LOCK_SECONDS


def jump(guard: Guard) -> str:
    """Return the text of what stands in a rule's place."""
    return f'-m comment --comment {PUT_BY} -j {guard.name}'


def _table_armed(table: str, guards: Sequence[Guard], rules: Sequence[Rule]) -> Iterator[str]:
    yield f'*{table}'
    for guard in guards:
        yield f':{guard.name} - [0:0]'
        for line in returns(guard):
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
    for name in sets(guard):
        yield f'create {name} hash:net family {_INET[guard.rule.family]} hashsize 64 maxelem 64 timeout {LOCK_SECONDS}'


def sets(guard: Guard) -> Mapping[str, tuple[str, ...]]:
    """Return the sets of a guard: name -> the elements that mean "off"."""
    family = guard.rule.family
    found: dict[str, tuple[str, ...]] = {}
    if By.UID in guard.ways:
        found[f'{guard.name}u'] = _ALL[family]
    if By.NOTHING in guard.ways:
        found[f'{guard.name}e'] = _ALL[family]
    if guard.ways & {By.SOURCE, By.DESTINATION}:
        values = tuple(str(one) for one in own(guard.who) if one.version == _VERSION[family])
        found[f'{guard.name}a'] = values
    return found


def returns(guard: Guard) -> Iterator[str]:
    """Return the rules that leave the chain before it gets to the guarded one, as iptables-save writes them."""
    if By.UID in guard.ways:
        yield f'-m owner --uid-owner {guard.who.uid} -m set --match-set {guard.name}u dst -j RETURN'
    if By.NOTHING in guard.ways:
        yield f'-m set --match-set {guard.name}e src -j RETURN'
    for way, direction in ((By.SOURCE, 'src'), (By.DESTINATION, 'dst')):
        if way in guard.ways:
            yield f'-m set --match-set {guard.name}a {direction} -j RETURN'


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
