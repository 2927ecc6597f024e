"""HTTP/2 looks, against a server that speaks it well and badly."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures import web
from fixtures.web_h2 import Http2Server
from fixtures.web_h2 import Stream
from fixtures.web_h2 import page2
from wpaudit.domain import Request
from wpaudit.facts import Look
from wpaudit.facts import Purpose
from wpaudit.probes.outside import NetworkOutside

NAME = 'site.test'
SOON = 0.4
HTML = b'<html><body>hello</body></html>'


@pytest.fixture(scope='module')
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Http2Server, Path]]:
    context, pem = web.tls_server(NAME)
    path = tmp_path_factory.mktemp('tls') / 'ca.pem'
    path.write_bytes(pem)
    with Http2Server(tls=context) as server:
        yield server, path


@pytest.fixture
def server(certificate: tuple[Http2Server, Path]) -> Http2Server:
    certificate[0].streams.clear()
    certificate[0].seen.clear()
    return certificate[0]


@pytest.fixture
def outside(certificate: tuple[Http2Server, Path]) -> NetworkOutside:
    return NetworkOutside(resolve={NAME: ('127.0.0.1',)}, verify=certificate[1])


def looked(outside: NetworkOutside, server: web.WebServer, *, timeout: float = 10, **fields: object) -> Look:
    return outside.look(
        Purpose.HTTP2, Request(server.url('/?p=1', host=NAME), **fields), timeout=timeout)  # type: ignore[arg-type]


def test_the_handshake_says_that_it_is_spoken(server: Http2Server, outside: NetworkOutside) -> None:
    assert outside.connect('127.0.0.1', server.port, tls_name=NAME).alpn == 'h2'


def test_an_answer_is_returned_as_it_came(server: Http2Server, outside: NetworkOutside) -> None:
    server.streams['/'] = page2(HTML, status='502', headers=[('x-city', 'Köln')])
    look = looked(outside, server, headers=(('X-City', 'Köln'), ('User-Agent', 'mine')), cookies=(('a', 'b'),))
    assert (look.answer.status, look.answer.body, look.answer.size) == (502, HTML.decode(), len(HTML))
    assert (look.http_version, look.address, look.answer.error, look.answer.truncated) == ('2', '127.0.0.1', '', False)
    assert look.answer.headers['x-city'] == 'Köln'
    assert look.answer.seconds > 0
    sent = server.seen[0]
    assert (sent[':method'], sent[':path'], sent[':authority']) == ('GET', '/?p=1', f'{NAME}:{server.port}')
    assert (sent['x-city'], sent['user-agent'], sent['cookie']) == ('Köln', 'mine', 'a=b')
    assert 'connection' not in sent


def test_a_long_page_is_read_to_its_end(server: Http2Server, outside: NetworkOutside) -> None:
    server.streams['/'] = page2(b'x' * 3_000_000)
    look = looked(outside, server)
    assert (look.answer.size, look.answer.error, look.answer.truncated) == (3_000_000, '', False)
    assert len(look.answer.body) < 2_000_000


def test_an_endless_page_is_left(server: Http2Server, outside: NetworkOutside) -> None:
    def endless(stream: Stream) -> None:
        stream.head()
        while True:
            stream.data(b'x' * 16384)

    server.streams['/'] = endless
    assert looked(outside, server).answer.error == 'too-large'


def test_a_bomb_is_not_unpacked(server: Http2Server, outside: NetworkOutside) -> None:
    server.streams['/'] = page2(gzip.compress(bytes(100 << 20), 1), headers=[('content-encoding', 'gzip')])
    look = looked(outside, server)
    assert (look.answer.status, len(look.answer.body)) == (200, 1 << 20)


def test_a_page_cut_off(server: Http2Server, outside: NetworkOutside) -> None:
    def cut(stream: Stream) -> None:
        stream.head()
        stream.data(b'<html>half')
        stream.reset()

    server.streams['/'] = cut
    look = looked(outside, server)
    assert (look.answer.status, look.answer.truncated, look.answer.body) == (200, True, '<html>half')


def test_less_than_was_announced(server: Http2Server, outside: NetworkOutside) -> None:
    def short(stream: Stream) -> None:
        stream.head(content_length='1000')
        stream.data(b'half', end=True)

    server.streams['/'] = short
    assert looked(outside, server).answer.truncated


def test_no_answer_at_all(server: Http2Server, outside: NetworkOutside) -> None:
    server.streams['/'] = lambda stream: stream.reset()
    look = looked(outside, server)
    assert (look.answer.status, look.answer.error, look.http_version) == (0, 'reset', '')
    assert 'HTTP/2 error 2' in look.answer.detail


@pytest.mark.parametrize('beginning', [False, True])
def test_the_limit_is_for_the_whole_request(server: Http2Server, outside: NetworkOutside, beginning: bool) -> None:
    def slow(stream: Stream) -> None:
        if beginning:
            stream.head()
        while stream.talk.pause(0.02):
            stream.link.ping(b'01234567')
            stream.flush()

    server.streams['/'] = slow
    look = looked(outside, server, timeout=SOON)
    assert (look.answer.status, look.answer.error) == (200 if beginning else 0, 'timeout')
    assert look.answer.seconds < 5


def test_nonsense(certificate: tuple[Http2Server, Path], outside: NetworkOutside) -> None:
    class Nonsense(Http2Server):
        def _answered(self, talk: web.Talk) -> None:
            talk.sock.recv(65536)
            talk.send(b'\0\0\1\0\0\0\0\0\0x')  # data of no stream (RFC 9113, section 6.1)
            while talk.sock.recv(65536):  # data of the client's that nobody read would turn our FIN into a RST
                pass

    with Nonsense(tls=certificate[0].tls) as server:
        look = looked(outside, server)
    assert (look.answer.status, look.answer.error) == (0, 'protocol')


def test_a_server_without_it(certificate: tuple[Http2Server, Path], tmp_path: Path) -> None:
    context, pem = web.tls_server(NAME)
    (tmp_path / 'ca.pem').write_bytes(pem)
    outside = NetworkOutside(resolve={NAME: ('127.0.0.1',)}, verify=tmp_path / 'ca.pem')
    with web.WebServer({'/': web.page(HTML)}, tls=context) as server:
        assert outside.connect('127.0.0.1', server.port, tls_name=NAME).alpn == ''
        look = looked(outside, server)
        assert server.requests == []
    assert (look.answer.status, look.answer.error) == (0, 'protocol')
    assert 'does not speak HTTP/2' in look.answer.detail


def test_a_certificate_that_is_not_accepted(server: Http2Server) -> None:
    outside = NetworkOutside(resolve={NAME: ('127.0.0.1',)})
    assert looked(outside, server).answer.error == 'tls'


def test_plain_http_has_no_http2(outside: NetworkOutside) -> None:
    look = outside.look(Purpose.HTTP2, Request(f'http://{NAME}/'), timeout=10)
    assert look.answer.error == 'protocol'
