"""How many requests triage makes, and how fast."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from itertools import pairwise

import pytest

from wpaudit.commands.pace import HANGS
from wpaudit.commands.pace import Limits
from wpaudit.commands.pace import Pace
from wpaudit.commands.pace import Turns
from wpaudit.domain import Answer
from wpaudit.errors import ConnectionLost
from wpaudit.facts import Effort
from wpaudit.facts import Look
from wpaudit.facts import Purpose
from wpaudit.ports import Silence


def paced(**limits: float) -> Pace:
    return Pace(Limits(**limits), Silence())  # type: ignore[arg-type]  # numbers of Limits


def answer(status: int = 200, seconds: float = 0.01, purpose: Purpose = Purpose.REFRESH, error: str = '') -> Look:
    return Look(purpose, Answer('http://site.test/', status=status, seconds=seconds, error=error), 0.0)


def sending(look: Look) -> Callable[[float], Look]:
    return lambda timeout: look


def test_requests_are_counted() -> None:
    pace = paced(requests=3)
    made = [pace.make(sending(answer()), needed=True) for _ in range(5)]
    assert [one is not None for one in made] == [True] * 3 + [False] * 2
    assert len(pace.looks) == 3
    assert '2 looks were left out' in pace.notes()[0]


def test_nothing_is_begun_when_time_is_up() -> None:
    pace = paced(seconds=0.0)
    assert pace.make(sending(answer()), needed=True) is None
    assert '1 look was left out' in pace.notes()[0]


def test_a_look_gets_its_time_limit_and_never_more_than_the_run_has() -> None:
    given: list[float] = []

    def send(timeout: float) -> Look:
        given.append(timeout)
        return answer()

    paced(timeout=7, seconds=60, waiting=math.inf).make(send)
    paced(timeout=90, seconds=30, waiting=math.inf).make(send)
    paced().make(send)
    assert given[0] == 7
    assert 28 < given[1] <= 30
    assert 10 < given[2] <= 11


def test_a_look_that_waited_in_vain_shortens_the_others() -> None:
    given: list[float] = []

    def send(timeout: float) -> Look:
        given.append(timeout)
        return answer(0, error='timeout')

    pace = paced(timeout=30, seconds=120, waiting=math.inf)
    pace.make(send, needed=True)
    pace.make(send, needed=True)
    pace.make(send, needed=True, most=2.0)
    assert given == [30, 10, 2]


def test_answers_are_waited_for_no_longer_than_all_may_take_together(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []

    def send(timeout: float) -> Look:
        given.append(timeout)
        return answer()

    pace, now = paced(), time.monotonic() + 50  # the time before the first request is no waiting
    for seconds in (0.0, 6.0):
        monkeypatch.setattr(time, 'monotonic', lambda at=now + seconds: at)
        assert pace.make(send, needed=True)
    monkeypatch.setattr(time, 'monotonic', lambda: now + 9.5)
    assert pace.make(send, needed=True) is None
    assert pace.make(send, needed=True, late=True)  # it took us that long to get there
    assert given == [11.0, 5.0, 2.0]
    assert pace.notes() == (
        '1 look was left out, since answers are waited for 11 s at the most; --timeout takes longer',)
    assert pace.effort() == Effort(3, 1, 11.5)


def test_beside_a_look_that_hangs_others_are_made_and_end_with_it() -> None:
    pace, given, gone = paced(timeout=30, waiting=math.inf), [], threading.Event()

    def hanging(timeout: float) -> Look:
        gone.wait(30)
        return answer(504, 20)

    def beside(timeout: float) -> Look:
        given.append(timeout)
        return answer()

    first = threading.Thread(target=pace.make, args=(hanging,), kwargs={'needed': True})
    first.start()
    while not pace.effort().requests:
        time.sleep(0.001)
    pace.hangs()
    assert crowd(pace, 9) <= 3
    assert pace.make(beside, needed=True)
    assert pace.make(beside) is None
    gone.set()
    first.join(30)
    pace.settled()
    assert pace.make(beside, needed=True)
    assert crowd(pace, 6) == 1
    assert given == [pytest.approx(30 - HANGS, abs=0.5), 30]
    assert pace.notes() == (
        'backed off: the site did not answer within 5 s, so few requests were made, and 1 look was left out',)


def test_of_a_site_that_answers_late_only_the_needed_is_asked_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    for seconds, out in ((2.5, 1), (0.5, 0)):
        pace = paced()
        pace.make(sending(answer(502, seconds=seconds)), needed=True)
        with monkeypatch.context() as patch:
            patch.setattr(time, 'monotonic', lambda: now + 9.0)
            assert (pace.make(sending(answer())) is None) is bool(out)
            assert pace.make(sending(answer()), needed=True)
        assert len(pace.notes()) == out
        assert all(note == '1 look was left out, since the site answers late' for note in pace.notes())


def test_what_cannot_be_reached_is_not_overloaded() -> None:
    pace = paced()
    pace.out_of_reach = True
    pace.make(sending(answer(0, error='timeout', seconds=3.0)), needed=True)
    assert not pace.strain


def test_a_slower_pace_is_announced_once() -> None:
    class Ears(Silence):
        heard: list[str]

        def note(self, text: str) -> None:
            self.heard.append(text)

    ears = Ears()
    ears.heard = []
    pace = Pace(Limits(), ears)

    def tired(timeout: float) -> Look:
        both.wait()
        return answer(503)

    both = threading.Barrier(2)
    threads = [threading.Thread(target=pace.make, args=(tired,), kwargs={'needed': True}) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ears.heard == ['the site answered 503; from now on one request at a time']


def test_what_asks_no_server_holds_up_nobody() -> None:
    pace = paced()
    pace.make(sending(answer(503)), needed=True)

    def inside(timeout: float) -> Look:
        assert pace.make(sending(answer()), needed=True)  # would wait for ever for its turn
        return answer(purpose=Purpose.INSIDE)

    assert pace.make(inside, needed=True, aside=True)
    assert len(pace.looks) == 3


def test_turns_are_spaced_whoever_takes_them() -> None:
    turns = Turns(0.5)
    taken = [turns.next() for _ in range(4)]
    assert [number for number, _ in taken] == [0, 1, 2, 3]
    starts = [start for _, start in taken]
    assert all(0.5 <= later - one < 0.6 for one, later in pairwise(starts))
    assert turns.began == starts[1]


def test_a_look_is_not_begun_when_it_would_fail_for_want_of_time() -> None:
    pace = paced(timeout=30, seconds=9.9 * 4)
    assert pace.make(sending(answer())) is not None
    pace._deadline -= 9.9 * 3.1
    assert pace.make(sending(answer())) is None


def crowd(pace: Pace, number: int, *, needed: bool = True) -> int:
    """Make looks from many threads; return how many ran at once."""
    running, most, lock = 0, 0, threading.Lock()

    def send(timeout: float) -> Look:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1
        return answer()

    threads = [threading.Thread(target=pace.make, args=(send,), kwargs={'needed': needed}) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return most


def test_never_more_than_four_at_once() -> None:
    pace = paced()
    assert 1 < crowd(pace, 16) <= 4
    assert len(pace.looks) == 16


@pytest.mark.parametrize(('strained', 'words'), [
    (answer(503), 'answered 503'),
    (answer(504), 'answered 504'),
    (answer(429), '429'),
    (answer(0, 30, error='timeout'), 'did not answer within 30 s'),
    (answer(502, 6), 'took 6.0 s'),
])
def test_a_strained_site_gets_one_at_a_time_and_only_what_is_needed(strained: Look, words: str) -> None:
    pace = paced()
    pace.make(sending(strained))
    assert words in pace.strain
    assert pace.make(sending(answer())) is None
    assert crowd(pace, 6) == 1
    assert len(pace.looks) == 7
    assert pace.notes() == (f'backed off: {pace.strain}, so requests were made one at a time, and 1 look was left out',)


@pytest.mark.parametrize('ordinary', [
    answer(502), answer(500), answer(403), answer(0, error='refused'), answer(200, 4.5, Purpose.ADDRESS),
    answer(200, 30, Purpose.INSIDE),
])
def test_a_site_that_fails_quickly_is_not_strained(ordinary: Look) -> None:
    pace = paced()
    pace.make(sending(ordinary))
    assert (pace.strain, pace.notes()) == ('', ())


def test_answers_that_take_longer_and_longer() -> None:
    pace = paced()
    for seconds in (0.4, 1.0, 1.9, 2.5):
        pace.make(sending(answer(200, seconds)))
    assert 'from 0.4 s to 2.5 s' in pace.strain


def test_a_look_that_breaks_frees_its_place() -> None:
    pace = paced(at_once=1)

    def broken(timeout: float) -> Look:
        raise ConnectionLost('it broke')

    for _ in range(3):
        with pytest.raises(ConnectionLost):
            pace.make(broken)
    assert pace.make(sending(answer())) is not None
