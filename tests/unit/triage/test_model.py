"""The model: probabilities, and what clues may and may not do to them."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wpaudit.facts import Category
from wpaudit.facts import Clue
from wpaudit.triage import model
from wpaudit.triage.model import UNKNOWN
from wpaudit.triage.model import counted
from wpaudit.triage.model import filled
from wpaudit.triage.model import probabilities
from wpaudit.triage.model import ranked
from wpaudit.triage.model import table

KINDS = sorted(table().ratios)
STRENGTHS = st.floats(0, 1)
CLUES = st.lists(st.builds(
    Clue, st.sampled_from(KINDS), st.just('test'), st.text(max_size=5), strength=STRENGTHS), max_size=12)
WORDS = (
    'pool-exhausted worker-timeout oom disk-full database-down rule-block ip-ban rate-limit dns tcp tls upstream-dns '
    'upstream-down socket-missing socket-refused socket-denied proxy-reset worker-crash header-too-big invalid-header '
    'truncated application-502 wordpress-fatal stale-cache cdn unknown')


def clue(kind: str, strength: float = 1.0, **names: str) -> Clue:
    return Clue(kind, 'test', f'because of {kind}', strength=strength, names=names)


def test_the_table_knows_the_kinds_of_the_report() -> None:
    assert set(table().kinds) == set(WORDS.split())
    assert {one.category for one in table().kinds.values()} == set(Category)
    for one in table().kinds.values():
        assert one.prior > 0
        assert one.sentence
        assert one.advice
        assert one.bisect in {'yes', 'no', 'plugin'}


def test_ratios_speak_of_causes_and_are_sane() -> None:
    for kind, row in table().ratios.items():
        assert set(row) <= set(table().kinds) - {UNKNOWN}, kind
        assert all(0 < ratio <= 1000 for ratio in row.values()), kind


def test_every_cause_can_be_named() -> None:
    for name in set(table().kinds) - {UNKNOWN}:
        assert any(row.get(name, 1.0) > 1 for row in table().ratios.values()), name


def test_unknown_wins_when_nothing_speaks() -> None:
    assert ranked(())[0].kind == UNKNOWN


def test_unknown_wins_when_everything_is_spoken_against() -> None:
    assert ranked([clue('origin-works'), clue('everywhere'), clue('arrived'), clue('cache-hides')])[0].kind == UNKNOWN


@given(CLUES)
def test_probabilities_are_such(clues: list[Clue]) -> None:
    found = probabilities(clues)
    assert all(0 <= one <= 1 for one in found.values())
    assert math.isclose(sum(found.values()), 1.0, abs_tol=1e-9)
    assert [one.kind for one in ranked(clues)] == sorted(found, key=lambda name: -found[name])


@given(CLUES, st.text(max_size=8))
def test_an_irrelevant_clue_changes_nothing(clues: list[Clue], kind: str) -> None:
    more = Clue(f'irrelevant {kind}', 'test', 'x')
    assert [(one.kind, one.probability) for one in ranked([*clues, more])] == [
        (one.kind, one.probability) for one in ranked(clues)]


@given(CLUES, st.sampled_from(KINDS), STRENGTHS)
def test_a_clue_never_makes_what_it_speaks_for_most_less_likely(clues: list[Clue], kind: str, strength: float) -> None:
    row = table().ratios[kind]
    before = probabilities(clues)
    after = probabilities([*clues, clue(kind, strength)])
    for name in [name for name, ratio in row.items() if ratio == max(row.values()) and ratio >= 1]:
        assert after[name] >= before[name] - 1e-9


@given(CLUES, st.sampled_from(KINDS))
def test_a_supporting_clue_raises_its_cause_over_every_one_it_does_not_name(clues: list[Clue], kind: str) -> None:
    before, after = probabilities(clues), probabilities([*clues, clue(kind)])
    silent = [name for name in before if name not in table().ratios[kind]]
    for name, ratio in table().ratios[kind].items():
        if ratio > 1:
            assert all(after[name] * before[other] >= after[other] * before[name] * (1 - 1e-9) for other in silent)


@given(CLUES)
def test_the_same_again_counts_once(clues: list[Clue]) -> None:
    assert probabilities([*clues, *clues]) == probabilities(clues)


def test_the_strongest_of_a_kind_counts() -> None:
    weak, strong = clue('too-big-header', 0.2), clue('too-big-header', 0.9)
    assert counted([weak, strong, weak]) == (strong,)


@pytest.mark.parametrize('strength', [math.nan, -1.0, 7.0, math.inf, -math.inf])
def test_odd_strengths_do_no_harm(strength: float) -> None:
    assert math.isclose(sum(probabilities([clue('segfault', strength)]).values()), 1.0)


def test_what_speaks_for_and_against_is_said() -> None:
    found = next(one for one in ranked([clue('max-children'), clue('pool-idle')]) if one.kind == 'pool-exhausted')
    assert (found.supports, found.contradicts) == (('because of max-children',), ('because of pool-idle',))


def test_a_plugin_that_is_named_makes_bisecting_worth_it() -> None:
    def helps(plugin: str) -> bool:
        slow = Clue('slow-frame', 'php-fpm', 'x', plugin)
        return model.cause('pool-exhausted', 1.0, [clue('max-children'), slow]).bisect_helps

    assert (helps('acme'), helps('')) == (True, False)


@pytest.mark.parametrize(('names', 'expected'), [
    ({}, 'a rule refuses'), ({'rule': '942100'}, 'a rule (942100) refuses'),
    ({'rule': '{rule}'}, 'a rule ({rule}) refuses'), ({'rule': 'x' * 999}, f'a rule ({"x" * 200}) refuses'),
])
def test_placeholders(names: dict[str, str], expected: str) -> None:
    assert filled('a rule{ as rule} refuses', names) == expected


def test_no_placeholder_is_left_over() -> None:
    for name in table().kinds:
        for clues in ([], [clue(kind, pool='p', limit='5', seconds='3 s', path='/x', rule='1') for kind in KINDS]):
            found = model.cause(name, 1.0, clues)
            assert not re.search(r'[{}]|  |\( ', found.sentence + found.advice)
