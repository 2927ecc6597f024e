"""What switching changes: whole lines before the first rule of every scope, and nothing of what was there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.firewalls.generated_seclang import generated
from wpaudit.domain import Request
from wpaudit.errors import ModeUnavailable
from wpaudit.firewalls.modsecurity.lines import Hit
from wpaudit.firewalls.modsecurity.planning import MOST_TARGETS
from wpaudit.firewalls.modsecurity.planning import Loaded
from wpaudit.firewalls.modsecurity.planning import exemptions
from wpaudit.firewalls.modsecurity.planning import fitting
from wpaudit.firewalls.modsecurity.planning import paths_of
from wpaudit.firewalls.modsecurity.planning import place_for
from wpaudit.firewalls.modsecurity.planning import planned
from wpaudit.firewalls.modsecurity.planning import planned_live
from wpaudit.firewalls.modsecurity.planning import with_lines
from wpaudit.firewalls.modsecurity.rules import RULE_DIRECTIVES
from wpaudit.firewalls.modsecurity.rules import Located
from wpaudit.firewalls.modsecurity.rules import ruleset
from wpaudit.firewalls.modsecurity.scopes import Configuration
from wpaudit.firewalls.modsecurity.scopes import Form
from wpaudit.firewalls.modsecurity.scopes import Place
from wpaudit.firewalls.modsecurity.scopes import Scope
from wpaudit.firewalls.modsecurity.scopes import found_in
from wpaudit.firewalls.modsecurity.seclang import Engine
from wpaudit.firewalls.modsecurity.seclang import pieces
from wpaudit.firewalls.reading import HostFile
from wpaudit.firewalls.reading import State

RULES = 'SecRuleEngine On\nSecRule ARGS:a "x" "id:7,deny"\nSecRule ARGS:b "x" "id:8,deny"'
EXPIRES = 1_900_000_000


def loaded(text: str = RULES, engine: Engine = Engine.V2, place: Place | None = None, **file: object) -> Loaded:
    """Return a site with one scope whose rules stand in one file."""
    own = tuple(Located('/etc/waf.conf', one) for one in pieces(text, engine) if one.words)
    first = next((one.piece.first for one in own if one.piece.name in RULE_DIRECTIVES), 1)
    where = place or Place('/etc/waf.conf', 1 if engine is Engine.V3 else first)
    host_file = replace(HostFile(where.path, State.FILE, text.encode('utf-8', 'surrogateescape'),
                                 real='/real/waf.conf'), **file)  # type: ignore[arg-type]
    configuration = Configuration(engine, '/etc/main.conf', (Scope(own=own, places=(where,)),), {where.path: host_file})
    return Loaded(((configuration, {0: found_in(configuration, 0)}),))


def hit(rule: int, variable: str) -> Hit:
    return Hit(rule, '/etc/waf.conf', 2, variable=variable)


@pytest.mark.parametrize('engine', list(Engine))
def test_a_thousand_files_keep_their_bytes_and_their_rules(engine: Engine) -> None:
    changed = 0
    for seed in range(1000):
        text = generated(seed)
        listed = ruleset([Located('f', one) for one in pieces(text, engine)], engine)
        plan = planned(loaded(text, engine), (), expires=EXPIRES)
        [edit] = plan.change.edits
        [added] = plan.change.additions
        line = f'Include {added.path}\n'
        assert edit.old == text
        assert edit.new.count(line) == 1
        before, _, behind = edit.new.partition(line)
        assert before + behind == text
        assert not any(one.name in RULE_DIRECTIVES for one in pieces(before, engine))
        again = ruleset([Located('f', one) for one in pieces(edit.new, engine)], engine)
        assert [replace(one, first=0, last=0) for one in again.rules] == [
            replace(one, first=0, last=0) for one in listed.rules]
        ours = ruleset([Located('h', one) for one in pieces(added.text, engine)], engine).rules
        assert not {one.id for one in ours} & {one.id for one in listed.rules}
        changed += len(listed.rules)
    assert changed > 3000  # the generator is worth its name


@given(st.text(alphabet='ab\n\r\\"'), st.dictionaries(st.integers(1, 9), st.just(['+ + +\n']), max_size=3))
def test_lines_are_put_between_lines(text: str, added: dict[int, Sequence[str]]) -> None:
    done = with_lines(text, added)
    assert done.count('+ + +\n') == len(added)
    rest = done.replace('+ + +\n', '')
    assert rest in {text, f'{text}\n'}  # at the end of a file that ends within a line
    assert all(one in ('', '+ + +') or '+' not in one for one in done.split('\n'))


def test_an_unreadable_file_or_a_shared_line_is_refused() -> None:
    for strange in (
        loaded(state=State.UNREADABLE), loaded(cut=True), loaded(real=''),
        loaded(place=Place('/etc/waf conf', 1), real='/etc/waf dir/x.conf'),
    ):
        with pytest.raises(ModeUnavailable):
            planned(strange, (), expires=EXPIRES)
    inline = Place('/etc/nginx.conf', 2, Form.NGINX)
    text = "location / {\n{0} modsecurity_rules 'SecRule ARGS:a x id:7';\n}\n"
    shared = loaded(text.replace('{0}', 'x on;'), Engine.V3, inline)
    with pytest.raises(ModeUnavailable, match='shares its line'):
        planned(shared, (), expires=EXPIRES)
    [edit] = planned(loaded(text.replace('{0}', '  '), Engine.V3, inline), (), expires=EXPIRES).change.edits
    assert edit.new.split('\n')[1].startswith('modsecurity_rules_file /real/.wpaudit-')


def test_what_matched_gets_an_exemption_of_its_own() -> None:
    site = loaded()
    hits = [hit(7, 'ARGS:a'), hit(7, 'ARGS:a'), hit(7, 'REQUEST_BODY'), hit(9, 'ARGS:c')]
    plan = planned(site, hits, expires=EXPIRES)
    [target] = plan.targets
    assert (target.rule, target.variable) == (7, 'ARGS:a')
    assert f',{target.number}," ' in plan.change.additions[0].text
    found = exemptions(plan, site, frozenset({'7', '8'}), ['/a', '/b'])
    assert [(one.id, one.rule) for one in found] == [(str(target.number), '7'), ('7', '7'), ('8', '8')]
    assert 'ARGS:a in requests to /a; rule 7 no longer looks at ARGS:a in requests to /b' in found[0].effect
    assert len(found[0].lines) == 2
    assert all(line.startswith('in /etc/waf.conf, before line 2: SecRule') for one in found for line in one.lines)
    own = [line.partition('"id:')[2].partition(',')[0] for one in found for line in one.lines]
    assert len(set(own)) == len(own)
    assert not {'7', '8', str(target.number)} & set(own)


@pytest.mark.parametrize('engine', list(Engine))
def test_an_exemption_stands_in_the_scope_of_its_rule(engine: Engine) -> None:
    """What is put around it would be for other sites too."""
    outer = tuple(Located('/main', one) for one in pieces('SecRuleEngine On\nSecRule A "x" "id:1,deny"', engine))
    inner = tuple(Located('/site', one) for one in pieces('SecRule A "x" "id:2,deny"', engine))
    deeper = tuple(Located('/site', one) for one in pieces('SecRule A "x" "id:3,deny"', engine, first=9))
    scopes = (Scope(own=outer, places=(Place('/main', 2),)), Scope(0, inner, places=(Place('/site', 1),)),
              Scope(1, deeper))
    configuration = Configuration(engine, '/m', scopes)
    site = Loaded(((configuration, {index: found_in(configuration, index) for index in range(3)}),))
    assert [place_for(site, rule) for rule in (1, 2, 3, 4)] == [
        'in /main, before line 2:', 'in /site, before line 1:', 'in /site, before line 1:', 'before the rule:']


def test_what_cannot_be_written_is_not_offered() -> None:
    site = loaded()
    plan = planned(site, [hit(7, 'ARGS:a')], expires=EXPIRES)
    assert exemptions(plan, site, frozenset({'7'}), ['/a', '/with space']) == ()
    assert exemptions(plan, site, frozenset(), ['/a']) == ()
    many = planned(site, [hit(7, f'ARGS:a{number}') for number in range(99)], expires=EXPIRES)
    assert len(many.targets) == MOST_TARGETS


def test_live_lines_stand_behind_the_rules() -> None:
    change = planned_live(loaded())
    [edit] = change.edits
    assert edit.new == f'{RULES}\nInclude {change.additions[0].path}\n'


def test_no_more_rules_than_a_header_takes() -> None:
    kept = fitting(range(100_000, 110_000))
    assert max(kept) == 100_000 + len(kept) - 1
    assert 900 < len(kept) < 1100


def test_paths_without_queries() -> None:
    urls = ('http://x.test', 'http://x.test/?a=1', 'http://x.test/b')
    assert paths_of([Request(url) for url in urls]) == ('/', '/b')
