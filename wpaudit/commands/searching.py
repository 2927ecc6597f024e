"""A bisection after the first look at a site: choose what is searched, search it, together with rules or not."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace

from wpaudit.commands import visits
from wpaudit.commands.layered import RULES
from wpaudit.commands.layered import Layered
from wpaudit.commands.opinion import Asking
from wpaudit.commands.options import Options
from wpaudit.commands.options import named
from wpaudit.commands.run import HEALTHY
from wpaudit.commands.run import OPINION_SECONDS
from wpaudit.commands.run import Run
from wpaudit.commands.trial import Trial
from wpaudit.commands.verdict import EXIT_CODES
from wpaudit.commands.verdict import Findings
from wpaudit.domain import Gap
from wpaudit.domain import Inventory
from wpaudit.domain import Kind
from wpaudit.domain import Mode
from wpaudit.domain import Verdict
from wpaudit.errors import CannotStart
from wpaudit.errors import Inconclusive
from wpaudit.errors import ModeUnavailable
from wpaudit.errors import Unreached
from wpaudit.errors import UsageError
from wpaudit.ports import Layer
from wpaudit.ports import Listener
from wpaudit.ports import Observation
from wpaudit.ports import Site


@dataclass(frozen=True)
class First:
    """What the first look found: ``seen`` by visitors, nothing where they cannot see it."""

    inventory: Inventory
    trial: Trial
    seen: Sequence[Observation]
    opinions: Asking | None  # triage, to be asked about the failure


def searched(
    site: Site, first: First, options: Options, listener: Listener, layers: Callable[[], Sequence[Layer]],
) -> Findings:
    """Go on from the first look; ``layers`` are the firewalls of the host."""
    findings = Findings(inventory=first.inventory, trial=first.trial, dry_run=options.dry_run)
    try:
        if first.seen and visits.healthy(first.seen):
            return replace(findings, verdict=Verdict.HEALTHY, message=HEALTHY)
    except Inconclusive as error:
        return findings.undecided(error)
    run = Run(site, first.trial, options, listener, findings, first.seen, first.opinions)
    try:
        return _as_asked(run, layers)
    except CannotStart as error:
        _say_what_it_looks_like(error, run)
        raise


def _say_what_it_looks_like(error: CannotStart, run: Run) -> None:
    """Add to an error what triage thinks of the failure: it may be the very reason."""
    diagnosis = run.opinions(run.visits, thorough=True).get(OPINION_SECONDS) if run.opinions and run.visits else None
    if diagnosis is not None and diagnosis.cause.kind != 'unknown':
        said = f'it looks as if {diagnosis.cause.sentence}: {diagnosis.cause.advice}'
        error.hint = f'{error.hint}; {said}' if error.hint else said


def _as_asked(run: Run, layers: Callable[[], Sequence[Layer]]) -> Findings:
    """Search what was asked for."""
    if Kind.RULE not in run.options.kinds:
        return run.conduct()
    if run.options.kinds == {Kind.RULE} or not run.options.rules_later or _asks_for_rules(run):
        return _layered(run, _together(run, layers())).conduct()
    return _plugins_then_rules(run, layers)


def _asks_for_rules(run: Run) -> bool:
    """Tell whether --keep or --suspect name something that is no plugin."""
    plugins = run.site.suspects() if run.options.keep or run.options.only else ()
    try:
        for name in (*run.options.keep, *run.options.only):
            named(name, plugins, '')
    except UsageError:
        return True
    return False


def _plugins_then_rules(run: Run, layers: Callable[[], Sequence[Layer]]) -> Findings:
    """Search the plugins; where they do not explain it, search them again together with the firewalls' rules.

    Most failures are a plugin's, and to read and prepare firewalls takes longer than to find it.
    """
    try:
        findings = replace(run, rules_next=True).conduct()
    except Unreached as error:
        return _with_rules(run, layers(), error.message) or run.conduct()
    if findings.exit_code != EXIT_CODES[findings.verdict]:
        return findings  # the site is not as it was
    try:
        if findings.verdict is Verdict.NOT_A_SUSPECT:
            return _with_rules(run, layers(), findings.message) or findings
        if findings.verdict is Verdict.CULPRIT and findings.ended:
            return _partners(run, layers(), findings)
    except ModeUnavailable as error:  # what is known of the plugins is worth telling all the same
        return replace(findings, gaps=(*findings.gaps, Gap(RULES, f'none of them was switched: {error.message}')))
    return findings


def _partners(run: Run, layers: Sequence[Layer], findings: Findings) -> Findings:
    """Look whether rules have a part in what these plugins do: PHP had ended well, and they look at its answer."""
    named = {one.id for conflict in findings.conflicts for one in conflict}
    others = tuple(one.id for one in run.site.suspects() if one.id not in named)
    narrowed = replace(run, options=replace(run.options, keep=(*run.options.keep, *others)))
    found = _with_rules(narrowed, layers, f'{findings.message}, though PHP comes to its end')
    worse = found is not None and found.exit_code != EXIT_CODES[found.verdict]
    return found if found is not None and (worse or found.verdict is Verdict.CULPRIT) else findings


def _with_rules(run: Run, layers: Sequence[Layer], reason: str) -> Findings | None:
    """Search plugins and rules together; None when there are no rules."""
    layered = _together(run, layers)
    if not any(one.kind is Kind.RULE for one in layered.suspects()):
        for gap in layered.gaps():
            run.listener.note(f'{gap.what}: {gap.why}')
        return None
    run.listener.note(f'{reason}; looking at the rules of the firewalls too')
    return _layered(run, layered).conduct()


def _together(run: Run, layers: Sequence[Layer]) -> Layered:
    return Layered(run.site, layers, run.options.mode or Mode.ISOLATED)


def _layered(run: Run, site: Layered) -> Run:
    return replace(run, site=site, findings=replace(run.findings, gaps=(*run.findings.gaps, *site.gaps())))
