"""Learning dependencies that nobody declared, from answers that monotone failures cannot give.

Two observations start it: a set that FAILS inside one that PASSES, and OTHER where FAIL or PASS was expected.
Both look like "something is on without what it needs". Each search below has a good and a bad end,
so it finds a place where adding one suspect makes the difference, whatever lies between.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from itertools import accumulate

from wpaudit.domain import Outcome
from wpaudit.engine.desk import Desk
from wpaudit.engine.desk import Unresolved
from wpaudit.engine.log import Log
from wpaudit.engine.model import Model

MAX_NEEDS = 4      # a suspect that seems to need more others than this is not a matter of dependencies
MAX_GATHERED = 16  # others put back on the way there, before those that turn out not to matter are dropped


def passes(outcome: Outcome) -> bool:
    """Tell whether the site works."""
    return outcome is Outcome.PASS


def comparable(outcome: Outcome) -> bool:
    """Tell whether the outcome is evidence for or against the failure asked about."""
    return outcome in (Outcome.FAIL, Outcome.PASS)


class Repairer:
    """Finds who needs whom, and tells the model."""

    def __init__(self, model: Model, log: Log, desk: Desk) -> None:
        self._model = model
        self._log = log
        self._desk = desk

    def explain(self, bad: int, good: Callable[[Outcome], bool]) -> None:
        """Learn one dependency from the set ``bad``, which has a good subset and a good superset."""
        below = self._log.largest_inside(bad, good)
        chain = self._model.ranked(bad & ~below)
        place = self._turning_point(below, chain, lambda outcome: not good(outcome))
        culprit = chain[place - 1]
        start = below | self._union(chain[:place])
        needs = self._needs(culprit, start, bad, good)
        self._model.learn(culprit, needs)
        self._log.refresh()

    def _needs(self, culprit: int, start: int, bad: int, good: Callable[[Outcome], bool]) -> int:
        """Return a small set whose addition makes ``start`` good; that it does was observed."""
        top = self._log.smallest_around(start, good)
        if top is None:
            raise Unresolved('No larger set of suspects behaves comparably.')
        # What was left out when the trouble appeared is the first thing to put back.
        chain = self._model.ranked(top & ~bad) + self._model.ranked(top & bad & ~start)
        needs: list[int] = []
        while not good(self._look(start | self._union(needs))):
            self._limit(culprit, needs, MAX_GATHERED)
            if not chain:  # all that was seen to work is on, and it does not
                raise Unresolved('The same sets of suspects keep giving different answers.')
            place = self._turning_point(start | self._union(needs), chain, good)
            needs.append(chain[place - 1])
            chain = chain[:place - 1]
        needs = self._pruned(start, needs, good)
        self._limit(culprit, needs, MAX_NEEDS + 1)
        return sum(1 << i for i in needs)

    def _limit(self, suspect: int, needs: Sequence[int], limit: int) -> None:
        if len(needs) >= limit:
            raise Unresolved(f'{self._model.items[suspect]} behaves differently from the rest unless '
                             f'more than {MAX_NEEDS} others are on.')

    def _pruned(self, start: int, needs: Sequence[int], good: Callable[[Outcome], bool]) -> list[int]:
        kept = list(needs)
        for item in needs[:-1]:
            rest = [i for i in kept if i != item]
            if good(self._look(start | self._union(rest))):
                kept = rest
        return kept

    def _turning_point(self, start: int, chain: Sequence[int], reached: Callable[[Outcome], bool]) -> int:
        """Return j such that ``start`` with the first j of ``chain`` has ``reached`` and with j - 1 has not.

        ``start`` itself has not, ``start`` with the whole chain has.
        """
        prefixes = list(accumulate((self._model.up[i] for i in chain), int.__or__, initial=start))
        low, high = 0, len(chain)
        while high - low > 1:
            middle = (low + high) // 2
            if reached(self._look(prefixes[middle])):
                high = middle
            else:
                low = middle
        return high

    def _look(self, mask: int) -> Outcome:
        return self._desk.look(mask)

    def _union(self, items: Sequence[int]) -> int:
        return self._model.above(sum(1 << i for i in set(items)))
