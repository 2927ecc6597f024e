"""Requests with bodies arrive as they were given, and become GET where a redirect says so."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from http.server import ThreadingHTTPServer

import pytest

from wpaudit.domain import Request
from wpaudit.probes.http import HttpFetcher

Arrived = list[tuple[str, str, dict[str, str], bytes]]


@pytest.fixture
def server() -> Iterator[tuple[str, Arrived]]:
    arrived: Arrived = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get('Content-Length', '0')))
            arrived.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(int(self.path.split('/')[1] or '200'))
            self.send_header('Location', '/200/')
            self.send_header('Content-Length', '0')
            self.end_headers()

        do_GET = do_POST = do_PUT = do_DELETE = answer

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(('127.0.0.1', 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f'http://127.0.0.1:{running.server_port}', arrived
        running.shutdown()
        thread.join()


def sent(url: str, method: str, body: bytes) -> None:
    request = Request(url, method, (('Content-Type', 'text/plain'),), body=body)
    assert HttpFetcher().fetch(request, timeout=20).status == 200


@pytest.mark.parametrize('body', [b'a=1', bytes(range(256)) * 300, b''])
@pytest.mark.parametrize('method', ['POST', 'PUT', 'DELETE'])
def test_a_body_arrives_as_it_was_given(server: tuple[str, Arrived], method: str, body: bytes) -> None:
    url, arrived = server
    sent(f'{url}/200/', method, body)
    [(seen, _, headers, got)] = arrived
    assert (seen, got, headers['content-type']) == (method, body, 'text/plain')
    assert 'transfer-encoding' not in headers


@pytest.mark.parametrize(('status', 'method', 'then', 'kept'), [
    (301, 'POST', 'GET', False), (302, 'POST', 'GET', False), (303, 'POST', 'GET', False), (303, 'PUT', 'GET', False),
    (302, 'PUT', 'PUT', True), (307, 'POST', 'POST', True), (308, 'POST', 'POST', True),
])
def test_redirects_treat_bodies_as_browsers_do(
    server: tuple[str, Arrived], status: int, method: str, then: str, kept: bool,
) -> None:
    url, arrived = server
    sent(f'{url}/{status}/', method, b'a=1')
    assert [(one[0], one[3]) for one in arrived] == [(method, b'a=1'), (then, b'a=1' if kept else b'')]
    assert ('content-type' in arrived[1][2]) is kept
