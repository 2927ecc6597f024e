"""What came back over HTTP and FastCGI, as answers: framing, truncation, nonsense."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wpaudit.domain import Answer
from wpaudit.sites.answers import BODY_BYTES
from wpaudit.sites.answers import Raw
from wpaudit.sites.answers import from_cgi
from wpaudit.sites.answers import from_http

URL = 'https://site.test/'


def http(data: bytes, size: int = -1, error: str = '') -> Answer:
    return from_http(URL, Raw(data, len(data) if size < 0 else size, data[-16:], error))[0]


def test_a_page_with_its_length() -> None:
    answer = http(b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\nx-a: c\r\n\r\nhello')
    assert (answer.status, answer.body, answer.size, answer.truncated, answer.error) == (200, 'hello', 5, False, '')
    assert answer.headers == {'content-length': '5', 'x-a': 'b, c'}


@pytest.mark.parametrize(('data', 'body', 'truncated'), [
    (b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello', 'hello', True),
    (b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n', 'hello', False),
    (b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n3\r\nab', 'helloab', True),
    (b'HTTP/1.0 200 OK\r\n\r\nto the end', 'to the end', False),
    (b'HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n', '', False),
    (b'HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok', 'ok', False),
    (b'HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nx', 'x', False),
])
def test_framing(data: bytes, body: str, truncated: bool) -> None:
    answer = http(data)
    assert (answer.body, answer.truncated) == (body, truncated)
    assert answer.status in {200, 304}


def test_a_long_page_is_cut_and_not_called_truncated() -> None:
    head = b'HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n'
    answer = http(head + b'x' * 300_000, size=len(head) + 9_000_000)
    assert (len(answer.body), answer.size, answer.truncated) == (BODY_BYTES, 9_000_000, False)


def test_a_page_that_stops_coming_is_truncated() -> None:
    assert http(b'HTTP/1.1 200 OK\r\n\r\nhalf', error='timeout').truncated


@pytest.mark.parametrize(('data', 'error', 'word'), [
    (b'', '', 'reset'), (b'', 'refused', 'refused'), (b'', 'timeout', 'timeout'),
    (b'SSH-2.0-OpenSSH\r\n', '', 'protocol'),
    (b'HTTP/1.1 2000 OK\r\n\r\n', '', 'protocol'),
])
def test_no_answer_has_a_reason(data: bytes, error: str, word: str) -> None:
    answer = http(data, error=error)
    assert (answer.status, answer.error) == (0, word)
    assert answer.detail
    assert ('no complete answer within' in answer.detail) is (word == 'timeout')


def test_a_gzip_that_was_not_asked_for_is_read_and_bounded() -> None:
    bomb = gzip.compress(b'a' * 10_000_000)
    answer = http(b'HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n' + bomb)
    assert answer.body == 'a' * BODY_BYTES


def test_what_a_responder_writes() -> None:
    data = b'Status: 500 Internal Server Error\r\nContent-Type: text/html\r\n\r\nboom'
    answer = from_cgi(URL, Raw(data, len(data)), ended=True)
    assert (answer.status, answer.body, answer.truncated) == (500, 'boom', False)
    assert answer.headers == {'content-type': 'text/html'}
    half = from_cgi(URL, Raw(b'Content-Type: text/html\r\n\r\nhal', 28, error='reset'), ended=False)
    assert (half.status, half.truncated, half.error) == (200, True, '')


@pytest.mark.parametrize(('data', 'error', 'word'), [
    (b'', 'reset', 'reset'), (b'no header at all', '', 'protocol'), (b'Status: abc\r\n\r\nx', '', 'protocol'),
    (b'Content-Type: te', 'reset', 'reset'),
])
def test_a_responder_that_writes_nonsense(data: bytes, error: str, word: str) -> None:
    answer = from_cgi(URL, Raw(data, len(data), error=error), ended=not error)
    assert (answer.status, answer.error) == (0, word)


@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_break_it(data: bytes, ended: bool) -> None:
    head = b'HTTP/1.1 200 OK\r\n'
    for whole in (data, head + data, head + b'Transfer-Encoding: chunked\r\n\r\n' + data):
        assert isinstance(http(whole), Answer)
        assert isinstance(from_cgi(URL, Raw(whole, len(whole)), ended=ended), Answer)
