"""The texts that wpaudit writes for ModSecurity: the harness, the line that includes it, exceptions to paste."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wpaudit.firewalls.modsecurity.exceptions import Stands
from wpaudit.firewalls.modsecurity.exceptions import remedies
from wpaudit.firewalls.modsecurity.harness import FIRST_ID
from wpaudit.firewalls.modsecurity.harness import Headers
from wpaudit.firewalls.modsecurity.harness import free_ids
from wpaudit.firewalls.modsecurity.harness import harness
from wpaudit.firewalls.modsecurity.harness import ids_needed
from wpaudit.firewalls.modsecurity.harness import request_headers
from wpaudit.firewalls.modsecurity.rules import LARGEST_ID
from wpaudit.firewalls.modsecurity.rules import Located
from wpaudit.firewalls.modsecurity.rules import ruleset
from wpaudit.firewalls.modsecurity.scopes import Form
from wpaudit.firewalls.modsecurity.scopes import Place
from wpaudit.firewalls.modsecurity.seclang import Engine
from wpaudit.firewalls.modsecurity.seclang import pieces

WORD = '0123456789abcdef' * 2
EXPECTED = """\
SecRule TIME_EPOCH "@ge 1800000000" "id:9700000,phase:1,t:none,pass,nolog,noauditlog,skipAfter:WPAUDIT-END-9700000"
SecRule &REQUEST_HEADERS:X-Wpaudit-Rules "!@eq 1" \
"id:9700001,phase:1,t:none,pass,nolog,noauditlog,skipAfter:WPAUDIT-END-9700000"
SecRule &REQUEST_HEADERS:X-Wpaudit-Off "!@eq 1" \
"id:9700002,phase:1,t:none,pass,nolog,noauditlog,skipAfter:WPAUDIT-END-9700000"
SecRule REQUEST_HEADERS:X-Wpaudit-Rules "!@streq b1775a785f09a6ebaf2dc33d6eaeb98974d9cdb8" \
"id:9700003,phase:1,t:none,pass,nolog,noauditlog,t:sha1,t:hexEncode,skipAfter:WPAUDIT-END-9700000"
SecRule REQUEST_HEADERS:X-Wpaudit-Off "!@rx ^[,0-9]+$" \
"id:9700004,phase:1,t:none,pass,nolog,noauditlog,skipAfter:WPAUDIT-END-9700000"
SecRule REQUEST_HEADERS:X-Wpaudit-Off "@contains ,942100," \
"id:9700005,phase:1,t:none,pass,nolog,noauditlog,ctl:ruleRemoveById=942100"
SecRule REQUEST_HEADERS:X-Wpaudit-Off "@contains ,7," \
"id:9700006,phase:1,t:none,pass,nolog,noauditlog,ctl:ruleRemoveById=7"
SecMarker WPAUDIT-END-9700000
"""


def test_the_harness() -> None:
    assert harness([942100, 7], WORD, 1_800_000_000) == EXPECTED


def test_the_word_is_not_in_it() -> None:
    assert WORD not in harness([1], WORD, 1_800_000_000)


def test_its_rules_are_as_many_as_it_takes_ids_and_none_is_a_suspect() -> None:
    for engine in Engine:
        text = harness([942100, 7], WORD, 1_800_000_000, first_id=500)
        rules = ruleset([Located('h', one) for one in pieces(text, engine)], engine).rules
        assert [rule.id for rule in rules] == list(range(500, 500 + ids_needed(2)))
        assert {(rule.action, rule.phase) for rule in rules} == {('pass', 1)}


@pytest.mark.parametrize('changed', [
    {'word': 'short'}, {'word': 'x' * 31}, {'word': 'x' * 129}, {'word': 'x' * 31 + '"'}, {'word': 'x' * 32 + '\n'},
    {'word': 'é' * 32}, {'expires': 0}, {'expires': -1}, {'expires': 1 << 40}, {'rules': [1, 1]}, {'rules': [0]},
    {'rules': [-5]}, {'rules': [LARGEST_ID + 1]}, {'first_id': 0}, {'first_id': LARGEST_ID},
    {'headers': Headers('A', 'A')}, {'headers': Headers('A', 'B C')}, {'headers': Headers('A:b', 'B')},
    {'headers': Headers('', 'B')}, {'headers': Headers('A\n', 'B')},
])
def test_what_a_harness_may_not_hold(changed: dict[str, object]) -> None:
    values = {'rules': [1], 'word': WORD, 'expires': 1_800_000_000, **changed}
    with pytest.raises(ValueError, match=r'\w'):
        harness(**values)  # type: ignore[arg-type] # wrong on purpose


def test_the_headers_of_a_request() -> None:
    assert request_headers([942100, 7], WORD) == (('X-Wpaudit-Rules', WORD), ('X-Wpaudit-Off', ',942100,7,'))
    assert request_headers([], WORD)[1] == ('X-Wpaudit-Off', ',')


# -- free ids -----------------------------------------------------------------------------------------

NUMBERS = st.one_of(st.integers(1, LARGEST_ID), st.integers(FIRST_ID - 50, FIRST_ID + 50))


@given(
    st.integers(0, 300), st.sets(NUMBERS, max_size=30),
    st.lists(st.tuples(NUMBERS, st.integers(0, 1000)).map(lambda pair: (pair[0], pair[0] + pair[1])), max_size=10),
)
def test_free_ids_collide_with_nothing(count: int, taken: set[int], ranges: list[tuple[int, int]]) -> None:
    first = free_ids(count, taken, ranges)
    own = set(range(first, first + ids_needed(count)))
    assert not own & taken
    assert not any(low <= one <= high for low, high in ranges for one in (first, first + ids_needed(count) - 1))
    assert not any(first <= low <= first + ids_needed(count) - 1 for low, _high in ranges)
    assert first >= FIRST_ID


def test_no_ids_are_left() -> None:
    with pytest.raises(ValueError, match='no ids'):
        free_ids(1, (), [(1, LARGEST_ID)])


# -- the line that includes it ------------------------------------------------------------------------

def test_the_line_that_includes_it() -> None:
    assert Place('/r.conf', 1).text('/run/h-1.conf') == 'Include /run/h-1.conf\n'
    assert Place('/nginx.conf', 9, Form.NGINX).text('/run/h.conf') == 'modsecurity_rules_file /run/h.conf;\n'
    for path in ('h.conf', '/run/my files/h.conf', '/run/h;.conf', '/run/h".conf', '/run/*.conf', '/run/$x', '/a\nb'):
        with pytest.raises(ValueError, match='no server'):
            Place('/r.conf', 1).text(path)


# -- exceptions ---------------------------------------------------------------------------------------

def test_exceptions_from_narrow_to_wide() -> None:
    found = remedies(942100, path='/wp-admin/post.php', variable='ARGS:content', own_id=10_001)
    assert [(one.text, one.stands) for one in found] == [
        ('SecRule REQUEST_FILENAME "@streq /wp-admin/post.php" '
         '"id:10001,phase:1,t:none,pass,nolog,ctl:ruleRemoveTargetById=942100;ARGS:content"', Stands.BEFORE),
        ('SecRule REQUEST_FILENAME "@streq /wp-admin/post.php" '
         '"id:10001,phase:1,t:none,pass,nolog,ctl:ruleRemoveById=942100"', Stands.BEFORE),
        ('SecRuleRemoveById 942100', Stands.AFTER),
    ]
    assert 'ARGS:content' in found[0].effect


@pytest.mark.parametrize(('path', 'variable', 'count'), [
    ('/', 'ARGS', 2), ('/', '', 2), ('/', 'ARGS:a b', 2), ('/', 'TX:anomaly_score', 2), ('/', 'ARGS:a"', 2),
    ('/', 'ARGS:a,deny', 2), ('/', 'ARGS:a\n', 2), ('/a b', 'ARGS:a', 1), ('/a"b', 'ARGS:a', 1), ('', 'ARGS:a', 1),
    ('/%{tx.a}', 'ARGS:a', 1), ('/a\\', 'ARGS:a', 1), ("/a'b", 'ARGS:a', 1), ('/' + 'a' * 2000, 'ARGS:a', 1),
])
def test_what_cannot_be_written_without_doubt_is_left_out(path: str, variable: str, count: int) -> None:
    assert len(remedies(1, path=path, variable=variable, own_id=2)) == count


def test_ids_out_of_range_are_refused() -> None:
    for rule, own in ((0, 1), (1, 0), (5, 5), (LARGEST_ID + 1, 1)):
        with pytest.raises(ValueError, match='range'):
            remedies(rule, path='/', variable='', own_id=own)
