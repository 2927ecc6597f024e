"""Rewrite rules that block: found with their conditions and chains, and made switchable per request. Pure.

A rule is switched by conditions in front of its first one. They hold for every visitor, and leave as many rules as
there were, so that ``S=`` of other rules still counts right and a chain that is off is skipped as a whole.

For one condition of an [OR] list there is a second version of the rule, for the tester alone: a rule a condition, since
``B or C`` blocks exactly when ``B`` blocks or ``C`` blocks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace

from wpaudit.firewalls.apache.blocking import judged
from wpaudit.firewalls.apache.reader import Directive
from wpaudit.firewalls.apache.reader import Document
from wpaudit.firewalls.apache.reader import Section
from wpaudit.firewalls.apache.reader import flags
from wpaudit.firewalls.apache.reader import rewrite_args
from wpaudit.firewalls.apache.units import OPENING
from wpaudit.firewalls.apache.units import Insertion
from wpaudit.firewalls.apache.units import Key
from wpaudit.firewalls.apache.units import Numbers
from wpaudit.firewalls.apache.units import Plan
from wpaudit.firewalls.apache.units import Refusal
from wpaudit.firewalls.apache.units import Sort
from wpaudit.firewalls.apache.units import Unit
from wpaudit.firewalls.apache.units import for_old_apache
from wpaudit.firewalls.apache.units import named
from wpaudit.firewalls.apache.units import place

MOST_MEMBERS = 500  # conditions of one rule that are units of their own
_REFERENCE = re.compile(r'%[0-9]')
Flags = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Condition:
    """One RewriteCond. ``either`` says that it carries [OR]."""

    directive: Directive
    test: str
    pattern: str
    flags: Flags
    either: bool

    def alone(self) -> str:
        """Return it as a line without its [OR]."""
        left = ','.join(name + (f'={value}' if value else '') for name, value in self.flags
                        if name not in ('or', 'ornext'))
        return f'RewriteCond {self.test} {self.pattern}' + (f' [{left}]' if left else '')


@dataclass(frozen=True)
class Rule:
    """One RewriteRule with its conditions; ``index`` counts the rules of its place from 0."""

    directive: Directive
    conditions: tuple[Directive, ...]
    flags: Flags
    index: int
    sections: tuple[Section, ...]

    def has(self, *names: str) -> str | None:
        """Return the value of the last of these flags, None when it has none of them."""
        values = [value for name, value in self.flags if name in names]
        return values[-1] if values else None

    @property
    def first(self) -> int:
        """The line its conditions start at."""
        return (*self.conditions, self.directive)[0].first


@dataclass(frozen=True)
class Block:
    """A rule, or a chain of them, that is one unit; and its conditions that are units too."""

    unit: Unit
    rules: tuple[Rule, ...]
    members: tuple[Unit, ...] = ()
    refusal: str = ''  # why the conditions cannot be switched alone


def blocks(document: Document) -> tuple[Block, ...]:
    """Find what blocks among the rewrite rules."""
    rules = _rules(document)
    skipped = _skipped(rules)
    return tuple(_block(chain, skipped) for chain in _chains(rules) if _reasons(chain))


def plan(document: Document, numbers: Numbers, key: Key) -> Plan:
    """Make these units switchable."""
    insertions: list[Insertion] = []
    refusals: list[Refusal] = []
    for block in blocks(document):
        wanted = [one for one in block.members if one.line in numbers]
        why = _scattered(block.rules)
        if why:
            refusals += [Refusal(one.line, why) for one in (block.unit, *wanted) if one.line in numbers]
            continue
        lines: tuple[str, ...] = ()
        if wanted and block.refusal:
            refusals += [Refusal(one.line, block.refusal) for one in wanted]
        elif wanted:
            lines = _variant(block, numbers, key)
        if block.unit.line in numbers:
            lines += key.off_conditions(numbers[block.unit.line])
        if lines:
            insertions.append(Insertion(block.rules[0].first, lines, OPENING))
    return tuple(insertions), tuple(refusals)


# -- finding ---------------------------------------------------------------------------------------

def _rules(document: Document) -> list[Rule]:
    """Collect rules as mod_rewrite does: conditions belong to the next rule of the same place."""
    waiting: dict[tuple[Section, ...], list[Directive]] = {}
    found: dict[tuple[Section, ...], list[Rule]] = {}
    for one in document.directives:
        where = place(one)
        if for_old_apache(one):
            continue
        if one.name == 'rewritecond':
            waiting.setdefault(where, []).append(one)
        elif one.name == 'rewriterule':
            args = rewrite_args(one.args)
            rules = found.setdefault(where, [])
            own = flags(args.flags) if args else None
            rules.append(Rule(one, tuple(waiting.pop(where, [])), own or (), len(rules), where))
    return [rule for rules in found.values() for rule in rules]


def _chains(rules: Sequence[Rule]) -> Iterator[tuple[Rule, ...]]:
    chain: list[Rule] = []
    for rule in rules:
        if chain and chain[-1].sections != rule.sections:
            yield tuple(chain)
            chain = []
        chain.append(rule)
        if rule.has('c', 'chain') is None:
            yield tuple(chain)
            chain = []
    if chain:
        yield tuple(chain)


def _skipped(rules: Sequence[Rule]) -> set[tuple[tuple[Section, ...], int]]:
    """Return the rules before which no other rule may be put: an ``S=`` counts its way over them."""
    found = set()
    for rule in rules:
        count = rule.has('s', 'skip') or ''
        if re.fullmatch('[0-9]{1,5}', count):
            found |= {(rule.sections, rule.index + step) for step in range(1, int(count) + 1)}
        elif count:
            found |= {(rule.sections, other.index) for other in rules if other.index > rule.index}
    return found


def _reasons(chain: Sequence[Rule]) -> list[str]:
    judgements = [judged(rule.directive) for rule in chain]
    return [one.reason for one in judgements if one.sort is Sort.REWRITE]


def _block(chain: tuple[Rule, ...], skipped: set[tuple[tuple[Section, ...], int]]) -> Block:
    first, last = chain[0].first, chain[-1].directive.last
    texts = [one for rule in chain for one in (*rule.conditions, rule.directive)]
    unit = Unit(first, Sort.REWRITE, first, last, named(texts), chain[-1].directive.owner, _reasons(chain)[0])
    block = Block(unit, chain)
    alternatives = _alternatives(chain[0]) if len(chain) == 1 else ()
    if not alternatives or len(alternatives) > MOST_MEMBERS:
        return block
    line = chain[0].directive.first
    members = tuple(
        Unit(one.directive.first, Sort.CONDITION, one.directive.first, one.directive.last, named([one.directive]),
             one.directive.owner, 'one of the conditions of a rule that blocks', part_of=line)
        for one in alternatives
    )
    return replace(block, unit=replace(unit, line=line), members=members, refusal=_refusal(chain[0], skipped))


def _conditions(rule: Rule) -> tuple[Condition, ...] | None:
    found = []
    for one in rule.conditions:
        args = rewrite_args(one.args)
        own = flags(args.flags) if args else None
        if args is None or own is None:
            return None
        either = any(name in ('or', 'ornext') for name, _ in own)
        found.append(Condition(one, *args.written, own, either))
    return tuple(found)


def _groups(found: Sequence[Condition]) -> list[list[Condition]]:
    """Cut the conditions into lists that are joined by [OR]; a list of one is a condition that must hold."""
    groups: list[list[Condition]] = [[]]
    for one in found:
        groups[-1].append(one)
        if not one.either:
            groups.append([])
    return [group for group in groups if group]


def _alternatives(rule: Rule) -> tuple[Condition, ...]:
    """Return the conditions of the longest [OR] list, if there is one."""
    found = _conditions(rule)
    longest = max(_groups(found), key=len, default=[]) if found else []
    return tuple(longest) if len(longest) > 1 else ()


def _refusal(rule: Rule, skipped: set[tuple[tuple[Section, ...], int]]) -> str:
    found = _conditions(rule) or ()
    if found and found[-1].either:
        return 'the last condition of the rule carries [OR], which makes the rule match everything'
    if any(_REFERENCE.search(one.test) for one in found):
        return 'a condition refers to what another one matched'
    if (rule.sections, rule.index) in skipped:
        return 'another rule skips a counted number of rules over this one'
    if rule.has('s', 'skip', 'n', 'next') is not None:
        return 'the rule itself jumps'
    return ''


# -- wrapping --------------------------------------------------------------------------------------

def _scattered(rules: Sequence[Rule]) -> str:
    parts = [one for rule in rules for one in (*rule.conditions, rule.directive)]
    if len({one.sections for one in parts}) > 1:
        return 'its lines stand in different sections'
    return ''


def _variant(block: Block, numbers: Numbers, key: Key) -> tuple[str, ...]:
    """Return the rule once a condition for the tester, who then skips the rule itself."""
    rule = block.rules[0]
    found = _conditions(rule) or ()
    listed = {one.line for one in block.members}
    alternatives = [one for one in found if one.directive.first in listed]
    before = [one for one in found if one.directive.first < min(listed)]
    behind = [one for one in found if one.directive.first > max(listed)]
    lines = [*key.visitor_conditions(), f'RewriteRule ^ - [S={len(alternatives)}]']
    for one in alternatives:
        own = [one.directive.first, block.unit.line]
        off = [numbers[line] for line in own if line in numbers]
        lines += [line for number in off for line in key.on_conditions(number)]
        lines += [_written(other) for other in before]
        lines += [one.alone()]
        lines += [_written(other) for other in behind]
        lines += [f'RewriteRule {rule.directive.args}']
    return (*lines, *key.tester_conditions(), 'RewriteRule ^ - [S=1]')


def _written(one: Condition) -> str:
    return f'RewriteCond {one.directive.args}'
