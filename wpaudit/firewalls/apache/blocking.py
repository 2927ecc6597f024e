"""Does a directive block or alter a request? The one place that decides, with reasons. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from wpaudit.firewalls.apache.reader import Directive
from wpaudit.firewalls.apache.reader import flags
from wpaudit.firewalls.apache.reader import rewrite_args
from wpaudit.firewalls.apache.reader import words
from wpaudit.firewalls.apache.units import AUTHZ
from wpaudit.firewalls.apache.units import Sort
from wpaudit.firewalls.apache.units import for_old_apache

REDIRECTS = ('redirect', 'redirectmatch', 'redirecttemp', 'redirectpermanent')
SETTERS = ('setenvif', 'setenvifnocase', 'browsermatch', 'browsermatchnocase', 'setenvifexpr')
FILTERS = ('all', 'env', 'ip', 'host', 'forward-dns', 'local', 'method', 'expr')  # Require: all else asks for a login
_REDIRECTING = {'permanent': 301, 'temp': 302, 'seeother': 303, 'gone': 410}
_REFUSES = 'it answers with an error'
_LONGEST_STATUS = 3


@dataclass(frozen=True)
class Judgement:
    """``sort`` is None for what is no suspect; ``reason`` is half a sentence in both cases."""

    sort: Sort | None
    reason: str


def judged(directive: Directive) -> Judgement:
    """Judge one directive by what it says itself.

    Two kinds are judged further by what stands around them: a Require by its siblings (``requires``), a SetEnvIf by
    whether a deny looks at its variable (``environment``).
    """
    if for_old_apache(directive):
        return Judgement(None, 'Apache 2.4 does not read it')
    for names, judge in _JUDGES:
        if directive.name in names:
            return judge(directive)
    return Judgement(None, 'it neither blocks nor redirects')


def _deny(_directive: Directive) -> Judgement:
    return Judgement(Sort.DENY, 'it shuts visitors out by address or variable')


def _setter(_directive: Directive) -> Judgement:
    return Judgement(Sort.SETENVIF, 'it sets a variable that a deny looks at')


def _rewrite(directive: Directive) -> Judgement:
    args = rewrite_args(directive.args)
    found = flags(args.flags) if args else None
    if found is None:
        return Judgement(None, 'Apache cannot read it')
    status = 0
    for name, value in found:  # in order: the last status wins
        if name in ('f', 'forbidden'):
            status = 403
        elif name in ('g', 'gone'):
            status = 410
        elif name in ('r', 'redirect'):
            status = _status(value) or 302
    if status >= 400:  # noqa: PLR2004 - an HTTP error
        return Judgement(Sort.REWRITE, f'{_REFUSES} ({status})')
    if any(name in ('p', 'proxy') for name, _ in found):
        return Judgement(Sort.REWRITE, 'it sends the request on to another server')
    return Judgement(None, 'it only rewrites the address')


def _status(word: str) -> int:
    number = int(word) if re.fullmatch('[0-9]+', word) and len(word) <= _LONGEST_STATUS else 0
    return number or _REDIRECTING.get(word.lower(), 0)


def _require(directive: Directive) -> Judgement:
    kind, *values = (*words(directive.args), '')
    negative = kind.lower() == 'not'
    kind, *values = values if negative else [kind, *values]
    container = next((one.name for one in reversed(directive.sections) if one.name in AUTHZ), 'requireany')
    if kind.lower() not in FILTERS:
        return Judgement(None, 'it asks for a login')
    if kind.lower() == 'all' and values[:1] and values[0].lower() == 'granted' and not negative:
        return Judgement(None, 'it lets everybody in')
    if container == 'requirenone':
        return Judgement(Sort.REQUIRE, 'it shuts out what it names')
    return Judgement(Sort.REQUIRE, 'it shuts out what it names' if negative else 'it lets in only what it names')


def _redirect(directive: Directive) -> Judgement:
    found = words(directive.args)
    status = _status(found[0]) if found and directive.name in ('redirect', 'redirectmatch') else 302
    if status >= 400:  # noqa: PLR2004 - an HTTP error
        return Judgement(Sort.REDIRECT, f'{_REFUSES} ({status})')
    return Judgement(None, 'it only redirects')


_JUDGES: tuple[tuple[tuple[str, ...], Callable[[Directive], Judgement]], ...] = (
    (('rewriterule',), _rewrite), (('require',), _require), (('deny',), _deny), (SETTERS, _setter),
    (REDIRECTS, _redirect),
)
