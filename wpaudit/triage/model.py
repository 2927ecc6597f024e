"""Naive Bayes over the causes: small, explicit, and all of its numbers in ``causes.json``. Pure.

Each cause has a prior (a relative weight: how often WordPress hosts report it) and each kind of clue a likelihood
ratio for the causes it speaks about: how much more often it is seen with that cause than when none of them is at
work. What a kind does not mention it leaves alone (ratio 1), so an irrelevant clue changes nothing. ``unknown`` is the
cause "none of these": its ratios are all 1, so that it wins where nothing speaks, and where all are spoken against.

Clues of one kind are one observation seen several times, so each kind counts once, at its strongest. A ratio is raised
to the clue's ``strength``: what may be about another request, or rests on a single look at a site that fails now and
then, counts in part.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from wpaudit.facts import Category
from wpaudit.facts import Cause
from wpaudit.facts import Clue
from wpaudit.facts import Place

UNKNOWN = 'unknown'
_LONGEST_NAME = 200
_PLACEHOLDER = re.compile(r'\{( (?:of|at|as|in|from) )?([a-z]{1,20}+)\}')


@dataclass(frozen=True)
class Kind:
    """One cause as the table describes it. ``bisect`` is ``yes``, ``no``, or ``plugin``: where a plugin is named."""

    name: str
    category: Category
    prior: float
    sentence: str
    advice: str
    bisect: str = 'no'
    place: Place | None = None


@dataclass(frozen=True)
class Table:
    """``causes.json``: the kinds by name, ``unknown`` among them, and the ratios by kind of clue and cause."""

    kinds: Mapping[str, Kind]
    ratios: Mapping[str, Mapping[str, float]]
    named_from: float  # the probability from which on a cause is named: more likely than all others together


@cache
def table() -> Table:
    """Read the table that the package brings along."""
    read = json.loads(resources.files(__package__).joinpath('causes.json').read_text(encoding='utf-8'))
    kinds = {name: _kind(name, row) for name, row in read['causes'].items()}
    lost = read['unknown']
    kinds[UNKNOWN] = Kind(UNKNOWN, Category.UNKNOWN, lost['prior'], lost['sentence'], lost['advice'])
    ratios = {clue: dict(_ungrouped(row, read['groups'])) for clue, row in read['clues'].items()}
    return Table(kinds, ratios, read['named_from'])


def _kind(name: str, row: Mapping[str, str]) -> Kind:
    return Kind(
        name, Category(row['category']), float(row['prior']), row['sentence'], row['advice'], row['bisect'],
        Place(row['place']))


def _ungrouped(row: Mapping[str, float], groups: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, float]]:
    """Write groups (``@php``) out; what is named itself comes later and so counts."""
    for name, ratio in row.items():
        if name.startswith('@'):
            yield from ((one, ratio) for one in groups[name[1:]])
    yield from ((name, ratio) for name, ratio in row.items() if not name.startswith('@'))


def counted(clues: Iterable[Clue]) -> tuple[Clue, ...]:
    """Return the clues that count: one of each kind, the strongest, the first of equals."""
    best: dict[str, Clue] = {}
    for clue in clues:
        if clue.kind not in best or _strength(clue) > _strength(best[clue.kind]):
            best[clue.kind] = clue
    return tuple(best.values())


def ratio(clue: Clue, cause: str) -> float:
    """Return by how much ``clue`` speaks for (above 1) or against (below 1) ``cause``."""
    return float(table().ratios.get(clue.kind, {}).get(cause, 1.0) ** _strength(clue))


def probabilities(clues: Iterable[Clue]) -> dict[str, float]:
    """Return the probability of every cause, ``unknown`` included; they sum to 1."""
    heard = counted(clues)
    scores = {
        name: math.log(kind.prior) + sum(math.log(ratio(clue, name)) for clue in heard)
        for name, kind in table().kinds.items()
    }
    top = max(scores.values())
    weights = {name: math.exp(score - top) for name, score in scores.items()}
    total = math.fsum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def ranked(clues: Sequence[Clue]) -> tuple[Cause, ...]:
    """Return every cause with its probability and the clues for and against it, the most likely first."""
    chances = probabilities(clues)
    order = sorted(chances, key=lambda name: -chances[name])
    return tuple(cause(name, chances[name], clues) for name in order)


def cause(name: str, probability: float, clues: Sequence[Clue]) -> Cause:
    """Put the cause ``name`` into words, with what ``clues`` name filled in."""
    kind = table().kinds[name]
    heard = counted(clues)
    supports = sorted((clue for clue in heard if ratio(clue, name) > 1), key=lambda clue: -ratio(clue, name))
    against = sorted((clue for clue in heard if ratio(clue, name) < 1), key=lambda clue: ratio(clue, name))
    names = _names(supports)
    return Cause(
        category=kind.category, kind=name, probability=probability,
        sentence=filled(kind.sentence, names), advice=filled(kind.advice, names),
        bisect_helps=kind.bisect == 'yes' or (kind.bisect == 'plugin' and any(clue.plugin for clue in supports)),
        supports=tuple(clue.reason for clue in supports), contradicts=tuple(clue.reason for clue in against),
    )


def _names(supports: Sequence[Clue]) -> Mapping[str, str]:
    """Merge what the clues name, the strongest clue last so that it counts."""
    return {key: value for clue in reversed(supports) for key, value in clue.names.items() if value}


def filled(text: str, names: Mapping[str, str]) -> str:
    """Fill ``{pool}`` and ``{ of pool}`` from ``names``; what nobody named is left out together with its word."""
    def fill(match: re.Match[str]) -> str:
        value = names.get(match[2], '')[:_LONGEST_NAME]
        word = match[1] or ''
        return f'{" (" if word == " as " else word}{value}{")" if word == " as " else ""}' if value else ''

    return _PLACEHOLDER.sub(fill, text)


def _strength(clue: Clue) -> float:
    return min(1.0, max(0.0, clue.strength))
