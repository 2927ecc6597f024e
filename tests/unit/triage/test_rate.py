"""How often, and in which order."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import triage_worlds as w
from hypothesis import given
from hypothesis import strategies as st

from wpaudit.domain import Answer
from wpaudit.facts import Look
from wpaudit.facts import Purpose
from wpaudit.facts import State
from wpaudit.triage import rate
from wpaudit.triage.faults import Fault
from wpaudit.triage.faults import fault


def looks(flags: str, every: float = 1.0, bad: Answer = w.BAD_502) -> tuple[Look, ...]:
    """`x` fails, `.` does not."""
    return tuple(
        Look(Purpose.REFRESH, bad if flag == 'x' else w.GOOD, w.NOW + n * every) for n, flag in enumerate(flags))


@pytest.mark.parametrize(('bad', 'n', 'low', 'high'), [
    (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (3, 10, 0.1078, 0.6032), (1, 2, 0.0945, 0.9055), (0, 0, 0.0, 1.0),
])
def test_wilson(bad: int, n: int, low: float, high: float) -> None:
    """Against the published values of R's binom::binom.confint(methods = 'wilson')."""
    assert rate.wilson(bad, n) == pytest.approx((low, high), abs=5e-4)


@given(st.integers(0, 200), st.integers(0, 200))
def test_the_interval_holds_the_share(bad: int, more: int) -> None:
    n = bad + more
    low, high = rate.wilson(bad, n)
    assert 0 <= low <= (bad / n if n else 0) <= high <= 1


@pytest.mark.parametrize(('flags', 'expected'), [
    ('', State.HEALTHY), ('....', State.HEALTHY), ('xxx', State.FAILING), ('.x.', State.SOMETIMES),
])
def test_state(flags: str, expected: State) -> None:
    assert rate.state(looks(flags)) is expected


@pytest.mark.parametrize(('flags', 'expected'), [
    ('..........', ''),
    ('xxxxxxxxxx', ''),
    ('.x.x.x.x.x', 'every second request fails'),
    ('..x..x..x..x', 'every third request fails'),
    ('xx.xx.xx.xx.', '2 of every 3 requests fail'),
    ('....xxxx............', 'bursts of up to 4 in a row'),
    ('.x..x.xx..', 'no order'),
    ('x.....xx....x.....x......x', 'every 6 s'),
])
def test_order(flags: str, expected: str) -> None:
    pattern = rate.rate(looks(flags)).pattern
    assert expected in pattern
    assert bool(expected) == bool(pattern)


@pytest.mark.parametrize(('seconds', 'expected'), [
    ((0.003, 0.004), 'at once'), ((60.0, 60.1), 'after 60 s'), ((7.2, 8.4), 'take 7.8 s'), ((0.3, 0.5), ''),
])
def test_duration(seconds: tuple[float, ...], expected: str) -> None:
    found = rate.rate([Look(Purpose.REFRESH, replace(w.BAD_502, seconds=one), w.NOW) for one in seconds])
    assert expected in found.pattern
    assert bool(expected) == bool(found.pattern)


def test_a_mix_of_502_and_504() -> None:
    found = rate.timing([w.instant(w.BAD_502), w.BAD_504])
    assert found.mixed
    assert not rate.timing([w.BAD_502, w.BAD_502]).mixed


def test_the_time_of_a_refused_connection_says_nothing() -> None:
    assert rate.timing([w.none('refused', seconds=0.001)]) == rate.Timing()


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1e6), st.floats(0, 1e6)), max_size=40))
def test_any_order_has_a_sentence(rows: list[tuple[bool, float, float]]) -> None:
    found = rate.rate([
        Look(Purpose.REFRESH, replace(w.BAD_502 if bad else w.GOOD, seconds=took), at) for bad, at, took in rows])
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.n == len(rows)
    assert not math.isnan(found.value)


@pytest.mark.parametrize(('answer', 'expected'), [
    (w.GOOD, Fault.NONE), (w.BAD_502, Fault.GATEWAY), (w.BAD_503, Fault.GATEWAY), (w.BAD_504, Fault.GATEWAY),
    (w.status(520), Fault.GATEWAY), (w.status(526), Fault.GATEWAY), (w.status(508), Fault.GATEWAY),
    (w.status(500), Fault.FATAL), (w.status(500, w.CRITICAL), Fault.FATAL), (w.status(200, w.FATAL), Fault.FATAL),
    (w.status(403), Fault.BLOCKED), (w.status(406), Fault.BLOCKED), (w.status(429), Fault.BLOCKED),
    (w.status(444), Fault.BLOCKED), (w.status(503, w.WORDFENCE), Fault.BLOCKED),
    (w.status(503, w.MAINTENANCE), Fault.NONE), (w.status(404), Fault.NONE), (w.status(401), Fault.NONE),
    (w.status(301), Fault.NONE), (replace(w.GOOD, truncated=True), Fault.TRUNCATED),
    (w.none('dns'), Fault.NO_ANSWER), (w.none('refused'), Fault.NO_ANSWER), (w.none('reset'), Fault.NO_ANSWER),
    (w.none('timeout'), Fault.NO_ANSWER), (w.none('tls'), Fault.NO_ANSWER), (w.none('protocol'), Fault.NO_ANSWER),
    (w.none('redirect-loop'), Fault.NONE), (w.none('too-large'), Fault.NONE),
])
def test_what_counts_as_failing(answer: Answer, expected: Fault) -> None:
    assert fault(answer) is expected
