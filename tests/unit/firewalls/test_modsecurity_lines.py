"""Logs of ModSecurity -> rules. The recorded ones are one request for ``/?id=1'+OR+'1'='1`` on Debian's rules."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.firewalls import modsecurity
from wpaudit.firewalls.modsecurity.lines import MOST_HITS
from wpaudit.firewalls.modsecurity.lines import Hit
from wpaudit.firewalls.modsecurity.lines import hits
from wpaudit.firewalls.modsecurity.lines import known
from wpaudit.firewalls.modsecurity.rules import Rule

RECORDED = Path(modsecurity.__file__).parent / 'recorded'
SQLI = '/usr/share/modsecurity-crs/rules/REQUEST-942-APPLICATION-ATTACK-SQLI.conf'
RULE = Rule(942100, SQLI, 46, 66)


@pytest.mark.parametrize('name', sorted(path.name for path in RECORDED.iterdir()))
def test_recorded_logs(name: str) -> None:
    found = hits((RECORDED / name).read_text(encoding='utf-8').splitlines())
    variables = {hit.rule: hit.variable.upper() for hit in found}
    assert variables[942100] == 'ARGS:ID'
    assert variables[949110] == 'TX:ANOMALY_SCORE'
    assert {hit.rule for hit in found} <= {920350, 942100, 949110, 980130}
    assert any(hit.request for hit in found)
    assert {hit.path for hit in known(found, [RULE])} == {SQLI}
    if name != 'nginx-audit.json':
        assert {(hit.rule, hit.status) for hit in found if hit.denied} == {(949110, 403)}


def test_a_line_is_about_the_file_and_line_of_its_rule() -> None:
    line = 'x [file "/a.conf"] [line "7"] [id "5"] [msg ""]'
    assert hits([line, line]) == (Hit(5, '/a.conf', 7),)
    rule = Rule(5, '/a.conf', 6, 8)
    assert known(hits([line]), [Rule(4, '/a.conf', 6, 8), rule]) == (Hit(5, '/a.conf', 7),)
    for other in (Rule(4, '/a.conf', 6, 8), Rule(5, '/b.conf', 6, 8), Rule(5, '/a.conf', 8, 9)):
        assert known(hits([line]), [other]) == ()


@pytest.mark.parametrize('text', [
    "(Value: `[id \"1\"]' ) [file \"/a.conf\"] [line \"7\"] [id \"5\"]",
    '[file "/a.conf"] [line "7"] [id "5"] [data "[id "9"] [file "/x"] [id "3"]"]',
    '[file "/x"] [line "1"] [id "9"] [file "/a.conf"] [line "7"] [id "5"]',
])
def test_what_a_visitor_makes_look_like_a_rule_fits_no_loaded_one(text: str) -> None:
    assert known(hits([text]), [Rule(5, '/a.conf', 6, 8), Rule(9, '/a.conf', 20, 21)]) == (Hit(5, '/a.conf', 7),)


@pytest.mark.parametrize('line', [
    '', '{', '{}', '[]', '{"transaction": 5}', '{"transaction": {"messages": {}}}', '[id "1"]', '[id "x"]',
    '{"transaction": {"messages": [1, null, {"details": []}, {"details": {"ruleId": "x"}}]}}', '{"a":' * 20_000,
    '{"transaction": {"messages": [{"details": {"ruleId": "99999999999", "lineNumber": "1"}}]}}',
    '{"audit_data": {"messages": [1, {}, "no rule"]}}', '[file "/a"] [line "1"] [id "99999999999"]',
    '[file "/a"] [line "1"] [id "9999999999"]', '[file "/a"] [line "1"] [id "0"]', '{"transaction": NaN}',
])
def test_other_lines_say_nothing(line: str) -> None:
    assert hits([line]) == ()


def test_hostile_lines_are_bounded() -> None:
    started = time.process_time()
    many = ''.join(f'[file "/a"] [line "1"] [id "{number}"]' for number in range(1, 5000))
    assert len(hits([many] * 3)) == MOST_HITS
    for piece in ('[file "', '[file "\\', 'against variable `A', ' found within AA:', '[unique_id "', '"] [line "1'):
        hits([piece * 300_000])
    assert time.process_time() - started < 20  # hours where something is quadratic in the line


@given(st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(
            ['transaction', 'messages', 'details', 'ruleId', 'lineNumber', 'audit_data', 'unique_id', 'file']), inner,
        ),
    ), max_leaves=12,
))
def test_no_json_is_an_exception(value: object) -> None:
    hits([json.dumps({'transaction': value, 'audit_data': value})])
