"""Lines of two layers in one file: each keeps its own, and the file keeps all of its."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wpaudit.errors import ModeUnavailable
from wpaudit.firewalls.serverconf import merged

LINES = st.lists(st.sampled_from(['a\n', 'b\n', '\n', 'caf\udce9\n', 'a b\r\n']), max_size=6)


@st.composite
def _texts(draw: st.DrawFn) -> tuple[list[str], list[str], list[str]]:
    """Return a file, and the same with lines of the first and of the second layer put in."""
    base = draw(LINES)
    found = []
    for mark in ('# one\n', '# other\n'):
        lines = []
        for line in [*base, '']:
            lines += [mark] * draw(st.integers(0, 2)) + [line]
        found.append(lines[:-1])
    return base, found[0], found[1]


@given(_texts())
def test_nothing_is_lost_and_nothing_changes_places(texts: tuple[list[str], list[str], list[str]]) -> None:
    base, one, other = (''.join(lines) for lines in texts)
    both = merged(base, one, other)
    assert both.replace('# one\n', '') == other
    assert both.replace('# other\n', '') == one
    assert merged(base, one, base) == one
    assert merged(base, base, other) == other


@pytest.mark.parametrize('current', ['', 'a\n', 'b\na\n', 'a\nB\n', 'a\nb'])
def test_what_has_lost_a_line_is_somebody_elses(current: str) -> None:
    with pytest.raises(ModeUnavailable, match='somebody changed'):
        merged('a\nb\n', 'a\n# one\nb\n', current)
