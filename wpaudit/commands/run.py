"""One run on one site: the mode, the baseline, the search, the restored state."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from dataclasses import replace
from typing import TYPE_CHECKING

from wpaudit.commands import baseline
from wpaudit.commands import visits
from wpaudit.commands.exempting import Exempting
from wpaudit.commands.opinion import Asking
from wpaudit.commands.opinion import Opinion
from wpaudit.commands.opinion import hints
from wpaudit.commands.options import Options
from wpaudit.commands.options import closed_up
from wpaudit.commands.options import closure
from wpaudit.commands.options import pins
from wpaudit.commands.steadiness import Steadiness
from wpaudit.commands.trial import BACKING
from wpaudit.commands.trial import Asked
from wpaudit.commands.trial import Trial
from wpaudit.commands.verdict import Findings
from wpaudit.domain import Evidence
from wpaudit.domain import Gap
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
from wpaudit.errors import Interrupted
from wpaudit.errors import ModeUnavailable
from wpaudit.errors import NotRestored
from wpaudit.errors import ShellError
from wpaudit.errors import SiteError
from wpaudit.errors import Unreached
from wpaudit.errors import Unsteady
from wpaudit.errors import UsageError
from wpaudit.errors import WpauditError
from wpaudit.ports import Listener
from wpaudit.ports import Observation
from wpaudit.ports import Site
from wpaudit.ports import Switcher
from wpaudit.signals import shielded

if TYPE_CHECKING:
    from wpaudit.facts import Diagnosis

RECORDER = 'flight recorder'
_NO_RULE = 'the site fails, but there is no firewall rule that could be switched'
HEALTHY = 'the site does not fail; there is nothing to explain'
EVENTS = re.compile(r'wpaudit ran ([0-9]{1,6}) events$', re.MULTILINE)
SHOWN = 5  # ids in a sentence
OPINION_SECONDS = 2.0  # for which triage is waited for, at the most


@dataclass
class Run:
    """One run on one site, from the choice of the mode to the restored state."""

    site: Site
    trial: Trial
    options: Options
    listener: Listener
    findings: Findings
    visits: Sequence[Observation]  # what visitors saw
    opinions: Asking | None = None  # triage, asked about what was seen
    opinion: Opinion | None = None
    rules_next: bool = False  # the firewalls' rules are searched next, should the probes never arrive

    def conduct(self) -> Findings:
        self.listener.stage(Stage.INSPECT)
        suspects = self.site.suspects()
        if self.options.kinds == {Kind.RULE} and not any(one.kind is Kind.RULE for one in suspects):
            return replace(self.findings, verdict=Verdict.NOT_A_SUSPECT, message=_NO_RULE)
        pinned = pins(suspects, self.options)
        if suspects and closure(suspects, pinned) >= {one.id for one in suspects}:
            raise UsageError('everything is pinned: there is nothing to switch', hint='give fewer --keep')
        self.findings = replace(self.findings, suspects=tuple(one for one in suspects if one.id not in pinned))
        if self.options.dry_run:
            return replace(self.findings, message=_plan(self.findings.suspects))
        if self.options.as_user:
            self.site.log_in(self.options.as_user)
        if self.options.cron:
            self.site.run_events()
        return self._in_some_mode(suspects, pinned) if suspects else self._theme_alone()

    # -- modes ----------------------------------------------------------------------------------

    def _in_some_mode(self, suspects: Sequence[Suspect], pinned: frozenset[str]) -> Findings:
        mode = self.options.mode or Mode.ISOLATED
        try:
            return self._switching(mode, suspects, pinned)
        except ModeUnavailable as error:
            if self.rules_next and isinstance(error, Unreached):
                raise
            if self.options.mode is not None or not self.options.may_go_live(error.message):
                raise ModeUnavailable(
                    f'{mode.value} switching does not work here: {error.message}',
                    hint=_mode_hint(self.options.mode, cron=self.options.cron),
                ) from error
            self.listener.note(f'isolated switching does not work here: {error.message}; switching live')
            self.findings = replace(self.findings, mode_reason=error.message)
            return self._switching(Mode.LIVE, suspects, pinned)

    def _theme_alone(self) -> Findings:
        """Ask the theme, the only thing there is to switch."""
        try:
            return self._in_some_mode((), frozenset())
        except ModeUnavailable as error:
            if self.rules_next and isinstance(error, Unreached):
                raise
            untried = error.__cause__ if isinstance(error.__cause__, ModeUnavailable) else error
            return replace(self.findings, verdict=Verdict.NOT_A_SUSPECT, message=_innocent((), (), untried.message))

    def _switching(self, mode: Mode, suspects: Sequence[Suspect], pinned: frozenset[str]) -> Findings:
        switcher: Switcher | None = None
        ended = False
        try:
            with restored(self.site.switching(mode), self.listener) as switcher:
                findings = self._searched(switcher, suspects, pinned)
            ended = True
        except (WpauditError, Interrupted) as error:
            if switcher is None or switcher.restoration().verified:
                raise
            # What is known by now is worth telling, above all how the site was left.
            findings, ended = self.findings.broken_off(error), True
        finally:
            if switcher is not None and not ended:  # by a bug
                must_be_verified(switcher.restoration())
        restoration = switcher.restoration()
        if restoration.verified and restoration.message:
            self.listener.note(restoration.message)
        return replace(findings, mode=mode, restoration=restoration, diagnosis=self._diagnosis())

    def _searched(self, switcher: Switcher, suspects: Sequence[Suspect], pinned: frozenset[str]) -> Findings:
        try:
            return self._search(switcher, suspects, pinned)
        except Inconclusive as error:
            return self.findings.undecided(error)

    # -- the search -----------------------------------------------------------------------------

    def _search(self, switcher: Switcher, suspects: Sequence[Suspect], pinned: frozenset[str]) -> Findings:
        self.listener.stage(Stage.BASELINE)
        everything = frozenset(one.id for one in suspects) - closure(suspects, pinned)
        base = baseline.proven(baseline.Question(
            self.trial, switcher, everything, self.visits, self.options.parallel, self.options.recorder,
            self.options.confidence,
        ))
        if base.steadiness is None:
            return replace(self.findings, verdict=Verdict.HEALTHY, message=HEALTHY + _ran(base.on))
        self._tell(base.steadiness)
        self.findings = replace(self.findings, ended=_ended(base.on))
        if self.opinions:
            self.opinion = self.opinions((*self.visits, *base.on), thorough=base.outcome is Outcome.FAIL)
        if base.outcome is Outcome.FAIL:
            return self._not_a_plugin(switcher, base, everything)
        evidence, gaps = self._evidence()
        recorded, lost = self._recorded(base)
        # What the recorder saw says more than logs do; without it they are worth waiting for.
        told = () if recorded else hints(self._diagnosis(), suspects)
        evidence, gaps = (*recorded, *told, *evidence), (*gaps, *lost)
        self.findings = replace(self.findings, evidence=evidence, gaps=(*self.findings.gaps, *gaps), note=base.note)
        return self._named(switcher, self._problem(switcher, suspects, pinned), theme=base.theme)

    def _diagnosis(self) -> Diagnosis | None:
        return self.opinion.get(OPINION_SECONDS) if self.opinion else None

    def _tell(self, steadiness: Steadiness) -> None:
        self.findings = replace(self.findings, steadiness=steadiness)
        if not steadiness.steady:
            self.listener.note(
                f'the failure is unsteady: {steadiness.failed} of {steadiness.made} requests failed, so every set is '
                f'probed until it fails, or has passed {self.trial.patience} times in a row',
            )

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

    def _problem(self, switcher: Switcher, suspects: Sequence[Suspect], pinned: frozenset[str]) -> Problem:
        return Problem(
            items=tuple(one.id for one in suspects),
            requires={one.id: frozenset(one.requires) for one in suspects if one.requires},
            pinned=pinned, weights=_weights(self.findings.evidence), parallel=self._at_once(switcher),
            # Where the host marks every request, a failure is the fault's own and needs no repetition. A pass may be
            # an unsteady fault's luck; where that is known, each is already made of many probes.
            sure_failures=switcher.certain, enough=BACKING if self.trial.patience == 1 else 1,
            partners=self._partners,
        )

    def _partners(self, suspect: str) -> dict[str, float]:
        """Ask with whom a suspect may fail that passes alone; the report tells of it too."""
        where = next((one.where for one in self.findings.evidence if one.where and suspect in one.suspects), '')
        try:
            found = self.site.partners(suspect, where)
        except (ShellError, SiteError) as error:  # it only orders the search
            self.findings = replace(self.findings, gaps=(*self.findings.gaps, Gap(f'code of {suspect}', error.message)))
            return {}
        known = {one.id for one in self.findings.suspects} - {suspect}
        found = tuple(one for one in found if known.issuperset(one.suspects))
        self.findings = replace(self.findings, evidence=(*self.findings.evidence, *found))
        return _weights(found)

    def _at_once(self, switcher: Switcher) -> int:
        """How many probes may run at once; asking for more in one batch would only waste them."""
        return self.options.parallel if switcher.parallel else 1

    def _named(self, switcher: Switcher, problem: Problem, *, theme: bool) -> Findings:
        self.listener.stage(Stage.SEARCH)
        everything = frozenset(problem.items)
        kept = closed_up(problem.pinned, problem.requires)
        search = Search(problem, self._oracle(switcher, problem, theme=theme),
                        known={everything: Outcome.FAIL, kept: Outcome.PASS})
        try:
            finding = search.run()
            self._still_there(switcher, theme=theme)
        except Inconclusive as error:
            best = search.best()
            return self.findings.with_finding(best, Verdict.INCONCLUSIVE, error.message, search.suspicion(), error.hint)
        if not finding.conflicts:
            return self.findings.with_finding(finding, Verdict.INCONCLUSIVE, finding.unresolved, search.suspicion())
        findings = self.findings.with_finding(finding, Verdict.CULPRIT, '')
        narrower = Exempting(
            self.trial, switcher, findings.fixes[0] if findings.fixes else (), parallel=self.options.parallel,
            theme=theme)
        return replace(findings, exemptions=narrower.proven())

    def _still_there(self, switcher: Switcher, *, theme: bool) -> None:
        """Raise Unsteady when an unsteady failure has stopped meanwhile: then passes say nothing."""
        if self.trial.patience > 1:
            seen = self.trial.steady(
                switcher, frozenset(), Role.CERTIFICATE, times=1, parallel=self.options.parallel, theme=theme)
            if seen.outcome is not Outcome.FAIL:
                raise Unsteady(
                    f'the failure, unsteady from the beginning, no longer showed in {self.trial.patience} requests at '
                    'the end of the run', hint='run again while it shows',
                )

    def _oracle(self, switcher: Switcher, problem: Problem, *, theme: bool) -> Oracle:
        everything = frozenset(problem.items)
        parallel = self._at_once(switcher)
        stage = {Role.SEARCH: Stage.SEARCH, Role.CERTIFICATE: Stage.CERTIFY}

        def asked(query: Query) -> Asked:
            off = everything - query.on
            # The site without a few suspects: that is how a fix looks.
            return Asked(off, query.role, query.confirm, likely=len(off) < len(query.on))

        def answer(queries: Sequence[Query]) -> list[Outcome]:
            self.listener.stage(stage[queries[0].role])
            left = _left(problem, len(self.trial.records))
            return self.trial.settled(
                switcher, [asked(query) for query in queries], parallel=parallel, left=left, theme=theme)

        return answer

    # -- not a plugin ---------------------------------------------------------------------------

    def _not_a_plugin(self, switcher: Switcher, base: baseline.Baseline, everything: frozenset[str]) -> Findings:
        if base.theme:
            with_plugins = self.trial.steady(
                switcher, frozenset(), Role.CERTIFICATE, times=2, parallel=self.options.parallel, theme=True,
            )
            return self.findings.with_theme(everything, with_plugins.outcome)
        kept = [one.id for one in self.site.suspects() if one.id not in everything]
        message = _innocent(self.findings.suspects, kept, base.untried)
        return replace(self.findings, verdict=Verdict.NOT_A_SUSPECT, message=message)


def _ran(seen: Sequence[Observation]) -> str:
    """Say how many events ran, where the probes asked for that: there may have been none that was due."""
    counts = [EVENTS.match(one.answers[-1].body) for one in seen if one.answers]
    found = [int(count[1]) for count in counts if count]
    return f' ({max(found)} events of WP-Cron were due and ran)' if found else ''


def must_be_verified(restoration: Restoration) -> None:
    """Raise NotRestored when the site was not seen to be as before."""
    if not restoration.verified:
        raise NotRestored(
            f'the original state is NOT verified as restored: {restoration.message}', hint=restoration.advice)


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


def _weights(evidence: Sequence[Evidence]) -> dict[str, float]:
    weights: dict[str, float] = {}
    for one in evidence:
        for suspect in one.suspects:
            weights[suspect] = weights.get(suspect, 1.0) * one.weight
    return weights


def _ended(seen: Sequence[Observation]) -> bool:
    """Tell whether the marks of all failing probes say that PHP had come as far as its shutdown functions."""
    marks = [mark for one in seen if one.outcome is Outcome.FAIL for mark in one.marks]
    return bool(marks) and all(mark is not None and mark.stage == 'ended' for mark in marks)


def _left(problem: Problem, made: int) -> int:
    """About how many probes a single culprit still needs: halving, then its certificate."""
    switchable = max(1, len(problem.items) - len(problem.pinned))
    expected = visits.VISITS + baseline.STEADY_ON + baseline.STEADY_OFF + switchable.bit_length() + 2
    return max(1, expected - made)


def _innocent(suspects: Sequence[Suspect], kept: Sequence[str], untried: str) -> str:
    """Say what is not to blame, and no more than that: ``untried`` is why the theme was not asked."""
    rules = any(one.kind is Kind.RULE for one in suspects)
    plugins = any(one.kind is not Kind.RULE for one in suspects)
    if rules and not plugins:
        return 'the site fails even with every switchable firewall rule off: the cause is none of them'
    also = f'; the theme could not be tried: {untried}' if untried else ''
    if not plugins:
        return 'the site fails, and no plugin is active' + (
            also or '; with a default theme it fails too: the cause is no plugin, nor the theme')
    off = f'every switchable plugin {"and firewall rule " if rules else ""}off'
    theme = '' if untried else ' and a default theme'
    others = f'{"" if untried else ", nor the theme"}{", nor one of these rules" if rules else ""}'
    if kept:
        shown = ', '.join(kept[:SHOWN]) + (f' and {len(kept) - SHOWN} more' if len(kept) > SHOWN else '')
        return (
            f'the site fails even with {off}{theme}: the cause is none of those that were switched{others}, but '
            f'something else, or one that was kept on ({shown}){also}'
        )
    return f'the site fails even with {off}{theme}: the cause is none of the plugins{others}{also}'


def _plan(suspects: Sequence[Suspect]) -> str:
    probes = len(suspects).bit_length() + 2 + baseline.STEADY_ON + baseline.STEADY_OFF
    rules = sum(one.kind is Kind.RULE for one in suspects)
    parts = [f'{count} {what}' for count, what in ((len(suspects) - rules, 'plugins'), (rules, 'rules')) if count]
    return f'a run would switch {" and ".join(parts) or "nothing"} and make about {probes} probes for a single culprit'


def _mode_hint(mode: Mode | None, *, cron: bool) -> str:
    if cron:
        return 'events can be run in no other mode; see: wpaudit doctor'
    if mode is None:
        return 'switch for everybody, visitors included, with --mode live, or let auto do so with --yes'
    return 'use --mode live' if mode is Mode.ISOLATED else 'see: wpaudit doctor'

