"""What goes into the search and what comes out of it, as frozen data.

The search knows no WordPress: suspects are opaque ids, and a probe is a question to a callable.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field

from wpaudit.domain import Claim
from wpaudit.domain import Outcome
from wpaudit.domain import Role


@dataclass(frozen=True)
class Query:
    """One exact set to test.

    ``confirm`` marks a claim on which a name rests: the oracle repeats the probe until it is confident,
    and raises when the repetitions disagree. An earlier answer for the same set may count as one of
    the repetitions.
    """

    on: frozenset[str]
    role: Role
    confirm: bool


Oracle = Callable[[Sequence[Query]], Sequence[Outcome]]
"""Answers a batch in its order; may run it in parallel, may raise anything."""


@dataclass(frozen=True)
class Problem:
    """Suspects in load order and what is known about them before the first probe.

    ``requires`` holds direct, declared dependencies; ids that are not items are ignored. ``pinned`` are
    never switched off, nor is what they require. A weight of 3 says "three times as likely as a plain
    suspect"; a missing one is 1. ``parallel`` is how many queries of a batch may be useful at once.

    How answers become sure without ``Query.confirm``: with ``sure_failures`` one FAIL proves that its set fails, since
    nothing else makes one. With ``enough`` above 0 so many PASS answers do, of a set itself and of sets around it: were
    the failure unsteady and in there, each of them would have had to miss it.

    ``partners`` says who may have a part in it with one suspect that is in a conflict and passes alone: how many times
    as likely each makes that. It is asked once a suspect, and only then, since the answer may take a while to find.
    """

    items: tuple[str, ...]
    requires: Mapping[str, frozenset[str]] = field(default_factory=dict)
    pinned: frozenset[str] = frozenset()
    weights: Mapping[str, float] = field(default_factory=dict)
    parallel: int = 1
    sure_failures: bool = False
    enough: int = 0
    partners: Callable[[str], Mapping[str, float]] = lambda suspect: {}


@dataclass(frozen=True)
class Finding:
    """What the search can prove.

    ``conflicts`` are minimal failing sets, ``fixes`` minimal sets whose absence was observed to pass,
    the cheapest first. A suspect that is only needed by a member (declared in ``Problem.requires`` or found,
    then in ``learned``) is left out of both; the exact sets are in ``certificate``. ``complete`` means that
    every minimal fix passes, every claim was observed directly, and ``unresolved`` is empty.
    """

    conflicts: tuple[tuple[str, ...], ...] = ()
    fixes: tuple[tuple[str, ...], ...] = ()
    certificate: tuple[Claim, ...] = ()
    complete: bool = False
    unresolved: str = ''
    learned: Mapping[str, frozenset[str]] = field(default_factory=dict)
