"""Jobs side by side: in order, bounded, and the first error is the caller's."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from wpaudit.commands.trial import together
from wpaudit.errors import Interrupted


def number(value: int) -> Callable[[], int]:
    return lambda: value


@pytest.mark.parametrize('parallel', [0, 1, 2, 7, 100])
def test_results_come_in_order(parallel: int) -> None:
    assert together([number(n) for n in range(20)], parallel=parallel) == list(range(20))


def test_no_jobs_are_no_results() -> None:
    assert together([], parallel=4) == []


def test_not_more_at_once_than_asked_for() -> None:
    lock, most, now = threading.Lock(), [0], [0]
    barrier = threading.Barrier(3)

    def job() -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        barrier.wait(10)
        with lock:
            now[0] -= 1

    together([job] * 9, parallel=3)
    assert most == [3]


@pytest.mark.parametrize('error', [ValueError('no'), Interrupted(2)])
def test_the_first_error_is_raised_and_nothing_new_begins(error: BaseException) -> None:
    begun: list[int] = []
    failed, release = threading.Event(), threading.Event()

    def slow() -> None:
        begun.append(1)
        failed.wait(10)
        release.wait(10)

    def fail() -> None:
        failed.set()
        raise error

    with pytest.raises(type(error)):
        together([slow, fail, slow, slow, slow], parallel=2)
    release.set()
    assert len(begun) <= 2


def test_one_at_a_time_stays_in_this_thread() -> None:
    threads: list[threading.Thread] = []
    together([lambda: threads.append(threading.current_thread())] * 3, parallel=1)
    assert threads == [threading.main_thread()] * 3
