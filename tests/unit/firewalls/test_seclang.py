"""The reader of SecLang: what the two engines agree on, where they differ, and that nothing of a text gets lost."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from wpaudit.firewalls.modsecurity.harness import harness
from wpaudit.firewalls.modsecurity.rules import Located
from wpaudit.firewalls.modsecurity.rules import Ruleset
from wpaudit.firewalls.modsecurity.rules import actions_of
from wpaudit.firewalls.modsecurity.rules import ruleset
from wpaudit.firewalls.modsecurity.seclang import Engine
from wpaudit.firewalls.modsecurity.seclang import pieces
from wpaudit.firewalls.modsecurity.suspicion import standing
from wpaudit.firewalls.modsecurity.suspicion import suspects

V2, V3 = Engine
BOTH = pytest.mark.parametrize('engine', list(Engine))


def read(text: str, engine: Engine = V3) -> Ruleset:
    """Read one file."""
    return ruleset([Located('f', one) for one in pieces(text, engine)], engine)


def ids(text: str, engine: Engine) -> list[int]:
    """Return the ids of a file's rules."""
    return [rule.id for rule in read(text, engine).rules]


# -- pieces -------------------------------------------------------------------------------------------

@BOTH
def test_a_directive_is_one_piece_with_its_lines(engine: Engine) -> None:
    text = '# comment\n\nSecRule ARGS \\\n    "@rx \\"x\\d" \\\r\n    "id:1,\\\n    deny"\nSecMarker END'
    found = pieces(text, engine)
    assert [(one.first, one.last, one.words) for one in found] == [
        (1, 1, ()), (2, 2, ()), (3, 6, ('SecRule', 'ARGS', '@rx "x\\d', 'id:1,    deny')), (7, 7, ('SecMarker', 'END')),
    ]
    assert ''.join(one.raw for one in found) == text


@BOTH
@pytest.mark.parametrize(('text', 'words'), [
    ('SecRule ARGS "x""id:1"', ('SecRule', 'ARGS', 'x', 'id:1')),
    ('  secrule\tARGS\t"x y"  "id:1"  ', ('secrule', 'ARGS', 'x y', 'id:1')),
    ("SecAction 'id:1, pass'", ('SecAction', 'id:1, pass')),
    (r'SecRule ARGS "a\\" "id:1"', ('SecRule', 'ARGS', 'a\\', 'id:1')),
    ('SecRule ARGS:a"b x id:1', ('SecRule', 'ARGS:a"b', 'x', 'id:1')),
    ('SecAction ""', ('SecAction', '')),
    ('SecRule ARGS "caf\udce9\xa0\u2028" "id:1"', ('SecRule', 'ARGS', 'caf\udce9\xa0\u2028', 'id:1')),
    ('Include /a\\ b', ('Include', '/a\\', 'b')),
])
def test_words(engine: Engine, text: str, words: tuple[str, ...]) -> None:
    (piece,) = pieces(text, engine)
    assert piece.words == words
    assert not piece.broken


@pytest.mark.parametrize(('text', 'version_2', 'version_3'), [
    ('# comment \\\nSecAction "id:1,pass"\nSecAction "id:2,pass"\n', [2], [1, 2]),
    ('#SecRule A "x" \\\n  "id:1"\nSecAction "id:2,pass"\n', [2], [2]),
    ('# SecAction \\\n  "id:1"\nSecAction "id:2,pass"\n', [2], [2]),
    ('SecRule A "x\ny" "id:1,deny"\nSecAction "id:2,pass"\n', [0, 2], [1, 2]),
    ('SecRule A "x" "id:1,deny\nSecAction "id:2,pass"\n', [1, 2], [1, 2]),
    ('SecRule A "x" "id:1,deny,msg:\'a\nb\'"\nSecAction "id:2,pass"\n', [1, 2], [1, 2]),
])
def test_where_the_engines_differ(text: str, version_2: list[int], version_3: list[int]) -> None:
    assert ids(text, V2) == version_2
    assert ids(text, V3) == version_3
    for engine in Engine:
        assert ''.join(one.raw for one in pieces(text, engine)) == text


@BOTH
@pytest.mark.parametrize('text', [
    'SecRule ARGS "x', 'SecRule ARGS "x" "id:1', "SecAction 'id:1,msg:'", 'SecRule "', '"', "'", 'SecRule ARGS "x\\',
    'SecRule A "x\n' * 50, '\\', '\\\n' * 50, 'SecRule ARGS "x" "id:1,msg:\'' + '\n' * 50,
])
def test_quotes_that_do_not_end_are_no_exception(engine: Engine, text: str) -> None:
    found = pieces(text, engine)
    assert ''.join(one.raw for one in found) == text
    read(text, engine)


@BOTH
@pytest.mark.parametrize('text', [
    'SecRule A "x\n' * 30_000, '\\\n' * 100_000, '"\'' * 300_000, 'SecRule A "' + '\\"' * 300_000,
    'SecAction "id:1,' + 'a:\'b' * 200_000, '\n' * 300_000, 'SecRule ' + 'x ' * 300_000, '\'\n"\n' * 100_000,
    'SecRule A "x" "chain,id:1"\n' * 30_000,
])
def test_hostile_texts_take_time_like_their_length(engine: Engine, text: str) -> None:
    started = time.process_time()
    read(text, engine)
    assert time.process_time() - started < 30  # minutes and more where something is quadratic


# -- rules --------------------------------------------------------------------------------------------

def test_a_rule_in_full() -> None:
    (rule,) = read('SecRule ARGS|!ARGS:x "@rx a,b:c" "ID:\'4711\' , phase:request,block, t:none,'
                   "msg:'It\\'s, a: trap',severity:'CRITICAL',tag:'a',tag:'b/c',status:502,setvar:'tx.x=+%{tx.y}'\""
                   ).rules
    assert (rule.id, rule.phase, rule.action, rule.status) == (4711, 2, 'block', 502)
    assert (rule.msg, rule.severity, rule.tags) == ("It's, a: trap", 'CRITICAL', ('a', 'b/c'))
    assert (rule.path, rule.first, rule.last) == ('f', 1, 1)


@BOTH
def test_a_chain_is_one_rule(engine: Engine) -> None:
    text = (
        'SecRule A "1" "id:7,deny,chain"\n# between\n\nSecRule B "2" "chain"\n SecRule C "3" \\\n  "t:none"\n'
        'SecRule D "4" "id:8,pass"'
    )
    first, second = read(text, engine).rules
    assert (first.id, first.first, first.last, first.chained, first.action) == (7, 1, 6, 2, 'deny')
    assert (second.id, second.first, second.last, second.chained) == (8, 7, 7, 0)


@pytest.mark.parametrize('number', ['', 'x', '-1', '0', '99999999999999999999', '2147483648', '1 2', '٣', '1.5'])
def test_what_is_no_id(number: str) -> None:
    (rule,) = read(f'SecRule A "x" "id:{number},deny"').rules
    assert rule.id == 0
    assert not standing(rule, read('')).suspect


@given(st.text(alphabet='ab:,\'"\\ \n', max_size=60))
def test_actions_are_taken_apart_without_exceptions(text: str) -> None:
    for name, _value in actions_of(text):
        assert name == name.strip().lower()


# -- suspects -----------------------------------------------------------------------------------------

@pytest.mark.parametrize(('rule', 'suspect', 'reason'), [
    ('SecRule A "x" "id:1,deny"', True, 'says deny'),
    ('SecRule A "x" "id:1,BLOCK"', True, 'says block'),
    ('SecRule A "x" "id:1,drop"', True, 'says drop'),
    ('SecRule A "x" "id:1,redirect:/x"', True, 'says redirect'),
    ('SecRule A "x" "id:1,proxy:http://x/"', True, 'says proxy'),
    ('SecRule A "x" "id:1,pass,deny"', True, 'says deny'),
    ('SecRule A "x" "id:1,deny,pass"', False, 'says pass'),
    ('SecRule A "x" "id:1,allow"', False, 'says allow'),
    ('SecAction "id:1,pass"', False, 'says pass'),
    ('SecRule A "x" "deny"', False, 'has no id, so nothing can switch it'),
    ('SecRule A "x" "id:949110,deny"', False, 'adds up what other rules of the Core Rule Set have found'),
    ('SecRule A "x" "id:901100,deny"', False, 'adds up what other rules of the Core Rule Set have found'),
    ('SecRule A "x" "id:950100,block"', True, 'says block'),
    ('SecRule A "x" "id:1,deny"\nSecRuleRemoveById 1', False, 'is taken out by SecRuleRemoveById'),
    ('SecRule A "x" "id:5,deny"\nSecRuleRemoveById "3 4-6"', False, 'is taken out by SecRuleRemoveById'),
    ('SecRule A "x" "id:7,deny"\nSecRuleRemoveById "3 4-6"', True, 'says deny'),
    ('SecRule A "x" "id:1,pass"\nSecRuleUpdateActionById 1 "deny,status:502"', True, 'says deny'),
])
def test_which_rules_are_suspects(rule: str, suspect: bool, reason: str) -> None:
    for engine in Engine:
        found = read(rule, engine)
        judged = standing(found.rules[0], found)
        assert (judged.suspect, judged.reason) == (suspect, reason)


def test_only_version_2_inherits_the_default_action() -> None:
    text = 'SecDefaultAction "phase:1,deny,status:502"\nSecRule A "x" "id:1,phase:1"\nSecRule A "x" "id:2,phase:2"\n'
    assert [rule.id for rule in suspects(read(text, V2))] == [1]
    assert suspects(read(text, V3)) == ()


def test_a_rule_is_taken_out_behind_it_in_version_2_and_anywhere_in_3() -> None:
    text = 'SecRuleRemoveById 1\nSecRule A "x" "id:1,deny"\n'
    assert read(text, V2).removed == frozenset()
    assert read(text, V3).removed == {1}
    assert read(text, V3).removals == ((1, 1),)


# -- any file -----------------------------------------------------------------------------------------

# All that a harness may say: nothing in it but numbers comes from a file.
HARNESS_LINE = re.compile(
    r'SecRule (?:TIME_EPOCH "@ge \d+"|&?REQUEST_HEADERS:X-Wpaudit-(?:Rules|Off) "(?:!@eq 1|!@streq [0-9a-f]{40}'
    r'|!@rx \^\[,0-9\]\+\$|@contains ,\d+,)") "id:\d+,phase:1,t:none,pass,nolog,noauditlog,'
    r'(?:t:sha1,t:hexEncode,)?(?:skipAfter:WPAUDIT-END-\d+|ctl:ruleRemoveById=\d+)"|SecMarker WPAUDIT-END-\d+',
)
NOISE = st.text(alphabet=st.sampled_from('abc 0%{}()[]:;,.|!@#$&*é\x1b\udce9\t'), max_size=12)


@st.composite
def seclang(draw: st.DrawFn) -> tuple[str, list[tuple[int, int, int]]]:
    """A file as people write them, and the id, first and last line of each of its rules."""
    text = ''
    rules: list[tuple[int, int, int]] = []
    numbers = draw(st.lists(st.integers(1, 2**31 - 1), unique=True, max_size=8))
    for number in numbers:
        for _ in range(draw(st.integers(0, 2))):
            kinds = '\n', f'# {draw(NOISE)}x\n', f'SecMarker M{number}\n', 'SecRequestBodyAccess On\n', ' \t\n'
            text += draw(st.sampled_from(kinds))
        first = text.count('\n') + 1
        links = draw(st.integers(0, 2))
        for link in range(links + 1):
            gap = draw(st.sampled_from([' ', '\t', ' \\\n    ', '\\\r\n ', '  ']))
            operator = draw(NOISE).replace('#', '') + draw(st.sampled_from(['', '\\"', "'", '\\d']))
            actions = [f'id:{number}'] if not link else []
            actions += draw(st.permutations(['deny', f"msg:'{draw(NOISE)}\\''", 't:none', "tag:'x,y'", 'status:502']))
            actions += ['chain'] if link < links else []
            comma = draw(st.sampled_from([',', ', ', ',\\\n     ']))
            text += f'SecRule ARGS{gap}"@rx {operator}"{gap}"{comma.join(actions)}"\n'
        rules.append((number, first, text.count('\n')))
    return text, rules


@settings(max_examples=1000, deadline=None)
@given(seclang())
def test_any_file_keeps_its_bytes_its_rules_and_their_lines(case: tuple[str, list[tuple[int, int, int]]]) -> None:
    text, rules = case
    for engine in Engine:
        found = pieces(text, engine)
        assert ''.join(one.raw for one in found) == text
        assert [one.first for one in found] == [1, *(one.last + 1 for one in found[:-1])][:len(found)]
        assert not any(one.broken for one in found)
        inside = ruleset([Located('f', one) for one in found], engine)
        assert [(rule.id, rule.first, rule.last) for rule in inside.rules] == rules
        wanted = suspects(inside)
        written = harness([rule.id for rule in wanted], '0' * 32, 1_800_000_000, first_id=2**31 - 100)
        assert all(HARNESS_LINE.fullmatch(line) for line in written.splitlines())


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet='SecRule Id:1,\'"\\\n\r# <>deny', max_size=300))
def test_any_text_is_taken_apart_and_joins_again(text: str) -> None:
    for engine in Engine:
        assert ''.join(one.raw for one in pieces(text, engine)) == text
        read(text, engine)
