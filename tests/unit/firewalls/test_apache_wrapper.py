"""Wrapping as text: nothing is lost, nothing is moved, and what cannot be wrapped is said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.firewalls.generated import generated
from fixtures.firewalls.live import able_live
from fixtures.firewalls.live import live_text
from fixtures.firewalls.visits import RULES
from fixtures.firewalls.visits import rule_text
from wpaudit.firewalls.apache.reader import read
from wpaudit.firewalls.apache.units import MOST
from wpaudit.firewalls.apache.units import TOO_MANY
from wpaudit.firewalls.apache.units import Key
from wpaudit.firewalls.apache.wrapper import BEGIN
from wpaudit.firewalls.apache.wrapper import Around
from wpaudit.firewalls.apache.wrapper import Wrapped
from wpaudit.firewalls.apache.wrapper import numbered
from wpaudit.firewalls.apache.wrapper import units
from wpaudit.firewalls.apache.wrapper import unwrapped
from wpaudit.firewalls.apache.wrapper import wrapped

KEY = Key('0123456789abcdef0123', '20991231235959')
SERVER = Around(server=True)


def all_of(text: str, around: Around | None = None) -> Wrapped:
    return wrapped(text, numbered(units(read(text))), KEY, around)


def refused(text: str, around: Around | None = None) -> dict[int, str]:
    return {one.line: one.why for one in all_of(text, around).refusals}


def test_a_thousand_generated_files_keep_their_bytes() -> None:
    able = 0
    for seed in range(1000):
        text = generated(seed)
        done = all_of(text)
        assert unwrapped(done.text) == text, seed
        assert read(done.text).problems == (), seed
        assert kept_in_order(text, done.text), seed
        assert done.able | {one.line for one in done.refusals} == set(numbered(units(read(text)))), seed
        able += len(done.able)
        for_everybody = live_text(text, able_live(text), KEY.expires)
        assert unwrapped(for_everybody) == text, seed
        assert kept_in_order(text, for_everybody), seed
    assert able > 5_000


def kept_in_order(text: str, new: str) -> bool:
    """Tell whether every directive is still there, in the same sections but for ours, in the same order."""
    left = iter(in_their_sections(new))
    return all(one in left for one in in_their_sections(text))


def in_their_sections(text: str) -> list[tuple[str, list[str]]]:
    ours = ('requireany', 'requireall', 'if', 'ifdefine')
    return [
        (one.text, [section.name for section in one.sections if section.name not in ours])
        for one in read(text).directives
    ]


ANY_LINE = st.sampled_from([
    'RewriteCond %{A} b [OR]', 'RewriteCond %{A} b', 'RewriteRule ^a - [F]', 'RewriteRule ^a - [C]',
    'RewriteRule ^a - [S=2]', '<RequireAll>', '</RequireAll>', 'Require not ip 10', 'Require all denied',
    'Deny from 10.0.0.1', 'Deny from all \\', 'Order allow,deny', '<Limit GET>', '</Limit>', '<Files a>', '</Files>',
    'Redirect 404 /a', 'Redirect 301 /b /c', '# x \\', 'SetEnvIf A b bad', 'Deny from env=bad', '# BEGIN x', '# END x',
    'Nonsense "', '', '\udcff',
])


@given(st.lists(ANY_LINE, max_size=12), st.sampled_from(['\n', '\r\n']), st.booleans())
def test_any_lines_at_all_come_back(parts: list[str], end: str, ended: bool) -> None:
    text = end.join(parts) + (end if ended else '')
    done = all_of(text)
    assert unwrapped(done.text) == text


def test_what_is_not_asked_for_stays() -> None:
    text = rule_text('require-not')
    assert wrapped(text, {}, KEY) == Wrapped(text, frozenset())
    one = wrapped(text, {8: 7}, KEY)
    assert one.able == {8}
    assert one.text.count(BEGIN) == 1
    assert ',(?:7),' in one.text
    assert wrapped(text, {4711: 1}, KEY).refusals[0].why == 'there is no such unit'


@pytest.mark.parametrize('name', sorted(path.stem for path in RULES.glob('*.htaccess')))
def test_only_kinds_of_directive_that_are_there_already_are_put_in(name: str) -> None:
    """An AllowOverride that allows less than everything answers 500 to others."""
    text = rule_text(name)
    classes = {
        'rewritecond': 'rewrite', 'rewriterule': 'rewrite', 'require': 'authz', '<requireall': 'authz',
        '<requireany': 'authz', '<requirenone': 'authz', 'order': 'limit', 'allow': 'limit', 'deny': 'limit',
        'browsermatchnocase': 'setenvif', 'setenvif': 'setenvif', 'setenvifnocase': 'setenvif', '<if': '',
    }
    there = {classes.get(one.name, one.name) for one in read(text).directives} | {''}
    assert {classes.get(one.name, one.name) for one in read(all_of(text).text).directives} <= there


@pytest.mark.parametrize(('text', 'line', 'why'), [
    ('RewriteRule ^ - [S=1]\nRewriteCond a b [OR]\nRewriteCond a c\nRewriteRule ^ - [F]', 3, 'skips'),
    ('RewriteCond a b [OR]\nRewriteCond %1 c\nRewriteRule ^ - [F]', 1, 'another one matched'),
    ('RewriteCond a b [OR]\nRewriteCond a c [OR]\nRewriteRule ^ - [F]', 1, 'matches everything'.replace('es', '')),
    ('RewriteCond a b\n<IfModule x>\nRewriteRule ^ - [F]\n</IfModule>', 1, 'different sections'),
    ('Deny from evil.test', 1, 'host'), ('Deny from abc1', 1, 'host'), ('Deny from 1e10', 1, 'host'),
    ('Deny from 10.0.0.1 evil.test', 1, 'host'),
    ('Order allow,deny\n<Limit GET>\nDeny from 10.0.0.1\n</Limit>', 3, '<Limit>'),
    ('<If "true">\nDeny from 10.0.0.1\n</If>', 2, '<If>'),
    ('Deny from env=bad', 1, 'nothing in this file sets'), ('Deny from env=!good', 1, 'not set'),
    ('SetEnvIf A b bad\nDeny from env=bad 10.0.0.1', 2, 'mixes'),
    ('SetEnvIf A b bad\n<Files a>\nSetEnvIf C d bad\n</Files>\nDeny from env=bad', 5, 'different sections'),
    ('Redirect 404 /a\nOrder x\nRedirect 301 /a/b /c', 1, 'apart'), ('Redirect 410', 1, 'no path'),
    ('<RequireAll>\nRequire not ip 10\n</RequireAll>', 2, 'lets anybody in'),
    ('Require ip 10.0.0.1\n<IfModule x>\nRequire ip 10.0.0.2\n</IfModule>', 1, 'different sections'),
    ('Deny from 10.0.0.1 \\\n', 1, 'would join'),
    (f'{BEGIN}\nDeny from 10.0.0.1', 2, 'marks its own lines'),
])
def test_what_cannot_be_switched_for_one_request_is_said(text: str, line: int, why: str) -> None:
    assert why in refused(text)[line]
    assert line not in all_of(text).able


@pytest.mark.parametrize('line', ['Deny from 2001:db8::{}', 'Redirect 404 /a{}', 'RewriteRule ^a{} - [F]'])
def test_a_huge_file_is_not_made_larger_than_visitors_can_bear(line: str) -> None:
    text = '\n'.join(line.format(number) for number in range(MOST + 200))
    done = all_of(text)
    assert len(done.able) <= MOST
    assert {one.why for one in done.refusals} == {TOO_MANY}
    assert len(done.text) < 400 * len(text.splitlines())
    assert unwrapped(done.text) == text


def test_variables_that_have_nothing_to_do_with_one_another_may_stand_apart() -> None:
    one = 'SetEnvIf A b bad\n<RequireAll>\nRequire all granted\nRequire not env bad\n</RequireAll>\n'
    other = '<IfModule x>\nSetEnvIf A b worse\nRewriteCond %{ENV:worse} 1\nRewriteRule ^ - [F]\n</IfModule>\n'
    assert refused(one + other) == {}
    assert refused(one + other.replace('SetEnvIf A', 'SetEnvIf bad')) != {}  # now one looks at the other's


def test_redirects_that_cannot_meet_may_stand_apart() -> None:
    assert refused('Redirect 404 /a\nOrder x\nRedirect 301 /b /c') == {}
    assert refused('Redirect 404 /a', Around(redirects=True)) != {}


def test_in_a_vhost_file_what_runs_before_directories_is_left_alone() -> None:
    inner = '<Directory /srv>\nRedirect 404 /c\n</Directory>'
    text = f'<VirtualHost *:80>\nRedirect 404 /a\nRewriteRule ^/b - [F]\n{inner}\n</VirtualHost>'
    assert set(refused(text, SERVER)) == {2}
    assert all_of(text, SERVER).able == {3, 5}
    alone = '<VirtualHost *:80>\n<Directory /srv>\nRedirect 404 /c\nDeny from 10.0.0.1\n</Directory>\n</VirtualHost>'
    assert refused(alone, SERVER) == {}
    early = '<VirtualHost *:80>\nSetEnvIf A b bad\n<Directory /srv>\nDeny from env=bad\n</Directory>\n</VirtualHost>'
    assert set(refused(early, SERVER)) == {2, 4}


def test_other_files_of_the_run_make_every_allow_and_deny_be_said_again() -> None:
    text = 'Order allow,deny\nAllow from 10\n'
    assert wrapped(text, {}, KEY).text == text
    again = wrapped(text, {}, KEY, Around(denies=True)).text
    assert again.count('Allow from 10') == 2
    assert unwrapped(again) == text


def test_a_key_is_one_plain_word() -> None:
    assert KEY.headers([3, 14]) == (('X-Wpaudit-Rules', KEY.token), ('X-Wpaudit-Off', ',3,14,'))
    for token, expires in (
        ('short', '20991231235959'), ('x" || true || "xxxxxxxx', '20991231235959'), (KEY.token, '2099'),
    ):
        with pytest.raises(ValueError, match='a key needs'):
            Key(token, expires)
