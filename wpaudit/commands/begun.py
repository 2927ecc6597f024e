"""A job under way beside other work."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic
from typing import TypeVar

Result = TypeVar('Result')


class Begun(Generic[Result]):
    """Does ``job`` on a thread of its own, a daemon: Ctrl-C must not wait for it."""

    def __init__(self, job: Callable[[], Result]) -> None:
        self._job = job
        self._results: list[Result] = []
        self._error: BaseException | None = None
        self._done = threading.Event()
        threading.Thread(target=self._run, name='wpaudit-begun', daemon=True).start()

    def _run(self) -> None:
        try:
            self._results.append(self._job())
        except BaseException as error:  # handed to whoever asks for the result
            self._error = error
        finally:
            self._done.set()

    def done(self, seconds: float) -> bool:
        """Tell whether it has ended; wait for that, but no longer than ``seconds``."""
        return self._done.wait(seconds)

    def result(self) -> Result:
        """Wait for the end and return the result; raise what the job raised."""
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self._results[0]
