"""Wrap Apache rules so that one request can have some of them off; pure text to text, and back.

Nothing is replaced: whole lines are put between those that are there, each batch between two comments by which
``unwrapped`` finds it again. For whoever does not bear the key, or comes too late, the file says what it said before.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from wpaudit.firewalls.apache import denies
from wpaudit.firewalls.apache import environment
from wpaudit.firewalls.apache import redirects
from wpaudit.firewalls.apache import requires
from wpaudit.firewalls.apache import rewrites
from wpaudit.firewalls.apache.reader import Document
from wpaudit.firewalls.apache.reader import read
from wpaudit.firewalls.apache.removing import removed
from wpaudit.firewalls.apache.units import MOST
from wpaudit.firewalls.apache.units import TOO_MANY
from wpaudit.firewalls.apache.units import Insertion
from wpaudit.firewalls.apache.units import Key
from wpaudit.firewalls.apache.units import Numbers
from wpaudit.firewalls.apache.units import Refusal
from wpaudit.firewalls.apache.units import Unit

BEGIN, END = '# wpaudit (', '# wpaudit )'
_GLUED = ' after a line without an end'
_BATCH = re.compile(r'(?:\n# wpaudit \( after a line without an end|# wpaudit \()\n.*?\n# wpaudit \)\n', re.DOTALL)
_MARKED = 'the file holds a comment that wpaudit marks its own lines with'
_OPEN_END = 'the file ends in a line that would join with whatever is put behind it'


@dataclass(frozen=True)
class Around:
    """What else is there. ``denies``/``redirects``: other files of the site are wrapped too and hold such lines."""

    server: bool = False  # a vhost file, not a .htaccess
    denies: bool = False
    redirects: bool = False


@dataclass(frozen=True)
class Wrapped:
    """The new text, which units can be off now (by line), and why others cannot."""

    text: str
    able: frozenset[int]
    refusals: tuple[Refusal, ...] = ()


def units(document: Document) -> tuple[Unit, ...]:
    """Find all units of a file, in its order; conditions come after the rule they belong to."""
    if document.problems:
        return ()
    found = [one.unit for one in requires.required(document)]
    found += [one.unit for one in denies.denied(document)]
    found += [*environment.setters(document), *redirects.redirected(document)]
    for block in rewrites.blocks(document):
        found += [block.unit, *block.members]
    return tuple(sorted(found, key=lambda one: (one.first, one.part_of, one.line)))


def wrapped(
    text: str, numbers: Numbers, key: Key, around: Around | None = None, *, gone: Collection[int] = (),
) -> Wrapped:
    """Make the units at these lines switchable under these numbers, and take out the lines that are to be ``gone``.

    A file that Apache does not read as this does is returned as it is, with a refusal for each unit.
    """
    around = around or Around()
    document = read(text)
    why = document.problems[0] if document.problems else _MARKED if BEGIN in text or END in text else ''
    if why:
        return Wrapped(text, frozenset(), tuple(Refusal(line, why) for line in (*numbers, *gone)))
    few = {line: numbers[line] for line in sorted(numbers)[:MOST]}
    insertions, refusals = _planned(document, few, key, around)
    insertions += removed(document, gone, key.expires)
    refusals += [Refusal(line, TOO_MANY) for line in numbers if line not in few]
    if document.open_end and any(one.before > len(document.lines) for one in insertions):
        return Wrapped(text, frozenset(), tuple(Refusal(line, _OPEN_END) for line in (*numbers, *gone)))
    known = {one.line for one in units(document)}
    refusals += [Refusal(line, 'there is no such unit') for line in numbers if line not in known]
    able = frozenset((*numbers, *gone)) - {one.line for one in refusals}
    return Wrapped(_joined(document.lines, insertions), able, tuple(refusals))


def unwrapped(text: str) -> str:
    """Take out again what ``wrapped`` put in."""
    return _BATCH.sub('', text)


def _planned(
    document: Document, numbers: Numbers, key: Key, around: Around,
) -> tuple[list[Insertion], list[Refusal]]:
    plans = (
        rewrites.plan(document, numbers, key),
        requires.plan(document, numbers, key),
        denies.plan(document, numbers, key, elsewhere=around.denies),
        environment.plan(document, numbers, key, server=around.server),
        redirects.plan(document, numbers, key, elsewhere=around.redirects, server=around.server),
    )
    return [one for found, _ in plans for one in found], [one for _, found in plans for one in found]


def _joined(lines: Sequence[str], insertions: Sequence[Insertion]) -> str:
    batches = {
        before: [line for one in batch for line in one.lines]
        for before, batch in groupby(sorted(insertions, key=_order), key=lambda one: one.before)
    }
    parts: list[str] = []
    for number in range(1, len(lines) + 2):
        if number in batches:
            parts.append(_batch(batches[number], glued=number > 1 and not lines[number - 2].endswith('\n')))
        parts.extend(lines[number - 1:number])
    return ''.join(parts)


def _order(one: Insertion) -> tuple[int, int]:
    return one.before, one.rank


def _batch(lines: Sequence[str], *, glued: bool) -> str:
    # a line that ends in a backslash would take the next one in; Apache drops the space behind it
    closed = [line + ' ' if line.endswith('\\') else line for line in lines]
    begin = f'\n{BEGIN}{_GLUED}' if glued else BEGIN
    return '\n'.join([begin, *closed, END, ''])


def numbered(found: Sequence[Unit], start: int = 1) -> dict[int, int]:
    """Give each unit a number for the header."""
    return {one.line: number for number, one in enumerate(found, start)}

