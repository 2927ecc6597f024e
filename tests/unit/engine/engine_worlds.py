"""Made-up sites for the search: known failure structures that answer, and check, its questions."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from itertools import chain
from itertools import combinations

from wpaudit.domain import Outcome
from wpaudit.engine import Finding
from wpaudit.engine import Problem
from wpaudit.engine import Query
from wpaudit.engine import Search

Ids = frozenset[str]
NOTHING: Ids = frozenset()


def names(count: int) -> tuple[str, ...]:
    return tuple(f'p{i:03}' for i in range(count))


def subsets(ids: Iterable[str]) -> Iterator[Ids]:
    pool = sorted(ids)
    return map(frozenset, chain.from_iterable(combinations(pool, k) for k in range(len(pool) + 1)))


def minimal(sets: Iterable[Ids]) -> set[Ids]:
    kept: list[Ids] = []
    for candidate in sorted(set(sets), key=len):
        if not any(k <= candidate for k in kept):
            kept.append(candidate)
    return set(kept)


def closure(ids: Ids, requires: Mapping[str, Ids], items: Iterable[str]) -> Ids:
    closed = set(ids)
    while more := {r for i in closed for r in requires.get(i, NOTHING) if r in set(items)} - closed:
        closed |= more
    return frozenset(closed)


@dataclass
class World:
    """A site: what fails on it, what needs what, and everything it was asked."""

    items: tuple[str, ...]
    conflicts: list[Ids]
    requires: dict[str, Ids] = field(default_factory=dict)    # declared
    hidden: dict[str, list[Ids]] = field(default_factory=dict)  # undeclared: any one of each set is enough
    unmet: Outcome = Outcome.OTHER                              # what an unmet hidden need looks like
    pinned: Ids = NOTHING
    weights: dict[str, float] = field(default_factory=dict)
    parallel: int = 1
    thrifty: bool = False  # failures are sure at once, passes when two answers say so
    partners: dict[str, dict[str, float]] = field(default_factory=dict)  # what is said of whom, if asked
    fail_after: int | None = None
    advised: list[str] = field(default_factory=list)
    asked: list[Query] = field(default_factory=list)
    rounds: int = 0

    @property
    def base(self) -> Ids:
        return closure(self.pinned, self.requires, self.items)

    @property
    def problem(self) -> Problem:
        return Problem(
            self.items, self.requires, self.pinned, self.weights, self.parallel, sure_failures=self.thrifty,
            enough=2 if self.thrifty else 0, partners=self.advice,
        )

    def advice(self, suspect: str) -> dict[str, float]:
        assert suspect not in self.advised, 'asked twice'
        alone = closure([suspect], self.requires, self.items) | self.base
        passed = [q.on for q in self.asked if self.truth(q.on) is not Outcome.FAIL]
        assert not self.asked or any(on >= alone for on in passed), 'asked too early'
        self.advised.append(suspect)
        return self.partners.get(suspect, {})

    @property
    def known(self) -> dict[Ids, Outcome]:
        return {frozenset(self.items): Outcome.FAIL, self.base: Outcome.PASS}

    def truth(self, on: Ids) -> Outcome:
        if any(i in on and not any_of & on for i, needs in self.hidden.items() for any_of in needs):
            return self.unmet
        return Outcome.FAIL if any(c <= on for c in self.conflicts) else Outcome.PASS

    def oracle(self, queries: Sequence[Query]) -> list[Outcome]:
        self.rounds += 1
        for query in queries:
            assert closure(query.on, self.requires, self.items) == query.on, 'not closed'
            assert self.base <= query.on, 'pinned suspects off'
            assert query.on not in self.known, 'a baseline was asked again'
            before = [q for q in self.asked if q.on == query.on]
            if self.thrifty:
                assert len(before) < 2, 'asked three times'
                assert not any(q.confirm for q in before), 'asked again though it was sure'
            else:
                assert not any(q.confirm >= query.confirm for q in before), 'asked twice'
            if self.fail_after is not None and len(self.asked) >= self.fail_after:
                raise KeyboardInterrupt
            self.asked.append(query)
        return [self.truth(query.on) for query in queries]

    def backing(self, on: Ids) -> int:
        """Return how many passing answers were given of sets that hold all of ``on``; none count unless thrifty."""
        passing = [q for q in self.asked if on <= q.on and self.truth(q.on) is Outcome.PASS]
        return sum(1 + q.confirm for q in passing) if self.thrifty else 0

    @property
    def probes(self) -> int:
        return len({q.on for q in self.asked})

    def search(self) -> Search:
        return Search(self.problem, self.oracle, known=self.known)

    def found(self) -> Finding:
        return self.search().run()


def exact(world: World, on: Sequence[str] | None, off: Sequence[str] | None) -> Ids:
    assert (on is None) != (off is None)
    return frozenset(on) if on is not None else frozenset(world.items) - frozenset(off or ())


def assert_honest(world: World, finding: Finding) -> None:
    """Every claim was observed as it is, is true, and every name rests on such claims."""
    observed = {q.on for q in world.asked} | set(world.known)
    claimed = {}
    for claim in finding.certificate:
        on = exact(world, claim.on, claim.off)
        assert claim.observed
        assert on in observed
        assert world.truth(on) is claim.outcome
        claimed[on] = claim.outcome
    asked_for = {q.on for q in world.asked if q.confirm} | set(world.known)
    requires = with_learned(world, finding)
    for conflict in finding.conflicts:
        on = closure(frozenset(conflict), requires, world.items) | world.base
        assert claimed[on] is Outcome.FAIL
        assert world.thrifty or on in asked_for
        for member in conflict:
            rest = on - below(world, requires, frozenset([member]))
            assert claimed[rest] is Outcome.PASS
            assert rest in asked_for or world.backing(rest) >= 2
    for fix in finding.fixes:
        rest = frozenset(world.items) - below(world, requires, frozenset(fix))
        assert claimed[rest] is Outcome.PASS
        assert rest in asked_for or all(world.backing(frozenset([one])) >= 2 for one in rest - world.base)


def with_learned(world: World, finding: Finding) -> dict[str, Ids]:
    return {i: world.requires.get(i, NOTHING) | finding.learned.get(i, NOTHING) for i in world.items}


def below(world: World, requires: Mapping[str, Ids], ids: Ids) -> Ids:
    return frozenset(i for i in world.items if closure(frozenset([i]), requires, world.items) & ids)


def tops(world: World, requires: Mapping[str, Ids], mask: Ids) -> Ids:
    up = {i: closure(frozenset([i]), requires, world.items) for i in mask}
    return frozenset(i for i in mask - world.base if not any(i in up[j] and j not in up[i] for j in mask))


def roots(world: World, requires: Mapping[str, Ids], mask: Ids) -> Ids:
    up = {i: closure(frozenset([i]), requires, world.items) for i in mask}
    return frozenset(i for i in mask if not any(j in up[i] and i not in up[j] for j in mask))


def answer(world: World, requires: Mapping[str, Ids]) -> tuple[set[Ids], set[Ids]]:
    """Return conflicts and fixes by trying every set that is closed under ``requires``."""
    everything = frozenset(world.items)
    closed = [s for s in subsets(everything) if closure(s, requires, everything) == s and world.base <= s]
    failing = minimal(s for s in closed if world.truth(s) is Outcome.FAIL)
    offs = minimal(everything - s for s in closed if world.truth(s) is Outcome.PASS)
    return {tops(world, requires, s) for s in failing}, {roots(world, requires, s) for s in offs}


def assert_right(world: World, finding: Finding) -> None:
    """The finding is complete and is what trying every set would give."""
    assert finding.complete, finding.unresolved
    assert not finding.unresolved
    assert_honest(world, finding)
    conflicts, fixes = answer(world, with_learned(world, finding))
    assert {frozenset(c) for c in finding.conflicts} == conflicts
    assert {frozenset(f) for f in finding.fixes} == fixes
    assert len(finding.conflicts) == len(conflicts)
    assert len(finding.fixes) == len(fixes)


def antichains(items: Sequence[str]) -> Iterator[list[Ids]]:
    """Yield every set of conflicts over ``items`` that a site can have: all monotone failures.

    Without the two that have no question: nothing ever fails, and everything always fails.
    """
    pool = [s for s in subsets(items) if s]

    def extend(start: int, chosen: list[Ids]) -> Iterator[list[Ids]]:
        if chosen:
            yield list(chosen)
        for i in range(start, len(pool)):
            if not any(c <= pool[i] for c in chosen):
                yield from extend(i + 1, [*chosen, pool[i]])

    yield from extend(0, [])
