"""printable(): the only door from a host's bytes to a terminal."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wpaudit.report.printable import printable

ANY = st.text(st.characters(exclude_categories=()), max_size=200)


@pytest.mark.parametrize(('given_', 'shown'), [
    ('plain', 'plain'), ('Größe 寿司 ภาษา', 'Größe 寿司 ภาษา'), ('👩\u200d💻', '👩\u200d💻'),
    ('a\nb\tc\r', 'a\\nb\\tc\\r'), ('\x1b[31m', '\\x1b[31m'), ('\x1b]0;x\x07', '\\x1b]0;x\\x07'),
    ('\x9b31m\x7f', '\\x9b31m\\x7f'), ('\u202eabc\u2066', '\\u202eabc\\u2066'), ('\udcff\ud800', '\\xff\\ud800'),
    ('soft\xadhyphen\ufeff', 'soft\\xadhyphen\\ufeff'), ('\u2028', '\\u2028'), ('\U000e0041', '\\U000e0041'),
])
def test_examples(given_: str, shown: str) -> None:
    assert printable(given_) == shown


@given(ANY)
def test_nothing_harmful_is_left(text: str) -> None:
    shown = printable(text)
    shown.encode('utf-8')
    assert not [one for one in shown if unicodedata.category(one) in {'Cc', 'Cs', 'Zl', 'Zp'}]
    assert not set(shown) & set('\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f')


@given(ANY)
def test_idempotent(text: str) -> None:
    assert printable(printable(text)) == printable(text)


@given(ANY, st.integers(1, 50))
def test_bounded(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert len(shown) <= limit
    assert (shown == printable(text)) or shown.endswith('…')
