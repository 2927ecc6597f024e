"""What the names in plugins' code are worth, and what a hostile host could send instead."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wpaudit.domain import Evidence
from wpaudit.errors import SiteError
from wpaudit.sites.said import Said
from wpaudit.sites.sources import MEANINGS
from wpaudit.sites.sources import SHOWN
from wpaudit.sites.sources import SOURCE
from wpaudit.sites.sources import Mention
from wpaudit.sites.sources import Place
from wpaudit.sites.sources import evidence
from wpaudit.sites.sources import mentions
from wpaudit.sites.sources import placed

SLIDER, POPUPS, SHOP = SUSPECTS = ('slider/slider.php', 'popups/popups.php', 'shop/shop.php')


def row(**more: object) -> dict[str, object]:
    return {'plugin': 1, 'name': 'POPUPS_VERSION', 'how': 'defines', 'near': 2, 'others': 1, **more}


def read(*rows: object) -> tuple[Mention, ...]:
    return mentions(Said({'rows': list(rows)}), SUSPECTS, SLIDER)


def mention(other: str = POPUPS, name: str = 'POPUPS_VERSION', how: str = 'defines', near: int = 2) -> Mention:
    return Mention(other, name, how, near, 1)


def test_a_name_where_it_failed_is_a_strong_reason() -> None:
    assert evidence(SLIDER, read(row())) == (
        Evidence(SOURCE, 'what failed in slider asks for POPUPS_VERSION, which popups defines', (POPUPS,), 600.0),)


@pytest.mark.parametrize(('near', 'reason'), [
    (2, 'what failed in slider names the file popups/popups.php'),
    (1, 'the file in which slider failed names the file popups/popups.php'),
    (0, 'the code of slider names the file popups/popups.php'),
])
def test_the_nearer_the_stronger(near: int, reason: str) -> None:
    [one] = evidence(SLIDER, [mention(name=POPUPS, how='file', near=near)])
    assert one.reason == reason
    assert one.weight == (40.0, 150.0, 600.0)[near]


def test_what_the_other_one_does_is_told_of_the_other_one() -> None:
    [one] = evidence(SLIDER, [mention(name='slider_show', how='asks')])
    assert one.reason == 'popups asks for slider_show of slider'
    [one] = evidence(SLIDER, [mention(name='Mobile_Detect', how='shares', near=0)])
    assert one.reason == 'slider and popups both define Mobile_Detect'


def test_names_that_others_have_too_are_worth_less() -> None:
    weights = [evidence(SLIDER, read(row(others=others)))[0].weight for others in (1, 2, 3)]
    assert weights == [600.0, 300.0, 200.0]
    assert read(row(others=4)) == ()


def test_the_best_reason_is_told_and_further_names_add_a_little() -> None:
    found = [mention(near=0), mention(name='popups_show', near=1), mention(SHOP, 'shop_price', near=2)]
    assert [(one.suspects, one.weight) for one in evidence(SLIDER, found)] == [((SHOP,), 600.0), ((POPUPS,), 165.0)]
    many = [mention(name=f'popups_{number}', near=1) for number in range(100)]
    assert evidence(SLIDER, many)[0].weight == 225.0


def test_only_a_few_plugins_are_told_of() -> None:
    found = [mention(f'p{number}/p.php', near=number % 3) for number in range(30)]
    told = evidence(SLIDER, found)
    assert len(told) == SHOWN
    assert {one.weight for one in told} == {600.0}


@pytest.mark.parametrize('strange', [
    {'plugin': -1}, {'plugin': 3}, {'plugin': 0}, {'plugin': 1.5e15}, {'how': 'said so'}, {'how': ''}, {'near': -1},
    {'near': 3}, {'others': 0}, {'others': -2}, {'name': ''}, {'name': '  '},
])
def test_rows_that_mean_nothing_are_left_out(strange: dict[str, object]) -> None:
    assert read(row(**strange)) == ()


@pytest.mark.parametrize('strange', [
    {'plugin': '1'}, {'plugin': True}, {'near': None}, {'others': math.inf}, {'name': 7}, {'how': ['defines']},
    {'near': 1e300},
])
def test_rows_of_the_wrong_kind_are_refused(strange: dict[str, object]) -> None:
    with pytest.raises(SiteError, match='wrong shape'):
        read(row(**strange))
    with pytest.raises(SiteError, match='wrong shape'):
        mentions(Said({'rows': strange}), SUSPECTS, SLIDER)


def test_names_are_made_printable_and_cut() -> None:
    [one] = evidence(SLIDER, read(row(name='\x1b[31mX\nfake line\u202e' + 'y' * 5000)))
    assert '\x1b' not in one.reason
    assert '\n' not in one.reason
    assert len(one.reason) < 160


ROWS = st.fixed_dictionaries({
    'plugin': st.integers(-2, 5) | st.none(), 'name': st.text() | st.integers(),
    'how': st.sampled_from([*MEANINGS, 'x']) | st.none(),
    'near': st.integers(-1, 4) | st.floats(), 'others': st.integers(-1, 9) | st.booleans(),
})


@given(st.lists(ROWS | st.none() | st.text(), max_size=5) | st.none())
def test_whatever_is_said_ends_in_bounded_hints_or_an_error(rows: object) -> None:
    try:
        found = mentions(Said({'rows': rows}), SUSPECTS, SLIDER)
    except SiteError:
        return
    for one in evidence(SLIDER, found):
        assert one.suspects[0] in SUSPECTS[1:]
        assert 1 <= one.weight <= 1000
        assert one.reason.isprintable()


@pytest.mark.parametrize(('text', 'place'), [
    ('acme/inc/a.php:10-20', Place('acme/inc/a.php', 10, 20)),
    ('acme/a.php:7', Place('acme/a.php', 7, 7)),
    ('a b/c:d.php:0-0', Place('a b/c:d.php', 0, 0)),
    ('', Place()), ('acme/a.php', Place()), (':3-4', Place()), ('a.php:99999999', Place()), ('a.php:-3', Place()),
])
def test_places(text: str, place: Place) -> None:
    assert placed(text) == place
