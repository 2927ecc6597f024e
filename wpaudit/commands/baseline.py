"""Prove the question before the search: the site fails, so or so often, and with everything off it passes."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from functools import partial

from wpaudit.commands.steadiness import Steadiness
from wpaudit.commands.trial import Recorded
from wpaudit.commands.trial import Trial
from wpaudit.commands.trial import agreed
from wpaudit.commands.trial import backed_failure
from wpaudit.commands.trial import loaded_anyway
from wpaudit.commands.trial import together
from wpaudit.commands.visits import HEALTHY_VISITS
from wpaudit.domain import Mode
from wpaudit.domain import Outcome
from wpaudit.domain import Role
from wpaudit.errors import CannotStart
from wpaudit.errors import Inconclusive
from wpaudit.errors import ModeUnavailable
from wpaudit.errors import NoOtherTheme
from wpaudit.errors import Unreached
from wpaudit.errors import Unsteady
from wpaudit.ports import Observation
from wpaudit.ports import Switcher

# With all on a probe is made three times, once under the eyes of the flight recorder: a fault that shows in 30 % of
# the requests passes for steady in 0.2 % of the runs, the visits counted in.
STEADY_ON = 3
STEADY_OFF = 2
# The share of an unsteady failure is measured: until it has shown so often, or the requests are so many.
FAILURES_WANTED = 5
MOST_MEASURED = 40
_NOT_THERE = frozenset({400, 404, 405, 410})
ASKED_AGAIN = 3  # requests of each kind, where visitors and signed probes do not agree


@dataclass(frozen=True)
class Question:
    """What is to be proven. ``visits`` is what visitors saw, nothing where they cannot see it (--as-user)."""

    trial: Trial
    switcher: Switcher
    everything: frozenset[str]
    visits: Sequence[Observation]
    parallel: int
    record: bool       # let the flight recorder watch
    confidence: float  # wanted of every claim, when the failure is unsteady

    @property
    def at_once(self) -> int:
        """How many probes may run at the same time."""
        return self.parallel if self.switcher.parallel else 1


@dataclass(frozen=True)
class Baseline:
    """What the baseline settled. ``theme`` tells that the search runs with the theme replaced."""

    outcome: Outcome  # of everything off
    theme: bool = False
    untried: str = ''  # why the theme was not
    note: str = ''
    recorded: Recorded | None = None  # the probe that the flight recorder watched
    steadiness: Steadiness | None = None  # None: nothing failed
    on: tuple[Observation, ...] = ()  # what the probes with everything on saw


def proven(question: Question) -> Baseline:
    """Probe all on and all off, and find out how steadily it fails.

    Raises ModeUnavailable when this way of switching does not work here or does not show the failure, Unsteady
    when it shows too seldom to prove anything.
    """
    looks = _Looks(question)
    looks.first()
    steadiness = looks.steadiness()
    if steadiness is None:
        return Baseline(Outcome.PASS, note='healthy', on=tuple(looks.on))
    question.trial.prober.settle([one for one in looks.on if one.outcome is Outcome.FAIL])
    question.trial.patience = 1 if steadiness.steady else steadiness.passes()
    return replace(_without(question, looks.off), recorded=looks.recorded, steadiness=steadiness, on=tuple(looks.on))


@dataclass
class _Looks:
    """The probes with everything on and with everything off, as far as they were made."""

    question: Question
    on: list[Observation] = field(default_factory=list)
    off: list[Observation] = field(default_factory=list)
    recorded: Recorded | None = None  # the first that failed, else the first

    def first(self) -> None:
        """Probe both, a few times each: at once where nobody else sees it, else only as far as needed."""
        trial, switcher, everything = self.question.trial, self.question.switcher, self.question.everything
        on: list[Callable[[], Observation]] = [partial(self._plain, Role.CANARY), self._plain, self._watched]
        off: list[Callable[[], Observation]] = [partial(trial.probe, switcher, everything, Role.BASELINE)] * STEADY_OFF
        if self.question.at_once > 1:
            # Pages that work take longer than those that crash: begun late, the last one would run alone.
            seen = together([on[0], off[0], on[1], off[1], on[2]], parallel=self.question.at_once)
            _reached(seen[0])
            self.on, self.off = seen[::2], seen[1::2]
        else:
            canary = on[0]()
            _reached(canary)
            self.on = [canary, *(look() for look in on[1:])]
            # While it does not fail, what everything off does is of no interest.
            self.off = [look() for look in off] if canary.outcome is Outcome.FAIL else []
        self._mistrust_the_recorder()

    def steadiness(self) -> Steadiness | None:
        """Return how reliably it fails; None when it does not. Raises when that cannot be told."""
        seen = {one.outcome for one in self.on}
        visited = {one.outcome for one in self.question.visits}
        if seen == {Outcome.FAIL} and Outcome.PASS not in visited:
            return self._share()
        if Outcome.FAIL not in seen and Outcome.PASS not in visited:
            return self._unseen() if visited else self._as_seen()
        if seen - {Outcome.FAIL, Outcome.PASS}:
            raise Unsteady(
                f'the site fails in several ways: {_counted(self.on, Outcome.FAIL)} in the one asked about',
                hint='ask about both with --fail-on, or probe a page that fails in one way (--probe)',
            )
        self._measure()
        return self._share()

    # -- one probe --------------------------------------------------------------------------------

    def _plain(self, role: Role = Role.BASELINE) -> Observation:
        return self.question.trial.probe(self.question.switcher, frozenset(), role)

    def _watched(self) -> Observation:
        """Probe under the eyes of the flight recorder, as long as it has not seen a failure."""
        if not (self.question.record and self.question.switcher.records):
            return self._plain()
        if self.recorded and self.recorded.seen.outcome is Outcome.FAIL:
            return self._plain()
        made = self.question.trial.recorded(self.question.switcher)
        if self.recorded is None or made.seen.outcome is Outcome.FAIL:
            self.recorded = made
        return made.seen

    def _mistrust_the_recorder(self) -> None:
        """Put a plain probe in the place of a watched one that did not fail: the recorder may have been in its way."""
        if self.recorded and self.recorded.seen.outcome is not Outcome.FAIL:
            self.on = [*(one for one in self.on if one is not self.recorded.seen), self._plain()]

    # -- how often it fails -----------------------------------------------------------------------

    def _share(self) -> Steadiness:
        seen = [*self.question.visits, *self.on]
        return Steadiness(sum(one.outcome is Outcome.FAIL for one in seen), len(seen), self.question.confidence)

    def _measure(self) -> None:
        """Probe until the failure has shown often enough to know its share."""
        while self._failures() < FAILURES_WANTED and len(self.on) < MOST_MEASURED:
            # One at a time under the recorder, which keeps what it saw last.
            self.on += [self._watched(), *together([self._plain] * (self.question.at_once - 1),
                                                   parallel=self.question.at_once)]
        failed = [one for one in self.on if one.outcome is Outcome.FAIL]
        if not failed and _counted(self.question.visits, Outcome.FAIL):
            raise Unsteady(
                f'visitors saw the failure, and none of {len(self.on)} signed probes did',
                hint='run again while it fails more often, or probe a page that does (--probe)',
            )
        if not all(backed_failure(one) for one in failed):
            raise Unsteady(
                f'the failure is unsteady ({len(failed)} of {len(self.on)} probes), and this host does not tell what '
                'became of each request',
                hint='use --mode isolated, or run again while it fails every time',
            )

    def _failures(self) -> int:
        return _counted(self.on, Outcome.FAIL)

    def _unseen(self) -> Steadiness:
        """Visitors saw it, and the signed probes do not: ask both again, it may be unsteady or gone."""
        again = [self.question.trial.visitor() for _ in range(ASKED_AGAIN)]
        self.on += [self._plain() for _ in range(ASKED_AGAIN)]
        if self._failures() or 0 < _counted(again, Outcome.FAIL) < len(again):
            self._measure()
            return self._share()
        if _counted(again, Outcome.FAIL):
            raise ModeUnavailable(
                f'visitors see the failure, signed probes do not ({self.on[0].evidence or "they pass"})',
            )
        raise Unsteady('visitors saw the failure at first, and no longer', hint='run again while it fails every time')

    def _as_seen(self) -> Steadiness | None:
        """Nobody but the signed probes can see it, and the first ones did not."""
        if self.on[0].outcome is Outcome.OTHER:
            raise CannotStart(
                f'the site does not work, but not in the way asked about: {self.on[0].evidence}',
                hint=f'ask about this failure with --fail-on {self.on[0].status or "CODE"}',
            )
        while not self._failures() and len(self.on) < HEALTHY_VISITS:
            self.on.append(self._plain())
        if not self._failures():
            return None
        self._measure()
        return self._share()


def _counted(seen: Sequence[Observation], outcome: Outcome) -> int:
    return sum(one.outcome is outcome for one in seen)


def _reached(canary: Observation) -> None:
    if canary.outcome is Outcome.UNREACHED:
        raise Unreached(f'the canary never reached WordPress: {canary.evidence}')


# -- with everything off --------------------------------------------------------------------------------

def _without(question: Question, off: Sequence[Observation]) -> Baseline:
    """Say what everything off means; of an unsteady failure two probes say little."""
    trial, switcher, everything = question.trial, question.switcher, question.everything
    if trial.patience > 1:
        failed = [one for one in off if one.outcome is Outcome.FAIL]
        look = partial(trial.steady, switcher, everything, Role.BASELINE, times=STEADY_OFF, parallel=question.parallel)
        off = failed[:1] or [look()]
    agreed(off)
    if off[0].outcome is Outcome.UNREACHED:
        raise Unreached(f'with everything off the probe never reached WordPress: {off[0].evidence}')
    loaded_anyway(off[0], everything)
    if off[0].outcome is Outcome.PASS:
        return Baseline(Outcome.PASS)
    return _with_other_theme(trial, switcher, everything, off[0], parallel=question.parallel)


def _with_other_theme(
    trial: Trial, switcher: Switcher, everything: frozenset[str], off: Observation, *, parallel: int,
) -> Baseline:
    """Everything off still does not pass: ask the theme."""
    try:
        return _theme_asked(trial, switcher, everything, off, parallel=parallel)
    except NoOtherTheme as error:
        if off.outcome is not Outcome.FAIL:
            raise _fails_otherwise(off, switcher.mode) from error
        return Baseline(Outcome.FAIL, untried=error.message)


def _theme_asked(
    trial: Trial, switcher: Switcher, everything: frozenset[str], off: Observation, *, parallel: int,
) -> Baseline:
    bare = trial.steady(switcher, everything, Role.BASELINE, times=STEADY_OFF, parallel=parallel, theme=True)
    if off.outcome is Outcome.FAIL:
        if bare.outcome is Outcome.PASS:
            again = trial.steady(switcher, everything, Role.BASELINE, times=STEADY_OFF, parallel=parallel)
            _is_the_theme(off, bare, again)
            return Baseline(Outcome.FAIL, theme=True, note='the theme')
        return Baseline(Outcome.FAIL)
    if bare.outcome is Outcome.PASS:
        on = trial.steady(switcher, frozenset(), Role.BASELINE, times=STEADY_OFF, parallel=parallel, theme=True)
        if on.outcome is Outcome.FAIL:
            return Baseline(
                Outcome.PASS, theme=True,
                note='the theme does not run without plugins, so all probes were made with a default theme',
            )
    raise _fails_otherwise(off, switcher.mode)


def _is_the_theme(off: Observation, bare: Observation, again: Observation) -> None:
    """Raise Unsteady when the theme made no difference that lasts, or one where it was not even asked."""
    if again.outcome is not Outcome.FAIL:
        raise Unsteady(
            f'with everything off the site failed at first, and no longer ({again.evidence})',
            hint='nothing is named on such ground; run again',
        )
    if any(bare.marks) and not any(off.marks) and not any(again.marks):
        raise Unsteady(
            'with everything off something in front of PHP fails, and it does not with a default theme',
            hint='nothing is named on such ground; look at the web server and its firewalls, and run again',
        )


def _fails_otherwise(off: Observation, mode: Mode) -> Inconclusive:
    return Inconclusive(
        f'with all plugins off the site fails in another way: {off.evidence}', hint=_other_hint(off, mode))


def _other_hint(off: Observation, mode: Mode) -> str:
    if off.status in _NOT_THERE:  # a page, a REST route or an action of AJAX that a plugin adds
        return (f'if the page is one that a plugin adds, say that it may be missing: --expect-status 200,{off.status}; '
                'or keep that plugin with --keep NAME')
    return 'keep what the theme needs with --keep NAME' + ('' if mode is Mode.ISOLATED else ', or use --mode isolated')
