"""`wpaudit bisect` and `list` over SSH: rules in the server's own configuration, rules switched live, hostile files."""

from __future__ import annotations

import os
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.firewalls.ruled import FEW
from fixtures.firewalls.ruled import GATEWAY
from fixtures.firewalls.ruled import Site
from fixtures.firewalls.ruled import configured
from fixtures.firewalls.ruled import line_of
from fixtures.firewalls.ruled import seen
from fixtures.firewalls.ruled import site_of
from fixtures.firewalls.ruled import untouched
from fixtures.firewalls.visits import rule_text
from fixtures.lab import Lab
from fixtures.lab.traces import eventually

VHOST = (
    '\nRewriteEngine On\nRewriteRule ^/wp-json - [R=502,L]\nRewriteRule ^/old - [G]\n'
    '<Location "/shop">\nRedirect 502\n</Location>\nRedirect 502 /wp-login.php\n'
)
CRASH = '<?php\n/* Plugin Name: Crash */\nposix_kill( getmypid(), 11 );\n'


@pytest.fixture(scope='module')
def lab(lab_of: Callable[[str], Lab]) -> Iterator[Lab]:
    found = lab_of('apache')
    found.reset()
    found.activate(FEW)
    yield found
    found.reset()


@pytest.fixture
def site(lab: Lab, tmp_path: Path) -> Iterator[Site]:
    with site_of(lab, tmp_path / 'state') as found:
        yield found


def at(file: Path, text: str) -> str:
    [number] = [number for number, line in enumerate(file.read_text().splitlines(), 1) if text in line]
    return f'{file}:{number}'


@pytest.fixture(scope='class')
def served(lab: Lab) -> Iterator[Path]:
    with configured(lab, VHOST) as file:
        yield file


class TestOfTheServer:
    """Rules at the end of the server's own configuration, which is read anew for all of these tests together."""

    @pytest.fixture
    def file(self, served: Path) -> Iterator[Path]:
        """Give the file, and fail unless it is the same inode afterwards with nothing beside it."""
        before = seen(served)
        yield served
        assert eventually(lambda: seen(served) == before)
        assert sorted(path.name for path in served.parent.glob('.*')) == []

    def test_it_is_named_and_its_file_is_as_it_was(self, site: Site, file: Path) -> None:
        with untouched(site):
            run = site.run('--probe', '/wp-json/')
        assert run.code == 1, run.err + run.out
        assert run.named == {frozenset([at(file, '^/wp-json')])}
        assert run.report['mode'] == 'isolated'
        assert 'apache2 was reloaded twice, gracefully' in run.report['restore']['message']
        login = [gap['why'] for gap in run.report['gaps'] if gap['what'] == at(file, '502 /wp-login.php')]
        assert any('--mode live switches it' in why for why in login)

    def test_live_one_that_no_request_can_have_off_is_named(self, site: Site, file: Path) -> None:
        with untouched(site):
            run = site.run('--probe', '/wp-login.php', '--mode', 'live', '--suspects', 'rules')
        assert run.code == 1, run.err + run.out
        assert run.named == {frozenset([at(file, '502 /wp-login.php')])}
        assert run.report['mode'] == 'live'
        assert run.report['restore']['changed_seconds'] > 0

    def test_one_here_and_one_in_htaccess_that_stop_the_same_request(self, site: Site, file: Path) -> None:
        site.put(GATEWAY)
        with untouched(site):
            run = site.run('--probe', '/wp-json/', '--suspects', 'rules')
        both = {at(file, '^/wp-json'), f'{site.file}:3'}
        assert run.code == 1, run.err + run.out
        assert run.named == {frozenset([one]) for one in both}
        assert [{one['id'] for one in fix} for fix in run.report['fixes']] == [both]


def test_live_the_rule_of_a_file_is_named_and_the_file_is_as_it_was(site: Site) -> None:
    site.put(rule_text('firewall-6g'))
    with untouched(site):
        run = site.run('--probe', '/?q=etc/passwd', '--fail-on', '403', '--mode', 'live', '--suspects', 'rules')
    assert run.code == 1, run.err + run.out
    assert run.named == {frozenset([line_of(site, 'etc/passwd')])}
    assert run.report['restore']['verified']


ATTACK = (
    'RewriteEngine On\nRewriteCond %{REQUEST_METHOD} =POST\nRewriteCond %{HTTP:X-Attack} "a b"\n'
    'RewriteRule ^ - [R=429]\n'
)


@pytest.mark.parametrize('form', ['raw', 'curl'])
def test_a_request_of_ones_own_meets_a_rule_that_minds_headers(site: Site, tmp_path: Path, form: str) -> None:
    site.put(ATTACK)
    pasted = tmp_path / 'request.txt'
    raw = 'POST / HTTP/1.1\r\nX-Attack: a b\r\nContent-Type: application/json\r\n\r\n{"a":1}'
    curl = f"curl '{site.lab.url}/' -H 'X-Attack: a b' -H 'Content-Type: application/json' --data '{{\"a\":1}}'"
    pasted.write_text(raw if form == 'raw' else curl)
    with untouched(site):
        run = site.run('--request', str(pasted), '--fail-on', '403,406,429,444,reset,timeout', '--suspects', 'rules')
    assert run.code == 1, run.err + run.out
    assert run.named == {frozenset([f'{site.file}:2'])}


def test_a_command_of_ones_own_judges_rules_too(site: Site) -> None:
    site.put(GATEWAY + 'Redirect 410 /old\n')
    command = 'curl -fsS -o /dev/null -H "$WPAUDIT_HEADER" "$WPAUDIT_URL/wp-json/"'
    with untouched(site):
        run = site.run('--run', command, '--suspects', 'rules')
    assert run.code == 1, run.err + run.out
    assert run.named == {frozenset([f'{site.file}:3'])}


HOSTILE = {
    'unbalanced': b'<Files "a>\nDeny from all\n',
    'never-closed': b'<IfModule mod_rewrite.c>\nRewriteRule ^ - [F]\n',
    'huge': b'# wp\n' * 2_000_001 + b'RewriteRule ^ - [F]\n',
    'nul': b'RewriteRule ^ - [F]\0\n',
    'ours': b'# wpaudit (\nRewriteRule ^ - [F]\n# wpaudit )\n',
    'joined': b'RewriteEngine On\nRewriteRule ^page \\\n - \\\n [F]\n',
    'bytes': b'RewriteEngine On\nRewriteCond %{HTTP_USER_AGENT} ev\xe9l\nRewriteRule ^ - [F]\n',
    'markers': b'# BEGIN a\x1b]0;b\x07\nRewriteEngine On\nRewriteRule ^page\x1b[31m - [F]\n# END a\x1b]0;b\x07\n',
}


@pytest.fixture
def hostile(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Put hostile files where plugins have theirs; beside them a link that leads away, and a pipe."""
    base = site.lab.path / 'wp-content/plugins'
    found = {}
    away = tmp_path_factory.mktemp('away') / 'rules'
    away.write_bytes(b'RewriteRule ^ - [F]\n')
    for name in (*HOSTILE, 'link', 'pipe'):
        found[name] = base / f'hostile-{name}' / '.htaccess'
        found[name].parent.mkdir()
        if name == 'link':
            found[name].symlink_to(away)
        elif name == 'pipe':
            os.mkfifo(found[name])
        else:
            found[name].write_bytes(HOSTILE[name])
        site.lab.record.account.own_tree(found[name].parent)
    yield found
    for path in found.values():
        path.unlink()
        path.parent.rmdir()


def test_among_hostile_files_the_culprit_is_named_and_all_are_as_they_were(
    site: Site, hostile: dict[str, Path],
) -> None:
    site.put(GATEWAY)
    files = {path: seen(path) for name, path in hostile.items() if name != 'pipe'}
    with untouched(site):
        run = site.run('--probe', '/wp-json/', '--suspects', 'rules')
    assert run.code == 1, run.err + run.out
    assert run.named == {frozenset([f'{site.file}:3'])}
    assert {path: seen(path) for path in files} == files
    gaps = '\n'.join(f'{gap["what"]}: {gap["why"]}' for gap in run.report['gaps'])
    for name, why in (
        ('unbalanced', 'not read'), ('never-closed', 'not closed'), ('huge', 'larger than'), ('nul', 'NUL'),
        ('pipe', 'no plain file'),
    ):
        assert any(str(hostile[name]) in gap['what'] and why in gap['why'] for gap in run.report['gaps']), (name, gaps)
    assert 'wpaudit marks its own lines' in gaps
    switched = {one['id'] for one in run.report['suspects']}
    assert {f'{hostile["joined"]}:2', f'{hostile["bytes"]}:2', f'{hostile["markers"]}:3'} <= switched
    assert not any(str(hostile[name]) in one for one in switched for name in ('link', 'ours', 'nul', 'huge'))


def test_what_is_listed_stands_in_the_files(site: Site, hostile: dict[str, Path]) -> None:
    site.put(rule_text('firewall-6g') + rule_text('security-plugins'))
    run = site.run(verb='list')
    assert run.code == 0, run.err
    rules = [one for one in run.report['rules'] if one['layer'] == 'htaccess']
    mine = [one for one in rules if one['id'].startswith(f'{site.file}:')]
    lines = site.file.read_text(errors='surrogateescape').splitlines()
    for one in mine:
        number = int(one['id'].rpartition(':')[2])
        assert lines[number - 1].split()[0].lower() in one['name'].lower(), one
    blocking = ('[F', ',F', '[G', 'Require not', 'redirectmatch 4', 'redirect 4')
    for number, line in enumerate(lines, 1):
        if any(word.lower() in line.lower() for word in blocking) and not line.lstrip().startswith('#'):
            assert any(covers(one, number) for one in mine), (number, line)
    text = site.run('--format', 'text', verb='list')
    assert text.code == 0
    assert '\x1b' not in text.out
    assert str(hostile['markers']) in text.out


def covers(rule: dict[str, str], number: int) -> bool:
    """Tell whether a listed rule says that it takes up this line."""
    first, _, last = rule['where'].partition(',')[0].split()[1].partition('-')
    return int(first) <= number <= int(last or first)
