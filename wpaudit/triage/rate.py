"""How often the site fails, and in which pattern: bursts, a period, the time a failure takes. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from wpaudit.domain import Answer
from wpaudit.facts import Look
from wpaudit.facts import Rate
from wpaudit.facts import State
from wpaudit.intervals import wilson
from wpaudit.triage.faults import fails

INSTANT = 0.05       # seconds; no PHP process was asked (a full backlog or a missing socket answers in 1-5 ms)
SLOW = 5.0           # seconds from which on the time itself is a reason
_Z = 1.959964        # the normal distribution's 97.5 % quantile
_FEWER = -1.644854   # and its 5 % quantile
# Seconds, as limits are set.
_ROUND = (5, 10, 15, 20, 25, 30, 40, 45, 50, 60, 75, 90, 100, 120, 125, 150, 180, 200, 240, 300, 600)
_NEAR = 0.5          # seconds around such a limit, and half as much below it
_LONGEST_CYCLE = 6
_NO_TIME = frozenset({'dns', 'refused', 'tls', 'timeout'})
_BURSTS = 3          # from so many on, the time between them is worth a look


@dataclass(frozen=True)
class Timing:
    """What the durations of the failing answers say. Seconds; ``limit`` is 0 when they hit no round number."""

    instant: bool = False
    slow: bool = False
    mixed: bool = False   # some fail at once, others by a timeout
    limit: float = 0.0
    typical: float = 0.0


def rate(looks: Sequence[Look]) -> Rate:
    """Return the share of failing ones among ``looks``, with Wilson's interval at 95 %."""
    bad, n = sum(map(fails, looks)), len(looks)
    low, high = wilson(bad, n)
    return Rate(value=bad / n if n else 0.0, low=low, high=high, n=n, pattern=_pattern(looks))


def state(looks: Sequence[Look]) -> State:
    """Say whether ``looks`` fail always, never or sometimes."""
    bad = sum(map(fails, looks))
    if not bad:
        return State.HEALTHY
    return State.FAILING if bad == len(looks) else State.SOMETIMES


def timing(answers: Sequence[Answer]) -> Timing:
    """Look at how long failing ``answers`` took; those we stopped waiting for took a time of our own choice."""
    seconds = sorted(one.seconds for one in answers if one.error not in _NO_TIME)
    if not seconds:
        return Timing()
    gateway = {one.status for one in answers}
    mixed = {502, 504} <= gateway and seconds[0] < 1 < seconds[-1]
    typical = median(seconds)
    return Timing(
        instant=typical < INSTANT, slow=typical >= SLOW, mixed=mixed, limit=round_limit(seconds), typical=typical)


def round_limit(seconds: Sequence[float]) -> float:
    """Return the round number of seconds that all of ``seconds`` hit, or 0."""
    for limit in _ROUND:
        if all(-_NEAR / 2 <= one - limit <= _NEAR for one in seconds):
            return float(limit)
    return 0.0


# -- words ----------------------------------------------------------------------------------------

def _pattern(looks: Sequence[Look]) -> str:
    ordered = sorted(looks, key=lambda look: look.at)
    flags = [fails(look) for look in ordered]
    if not any(flags):
        return ''
    parts = [_order(flags, [look.at for look in ordered]), _duration([one.answer for one in ordered if fails(one)])]
    return '; '.join(part for part in parts if part)


def _duration(answers: Sequence[Answer]) -> str:
    seen = timing(answers)
    if seen.mixed:
        return 'some failures come at once, others only after a timeout'
    if seen.instant:
        return f'the failures come at once (typically in {seen.typical * 1000:.0f} ms)'
    if seen.limit:
        return f'the failures come after {seen.limit:g} s, as a time limit makes them'
    return f'the failures take {seen.typical:.1f} s' if seen.slow else ''


def _order(flags: Sequence[bool], times: Sequence[float]) -> str:
    if all(flags):
        return ''
    cycle = _cycle(flags)
    if cycle:
        return f'{cycle}, as if one of several servers behind the name were broken'
    starts = [n for n, bad in enumerate(flags) if bad and not (n and flags[n - 1])]
    every = _period([times[n] for n in starts])
    if every:
        return f'the failures come every {every:.0f} s'
    if _clustered(flags, len(starts)):
        longest = max(_run(flags, n) for n in starts)
        return f'the failures come in bursts of up to {longest} in a row'
    return 'the failures follow no order'


def _cycle(flags: Sequence[bool]) -> str:
    """Say it when every k-th request fails, and no other; three rounds at least."""
    for length in range(2, min(_LONGEST_CYCLE, len(flags) // 3) + 1):
        if all(flags[n] == flags[n + length] for n in range(len(flags) - length)):
            bad = sum(flags[:length])
            return f'every {_nth(length)} request fails' if bad == 1 else f'{bad} of every {length} requests fail'
    return ''


def _nth(number: int) -> str:
    return {2: 'second', 3: 'third', 4: 'fourth', 5: 'fifth'}.get(number, f'{number}th')


def _period(starts: Sequence[float]) -> float:
    """Return the time between the starts of bursts when it is the same each time, else 0."""
    gaps = [after - before for before, after in pairwise(starts)]
    if len(starts) <= _BURSTS or min(gaps) < 1:
        return 0.0
    middle = median(gaps)
    return middle if all(abs(gap - middle) < 0.2 * middle for gap in gaps) else 0.0


def _clustered(flags: Sequence[bool], bursts: int) -> bool:
    """Are there fewer runs than chance makes (Wald and Wolfowitz 1940, one-sided, 5 %)?"""
    bad, good = sum(flags), len(flags) - sum(flags)
    n = bad + good
    mean = 2 * bad * good / n + 1
    variance = (mean - 1) * (mean - 2) / (n - 1) if n > 1 else 0.0
    runs = 1 + sum(one != other for one, other in pairwise(flags))
    return bool(bursts) and variance > 0 and (runs - mean) / math.sqrt(variance) < _FEWER


def _run(flags: Sequence[bool], start: int) -> int:
    end = start
    while end < len(flags) and flags[end]:
        end += 1
    return end - start
