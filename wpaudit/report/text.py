"""Text for people: the verdict first and last, between them what it rests on and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
from typing import assert_never

from wpaudit.domain import Check
from wpaudit.domain import Claim
from wpaudit.domain import Component
from wpaudit.domain import Gap
from wpaudit.domain import Inventory
from wpaudit.domain import Mode
from wpaudit.domain import Outcome
from wpaudit.domain import Rate
from wpaudit.domain import Report
from wpaudit.domain import Restoration
from wpaudit.domain import SiteFacts
from wpaudit.domain import Suspect
from wpaudit.domain import Verdict
from wpaudit.report.advice import is_command
from wpaudit.report.page import Page

_PROOF = 3      # claims shown without --verbose
_EVIDENCE = 5
_SHOWN = 4      # ids listed before "and N more"


def report(result: Report, *, verbose: bool = False, colour: bool = False, width: int = 0) -> str:
    """Write the report of ``wpaudit bisect``; ``verbose`` adds every claim and every probe."""
    page = Page(colour=colour, width=width)
    style = _verdict_style(result)
    page.line(_capital(result.message), style)
    page.line()
    _where(page, result)
    _proof(page, result.certificate, verbose=verbose)
    if verbose and result.probes:
        _probes(page, result)
    _evidence(page, result, verbose=verbose)
    _not_read(page, result.gaps)
    _next(page, result)
    _restored(page, result)
    _spent(page, result)
    page.line()
    page.line(_capital(result.message), style)
    return page.text()


def inventory(found: Inventory, rules: Sequence[Suspect] = (), *, colour: bool = False, width: int = 0) -> str:
    """Write the list of what is on a site."""
    page = Page(colour=colour, width=width)
    page.line(f'{found.facts.url}  {_software(found.facts)}', 'bold')
    page.line(found.facts.path)
    page.line()
    if found.components:
        rows = [(one.kind, (one.status, _status_style(one)), one.id, one.name, one.version, one.update, _requires(one))
                for one in found.components]
        page.table(('kind', 'status', 'id', 'name', 'version', 'update', 'requires'), rows, indent=0)
    if rules:
        page.line()
        lines = [(one.id, one.layer, one.name, one.where) for one in rules]
        page.table(('rule', 'layer', 'name', 'where'), lines, indent=0)
    problems = [(one.id, problem) for one in found.components for problem in one.problems]
    if problems:
        page.line()
        page.line('Problems', 'bold')
        for identifier, problem in problems:
            page.line(f'{identifier}: {problem}', 'yellow', indent=2)
    _not_read(page, found.gaps)
    return page.text()


def _requires(part: Component) -> str:
    asked = (('WordPress', part.requires_wordpress), ('PHP', part.requires_php))
    return ', '.join([*(f'{what} {version}' for what, version in asked if version), *part.requires_plugins])


def doctor(checks: Sequence[Check], *, colour: bool = False, width: int = 0) -> str:
    """Write the checks, one a line, each failed one with what to do."""
    page = Page(colour=colour, width=width)
    looks = {True: ('ok', 'green'), False: ('no', 'bold red'), None: ('--', 'dim')}
    page.table(('', '', ''), [(looks[one.ok], one.name, one.detail) for one in checks], indent=0)
    hints = [one for one in checks if one.hint and not one.ok]
    if hints:
        page.line()
        for one in hints:
            page.line(f'{one.name}: {one.hint}')
    return page.text()


# -- the parts of the report ----------------------------------------------------------------------

def _where(page: Page, result: Report) -> None:
    if result.target_url or result.site:
        page.line(f'Site: {result.target_url}{f"  {_software(result.site)}" if result.site else ""}')
    page.line(f'Host: {result.target_host}{f", {result.target_path}" if result.target_path else ""}')
    if result.mode is not None:
        reason = f' ({result.mode_reason})' if result.mode_reason else ''
        page.line(f'Mode: {_mode(result.mode, result.restore)}{reason}')
    if result.rate is not None and 0 < result.rate.value < 1:
        page.line(f'Fails: in {_percent(result.rate)} of the requests; each set was probed until it failed, or had '
                  'passed often enough')


def _percent(rate: Rate) -> str:
    return f'{rate.value:.0%} ({rate.low:.0%} to {rate.high:.0%}, {rate.n} requests)'


def _mode(mode: Mode, restore: Restoration | None) -> str:
    match mode:
        case Mode.ISOLATED:
            return "isolated: only wpaudit's own requests saw anything switched"
        case Mode.LIVE:
            seconds = restore.changed_seconds if restore else 0.0
            return f'live: visitors saw a changed site for {seconds:.1f} s'
        case _:
            assert_never(mode)


def _proof(page: Page, certificate: Sequence[Claim], *, verbose: bool) -> None:
    if not certificate:
        return
    shown = certificate if verbose else telling(certificate)
    page.line()
    page.line('Proof', 'bold')
    page.table(('', ''), [((one.outcome, _outcome_style(one.outcome)), _claimed(one)) for one in shown])
    if len(shown) < len(certificate):
        page.line(f'and {len(certificate) - len(shown)} more (--verbose)', 'dim', indent=2)


def telling(certificate: Sequence[Claim]) -> list[Claim]:
    """Return the few claims that convince: the culprit alone fails, the rest without it works, all together fails."""
    def turns(claim: Claim) -> int:
        if claim.on is not None and claim.outcome is Outcome.FAIL:
            return 0
        if claim.off and claim.outcome is Outcome.PASS:
            return 1
        return 2 if claim.off == () else 3

    by_turn = sorted(range(len(certificate)), key=lambda n: (turns(certificate[n]), not certificate[n].observed, n))
    firsts = [next((n for n in by_turn if turns(certificate[n]) == turn), -1) for turn in range(4)]
    order = dict.fromkeys([n for n in firsts if n >= 0] + by_turn)
    return [certificate[n] for n in sorted(list(order)[:_PROOF])]


def _claimed(claim: Claim) -> str:
    return claim.claim if claim.observed else f'{claim.claim} (follows from the others; not probed itself)'


def _probes(page: Page, result: Report) -> None:
    page.line()
    page.line('Probes', 'bold')
    rows = [
        (str(one.n), one.role, (one.outcome, _outcome_style(one.outcome)), str(one.status or '-'),
         f'{one.seconds:.2f} s', _ids(one.off), one.evidence)
        for one in result.probes
    ]
    page.table(('n', 'role', 'outcome', 'status', 'time', 'off', 'evidence'), rows)


def _evidence(page: Page, result: Report, *, verbose: bool) -> None:
    if not result.evidence:
        return
    page.line()
    page.line('Evidence on the host (it ordered the search; it proves nothing)', 'bold')
    ranked = sorted(result.evidence, key=lambda one: -one.weight)
    for one in ranked if verbose else ranked[:_EVIDENCE]:
        fate = f'; {one.fate}' if one.fate else ''
        page.line(f'{one.source}: {one.reason}{fate}{f" ({_ids(one.suspects)})" if one.suspects else ""}', indent=2)


def _not_read(page: Page, gaps: Sequence[Gap]) -> None:
    if not gaps:
        return
    page.line()
    page.line('Not read', 'bold')
    for gap in gaps:
        page.line(f'{gap.what}: {gap.why}', indent=2)


def _next(page: Page, result: Report) -> None:
    commands = [line for line in result.advice if is_command(line)]
    sentences = [line for line in result.advice if not is_command(line)]
    if commands:
        page.line()
        page.line(f'To fix it, type this on {result.target_host} (wpaudit never does):', 'bold')
        for line in commands:
            page.exact(line)
    if sentences:
        page.line()
        page.line('Next', 'bold')
        for line in sentences:
            page.line(line, indent=2)


def _restored(page: Page, result: Report) -> None:
    if result.restore is None:
        return
    page.line()
    for text, style in _restore_lines(result.restore):
        page.line(text, style)


def _restore_lines(restore: Restoration) -> Iterator[tuple[str, str]]:
    if restore.verified:
        said = f' ({restore.message})' if restore.message else ''
        yield f'Restored and verified: the site is as it was{said}.', 'green'
    else:
        said = f': {restore.message}' if restore.message else ''
        yield f'THE ORIGINAL STATE IS NOT VERIFIED AS RESTORED{said}', 'bold red'
        yield f'before: {restore.before or "unknown"}, now: {restore.after or "unknown"}', 'red'
        if restore.advice:
            yield f'Type: {restore.advice}', 'bold red'
    for left in restore.left_behind:
        yield f'left behind: {left}', 'bold yellow'


def _spent(page: Page, result: Report) -> None:
    total = result.costs.get('total_seconds')
    page.line(f'{len(result.probes)} probes{f" in {total:.1f} s" if total is not None else ""}'
              f'{f"; confidence {result.confidence:.0%}" if result.conflicts else ""}')
    if result.record:
        page.line(f'Record: {result.record}')


# -- words and looks ------------------------------------------------------------------------------

def _software(facts: SiteFacts) -> str:
    words = [f'WordPress {facts.wordpress or "?"}', f'PHP {facts.php or "?"}', facts.server,
             'network' if facts.multisite else '']
    return ', '.join(word for word in words if word)


def _ids(ids: Sequence[str]) -> str:
    more = f' and {len(ids) - _SHOWN} more' if len(ids) > _SHOWN else ''
    return ', '.join(ids[:_SHOWN]) + more


def _capital(message: str) -> str:
    text = message[:1].upper() + message[1:]
    return text if text.endswith(('.', '!', '?')) else f'{text}.'


def _verdict_style(result: Report) -> str:
    if result.restore is not None and not result.restore.verified:
        return 'bold red'
    return {Verdict.HEALTHY: 'bold green', Verdict.CULPRIT: 'bold'}.get(result.outcome, 'bold yellow')


def _outcome_style(outcome: Outcome) -> str:
    match outcome:
        case Outcome.FAIL:
            return 'red'
        case Outcome.PASS:
            return 'green'
        case Outcome.OTHER | Outcome.UNREACHED:
            return 'yellow'
        case _:
            assert_never(outcome)


def _status_style(one: Component) -> str:
    return {'missing': 'red', 'inactive': 'dim'}.get(one.status, '')
