"""`wpaudit triage` as a command: what it takes, where it looks from, what it says when it cannot, what it leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import AbstractContextManager
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fixtures import web
from fixtures.lab import Lab
from fixtures.lab.traces import eventually
from fixtures.lab.traces import left_behind
from fixtures.proxy import Proxy
from fixtures.scenarios.arranging import edited

Unchanged = Callable[[Lab], AbstractContextManager[None]]
CRASH = 'crash-worker/crash-worker.php'
SECONDS = 120  # no run may take longer; an ordinary one takes six
HTML = b'<html><body>hello</body></html>'


@dataclass(frozen=True)
class Done:
    """How one triage ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        """The JSON report."""
        found: dict[str, Any] = json.loads(self.out)
        return found

    @property
    def gaps(self) -> dict[str, str]:
        """What could not be looked at, with the reason."""
        return {gap['what']: gap['why'] for gap in self.report['gaps']}


@dataclass(frozen=True)
class Triage:
    """`wpaudit triage` as one user types it, with a home of its own."""

    home: Path

    def start(self, *options: str) -> subprocess.Popen[str]:
        """Start it and do not wait."""
        environment = {
            'PATH': os.environ['PATH'], 'HOME': str(self.home), 'XDG_STATE_HOME': str(self.home / 'state'),
            'PYTHONPATH': str(Path(__file__).parents[2]), 'NO_COLOR': '1',
        }
        return subprocess.Popen(
            [sys.executable, '-m', 'wpaudit', 'triage', *options], cwd=self.home, env=environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )

    def __call__(self, *options: str, style: str = 'json') -> Done:
        """Run it to its end."""
        with self.start('--format', style, *options) as process:
            out, err = process.communicate(timeout=SECONDS)
        done = Done(process.returncode, out, err)
        assert 'Traceback' not in out + err, err
        return done


@pytest.fixture
def triage(tmp_path: Path) -> Triage:
    """Give the command."""
    return Triage(tmp_path)


@pytest.fixture
def crashing(site: Lab) -> Lab:
    """A site whose PHP workers crash."""
    site.install('crash-worker')
    site.activate([*site.active(), CRASH])
    return site


def login(site: Lab) -> list[str]:
    """Return the options that let us in."""
    return ['--identity', str(site.identity), '--known-hosts', str(site.known_hosts)]


def via(site: Lab) -> str:
    """Return the site's host as somewhere to look from."""
    return f'{site.user}@127.0.0.1:{site.ssh_port}'


# -- from outside ---------------------------------------------------------------------------------

def test_a_crash_from_outside_here_and_elsewhere(triage: Triage, crashing: Lab, unchanged: Unchanged) -> None:
    with Proxy(names={'127.0.0.1': '127.0.0.1'}) as proxy, unchanged(crashing):
        done = triage(
            '--url', crashing.url, '--via', via(crashing), *login(crashing), '--proxy', proxy.url(), '--verbose')
    assert done.code in {1, 6}, done.err
    assert (done.report['state'], done.report['made_by']) == ('failing', 'nginx')
    assert done.report['rate']['value'] == 1.0
    assert '--host' in done.gaps['the host']
    assert 'just_me' not in done.report or not done.report['just_me']
    assert f'via (via {via(crashing)} 127.0.0.1): HTTP 502' in done.err
    assert f'proxy (proxy http://127.0.0.1:{proxy.port}): HTTP 502' in done.err
    assert 'static (here 127.0.0.1): HTTP 200' in done.err
    assert left_behind(crashing) == []


def test_a_page_or_a_cookie_that_fails_alone(triage: Triage, site: Lab) -> None:
    for name in ('crash-url', 'crash-cookie'):
        site.install(name)
        site.activate([*site.active(), f'{name}/{name}.php'])
    asked = {'page': ('--probe', '/checkout/'), 'cookie': ('--cookie', 'shop_session=1'), 'neither': ()}
    # Three at once on a busy machine: nobody's page may be killed for its time.
    with edited(site, 'php-fpm.conf', ('request_terminate_timeout = 3s', 'request_terminate_timeout = 60s')):
        running = {name: triage.start('--url', site.url, '--format', 'json', *more) for name, more in asked.items()}
        ended = {name: process.communicate(timeout=SECONDS) for name, process in running.items()}
    reports = {name: Done(running[name].returncode, *said).report for name, said in ended.items()}
    assert {name: report['state'] for name, report in reports.items()} == {
        'page': 'failing', 'cookie': 'sometimes', 'neither': 'healthy'}
    assert any('cookie' in one for one in reports['cookie']['differences'])
    assert running['neither'].returncode == 0


# -- with the host --------------------------------------------------------------------------------

def test_the_host_names_the_cause_and_the_url(triage: Triage, crashing: Lab, unchanged: Unchanged) -> None:
    with unchanged(crashing):
        done = triage('--host', crashing.target, *login(crashing))
    assert done.code == 1, done.err
    assert done.report['cause']['kind'] == 'worker-crash'
    assert done.report['target']['url'].rstrip('/') == crashing.url
    assert eventually(lambda: left_behind(crashing) == [])
    assert not list(triage.home.glob('state/wpaudit/open/*'))


def test_costs_are_recorded_and_the_site_is_as_it_was(triage: Triage, site: Lab, unchanged: Unchanged) -> None:
    with unchanged(site):
        done = triage('--url', site.url, '--host', site.target, *login(site), '--costs')
    assert done.code == 0, done.err
    assert len(done.report['costs']) > 5
    assert eventually(lambda: left_behind(site) == [])
    assert not list(triage.home.glob('state/wpaudit/open/*'))


def test_a_failure_that_only_users_see_who_are_logged_in(triage: Triage, site: Lab, unchanged: Unchanged) -> None:
    site.activate([*site.active(), site.install('crash-logged-in')])
    with unchanged(site):
        done = triage('--url', site.url, '--host', site.target, *login(site), '--as-user', 'admin')
    assert done.code in (1, 6), done.err
    assert done.report['state'] == 'sometimes'
    assert any('users who are logged in' in one for one in done.report['differences'])
    assert eventually(lambda: left_behind(site) == [])


def test_a_user_who_does_not_exist_is_refused_before_the_first_look(
    triage: Triage, site: Lab, unchanged: Unchanged,
) -> None:
    with unchanged(site):
        start = site.logs['nginx-access'].stat().st_size
        done = triage('--url', site.url, '--host', site.target, *login(site), '--as-user', 'nobody-here', '--verbose')
        site.get('/the-end')  # its line stands behind those of all that came before
        assert eventually(lambda: 'GET /the-end ' in site.logs['nginx-access'].read_text()[start:])
    assert done.code == 2
    assert 'no user "nobody-here"' in done.err
    assert 'HTTP' not in done.err
    assert 'wpaudit' not in site.logs['nginx-access'].read_text()[start:]
    assert eventually(lambda: left_behind(site) == [])


def test_a_site_that_cannot_tell_its_users_is_looked_at(triage: Triage, site: Lab) -> None:
    broken = site.path / 'wp-content/mu-plugins/broken.php'
    broken.parent.mkdir(exist_ok=True)
    broken.write_text('<?php exit( 3 );')
    try:
        done = triage('--url', site.url, '--host', site.target, *login(site), '--as-user', 'admin')
    finally:
        broken.unlink()
    assert done.code in (0, 1, 6), done.err
    assert done.report['rate']['n'] > 0
    assert 'what users see who are logged in' in done.gaps


def test_a_host_that_cannot_be_reached_leaves_the_looks_from_outside(triage: Triage, site: Lab) -> None:
    with web.closed_port() as port:
        host = f'nobody@127.0.0.1:{port}/srv/www'
        done = triage('--url', site.url, '--host', host, '--via', host)
    assert done.code == 0, done.err
    assert 'refused' in done.gaps[f'the host {host}']
    assert 'refused' in done.gaps[f'via {host}']
    assert done.report['rate']['n'] == 10


def test_without_a_url_and_a_host_that_tells_it_nothing_can_be_looked_at(triage: Triage) -> None:
    with web.closed_port() as port:
        done = triage('--host', f'nobody@127.0.0.1:{port}/srv/www')
    assert done.code == 4
    assert (done.report['command'], done.report['outcome'], done.report['exit_code']) == ('triage', 'error', 4)
    assert any('--url' in line for line in done.report['advice'])


# -- what is asked for ----------------------------------------------------------------------------

@pytest.mark.parametrize(('options', 'words'), [
    ([], 'nothing to look at'),
    (['--url', 'http://h.invalid/', '--costs'], '--costs needs --host'),
    (['--url', 'http://h.invalid/', '--as-user', 'admin'], '--as-user needs --host'),
    (['--url', 'http://h.invalid/', '--proxy', 'socks5://h:1'], 'HTTP proxy'),
    (['--url', 'ftp://h.invalid/'], 'is not a URL'),
    (['--url', 'http://h.invalid/', '--probe', 'http://other.invalid/'], 'the probe is on the host'),
    (['--url', 'http://h.invalid/', '--header', 'nonsense'], 'no colon'),
    (['--url', 'http://h.invalid/', '--via', 'ssh:'], 'ssh:'),
])
def test_what_cannot_be_meant_is_said(triage: Triage, options: list[str], words: str) -> None:
    done = triage(*options)
    assert done.code == 2, done.err
    assert words in done.err
    assert done.report['outcome'] == 'error'


def test_no_such_name(triage: Triage) -> None:
    done = triage('--url', 'https://nowhere.invalid/')
    assert done.code == 1
    assert done.report['cause']['kind'] == 'dns'


def test_ctrl_c(triage: Triage, crashing: Lab) -> None:
    with triage.start('--url', crashing.url, '--host', crashing.target, *login(crashing), '--verbose') as process:
        assert process.stderr is not None
        for line in process.stderr:
            if 'host-loopback' in line:
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert out == ''
    assert 'interrupted' in err
    assert 'Traceback' not in err
    assert eventually(lambda: left_behind(crashing) == [])


# -- servers that are no WordPress ------------------------------------------------------------------

@pytest.fixture
def two_servers() -> Iterator[tuple[web.WebServer, web.WebServer]]:
    """Two servers that one name leads to; the second is broken."""
    with ExitStack() as stack:
        good = stack.enter_context(web.WebServer({'/': web.page(HTML)}, host='127.0.0.2'))
        bad = web.page(web.NGINX_502, status=b'502 Bad Gateway')
        yield good, stack.enter_context(web.WebServer({'/': bad}, host='127.0.0.3', port=good.port))


def test_one_bad_server_of_two(triage: Triage, two_servers: tuple[web.WebServer, web.WebServer]) -> None:
    good, bad = two_servers
    done = triage(
        '--url', good.url(host='shop.test'), '--resolve', 'shop.test:127.0.0.2', '--resolve', 'shop.test:127.0.0.3')
    assert done.report['state'] == 'sometimes'
    assert any('127.0.0.3' in one for one in done.report['differences'])
    assert len(bad.requests) == 3
    assert len(good.requests) + len(bad.requests) <= 40


def test_an_overloaded_site_is_left_in_peace(triage: Triage) -> None:
    page = web.page(b'busy', status=b'503 Service Unavailable', headers=b'Retry-After: 60\r\n')
    static = '/wp-includes/images/blank.gif'
    with web.WebServer({'/': page, static: web.page(b'GIF')}) as server:
        done = triage('--url', server.url())
    assert any(note.startswith('backed off') for note in done.report['notes'])
    assert len(server.requests) <= 8


def test_markers_are_everywhere_but_in_the_refreshes(triage: Triage) -> None:
    with web.WebServer({'/': web.page(HTML)}) as server:
        assert triage('--url', server.url(), style='text').code == 0
    plain = [one for one in server.requests if one.startswith(b'GET / HTTP')]
    marked = [one for one in server.requests if b'?wpaudit=' in one.split(b'\r\n')[0]]
    assert len(plain) == 10
    assert len(plain) + len(marked) == len(server.requests) <= 40
