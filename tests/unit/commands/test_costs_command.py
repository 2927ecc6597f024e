"""What one request costs each plugin, and that the site is put back whatever comes of it."""

from __future__ import annotations

import pytest

from fixtures.site import FakeProber
from fixtures.site import FakeSite
from fixtures.site import fails_with
from wpaudit.commands.costs import measured
from wpaudit.domain import Cost
from wpaudit.domain import Gap
from wpaudit.domain import Mode
from wpaudit.domain import Outcome
from wpaudit.domain import Recording
from wpaudit.errors import NotRestored
from wpaudit.ports import Silence

COST = Cost('a', ('a/a.php',), seconds=1.5)


def site(**more: object) -> FakeSite:
    return FakeSite.of('a/a.php', 'b/b.php', **{'failing': fails_with(), 'recording': Recording(costs=(COST,)), **more})  # type: ignore[arg-type]


def costs(on: FakeSite) -> tuple[tuple[Cost, ...], tuple[Gap, ...]]:
    return measured(on, FakeProber(on), Silence(), seconds=30)


def test_the_costs_of_one_passing_request() -> None:
    recorded = site()
    assert costs(recorded) == ((COST,), ())
    assert recorded.switches == [frozenset()]  # nothing is switched off for it
    assert recorded.restored == 1


def test_the_costs_of_a_failing_request_are_said_to_be_a_part() -> None:
    found, gaps = costs(site(failing=lambda on: Outcome.FAIL))
    assert found == (COST,)
    assert 'only up to the failure' in gaps[0].why


@pytest.mark.parametrize(('on', 'words'), [
    (site(recording=None), 'does not work on this host'),
    (site(recording=Recording()), 'nothing was recorded'),
    (site(modes=frozenset({Mode.LIVE})), 'not possible here'),
])
def test_no_costs_have_their_reason(on: FakeSite, words: str) -> None:
    found, gaps = costs(on)
    assert found == ()
    assert words in gaps[0].why


def test_a_site_that_is_not_verified_is_no_gap() -> None:
    with pytest.raises(NotRestored) as caught:
        costs(site(unverified='a row differs'))
    assert 'a row differs' in caught.value.message
