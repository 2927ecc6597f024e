"""Signals end a run in order, and not while the site is being put back."""

from __future__ import annotations

import signal
import threading

import pytest

from wpaudit.errors import Interrupted
from wpaudit.signals import ENDING
from wpaudit.signals import raised_as_exceptions
from wpaudit.signals import shielded


@pytest.mark.parametrize('number', ENDING)
def test_a_signal_becomes_an_exception_with_its_exit_code(number: signal.Signals) -> None:
    before = [signal.getsignal(one) for one in ENDING]

    def work() -> None:
        with raised_as_exceptions():
            signal.raise_signal(number)

    with pytest.raises(Interrupted) as caught:
        work()
    assert caught.value.exit_code == 128 + number
    assert [signal.getsignal(one) for one in ENDING] == before


def test_a_shield_lets_the_work_end_and_the_first_signal_through() -> None:
    done: list[int] = []

    def work() -> None:
        with raised_as_exceptions():
            with shielded():
                for number in (signal.SIGTERM, signal.SIGINT, signal.SIGINT):
                    signal.raise_signal(number)
                    done.append(number)
            done.append(0)

    with pytest.raises(Interrupted) as caught:
        work()
    assert done == [signal.SIGTERM, signal.SIGINT, signal.SIGINT]
    assert caught.value.exit_code == 143


def test_a_shield_within_a_shield() -> None:
    done: list[str] = []

    def inner() -> None:
        with shielded():
            signal.raise_signal(signal.SIGTERM)
            done.append('inner')

    def work() -> None:
        with raised_as_exceptions(), shielded():
            inner()
            done.append('outer')

    with pytest.raises(Interrupted) as caught:
        work()
    assert done == ['inner']  # the shield that saw the signal lets it through; the outer one put nothing off
    assert caught.value.exit_code == 143


def test_an_error_within_a_shield_wins_over_a_signal() -> None:
    before = [signal.getsignal(one) for one in ENDING]

    def work() -> None:
        with raised_as_exceptions(), shielded():
            signal.raise_signal(signal.SIGINT)
            raise ValueError('work')

    with pytest.raises(ValueError, match='work'):
        work()
    assert [signal.getsignal(one) for one in ENDING] == before


def test_a_shield_in_a_thread_is_no_shield_and_no_error() -> None:
    done: list[bool] = []

    def work() -> None:
        with shielded():
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]


def test_after_the_first_signal_the_way_out_is_not_disturbed() -> None:
    done: list[str] = []

    def work() -> None:
        with raised_as_exceptions():
            try:
                signal.raise_signal(signal.SIGINT)
            finally:
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGTERM)
                done.append('put back')

    with pytest.raises(Interrupted) as caught:
        work()
    assert done == ['put back']
    assert caught.value.exit_code == 130


def test_a_hangup_that_nohup_switched_off_stays_off() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with raised_as_exceptions(), shielded():
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
