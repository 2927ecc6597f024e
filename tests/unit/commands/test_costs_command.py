"""What one request costs each plugin, and that the site is put back whatever comes of it."""

from __future__ import annotations

import pytest

from fixtures.site import FakeProber
from fixtures.site import FakeSite
from fixtures.site import fails_with
from wpaudit.commands.costs import LOOKS
from wpaudit.commands.costs import Wish
from wpaudit.commands.costs import measured
from wpaudit.domain import Answer
from wpaudit.domain import Cost
from wpaudit.domain import Gap
from wpaudit.domain import Mode
from wpaudit.domain import Outcome
from wpaudit.domain import Recording
from wpaudit.domain import Request
from wpaudit.errors import NotRestored
from wpaudit.errors import UsageError
from wpaudit.facts import Look
from wpaudit.facts import Purpose
from wpaudit.ports import Silence

PAGE = Request('http://site.test/?wpaudit=x')
COST = Cost('a', ('a/a.php',), seconds=1.5)


def site(**more: object) -> FakeSite:
    return FakeSite.of('a/a.php', 'b/b.php', **{'failing': fails_with(), 'recording': Recording(costs=(COST,)), **more})  # type: ignore[arg-type]


def costs(on: FakeSite) -> tuple[tuple[Cost, ...], tuple[Gap, ...]]:
    found = measured(on, Wish(PAGE, FakeProber(on), seconds=30), Silence())
    assert found.looks == ()
    return found.costs, found.gaps


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


# -- looks of a user ----------------------------------------------------------------------------------

def look(request: Request) -> Look:
    return Look(Purpose.LOGGED_IN, Answer(request.url, status=502), 0.0)


def test_a_user_looks_twice_with_everything_on_and_the_site_is_put_back() -> None:
    on = site()
    found = measured(on, Wish(PAGE, user='admin', look=look), Silence())
    assert [one.answer.url for one in found.looks] == [PAGE.url] * LOOKS
    assert (found.costs, found.gaps) == ((), ())
    assert on.switches == [frozenset()] * LOOKS
    assert on.restored == 1


def test_costs_and_a_user_in_one_go() -> None:
    on = site()
    found = measured(on, Wish(PAGE, FakeProber(on), 'admin', look), Silence())
    assert (found.costs, len(found.looks), on.restored) == ((COST,), LOOKS, 1)


def test_a_user_who_does_not_exist_is_usage() -> None:
    on = site()
    with pytest.raises(UsageError, match='no user'):
        measured(on, Wish(PAGE, user='nobody', look=look), Silence())
    assert on.restored == 0
