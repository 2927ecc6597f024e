"""One HTTP exchange over a connection of its own, ended at a deadline whatever the server does.

urllib3's connections are used without its pools: a crashing PHP worker closes connections, so a kept one would
blame the wrong probe, and a pool's retries would ask twice while we count answers.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import closing
from contextlib import contextmanager
from contextlib import suppress
from dataclasses import dataclass

from urllib3 import HTTPHeaderDict
from urllib3.connection import HTTPConnection
from urllib3.exceptions import ConnectTimeoutError
from urllib3.exceptions import HTTPError
from urllib3.exceptions import NewConnectionError
from urllib3.exceptions import ReadTimeoutError
from urllib3.response import BaseHTTPResponse
from urllib3.util import Url

from wpaudit.domain import Answer
from wpaudit.probes.body import Body
from wpaudit.probes.connection import CutHeader
from wpaudit.probes.connection import Deadline
from wpaudit.probes.connection import PlainConnection
from wpaudit.probes.connection import TlsConnection
from wpaudit.probes.names import Names

_CHUNK = 65536
_MAX_HEADER_BYTES = 256 * 1024
# What is not kept is still read, up to this many times ``max_body``: only so is a cut-off long page noticed.
_READ_ON = 8


class NoAnswer(Exception):
    """There was no HTTP answer; ``kind`` is one of the error kinds of ``Answer``."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


@dataclass(frozen=True)
class Wire:
    """Sends one request and reads one answer. Holds no state of a connection, so threads may share it."""

    names: Names
    context: Callable[[], ssl.SSLContext]
    max_body: int

    def exchange(self, url: Url, method: str, headers: HTTPHeaderDict, deadline: Deadline) -> Answer:
        """Return what came back; raises NoAnswer when no status line did."""
        with closing(self._connected(url, deadline)) as connection:
            # Taken now: http.client forgets the socket as soon as it has read "Connection: close".
            with _ended_at(deadline, connection.sock):
                try:
                    connection.timeout = deadline.left()
                    connection.request(
                        method, url.request_uri, headers=headers, preload_content=False, decode_content=False)
                    response = connection.getresponse()
                except CutHeader as error:
                    if deadline.passed():
                        raise _no_answer(error, deadline) from error
                    return Answer(url.url, error.status, truncated=True, detail=str(error))
                except (OSError, http.client.HTTPException, HTTPError, ValueError) as error:
                    raise _no_answer(error, deadline) from error
                with closing(response):
                    return self._answer(url, response, deadline)

    def _connected(self, url: Url, deadline: Deadline) -> HTTPConnection:
        host = str(url.host).strip('[]')
        try:
            addresses = self.names.addresses(host, timeout=deadline.left())
        except TimeoutError as error:
            raise NoAnswer('dns', f'{error} within {deadline.seconds:g} s') from error
        except socket.gaierror as error:
            raise NoAnswer('dns', f'the name {host} does not resolve: {error.strerror}') from error
        failure = NoAnswer('dns', f'the name {host} has no address')
        for n, address in enumerate(addresses):
            # A first address that swallows packets must leave time for the second.
            connection = self._connection(url, host, address, deadline)
            connection.timeout = deadline.left() / (len(addresses) - n)
            try:
                connection.connect()
            except (OSError, HTTPError) as error:
                connection.close()
                failure = _not_connected(error, f'{host} ({address}:{_port(url)})', deadline)
            else:
                return connection
        raise failure

    def _connection(self, url: Url, host: str, address: str, deadline: Deadline) -> HTTPConnection:
        connection: PlainConnection | TlsConnection
        if url.scheme == 'https':
            # Connected by address, asked for and verified by name: that is all --resolve needs.
            connection = TlsConnection(
                address, _port(url), ssl_context=self.context(), server_hostname=host)
        else:
            connection = PlainConnection(address, _port(url))
        connection.deadline = deadline
        return connection

    def _answer(self, url: Url, response: BaseHTTPResponse, deadline: Deadline) -> Answer:
        headers = {name.lower(): _as_text(response.headers[name]) for name in response.headers}
        if sum(len(name) + len(value) for name, value in headers.items()) > _MAX_HEADER_BYTES:
            return Answer(url.url, response.status, error='too-large', detail='the headers of the answer are too large')
        body = Body(limit=self.max_body, coding=headers.get('content-encoding', ''))
        truncated, error, detail = self._read(response, body, deadline)
        text = body.text(headers.get('content-type', ''))
        return Answer(
            url=url.url, status=response.status, headers=headers, body=text, size=body.size,
            truncated=truncated, error=error, detail=detail or _remark(headers, text, body),
        )

    def _read(self, response: BaseHTTPResponse, body: Body, deadline: Deadline) -> tuple[bool, str, str]:
        """Read to the end; return (truncated, error, detail)."""
        try:
            while data := response.read1(_CHUNK, decode_content=False):
                body.add(data)
                if body.size > self.max_body * _READ_ON:
                    return False, 'too-large', f'the body did not end within {body.size} bytes'
        except (OSError, http.client.HTTPException, HTTPError) as error:
            if deadline.passed() or isinstance(error, ReadTimeoutError | TimeoutError):
                return False, 'timeout', deadline.sentence(f'the body stopped after {body.size} bytes')
            return True, '', f'the body was cut off after {body.size} bytes'
        if deadline.passed():  # the cut looks like the end of a body that the close of its connection delimits
            return False, 'timeout', deadline.sentence(f'the body stopped after {body.size} bytes')
        if body.gzip_unfinished():
            return True, '', f'the gzip stream was cut off after {body.size} bytes'
        return False, '', ''


@contextmanager
def _ended_at(deadline: Deadline, sock: socket.socket) -> Iterator[None]:
    """Shut ``sock`` down when time is up.

    A socket's own timeout starts anew with every byte, so a server that drips them would hold us for ever.
    """
    def shut_down() -> None:
        with suppress(OSError):  # already closed
            # Not SSLSocket.shutdown: that drops the TLS state under the thread that is reading.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    timer = threading.Timer(deadline.left(), shut_down)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _not_connected(error: Exception, where: str, deadline: Deadline) -> NoAnswer:
    cause = error.__cause__ if isinstance(error, NewConnectionError) else error
    if isinstance(cause, TimeoutError | ConnectTimeoutError) or deadline.passed():
        return NoAnswer('timeout', deadline.sentence(f'connecting to {where}'))
    match cause:
        case ssl.SSLCertVerificationError():
            kind, detail = 'tls', f'the certificate of {where} is not accepted: {cause.verify_message}'
        case ssl.SSLError():
            kind, detail = 'tls', f'the TLS handshake with {where} failed: {cause.reason or cause}'
        case ConnectionRefusedError():
            kind, detail = 'refused', f'{where} refused the connection'
        case ConnectionError():
            kind, detail = 'reset', f'{where} closed the connection during the handshake'
        case OSError():
            kind, detail = 'refused', f'{where} cannot be reached: {cause.strerror or cause}'
        case _:
            kind, detail = 'tls', f'no secure connection to {where}: {error}'
    return NoAnswer(kind, detail)


def _no_answer(error: Exception, deadline: Deadline) -> NoAnswer:
    if deadline.passed() or isinstance(error, TimeoutError | ReadTimeoutError):
        return NoAnswer('timeout', deadline.sentence('waiting for the first line'))
    if isinstance(error, http.client.RemoteDisconnected):
        return NoAnswer('reset', 'the connection was closed without an answer')
    if isinstance(error, OSError):
        return NoAnswer('reset', f'the connection broke before an answer: {error.strerror or error}')
    return NoAnswer('protocol', f'what came back is not an HTTP answer: {str(error) or type(error).__name__}'[:300])


def _port(url: Url) -> int:
    return url.port or (443 if url.scheme == 'https' else 80)


def _as_text(value: str) -> str:
    # http.client reads fields as ISO 8859-1; sites write UTF-8 there.
    return value.encode('latin-1', 'replace').decode('utf-8', 'surrogateescape')


def _remark(headers: dict[str, str], text: str, body: Body) -> str:
    if body.problem:
        return body.problem
    if body.cut:
        return f'only the first part of the body was kept ({body.size} bytes came)'
    if 'html' in headers.get('content-type', '') and '<html' in text and '</html' not in text[-2048:].lower():
        return 'the HTML has no closing </html>'
    return ''
