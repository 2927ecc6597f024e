"""Count the probes of wpaudit's search and of its peers on the same random failures.

    python -m benchmarks.search [--seed N] [--instances N] [--sizes 16,64] [--parallel N]

A probe is one distinct set of suspects tested; the two baselines (all on fails, all off passes) are free for
everybody. "one" stops at one failing set and proves nothing further; "all" finds every minimal conflict and observes
that the site passes without them. wpaudit additionally observes each conflict without each of its members, and each
accused suspect's difference with everything else on; its peers are not charged for that. Nothing here is timed.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from wpaudit.domain import Outcome
from wpaudit.engine import Problem
from wpaudit.engine import Query
from wpaudit.engine import search

try:
    import picire
except ImportError:
    picire = None

Ids = frozenset[str]
Shrink = Callable[[Sequence[str], Callable[[Ids], bool]], Ids]

SCENARIOS: dict[str, tuple[str, list[int]]] = {
    'a': ('one culprit', [1]),
    'b2': ('two culprits', [1, 1]),
    'b3': ('three culprits', [1, 1, 1]),
    'c': ('a pair that conflicts', [2]),
    'd': ('a triple that conflicts', [3]),
    'e': ('one culprit or a pair', [1, 2]),
}


class Site:
    """Answers whether a set fails, and counts the distinct sets it was asked about."""

    def __init__(self, items: Sequence[str], conflicts: list[Ids], *, monotone: bool = False) -> None:
        self.items = tuple(items)
        self.conflicts = conflicts
        self.probes = 0
        self._monotone = monotone
        self._failing = [frozenset(items)]
        self._passing: list[Ids] = [frozenset()]

    def fails(self, on: Ids) -> bool:
        """Answer from memory when it is there (``monotone``: or follows from it), else probe."""
        if any(f <= on if self._monotone else f == on for f in self._failing):
            return True
        if any(on <= p if self._monotone else on == p for p in self._passing):
            return False
        self.probes += 1
        broken = any(c <= on for c in self.conflicts)
        (self._failing if broken else self._passing).append(on)
        return broken


def linear(site: Site) -> list[Ids]:
    """Switch off one suspect at a time; who makes the failure go away is the culprit."""
    everything = frozenset(site.items)
    return [frozenset([i]) for i in site.items if not site.fails(everything - {i})]


def halving(site: Site) -> list[Ids]:
    """Keep the half that fails, without a check in the end: bisection as done by hand."""
    suspects = list(site.items)
    while len(suspects) > 1:
        half = suspects[:len(suspects) // 2]
        suspects = half if site.fails(frozenset(half)) else suspects[len(half):]
    return [frozenset(suspects)]


def ddmin(config: Sequence[str], fails: Callable[[Ids], bool]) -> Ids:
    """Shrink with picire's ddmin (Zeller and Hildebrandt 2002), subsets first."""
    def test(chosen: Sequence[str], _id: Any) -> Any:
        return picire.Outcome.FAIL if fails(frozenset(chosen)) else picire.Outcome.PASS

    return frozenset(picire.DD(test)(list(config)))


def quickxplain(config: Sequence[str], fails: Callable[[Ids], bool]) -> Ids:
    """Shrink by divide and conquer (Junker 2004)."""
    def need(known: Ids, changed: bool, rest: Sequence[str]) -> Ids:
        if changed and fails(known):
            return frozenset()
        if len(rest) == 1:
            return frozenset(rest)
        left, right = rest[:len(rest) // 2], rest[len(rest) // 2:]
        second = need(known | frozenset(left), True, right)
        return second | need(known | second, bool(second), left)

    return need(frozenset(), False, list(config))


def every_conflict(site: Site, shrink: Shrink) -> list[Ids]:
    """Shrink again with one member of every conflict found off, in each minimal way, until all pass."""
    everything = frozenset(site.items)
    found: list[Ids] = []
    while True:
        rests = (everything - off for off in hitting_sets(found))
        failing = next((rest for rest in rests if site.fails(rest)), None)
        if failing is None:
            return found
        found.append(shrink([i for i in site.items if i in failing], site.fails))


def hitting_sets(conflicts: Iterable[Ids]) -> list[Ids]:
    """Return the minimal sets with a member of every conflict."""
    hits = {frozenset(choice) for choice in product(*(sorted(c) for c in conflicts))}
    return sorted((h for h in hits if not any(other < h for other in hits)), key=lambda h: (len(h), sorted(h)))


def engine(site: Site, parallel: int) -> list[Ids]:
    """Search with wpaudit."""
    def oracle(queries: Sequence[Query]) -> list[Outcome]:
        return [Outcome.FAIL if site.fails(q.on) else Outcome.PASS for q in queries]

    known = {frozenset(site.items): Outcome.FAIL, frozenset[str](): Outcome.PASS}
    finding = search(Problem(site.items, parallel=parallel), oracle, known=known)
    return [frozenset(c) for c in finding.conflicts] if finding.complete else []


@dataclass(frozen=True)
class Rival:
    """One row of the table: how to search, and whether the site remembers what follows from monotonicity."""

    name: str
    run: Callable[[Site], list[Ids]]
    monotone: bool = False
    all: bool = True


def rivals(parallel: int) -> list[Rival]:
    """Return everything that is compared, wpaudit first."""
    rows = [
        Rival('wpaudit [all, proven]', lambda site: engine(site, parallel)),
        Rival('linear, one off at a time', linear, all=False),
        Rival('naive halving [one]', halving, all=False),
        Rival('QuickXplain, repeated [all]', lambda site: every_conflict(site, quickxplain)),
        Rival('... with monotone memo', lambda site: every_conflict(site, quickxplain), monotone=True),
    ]
    if picire is not None:
        rows += [
            Rival('picire ddmin [one]', lambda site: [ddmin(site.items, site.fails)], all=False),
            Rival('picire ddmin, repeated [all]', lambda site: every_conflict(site, ddmin)),
            Rival('... with monotone memo', lambda site: every_conflict(site, ddmin), monotone=True),
        ]
    return rows


def draw(sizes: Sequence[int], items: Sequence[str], rng: random.Random) -> list[Ids]:
    """Draw disjoint conflicts of these sizes."""
    picked = rng.sample(list(items), sum(sizes))
    return [frozenset(picked.pop() for _ in range(size)) for size in sizes]


def percentile(values: Sequence[int], share: float) -> int:
    """Return the value that ``share`` of ``values`` do not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def measure(rival: Rival, items: Sequence[str], instances: Sequence[list[Ids]]) -> tuple[list[int], float]:
    """Return probes per instance and how many of the answers were exactly right, in percent."""
    probes = []
    right = 0
    for conflicts in instances:
        site = Site(items, conflicts, monotone=rival.monotone)
        answer = set(rival.run(site))
        right += answer == set(conflicts) if rival.all else bool(answer) and answer <= set(conflicts)
        probes.append(site.probes)
    return probes, 100 * right / len(instances)


def table(scenario: str, count: int, options: argparse.Namespace) -> None:
    """Print one scenario at one size."""
    what, sizes = SCENARIOS[scenario]
    rng = random.Random(f'{options.seed} {scenario} {count}')  # noqa: S311 - reproducible, not secret
    items = [f'suspect-{i:04}' for i in range(count)]
    instances = [draw(sizes, items, rng) for _ in range(options.instances)]
    print(f'\n{scenario}: {what}, n={count}')
    print(f'  {"":32}{"median":>8}{"mean":>8}{"p95":>6}{"max":>6}{"right":>8}{"x wpaudit":>11}')
    ours = 0.0
    for rival in rivals(options.parallel):
        probes, right = measure(rival, items, instances)
        median = statistics.median(probes)
        ours = ours or median
        print(f'  {rival.name:32}{median:8g}{statistics.fmean(probes):8.2f}{percentile(probes, 0.95):6}'
              f'{max(probes):6}{right:7.0f}%{median / ours:11.2f}')


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog='python -m benchmarks.search', description=(__doc__ or '').split('\n')[0])
    parser.add_argument('--seed', default='1', help='any text; the same seed draws the same failures')
    parser.add_argument('--instances', type=int, default=300, help='random failures per table')
    parser.add_argument('--sizes', default='16,64', help='numbers of suspects, comma-separated')
    parser.add_argument('--scenarios', default=','.join(SCENARIOS), help='any of %(default)s')
    parser.add_argument('--parallel', type=int, default=1, help='probes wpaudit may make at once')
    options = parser.parse_args(arguments)
    print(f'Probes per search, {options.instances} random failures each, seed {options.seed}.')
    for count in options.sizes.split(','):
        for scenario in options.scenarios.split(','):
            table(scenario, int(count), options)
    if picire is None:
        print("\nNOT COMPARED: picire's ddmin, because picire is not installed. "
              "Get it with: pip install 'wpaudit-bisect[bench]'", file=sys.stderr)
    return 0


if __name__ == '__main__':
    sys.exit(main())
