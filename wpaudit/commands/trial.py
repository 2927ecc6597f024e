"""Probes as the search asks for them: counted, recorded, repeated where a name rests on them, within the budget."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field
from functools import partial
from typing import TypeVar

from wpaudit.domain import Outcome
from wpaudit.domain import ProbeRecord
from wpaudit.domain import Recording
from wpaudit.domain import Role
from wpaudit.errors import BudgetSpent
from wpaudit.errors import Inconclusive
from wpaudit.errors import ShellError
from wpaudit.errors import SiteError
from wpaudit.errors import Unsteady
from wpaudit.ports import Listener
from wpaudit.ports import Observation
from wpaudit.ports import Prober
from wpaudit.ports import Switcher

Result = TypeVar('Result')

# Probes behind a passing claim on which a name rests. A fault of rate p that failed five baseline probes in a row and
# hides from c more has the chance p^5 (1-p)^c: at most 1.5 % for c = 2, whatever p is.
CONFIRMATIONS = 2
# Passing answers, of a set and of sets around it, that make its PASS as sure without a repetition. They are not all
# about the same question, hence more of them: with failures of 50 to 95 % that passed for steady, three let innocents
# into twice as many conflicts as two repetitions do, four do not.
BACKING = 4


@dataclass(frozen=True)
class Budget:
    """How much a run may cost. ``deadline`` is on ``time.monotonic()``'s clock."""

    probes: int
    deadline: float

    def check(self, made: int) -> None:
        """Raise BudgetSpent when ``made`` probes or the time are too many."""
        if made >= self.probes:
            raise BudgetSpent(f'the budget of {self.probes} probes is spent', hint='allow more with --max-probes')
        if time.monotonic() >= self.deadline:
            raise BudgetSpent('the time for this run is up', hint='allow more with --max-time')


@dataclass(frozen=True)
class Recorded:
    """A probe that the flight recorder watched, and what it wrote; None when nothing could be read."""

    seen: Observation
    recording: Recording | None


@dataclass(frozen=True)
class Asked:
    """One query of the search. ``confirm``: a name may rest on it; ``likely``: it will probably pass."""

    off: frozenset[str]
    role: Role
    confirm: bool = False
    likely: bool = False


@dataclass
class Trial:
    """The probes of one run, against one switcher."""

    prober: Prober
    listener: Listener
    budget: Budget
    records: list[ProbeRecord] = field(default_factory=list)
    seconds: float = 0.0  # the probes' own time, added up
    server: list[str] = field(default_factory=list)  # what the answers' Server fields said
    patience: int = 1  # passes in a row that stand for PASS: more than one when the failure is unsteady
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def visitor(self) -> Observation:
        """Probe as an ordinary visitor, with nothing switched and nothing signed."""
        seen = self.prober.observe(None)
        self._note(frozenset(), Role.BASELINE, seen, 0)
        return seen

    def probe(
        self, switcher: Switcher, off: frozenset[str], role: Role, *, left: int = 0, theme: bool = False,
    ) -> Observation:
        """Probe with exactly ``off`` off. A probe that never arrived is made once more."""
        self.budget.check(len(self.records))
        seen = self._once(switcher, off, theme=theme)
        if seen.outcome is Outcome.UNREACHED and role is not Role.CANARY:
            self._note(off, role, seen, left)
            seen = self._once(switcher, off, theme=theme)
        self._note(off, role, seen, left)
        return seen

    def _once(self, switcher: Switcher, off: frozenset[str], *, theme: bool) -> Observation:
        with _host_kept(), switcher.switched(off, theme=theme) as step:
            return self.prober.observe(step)

    def recorded(self, switcher: Switcher, *, left: int = 0) -> Recorded:
        """Probe with everything on and the flight recorder running; return what it recorded too."""
        self.budget.check(len(self.records))
        with _host_kept(), switcher.switched(frozenset(), record=True) as step:
            seen = self.prober.observe(step)
            try:
                recording = step.recording(seen)
            except SiteError:  # no more than a hint is lost
                recording = None
        self._note(frozenset(), Role.RECORDER, seen, left)
        return Recorded(seen, recording)

    def _note(self, off: frozenset[str], role: Role, seen: Observation, left: int) -> None:
        with self._lock:
            record = ProbeRecord(
                len(self.records) + 1, role, tuple(sorted(off)), seen.outcome, seen.status, round(seen.seconds, 4),
                seen.evidence,
            )
            self.records.append(record)
            self.seconds += seen.seconds
            self.server += [answer.headers['server'] for answer in seen.answers if 'server' in answer.headers]
        self.listener.probe(record, left=left)

    def steady(
        self, switcher: Switcher, off: frozenset[str], role: Role, *, times: int, parallel: int, left: int = 0,
        theme: bool = False,
    ) -> Observation:
        """Probe the same set ``times`` times; raise Unsteady when the outcomes differ.

        Of an unsteady failure they do: then it is probed until it fails, or has passed often enough.
        """
        look = partial(self.probe, switcher, off, role, left=left, theme=theme)
        parallel = parallel if switcher.parallel else 1
        if self.patience > 1:
            return _first_not_passed(look, patience=self.patience, parallel=parallel)
        seen = together([look] * times, parallel=parallel)
        agreed(seen)
        return seen[0]

    def settled(
        self, switcher: Switcher, asked: Sequence[Asked], *, parallel: int, left: int = 0, theme: bool = False,
    ) -> list[Outcome]:
        """Answer queries of the search; one on which a name rests only when repeated probes agree.

        A failure that the host's mark backs needs no repetition: only the fault makes one, while a pass may be the
        luck of an unsteady fault.
        """
        if self.patience > 1:
            return [self._answer(one, [self.steady(
                switcher, one.off, one.role, times=1, parallel=parallel, left=left, theme=theme)]) for one in asked]
        parallel = parallel if switcher.parallel else 1
        looks = [partial(self.probe, switcher, one.off, one.role, left=left, theme=theme) for one in asked]
        # Where a pass is likely its repetition does not wait for it.
        times = [CONFIRMATIONS if one.confirm and one.likely and parallel > 1 else 1 for one in asked]
        seen = _each(looks, times, parallel)
        lacking = [
            CONFIRMATIONS - count if one.confirm and not backed_failure(found[0]) else 0
            for one, found, count in zip(asked, seen, times, strict=True)
        ]
        more = _each(looks, lacking, parallel)
        return [self._answer(one, first + then) for one, first, then in zip(asked, seen, more, strict=True)]

    @staticmethod
    def _answer(asked: Asked, seen: Sequence[Observation]) -> Outcome:
        for one in seen:
            if one.outcome is Outcome.UNREACHED:
                raise Inconclusive(f'a probe never reached WordPress, twice: {one.evidence}')
            loaded_anyway(one, asked.off)
        agreed(seen)
        return seen[0].outcome


def _each(
    looks: Sequence[Callable[[], Observation]], times: Sequence[int], parallel: int,
) -> list[list[Observation]]:
    """Take each look so many times, ``parallel`` at a time in all, and return what was seen look by look."""
    jobs = [look for look, count in zip(looks, times, strict=True) for _ in range(count)]
    seen = iter(together(jobs, parallel=parallel))
    return [[next(seen) for _ in range(count)] for count in times]


def _first_not_passed(look: Callable[[], Observation], *, patience: int, parallel: int) -> Observation:
    """Probe until one does not pass, ``parallel`` at a time, but no more often than ``patience``."""
    for start in range(0, patience, parallel):
        seen = together([look] * min(parallel, patience - start), parallel=parallel)
        telling = [one for one in seen if one.outcome is not Outcome.PASS]
        if telling:
            return next((one for one in telling if one.outcome is Outcome.FAIL), telling[0])
    return seen[-1]


def backed_failure(seen: Observation) -> bool:
    """Tell whether the host's marks say that this failure happened in PHP, with the set that was asked for."""
    return seen.outcome is Outcome.FAIL and bool(seen.marks) and all(mark is not None for mark in seen.marks)


@contextmanager
def _host_kept() -> Iterator[None]:
    """Raise Inconclusive when the host is lost: what is known by then is still worth reporting."""
    try:
        yield
    except (ShellError, SiteError) as error:
        message = f'the host was lost in the middle of the run: {error.message}'
        raise Inconclusive(message, hint=error.hint) from error


def agreed(seen: Sequence[Observation]) -> None:
    """Raise Unsteady when probes of one set came out differently."""
    outcomes = sorted({one.outcome for one in seen})
    if len(outcomes) > 1:
        counts = ', '.join(f'{sum(one.outcome is kind for one in seen)}x {kind}' for kind in outcomes)
        raise Unsteady(
            f'the same set of plugins gave different outcomes ({counts})',
            hint='the fault is unsteady; nothing is named on such ground',
        )


def loaded_anyway(seen: Observation, off: frozenset[str]) -> None:
    """Raise Inconclusive when WordPress did not take all of ``off`` off the list that it loads."""
    for mark in seen.marks:
        if mark is not None and mark.stage in ('loaded', 'ended') and mark.off != len(off):
            raise Inconclusive(
                f'{len(off)} plugins should have been off in a probe, WordPress took {mark.off} off',
                hint='the plugin list changed during the run; run again',
            )


def together(jobs: Sequence[Callable[[], Result]], *, parallel: int) -> list[Result]:
    """Run ``jobs`` on up to ``parallel`` threads, return their results in order; the first error is raised.

    The threads are daemons and are not waited for after an error: Ctrl-C must not wait for a slow probe.
    """
    if parallel <= 1 or len(jobs) <= 1:
        return [job() for job in jobs]
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    finished: queue.SimpleQueue[tuple[int, list[Result], BaseException | None]] = queue.SimpleQueue()
    for number in range(len(jobs)):
        waiting.put(number)
    for _ in range(min(parallel, len(jobs))):
        threading.Thread(target=_work, args=(jobs, waiting, finished), name='wpaudit-probe', daemon=True).start()
    results: dict[int, Result] = {}
    for _ in jobs:
        number, result, error = finished.get()
        if error is not None:
            _drain(waiting)
            raise error
        results[number] = result[0]
    return [results[number] for number in range(len(jobs))]


def _work(
    jobs: Sequence[Callable[[], Result]], waiting: queue.SimpleQueue[int],
    finished: queue.SimpleQueue[tuple[int, list[Result], BaseException | None]],
) -> None:
    while True:
        try:
            number = waiting.get_nowait()
        except queue.Empty:
            return
        try:
            finished.put((number, [jobs[number]()], None))
        except BaseException as error:  # handed to the waiting thread, which raises it
            finished.put((number, [], error))
            return


def _drain(waiting: queue.SimpleQueue[int]) -> None:
    while True:
        try:
            waiting.get_nowait()
        except queue.Empty:
            return
