"""The contract of Fetcher, against a real server that behaves as badly as sites do."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures import web
from wpaudit import __version__
from wpaudit.domain import Answer
from wpaudit.domain import Request
from wpaudit.errors import UsageError
from wpaudit.probes.http import HttpFetcher

SOON = 0.4  # seconds; for requests that are meant to run into their limit
HTML = b'<html><body>hello</body></html>'


@pytest.fixture
def server() -> Iterator[web.WebServer]:
    with web.WebServer() as running:
        yield running


def fetch(url: str, *, timeout: float = 10, fetcher: HttpFetcher | None = None, **fields: object) -> Answer:
    return (fetcher or HttpFetcher()).fetch(Request(url, **fields), timeout=timeout)  # type: ignore[arg-type]


# -- good answers ---------------------------------------------------------------------------------

def test_an_answer_is_returned_as_it_came(server: web.WebServer) -> None:
    server.routes['/'] = web.page(HTML, headers=b'X-Name: one\r\nX-Name: two\r\nX-City: K\xc3\xb6ln\r\n')
    answer = fetch(server.url('/?p=1'))
    assert (answer.status, answer.body, answer.size) == (200, HTML.decode(), len(HTML))
    assert (answer.error, answer.detail, answer.truncated) == ('', '', False)
    assert answer.headers['x-name'] == 'one, two'
    assert answer.headers['x-city'] == 'Köln'
    assert answer.url == server.url('/?p=1')
    assert answer.seconds > 0


@pytest.mark.parametrize('body', [HTML, b'', b'x' * 300_000])
def test_every_framing_ends_well(server: web.WebServer, body: bytes) -> None:
    server.routes['/length'] = web.page(body)
    server.routes['/chunked'] = web.chunked(*([body] if body else []))
    server.routes['/close'] = web.raw(b'HTTP/1.0 200 OK\r\n\r\n' + body)
    server.routes['/gzip'] = web.chunked(gzip.compress(body), headers=b'Content-Encoding: gzip\r\n')
    for path in server.routes:
        answer = fetch(server.url(path))
        assert (answer.status, answer.body.encode(), answer.truncated, answer.error) == (200, body, False, ''), path


def test_an_error_page_is_an_answer(server: web.WebServer) -> None:
    server.routes['/'] = web.page(web.NGINX_502, status=b'502 Bad Gateway')
    answer = fetch(server.url())
    assert (answer.status, answer.error) == (502, '')
    assert '<center>nginx' in answer.body


@pytest.mark.parametrize('head', ['204 No Content', '304 Not Modified'])
def test_no_body_is_waited_for_where_there_is_none(server: web.WebServer, head: str) -> None:
    server.routes['/'] = web.raw(f'HTTP/1.1 {head}\r\nContent-Length: 99\r\n\r\n'.encode())
    assert not fetch(server.url()).truncated


def test_head_has_no_body(server: web.WebServer) -> None:
    server.routes['/'] = web.raw(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n')
    assert not fetch(server.url(), method='HEAD').truncated


def test_interim_answers_are_skipped(server: web.WebServer) -> None:
    early = b'HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n'
    final = b'HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n'
    server.routes['/'] = web.raw(b'HTTP/1.1 100 Continue\r\n\r\n' + early * 2 + final)
    server.routes['/ever'] = web.raw(early * 50)
    assert fetch(server.url()).status == 502
    assert fetch(server.url('/ever')).error == 'protocol'


@pytest.mark.parametrize(('kind', 'sent', 'read'), [
    ('text/html; charset=iso-8859-1', b'\xe9', 'é'),
    ('text/html; charset="WINDOWS-1252"', b'\x80', '€'),
    ('text/html', b'\xff', '\udcff'),
    ('text/html; charset=idna', b'\xc3\xa9', 'é'),
    ('text/html; charset=iso-8859-99', b'\xc3\xa9', 'é'),
])
def test_bodies_become_text(server: web.WebServer, kind: str, sent: bytes, read: str) -> None:
    server.routes['/'] = web.raw(b'HTTP/1.0 200 OK\r\nContent-Type: %b\r\n\r\n%b' % (kind.encode(), sent))
    assert fetch(server.url()).body == read


# -- cut off --------------------------------------------------------------------------------------

@pytest.mark.parametrize('behaviour', [
    web.truncated(b'<html>half', promised=1000),
    web.truncated(b'', promised=1000),
    web.chunked(b'<html>half', end=b''),
    web.chunked(b'<html>half', end=b'400\r\nab'),
    web.chunked(b'<html>half', end=b'nonsense\r\n'),
    web.reset_within(b'<html>half', promised=1000),
    web.chunked(gzip.compress(b'<html>half' * 99)[:-12], headers=b'Content-Encoding: gzip\r\n'),
    web.raw(b'HTTP/1.1 200 OK\r\nContent-Type: text/ht'),
    web.raw(b'HTTP/1.1 200 OK\r\n'),
], ids=['length', 'nothing', 'no-terminator', 'within-chunk', 'bad-chunk', 'reset', 'gzip', 'header', 'headers'])
def test_a_body_cut_off_is_truncated_and_keeps_its_status(server: web.WebServer, behaviour: web.Behaviour) -> None:
    server.routes['/'] = behaviour
    answer = fetch(server.url())
    assert (answer.status, answer.truncated, answer.error) == (200, True, '')
    assert 'cut off' in answer.detail


def test_what_came_before_the_cut_is_kept(server: web.WebServer) -> None:
    server.routes['/'] = web.chunked(b'<html>half', end=b'')
    assert fetch(server.url()).body == '<html>half'


def test_html_without_its_end_is_only_noted(server: web.WebServer) -> None:
    server.routes['/'] = web.page(b'<html><body>open')
    answer = fetch(server.url())
    assert (answer.truncated, answer.detail) == (False, 'the HTML has no closing </html>')


# -- no answer ------------------------------------------------------------------------------------

@pytest.mark.parametrize(('behaviour', 'kind'), [
    (web.raw(b''), 'reset'),
    (web.reset_at_once, 'reset'),
    (web.raw(b'<html>not http</html>\r\n\r\n'), 'protocol'),
    (web.raw(b'HTTP/1.1 abc OK\r\n\r\n'), 'protocol'),
    (web.raw(b'HTTP/1.1 200 OK' + b'x' * 70_000 + b'\r\n\r\n'), 'protocol'),
    (web.raw(b'HTTP/1.1 200 OK\r\n' + b'X: ' + b'y' * 70_000 + b'\r\n\r\n'), 'protocol'),
    (web.raw(b'HTTP/1.1 200 OK\r\n' + b'X: y\r\n' * 200 + b'\r\n'), 'protocol'),
    (web.raw(b'HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n'), 'protocol'),
    (web.endless(b'HTTP/1.1 200 OK\r\nX: ', b'y' * 65536), 'protocol'),
], ids=['empty', 'reset', 'garbage', 'status', 'status-line', 'long', 'many', 'lengths', 'endless'])
def test_no_http_answer(server: web.WebServer, behaviour: web.Behaviour, kind: str) -> None:
    server.routes['/'] = behaviour
    answer = fetch(server.url())
    assert (answer.status, answer.error) == (0, kind)
    assert answer.detail


def test_a_closed_port_refuses() -> None:
    with web.closed_port() as port:
        answer = fetch(f'http://127.0.0.1:{port}/')
    assert (answer.status, answer.error) == (0, 'refused')
    assert str(port) in answer.detail


@pytest.mark.parametrize('host', ['nowhere.invalid', 'a' * 64 + '.example'])
def test_a_name_without_address(host: str) -> None:
    answer = fetch(f'http://{host}/')
    assert (answer.status, answer.error) == (0, 'dns')


def test_name_servers_that_do_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    hung = threading.Event()
    monkeypatch.setattr('socket.getaddrinfo', lambda *_, **__: [()] * (hung.wait(10) is None))
    answer = fetch('http://slow.example/', timeout=SOON)
    hung.set()
    assert (answer.error, answer.seconds < 3) == ('dns', True)


# -- limits ---------------------------------------------------------------------------------------

@pytest.mark.parametrize(('behaviour', 'status'), [
    (web.silent, 0),
    (web.dripping(b'HTTP/1.1 200 OK\r\n', b'X: y\r\n'), 0),
    (web.dripping(b'', b'H'), 0),
    (web.dripping(b'HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n', b'x'), 200),
    (web.dripping(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', b'1\r\nx\r\n'), 200),
    (web.dripping(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n', b'X: y\r\n'), 200),
    (web.dripping(b'HTTP/1.0 200 OK\r\n\r\n', b'x'), 200),
], ids=['silent', 'headers', 'status-line', 'length', 'chunked', 'trailers', 'until-close'])
def test_the_limit_is_for_the_whole_request(server: web.WebServer, behaviour: web.Behaviour, status: int) -> None:
    server.routes['/'] = behaviour
    started = time.monotonic()
    answer = fetch(server.url(), timeout=SOON)
    assert time.monotonic() - started < SOON + 2
    assert (answer.status, answer.error, answer.truncated) == (status, 'timeout', False)
    assert '0.4 s' in answer.detail


@pytest.mark.parametrize('start', [
    b'HTTP/1.1 200 OK\r\n\r\n', b'HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n',
    b'HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n',
])
def test_an_endless_body_is_left(server: web.WebServer, start: bytes) -> None:
    server.routes['/'] = web.endless(start, b'z' * 65536)
    answer = fetch(server.url(), fetcher=HttpFetcher(max_body=100_000))
    assert (answer.status, answer.error, len(answer.body)) == (200, 'too-large', 100_000)


def test_endless_chunks_are_left(server: web.WebServer) -> None:
    chunk = b'8000\r\n%b\r\n' % bytes(0x8000)
    server.routes['/'] = web.endless(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', chunk)
    assert fetch(server.url(), fetcher=HttpFetcher(max_body=100_000)).error == 'too-large'


def test_a_long_page_is_read_to_its_end_but_not_kept(server: web.WebServer) -> None:
    server.routes['/whole'] = web.page(b'x' * 5000)
    server.routes['/cut'] = web.truncated(b'x' * 5000, promised=6000)
    small = HttpFetcher(max_body=1000)
    whole, cut = fetch(server.url('/whole'), fetcher=small), fetch(server.url('/cut'), fetcher=small)
    assert (len(whole.body), whole.size, whole.error, whole.truncated) == (1000, 5000, '', False)
    assert 'only the first part' in whole.detail
    assert cut.truncated


def test_a_gzip_bomb_is_not_unpacked(server: web.WebServer) -> None:
    server.routes['/'] = web.gzip_bomb(200)
    answer = fetch(server.url(), fetcher=HttpFetcher(max_body=100_000))
    assert (answer.status, len(answer.body), answer.truncated) == (200, 100_000, False)


def test_false_gzip_is_noted(server: web.WebServer) -> None:
    server.routes['/'] = web.page(HTML, headers=b'Content-Encoding: gzip\r\n')
    answer = fetch(server.url())
    assert (answer.status, answer.error, answer.detail) == (200, '', 'the body is not the gzip its header says it is')


def test_large_headers_in_all(server: web.WebServer) -> None:
    lines = b''.join(b'X-%d: %b\r\n' % (n, b'y' * 9000) for n in range(40))
    server.routes['/'] = web.raw(b'HTTP/1.1 200 OK\r\n' + lines + b'\r\n')
    answer = fetch(server.url())
    assert (answer.status, answer.error, answer.headers) == (200, 'too-large', {})


# -- redirects ------------------------------------------------------------------------------------

def test_redirects_on_the_same_origin_are_followed_with_the_same_headers(server: web.WebServer) -> None:
    server.routes['/'] = web.redirect('/next?x=1#part')
    server.routes['/next'] = web.redirect(server.url('/end'), status=b'301 Moved')
    server.routes['/end'] = web.page(HTML)
    answer = fetch(server.url(), headers=(('X-Secret', 's3'),), cookies=(('a', 'b'),))
    assert (answer.status, answer.url) == (200, server.url('/end'))
    assert [b'X-Secret: s3\r\n' in one and b'Cookie: a=b\r\n' in one for one in server.requests] == [True] * 3


def test_another_origin_never_hears_the_secret(server: web.WebServer) -> None:
    with web.WebServer() as other:
        server.routes['/host'] = web.redirect(f'http://localhost:{server.port}/x')
        server.routes['/port'] = web.redirect(other.url('/x'))
        server.routes['/relative'] = web.redirect(f'//localhost:{server.port}/x')
        server.routes['/login'] = web.redirect(f'http://127.0.0.1:{server.port}@localhost/x')
        answers = [fetch(server.url(path)) for path in server.routes]
        assert [(one.status, one.error) for one in answers] == [(302, '')] * 4
        assert 'another host, localhost' in answers[0].detail
        assert 'not followed' in answers[1].detail
        assert (len(server.requests), other.requests) == (4, [])


@pytest.mark.parametrize('location', ['javascript:alert(1)', 'mailto:a@b', 'http://[bad/', 'http://a b/'])
def test_a_redirect_to_nothing_is_the_answer(server: web.WebServer, location: str) -> None:
    server.routes['/'] = web.redirect(location)
    answer = fetch(server.url())
    assert (answer.status, answer.error) == (302, '') or answer.status == 404
    assert answer.status == 404 or answer.detail


def test_redirects_in_a_circle(server: web.WebServer) -> None:
    server.routes['/'] = web.redirect('/a')
    server.routes['/a'] = web.redirect('/')
    answer = fetch(server.url())
    assert (answer.status, answer.error, len(server.requests)) == (302, 'redirect-loop', 2)


def test_too_many_redirects(server: web.WebServer) -> None:
    for n in range(9):
        server.routes[f'/{n}'] = web.redirect(f'/{n + 1}')
    answer = fetch(server.url('/0'), fetcher=HttpFetcher(max_redirects=3))
    assert (answer.status, answer.error, len(server.requests)) == (302, 'redirect-loop', 4)


def test_the_limit_covers_the_redirects_too(server: web.WebServer) -> None:
    server.routes['/'] = web.redirect('/slow')
    server.routes['/slow'] = web.silent
    assert fetch(server.url(), timeout=SOON).error == 'timeout'


# -- what is sent ---------------------------------------------------------------------------------

def test_the_request_as_the_server_sees_it(server: web.WebServer) -> None:
    fetch(server.url('/shöp?q=a b'), headers=(('X-Wpaudit', 'v1;x'), ('user-agent', 'mine'), ('X-City', 'Köln')))
    head = server.requests[0].decode()
    assert head.startswith('GET /sh%C3%B6p?q=a%20b HTTP/1.1\r\n')
    for line in (f'Host: 127.0.0.1:{server.port}', 'X-Wpaudit: v1;x', 'user-agent: mine', 'Accept-Encoding: gzip',
                 'Connection: close', 'X-City: Köln'):
        assert f'\r\n{line}\r\n' in head
    assert head.lower().count('user-agent') == 1


def test_the_default_user_agent(server: web.WebServer) -> None:
    fetch(server.url())
    assert f'User-Agent: wpaudit/{__version__}\r\n'.encode() in server.requests[0]


def test_no_cookies_are_kept(server: web.WebServer) -> None:
    server.routes['/'] = web.page(HTML, headers=b'Set-Cookie: a=b\r\n')
    fetcher = HttpFetcher()
    fetch(server.url(), fetcher=fetcher)
    fetch(server.url(), fetcher=fetcher)
    assert b'Cookie' not in server.requests[1]


def test_netrc_and_proxies_of_the_environment_are_ignored(
    server: web.WebServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:
    (tmp_path / '.netrc').write_text('machine 127.0.0.1 login me password secret\n')
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setenv('http_proxy', 'http://127.0.0.1:1/')
    assert fetch(server.url()).status == 404
    assert b'Authorization' not in server.requests[0]


@pytest.mark.parametrize(('name', 'value'), [
    ('X', 'a\r\nY: b'), ('X', 'a\nb'), ('X\r\nY', 'a'), ('X Y', 'a'), ('', 'a'), ('X', 'a\x00'),
    ('Content-Length', '5'),
])
def test_header_injection_is_refused(server: web.WebServer, name: str, value: str) -> None:
    with pytest.raises(UsageError):
        fetch(server.url(), headers=((name, value),))
    assert server.requests == []


@pytest.mark.parametrize('url', ['', 'ftp://h/', '/path', 'http://', 'http://u:p@h/', 'http://[::1'])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        fetch(url)


def test_threads_share_a_fetcher(server: web.WebServer) -> None:
    fetcher, answers = HttpFetcher(), {}
    for n in range(12):
        server.routes[f'/{n}'] = web.page(b'page %d' % n)

    def ask(n: int) -> None:
        answers[n] = fetch(server.url(f'/{n}'), fetcher=fetcher).body

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {n: f'page {n}' for n in range(12)}


# -- names and TLS --------------------------------------------------------------------------------

def test_resolve_pins_a_name(server: web.WebServer) -> None:
    server.routes['/'] = web.page(HTML)
    fetcher = HttpFetcher(resolve={'Shop.Example': '127.0.0.1'})
    answer = fetch(server.url(host='SHOP.example'), fetcher=fetcher)
    assert (answer.status, server.requests[0].splitlines()[1]) == (200, f'Host: shop.example:{server.port}'.encode())


def test_a_second_address_is_tried(server: web.WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('wpaudit.probes.names._looked_up', lambda *_: ('::1', '127.0.0.1'))
    assert fetch(server.url(host='two.example')).status == 404


@pytest.fixture(scope='module')
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[web.WebServer, Path]]:
    context, pem = web.tls_server('shop.example')
    path = tmp_path_factory.mktemp('tls') / 'ca.pem'
    path.write_bytes(pem)
    routes = {'/': web.page(HTML), '/cut': web.truncated(b'x', promised=9), '/slow': web.silent}
    with web.WebServer(routes, tls=context) as server:
        yield server, path


def test_tls_asks_for_and_verifies_the_name(certificate: tuple[web.WebServer, Path]) -> None:
    server, path = certificate
    fetcher = HttpFetcher(resolve={'shop.example': '127.0.0.1'}, verify=path)
    assert fetch(server.url(host='shop.example'), fetcher=fetcher).status == 200
    assert fetch(server.url('/cut', host='shop.example'), fetcher=fetcher).truncated
    assert fetch(server.url('/slow', host='shop.example'), fetcher=fetcher, timeout=SOON).error == 'timeout'


@pytest.mark.parametrize(('host', 'trusted', 'words'), [
    ('shop.example', False, 'self-signed'), ('other.example', True, 'mismatch'), ('127.0.0.1', True, 'mismatch'),
])
def test_a_certificate_that_is_not_accepted(
    certificate: tuple[web.WebServer, Path], host: str, trusted: bool, words: str,
) -> None:
    server, path = certificate
    fetcher = HttpFetcher(resolve={host: '127.0.0.1'}, verify=path if trusted else True)
    answer = fetch(server.url(host=host), fetcher=fetcher)
    assert (answer.status, answer.error) == (0, 'tls')
    assert words in answer.detail.replace('self signed', 'self-signed').replace('not valid for', 'mismatch')


def test_verification_can_be_switched_off(certificate: tuple[web.WebServer, Path]) -> None:
    assert fetch(certificate[0].url(), fetcher=HttpFetcher(verify=False)).status == 200


def test_no_tls_where_it_is_expected(server: web.WebServer) -> None:
    answer = fetch(server.url().replace('http:', 'https:'), timeout=SOON)
    assert answer.error in {'tls', 'reset', 'timeout'}
    assert answer.status == 0


def test_plain_http_to_a_tls_port(certificate: tuple[web.WebServer, Path]) -> None:
    answer = fetch(certificate[0].url().replace('https:', 'http:'))
    assert answer.status == 0
    assert answer.error in {'reset', 'protocol'}


@pytest.mark.parametrize('content', [None, 'no certificate'])
def test_certificates_that_cannot_be_read(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / 'ca.pem'
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError):
        HttpFetcher(verify=path)


def test_close_can_be_repeated() -> None:
    fetcher = HttpFetcher()
    fetcher.close()
    fetcher.close()


# -- another way to the same site ------------------------------------------------------------------------

def test_a_request_goes_where_it_is_told_to_and_asks_for_what_its_url_says(server: web.WebServer) -> None:
    server.routes['/x'] = web.page(HTML)
    answer = fetch('http://shop.example/x?y', via=(('http', f'127.0.0.1:{server.port}'),))
    assert (answer.status, answer.url) == (200, 'http://shop.example/x?y')
    assert server.requests[0].startswith(b'GET /x?y HTTP/1.1\r\nHost: shop.example\r\n')


def test_tls_on_the_way_asks_for_the_name_and_trusts_the_way() -> None:
    context, _ = web.tls_server('another.example')
    asked: list[str | None] = []
    context.sni_callback = lambda _sock, name, _context: asked.append(name)
    with web.WebServer({'/': web.page(HTML)}, tls=context) as server:
        assert fetch('https://shop.example/', via=(('https', f'127.0.0.1:{server.port}'),)).status == 200
    assert asked == ['shop.example']


def test_redirects_stay_on_the_way(server: web.WebServer) -> None:
    via = (('http', f'127.0.0.1:{server.port}'),)
    server.routes['/'] = web.redirect('http://shop.example/end')
    server.routes['/end'] = web.page(HTML)
    server.routes['/up'] = web.redirect('https://shop.example/end')
    assert fetch('http://shop.example/', via=via).body == HTML.decode()
    answer = fetch('http://shop.example/up', via=via)
    assert answer.status // 100 == 3
    assert 'redirects to https' in answer.detail
    with pytest.raises(UsageError, match='only for http'):
        fetch('https://shop.example/', via=via)
