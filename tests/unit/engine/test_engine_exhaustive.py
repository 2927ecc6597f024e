"""Every monotone failure of a few suspects is named exactly."""

import pytest
from engine_worlds import NOTHING
from engine_worlds import World
from engine_worlds import antichains
from engine_worlds import assert_honest
from engine_worlds import assert_right
from engine_worlds import closure
from engine_worlds import names

from wpaudit.domain import Outcome

DEPENDENCIES = {
    'child of the first': {'p003': {'p000'}},
    'child before its parent': {'p000': {'p003'}},
    'chain': {'p003': {'p002'}, 'p002': {'p001'}},
    'shared parent': {'p001': {'p000'}, 'p002': {'p000'}, 'p003': {'p000'}},
    'two parents': {'p003': {'p000', 'p001'}},
    'cycle': {'p001': {'p002'}, 'p002': {'p001'}},
    'cycle with a child': {'p001': {'p002'}, 'p002': {'p001'}, 'p003': {'p002'}},
    'unknown id': {'p003': {'gone', 'p000'}},
}


@pytest.mark.parametrize('count', [1, 2, 3, 4])
@pytest.mark.parametrize('parallel', [1, 3, 8])
@pytest.mark.parametrize('thrifty', [False, True])
def test_every_monotone_failure(count: int, parallel: int, thrifty: bool) -> None:
    items = names(count)
    for conflicts in antichains(items):
        world = World(items, conflicts, parallel=parallel, thrifty=thrifty)
        assert_right(world, world.found())


def test_every_monotone_failure_of_five() -> None:
    items = names(5)
    structures = list(antichains(items))
    assert len(structures) == 7579  # Dedekind number M(5) without the two constant functions
    for conflicts in structures[::5]:  # a fifth of them: all take 12 seconds
        world = World(items, conflicts)
        finding = world.found()
        assert finding.complete
        assert {frozenset(c) for c in finding.conflicts} == set(conflicts)


@pytest.mark.parametrize('kind', DEPENDENCIES)
@pytest.mark.parametrize(('parallel', 'thrifty'), [(1, False), (4, False), (1, True)])
def test_every_monotone_failure_with_declared_dependencies(kind: str, parallel: int, thrifty: bool) -> None:
    items = names(4)
    requires = {i: frozenset(needs) for i, needs in DEPENDENCIES[kind].items()}
    for conflicts in antichains(items):
        world = World(items, conflicts, requires=requires, parallel=parallel, thrifty=thrifty)
        assert_right(world, world.found())


@pytest.mark.parametrize('pinned', [{'p000'}, {'p003'}, {'p001', 'p002'}])
def test_every_monotone_failure_with_pinned_suspects(pinned: set[str]) -> None:
    items = names(4)
    requires = {'p001': frozenset({'p000'})}
    base = closure(frozenset(pinned), requires, items)
    for conflicts in antichains(items):
        if not any(c <= base for c in conflicts):
            world = World(items, conflicts, requires=requires, pinned=frozenset(pinned))
            finding = world.found()
            assert_right(world, finding)
            assert not any(base & set(c) for c in (*finding.conflicts, *finding.fixes))


@pytest.mark.parametrize(('kind', 'unmet'), [
    *((kind, Outcome.OTHER) for kind in DEPENDENCIES if 'cycle' not in kind), ('chain', Outcome.UNREACHED),
])
def test_every_monotone_failure_with_undeclared_dependencies_that_fail_differently(
    kind: str, unmet: Outcome,
) -> None:
    items = names(4)
    needs = {i: frozenset(n) & frozenset(items) for i, n in DEPENDENCIES[kind].items()}
    hidden = {i: [frozenset([one]) for one in sorted(n)] for i, n in needs.items()}
    for conflicts in antichains(items):
        world = World(items, conflicts, hidden=hidden, unmet=unmet)
        finding = world.found()
        assert_right(world, finding)
        for child, learned in finding.learned.items():
            assert learned <= closure(frozenset([child]), needs, items), conflicts


def test_every_interruption_of_every_monotone_failure_of_three() -> None:
    items = names(3)
    for conflicts in antichains(items):
        for stop in range(12):
            world = World(items, conflicts, fail_after=stop)
            search = world.search()
            try:
                search.run()
            except KeyboardInterrupt:
                finding = search.best()
                assert not finding.complete
                assert finding.unresolved
                assert_honest(world, finding)
                assert {frozenset(c) for c in finding.conflicts} <= set(conflicts)
                suspicion = frozenset(search.suspicion())
                assert not suspicion or any(suspicion & c for c in conflicts)
                assert search.probes_left() >= 0


def test_nothing_to_search() -> None:
    world = World((), [NOTHING])
    finding = world.found()
    assert not finding.complete
    assert finding.unresolved
