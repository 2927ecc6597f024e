"""What blocks is found, with its lines, its owner and its reason; what does not is left alone."""

from __future__ import annotations

import pytest

from fixtures.firewalls.visits import rule_text
from wpaudit.firewalls.apache.blocking import judged
from wpaudit.firewalls.apache.reader import read
from wpaudit.firewalls.apache.units import LONGEST_NAME
from wpaudit.firewalls.apache.units import Sort
from wpaudit.firewalls.apache.units import Unit
from wpaudit.firewalls.apache.wrapper import units

WORDPRESS = """# BEGIN WordPress
<IfModule mod_rewrite.c>
RewriteEngine On
RewriteRule .* - [E=HTTP_AUTHORIZATION:%{HTTP:Authorization}]
RewriteBase /
RewriteRule ^index\\.php$ - [L]
RewriteCond %{REQUEST_FILENAME} !-f
RewriteCond %{REQUEST_FILENAME} !-d
RewriteRule . /index.php [L]
</IfModule>
# END WordPress
"""


def lines(text: str) -> list[tuple[int, Sort]]:
    return [(one.line, one.sort) for one in units(read(text))]


@pytest.mark.parametrize('text', [
    WORDPRESS,
    'RewriteRule ^old /new [R=301,L]', 'RewriteRule ^ - [F,R=301]', 'RewriteRule ^ - [R]', 'RewriteRule ^ - [R=200]',
    'RewriteRule ^ - [S=2]', 'Redirect 301 /a /b', 'Redirect /a /b', 'RedirectMatch permanent ^/a /b',
    'Require all granted', 'Require valid-user', 'Require ip 10.0.0.1\nRequire valid-user',
    'Require all granted\nRequire ip 10.0.0.1', '<RequireAll>\nRequire all granted\n</RequireAll>',
    'SetEnvIf User-Agent bad bad_bot', 'SetEnvIf X y good\nAllow from env=good',
    '<IfModule !mod_authz_core.c>\nDeny from all\n</IfModule>', '<IfVersion < 2.4>\nDeny from all\n</IfVersion>',
    '<IfModule !authz_core_module>\nOrder allow,deny\nDeny from all\n</IfModule>',
    '# Deny from all', 'Order allow,deny\nAllow from all', 'Header set X-Frame-Options DENY', 'ErrorDocument 403 /a',
])
def test_no_suspects(text: str) -> None:
    assert lines(text) == []


@pytest.mark.parametrize(('text', 'sort', 'reason'), [
    ('RewriteRule ^a - [F]', Sort.REWRITE, '403'), ('RewriteRule ^a - [G,L]', Sort.REWRITE, '410'),
    ('rewriterule ^a - "[ l, r=502 ]"', Sort.REWRITE, '502'), ('RewriteRule ^a - [R=301,F]', Sort.REWRITE, '403'),
    ('RewriteRule ^a - [Redirect=gone]', Sort.REWRITE, '410'), ('RewriteRule ^a - [NC,forbidden]', Sort.REWRITE, '403'),
    ('RewriteRule ^a http://127.0.0.1:9/ [P]', Sort.REWRITE, 'another server'),
    ('Redirect 502 /a', Sort.REDIRECT, '502'), ('RedirectMatch GONE ^/a', Sort.REDIRECT, '410'),
    ('Deny from all', Sort.DENY, 'address'), ('Require all denied', Sort.REQUIRE, 'lets in only'),
    ('Require ip 10.0.0.1', Sort.REQUIRE, 'lets in only'), ('Require env good', Sort.REQUIRE, 'lets in only'),
    ('<RequireAll>\nRequire all granted\nRequire not host evil.test\n</RequireAll>', Sort.REQUIRE, 'shuts out'),
    ('<RequireNone>\nRequire ip 10.0.0.1\n</RequireNone>', Sort.REQUIRE, 'shuts out'),
])
def test_one_suspect(text: str, sort: Sort, reason: str) -> None:
    [unit] = units(read(text))
    assert unit.sort is sort
    assert reason in unit.reason


def test_every_judgement_has_a_reason() -> None:
    for directive in read(WORDPRESS + rule_text('redirect')).directives:
        assert judged(directive).reason


def test_a_rule_with_its_conditions_and_its_owner() -> None:
    text = (
        '\n# BEGIN A b\nRewriteCond %{X} a\n# in between\nRewriteCond %{Y} b\n\nRewriteRule ^c \\\n - [F]\n'
        '# END A b\n'
    )
    assert units(read(text)) == (Unit(
        3, Sort.REWRITE, 3, 8, 'RewriteRule ^c  - [F] / RewriteCond %{X} a / RewriteCond %{Y} b', 'A b',
        'it answers with an error (403)',
    ),)


def test_a_chain_is_one_unit() -> None:
    text = (
        'RewriteCond a b\nRewriteRule ^a - [C]\nRewriteRule ^b - [E=x:1,chain]\nRewriteRule ^c - [F]\n'
        'RewriteRule ^d - [F]'
    )
    assert [(one.first, one.last) for one in units(read(text))] == [(1, 4), (5, 5)]


def test_conditions_are_units_of_a_second_level() -> None:
    found = units(read(rule_text('firewall-6g')))
    [rule] = [one for one in found if not one.part_of]
    members = [one for one in found if one.part_of]
    assert (rule.line, rule.first, rule.last, rule.owner) == (34, 12, 34, 'Request filter')
    assert len(members) == 20
    assert {one.part_of for one in members} == {34}
    assert [one.line for one in members] == list(range(13, 33))
    assert len(rule.name) == LONGEST_NAME
    assert rule.name.startswith('RewriteRule .* - [F,L]')


def test_a_variable_makes_its_setters_suspects() -> None:
    setting = 'SetEnvIf A b bad\nBrowserMatch c other bad=1\nSetEnvIf D e !bad\nSetEnvIf F g fine\n'
    found = lines(f'{setting}Deny from env=bad')
    assert found == [(1, Sort.SETENVIF), (2, Sort.SETENVIF), (5, Sort.DENY)]
    asked = lines('SetEnvIf A b bad\nRewriteCond %{ENV:bad} =1\nRewriteRule ^ - [F]')
    assert asked == [(1, Sort.SETENVIF), (2, Sort.REWRITE)]
    required = lines('SetEnvIf A b bad\n<RequireAll>\nRequire all granted\nRequire not env bad\n</RequireAll>')
    assert required == [(1, Sort.SETENVIF), (4, Sort.REQUIRE)]


def test_ids_are_one_each() -> None:
    for name in ('firewall-6g', 'chains', 'hostile', 'setenvif', 'require-not'):
        found = [one.line for one in units(read(rule_text(name)))]
        assert len(found) == len(set(found))


def test_a_file_that_is_not_understood_has_no_suspects() -> None:
    assert units(read('Deny from all\n<Files a>\n')) == ()
