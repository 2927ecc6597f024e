"""``wpaudit bisect``: prove the question, search, prove the answer; whatever happens, the site is put back."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from functools import partial

from wpaudit.commands import baseline
from wpaudit.commands.trial import Budget
from wpaudit.commands.trial import Trial
from wpaudit.commands.trial import together
from wpaudit.commands.verdict import Findings
from wpaudit.domain import Evidence
from wpaudit.domain import Gap
from wpaudit.domain import Inventory
from wpaudit.domain import Kind
from wpaudit.domain import Mode
from wpaudit.domain import Outcome
from wpaudit.domain import Restoration
from wpaudit.domain import Role
from wpaudit.domain import Stage
from wpaudit.domain import Suspect
from wpaudit.domain import Verdict
from wpaudit.engine import Oracle
from wpaudit.engine import Problem
from wpaudit.engine import Query
from wpaudit.engine import Search
from wpaudit.errors import Inconclusive
from wpaudit.errors import ModeUnavailable
from wpaudit.errors import NotRestored
from wpaudit.errors import ShellError
from wpaudit.errors import SiteError
from wpaudit.errors import UsageError
from wpaudit.ports import Listener
from wpaudit.ports import Observation
from wpaudit.ports import Prober
from wpaudit.ports import Site
from wpaudit.ports import Switcher
from wpaudit.signals import shielded

RECORDER = 'flight recorder'
HEALTHY = 'the site does not fail; there is nothing to explain'


@dataclass(frozen=True)
class Options:
    """What the user asked for, besides where and what to probe. Times in seconds."""

    mode: Mode | None = None  # None: isolated where it works, else live
    url: str = ''
    keep: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    kinds: frozenset[Kind] = frozenset({Kind.PLUGIN, Kind.NETWORK_PLUGIN})
    as_user: str = ''
    parallel: int = 2
    max_probes: int = 500
    max_time: float = 900.0
    dry_run: bool = False
    recorder: bool = True  # begin with a probe that the flight recorder watches, where there is one
    may_go_live: Callable[[str], bool] = field(default=lambda reason: False)


def bisect(
    site: Site, prober_for: Callable[[str], Prober], options: Options, listener: Listener,
) -> Findings:
    """Find the minimal conflicts among a site's plugins and prove them.

    ``prober_for`` makes the prober for a base URL. Returns what is known also when the search could not be
    finished; raises WpauditError when it could not be started, NotRestored when the site could not be verified.
    """
    deadline = time.monotonic() + options.max_time
    inventory, trial, seen = _first_look(site, prober_for, options, listener, deadline)
    findings = Findings(inventory=inventory, trial=trial, dry_run=options.dry_run)
    try:
        if seen and baseline.healthy(seen):
            return replace(findings, verdict=Verdict.HEALTHY, message=HEALTHY)
    except Inconclusive as error:
        return findings.undecided(error)
    return _Run(site, trial, options, listener, findings).conduct()


def _first_look(
    site: Site, prober_for: Callable[[str], Prober], options: Options, listener: Listener, deadline: float,
) -> tuple[Inventory, Trial, list[Observation]]:
    """Start the agent and, when the URL is known before it answers, probe as a visitor meanwhile."""
    listener.stage(Stage.CONNECT)
    budget = Budget(options.max_probes, deadline)
    site.connect()
    if not options.url:
        inventory = site.inventory()
        trial = Trial(prober_for(inventory.facts.url), listener, budget)
        return inventory, trial, [] if options.as_user else baseline.visits(trial)
    if options.as_user:
        return site.inventory(), Trial(prober_for(options.url), listener, budget), []
    found: list[Inventory] = []
    looks: list[tuple[Trial, list[Observation]]] = []

    def look() -> None:
        trial = Trial(prober_for(options.url), listener, budget)
        looks.append((trial, baseline.visits(trial)))

    together([lambda: found.append(site.inventory()), look], parallel=2)
    return found[0], *looks[0]


@dataclass
class _Run:
    """One run on one site, from the choice of the mode to the restored state."""

    site: Site
    trial: Trial
    options: Options
    listener: Listener
    findings: Findings

    def conduct(self) -> Findings:
        self.listener.stage(Stage.INSPECT)
        suspects = self.site.suspects()
        pinned = pins(suspects, self.options)
        if suspects and _closure(suspects, pinned) >= {one.id for one in suspects}:
            raise UsageError('everything is pinned: there is nothing to switch', hint='give fewer --keep')
        problem = _problem(suspects, pinned, {}, self.options.parallel)
        self.findings = replace(self.findings, suspects=tuple(one for one in suspects if one.id not in problem.pinned))
        if self.options.dry_run:
            return replace(self.findings, message=_plan(self.findings.suspects))
        if not suspects:
            return replace(
                self.findings, verdict=Verdict.NOT_A_SUSPECT,
                message='the site fails, but no plugin is active: there is nothing to switch',
            )
        if self.options.as_user:
            self.site.log_in(self.options.as_user)
        return self._in_some_mode(suspects, pinned)

    # -- modes ----------------------------------------------------------------------------------

    def _in_some_mode(self, suspects: Sequence[Suspect], pinned: frozenset[str]) -> Findings:
        mode = self.options.mode or Mode.ISOLATED
        try:
            return self._switching(mode, suspects, pinned)
        except ModeUnavailable as error:
            if self.options.mode is not None or not self.options.may_go_live(error.message):
                raise ModeUnavailable(
                    f'{mode.value} switching does not work here: {error.message}', hint=_mode_hint(self.options.mode),
                ) from error
            self.listener.note(f'isolated switching does not work here: {error.message}; switching live')
            self.findings = replace(self.findings, mode_reason=error.message)
            return self._switching(Mode.LIVE, suspects, pinned)

    def _switching(self, mode: Mode, suspects: Sequence[Suspect], pinned: frozenset[str]) -> Findings:
        switcher: Switcher | None = None
        try:
            with restored(self.site.switching(mode), self.listener) as switcher:
                try:
                    findings = self._search(switcher, suspects, pinned)
                except Inconclusive as error:
                    findings = self.findings.undecided(error)
        finally:
            if switcher is not None:
                self._check(switcher.restoration())
        return replace(findings, mode=mode, restoration=switcher.restoration())

    def _check(self, restoration: Restoration) -> None:
        self.findings = replace(self.findings, restoration=restoration)
        if not restoration.verified:
            raise NotRestored(
                f'the original state is NOT verified as restored: {restoration.message}', hint=restoration.advice,
            )
        if restoration.message:
            self.listener.note(restoration.message)

    # -- the search -----------------------------------------------------------------------------

    def _search(self, switcher: Switcher, suspects: Sequence[Suspect], pinned: frozenset[str]) -> Findings:
        self.listener.stage(Stage.BASELINE)
        everything = frozenset(one.id for one in suspects) - _closure(suspects, pinned)
        base = baseline.proven(
            self.trial, switcher, everything, parallel=self.options.parallel, visited=not self.options.as_user,
            record=self.options.recorder,
        )
        if base.note == 'healthy':
            return replace(self.findings, verdict=Verdict.HEALTHY, message=HEALTHY)
        if base.outcome is Outcome.FAIL:
            return self._not_a_plugin(switcher, base, everything)
        evidence, gaps = self._evidence()
        recorded, lost = self._recorded(base)
        evidence, gaps = (*recorded, *evidence), (*gaps, *lost)
        self.findings = replace(self.findings, evidence=evidence, gaps=(*self.findings.gaps, *gaps), note=base.note)
        problem = _problem(suspects, pinned, _weights(evidence), self._at_once(switcher))
        return self._named(switcher, problem, theme=base.theme)

    def _evidence(self) -> tuple[tuple[Evidence, ...], tuple[Gap, ...]]:
        try:
            return self.site.evidence()
        except (ShellError, SiteError) as error:  # it only orders the search
            return (), (Gap('logs on the host', error.message),)

    def _recorded(self, base: baseline.Baseline) -> tuple[tuple[Evidence, ...], tuple[Gap, ...]]:
        """Return what the flight recorder saw of a failing probe; a recording of anything else is worth nothing."""
        if base.recorded is None:
            return (), ()
        seen, recording = base.recorded.seen, base.recorded.recording
        if seen.outcome is not Outcome.FAIL:
            reason = f'its probe did not show the failure ({seen.evidence}), so what it recorded was dropped'
            self.listener.note(f'the flight recorder: {reason}')
            return (), (Gap(RECORDER, reason),)
        if recording is None:
            return (), (Gap(RECORDER, 'left nothing on the host that could be read'),)
        return recording.evidence, ()

    def _at_once(self, switcher: Switcher) -> int:
        """How many probes may run at once; asking for more in one batch would only waste them."""
        return self.options.parallel if switcher.parallel else 1

    def _named(self, switcher: Switcher, problem: Problem, *, theme: bool) -> Findings:
        self.listener.stage(Stage.SEARCH)
        everything = frozenset(problem.items)
        kept = _closed_up(problem.pinned, problem.requires)
        search = Search(problem, self._oracle(switcher, problem, theme=theme),
                        known={everything: Outcome.FAIL, kept: Outcome.PASS})
        try:
            finding = search.run()
        except Inconclusive as error:
            best = search.best()
            return self.findings.with_finding(best, Verdict.INCONCLUSIVE, error.message, search.suspicion(), error.hint)
        if not finding.conflicts:
            return self.findings.with_finding(finding, Verdict.INCONCLUSIVE, finding.unresolved, search.suspicion())
        return self.findings.with_finding(finding, Verdict.CULPRIT, '')

    def _oracle(self, switcher: Switcher, problem: Problem, *, theme: bool) -> Oracle:
        everything = frozenset(problem.items)
        parallel = self._at_once(switcher)
        stage = {Role.SEARCH: Stage.SEARCH, Role.CERTIFICATE: Stage.CERTIFY}

        def one(query: Query, left: int) -> Outcome:
            off = everything - query.on
            return self.trial.settled(
                switcher, off, query.role, confirm=query.confirm, left=left, theme=theme, parallel=parallel,
                at_once=len(off) < len(query.on),  # the site without a few suspects: that is how a fix looks
            )

        def answer(queries: Sequence[Query]) -> list[Outcome]:
            self.listener.stage(stage[queries[0].role])
            left = _left(problem, len(self.trial.records))
            return together([partial(one, query, left) for query in queries], parallel=parallel)

        return answer

    # -- not a plugin ---------------------------------------------------------------------------

    def _not_a_plugin(self, switcher: Switcher, base: baseline.Baseline, everything: frozenset[str]) -> Findings:
        if base.theme:
            with_plugins = self.trial.steady(
                switcher, frozenset(), Role.CERTIFICATE, times=2, parallel=self.options.parallel, theme=True,
            )
            return self.findings.with_theme(everything, with_plugins.outcome)
        return replace(
            self.findings, verdict=Verdict.NOT_A_SUSPECT,
            message='the site fails even with every switchable plugin off and a default theme: '
                    'the cause is none of the plugins, nor the theme',
        )


def restored(context: AbstractContextManager[Switcher], listener: Listener) -> AbstractContextManager[Switcher]:
    """Announce the restoring of a switching context."""
    return _Announced(context, listener)


class _Announced(AbstractContextManager[Switcher]):
    def __init__(self, context: AbstractContextManager[Switcher], listener: Listener) -> None:
        self._context = context
        self._listener = listener

    def __enter__(self) -> Switcher:
        return self._context.__enter__()

    def __exit__(self, *details: object) -> bool | None:
        with shielded():
            self._listener.stage(Stage.RESTORE)
            return self._context.__exit__(*details)  # type: ignore[arg-type]  # passed on as they came


# -- the question as the engine takes it ------------------------------------------------------------

def pins(suspects: Sequence[Suspect], options: Options) -> frozenset[str]:
    """Return the ids that stay on: --keep, all but --suspect, and kinds that were not asked for."""
    keep = {named(name, suspects, '--keep') for name in options.keep}
    if options.only:
        only = {named(name, suspects, '--suspect') for name in options.only}
        keep |= {one.id for one in suspects if one.id not in only}
    keep |= {one.id for one in suspects if one.kind not in options.kinds}
    return frozenset(keep)


def named(name: str, suspects: Sequence[Suspect], option: str) -> str:
    """Return the id that a user means by ``acme``, ``acme/acme.php`` or its printed name."""
    matches = [one.id for one in suspects if name == one.id]
    matches = matches or [one.id for one in suspects if name in (one.id.split('/')[0].removesuffix('.php'), one.name)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UsageError(f'{option} {name} means several plugins: {", ".join(matches)}', hint='use the file, as listed')
    slugs = [one.id.split('/')[0].removesuffix('.php') for one in suspects]
    near = difflib.get_close_matches(name, slugs, n=1)
    hint = f'did you mean {near[0]}?' if near else 'see: wpaudit list'
    raise UsageError(f'{option}: no active plugin is called {name}', hint=hint)


def _problem(
    suspects: Sequence[Suspect], pinned: frozenset[str], weights: Mapping[str, float], parallel: int,
) -> Problem:
    return Problem(
        items=tuple(one.id for one in suspects),
        requires={one.id: frozenset(one.requires) for one in suspects if one.requires},
        pinned=pinned, weights=weights, parallel=parallel,
    )


def _closure(suspects: Sequence[Suspect], pinned: frozenset[str]) -> frozenset[str]:
    return _closed_up(pinned, {one.id: frozenset(one.requires) for one in suspects})


def _closed_up(ids: frozenset[str], requires: Mapping[str, frozenset[str]]) -> frozenset[str]:
    closed: set[str] = set()
    waiting = list(ids)
    while waiting:
        item = waiting.pop()
        if item not in closed:
            closed.add(item)
            waiting.extend(requires.get(item, ()))
    return frozenset(closed)


def _weights(evidence: Sequence[Evidence]) -> dict[str, float]:
    weights: dict[str, float] = {}
    for one in evidence:
        for suspect in one.suspects:
            weights[suspect] = weights.get(suspect, 1.0) * one.weight
    return weights


def _left(problem: Problem, made: int) -> int:
    """About how many probes a single culprit still needs: halving, then its certificate."""
    switchable = max(1, len(problem.items) - len(problem.pinned))
    expected = baseline.VISITS + baseline.STEADY_ON + baseline.STEADY_OFF + switchable.bit_length() + 2
    return max(1, expected - made)


def _plan(suspects: Sequence[Suspect]) -> str:
    probes = len(suspects).bit_length() + 2 + baseline.STEADY_ON + baseline.STEADY_OFF
    return f'a run would switch {len(suspects)} plugins and make about {probes} probes for a single culprit'


def _mode_hint(mode: Mode | None) -> str:
    if mode is None:
        return 'switch for everybody, visitors included, with --mode live, or let auto do so with --yes'
    return 'use --mode live' if mode is Mode.ISOLATED else 'see: wpaudit doctor'

