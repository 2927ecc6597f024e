"""The contract of Outside, against the real thing on loopback and against the fake."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fixtures import web
from fixtures.looking import FakeOutside
from fixtures.looking import always
from fixtures.proxy import Proxy
from wpaudit.domain import Request
from wpaudit.errors import ShellError
from wpaudit.errors import UsageError
from wpaudit.facts import Purpose
from wpaudit.ports import Outside
from wpaudit.probes import outside as module
from wpaudit.probes.outside import NetworkOutside
from wpaudit.probes.outside import parse_proxy
from wpaudit.probes.outside import proxy_label
from wpaudit.probes.wire import Route

HTML = b'<html><body>hello</body></html>'
NAME = 'site.test'
SOON = 0.4  # seconds; for what is meant to run into its limit


@pytest.fixture
def server() -> Iterator[web.WebServer]:
    with web.WebServer({'/': web.page(web.NGINX_502, status=b'502 Bad Gateway')}) as running:
        yield running


def here(**options: object) -> NetworkOutside:
    return NetworkOutside(resolve={NAME: ('127.0.0.1',)}, **options)  # type: ignore[arg-type]  # of NetworkOutside



@pytest.fixture(params=['network', 'fake'])
def outside(request: pytest.FixtureRequest) -> Outside:
    return here() if request.param == 'network' else FakeOutside(always(502), name=NAME, ipv4=('127.0.0.1',))


# -- every one ------------------------------------------------------------------------------------

def test_a_name_means_its_addresses(outside: Outside) -> None:
    found = outside.resolve(NAME)
    assert (found.name, found.vantage, found.ipv4, found.ipv6, found.error) == (NAME, 'here', ('127.0.0.1',), (), '')


def test_a_name_that_means_nothing(outside: Outside) -> None:
    found = outside.resolve('nowhere.invalid')
    assert (found.ipv4, found.ipv6) == ((), ())
    assert 'nowhere.invalid' in found.error


def test_a_connection_is_tried(outside: Outside, server: web.WebServer) -> None:
    done = outside.connect('127.0.0.1', server.port)
    assert (done.address, done.port, done.vantage, done.tcp_error, done.tls_error) == (
        '127.0.0.1', server.port, 'here', '', '')
    assert done.tcp_seconds > 0


@pytest.mark.parametrize('address', ['', '127.0.0.1'])
def test_a_look_is_answered(outside: Outside, server: web.WebServer, address: str) -> None:
    before = time.time()
    url = f'http://{NAME}:{server.port}/?wpaudit=abc123'
    look = outside.look(Purpose.ADDRESS, Request(url), address=address, marker='abc123', timeout=10)
    assert (look.purpose, look.vantage, look.marker, look.http_version) == (Purpose.ADDRESS, 'here', 'abc123', '1.1')
    assert (look.answer.status, look.answer.error) == (502, '')
    assert look.answer.seconds > 0
    assert before <= look.at <= time.time()


def test_closing_twice(outside: Outside) -> None:
    outside.close()
    outside.close()


# -- names and addresses --------------------------------------------------------------------------

def test_families_are_told_apart() -> None:
    outside = NetworkOutside(resolve={NAME: ('127.0.0.2', '::1', '127.0.0.3')})
    found = outside.resolve(NAME)
    assert (found.ipv4, found.ipv6) == (('127.0.0.2', '127.0.0.3'), ('::1',))


@pytest.mark.parametrize(('name', 'ipv4', 'ipv6'), [
    ('127.0.0.9', ('127.0.0.9',), ()), ('::1', (), ('::1',)), ('[::1]', (), ('::1',)),
])
def test_an_address_means_itself(name: str, ipv4: tuple[str, ...], ipv6: tuple[str, ...]) -> None:
    found = NetworkOutside().resolve(name)
    assert (found.ipv4, found.ipv6, found.error) == (ipv4, ipv6, '')


def test_name_servers_that_do_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    hung = threading.Event()
    monkeypatch.setattr('socket.getaddrinfo', lambda *_, **__: [()] * (hung.wait(10) is None))
    monkeypatch.setattr(module, 'RESOLVE_SECONDS', SOON)
    found = NetworkOutside().resolve('slow.example')
    hung.set()
    assert (found.ipv4, found.ipv6) == ((), ())
    assert 'name servers' in found.error


def test_two_servers_behind_one_name_answer_differently() -> None:
    with ExitStack() as stack:
        good = stack.enter_context(web.WebServer({'/': web.page(HTML)}, host='127.0.0.2'))
        bad = stack.enter_context(web.WebServer(
            {'/': web.page(web.NGINX_502, status=b'502 Bad Gateway')}, host='127.0.0.3', port=good.port))
        outside = NetworkOutside(resolve={NAME: ('127.0.0.2', '127.0.0.3')})
        request = Request(f'http://{NAME}:{good.port}/')
        looks = {
            address: outside.look(Purpose.ADDRESS, request, address=address, timeout=10)
            for address in outside.resolve(NAME).ipv4
        }
        plain = outside.look(Purpose.REFRESH, request, timeout=10)
    assert {address: look.answer.status for address, look in looks.items()} == {'127.0.0.2': 200, '127.0.0.3': 502}
    assert {address: look.address for address, look in looks.items()} == {one: one for one in looks}
    assert (plain.answer.status, plain.address) == (200, '127.0.0.2')
    assert len(bad.requests) == 1
    assert f'Host: {NAME}:{good.port}'.encode() in bad.requests[0]


def test_ipv6_refused_but_ipv4_fine(server: web.WebServer) -> None:
    outside = NetworkOutside(resolve={NAME: ('::1', '127.0.0.1')})
    assert outside.connect('::1', server.port).tcp_error == 'refused'
    assert outside.connect('127.0.0.1', server.port).tcp_error == ''
    look = outside.look(Purpose.REFRESH, Request(f'http://{NAME}:{server.port}/'), timeout=10)
    assert (look.answer.status, look.address) == (502, '127.0.0.1')
    pinned = outside.look(Purpose.ADDRESS, Request(f'http://{NAME}:{server.port}/'), address='::1', timeout=10)
    assert (pinned.answer.error, pinned.address) == ('refused', '::1')


def test_ipv6_answers_too() -> None:
    with web.WebServer({'/': web.page(HTML)}, host='::1') as server:
        look = NetworkOutside().look(Purpose.REFRESH, Request(server.url()), timeout=10)
        done = NetworkOutside().connect('::1', server.port)
    assert (look.answer.status, look.address, done.tcp_error) == (200, '::1', '')


def test_an_address_stays_for_the_redirects(server: web.WebServer) -> None:
    server.routes['/'] = web.redirect('/next')
    server.routes['/next'] = web.page(HTML)
    look = NetworkOutside().look(
        Purpose.ADDRESS, Request(f'http://nowhere.invalid:{server.port}/'), address='127.0.0.1', timeout=10)
    assert (look.answer.status, look.answer.url) == (200, f'http://nowhere.invalid:{server.port}/next')


# -- no connection ----------------------------------------------------------------------------------

def test_a_closed_port_refuses() -> None:
    with web.closed_port() as port:
        assert here().connect('127.0.0.1', port).tcp_error == 'refused'


@pytest.mark.parametrize(('raised', 'word'), [
    (TimeoutError(), 'timeout'), (ConnectionRefusedError(), 'refused'), (ConnectionResetError(), 'reset'),
    (OSError(101, 'Network is unreachable'), 'unreachable'), (OSError(113, 'No route to host'), 'unreachable'),
])
def test_words_for_what_went_wrong(raised: OSError, word: str) -> None:
    def dial(host: str, port: int, seconds: float) -> socket.socket:
        raise raised

    assert here(route=Route(dial=dial)).connect('127.0.0.1', 80).tcp_error == word


def test_an_address_that_swallows_packets() -> None:
    with socket.socket() as full:  # a backlog that is full takes no further connection and says nothing
        full.bind(('127.0.0.1', 0))
        full.listen(0)
        with ExitStack() as stack:
            for _ in range(3):
                one = stack.enter_context(socket.socket())
                one.setblocking(False)
                one.connect_ex(full.getsockname())
            done = here(connect_seconds=SOON).connect('127.0.0.1', full.getsockname()[1])
    assert (done.tcp_error, done.tcp_seconds < 5) == ('timeout', True)


# -- hostile answers --------------------------------------------------------------------------------

@pytest.mark.parametrize(('behaviour', 'error'), [
    (web.endless(b'HTTP/1.1 200 OK\r\n\r\n', b'z' * 65536), 'too-large'),
    (web.gzip_bomb(200), ''),
    (web.dripping(b'HTTP/1.1 200 OK\r\n', b'X: y\r\n'), 'timeout'),
    (web.dripping(b'', b'H'), 'timeout'),
    (web.silent, 'timeout'),
    (web.raw(b'nonsense\r\n\r\n'), 'protocol'),
    (web.reset_at_once, 'reset'),
    (web.redirect('/'), 'redirect-loop'),
], ids=['endless', 'bomb', 'dripping-head', 'dripping', 'silent', 'nonsense', 'reset', 'circle'])
def test_whatever_comes_is_bounded(server: web.WebServer, behaviour: web.Behaviour, error: str) -> None:
    server.routes['/'] = behaviour
    limit = SOON if error == 'timeout' else 20
    look = here().look(Purpose.REFRESH, Request(f'http://{NAME}:{server.port}/'), timeout=limit)
    assert look.answer.error == error
    assert len(look.answer.body) <= 1 << 20
    assert (look.address, look.answer.seconds < limit + 5) == ('127.0.0.1', True)


# -- TLS --------------------------------------------------------------------------------------------

Certified = Callable[..., tuple[web.WebServer, Path]]


@pytest.fixture
def certified(tmp_path: Path) -> Iterator[Certified]:
    with ExitStack() as stack:
        def make(*names: str, days: int = 1) -> tuple[web.WebServer, Path]:
            context, pem = web.tls_server(*names, days=days)
            path = tmp_path / 'ca.pem'
            path.write_bytes(pem)
            return stack.enter_context(web.WebServer({'/': web.page(HTML)}, tls=context)), path

        yield make


def test_tls_is_shaken_hands_over(certified: Certified) -> None:
    server, path = certified(NAME)
    done = here(verify=path).connect('127.0.0.1', server.port, tls_name=NAME)
    assert (done.tcp_error, done.tls_error, done.alpn) == ('', '', '')
    assert done.tls_seconds > 0
    look = here(verify=path).look(Purpose.REFRESH, Request(server.url(host=NAME)), timeout=10)
    assert look.answer.status == 200


@pytest.mark.parametrize(('names', 'days', 'trusted', 'words'), [
    ((NAME,), -1, True, 'expired'),
    (('other.test',), 1, True, "not valid for 'site.test'"),
    ((NAME,), 1, False, 'self-signed'),
])
def test_certificates_that_are_not_accepted(
    certified: Certified, names: tuple[str, ...], days: int, trusted: bool, words: str,
) -> None:
    server, path = certified(*names, days=days)
    outside = here(verify=path if trusted else True)
    done = outside.connect('127.0.0.1', server.port, tls_name=NAME)
    assert done.tcp_error == ''
    assert words in done.tls_error.replace('self signed', 'self-signed')
    look = outside.look(Purpose.REFRESH, Request(server.url(host=NAME)), timeout=10)
    assert (look.answer.error, look.http_version, look.address) == ('tls', '', '127.0.0.1')


def test_certificates_need_not_be_checked(certified: Certified) -> None:
    server, _ = certified('other.test', days=-1)
    assert here(verify=False).connect('127.0.0.1', server.port, tls_name=NAME).tls_error == ''


def test_no_tls_where_it_is_expected(server: web.WebServer) -> None:
    assert here(connect_seconds=SOON).connect('127.0.0.1', server.port, tls_name=NAME).tls_error


def test_a_handshake_that_never_ends() -> None:
    with socket.create_server(('127.0.0.1', 0)) as silent:
        done = here(connect_seconds=SOON).connect('127.0.0.1', silent.getsockname()[1], tls_name=NAME)
    assert done.tcp_error == ''
    assert '0.4 s' in done.tls_error
    assert done.tls_seconds < 5


# -- through a proxy ----------------------------------------------------------------------------------

@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy(names={NAME: '127.0.0.1'}) as running:
        yield running


def through(proxy: Proxy, *, login: str = '', **options: object) -> NetworkOutside:
    url = parse_proxy(f'http://{f"{login}@" if login else ""}127.0.0.1:{proxy.port}')
    return NetworkOutside(vantage=proxy_label(url), route=Route(proxy=url), **options)  # type: ignore[arg-type]


def test_a_proxy_is_told_the_whole_url(proxy: Proxy, server: web.WebServer) -> None:
    look = through(proxy).look(Purpose.PROXY, Request(f'http://{NAME}:{server.port}/?a=b'), timeout=10)
    assert (look.answer.status, look.address, look.vantage) == (502, '', f'proxy http://127.0.0.1:{proxy.port}')
    assert proxy.requests[0].startswith(f'GET http://{NAME}:{server.port}/?a=b HTTP/1.1\r\n'.encode())
    assert server.requests[0].startswith(b'GET /?a=b HTTP/1.1\r\n')


def test_a_proxy_connects_for_https(proxy: Proxy, certified: Certified) -> None:
    server, path = certified(NAME)
    look = through(proxy, verify=path).look(Purpose.PROXY, Request(server.url(host=NAME)), timeout=10)
    assert (look.answer.status, look.answer.detail) == (200, '')
    assert proxy.requests[0].startswith(f'CONNECT {NAME}:{server.port} '.encode())


@pytest.mark.parametrize('scheme', ['http', 'https'])
def test_a_proxy_that_wants_a_login(server: web.WebServer, certified: Certified, scheme: str) -> None:
    secure, path = certified(NAME)
    url = secure.url(host=NAME) if scheme == 'https' else f'http://{NAME}:{server.port}/'
    with Proxy(names={NAME: '127.0.0.1'}, login='me:s3cret') as proxy:
        refused = through(proxy, verify=path).look(Purpose.PROXY, Request(url), timeout=10)
        known = through(proxy, login='me:s3cret', verify=path)
        let_in = known.look(Purpose.PROXY, Request(url), timeout=10)
    assert refused.answer.status == (407 if scheme == 'http' else 0)
    assert scheme == 'http' or '407' in refused.answer.detail
    assert let_in.answer.status in {200, 502}
    assert 's3cret' not in known.vantage
    assert all(b's3cret' not in one and b'Proxy-Authorization' not in one for one in secure.requests)


def test_a_proxy_that_is_not_there(server: web.WebServer) -> None:
    with web.closed_port() as port:
        outside = NetworkOutside(route=Route(proxy=parse_proxy(f'http://127.0.0.1:{port}')))
        look = outside.look(Purpose.PROXY, Request(f'http://{NAME}:{server.port}/'), timeout=10)
    assert (look.answer.status, look.answer.error) == (0, 'refused')
    assert 'the proxy' in look.answer.detail


def test_a_proxy_that_does_not_know_the_name(proxy: Proxy) -> None:
    plain = through(proxy).look(Purpose.PROXY, Request('http://other.test/'), timeout=10)
    secure = through(proxy).look(Purpose.PROXY, Request('https://other.test/'), timeout=10)
    assert plain.answer.status == 502
    assert secure.answer.status == 0
    assert '502' in secure.answer.detail


@pytest.mark.parametrize('behaviour', [
    web.dripping(b'', b'H'), web.dripping(b'HTTP/1.1 200 OK\r\n', b'X: y\r\n'), web.silent,
])
def test_a_proxy_that_never_ends(behaviour: web.Behaviour) -> None:
    class Endless(web.WebServer):
        def _answered(self, talk: web.Talk) -> None:
            web.head(talk.sock)
            behaviour(talk)

    with Endless() as proxy:
        outside = NetworkOutside(route=Route(proxy=parse_proxy(f'127.0.0.1:{proxy.port}')))
        for scheme in ('http', 'https'):
            look = outside.look(Purpose.PROXY, Request(f'{scheme}://{NAME}/'), timeout=SOON)
            assert (look.answer.status, look.answer.error) in {(0, 'timeout'), (200, 'timeout')}
            assert look.answer.seconds < 5


@pytest.mark.parametrize('text', ['', 'socks5://h:1', 'https://h', 'http://h/path', 'http://', 'http://h?x', 'http://[x'])
def test_what_is_no_proxy(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_proxy(text)
    assert 'SOCKS' in caught.value.hint


# -- from another host ----------------------------------------------------------------------------------

def test_names_are_left_to_the_other_host(server: web.WebServer) -> None:
    dialled: list[tuple[str, int]] = []

    def dial(host: str, port: int, seconds: float) -> socket.socket:
        dialled.append((host, port))
        return socket.create_connection(('127.0.0.1', server.port), timeout=seconds)

    outside = NetworkOutside(vantage='via there', route=Route(dial=dial))
    look = outside.look(Purpose.VIA, Request('http://only-there.test/'), timeout=10)
    assert (look.answer.status, look.address, look.vantage) == (502, '', 'via there')
    assert dialled == [('only-there.test', 80)]
    assert 'over there' in outside.resolve('only-there.test').error
    pinned = NetworkOutside(resolve={NAME: ('192.0.2.1',)}, route=Route(dial=dial))
    assert pinned.look(Purpose.VIA, Request(f'http://{NAME}/'), timeout=10).address == '192.0.2.1'


def test_a_name_that_the_other_host_does_not_know() -> None:
    def dial(host: str, port: int, seconds: float) -> socket.socket:
        raise socket.gaierror(socket.EAI_NONAME, 'Name or service not known')

    look = NetworkOutside(route=Route(dial=dial)).look(Purpose.VIA, Request('http://x.test/'), timeout=10)
    assert look.answer.error == 'dns'


def test_another_host_that_cannot_be_used_is_not_the_sites_fault() -> None:
    def dial(host: str, port: int, seconds: float) -> socket.socket:
        raise ShellError('there does not forward connections.')

    outside = NetworkOutside(route=Route(dial=dial))
    with pytest.raises(ShellError):
        outside.look(Purpose.VIA, Request('http://x.test/'), timeout=10)
