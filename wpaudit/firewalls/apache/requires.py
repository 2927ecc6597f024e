"""``Require`` lines that shut out: found by what their container makes of them, and made switchable per request. Pure.

``<RequireAll>`` fails where one line does: each line is a unit, and goes into a ``<RequireAny>`` that lets the tester
in. ``<RequireNone>`` fails where one line holds: each line is a unit, and goes into a ``<RequireAll>`` that never holds
for the tester. ``<RequireAny>``, written or implied, lets in whoever one line lets in: its lines are one unit, and the
tester gets a line of his own. (modules/aaa/mod_authz_core.c of httpd 2.4, ``apply_authz_sections``.)
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass

from wpaudit.firewalls.apache.blocking import judged
from wpaudit.firewalls.apache.reader import Directive
from wpaudit.firewalls.apache.reader import Document
from wpaudit.firewalls.apache.reader import Section
from wpaudit.firewalls.apache.reader import word_conf
from wpaudit.firewalls.apache.units import AUTHZ
from wpaudit.firewalls.apache.units import CLOSING
from wpaudit.firewalls.apache.units import OPENING
from wpaudit.firewalls.apache.units import Insertion
from wpaudit.firewalls.apache.units import Key
from wpaudit.firewalls.apache.units import Numbers
from wpaudit.firewalls.apache.units import Plan
from wpaudit.firewalls.apache.units import Refusal
from wpaudit.firewalls.apache.units import Sort
from wpaudit.firewalls.apache.units import Unit
from wpaudit.firewalls.apache.units import for_old_apache
from wpaudit.firewalls.apache.units import methods
from wpaudit.firewalls.apache.units import named
from wpaudit.firewalls.apache.units import place

_ONLY_NOT = 'nothing in its <RequireAll> lets anybody in, so everybody is refused without it too'


@dataclass(frozen=True)
class Container:
    """Require lines that are weighed together, and the sections inside. ``kind`` is one of AUTHZ."""

    kind: str
    lines: tuple[Directive, ...]
    inner: tuple[Directive, ...]


@dataclass(frozen=True)
class Required:
    """One unit, the lines it consists of, and where they stand."""

    unit: Unit
    container: Container
    lines: tuple[Directive, ...]


def required(document: Document) -> tuple[Required, ...]:
    """Find what shuts out among the Require lines."""
    return tuple(found for container in _containers(document) for found in _units(container))


def plan(document: Document, numbers: Numbers, key: Key) -> Plan:
    """Make these units switchable."""
    insertions: list[Insertion] = []
    refusals: list[Refusal] = []
    for one in required(document):
        if one.unit.line not in numbers:
            continue
        why = _refusal(document, one)
        if why:
            refusals.append(Refusal(one.unit.line, why))
        else:
            insertions += _wrapped(one, f'{key.tester} && {key.is_off([numbers[one.unit.line]])}')
    return tuple(insertions), tuple(refusals)


# -- finding ---------------------------------------------------------------------------------------

def _containers(document: Document) -> Iterator[Container]:
    lines: dict[object, list[Directive]] = {}
    inner: dict[object, list[Directive]] = {}
    kinds: dict[object, str] = {}
    for one in document.directives:
        if for_old_apache(one) or (one.name != 'require' and one.name[1:] not in AUTHZ):
            continue
        around = next((section for section in reversed(one.sections) if section.name in AUTHZ), None)
        where = (place(one), methods(one), around)
        kinds[where] = around.name if around else 'requireany'
        (lines if one.name == 'require' else inner).setdefault(where, []).append(one)
    for each, kind in kinds.items():
        if lines.get(each):
            yield Container(kind, tuple(lines[each]), tuple(inner.get(each, [])))


def _units(container: Container) -> Iterator[Required]:
    blocking = [one for one in container.lines if judged(one).sort is Sort.REQUIRE]
    if container.kind == 'requireany':
        if len(blocking) == len(container.lines) and not container.inner:
            yield Required(_unit(blocking), container, tuple(blocking))
        return
    for one in blocking:
        yield Required(_unit([one]), container, (one,))


def _unit(lines: Sequence[Directive]) -> Unit:
    first, last = lines[0], lines[-1]
    name = named([*lines[1:], first])
    return Unit(first.first, Sort.REQUIRE, first.first, last.last, name, first.owner, judged(first).reason)


def negative(directive: Directive) -> bool:
    """Tell whether it is ``Require not ...``."""
    return word_conf(directive.args)[0].lower() == 'not'


# -- wrapping --------------------------------------------------------------------------------------

def _refusal(document: Document, one: Required) -> str:
    if len({line.sections for line in one.lines}) > 1:
        return 'its lines stand in different sections'
    if one.container.kind == 'requireall' and all(negative(line) for line in one.container.lines):
        inside = [_inside(document, section) for section in one.container.inner]
        if not any(any(not negative(line) for line in lines) for lines in inside):
            return _ONLY_NOT
    return ''


def _inside(document: Document, opening: Directive) -> list[Directive]:
    around = Section(opening.name[1:], opening.args, opening.first)
    return [one for one in document.directives if one.name == 'require' and one.sections[-1:] == (around,)]


def _wrapped(one: Required, tester: str) -> list[Insertion]:
    first, behind = one.unit.first, one.unit.last + 1
    passes = f'Require expr "{tester}"'
    if one.container.kind == 'requireany':
        return [Insertion(first, (passes,), OPENING)]
    if one.container.kind == 'requirenone':
        return [
            Insertion(first, ('<RequireAll>', f'Require expr "!({tester})"'), OPENING),
            Insertion(behind, ('</RequireAll>',), CLOSING),
        ]
    if not negative(one.lines[0]):
        return [
            Insertion(first, ('<RequireAny>', passes), OPENING), Insertion(behind, ('</RequireAny>',), CLOSING),
        ]
    return [
        Insertion(first, ('<RequireAny>', passes, '<RequireAll>', 'Require all granted'), OPENING),
        Insertion(behind, ('</RequireAll>', '</RequireAny>'), CLOSING),
    ]
