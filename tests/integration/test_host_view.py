"""The view from the host on real sites: it finds what is not in its usual place, and changes nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from fixtures.lab import Lab
from fixtures.lab.processes import marked
from fixtures.lab.traces import eventually
from wpaudit.domain import Request
from wpaudit.errors import SiteError
from wpaudit.facts import HostState
from wpaudit.facts import LogLine
from wpaudit.facts import Look
from wpaudit.facts import Pool
from wpaudit.facts import Purpose
from wpaudit.journal import FileJournal
from wpaudit.shells import ShellOptions
from wpaudit.shells import open_shell
from wpaudit.shells.target import parse_target
from wpaudit.sites import hostlooks
from wpaudit.sites.host import HostView
from wpaudit.sites.hostask import HostAsk
from wpaudit.sites.launch import LaunchOptions
from wpaudit.sites.pulse import pulses
from wpaudit.sites.pulse import reached
from wpaudit.sites.wpcli import WpCliSite

Unchanged = Callable[[Lab], AbstractContextManager[None]]
OpenSite = Callable[[Lab], WpCliSite]
LOOKS = (Purpose.HOST_PUBLIC, Purpose.HOST_LOOPBACK, Purpose.FASTCGI, Purpose.INSIDE)
WITH_NGINX_AND_APACHE = pytest.mark.parametrize('site', ['sqlite', 'apache'], indirect=True)
MARKER = 'wpaudit-look=5f2c'


@pytest.fixture
def open_site(tmp_path: Path) -> Iterator[OpenSite]:
    """Open wpaudit's connection to a lab."""
    with contextlib.ExitStack() as ending:

        def make(lab: Lab) -> WpCliSite:
            target = parse_target(lab.target)
            shell = ShellOptions(identity=lab.identity, known_hosts=lab.known_hosts)
            one = WpCliSite(
                lambda: open_shell(target, shell), LaunchOptions(path=target.path or '', url=lab.url),
                journal=FileJournal('host', tmp_path),
            )
            ending.callback(one.close)
            return one

        yield make


def look(view: HostView, lab: Lab, purpose: Purpose, path: str = f'/?{MARKER}', timeout: float = 30) -> Look:
    return view.look(purpose, Request(f'{lab.url}{path}'), marker=MARKER, timeout=timeout)


def view_of(site: WpCliSite) -> HostView:
    view = site.inside()
    assert isinstance(view, HostView)
    return view


def faulty(lab: Lab, *names: str) -> None:
    lab.activate([*lab.active(), *(lab.install(name) for name in names)])


def own_pool(state: HostState) -> Pool:
    (pool,) = [pool for pool in state.pools if pool.serves_site]
    return pool


def command_lines(lab: Lab) -> list[str]:
    found = []
    for process in marked(lab.layout.root):
        with contextlib.suppress(OSError):
            found.append(Path(f'/proc/{process.pid}/cmdline').read_text(errors='replace'))
    return found


# -- state ------------------------------------------------------------------------------------------

@WITH_NGINX_AND_APACHE
def test_the_state_of_a_host_where_nothing_is_in_its_usual_place(site: Lab, open_site: OpenSite) -> None:
    one = open_site(site)
    state, gaps = one.inside().state()
    pool = own_pool(state)
    assert (pool.name, pool.listen) == ('www', f'unix:{site.layout.run}/fpm.sock')
    assert (pool.manager, pool.max_children, pool.terminate_timeout, pool.socket) == ('dynamic', 6, 3.0, 'answers')
    assert pool.workers >= 1
    assert 0 <= pool.busy < pool.workers
    assert (pool.queue, pool.queue_limit) == (0, 128)
    assert state.server == site.variant.web
    assert abs(state.clock) < 2
    assert state.load >= 0
    assert state.processors == os.cpu_count()
    assert 0 < state.memory_available <= state.memory
    assert all(0 <= disk.free <= disk.size and disk.inodes_free != 0 for disk in state.disks)
    assert state.disks
    named = 'nginx fastcgi_read_timeout' if site.variant.web == 'nginx' else 'apache ProxyTimeout'
    assert state.settings[named].startswith('20')
    assert state.settings['php memory_limit']
    assert [gap for gap in gaps if str(site.layout.root) in gap.what + gap.why] == []
    assert one.costs()['wp_cli_starts'] == 1


def test_wordpress_is_loaded_only_when_somebody_asks_for_it(site: Lab, open_site: OpenSite) -> None:
    one = open_site(site)
    one.inside().state()
    assert one.inventory().facts.url == site.url
    assert one.costs()['wp_cli_starts'] == 1
    assert look(view_of(one), site, Purpose.INSIDE).answer.status == 200


def test_a_busy_pool_and_one_that_is_stopped(site: Lab, open_site: OpenSite) -> None:
    view = view_of(open_site(site))
    assert own_pool(view.state()[0]).busy == 0
    faulty(site, 'slow')
    visit = threading.Thread(target=lambda: site.get('/', timeout=20))
    visit.start()
    eventually(lambda: own_pool(view.state()[0]).busy >= 1)
    visit.join()
    site.machine.end('fpm')
    try:
        assert own_pool(view.state()[0]).socket in {'missing', 'refused'}
        answer = look(view, site, Purpose.FASTCGI).answer
        assert (answer.status, answer.error) == (0, 'refused')
        assert f'{site.layout.run}/fpm.sock' in answer.detail
        assert look(view, site, Purpose.HOST_LOOPBACK).answer.status == 502
    finally:
        site.machine.start(['fpm'])


def test_php_fpms_own_count_is_believed(site: Lab, open_site: OpenSite) -> None:
    conf = site.layout.etc / 'php-fpm.conf'
    was = conf.read_text()
    conf.write_text(f'{was}pm.status_path = /fpm-status\n')
    site.machine.end('fpm')
    site.machine.start(['fpm'])
    try:
        faulty(site, 'slow')
        view = view_of(open_site(site))
        assert own_pool(view.state()[0]).busy == 0
        visit = threading.Thread(target=lambda: site.get('/', timeout=20))
        visit.start()
        eventually(lambda: own_pool(view.state()[0]).busy == 1)
        visit.join()
    finally:
        conf.write_text(was)
        site.machine.end('fpm')
        site.machine.start(['fpm'])


def test_every_state_a_socket_can_be_in(lab: Lab, open_site: OpenSite) -> None:
    run = lab.layout.run
    agent = open_site(lab).agent
    with contextlib.ExitStack() as ending:
        places = {}
        for name, mode in (('full', 0o666), ('denied', 0o600), ('refused', 0o666)):
            places[name] = run / f'{name}.sock'
            server = ending.enter_context(socket.socket(socket.AF_UNIX))
            server.bind(str(places[name]))
            ending.callback(places[name].unlink)
            places[name].chmod(mode)
            if name != 'refused':
                server.listen(0)
        for _ in range(2):
            waiting = ending.enter_context(socket.socket(socket.AF_UNIX))
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(str(places['full']))
        expected = {'missing': f'unix:{run}/no.sock', 'answers': f'unix:{run}/fpm.sock'}
        expected |= {name: f'unix:{path}' for name, path in places.items()}
        beats = pulses(HostAsk(lambda: agent), (), expected.values())
        closed = beats[expected.pop('denied')].word
    assert {word: beats[place].word for word, place in expected.items()} == {word: word for word in expected}
    assert closed == ('denied' if os.geteuid() == 0 else 'answers')


def test_files_that_would_hold_us_up_are_named_and_not_read(lab: Lab, open_site: OpenSite) -> None:
    agent = open_site(lab).agent
    home = lab.home / 'strange'
    home.mkdir()
    try:
        (home / 'big.conf').write_bytes(b'#' * (10 << 20))
        os.mkfifo(home / 'pipe.conf')
        (home / 'endless.conf').symlink_to('/dev/zero')
        (home / 'loop.conf').symlink_to(home / 'loop.conf')
        (home / 'folder.conf').mkdir()
        (home / 'caf\udce9.conf').write_bytes(b'caf\xe9')
        read = HostAsk(lambda: agent).files([f'{home}/*.conf', f'{home}/none'])
        found = {Path(file.path).name: file for file in read}
    finally:
        shutil.rmtree(home)
    assert {name: file.why.partition(' (')[0] for name, file in found.items()} == {
        'big.conf': 'is too large', 'pipe.conf': 'is no regular file', 'endless.conf': 'is no regular file',
        'loop.conf': 'does not exist', 'folder.conf': 'is a directory', 'caf\udce9.conf': '', 'none': 'does not exist'}
    assert found['caf\udce9.conf'].text == 'caf\udce9'


def test_upstreams_that_are_there_and_not(lab: Lab, open_site: OpenSite) -> None:
    agent = open_site(lab).agent
    with socket.socket() as unused:
        unused.bind(('127.0.0.1', 0))
        closed = f'127.0.0.1:{unused.getsockname()[1]}'
        places = [f'127.0.0.1:{lab.port}', closed, 'no-such-name.invalid:80', f'unix:{lab.layout.run}/no.sock']
        found = reached(HostAsk(lambda: agent), places)
    assert list(found) == [places[0], closed, places[2], places[3]]
    assert found[places[0]] == ''
    assert '111' in found[closed]
    assert 'could not be resolved' in found[places[2]]
    assert 'missing' in found[places[3]]


def test_a_configuration_that_is_closed_is_a_gap_that_says_who_may(site: Lab, open_site: OpenSite) -> None:
    if os.geteuid() != 0:
        pytest.skip('only root can take a file away from the site user')
    conf = site.layout.etc / 'nginx.conf'
    was = conf.stat()
    os.chown(conf, 0, 4)
    conf.chmod(0o640)
    try:
        state, gaps = open_site(site).inside().state()
    finally:
        os.chown(conf, was.st_uid, was.st_gid)
        conf.chmod(was.st_mode & 0o7777)
    (gap,) = [gap for gap in gaps if gap.what == f'nginx: {conf}']
    assert 'root:adm' in gap.why
    assert 'group adm may read it' in gap.why
    assert not any(pool.serves_site for pool in state.pools)


def test_other_sites_of_the_host_stay_out_of_it(site: Lab, open_site: OpenSite) -> None:
    """There is another pool, which crashes; the web server is down, so nobody knows which pool is the site's own."""
    conf = site.layout.etc / 'php-fpm.conf'
    was = conf.read_text()
    pool = was[was.index('[www]'):].replace('fpm.sock', 'other.sock').replace('[www]', '[other]')
    conf.write_text(f'{was}\n{pool}')
    site.machine.end('fpm')
    site.machine.end('nginx')
    site.machine.start(['fpm'])
    try:
        faulty(site, 'crash-worker')
        view = view_of(open_site(site))
        state, _ = view.state()
        since = time.time()
        ask = HostAsk(lambda: view._ask.agent)
        hostlooks.over_fastcgi(
            ask, Request(site.url), f'unix:{site.layout.run}/other.sock', docroot=str(site.path), timeout=10)
        eventually(after(site, 'fpm', 'exited on signal 11'))
        lines, _ = view.lines(since, [MARKER])
    finally:
        conf.write_text(was)
        site.machine.end('fpm')
        site.machine.start(['fpm', 'nginx'])
    assert {'www', 'other'} <= {pool.name for pool in state.pools}
    assert lines == ()


# -- looks ------------------------------------------------------------------------------------------

@WITH_NGINX_AND_APACHE
def test_every_look_sees_a_healthy_site_and_changes_nothing(
    site: Lab, open_site: OpenSite, unchanged: Unchanged,
) -> None:
    view = view_of(open_site(site))
    with unchanged(site):
        seen = {purpose: look(view, site, purpose) for purpose in LOOKS}
    for purpose, one in seen.items():
        assert (one.answer.status, one.answer.error, one.answer.truncated) == (200, '', False), (purpose, one.answer)
        assert one.answer.body.rstrip().endswith('</html>')
        assert site.plugins_seen(one.answer.body) == site.plugins_seen(seen[Purpose.HOST_PUBLIC].answer.body)
        assert (one.vantage, one.marker) == ('host', MARKER)
        assert abs(one.at - time.time()) < 300
    assert seen[Purpose.INSIDE].database is True
    assert seen[Purpose.HOST_LOOPBACK].address == f'127.0.0.1:{site.port}'
    assert seen[Purpose.FASTCGI].answer.headers['content-type'].startswith('text/html')


def test_a_page_with_a_script_of_its_own_is_what_every_look_sees(
    site: Lab, open_site: OpenSite, unchanged: Unchanged,
) -> None:
    view = view_of(open_site(site))
    with unchanged(site):
        login = {purpose: look(view, site, purpose, f'/wp-login.php?{MARKER}').answer for purpose in LOOKS}
        ajax = {purpose: look(view, site, purpose, f'/wp-admin/admin-ajax.php?{MARKER}').answer for purpose in LOOKS}
        with pytest.raises(SiteError, match='is not run inside PHP'):
            look(view, site, Purpose.INSIDE, f'/wp-cron.php?{MARKER}')
    assert {purpose for purpose, answer in login.items() if 'id="loginform"' in answer.body} == set(LOOKS)
    assert {(answer.status, answer.body) for answer in ajax.values()} == {(400, '0')}


@pytest.mark.parametrize('site', ['sqlite', 'mariadb', 'multisite'], indirect=True)
def test_inside_writes_nothing_whatever_plugins_try(site: Lab, open_site: OpenSite, unchanged: Unchanged) -> None:
    faulty(site, 'writer', 'mailer')
    site.install_drop_in('object-cache.php')
    view = view_of(open_site(site))
    with unchanged(site):
        one = look(view, site, Purpose.INSIDE)
    assert one.answer.status == 200, one.answer
    assert 'writer' in site.plugins_seen(one.answer.body)
    assert site.mails == []


def not_even_in_cli(site: Lab) -> None:
    """Let the plugin that crashes workers spare nobody."""
    spares_cli = site.path / 'wp-content' / 'mu-plugins' / 'spares-nobody.php'
    spares_cli.parent.mkdir(exist_ok=True)
    spares_cli.write_text("<?php define( 'CRASH_WORKER_IN_CLI', true );\n")


@pytest.mark.parametrize('site', ['sqlite', 'mariadb', 'multisite'], indirect=True)
def test_what_a_page_costs_each_plugin_is_recorded_without_a_change(
    site: Lab, open_site: OpenSite, unchanged: Unchanged,
) -> None:
    faulty(site, 'writer', 'mailer')
    view = view_of(open_site(site))
    with unchanged(site):
        costs = view.costs(Request(f'{site.url}/?{MARKER}'), timeout=20)
    listed = {suspect for one in costs for suspect in one.suspects}
    assert listed >= {*site.active(), *(site.active(network=True) if len(site.blogs) > 1 else ())}
    writer = next(one for one in costs if one.name == 'writer')
    assert (writer.calls > 0, writer.queries > 0) == (True, True)
    assert site.mails == []


@pytest.mark.parametrize(('fault', 'why'), [('crash-worker', 'SIGSEGV'), ('fatal', 'fatal.php')])
def test_a_page_that_does_not_come_to_its_end_has_no_costs(
    site: Lab, open_site: OpenSite, unchanged: Unchanged, fault: str, why: str,
) -> None:
    faulty(site, fault)
    not_even_in_cli(site)
    with unchanged(site), pytest.raises(SiteError, match=why):
        view_of(open_site(site)).costs(Request(site.url), timeout=20)


def test_a_crash_inside_is_a_signal_and_not_the_end_of_the_agent(
    site: Lab, open_site: OpenSite, unchanged: Unchanged,
) -> None:
    faulty(site, 'crash-worker')
    not_even_in_cli(site)
    view = view_of(open_site(site))
    with unchanged(site):
        crashed = look(view, site, Purpose.INSIDE)
    assert (crashed.answer.status, crashed.answer.error) == (0, 'reset')
    assert 'SIGSEGV' in crashed.answer.detail
    assert '139' in crashed.answer.detail
    assert crashed.database is True
    assert look(view, site, Purpose.FASTCGI).answer.error == 'reset'
    assert own_pool(view.state()[0]).socket == 'answers'


def test_a_fatal_error_inside_names_its_file(site: Lab, open_site: OpenSite, unchanged: Unchanged) -> None:
    faulty(site, 'fatal')
    with unchanged(site):
        answer = look(view_of(open_site(site)), site, Purpose.INSIDE).answer
    assert answer.status == 500
    assert 'plugins/fatal/fatal.php' in answer.detail


def test_a_request_that_takes_too_long_is_ended(site: Lab, open_site: OpenSite) -> None:
    faulty(site, 'slow')
    view = view_of(open_site(site))
    for purpose in LOOKS:
        began = time.monotonic()
        answer = look(view, site, purpose, timeout=1).answer
        assert (answer.status, answer.error) == (0, 'timeout'), (purpose, answer)
        assert time.monotonic() - began < 15
    eventually(lambda: not any('disable_functions=exec' in words for words in command_lines(site)))


def test_without_proc_open_there_is_no_look_inside_and_the_rest_goes_on(site: Lab, open_site: OpenSite) -> None:
    wp = site.layout.bin / 'wp'
    was = wp.read_text()
    wp.write_text(was.replace('exec php ', 'exec php -d disable_functions=proc_open '))
    try:
        view = view_of(open_site(site))
        with pytest.raises(SiteError, match='proc_open is switched off'):
            look(view, site, Purpose.INSIDE)
        assert view.state()[0].load >= 0
        assert look(view, site, Purpose.FASTCGI).answer.status == 200
    finally:
        wp.write_text(was)


@pytest.mark.parametrize('site', ['mariadb'], indirect=True)
def test_a_database_that_is_down_does_not_close_our_eyes(site: Lab, open_site: OpenSite) -> None:
    site.machine.end('mariadb')
    try:
        view = view_of(open_site(site))
        assert own_pool(view.state()[0]).socket == 'answers'
        seen = {purpose: look(view, site, purpose) for purpose in LOOKS}
    finally:
        site.machine.start(['mariadb'])
    assert {one.answer.status for one in seen.values()} <= {500, 503}
    assert seen[Purpose.INSIDE].database is False


def test_a_wordpress_that_cannot_be_loaded_can_be_looked_at(site: Lab, open_site: OpenSite) -> None:
    site.install_must_use('fatal.php')
    one = open_site(site)
    view = view_of(one)
    assert own_pool(view.state()[0]).socket == 'answers'
    with pytest.raises(SiteError):
        one.inventory()
    inside = look(view, site, Purpose.INSIDE).answer  # by an agent that was started anew
    assert inside.status == 500
    assert 'mu-plugins/fatal.php' in inside.detail


def test_what_is_no_look_of_the_host_is_refused(site: Lab, open_site: OpenSite) -> None:
    view = view_of(open_site(site))
    with pytest.raises(SiteError):
        look(view, site, Purpose.REFRESH)
    with pytest.raises(SiteError):
        view.look(Purpose.HOST_PUBLIC, Request('ftp://x/'), timeout=5)
    with pytest.raises(SiteError):
        view.look(Purpose.HOST_PUBLIC, Request(site.url, headers=(('X-A', 'b\r\nX-C: d'),)), timeout=5)


def test_names_and_ports_where_nothing_is(site: Lab, open_site: OpenSite) -> None:
    view = view_of(open_site(site))
    with socket.socket() as unused:
        unused.bind(('127.0.0.1', 0))
        port = unused.getsockname()[1]
        refused = view.look(Purpose.HOST_PUBLIC, Request(f'http://127.0.0.1:{port}/'), timeout=5).answer
    assert (refused.status, refused.error) == (0, 'refused')
    unknown = view.look(Purpose.HOST_PUBLIC, Request('http://no-such-name.invalid/'), timeout=10).answer
    assert (unknown.status, unknown.error) == (0, 'dns')
    assert 'no-such-name.invalid' in unknown.detail


# -- odd servers, asked by the agent ------------------------------------------------------------------

@contextlib.contextmanager
def serving(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """Serve one connection after the other until the end."""
    with socket.create_server(('127.0.0.1', 0)) as server:
        server.settimeout(0.1)
        ended = threading.Event()

        def loop() -> None:
            while not ended.is_set():
                with contextlib.suppress(OSError):
                    connection, _ = server.accept()
                    with connection:
                        connection.settimeout(10)
                        answer(connection)

        thread = threading.Thread(target=loop)
        thread.start()
        try:
            yield int(server.getsockname()[1])
        finally:
            ended.set()
            thread.join()


def test_a_certificate_of_its_own_making_is_told(site: Lab, open_site: OpenSite, tmp_path: Path) -> None:
    key, certificate = tmp_path / 'key.pem', tmp_path / 'cert.pem'
    subprocess.run(
        ['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2',
         '-subj', '/CN=site.test', '-keyout', str(key), '-out', str(certificate)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    names: list[str | None] = []
    context.sni_callback = lambda _, name, __: names.append(name)

    def answer(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            secure.recv(4096)
            secure.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')

    one = open_site(site)
    with serving(answer) as port:
        seen = one.inside().look(Purpose.HOST_PUBLIC, Request(f'https://localhost:{port}/'), timeout=10).answer
        ask = HostAsk(lambda: one.agent)
        loose = hostlooks.over_http(
            ask, Request('https://site.test/'), f'127.0.0.1:{port}', tls=True, verify=False, timeout=10).answer
    assert (seen.status, seen.error) == (0, 'tls')
    assert 'certificate' in seen.detail.lower()
    assert (loose.status, loose.body) == (200, 'ok')
    assert names == ['localhost', 'site.test']


END = b'\x01\x03\x00\x01\x00\x08\x00\x00' + bytes(8)


def record(kind: int, content: bytes, padding: int = 0) -> bytes:
    head = bytes([1, kind, 0, 1]) + len(content).to_bytes(2, 'big') + bytes([padding, 0])
    return head + content + bytes(padding)


PAGE = record(6, b'Content-Type: text/html\r\n\r\nhel', 5) + record(7, b'PHP message: oops') + record(6, b'lo') + END


@pytest.mark.parametrize(('pieces', 'expected'), [
    ([PAGE], (200, '', 'hello')),
    ([PAGE[n:n + 1] for n in range(len(PAGE))], (200, '', 'hello')),
    ([record(6, b'Status: 502 Bad Gateway\r\n\r\n') + END], (502, '', '')),
    ([END], (0, 'reset', '')),
    ([], (0, 'reset', '')),
    ([b'HTTP/1.1 400 Bad Request\r\n\r\n'], (0, 'protocol', '')),
    ([PAGE[:40]], (200, '', 'hel')),
])
def test_fastcgi_in_any_pieces(
    lab: Lab, open_site: OpenSite, pieces: list[bytes], expected: tuple[int, str, str],
) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        for piece in pieces:
            connection.sendall(piece)

    agent = open_site(lab).agent
    with serving(answer) as port:
        ask = HostAsk(lambda: agent)
        seen = hostlooks.over_fastcgi(ask, Request(lab.url), f'127.0.0.1:{port}', docroot='/w', timeout=10).answer
    assert (seen.status, seen.error, seen.body) == expected, seen
    assert seen.truncated == (pieces == [PAGE[:40]])


# -- lines ------------------------------------------------------------------------------------------

def texts(lines: tuple[LogLine, ...], source: str) -> str:
    return '\n'.join(line.text for line in lines if line.source == source)


def after(lab: Lab, name: str, text: str) -> Callable[[], bool]:
    return lambda: text in lab.logs[name].read_text(errors='replace')


def test_lines_about_a_crash(site: Lab, open_site: OpenSite) -> None:
    faulty(site, 'crash-worker')
    view = view_of(open_site(site))
    view.state()
    site.get('/somebody-else/')
    since = time.time()
    assert site.get(f'/?{MARKER}')[0] == 502
    eventually(after(site, 'fpm', 'exited on signal 11'))
    eventually(after(site, 'nginx-access', MARKER))  # its line is written when the answer has gone out
    lines, gaps = view.lines(since, [MARKER])
    assert 'recv() failed (104: Connection reset by peer)' in texts(lines, 'nginx')
    assert 'exited on signal 11 (SIGSEGV)' in texts(lines, 'php-fpm')
    assert MARKER in texts(lines, 'access')
    assert all('somebody-else' not in line.text for line in lines)
    assert {line.matched for line in lines if line.source in {'nginx', 'access'}} == {'marker'}
    assert {line.marker for line in lines if line.source == 'nginx'} == {MARKER}
    assert {line.matched for line in lines if line.source == 'php-fpm'} == {'time'}
    assert [gap for gap in gaps if str(site.layout.root) in gap.what] == []


@pytest.mark.parametrize('site', ['apache'], indirect=True)
def test_lines_of_apache_about_a_crash(site: Lab, open_site: OpenSite) -> None:
    faulty(site, 'crash-worker')
    since = time.time()
    assert site.get(f'/?{MARKER}')[0] == 503
    lines, _ = open_site(site).inside().lines(since, [MARKER])  # asked for the first time after the request
    assert 'AH01067' in texts(lines, 'apache')
    assert {line.matched for line in lines if 'AH01067' in line.text} == {'connection'}


def test_the_sites_own_debug_log(site: Lab, open_site: OpenSite) -> None:
    faulty(site, 'fatal')
    config = site.path / 'wp-config.php'
    was = config.read_text()
    config.write_text(was.replace("define( 'WP_DEBUG', false )", "define( 'WP_DEBUG', true )")
                      .replace("define( 'WP_DEBUG_LOG', false )", "define( 'WP_DEBUG_LOG', true )"))
    try:
        view = view_of(open_site(site))
        view.state()
        since = time.time()
        assert look(view, site, Purpose.FASTCGI).answer.status == 500
        lines, _ = view.lines(since, [MARKER])
    finally:
        config.write_text(was)
    assert 'plugins/fatal/fatal.php' in texts(lines, 'wordpress')


def test_a_huge_log_costs_its_end_only(site: Lab, open_site: OpenSite) -> None:
    log = site.logs['nginx-error']
    with log.open('r+b') as stream:
        stream.truncate(1 << 30)  # sparse: the end of a gigabyte
        stream.seek(0, os.SEEK_END)
    faulty(site, 'crash-worker')
    site.get('/warm-up')
    since = time.time()
    assert site.get(f'/?{MARKER}')[0] == 502
    one = open_site(site)
    try:
        lines, _ = one.inside().lines(since, [MARKER])
    finally:
        os.truncate(log, 0)
    assert MARKER in texts(lines, 'nginx')


def test_a_log_that_was_rotated_meanwhile(site: Lab, open_site: OpenSite) -> None:
    faulty(site, 'crash-worker')
    site.get('/warm-up')
    view = view_of(open_site(site))
    view.state()
    os.truncate(site.logs['nginx-error'], 0)  # copytruncate, as logrotate has it
    since = time.time()
    site.get(f'/?{MARKER}')
    lines, _ = view.lines(since, [MARKER])
    assert MARKER in texts(lines, 'nginx')


def test_a_log_that_was_moved_away_meanwhile(site: Lab, open_site: OpenSite) -> None:
    faulty(site, 'crash-worker')
    site.get('/warm-up')
    view = view_of(open_site(site))
    view.state()
    since = time.time()
    assert site.get(f'/?{MARKER}')[0] == 502
    log = site.logs['nginx-error']
    moved = log.with_name(f'{log.name}.1')
    log.rename(moved)
    log.touch()
    try:
        lines, _ = view.lines(since, [MARKER])
    finally:
        moved.replace(log)
    assert MARKER in texts(lines, 'nginx')


def test_a_log_that_is_closed_is_a_gap(site: Lab, open_site: OpenSite) -> None:
    if os.geteuid() != 0:
        pytest.skip('only root can take a file away from the site user')
    log = site.logs['nginx-error']
    was = log.stat()
    os.chown(log, 0, 4)
    log.chmod(0o640)
    try:
        _, gaps = open_site(site).inside().lines(time.time(), [MARKER])
    finally:
        os.chown(log, was.st_uid, was.st_gid)
        log.chmod(was.st_mode & 0o7777)
    (gap,) = [gap for gap in gaps if str(log) in gap.what]
    assert gap.what == f'nginx error log {log}'
    assert 'group adm may read it' in gap.why


def test_a_host_whose_clock_is_ahead(site: Lab, open_site: OpenSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours is moved instead: ten minutes behind, so that the host is ten minutes ahead."""
    faulty(site, 'crash-worker')
    real = time.time
    monkeypatch.setattr(time, 'time', lambda: real() - 600)
    view = view_of(open_site(site))
    state, _ = view.state()
    assert state.clock == pytest.approx(600, abs=5)
    since = time.time()
    seen = look(view, site, Purpose.HOST_LOOPBACK, path='/')
    assert abs(seen.at - since) < 30
    eventually(after(site, 'fpm', 'exited on signal 11'))
    lines, _ = view.lines(since, [])
    assert 'exited on signal 11' in texts(lines, 'php-fpm')
    assert 'recv() failed' in texts(lines, 'nginx')
    assert view.lines(since + 3600, [])[0] == ()


