"""Intervals for shares. Pure."""

from __future__ import annotations

import math

_Z = 1.959964        # the normal distribution's 97.5 % quantile


def wilson(bad: int, n: int) -> tuple[float, float]:
    """Return the score interval (Wilson 1927) of ``bad`` in ``n``; all is possible when nothing was asked."""
    if not n:
        return 0.0, 1.0
    share, spread = bad / n, _Z * _Z / n
    middle = (share + spread / 2) / (1 + spread)
    half = _Z / (1 + spread) * math.sqrt(share * (1 - share) / n + spread / n / 4)
    low = 0.0 if bad == 0 else max(0.0, middle - half)
    return low, 1.0 if bad == n else min(1.0, middle + half)
