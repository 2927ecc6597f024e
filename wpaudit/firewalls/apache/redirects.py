"""``Redirect`` and ``RedirectMatch`` to an error (mod_alias): found, and made switchable per request. Pure.

mod_alias takes the first line that fits, and puts those of an ``<If>`` before all others, the last ``<If>`` first. So
the lines go into one ``<If>`` together, in their order, for all visitors; the tester gets copies, each in an ``<If>``
of its own, in reverse order. Lines that do not stand together would change places, and are left alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
from itertools import combinations

from wpaudit.firewalls.apache.blocking import REDIRECTS
from wpaudit.firewalls.apache.blocking import judged
from wpaudit.firewalls.apache.reader import Directive
from wpaudit.firewalls.apache.reader import Document
from wpaudit.firewalls.apache.reader import words
from wpaudit.firewalls.apache.units import CLOSING
from wpaudit.firewalls.apache.units import MOST
from wpaudit.firewalls.apache.units import OPENING
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

_ORDER = 'other redirects stand apart from it, and the first one that fits counts'
_IN_IF = 'it stands in an <If>'
_LOCATION = 'it has no path of its own'
_SERVER = 'outside of any directory redirects come before everything else, and would not any more'


def redirected(document: Document) -> tuple[Unit, ...]:
    """Find the redirects to an error."""
    return tuple(
        Unit(one.first, Sort.REDIRECT, one.first, one.last, named([one]), one.owner, judged(one).reason)
        for one in _live(document) if judged(one).sort is Sort.REDIRECT
    )


def plan(document: Document, numbers: Numbers, key: Key, *, elsewhere: bool = False, server: bool = False) -> Plan:
    """Make these units switchable. ``elsewhere``: files of directories above or below hold redirects too."""
    runs = _runs(document)
    apart = elsewhere or not _independent(runs)
    insertions: list[Insertion] = []
    refusals: list[Refusal] = []
    for run in runs:
        wanted = {one.first: numbers[one.first] for one in run
                  if one.first in numbers and judged(one).sort is Sort.REDIRECT}
        why = _refusal(run, apart=apart and len(runs) + elsewhere > 1, server=server)
        if why:
            refusals += [Refusal(line, why) for line in wanted]
        elif wanted:
            insertions += _wrapped(run, wanted, key)
    return tuple(insertions), tuple(refusals)


def in_directories(document: Document, *, server: bool) -> bool:
    """Tell whether a file holds redirects of any kind that count with those of other directories."""
    return any(not (server and at_large(one)) for one in _live(document))


def _live(document: Document) -> list[Directive]:
    return [one for one in document.directives if one.name in REDIRECTS and not for_old_apache(one)]


def _runs(document: Document) -> list[list[Directive]]:
    """Return the redirects in groups that have no other directive between them."""
    runs: list[list[Directive]] = []
    before: Directive | None = None
    for one in document.directives:
        if one.name in REDIRECTS and not for_old_apache(one):
            if before is None or before.name not in REDIRECTS or before.sections != one.sections:
                runs.append([])
            runs[-1].append(one)
        before = one
    return runs


def _independent(runs: Sequence[Sequence[Directive]]) -> bool:
    """Tell whether no address fits two lines of different groups."""
    for one, other in combinations(runs, 2):
        for path, second in ((_prefix(a), _prefix(b)) for a in one for b in other):
            if not path or not second or path.startswith(second) or second.startswith(path):
                return False
    return True


def _prefix(directive: Directive) -> str:
    """Return the path that a plain Redirect is about; ``''`` for one that cannot be told from others."""
    paths = [word for word in words(directive.args) if word.startswith('/')]
    return paths[0].rstrip('/') if directive.name != 'redirectmatch' and paths else ''


def _refusal(run: Sequence[Directive], *, apart: bool, server: bool) -> str:
    if server and at_large(run[0]):
        return _SERVER
    if inside_if(run[0]):
        return _IN_IF
    if any(len(words(one.args)) < 2 for one in run):  # noqa: PLR2004 - status and path, or path and address
        return _LOCATION
    if len(run) > MOST:
        return TOO_MANY
    return _ORDER if apart else ''


def _wrapped(run: Sequence[Directive], wanted: Numbers, key: Key) -> Iterator[Insertion]:
    yield Insertion(run[0].first, (f'<If "!({key.tester})">',), OPENING)
    yield Insertion(run[-1].last + 1, ('</If>',), CLOSING)
    lines: list[str] = []
    for one in reversed(run):
        unless = f' && !({key.is_off([wanted[one.first]])})' if one.first in wanted else ''
        lines += [f'<If "{key.tester}{unless}">', one.text, '</If>']
    yield Insertion(run[-1].last + 1, tuple(lines), STANDING)
