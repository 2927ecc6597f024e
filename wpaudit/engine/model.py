"""Suspects as bits of an integer, and which sets of them may be switched on together.

A set of suspects is an ``int`` here: bit *i* is the *i*-th suspect in load order. Unions, subsets and
differences of plugin lists are then single operations, which keeps the search itself out of the profile.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence

from wpaudit.engine.contract import Problem

HINT_FACTOR = 10.0  # evidence that makes a suspect this much likelier than the typical one "names" it
HINT_SHARE = 0.6    # ... and then it gets at least this share of what is no likelier: first probe = named alone


def bits(mask: int) -> Iterator[int]:
    """Yield the positions of the bits set in ``mask``, lowest first."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def shares(weights: Sequence[float]) -> list[float]:
    """Turn evidence weights into probabilities that sum to 1.

    However many suspects there are, the likeliest ones that evidence names are tried before all others, then the next
    likeliest, and so on.
    """
    usable = [min(max(w, 1e-6), 1e6) if math.isfinite(w) else 1.0 for w in weights]
    limit = HINT_FACTOR * statistics.median(usable)
    factor = 1.0
    lighter = sum(w for w in usable if w < limit)
    raised = dict.fromkeys(usable, 1.0)
    for weight, count in sorted(Counter(w for w in usable if w >= limit).items()):
        mine = count * weight * factor
        if mine < HINT_SHARE * (mine + lighter):
            factor *= HINT_SHARE * lighter / ((1 - HINT_SHARE) * mine)
        raised[weight] = factor
        lighter += count * weight * factor
    total = sum(w * raised[w] for w in usable)
    return [w * raised[w] / total for w in usable]


class Model:
    """Which sets are closed: with a suspect on, everything it requires is on.

    Suspects that require one another can only be switched together. The model grows while the search
    learns dependencies that nobody declared.
    """

    def __init__(self, problem: Problem) -> None:
        self.items = tuple(dict.fromkeys(problem.items))
        self.everything = (1 << len(self.items)) - 1
        self._index = {item: i for i, item in enumerate(self.items)}
        self._direct = [self.mask(problem.requires.get(item, frozenset())) for item in self.items]
        self._pinned = self.mask(problem.pinned)
        self._weights = [problem.weights.get(item, 1.0) for item in self.items]
        self.share = shares(self._weights) if self.items else []
        self.learned: dict[str, frozenset[str]] = {}
        self.sure_failures = problem.sure_failures
        self.enough = problem.enough
        self._close()

    def _close(self) -> None:
        """Compute the transitive closure (Warshall's algorithm on bit rows)."""
        self.up = [row | 1 << i for i, row in enumerate(self._direct)]
        for middle in range(len(self.up)):
            for i, row in enumerate(self.up):
                if row >> middle & 1:
                    self.up[i] |= self.up[middle]
        self.down = [0] * len(self.up)
        for i, row in enumerate(self.up):
            for j in bits(row):
                self.down[j] |= 1 << i
        self.base = self.above(self._pinned)

    def mask(self, ids: Mapping[str, object] | frozenset[str] | Sequence[str]) -> int:
        """Return the set of those ``ids`` that are suspects here."""
        mask = 0
        for item in ids:
            if item in self._index:
                mask |= 1 << self._index[item]
        return mask

    def mask_of(self, places: Sequence[int]) -> int:
        """Return the set of the suspects at ``places``."""
        return sum(1 << i for i in places)

    def names(self, mask: int) -> tuple[str, ...]:
        """Return the ids in ``mask``, in load order."""
        return tuple(self.items[i] for i in bits(mask))

    def above(self, mask: int) -> int:
        """Return ``mask`` with everything its members require."""
        result = 0
        for i in bits(mask):
            result |= self.up[i]
        return result

    def below(self, mask: int) -> int:
        """Return ``mask`` with everything that requires one of its members."""
        result = 0
        for i in bits(mask):
            result |= self.down[i]
        return result

    def closed(self, mask: int) -> bool:
        """Tell whether ``mask`` may be switched on as it is."""
        return self.above(mask) | self.base == mask

    def tops(self, mask: int) -> int:
        """Return the members that no other member of ``mask`` requires, without the pinned ones.

        These stand for a closed set: the rest of it is on only because they need it.
        """
        return self._extremes(mask & ~self.base, self.down, mask)

    def roots(self, mask: int) -> int:
        """Return the members that require no other member of ``mask``: switching them off takes the rest along."""
        return self._extremes(mask, self.up, mask)

    def _extremes(self, candidates: int, further: Sequence[int], within: int) -> int:
        result = 0
        for i in bits(candidates):
            cycle = self.up[i] & self.down[i]
            if not further[i] & within & ~cycle:
                result |= 1 << i
        return result

    def ranked(self, mask: int) -> list[int]:
        """Return the members of ``mask``, the likeliest first, each after what it requires."""
        order: list[int] = []
        placed = 0
        for i in sorted(bits(mask), key=lambda i: (-self.share[i], i)):
            missing = self.up[i] & mask & ~placed
            # A smaller closure comes first: what is required before what requires it.
            order += sorted(bits(missing), key=lambda j: (self.up[j].bit_count(), j))
            placed |= missing
        return order

    def weigh(self, factors: Mapping[str, float]) -> int:
        """Make some suspects so many times as likely as before; return which of them are suspects here."""
        for item, factor in factors.items():
            if item in self._index:
                self._weights[self._index[item]] *= factor
        self.share = shares(self._weights)
        return self.mask(factors)

    def learn(self, item: int, needs: int) -> None:
        """Record that ``item`` works only with all of ``needs`` on."""
        name = self.items[item]
        self.learned[name] = self.learned.get(name, frozenset()) | frozenset(self.names(needs))
        self._direct[item] |= needs
        self._close()
