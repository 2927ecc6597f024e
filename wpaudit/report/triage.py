"""The triage report as text: the path with the failing hop, the cause, what to do, and what it rests on."""

from __future__ import annotations

import math
from collections.abc import Sequence

from wpaudit.domain import Cost
from wpaudit.facts import Cause
from wpaudit.facts import Clue
from wpaudit.facts import Diagnosis
from wpaudit.facts import Hop
from wpaudit.facts import State
from wpaudit.facts import TriageReport
from wpaudit.report.page import Page

UNKNOWN = 'unknown'
_DEAREST = 15         # plugins shown in the table of costs
_ROUND = 0.01         # seconds from which on a time is told in whole milliseconds
_LITTLE = 1 << 16     # bytes of memory below which nothing is said of it
_SAID = 6             # clues for and against, without --verbose
_BAR = 12             # characters of the longest bar
_BLOCK = '#'
_HOSTS = 2            # hosts shown of a plugin's outgoing requests, the slowest
_NAME = 40            # characters shown of a plugin's or host's name
_CERTAIN = 0.99
_MARKS = {'ok': ('ok', 'green'), 'failed': ('FAILS', 'bold red'), 'unknown': ('?', 'yellow'), 'skipped': ('-', 'dim')}


def report(result: TriageReport, *, verbose: bool = False, colour: bool = False, width: int = 0) -> str:
    """Write the report of ``wpaudit triage``; ``verbose`` adds every clue, with its kind."""
    page = Page(colour=colour, width=width)
    found = result.diagnosis
    verdict = sentence(found)
    page.line(verdict, _style(found))
    page.line()
    _where(page, result)
    _path(page, found.hops)
    _cause(page, found)
    _evidence(page, found, verbose=verbose)
    _others(page, found.others)
    _said(page, 'Differences', found.differences)
    _costs(page, found.costs)
    _said(page, 'Not read', [f'{gap.what}: {gap.why}' for gap in found.gaps])
    _said(page, 'Notes', found.notes)
    page.line()
    page.line(verdict, _style(found))
    return page.text()


def sentence(found: Diagnosis) -> str:
    """Return the verdict in one sentence."""
    if found.state is State.HEALTHY:
        return 'The site does not fail.'
    cause = found.cause
    if cause.kind == UNKNOWN:
        return f'{_failing(found)}; the cause is not clear.'
    return f'{_failing(found)}: {cause.sentence} ({percent(cause.probability)}).'


def _failing(found: Diagnosis) -> str:
    if found.just_me:
        return 'The site fails for this machine, others reach it'
    if found.state is State.FAILING:
        return 'The site fails'
    return 'The site fails sometimes' if found.rate.value else 'The site fails for some visitors'


def percent(probability: float) -> str:
    """Write a probability; a model's certainty is never quite that."""
    if probability > _CERTAIN:
        return 'more than 99%'
    return 'less than 1%' if probability < 1 - _CERTAIN else f'{probability:.0%}'


def bisecting(cause: Cause) -> str:
    """Say whether the search for a plugin or rule makes sense."""
    if cause.kind == UNKNOWN and not cause.bisect_helps:
        return 'Whether bisecting can help cannot be told.'
    return f'Bisecting {"can" if cause.bisect_helps else "cannot"} help.'


# -- the parts of the report ----------------------------------------------------------------------

def _where(page: Page, result: TriageReport) -> None:
    found = result.diagnosis
    page.line(f'Site: {result.url}')
    if result.target_host:
        page.line(f'Host: {result.target_host}{f", {result.target_path}" if result.target_path else ""}')
    rate = found.rate
    if rate.n:
        bad = round(rate.value * rate.n)
        pattern = f'; {rate.pattern}' if rate.pattern else ''
        page.line(f'Rate: {bad} of {rate.n} requests failed '
                  f'({rate.low:.0%} to {rate.high:.0%} with 95 % confidence){pattern}')
    if found.made_by:
        page.line(f'The failing page was made by {found.made_by}.')


def _path(page: Page, hops: Sequence[Hop]) -> None:
    if not hops:
        return
    page.line()
    page.line('Path', 'bold')
    rows = [
        ('->' if hop.outcome == 'failed' else '', hop.name, _MARKS.get(hop.outcome, (hop.outcome, '')), hop.address,
         f'{hop.seconds * 1000:.0f} ms' if hop.seconds else '', hop.detail)
        for hop in hops
    ]
    page.table(('', '', '', '', '', ''), rows)


def _cause(page: Page, found: Diagnosis) -> None:
    if found.state is State.HEALTHY:
        return
    cause = found.cause
    page.line()
    page.line('Cause', 'bold')
    page.line(f'{_capital(cause.sentence)}.', indent=2)
    known = '' if cause.kind == UNKNOWN else f'{cause.category}: {cause.kind}, {percent(cause.probability)}. '
    page.line(known + bisecting(cause), indent=2)
    if cause.advice:
        page.line()
        page.line('Next', 'bold')
        page.line(cause.advice, indent=2)


def _evidence(page: Page, found: Diagnosis, *, verbose: bool) -> None:
    for title, reasons in (('For it', found.cause.supports), ('Against it', found.cause.contradicts)):
        shown = reasons if verbose else reasons[:_SAID]
        more = [f'and {len(reasons) - len(shown)} more (--verbose)'] if len(shown) < len(reasons) else []
        _said(page, title, [*shown, *more])
    if verbose and found.clues:
        page.line()
        page.line('Everything that was noticed', 'bold')
        page.table(('source', 'clue', ''), [(one.source, one.kind, _told(one)) for one in found.clues])


def _told(clue: Clue) -> str:
    about = f' (plugin {clue.plugin})' if clue.plugin else ''
    part = f' [counts {clue.strength:.0%}]' if clue.strength < 1 else ''
    return f'{clue.reason}{about}{part}'


def _others(page: Page, others: Sequence[Cause]) -> None:
    if not others:
        return
    page.line()
    page.line('Other causes', 'bold')
    page.table(('', '', ''), [(percent(one.probability), one.kind, one.sentence) for one in others])


def _said(page: Page, title: str, lines: Sequence[str]) -> None:
    if not lines:
        return
    page.line()
    page.line(title, 'bold')
    for line in lines:
        page.line(line, indent=2)


# -- what each plugin costs -------------------------------------------------------------------------

def _costs(page: Page, costs: Sequence[Cost]) -> None:
    if not costs:
        return
    ranked = sorted(costs, key=lambda one: (-one.seconds, one.name))
    shown, rest = ranked[:_DEAREST], ranked[_DEAREST:]
    longest = shown[0].seconds
    page.line()
    page.line('What each plugin cost in one request', 'bold')
    rows = [(_short(one.name), _bar(one.seconds, longest), *_figures(one), _asked(one)) for one in shown]
    if rest:
        total = Cost(
            f'{len(rest)} more', seconds=sum(one.seconds for one in rest), memory=sum(one.memory for one in rest),
            queries=sum(one.queries for one in rest), header_bytes=sum(one.header_bytes for one in rest),
            requests=sum(one.requests for one in rest),
            request_seconds=sum(one.request_seconds for one in rest))
        rows.append((total.name, '', *_figures(total), _asked(total)))
    page.table(('', '', 'time', 'memory', 'queries', 'header', 'outgoing requests'), rows)


def _short(name: str) -> str:
    return name if len(name) <= _NAME else f'{name[:_NAME - 1]}…'


def _bar(value: float, longest: float) -> str:
    return _BLOCK * max(1, round(_BAR * value / longest)) if 0 < value < math.inf and longest < math.inf else ''


def _figures(one: Cost) -> tuple[str, str, str, str]:
    return (
        f'{one.seconds * 1000:.{0 if one.seconds >= _ROUND else 1}f} ms',
        f'{one.memory / (1 << 20):.1f} MiB' if one.memory >= _LITTLE else '',
        f'{one.queries}' if one.queries else '', f'{one.header_bytes} B' if one.header_bytes else '')


def _asked(one: Cost) -> str:
    if not one.requests:
        return ''
    slowest = sorted(one.hosts.items(), key=lambda pair: -pair[1])
    hosts = ', '.join(f'{_short(host)} {seconds:.1f} s' for host, seconds in slowest[:_HOSTS])
    hosts += f' and {len(slowest) - _HOSTS} more' if len(slowest) > _HOSTS else ''
    return f'{one.requests} in {one.request_seconds:.1f} s{f": {hosts}" if hosts else ""}'


# -- words and looks ------------------------------------------------------------------------------

def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _style(found: Diagnosis) -> str:
    if found.state is State.HEALTHY:
        return 'bold green'
    return 'bold yellow' if found.cause.kind == UNKNOWN else 'bold'
