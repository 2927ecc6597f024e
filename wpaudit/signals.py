"""Signals as exceptions, and a shield for the one piece of work that must not be cut short.

Imports nothing of wpaudit but ``errors``: restoring happens in adapters, the edge installs the handlers.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from wpaudit.errors import Interrupted

ENDING = tuple(getattr(signal, name) for name in ('SIGINT', 'SIGTERM', 'SIGHUP') if hasattr(signal, name))


def heeded() -> list[int]:
    """Return the signals that end a run: all of ENDING, but no hangup that ``nohup`` has switched off."""
    hangup = getattr(signal, 'SIGHUP', None)
    return [one for one in ENDING if one != hangup or signal.getsignal(one) is not signal.SIG_IGN]


def _raise(number: int, _frame: FrameType | None) -> None:
    for one in heeded():  # from here on the site is being put back; SIG_IGN would be inherited by children
        signal.signal(one, _leave_alone)
    raise Interrupted(number)


def _leave_alone(_number: int, _frame: FrameType | None) -> None:
    pass


@contextmanager
def raised_as_exceptions() -> Iterator[None]:
    """Turn SIGINT, SIGTERM and SIGHUP into ``Interrupted`` in the main thread, so that ``finally`` runs."""
    before = {number: signal.signal(number, _raise) for number in heeded()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def shielded() -> Iterator[None]:
    """Hold ending signals back until the block is done, then let the first one through.

    A second Ctrl-C is what an impatient person types while the site is being put back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    before = {number: signal.signal(number, lambda got, _frame: arrived.append(got)) for number in heeded()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if arrived:
        raise Interrupted(arrived[0])
