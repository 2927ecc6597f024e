"""Sites that are not monotone: dependencies nobody declared, masked faults, answers that do not repeat."""

import random
from collections.abc import Callable
from collections.abc import Sequence

import pytest
from engine_worlds import World
from engine_worlds import assert_honest
from engine_worlds import names

from wpaudit.domain import Outcome
from wpaudit.engine import Query
from wpaudit.engine import search
from wpaudit.errors import Unsteady

COUNT = 32
Picks = list[str]


def one(*ids: str) -> frozenset[str]:
    return frozenset(ids)


# Each takes six different suspects, the culprit first, and says who needs whom without a declaration.
STRUCTURES: dict[str, Callable[..., dict[str, list[frozenset[str]]]]] = {
    'two pairs': lambda d, a, b, c, e, f: {a: [one(b)], c: [one(e)]},
    'chain': lambda d, a, b, c, e, f: {a: [one(b)], b: [one(c)]},
    'shared parent': lambda d, a, b, c, e, f: {a: [one(e)], b: [one(e)], c: [one(e)]},
    'the culprit is a child': lambda d, a, b, c, e, f: {d: [one(a)]},
    'two parents': lambda d, a, b, c, e, f: {a: [one(b), one(c)]},
    'one of two is enough': lambda d, a, b, c, e, f: {a: [one(b, c)]},
}


@pytest.mark.parametrize('unmet', [Outcome.FAIL, Outcome.OTHER])
@pytest.mark.parametrize('structure', STRUCTURES)
@pytest.mark.parametrize('parallel', [1, 4])
def test_the_culprit_is_named_among_undeclared_dependencies(
    structure: str, unmet: Outcome, parallel: int,
) -> None:
    rng = random.Random(f'{structure} {unmet}')
    for _ in range(25):
        picks = rng.sample(names(COUNT), 6)
        world = World(names(COUNT), [one(picks[0])], hidden=STRUCTURES[structure](*picks), unmet=unmet,
                      parallel=parallel)
        finding = world.found()
        assert finding.conflicts == ((picks[0],),)
        assert finding.fixes == ((picks[0],),)
        assert finding.complete
        assert_honest(world, finding)


def test_two_culprits_among_dependencies_that_fail_the_same_way() -> None:
    rng = random.Random('two culprits')
    for _ in range(25):
        d, e, a, b = rng.sample(names(COUNT), 4)
        world = World(names(COUNT), [one(d), one(e)], hidden={a: [one(b)]}, unmet=Outcome.FAIL)
        finding = world.found()
        assert {frozenset(c) for c in finding.conflicts} == {one(d), one(e)}
        assert finding.complete
        assert_honest(world, finding)


def test_a_parent_that_is_the_culprit_cannot_be_told_from_two_culprits() -> None:
    """The truth tables are the same; the fix works all the same."""
    rng = random.Random('parent')
    for _ in range(25):
        parent, child = rng.sample(names(COUNT), 2)
        world = World(names(COUNT), [one(parent)], hidden={child: [one(parent)]}, unmet=Outcome.FAIL)
        finding = world.found()
        assert [set(f) for f in finding.fixes] == [{parent, child}]
        assert_honest(world, finding)


def test_a_different_failure_of_the_child_tells_them_apart() -> None:
    rng = random.Random('parent that fails differently')
    for _ in range(25):
        parent, child = rng.sample(names(COUNT), 2)
        world = World(names(COUNT), [one(parent)], hidden={child: [one(parent)]})
        finding = world.found()
        assert finding.conflicts == finding.fixes == ((parent,),)
        assert finding.learned == {child: one(parent)}
        assert finding.complete


def test_what_had_to_stay_on_is_said_and_not_accused() -> None:
    world = World(('acme', 'shop', 'other'), [one('acme', 'shop')], hidden={'acme': [one('shop')]})
    finding = world.found()
    assert finding.conflicts == (('acme',),)
    assert finding.learned == {'acme': one('shop')}
    assert 'only acme on (shop had to stay on): the site fails' in [c.claim for c in finding.certificate]


def masked(world: World, truth: Callable[[frozenset[str]], bool]) -> None:
    world.truth = lambda on: Outcome.FAIL if truth(on) else Outcome.PASS  # type: ignore[method-assign]


def test_a_suspect_that_hides_another_fault() -> None:
    rng = random.Random('masker')
    for _ in range(25):
        d, masker, fault = rng.sample(names(COUNT), 3)
        world = World(names(COUNT), [one(d)])
        masked(world, lambda on, d=d, m=masker, f=fault: d in on or (f in on and m not in on))
        finding = world.found()
        assert finding.conflicts == ((d,),)
        assert_honest(world, finding)


def test_a_fault_that_needs_one_off_and_another_on() -> None:
    rng = random.Random('xor')
    for _ in range(25):
        d, a, b, c = rng.sample(names(COUNT), 4)
        world = World(names(COUNT), [one(d)])
        masked(world, lambda on, d=d, a=a, b=b, c=c: d in on or (a in on and c in on and b not in on))
        finding = world.found()
        assert finding.conflicts == ((d,),)
        assert_honest(world, finding)


def test_a_site_that_answers_otherwise_in_between_is_unresolved() -> None:
    world = World(names(24), [frozenset(names(24))])
    masked(world, lambda on: len(on) == len(world.items))
    plain = world.truth
    world.truth = lambda on: plain(on) if len(on) in (0, 24) else Outcome.OTHER  # type: ignore[method-assign]
    finding = world.found()
    assert not finding.complete
    assert finding.unresolved
    assert not finding.conflicts
    assert not finding.fixes


class NoisyWorld(World):
    """Each set has an outcome of its own, drawn once."""

    def truth(self, on: frozenset[str]) -> Outcome:
        drawn = random.Random(f'{sorted(on)}').choice([Outcome.FAIL, Outcome.PASS, Outcome.OTHER])
        return self.known.get(on, drawn)


def test_answers_without_rhyme_or_reason_never_hang_and_never_claim() -> None:
    for seed in range(60):
        world = NoisyWorld(tuple(f'{seed}-{name}' for name in names(10)), [])
        finding = world.found()
        assert_honest(world, finding)
        assert finding.complete or finding.unresolved


def crowded(count: int, unmet: Outcome, rng: random.Random) -> World:
    """A site of 64 with a pair that conflicts and ``count`` undeclared dependencies."""
    picks = rng.sample(names(64), 2 * count + 2)
    hidden = {picks[2 * i]: [one(picks[2 * i + 1])] for i in range(count)}
    return World(names(64), [frozenset(picks[-2:])], hidden=hidden, unmet=unmet)


@pytest.mark.parametrize('unmet', [Outcome.FAIL, Outcome.OTHER])
def test_a_dozen_undeclared_dependencies_are_sorted_out(unmet: Outcome) -> None:
    rng = random.Random(f'dozen {unmet}')
    for _ in range(3):
        world = crowded(12, unmet, rng)
        finding = world.found()
        assert finding.complete
        assert {frozenset(c) for c in finding.conflicts} == set(world.conflicts)


@pytest.mark.parametrize('unmet', [Outcome.FAIL, Outcome.OTHER])
def test_more_than_a_dozen_end_without_a_wrong_name(unmet: Outcome) -> None:
    rng = random.Random(f'too many {unmet}')
    unresolved = 0
    for _ in range(3):
        world = crowded(31, unmet, rng)
        finding = world.found()
        assert_honest(world, finding)
        assert {frozenset(c) for c in finding.conflicts} <= set(world.conflicts)
        unresolved += bool(finding.unresolved)
    assert unresolved


class FlakySite:
    """A site whose failure shows with probability ``p``; confirmed questions are repeated.

    It raises Unsteady when an answer to a set changes, as the caller of the search does.
    """

    def __init__(self, conflicts: list[frozenset[str]], p: float, repeats: int, rng: random.Random) -> None:
        self.conflicts = conflicts
        self.p = p
        self.repeats = repeats
        self.rng = rng
        self.seen: dict[frozenset[str], Outcome] = {}

    def once(self, on: frozenset[str]) -> Outcome:
        broken = any(c <= on for c in self.conflicts) and self.rng.random() < self.p
        return Outcome.FAIL if broken else Outcome.PASS

    def oracle(self, queries: Sequence[Query]) -> list[Outcome]:
        return [self.answer(q) for q in queries]

    def answer(self, query: Query) -> Outcome:
        for _ in range(self.repeats if query.confirm else 1):
            if self.seen.setdefault(query.on, outcome := self.once(query.on)) is not outcome:
                raise Unsteady('the same set gave different answers')
        return self.seen[query.on]


class PatientSite(FlakySite):
    """A site probed by someone who knows that it is flaky: one failure of many repetitions is a failure."""

    def answer(self, query: Query) -> Outcome:
        tries = self.repeats if query.confirm else 1
        failed = any(self.once(query.on) is Outcome.FAIL for _ in range(tries))
        return Outcome.FAIL if failed else Outcome.PASS


FLAKY_STRUCTURES = [[one('p003')], [one('p003', 'p009')], [one('p001'), one('p012')]]


@pytest.mark.parametrize('p', [0.3, 0.5, 0.7, 0.95])
@pytest.mark.parametrize('conflicts', FLAKY_STRUCTURES)
@pytest.mark.parametrize(('kind', 'repeats'), [(FlakySite, 20), (PatientSite, 20)])
def test_a_flaky_site_gets_no_wrong_name(
    p: float, conflicts: list[frozenset[str]], kind: type[FlakySite], repeats: int,
) -> None:
    """A confirmed PASS of a failing set has probability (1 - p)^20 here, below 0.001."""
    items = names(16)
    known = {frozenset(items): Outcome.FAIL, frozenset(): Outcome.PASS}
    for seed in range(40):
        site = kind(conflicts, p, repeats, random.Random(f'{p} {seed}'))
        try:
            finding = search(World(items, []).problem, site.oracle, known=known)
        except Unsteady:
            assert kind is FlakySite
        else:
            assert finding.complete
            assert {frozenset(c) for c in finding.conflicts} == set(conflicts)


def test_the_question_must_be_a_question() -> None:
    items = names(3)
    world = World(items, [one('p001')])
    everything = frozenset(items)
    healthy = search(world.problem, world.oracle, known={everything: Outcome.PASS, one(): Outcome.PASS})
    elsewhere = search(world.problem, world.oracle, known={everything: Outcome.FAIL, one(): Outcome.FAIL})
    assert 'does not occur' in healthy.unresolved
    assert 'does not go away' in elsewhere.unresolved
    assert not healthy.complete
    assert not elsewhere.complete
    assert not world.asked
