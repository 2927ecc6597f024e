"""What to change in a file so that a rule lets one's own requests pass: the narrowest change first. Pure.

wpaudit never makes these changes; they are what it says to whoever keeps the site.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from wpaudit.firewalls.apache.denies import denied
from wpaudit.firewalls.apache.denies import groups
from wpaudit.firewalls.apache.reader import Directive
from wpaudit.firewalls.apache.reader import Document
from wpaudit.firewalls.apache.reader import flags
from wpaudit.firewalls.apache.reader import read
from wpaudit.firewalls.apache.reader import rewrite_args
from wpaudit.firewalls.apache.reader import words
from wpaudit.firewalls.apache.units import AUTHZ
from wpaudit.firewalls.apache.units import Sort
from wpaudit.firewalls.apache.units import Unit

# Put between quotes and into expressions, where other characters would have a meaning of their own.
_PATH = re.compile(r'/[A-Za-z0-9/_.~@=-]{0,1000}')


@dataclass(frozen=True)
class Remedy:
    """One change: what it does, the lines it is about, what stands there then, and the whole file after it."""

    effect: str
    first: int
    last: int
    lines: tuple[str, ...]
    text: str


def remedies(text: str, unit: Unit, *, path: str) -> tuple[Remedy, ...]:
    """Return changes for one unit of a file, narrowest first; ``path`` is that of the address that should pass.

    What cannot be written without doubt is left out: an exception for a path with other characters than plain ones.
    """
    document = read(text)
    inside = [one for one in document.directives if unit.first <= one.first <= unit.last and _is_of(unit, one)]
    if document.problems or not inside:
        return ()
    found = list(_exceptions(document, unit, inside, path)) if _PATH.fullmatch(path) else []
    return (*found, *_removals(document, unit, inside))


def _is_of(unit: Unit, one: Directive) -> bool:
    names = {
        Sort.REWRITE: ('rewritecond', 'rewriterule'), Sort.CONDITION: ('rewritecond',), Sort.REQUIRE: ('require',),
        Sort.DENY: ('deny',),
    }
    return one.name in names.get(unit.sort, (one.name,)) and not one.name.startswith('<')


# -- exceptions ------------------------------------------------------------------------------------

def _exceptions(document: Document, unit: Unit, inside: list[Directive], path: str) -> Iterator[Remedy]:
    effect = f'requests to {path} pass, all others are treated as before'
    if unit.sort is Sort.REWRITE:
        yield _before(document, inside[0], f'RewriteCond %{{REQUEST_URI}} !^{re.escape(path)}$', effect)
    elif unit.sort is Sort.REQUIRE:
        yield from _require_exception(document, inside, f"Require expr \"%{{REQUEST_URI}} == '{path}'\"", effect)
    elif unit.sort is Sort.REDIRECT and inside[0].name == 'redirectmatch':
        yield from _redirect_exception(document, inside[0], path, effect)


def _require_exception(document: Document, inside: list[Directive], line: str, effect: str) -> Iterator[Remedy]:
    kind = next((one.name for one in reversed(inside[0].sections) if one.name in AUTHZ), 'requireany')
    if kind == 'requireany':
        yield _before(document, inside[0], line, effect)
    elif kind == 'requireall':
        one = inside[0]
        negative = one.args.lower().startswith('not')
        guarded = ('<RequireAll>', 'Require all granted', one.text, '</RequireAll>') if negative else (one.text,)
        yield _instead(document, one, ('<RequireAny>', line, *guarded, '</RequireAny>'), effect)


def _redirect_exception(document: Document, one: Directive, path: str, effect: str) -> Iterator[Remedy]:
    status, pattern, *rest = words(one.args)
    but = f'^(?!{re.escape(path)}$)(?:.*(?:{pattern}))'
    yield _instead(document, one, (' '.join([one.word, status, *map(_quoted, (but, *rest))]),), effect)


def _quoted(word: str) -> str:
    """Write a word so that ``ap_getword_conf`` reads it again."""
    return '"' + word.replace('\\', '\\\\').replace('"', '\\"') + '"'


# -- removals --------------------------------------------------------------------------------------

def _removals(document: Document, unit: Unit, inside: list[Directive]) -> Iterator[Remedy]:
    if unit.sort is Sort.CONDITION:
        yield from _without_condition(document, unit, inside[0])
    elif unit.sort is Sort.DENY:
        yield from _without_source(document, inside[0])
    elif unit.sort is Sort.REQUIRE:
        yield from _without_require(document, inside)
    else:
        yield from _without_rule(document, unit, inside)


def _without_rule(document: Document, unit: Unit, inside: list[Directive]) -> Iterator[Remedy]:
    counted = any(one.name == 'rewriterule' and _counts(one) for one in document.directives)
    if unit.sort is Sort.REWRITE and counted:
        effect = 'the rule never applies; it stays, since another one counts it'
        yield _before(document, inside[0], 'RewriteCond expr false', effect)
    else:
        yield _changed(document, dict.fromkeys(inside, ()), 'the rule is gone')


def _counts(one: Directive) -> bool:
    args = rewrite_args(one.args)
    return args is not None and any(name in ('s', 'skip') for name, _ in flags(args.flags) or ())


def _without_condition(document: Document, unit: Unit, one: Directive) -> Iterator[Remedy]:
    """Take one condition out of an [OR] list. The last one's place is taken by the one before, which loses its [OR]."""
    changes: dict[Directive, tuple[str, ...]] = {one: ()}
    args = rewrite_args(one.args)
    if args and not any(name in ('or', 'ornext') for name, _ in flags(args.flags) or ()):
        conditions = [other for other in document.directives if other.name == 'rewritecond' and other.last < one.first]
        other_args = rewrite_args(conditions[-1].args) if conditions else None
        if other_args is None:
            return
        kept = ','.join(
            name.upper() + (f'={value}' if value else '') for name, value in flags(other_args.flags) or ()
            if name not in ('or', 'ornext')
        )
        line = f'{conditions[-1].word} {other_args.written[0]} {other_args.written[1]}'
        changes[conditions[-1]] = (line + (f' [{kept}]' if kept else ''),)
    yield _changed(document, changes, f'the rule at line {unit.part_of} no longer looks at this')


def _without_source(document: Document, one: Directive) -> Iterator[Remedy]:
    sources = next(denial.sources for denial in denied(document) if denial.directive == one)
    if len(set(sources)) == 1:
        # without any line of its own the place would take over those of the place around it
        alone = any(group.lines == (one,) for group in groups(document))
        yield _changed(document, {one: ('Allow from all',) if alone else ()}, f'{sources[0]} is let in')
        return
    for left_out in sources:
        kept = [_quoted(other) for other in sources if other != left_out]
        yield _instead(document, one, (' '.join([one.word, 'from', *kept]),), f'{left_out} is let in')


def _without_require(document: Document, inside: list[Directive]) -> Iterator[Remedy]:
    """In a <RequireAll> of which it is the last line that lets anybody in, or in a list of its own, all are let in."""
    none = inside[0].sections[-1:] and inside[0].sections[-1].name == 'requirenone'
    line = () if none else ('Require all granted',)
    yield _changed(
        document, {one: line if one is inside[0] else () for one in inside}, 'nobody is shut out by this any more',
    )


# -- text ------------------------------------------------------------------------------------------

def _before(document: Document, one: Directive, line: str, effect: str) -> Remedy:
    found = list(document.lines)
    found.insert(one.first - 1, line + '\n')
    return Remedy(effect, one.first, one.first, (line,), ''.join(found))


def _instead(document: Document, one: Directive, lines: tuple[str, ...], effect: str) -> Remedy:
    return _changed(document, {one: lines}, effect)


def _changed(document: Document, changes: dict[Directive, tuple[str, ...]], effect: str) -> Remedy:
    found = list(document.lines)
    for one, lines in changes.items():
        found[one.first - 1:one.last] = [
            ''.join(f'{line}\n' for line in lines), *([''] * (one.last - one.first))]
    first, last = min(one.first for one in changes), max(one.last for one in changes)
    return Remedy(effect, first, last, tuple(line for lines in changes.values() for line in lines), ''.join(found))
