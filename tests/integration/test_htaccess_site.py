"""Rules of .htaccess on real WordPress sites: listed where Apache serves the site, and wrapped without a trace."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.firewalls.visits import rule_text
from fixtures.lab import Lab
from wpaudit.firewalls.apache.reader import read
from wpaudit.firewalls.apache.units import Key
from wpaudit.firewalls.apache.wrapper import numbered
from wpaudit.firewalls.apache.wrapper import units
from wpaudit.firewalls.apache.wrapper import wrapped

KEY = Key('0123456789abcdef0123', '20991231235959')
# A host's own rule behind WordPress's block would not be reached by pretty addresses, so hosts put theirs before it.
GATEWAY = '# BEGIN Host\nRewriteEngine On\nRewriteRule ^wp-json - [R=502,L]\n# END Host\n'


def listed(site: Lab, tmp_path: Path) -> dict[str, dict[str, object]]:
    """Return what ``wpaudit list`` says, over SSH, as the site user."""
    done = subprocess.run(
        [sys.executable, '-m', 'wpaudit', 'list', '--host', site.target, '--identity', str(site.identity),
         '--known-hosts', str(site.known_hosts), '--format', 'json'],
        capture_output=True, text=True, timeout=120, check=False, env={'HOME': str(tmp_path), 'PATH': '/usr/bin:/bin'},
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    return {rule['id']: rule for rule in answer['rules'] if rule['layer'] == 'htaccess'}


@pytest.mark.parametrize('site', ['apache'], indirect=True)
def test_list_names_the_rule_that_answers_502(site: Lab, tmp_path: Path) -> None:
    file = site.path / '.htaccess'
    text = GATEWAY + file.read_text()
    file.write_text(text)
    assert site.get('/wp-json/')[0] == 502
    found = listed(site, tmp_path)[f'{file}:3']
    assert found['name'] == 'RewriteRule ^wp-json - [R=502,L]'
    assert 'Host' in str(found['where'])
    assert [one for one in listed(site, tmp_path) if one.startswith(f'{file}:')] == [f'{file}:3']  # not WordPress's own


@pytest.mark.parametrize('site', ['apache'], indirect=True)
def test_wrapped_rules_on_a_site(site: Lab) -> None:
    file = site.path / '.htaccess'
    text = GATEWAY + file.read_text() + rule_text('firewall-6g')
    file.write_text(text)
    pages = ('/', '/?p=1', '/wp-json/', '/?q=etc/passwd', '/wp-login.php', '/no-such-page', '/wp-content/')
    before = {page: site.get(page) for page in pages}
    assert [before[page][0] for page in ('/', '/wp-json/', '/?q=etc/passwd')] == [200, 502, 403]
    found = units(read(text))
    numbers = numbered(found)
    file.write_text(wrapped(text, numbers, KEY).text)
    assert {page: site.get(page)[0] for page in pages} == {page: status for page, (status, _) in before.items()}
    gateway = numbers[3]
    passwd = next(numbers[one.line] for one in found if one.part_of and 'etc/passwd' in one.name)
    assert site.get('/wp-json/', dict(KEY.headers([gateway])))[0] == 200
    assert site.get('/wp-json/', dict(KEY.headers([passwd])))[0] == 502
    assert site.get('/?q=etc/passwd', dict(KEY.headers([passwd])))[0] == 200
    assert site.get('/?q=etc/passwd', dict(KEY.headers([gateway])))[0] == 403
    file.write_text(text)


@pytest.mark.parametrize('site', ['sqlite'], indirect=True)
def test_behind_nginx_they_change_nothing_and_are_not_listed(site: Lab, tmp_path: Path) -> None:
    (site.path / '.htaccess').write_text(GATEWAY)
    assert site.get('/wp-json/')[0] == 200
    assert listed(site, tmp_path) == {}
