"""The view from a host that says little, and from one that says nonsense."""

from __future__ import annotations

import base64
import copy
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import field
from typing import Any
from typing import cast

import pytest

from wpaudit.domain import Request
from wpaudit.errors import SiteError
from wpaudit.facts import Purpose
from wpaudit.sites.agent import Agent
from wpaudit.sites.host import HostView
from wpaudit.sites.hostlooks import program
from wpaudit.sites.hostlooks import variables
from wpaudit.sites.said import Said
from wpaudit.sites.said import encoded

URL = 'https://site.test/'
CONF = 'http { server { listen 127.0.0.1:8080; root /srv/www; location ~ php { fastcgi_pass unix:/run/f.sock; } } }'
HONEST: dict[str, dict[str, Any]] = {
    'extend': {'time': 1}, 'ping': {'time': 1},
    'host-about': {
        'time': 1.5, 'offsets': [0], 'load': '0.50 0.40 0.30 1/100 7\n',
        'memory': 'MemTotal: 100 kB\nMemAvailable: 50 kB\n',
        'cpus': 2, 'limit': '', 'used': '', 'hidden': False, 'me': 33, 'docroot': encoded('/srv/www'),
        'processes': [{'pid': 5, 'parent': 1, 'state': 'S', 'owner': 0, 'program': '', 'waits': '',
                       'line': encoded('nginx: master process nginx -c /n.conf')}],
        'php': {'version': '8.2', 'binary': '/p', 'temp': '/t', 'error_log': '', 'memory_limit': '',
                'disable_functions': ''},
        'site': {'readable': True, 'content': '', 'debug': '', 'debug_log': '', 'host': 'localhost'},
    },
    'host-files': {'files': [{'pattern': encoded('/n.conf'), 'path': encoded('/n.conf'), 'text': encoded(CONF)}]},
    'host-tails': {
        'logs': [{'path': encoded('/var/log/nginx/error.log'), 'size': 1, 'inode': 2, 'start': 0, 'text': encoded('x'),
                  'print': ''}], 'offsets': [0, 3600], 'time': 2.0},
    'host-real': {'paths': [encoded('/srv/www')]},
    'host-kernel': {'booted': 1.0, 'time': 2.0, 'dmesg': {'status': 0, 'out': encoded(''), 'err': ''},
                    'journal': {'status': 1, 'out': '', 'err': 'No journal files were opened'}},
    'host-sockets': {'sockets': [{'address': encoded('unix:///run/f.sock'), 'word': 'full', 'status': ''}], 'unix': '',
                     'ss': '', 'tcp': ''},
    'host-disks': {'disks': [{'path': encoded('/srv'), 'size': 10, 'free': 5, 'device': 1, 'inodes': -1}]},
    'host-send': {
        'at': 1.0, 'seconds': 0.1, 'size': 40, 'tail': '', 'eof': True, 'error': '', 'detail': '',
        'peer': '192.0.2.1:443', 'raw': encoded('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')},
    'host-fastcgi': {'at': 1.0, 'seconds': 0.1, 'raw': encoded('Content-Type: a\r\n\r\nok'), 'size': 20, 'stderr': '',
                     'ended': True, 'status': 0, 'error': '', 'detail': ''},
    'host-inside': {
        'at': 1.0, 'seconds': 0.1, 'raw': encoded('ok'), 'size': 2, 'stderr': '', 'late': False, 'signal': 0,
        'status': 0, 'notes': ['{"key":"database","value":true}', '{"key":"code","value":0}', 'half']},
}


@dataclass
class Launched:
    """Where the told agent stands."""

    path: str = '/srv/www'


@dataclass
class ToldAgent:
    """An agent that answers what it was told; what it was not told is an error."""

    answers: dict[str, dict[str, Any]]
    launched: Launched = field(default_factory=Launched)
    asked: list[str] = field(default_factory=list)

    def ask(self, op: str, *, seconds: float = 30, **_: object) -> Said:
        """Answer."""
        assert seconds > 0
        self.asked.append(op)
        return Said(self.answers[op])


def view(**changed: dict[str, Any]) -> HostView:
    answers = copy.deepcopy(HONEST)
    for op, fields in changed.items():
        answers[op.replace('_', '-')].update(fields)
    agent = ToldAgent(answers)
    return HostView(lambda: cast(Agent, agent), url=URL)


def everything(one: HostView) -> None:
    one.state()
    for purpose in (Purpose.HOST_PUBLIC, Purpose.HOST_LOOPBACK, Purpose.FASTCGI, Purpose.INSIDE):
        one.look(purpose, Request(URL), timeout=1)
    one.lines(0, ['m'])


def test_an_honest_host() -> None:
    one = view()
    state, gaps = one.state()
    (pool,) = state.pools
    assert (pool.listen, pool.socket, pool.serves_site) == ('unix:/run/f.sock', 'full', True)
    assert (state.load, state.processors, state.memory, state.swap_free) == (0.5, 2, 102400, -1)
    assert gaps == ()
    inside = one.look(Purpose.INSIDE, Request(URL), timeout=1)
    assert (inside.answer.status, inside.answer.body, inside.database) == (200, 'ok', True)
    assert one.look(Purpose.HOST_LOOPBACK, Request(URL), timeout=1).answer.body == 'ok'


def test_a_host_without_proc_has_gaps_and_no_guesses() -> None:
    about = {'load': '', 'memory': '', 'cpus': 0, 'processes': []}
    state, gaps = view(host_about=about, host_files={'files': []}).state()
    assert (state.load, state.processors, state.memory, state.memory_available) == (-1.0, -1, -1, -1)
    assert {gap.what for gap in gaps} >= {'load', 'memory', 'web server'}


def test_hidden_processes_are_told() -> None:
    _, gaps = view(host_about={'hidden': True, 'processes': []}, host_files={'files': []}).state()
    assert any('hidepid' in gap.why for gap in gaps)
    assert any('hidden' in gap.why for gap in gaps if gap.what == 'web server')


def test_a_look_that_the_host_cannot_make_is_refused() -> None:
    one = view(host_files={'files': []})
    for purpose in (Purpose.HOST_LOOPBACK, Purpose.FASTCGI, Purpose.HTTP2):
        with pytest.raises(SiteError):
            one.look(purpose, Request(URL), timeout=1)
    assert one.look(Purpose.HOST_PUBLIC, Request(URL), timeout=1).answer.status == 200


def test_a_kernel_log_that_is_closed_is_one_gap() -> None:
    forbidden = {'status': 1, 'out': '', 'err': 'dmesg: read kernel buffer failed: Operation not permitted'}
    one = view(host_kernel={'dmesg': forbidden})
    _, gaps = one.lines(0, [])
    (gap,) = [gap for gap in gaps if gap.what == 'kernel log']
    assert 'Operation not permitted' in gap.why


@pytest.mark.parametrize(('fields', 'status', 'error'), [
    ({'signal': 11}, 0, 'reset'), ({'late': True}, 0, 'timeout'), ({'notes': []}, 0, 'reset'),
    ({'notes': ['{"key":"code","value":99999}', '{"key":"database","value":"x"}']}, 200, ''),
    ({'notes': ['{"key":"fatal","value":"Ym9vbQ=="}', '{"key":"code","value":200}']}, 500, ''),
    ({'notes': ['[]', '{"key":[]}', '{"key":"code"}']}, 200, ''),
    ({'notes': ['{"key":"location","value":"L2E="}', '{"key":"code","value":301}']}, 301, ''),
])
def test_how_a_look_inside_may_end(fields: dict[str, Any], status: int, error: str) -> None:
    answer = view(host_inside=fields).look(Purpose.INSIDE, Request(URL), timeout=1).answer
    assert (answer.status, answer.error) == (status, error)


VALUES: tuple[object, ...] = (
    None, 7, -1, 1e300, float('nan'), 'x' * 100, [], [None], {}, {'a': 1}, True, '\ud800', [{'path': 3}], [[]])


def lies() -> Iterator[tuple[str, str, object]]:
    for op, fields in HONEST.items():
        if op.startswith('host-'):
            for name in fields:
                yield from ((op, name, value) for value in VALUES)


def test_whatever_it_says_ends_in_values_or_a_site_error() -> None:
    for op, name, value in lies():
        with suppress(SiteError):
            everything(view(**{op: {name: value}}))


def test_words_that_nobody_knows_are_not_passed_on() -> None:
    one = view(
        host_sockets={'sockets': [{'address': encoded('unix:///run/f.sock'), 'word': 'WON A PRIZE', 'status': ''}]},
        host_send={'error': 'WON A PRIZE', 'raw': ''})
    assert one.state()[0].pools[0].socket == ''
    assert one.look(Purpose.HOST_PUBLIC, Request(URL), timeout=1).answer.error == 'protocol'


def test_a_root_that_is_a_link_to_the_current_release() -> None:
    conf = CONF.replace('/srv/www', '/srv/current')
    one = view(
        host_files={'files': [{'pattern': encoded('/n.conf'), 'path': encoded('/n.conf'), 'text': encoded(conf)}]})
    assert one.state()[0].pools[0].serves_site


def test_what_the_web_server_would_pass() -> None:
    request = Request('https://site.test:8443/blog/?a=b', headers=(('X-A', 'c'),), cookies=(('d', 'e'),))
    said = variables(request, '/srv/www/blog', '/srv/www')
    assert said['SCRIPT_FILENAME'] == '/srv/www/blog/index.php'
    assert (said['SCRIPT_NAME'], said['DOCUMENT_ROOT']) == ('/blog/index.php', '/srv/www')
    assert (said['REQUEST_URI'], said['QUERY_STRING']) == ('/blog/?a=b', 'a=b')
    assert (said['HTTP_HOST'], said['SERVER_PORT'], said['HTTPS']) == ('site.test:8443', '8443', 'on')
    assert (said['HTTP_X_A'], said['HTTP_COOKIE']) == ('c', 'd=e')
    plain = variables(Request('http://site.test/'), '/srv/www')
    assert (plain['SCRIPT_NAME'], plain['SERVER_PORT'], plain.get('HTTPS')) == ('/index.php', '80', None)


@pytest.mark.parametrize(('path', 'script'), [
    ('/blog/wp-login.php', 'wp-login.php'), ('/blog/wp-admin/', 'wp-admin/index.php'),
    ('/blog/wp-admin/network/', 'wp-admin/network/index.php'),
    ('/blog/wp-admin/admin-ajax.php', 'wp-admin/admin-ajax.php'),
    ('/blog/', 'index.php'), ('/blog/shop/', 'index.php'), ('/blog/../x.php', 'index.php'), ('/x.php', 'index.php'),
    ('/blog/wp-admin/../../x.php', 'index.php'), ('/blog/%2e%2e/x.php', 'index.php'), ('/blogs/x.php', 'index.php'),
])
def test_a_page_with_a_script_of_its_own_is_asked_of_that(path: str, script: str) -> None:
    said = variables(Request(f'http://site.test{path}'), '/srv/www/blog', '/srv/www')
    assert said['SCRIPT_FILENAME'] == f'/srv/www/blog/{script}'
    assert said['SCRIPT_NAME'] == said['PHP_SELF'] == f'/blog/{script}'


def test_inside_php_runs_only_pages_that_have_no_work_to_do() -> None:
    for path, script in (('/', 'index.php'), ('/wp-login.php', 'wp-login.php'), ('/wp-admin/', 'wp-admin/index.php')):
        packed = re.search(r"base64_decode\( '([^']+)'", program(Request(f'http://site.test{path}'), '/srv/www'))
        assert packed is not None
        assert f'"script": "{encoded(script)}"' in base64.b64decode(packed[1]).decode()
    for path in ('/wp-cron.php', '/wp-admin/upgrade.php', '/wp-content/plugins/a/a.php', '/wp-activate.php?key=1'):
        with pytest.raises(SiteError, match='is not run inside PHP'):
            program(Request(f'http://site.test{path}'), '/srv/www')
