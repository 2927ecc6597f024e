"""How many requests triage may make, and how fast: a site that is out of breath is not asked the more for it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from wpaudit.facts import Effort
from wpaudit.facts import Look
from wpaudit.facts import Purpose
from wpaudit.ports import Listener

_SLOW = 5.0          # seconds from which on an answer says that the site has too much to do
HANGS = 5.3          # ... from which on others do not wait for the first look: a limit of 5 s has struck by then
_GROWN = 3.0         # so many times as long as the first answer ...
_GROWN_FROM = 2.0    # ... counts from so many seconds on
_LEAST = 10.0        # seconds: with less time left no look is begun, it would fail for want of time
_BRIEF = 2.0         # ... and with less of the time for waiting; what must be looked at late gets so much all the same
_LATE = 2.0          # seconds for the first answer, from which on a site is a late one:
_HURRY = 8.0         # ... of such a one nothing more is asked after so many seconds but what is needed
_AGAIN = 10.0        # seconds that a look may take once another one has waited in vain
_STRAINED = {429: 'asked for fewer requests (429)', 503: 'answered 503', 504: 'answered 504'}


@dataclass(frozen=True)
class Limits:
    """How much may be asked of a site. Times in seconds; ``timeout`` is for one request, ``seconds`` for everything.

    ``waiting`` is for all answers together: so long after the first request none is waited for any more. Eleven of them
    show a limit of 10 s that a server has; who wants to see a longer one strike names a time.
    """

    requests: int = 40
    at_once: int = 4
    timeout: float = 30.0
    seconds: float = 120.0
    waiting: float = 11.0


class Pace:
    """Admits requests: not too many in all, nor at once, nor after the time is up; one at a time to a strained site.

    Thread-safe. ``needed`` looks are made on a strained site too, the others are left out.
    """

    def __init__(self, limits: Limits, listener: Listener) -> None:
        self._limits = limits
        self._listener = listener
        self._began = time.monotonic()
        self._deadline = self._began + limits.seconds
        self._least = min(_LEAST, limits.timeout, limits.seconds / 4)
        self._changed = threading.Condition()
        self._running = 0
        self._strained = 1  # how many a strained site gets at once
        self._hung = False
        self._together = math.inf
        self._made = 0
        self._asked = 0  # of them, those of a server
        self._most = 0
        self._since = math.inf  # when the first request began
        self._until = 0.0  # ... and when the last answer would no longer have been waited for
        self._left_out = 0
        self._over = 0
        self._late = 0
        self._hurried = 0
        self._first = 0.0
        self.waited = False  # one look at least met its time limit
        self.out_of_reach = False  # to be set where nothing takes a connection: then waiting says nothing of the load
        self.strain = ''  # why the pace is slow: what the site did; '' when it is not
        self.looks: list[Look] = []

    def make(
        self, send: Callable[[float], Look], *, needed: bool = False, most: float = math.inf, aside: bool = False,
        late: bool = False,
    ) -> Look | None:
        """Make one look, when it is its turn; None when it is left out.

        ``send`` gets its time limit in seconds, at most ``most``. ``aside`` is for what asks no server for anything:
        it waits for no other look, and none waits for it. ``late`` ones are begun when the time for waiting is over
        too: it took us that long to get there.
        """
        if not self._admitted(needed=needed, aside=aside, late=late):
            return None
        look, eased = None, False
        try:
            look = send(self._limit(most))
        finally:
            with self._changed:
                self._running -= not aside
                if look is not None:
                    self.looks.append(look)
                    before = self.strain
                    self._weigh(look)
                    eased = self.strain != before
                self._changed.notify_all()
        self._listener.look(look)
        if eased:
            self._tell()
        return look

    def _limit(self, most: float) -> float:
        """Return the time limit of a look that begins now."""
        least = min(_BRIEF, self._limits.timeout)
        allowed = min(
            self._limits.timeout, min(most, _AGAIN) if self.waited else most, max(self.seconds_left(), self._least),
            max(self.waiting_left(), least))
        now = time.monotonic()
        with self._changed:
            if self._strained > 1:  # all of them end with the first
                allowed = min(allowed, max(self._together - now, least))
            self._until = max(self._until, now + allowed)
        return round(allowed, 1)

    def hangs(self) -> None:
        """Take note that the first look is still without an answer, and that others are to be made beside it."""
        with self._changed:
            self._strained, self._hung = self._limits.at_once, True
            self._together = time.monotonic() - HANGS + self._limits.timeout
            before, self.strain = self.strain, self.strain or f'the site did not answer within {HANGS:.0f} s'
        if not before:
            self._tell()

    def settled(self) -> None:
        """Take note that the first look has ended."""
        with self._changed:
            self._strained = 1

    def _tell(self) -> None:
        self._listener.note(f'{self.strain}; from now on {"few requests" if self._hung else "one request at a time"}')

    def forget(self, made: Callable[[Look], bool]) -> None:
        """Drop these looks: the page is another one."""
        with self._changed:
            self.looks = [look for look in self.looks if not made(look)]

    def room(self) -> int:
        """Return how many requests may still be made, none when the time is up."""
        with self._changed:
            return 0 if self.seconds_left() < self._least else self._limits.requests - self._made

    def seconds_left(self) -> float:
        """Return what is left of the time for the whole run."""
        return self._deadline - time.monotonic()

    def waiting_left(self) -> float:
        """Return what is left of the time in which answers are waited for."""
        since = min(self._since, time.monotonic())
        return since + self._limits.waiting - time.monotonic()

    def early(self) -> bool:
        """Tell whether there is time for looks of which others tell more."""
        waiting = min(self._limits.waiting, self._limits.seconds)
        return min(self.waiting_left(), self.seconds_left()) > waiting / 2

    def effort(self) -> Effort:
        """Say what was asked of the site, and for how long at the most its answers could have been waited for."""
        return Effort(self._asked, self._most, round(self._until - self._since, 1) if self._asked else 0.0)

    def notes(self) -> tuple[str, ...]:
        """Say what was done otherwise than usual."""
        found = []
        if self.strain:
            out = f', and {_looks(self._left_out)} left out' if self._left_out else ''
            how = 'few requests were made' if self._hung else 'requests were made one at a time'
            found.append(f'backed off: {self.strain}, so {how}{out}')
        if self._hurried:
            found.append(f'{_looks(self._hurried)} left out, since the site answers late')
        if self._over:
            found.append(f'{_looks(self._over)} left out, since answers are waited for {self._limits.waiting:g} s '
                         'at the most; --timeout takes longer')
        if self._late:
            found.append(f'{_looks(self._late)} left out, since the limit of {self._limits.requests} requests or '
                         f'{self._limits.seconds:g} s was reached')
        return tuple(found)

    def _admitted(self, *, needed: bool, aside: bool, late: bool) -> bool:
        with self._changed:
            while not self._refused(needed=needed, late=late):
                if aside or self._running < (self._strained if self.strain else self._limits.at_once):
                    if not aside:
                        self._running += 1
                        self._asked += 1
                        self._since = min(self._since, time.monotonic())
                    self._most = max(self._most, self._running)
                    self._made += 1
                    return True
                left = self.seconds_left() - self._least
                self._changed.wait(max(left if late else min(left, self.waiting_left() - _BRIEF), 0.001))
            return False

    def _refused(self, *, needed: bool, late: bool) -> bool:
        if self._made >= self._limits.requests or self.seconds_left() < self._least:
            self._late += 1
            return True
        if self.strain and not needed:
            self._left_out += 1
            return True
        if self.waiting_left() < min(_BRIEF, self._limits.timeout) and not late:
            self._over += 1
            return True
        if self._first >= _LATE and not needed and time.monotonic() - self._began > _HURRY:
            self._hurried += 1
            return True
        return False

    def _weigh(self, look: Look) -> None:
        if look.purpose is Purpose.INSIDE:  # no request: it loads WordPress by itself
            return
        self.waited = self.waited or look.answer.error == 'timeout'
        if self.strain or (self.out_of_reach and not look.answer.status):
            return
        seconds, status = look.answer.seconds, look.answer.status
        if look.purpose is Purpose.REFRESH and status:
            self._first = self._first or seconds
        if look.answer.error == 'timeout':
            self.strain = f'the site did not answer within {seconds:.0f} s'
        elif status in _STRAINED:
            self.strain = f'the site {_STRAINED[status]}'
        elif seconds >= _SLOW:
            self.strain = f'an answer took {seconds:.1f} s'
        elif self._first and seconds >= max(_GROWN * self._first, _GROWN_FROM):
            self.strain = f'the answers took longer and longer (from {self._first:.1f} s to {seconds:.1f} s)'


class Turns:
    """Whose turn it is among requests that begin ``spacing`` seconds after one another. Thread-safe."""

    def __init__(self, spacing: float) -> None:
        self.began = 0.0  # when the second one could begin, on ``time.monotonic()``'s clock
        self._spacing = spacing
        self._number = 0
        self._start = 0.0
        self._lock = threading.Lock()

    def next(self) -> tuple[int, float]:
        """Return the number of the next request, from 0 on, and when it may begin on that clock."""
        with self._lock:
            number, self._number = self._number, self._number + 1
            self._start = max(time.monotonic(), self._start + self._spacing)
            self.began = self._start if number < 2 else self.began  # noqa: PLR2004 - the first two
            return number, self._start


def _looks(number: int) -> str:
    return f'{number} look{" was" if number == 1 else "s were"}'
