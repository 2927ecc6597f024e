"""The commands a person is given."""

from __future__ import annotations

import shlex

import pytest

from wpaudit.domain import Kind
from wpaudit.domain import Suspect
from wpaudit.report.advice import fix_commands
from wpaudit.report.advice import is_command

SKIP = '--skip-plugins --skip-themes'


def plugin(name: str, kind: Kind = Kind.PLUGIN, where: str = '') -> Suspect:
    return Suspect(name, kind, where=where)


@pytest.mark.parametrize(('fix', 'multisite', 'lines'), [
    ((), False, ()),
    ((plugin('acme/acme.php'),), False, (f'wp plugin deactivate acme/acme --path=/srv/www {SKIP}',)),
    ((plugin('hello.php'), plugin('a/b.php')), False, (f'wp plugin deactivate hello a/b --path=/srv/www {SKIP}',)),
    ((plugin('a/a.php'),), True, (f'wp plugin deactivate a/a --path=/srv/www {SKIP} --url=https://x.example/b',)),
    ((plugin('a/a.php', Kind.NETWORK_PLUGIN), plugin('b/b.php')), True, (
        f'wp plugin deactivate b/b --path=/srv/www {SKIP} --url=https://x.example/b',
        f'wp plugin deactivate a/a --path=/srv/www {SKIP} --network')),
    ((plugin('x.php', Kind.MUST_USE),), False, (
        'mv -- /srv/www/wp-content/mu-plugins/x.php /srv/www/wp-content/mu-plugins/x.php.off',)),
    ((plugin('object-cache.php', Kind.DROPIN, '/c/object-cache.php'),), False, (
        'mv -- /c/object-cache.php /c/object-cache.php.off',)),
    ((plugin('twenty', Kind.THEME),), False, (
        f'wp theme list --path=/srv/www {SKIP}', 'activate another theme than twenty, with: wp theme activate NAME')),
    ((plugin('942100', Kind.RULE, '/etc/crs.conf:3'),), False, (
        'switch the rule 942100 (/etc/crs.conf:3) off where it is configured',)),
])
def test_commands(fix: tuple[Suspect, ...], multisite: bool, lines: tuple[str, ...]) -> None:
    assert fix_commands(fix, '/srv/www', 'https://x.example/b', multisite) == lines


def test_quoting() -> None:
    evil = "a'b; rm -rf ~/$(x)"
    (line,) = fix_commands([plugin(f'{evil}/p.php')], f'/srv/{evil}', '', False)
    assert shlex.split(line)[3:5] == [f'{evil}/p', f'--path=/srv/{evil}']


def test_commands_are_told_from_sentences() -> None:
    assert is_command('wp plugin deactivate a')
    assert is_command('mv -- a b')
    assert not is_command('look at the logs')
