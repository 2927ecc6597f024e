"""``wpaudit bisect``: prove the question, search, prove the answer; whatever happens, the site is put back."""

from __future__ import annotations

import time
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from wpaudit.commands import visits
from wpaudit.commands.layered import Layered
from wpaudit.commands.opinion import Looking
from wpaudit.commands.opinion import Opinion
from wpaudit.commands.options import Options
from wpaudit.commands.options import named
from wpaudit.commands.run import HEALTHY
from wpaudit.commands.run import OPINION_SECONDS
from wpaudit.commands.run import Run
from wpaudit.commands.trial import Budget
from wpaudit.commands.trial import Trial
from wpaudit.commands.trial import together
from wpaudit.commands.verdict import EXIT_CODES
from wpaudit.commands.verdict import Findings
from wpaudit.domain import Gap
from wpaudit.domain import Inventory
from wpaudit.domain import Kind
from wpaudit.domain import Mode
from wpaudit.domain import Stage
from wpaudit.domain import Verdict
from wpaudit.errors import CannotStart
from wpaudit.errors import Inconclusive
from wpaudit.errors import ModeUnavailable
from wpaudit.errors import Unreached
from wpaudit.errors import UsageError
from wpaudit.ports import Layer
from wpaudit.ports import Listener
from wpaudit.ports import Observation
from wpaudit.ports import Prober
from wpaudit.ports import Site

if TYPE_CHECKING:
    from wpaudit.commands.glance import Glance

RULES = 'firewall rules'

Layers = Callable[[Inventory], Sequence[Layer]]


def bisect(
    site: Site, prober_for: Callable[[str], Prober], options: Options, listener: Listener, *,
    layers: Layers = lambda inventory: (), looking: Looking | None = None,
) -> Findings:
    """Find the minimal conflicts among a site's plugins, and its firewalls' rules if need be, and prove them.

    ``prober_for`` makes the prober for a base URL, ``layers`` the firewalls of the host; ``looking`` lets triage say
    what kind of failure it is. Returns what is known also when the search could not be finished; raises WpauditError
    when it could not be started. A site that could not be verified as it was is told by ``Findings.restoration``.
    """
    budget = Budget(options.max_probes, time.monotonic() + options.max_time)

    def trial_for(url: str) -> Trial:
        return Trial(prober_for(url), listener, budget)

    inventory, trial, seen, glance = _first_look(site, trial_for, options, listener, looking)
    site.must_be_free()  # also when it works: a run that was interrupted may have left the culprit off
    findings = Findings(inventory=inventory, trial=trial, dry_run=options.dry_run)
    try:
        if seen and visits.healthy(seen):
            return replace(findings, verdict=Verdict.HEALTHY, message=HEALTHY)
    except Inconclusive as error:
        return findings.undecided(error)
    opinions = partial(Opinion, looking, glance, options.url or inventory.facts.url) if looking and glance else None
    run = Run(site, trial, options, listener, findings, seen, opinions)
    try:
        return _searched(run, lambda: layers(inventory))
    except CannotStart as error:
        _say_what_it_looks_like(error, run)
        raise


def _say_what_it_looks_like(error: CannotStart, run: Run) -> None:
    """Add to an error what triage thinks of the failure: it may be the very reason."""
    diagnosis = run.opinions(run.visits, thorough=True).get(OPINION_SECONDS) if run.opinions and run.visits else None
    if diagnosis is not None and diagnosis.cause.kind != 'unknown':
        said = f'it looks as if {diagnosis.cause.sentence}: {diagnosis.cause.advice}'
        error.hint = f'{error.hint}; {said}' if error.hint else said


def _searched(run: Run, layers: Callable[[], Sequence[Layer]]) -> Findings:
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


def _first_look(
    site: Site, trial_for: Callable[[str], Trial], options: Options, listener: Listener, looking: Looking | None,
) -> tuple[Inventory, Trial, list[Observation], Glance | None]:
    """Start the agent and, when the URL is known before it answers, probe as a visitor meanwhile."""
    listener.stage(Stage.CONNECT)
    site.connect()
    if not options.url:
        inventory = site.inventory()
        url = inventory.facts.url
        glance, trial = looking.glance(url) if looking else None, trial_for(url)
        return inventory, trial, [] if options.as_user else visits.visits(trial), glance
    # What there is to be loaded and asked for is so while the host starts PHP.
    glance = looking.glance(options.url) if looking else None
    if options.as_user:
        return site.inventory(), trial_for(options.url), [], glance
    found: list[Inventory] = []
    looks: list[tuple[Trial, list[Observation]]] = []

    def look() -> None:
        trial = trial_for(options.url)
        looks.append((trial, visits.visits(trial)))

    together([lambda: found.append(site.inventory()), look], parallel=2)
    return found[0], *looks[0], glance
