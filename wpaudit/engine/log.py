"""Everything observed so far, and what follows from it.

For finding the way, outcomes are taken as monotone: with more suspects on, a failure does not go away
(a superset of a FAIL fails, a subset of a PASS passes). OTHER says nothing about other sets. What is claimed
in the end is never inferred: see ``certificate``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Iterator

from wpaudit.domain import Outcome
from wpaudit.engine.model import Model
from wpaudit.engine.model import bits


class Log:
    """Observations by exact set; the latest answer counts.

    Observations of sets that are no longer closed under what was learned stay recorded, but nothing is
    inferred from them: they fail for another reason. Once an answer has changed on repetition, a PASS that was
    not confirmed is no ground for inference either: a flaky failure hides by passing.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self.unsteady = False  # the same set was answered differently
        self.doubted = False   # answers contradicted one another: a hidden dependency, or an unsteady failure
        self._seen: dict[int, tuple[Outcome, bool]] = {}
        self._passes: dict[int, int] = {}  # how often each set was seen to pass
        self._failing: list[int] = []
        self._passing: list[int] = []
        self._clash: tuple[int, int] | None = None
        self._checked = True

    def record(self, mask: int, outcome: Outcome, *, confirmed: bool) -> bool:
        """Note an answer; return False when it differs from the one noted before for the same set."""
        before = self.seen(mask)
        sure = confirmed or (outcome is Outcome.FAIL and self._model.sure_failures)
        self._seen[mask] = (outcome, sure)
        if outcome is Outcome.PASS:
            self._passes[mask] = self._passes.get(mask, 0) + (max(1, self._model.enough) if confirmed else 1)
        steady = before in (None, outcome)
        self.unsteady = self.unsteady or not steady
        if before is None:
            self._sort(mask)
        else:
            self.refresh()
        return steady

    def refresh(self) -> None:
        """Choose again what to infer from; to be called when the model has learned."""
        self._failing = []
        self._passing = []
        for mask in self._seen:
            self._sort(mask)

    def _sort(self, mask: int) -> None:
        """Add one observation to what may be inferred from."""
        self._checked = False
        outcome, sure = self._seen[mask]
        if not self._model.closed(mask):
            return
        if outcome is Outcome.FAIL:
            self._failing.append(mask)
        elif outcome is Outcome.PASS and (sure or not self.unsteady):
            self._passing.append(mask)

    def seen(self, mask: int, *, confirmed: bool = False) -> Outcome | None:
        """Return what was observed for exactly this set (``confirmed``: and is sure), or None."""
        outcome, sure = self._seen.get(mask, (None, False))
        if sure or not confirmed:
            return outcome
        return outcome if outcome is Outcome.PASS and self.backing(mask) >= self._enough() else None

    def backing(self, mask: int) -> int:
        """Return how many passing answers say that ``mask`` passes: its own, and those of sets around it."""
        return sum(times for m, times in self._passes.items() if mask & ~m == 0 and self._model.closed(m))

    def works(self, mask: int) -> bool:
        """Tell whether ``mask``, the site without a fix, surely passes.

        No set but all of them lies around it. What backs it is that each of its suspects was on in enough passing
        answers, those of other fixes among them.
        """
        if self.seen(mask) is not Outcome.PASS:
            return False
        if self.seen(mask, confirmed=True) is Outcome.PASS:
            return True
        counted = [(m, times) for m, times in self._passes.items() if self._model.closed(m)]
        return all(
            sum(times for m, times in counted if m >> i & 1) >= self._enough() for i in bits(mask & ~self._model.base))

    def _enough(self) -> float:
        """Return how many passing answers make one sure: none do once there was reason for doubt."""
        return self._model.enough if self._model.enough and not (self.unsteady or self.doubted) else math.inf

    def known(self, mask: int) -> Outcome | None:
        """Return what was observed for this set or follows from monotonicity, or None."""
        exact = self.seen(mask)
        if exact is not None:
            return exact
        if any(f & ~mask == 0 for f in self._failing):
            return Outcome.FAIL
        if any(mask & ~p == 0 for p in self._passing):
            return Outcome.PASS
        return None

    def passing_inside(self, mask: int) -> int:
        """Return the largest part of ``mask`` known to pass."""
        return max((p & mask for p in self._passing), key=int.bit_count)

    def largest_inside(self, mask: int, wanted: Callable[[Outcome], bool]) -> int:
        """Return the largest observed proper subset of ``mask`` with a wanted outcome; the base at least."""
        return max((m for m in self._matching(wanted) if m & ~mask == 0 and m != mask), key=int.bit_count)

    def smallest_around(self, mask: int, wanted: Callable[[Outcome], bool]) -> int | None:
        """Return the smallest observed proper superset of ``mask`` with a wanted outcome."""
        found = (m for m in self._matching(wanted) if mask & ~m == 0 and m != mask)
        return min(found, key=int.bit_count, default=None)

    def _matching(self, wanted: Callable[[Outcome], bool]) -> Iterator[int]:
        return (m for m, (o, _) in self._seen.items() if wanted(o) and self._model.closed(m))

    def passes_around(self, mask: int) -> bool:
        """Tell whether a superset of ``mask`` was ever seen to pass, closed or not."""
        return any(o is Outcome.PASS and mask & ~m == 0 for m, (o, _) in self._seen.items())

    def contradiction(self) -> tuple[int, int] | None:
        """Return a FAIL inside a PASS, the closest pair, or None when all is monotone."""
        if not self._checked:
            pairs = ((f, p) for f in self._failing for p in self._passing if f & ~p == 0)
            self._clash = min(pairs, key=lambda pair: (pair[0] ^ pair[1]).bit_count(), default=None)
            self._checked = True
        return self._clash

    def suspicion(self, explained: list[int]) -> int:
        """Return the smallest set that must hold a member of a conflict not in ``explained``; 0 when none.

        What fails and what passes differ by at least one member of each conflict in the former.
        """
        open_failing = [f for f in self._failing if not any(u & ~f == 0 for u in explained)]
        differences = (f & ~p for f in open_failing for p in self._passing)
        return min(differences, key=int.bit_count, default=0)
