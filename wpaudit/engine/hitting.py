"""Minimal hitting sets: all smallest ways to switch something off in every conflict."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence

from wpaudit.engine.model import Model
from wpaudit.engine.model import bits

MAX_FIXES = 64  # m disjoint pairs have 2^m fixes, and each costs a probe


def minimal(sets: Iterable[int]) -> list[int]:
    """Return the sets that contain no other one."""
    kept: list[int] = []
    for mask in sorted(set(sets), key=int.bit_count):
        if not any(k & ~mask == 0 for k in kept):
            kept.append(mask)
    return kept


def ways_off(model: Model, conflicts: Sequence[int]) -> tuple[list[int], bool]:
    """Return the minimal sets to switch off (with all that requires them), the cheapest first.

    Berge's algorithm, one conflict after the other. The second value is False when there are more than
    ``MAX_FIXES``: the cheapest ones were kept, and each of them does hit every conflict.
    """
    found = [0]
    whole = True
    for conflict in conflicts:
        choices = [model.down[i] for i in bits(conflict & ~model.base)]
        hit = [off for off in found if off & conflict]
        missed = [off for off in found if not off & conflict]
        found = minimal(hit + [off | down for off in missed for down in choices])
        found.sort(key=lambda off: cost(model, off))
        whole = whole and len(found) <= MAX_FIXES
        del found[MAX_FIXES:]
    return found, whole


def cost(model: Model, off: int) -> tuple[int, float, int]:
    """Order fixes: fewest suspects off, then the more suspicious ones, then load order."""
    return off.bit_count(), -sum(model.share[i] for i in bits(off)), off
