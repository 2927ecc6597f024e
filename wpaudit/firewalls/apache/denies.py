"""``Order``, ``Allow``, ``Deny`` (mod_access_compat): found, and made switchable per request. Pure.

mod_access_compat merges nothing: a section that holds one such line replaces all lines outside of it. So no line is put
into an ``<If>`` of its own, which would undo its neighbours for visitors. The lines stay as they are, and the tester
gets a copy: first without what can be off, then once more with ``Deny from all`` for each ``Deny`` that is not off and
fits him. An ``<If>`` is merged last of all, so every place with such lines must be copied as soon as one is.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass

from wpaudit.firewalls.apache.blocking import judged
from wpaudit.firewalls.apache.reader import Directive
from wpaudit.firewalls.apache.reader import Document
from wpaudit.firewalls.apache.reader import words
from wpaudit.firewalls.apache.units import MOST
from wpaudit.firewalls.apache.units import STANDING
from wpaudit.firewalls.apache.units import TOO_MANY
from wpaudit.firewalls.apache.units import Insertion
from wpaudit.firewalls.apache.units import Key
from wpaudit.firewalls.apache.units import Numbers
from wpaudit.firewalls.apache.units import Plan
from wpaudit.firewalls.apache.units import Refusal
from wpaudit.firewalls.apache.units import Sort
from wpaudit.firewalls.apache.units import Unit
from wpaudit.firewalls.apache.units import conditions
from wpaudit.firewalls.apache.units import for_old_apache
from wpaudit.firewalls.apache.units import inside_if
from wpaudit.firewalls.apache.units import methods
from wpaudit.firewalls.apache.units import named
from wpaudit.firewalls.apache.units import place

NAMES = ('order', 'allow', 'deny', 'satisfy')
NOBODY = 'Deny from 255.255.255.255'  # a section without any line would leave those outside of it in force
COPIES = 20 * MOST  # lines that the tester's versions may have together
AT_ONCE = 8  # addresses in one expression: ap_expr gives up on deeper ones (AP_EXPR_MAX_RECURSION is 20)
_PART = re.compile(r'[0-9]{1,3}(?:\.[0-9]{1,3}){0,3}\.?')  # 10, 10.1, 10.1.2: what begins so
_LONGEST_ADDRESS = 100
_VARIABLE = re.compile('env=(.+)', re.IGNORECASE)
_SPREAD = 'Allow and Deny of one place stand in different <IfModule> or <Limit> sections, or in an <If>'
_HOST = 'it names a host, which an expression cannot compare as mod_access_compat does'


@dataclass(frozen=True)
class Group:
    """All lines of one place, which mod_access_compat weighs together."""

    lines: tuple[Directive, ...]

    @property
    def spread(self) -> bool:
        """Tell whether the lines cannot be copied as one."""
        if any(inside_if(line) for line in self.lines):
            return True
        limits = {tuple((one.name, one.args.lower()) for one in methods(line)) for line in self.lines}
        return len({conditions(line) for line in self.lines}) > 1 or len(limits) > 1

    @property
    def copies(self) -> int:
        """How many lines the tester's versions have at the most."""
        return len(self.lines) * (1 + sum(line.name != 'deny' for line in self.lines))


def groups(document: Document) -> tuple[Group, ...]:
    """Collect the lines of each place."""
    found: dict[object, list[Directive]] = {}
    for one in document.directives:
        if one.name in NAMES and not for_old_apache(one):
            found.setdefault(place(one), []).append(one)
    return tuple(Group(tuple(lines)) for lines in found.values())


@dataclass(frozen=True)
class Denial:
    """One Deny line as a unit."""

    unit: Unit
    directive: Directive

    @property
    def line(self) -> int:
        """Where it stands."""
        return self.unit.line

    @property
    def sources(self) -> tuple[str, ...]:
        """What it denies: addresses, hosts, ``all``, ``env=name``."""
        return words(self.directive.args)[1:]

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables it looks at; ``env=!name`` counts as ``!name``."""
        found = [_VARIABLE.fullmatch(word) for word in self.sources]
        return tuple(one[1] for one in found if one)

    def expressions(self) -> tuple[str, ...]:
        """Return what is true for whom it denies, in parts of bounded depth; nothing when that cannot be said."""
        if 'all' in (one.lower() for one in self.sources):
            return ('true',)
        if not all(_is_address(one) for one in self.sources):
            return ()
        parts = [self.sources[at:at + AT_ONCE] for at in range(0, len(self.sources), AT_ONCE)]
        return tuple(' || '.join(f"-R '{one}'" for one in part) for part in parts)


def _is_address(word: str) -> bool:
    """Tell whether Apache takes a word for an address or a network, and not for the name of a host."""
    if len(word) > _LONGEST_ADDRESS or '%' in word:
        return False
    if _PART.fullmatch(word):
        return all(int(part) < 256 for part in word.rstrip('.').split('.'))  # noqa: PLR2004 - an octet
    try:
        ipaddress.ip_network(word, strict=False)
    except ValueError:
        return False
    return True


def denied(document: Document) -> tuple[Denial, ...]:
    """Find the Deny lines."""
    found = []
    for one in (line for group in groups(document) for line in group.lines):
        judgement = judged(one)
        if judgement.sort is Sort.DENY:
            unit = Unit(one.first, Sort.DENY, one.first, one.last, named([one]), one.owner, judgement.reason)
            found.append(Denial(unit, one))
    return tuple(found)


def plan(document: Document, numbers: Numbers, key: Key, *, elsewhere: bool = False) -> Plan:
    """Make these units switchable, except those that look at a variable: they are ``environment``'s.

    ``elsewhere``: files of directories above or below are wrapped in the same run.
    """
    wanted = [one for one in denied(document) if one.line in numbers and not one.variables]
    if not wanted and not elsewhere:
        return (), ()
    if any(group.spread for group in groups(document)):
        return (), tuple(Refusal(one.line, _SPREAD) for one in wanted)
    if sum(group.copies for group in groups(document)) > COPIES:
        return (), tuple(Refusal(one.line, TOO_MANY) for one in wanted)
    refusals = [Refusal(one.line, _HOST) for one in wanted if not one.expressions()]
    able = {one.line: one for one in wanted if one.expressions()}
    if not able and not elsewhere:
        return (), tuple(refusals)
    insertions = [_copied(document, group, able, numbers, key) for group in groups(document)]
    return tuple(insertions), tuple(refusals)


def _copied(
    document: Document, group: Group, able: Mapping[int, Denial], numbers: Numbers, key: Key,
) -> Insertion:
    lines = [*_section(key.tester, group, [one for one in group.lines if one.first not in able])]
    base = [one for one in group.lines if one.name != 'deny']
    for denial in (able[one.first] for one in group.lines if one.first in able):
        for fits in denial.expressions():
            test = f'{key.tester} && !({key.is_off([numbers[denial.line]])}) && ({fits})'
            lines += _section(test, group, base, 'Deny from all')
    limits = methods(group.lines[-1])
    last = document.ends[limits[0].first] if limits else group.lines[-1].last
    return Insertion(last + 1, tuple(lines), STANDING)


def _section(test: str, group: Group, lines: Sequence[Directive], *more: str) -> Iterator[str]:
    limits = methods(group.lines[0])
    yield f'<If "{test}">'
    yield from (f'<{one.name} {one.args}>' for one in limits)
    yield from (one.text for one in lines)
    yield from more or (() if lines else (NOBODY,))
    yield from (f'</{one.name}>' for one in reversed(limits))
    yield '</If>'
