"""Prove the question before the search: it fails, steadily, and with everything off it passes."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from functools import partial

from wpaudit.commands.trial import Recorded
from wpaudit.commands.trial import Trial
from wpaudit.commands.trial import agreed
from wpaudit.commands.trial import loaded_anyway
from wpaudit.commands.trial import together
from wpaudit.domain import Mode
from wpaudit.domain import Outcome
from wpaudit.domain import Role
from wpaudit.errors import CannotStart
from wpaudit.errors import Inconclusive
from wpaudit.errors import ModeUnavailable
from wpaudit.errors import Unsteady
from wpaudit.ports import Observation
from wpaudit.ports import Switcher

VISITS = 2       # probes as a visitor; made while the agent starts, so they cost no time
# With all on a probe is made three times, once under the eyes of the flight recorder: a fault that shows in 30 % of
# the requests passes for steady in 0.2 % of the runs, the visits counted in.
STEADY_ON = 3
STEADY_OFF = 2


@dataclass(frozen=True)
class Baseline:
    """What the baseline settled. ``theme`` tells that the search runs with the theme replaced."""

    outcome: Outcome  # of everything off
    theme: bool = False
    note: str = ''
    recorded: Recorded | None = None  # the probe that the flight recorder watched


def visits(trial: Trial) -> list[Observation]:
    """Probe as a visitor, one after the other. Two passes are tried once more before the site counts as healthy."""
    seen = [trial.visitor() for _ in range(VISITS)]
    if all(one.outcome is Outcome.PASS for one in seen):
        seen.append(trial.visitor())
    return seen


def healthy(seen: list[Observation]) -> bool:
    """Whether visitors see a site that works. Raises what keeps the question from being asked."""
    outcomes = {one.outcome for one in seen}
    if outcomes == {Outcome.PASS}:
        return True
    if Outcome.UNREACHED in outcomes:
        unreached = next(one for one in seen if one.outcome is Outcome.UNREACHED)
        raise CannotStart(f'the site cannot be probed from here: {unreached.evidence}', hint=_reach_hint(unreached))
    if Outcome.FAIL not in outcomes:
        other = next(one for one in seen if one.outcome is Outcome.OTHER)
        code = f' {other.status}' if other.status else ' CODE'
        raise CannotStart(
            f'the site does not work, but not in the way asked about: {other.evidence}',
            hint=f'ask about this failure with --fail-on{code}',
        )
    if len(outcomes) > 1:
        failed = sum(one.outcome is Outcome.FAIL for one in seen)
        raise Unsteady(
            f'the failure is unsteady: {failed} of {len(seen)} ordinary requests failed',
            hint='run again while it fails every time, or probe a page that always fails (--probe)',
        )
    return False


def _reach_hint(seen: Observation) -> str:
    errors = {answer.error for answer in seen.answers}
    if 'dns' in errors:
        return 'is the name right? --resolve HOST:ADDRESS pins it to an address'
    if 'tls' in errors:
        return 'is the certificate right for this name?'
    return 'is the --url right? --resolve HOST:ADDRESS goes straight to a server'


def proven(
    trial: Trial, switcher: Switcher, everything: frozenset[str], *, parallel: int, visited: bool, record: bool,
) -> Baseline:
    """Probe all on and all off.

    ``visited`` tells that visitors were seen to fail; ``record`` lets the flight recorder watch one of the probes.
    Raises ModeUnavailable when this way of switching does not work here or does not show the failure,
    Unsteady when answers to the same question differ.
    """
    seen = _looked(trial, switcher, everything, parallel=parallel, record=record)
    if not _fails(trial, seen.on, visited=visited):
        return Baseline(Outcome.PASS, note='healthy')
    return replace(_without(trial, switcher, everything, seen.off, parallel=parallel), recorded=seen.recorded)


def _without(
    trial: Trial, switcher: Switcher, everything: frozenset[str], off: list[Observation], *, parallel: int,
) -> Baseline:
    """Say what everything off means."""
    agreed(off)
    if off[0].outcome is Outcome.UNREACHED:
        raise ModeUnavailable(f'with everything off the probe never reached WordPress: {off[0].evidence}')
    loaded_anyway(off[0], everything)
    if off[0].outcome is Outcome.PASS:
        return Baseline(Outcome.PASS)
    return _with_other_theme(trial, switcher, everything, off[0], parallel=parallel)


@dataclass(frozen=True)
class _Looks:
    """What the first probes saw, with everything on and with everything off."""

    on: list[Observation]
    off: list[Observation]
    recorded: Recorded | None = None


def _looked(
    trial: Trial, switcher: Switcher, everything: frozenset[str], *, parallel: int, record: bool,
) -> _Looks:
    """Probe all on and all off, a few times each: at once where nobody else sees it, else only as far as needed.

    A probe that the recorder watched is as good as any when it fails; when it does not, the recorder may have
    been in its way, and a plain one takes its place.
    """
    recorded: list[Recorded] = []

    def watched() -> Observation:
        recorded.append(trial.recorded(switcher))
        return recorded[0].seen

    def plain(role: Role = Role.BASELINE) -> Observation:
        return trial.probe(switcher, frozenset(), role)

    last = watched if record and switcher.records else plain
    on, off = _probed(trial, switcher, [partial(plain, Role.CANARY), plain, last], everything, parallel=parallel)
    if recorded and recorded[0].seen.outcome is not Outcome.FAIL:
        on = [*on[:-1], plain()]
    return _Looks(on, off, recorded[0] if recorded else None)


def _probed(
    trial: Trial, switcher: Switcher, on: Sequence[Callable[[], Observation]], everything: frozenset[str], *,
    parallel: int,
) -> tuple[list[Observation], list[Observation]]:
    off: list[Callable[[], Observation]] = [partial(trial.probe, switcher, everything, Role.BASELINE)] * STEADY_OFF
    if switcher.parallel and parallel > 1:
        seen = together([*on, *off], parallel=parallel)
        _reached(seen[0])
        return seen[:len(on)], seen[len(on):]
    canary = on[0]()
    _reached(canary)
    seen = [canary, *(look() for look in on[1:])]
    # While it does not fail, what everything off does is of no interest.
    return seen, [look() for look in off] if canary.outcome is Outcome.FAIL else []


def _reached(canary: Observation) -> None:
    if canary.outcome is Outcome.UNREACHED:
        raise ModeUnavailable(f'the canary never reached WordPress: {canary.evidence}')


def _fails(trial: Trial, seen: list[Observation], *, visited: bool) -> bool:
    """Whether probes with everything on fail steadily; raises when that is neither yes nor no."""
    failed = [one for one in seen if one.outcome is Outcome.FAIL]
    if len(failed) == len(seen):
        trial.prober.settle(failed)
        return True
    if failed:
        raise Unsteady(
            f'the failure is unsteady: {len(failed)} of {len(seen)} probes with everything on failed',
            hint='run again while it fails every time, or probe a page that always fails (--probe)',
        )
    if visited and trial.visitor().outcome is Outcome.FAIL:  # asked once more: the fault may have gone meanwhile
        raise ModeUnavailable(
            f'visitors see the failure, signed probes do not ({seen[0].evidence or "they pass"})',
        )
    if visited:
        raise Unsteady('visitors saw the failure at first, and no longer', hint='run again while it fails every time')
    if seen[0].outcome is Outcome.OTHER:
        raise CannotStart(
            f'the site does not work, but not in the way asked about: {seen[0].evidence}',
            hint=f'ask about this failure with --fail-on {seen[0].status or "CODE"}',
        )
    return False


def _with_other_theme(
    trial: Trial, switcher: Switcher, everything: frozenset[str], off: Observation, *, parallel: int,
) -> Baseline:
    """Everything off still does not pass: ask the theme."""
    bare = trial.steady(switcher, everything, Role.BASELINE, times=STEADY_OFF, parallel=parallel, theme=True)
    if off.outcome is Outcome.FAIL:
        if bare.outcome is Outcome.PASS:
            return Baseline(Outcome.FAIL, theme=True, note='the theme')
        return Baseline(Outcome.FAIL)
    if bare.outcome is Outcome.PASS:
        on = trial.steady(switcher, frozenset(), Role.BASELINE, times=STEADY_OFF, parallel=parallel, theme=True)
        if on.outcome is Outcome.FAIL:
            return Baseline(
                Outcome.PASS, theme=True,
                note='the theme does not run without plugins, so all probes were made with a default theme',
            )
    raise Inconclusive(
        f'with all plugins off the site fails in another way: {off.evidence}',
        hint='keep what the theme needs with --keep NAME' + (
            '' if switcher.mode is Mode.ISOLATED else ', or use --mode isolated'),
    )
