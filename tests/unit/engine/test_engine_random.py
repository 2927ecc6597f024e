"""Failures of many suspects, drawn at random, with everything that can complicate them."""

import math
import random

import pytest
from engine_worlds import World
from engine_worlds import assert_honest
from engine_worlds import assert_right
from engine_worlds import closure
from engine_worlds import minimal
from engine_worlds import names
from hypothesis import HealthCheck
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from wpaudit.domain import Outcome
from wpaudit.engine import Problem
from wpaudit.engine import probes_left
from wpaudit.engine import search

QUICK = settings(max_examples=50, deadline=None, derandomize=True,
                 suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
WEIGHTS = st.one_of(
    st.floats(min_value=0.01, max_value=1000), st.sampled_from([0.0, -1.0, math.inf, math.nan, 1e300, 5e-324]),
)


def some(items: tuple[str, ...], least: int = 1, most: int = 3) -> st.SearchStrategy[frozenset[str]]:
    return st.frozensets(st.sampled_from(items), min_size=least, max_size=most)


@st.composite
def worlds(draw: st.DrawFn, most: int = 24) -> World:
    items = names(draw(st.integers(2, most)))
    conflicts = list(minimal(draw(st.lists(some(items), min_size=1, max_size=3))))
    requires = draw(st.dictionaries(st.sampled_from(items), some(items, 1, 2), max_size=4))
    world = World(items, conflicts, requires=requires, parallel=draw(st.sampled_from([1, 2, 3, 5, 8])))
    world.weights = draw(st.dictionaries(st.sampled_from(items), WEIGHTS, max_size=6))
    advice = st.dictionaries(st.sampled_from((*items, 'nobody')), WEIGHTS, max_size=3)
    world.partners = draw(st.dictionaries(st.sampled_from(items), advice, max_size=4))
    pinned = draw(some(items, 0, 2))
    if world.truth(closure(pinned, requires, items)) is Outcome.PASS:
        world.pinned = pinned
    if world.truth(world.base) is not Outcome.PASS:  # a conflict within what is pinned: no question
        world.conflicts = [frozenset(items)]
    return world


@st.composite
def needy_worlds(draw: st.DrawFn) -> World:
    """Sites where up to four suspects need another one undeclared, the need itself being free of faults."""
    world = draw(worlds(most=16))
    world.requires, world.pinned = {}, frozenset()
    children = draw(st.lists(st.sampled_from(world.items), max_size=4, unique=True))
    for child in children:
        parents = [i for i in world.items if i < child]
        if parents:
            world.hidden[child] = [frozenset([draw(st.sampled_from(parents))])]
    return world


@QUICK
@given(worlds(most=9))
def test_the_answer_is_what_trying_every_set_gives(world: World) -> None:
    assert_right(world, world.found())


@QUICK
@given(worlds(most=60))
def test_claims_hold_on_larger_sites(world: World) -> None:
    finding = world.found()
    assert finding.complete, finding.unresolved
    assert_honest(world, finding)
    if not world.requires and not world.pinned:
        assert {frozenset(c) for c in finding.conflicts} == set(world.conflicts)


@QUICK
@given(needy_worlds())
def test_a_child_without_its_undeclared_parent_is_never_named_for_it(world: World) -> None:
    finding = world.found()
    assert_honest(world, finding)
    needs = {child: frozenset().union(*sets) for child, sets in world.hidden.items()}
    real = [closure(c, needs, world.items) for c in world.conflicts]
    for conflict in finding.conflicts:
        assert closure(frozenset(conflict), needs, world.items) in real
        assert any(frozenset(conflict) <= c for c in real)
    assert finding.complete, finding.unresolved


@QUICK
@given(worlds(most=12), st.integers(0, 25))
def test_an_interrupted_search_still_says_only_what_it_knows(world: World, stop: int) -> None:
    world.fail_after = stop
    running = world.search()
    try:
        running.run()
    except KeyboardInterrupt:
        finding = running.best()
        assert_honest(world, finding)
        assert not finding.complete
        suspicion = frozenset(running.suspicion())
        assert not suspicion or any(suspicion & closure(c, world.requires, world.items) for c in world.conflicts)


def draw_structure(kind: str, count: int, rng: random.Random) -> list[frozenset[str]]:
    sizes = {'a': [1], 'b2': [1, 1], 'b3': [1, 1, 1], 'c': [2], 'd': [3], 'e': [1, 2]}[kind]
    picked = rng.sample(names(count), sum(sizes))
    return [frozenset(picked.pop() for _ in range(size)) for size in sizes]


def test_one_culprit_of_64_takes_at_most_nine_probes_wherever_it_is() -> None:
    items = names(64)
    for culprit in items:
        world = World(items, [frozenset([culprit])])
        finding = world.found()
        assert finding.conflicts == finding.fixes == ((culprit,),)
        assert world.probes <= 9
        assert len(world.asked) <= 9


@pytest.mark.parametrize(('kind', 'goal'), [('b2', 16), ('b3', 23), ('c', 16), ('d', 23), ('e', 24)])
def test_the_median_number_of_probes_meets_its_goal(kind: str, goal: int) -> None:
    rng = random.Random(f'goal {kind}')
    counts = []
    for _ in range(101):
        world = World(names(64), draw_structure(kind, 64, rng))
        assert world.found().complete
        counts.append(world.probes)
    assert sorted(counts)[50] <= goal


@pytest.mark.parametrize('count', [30, 64, 256])
def test_evidence_that_names_one_of_a_pair_leaves_its_partner_to_be_found(count: int) -> None:
    items = names(count)
    rng = random.Random(f'pair {count}')
    made = []
    for _ in range(101):
        pair = rng.sample(items, 2)
        world = World(items, [frozenset(pair)], weights={pair[0]: 1000.0}, thrifty=True)
        assert world.found().complete
        made.append(world.probes)
    assert max(made) <= 5 + math.ceil(math.log2(count))


@pytest.mark.parametrize('count', [30, 64, 256])
def test_evidence_that_guesses_the_partner_too_leaves_little_more_than_the_certificate(count: int) -> None:
    items = names(count)
    rng = random.Random(f'guessed {count}')
    for _ in range(101):
        pair = rng.sample(items, 2)
        world = World(items, [frozenset(pair)], weights={pair[0]: 1000.0, pair[1]: 200.0}, parallel=2, thrifty=True)
        assert world.found().complete
        assert world.probes <= 6


@pytest.mark.parametrize('count', [30, 64, 256])
def test_and_a_wrong_guess_at_the_partner_costs_little(count: int) -> None:
    items = names(count)
    rng = random.Random(f'guessed wrong {count}')
    for _ in range(101):
        first, second, other = rng.sample(items, 3)
        world = World(items, [frozenset([first, second])], weights={first: 1000.0, other: 200.0}, thrifty=True)
        assert world.found().complete
        assert world.probes <= 7 + math.ceil(math.log2(count))
        alone = World(items, [frozenset([first])], weights={first: 1000.0, other: 200.0}, parallel=2)
        assert alone.found().complete
        assert alone.probes == 2


@pytest.mark.parametrize('parallel', [1, 2])
@pytest.mark.parametrize('count', [30, 64, 256])
def test_whoever_knows_the_partner_of_the_named_one_leaves_the_certificate(count: int, parallel: int) -> None:
    items = names(count)
    rng = random.Random(f'known {count}')
    for _ in range(101):
        first, second, *others = rng.sample(items, 8)
        world = World(items, [frozenset([first, second])], weights={first: 1000.0}, parallel=parallel, thrifty=True)
        world.partners = {first: {second: 600.0, **dict.fromkeys(others, 20.0)}}
        assert world.found().complete
        assert world.probes == 5
        assert world.advised == [first]


@pytest.mark.parametrize('parallel', [1, 2])
@pytest.mark.parametrize('count', [30, 64, 256])
def test_who_is_no_partner_costs_two_probes_at_most(count: int, parallel: int) -> None:
    items = names(count)
    rng = random.Random(f'no partner {count}')
    for _ in range(51):
        first, second, other = rng.sample(items, 3)
        world = World(items, [frozenset([first, second])], weights={first: 1000.0}, parallel=parallel, thrifty=True)
        world.partners = {first: {other: 600.0}}
        assert world.found().complete
        assert world.probes <= 5 + math.ceil(math.log2(count)) + 2


def test_the_partner_of_one_that_was_found_without_evidence_is_asked_for_too() -> None:
    items = names(64)
    rng = random.Random('found')
    for _ in range(51):
        first, second = rng.sample(items, 2)
        world = World(items, [frozenset([first, second])], thrifty=True)
        world.partners = {first: {second: 600.0}, second: {first: 600.0}}
        assert world.found().complete
        assert world.probes <= 6 + 6


def test_nobody_is_asked_about_one_that_fails_alone_or_makes_no_difference() -> None:
    items = names(32)
    for named, culprit in (('p004', 'p004'), ('p004', 'p020')):
        world = World(items, [frozenset([culprit])], weights={named: 1000.0}, parallel=2, thrifty=True)
        assert world.found().complete
        assert world.advised == []


@pytest.mark.parametrize('count', [16, 64, 256])
def test_evidence_that_names_the_culprit_leaves_two_probes(count: int) -> None:
    items = names(count)
    for weight in (10.0, 50.0, 1000.0):
        world = World(items, [frozenset([items[count // 2]])], weights={items[count // 2]: weight})
        assert world.found().complete
        assert [len(q.on) for q in world.asked] == [1, count - 1]


def test_with_two_probes_at_once_evidence_that_names_the_culprit_is_proven_in_one_round() -> None:
    items = names(64)
    for culprit in items[::9]:
        world = World(items, [frozenset([culprit])], weights={culprit: 1000.0}, parallel=2)
        assert world.found().complete
        assert (world.rounds, world.probes) == (1, 2)


def test_and_wrong_evidence_costs_one_probe_more() -> None:
    items = names(64)
    for culprit in items[1:]:
        world = World(items, [frozenset([culprit])], weights={items[0]: 100.0}, parallel=2)
        assert world.found().complete
        assert world.probes <= 11


def test_wrong_evidence_costs_little() -> None:
    items = names(64)
    for culprit in items[1:]:
        world = World(items, [frozenset([culprit])], weights={items[0]: 100.0})
        assert world.found().complete
        assert world.probes <= 10


def test_parallel_probes_take_few_rounds() -> None:
    rng = random.Random('rounds')
    rounds = []
    for _ in range(40):
        world = World(names(64), draw_structure('a', 64, rng), parallel=8)
        assert world.found().complete
        rounds.append(world.rounds)
    assert max(rounds) <= 4


def test_certificate_queries_go_out_together_when_probes_are_parallel() -> None:
    items = names(32)
    world = World(items, [frozenset([items[3], items[20]])], parallel=4)
    batches: list[list[bool]] = []

    def oracle(queries):  # type: ignore[no-untyped-def]
        batches.append([q.confirm for q in queries])
        return world.oracle(queries)

    finding = search(world.problem, oracle, known=world.known)
    assert finding.complete
    assert len([b for b in batches if sum(b) > 1]) == 1
    assert all(batches[-1])


def test_many_fixes_are_capped_and_said_to_be() -> None:
    items = names(14)
    world = World(items, [frozenset(items[i:i + 2]) for i in range(0, 14, 2)])
    finding = world.found()
    assert_honest(world, finding)
    assert len(finding.conflicts) == 7
    assert len(finding.fixes) == 64
    assert not finding.complete
    assert 'fixes were verified' in finding.unresolved


def test_the_cheapest_fix_comes_first() -> None:
    items = names(8)
    world = World(items, [frozenset(items[:2]), frozenset([items[1], items[5]])], weights={items[5]: 9.0})
    assert world.found().fixes == (('p001',), ('p000', 'p005'))


def test_the_estimate_covers_one_culprit() -> None:
    for count in (1, 2, 5, 16, 100):
        items = names(count)
        for culprit in items:
            world = World(items, [frozenset([culprit])])
            world.found()
            assert world.probes <= probes_left(Problem(items))
