"""Variables that a deny looks at (mod_setenvif): who sets them, and how one setter is off for one request. Pure.

The lines stay as they are. For the tester there is an ``<If>`` behind them, which mod_setenvif appends to all others:
it unsets the variable and runs copies of those lines that are not off. A ``Deny from env=`` is off when its variable
is unset. What sets the variable elsewhere (the server's own configuration, a file above) is undone by that for every
request of the tester, so that "the tester's request with nothing off" tells.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass

from wpaudit.firewalls.apache.blocking import SETTERS
from wpaudit.firewalls.apache.blocking import judged
from wpaudit.firewalls.apache.denies import Denial
from wpaudit.firewalls.apache.denies import denied
from wpaudit.firewalls.apache.reader import Directive
from wpaudit.firewalls.apache.reader import Document
from wpaudit.firewalls.apache.reader import word_conf
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
from wpaudit.firewalls.apache.units import at_large
from wpaudit.firewalls.apache.units import for_old_apache
from wpaudit.firewalls.apache.units import inside_if
from wpaudit.firewalls.apache.units import named

_SPREAD = 'lines about its variable stand in different sections, in an <If>, or outside of any directory'
_NO_SETTER = 'nothing in this file sets the variable it looks at, and only such files may be given a SetEnvIf'
_UNSET = 'it denies while a variable is not set, or mixes variables and addresses'
_STRANGE = 'its variable has a name that cannot be written without doubt'
_WORD = re.compile(r'[A-Za-z0-9_.-]+')
_PLAIN = re.compile(r'[A-Za-z0-9_.-]+')
_ASKED = re.compile(r'%\{ENV:([^}]+)\}', re.IGNORECASE)


@dataclass(frozen=True)
class Family:
    """Setters whose variables are the same, or of which one looks at the variable of another."""

    names: frozenset[str]
    lines: tuple[Directive, ...]


def setters(document: Document) -> tuple[Unit, ...]:
    """Find the lines that set a variable which a deny, a Require or a condition of a rule looks at."""
    asked = _asked(document)
    return tuple(
        Unit(one.first, Sort.SETENVIF, one.first, one.last, named([one]), one.owner, judged(one).reason)
        for one in _live(document) if asked & {name for name in assigned(one) if not name.startswith('!')}
    )


def plan(document: Document, numbers: Numbers, key: Key, *, server: bool = False) -> Plan:
    """Make these setters, and the Deny lines that look at a variable, switchable.

    ``server``: in a vhost file lines outside of any directory run before ``<If>`` does, and for more than access.
    """
    wanted = {one.line: one for one in setters(document) if one.line in numbers}
    denies = [one for one in denied(document) if one.line in numbers and one.variables]
    insertions: list[Insertion] = []
    refusals: list[Refusal] = []
    for family in _families(document):
        own = [wanted[one.first] for one in family.lines if one.first in wanted]
        looking = [one for one in denies if family.names & {name.lstrip('!') for name in one.variables}]
        denies = [one for one in denies if one not in looking]
        found, problems = _family_plan(document, family, own, looking, numbers=numbers, key=key, server=server)
        insertions += found
        refusals += problems
    refusals += [Refusal(one.line, _problem(one, frozenset())) for one in denies]
    return tuple(insertions), tuple(refusals)


def _family_plan(
    document: Document, family: Family, wanted: Sequence[Unit], denies: Sequence[Denial], *,
    numbers: Numbers, key: Key, server: bool,
) -> Plan:
    if not wanted and not denies:
        return (), ()
    why = _obstacle(family.lines, server=server)
    if why:
        return (), tuple(Refusal(line, why) for line in [one.line for one in wanted] + [one.line for one in denies])
    refusals = [Refusal(one.line, problem) for one in denies if (problem := _problem(one, family.names))]
    refused = {one.line for one in refusals}
    lines = [*_again(wanted, family.lines, numbers, key)]
    lines += _unset(document, [one for one in denies if one.line not in refused], numbers, key)
    found = (Insertion(family.lines[-1].last + 1, tuple(lines), STANDING),) if lines else ()
    return found, tuple(refusals)


def _families(document: Document) -> tuple[Family, ...]:
    """Return the setters in groups that have nothing to do with one another, each group in the file's order."""
    live = _live(document)
    known = {name.lstrip('!') for one in live for name in assigned(one)}
    found: list[Family] = []
    for one in live:
        names = {name.lstrip('!') for name in assigned(one)} | (known & set(_WORD.findall(_looked_at(one))))
        near = [family for family in found if family.names & names]
        joined = Family(
            frozenset(names).union(*(family.names for family in near)),
            tuple(sorted((*(line for family in near for line in family.lines), one), key=lambda line: line.first)),
        )
        found = [family for family in found if family not in near] + [joined]
    return tuple(found)


def _looked_at(directive: Directive) -> str:
    """Return the part of a setter that may name another variable: its attribute, or its expression."""
    return '' if directive.name.startswith('browsermatch') else word_conf(directive.args)[0]


def _obstacle(chosen: Sequence[Directive], *, server: bool) -> str:
    if len({one.sections for one in chosen}) > 1 or any(inside_if(one) or (server and at_large(one)) for one in chosen):
        return _SPREAD
    if len(chosen) > MOST:
        return TOO_MANY
    names = {name.lstrip('!') for one in chosen for name in assigned(one)}
    return '' if all(_PLAIN.fullmatch(name) for name in names) else _STRANGE


def assigned(directive: Directive) -> tuple[str, ...]:
    """Return the variables a setter touches, ``!name`` for one it unsets."""
    skipped = 2 if directive.name in ('setenvif', 'setenvifnocase') else 1
    return tuple(one.partition('=')[0] for one in words(directive.args)[skipped:])


def _live(document: Document) -> list[Directive]:
    return [one for one in document.directives if one.name in SETTERS and not for_old_apache(one)]


def _asked(document: Document) -> set[str]:
    found = {name.lstrip('!') for one in denied(document) for name in one.variables}
    for one in document.directives:
        if one.name == 'require':
            found |= _required(words(one.args))
        elif one.name == 'rewritecond':
            found |= set(_ASKED.findall(one.args))
    return found


def _required(said: Sequence[str]) -> set[str]:
    said = said[1:] if said[:1] and said[0].lower() == 'not' else said
    return set(said[1:]) if said[:1] and said[0].lower() == 'env' else set()


def _problem(deny: Denial, known: frozenset[str]) -> str:
    names = deny.variables
    if len(names) != len(deny.sources) or not all(_PLAIN.fullmatch(name) for name in names):
        return _UNSET
    return '' if known >= set(names) else _NO_SETTER


def _again(wanted: Sequence[Unit], chosen: Sequence[Directive], numbers: Numbers, key: Key) -> Iterator[str]:
    """Unset and set again without what is off."""
    if not wanted:
        return
    units = {one.line for one in wanted}
    names = sorted({name.lstrip('!') for one in chosen for name in assigned(one)})
    yield f'<If "{key.tester}">'
    yield from (f'SetEnvIf Request_Method ^ !{name}' for name in names)
    yield '</If>'
    for one in chosen:
        unless = f' && !({key.is_off([numbers[one.first]])})' if one.first in units else ''
        yield f'<If "{key.tester}{unless}">'
        yield one.text
        yield '</If>'


def _unset(document: Document, denies: Sequence[Denial], numbers: Numbers, key: Key) -> Iterator[str]:
    """Unset a variable for which every Deny is off."""
    for name in dict.fromkeys(name for one in denies for name in one.variables):
        looking = [one for one in denied(document) if name in one.variables]
        if all(one.line in numbers for one in looking):
            test = ' && '.join([key.tester, *(key.is_off([numbers[one.line]]) for one in looking)])
            yield f'<If "{test}">'
            yield f'SetEnvIf Request_Method ^ !{name}'
            yield '</If>'
