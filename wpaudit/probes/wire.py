"""One HTTP exchange over a connection of its own, ended at a deadline whatever the server does.

urllib3's connections are used without its pools: a crashing PHP worker closes connections, so a kept one would
blame the wrong probe, and a pool's retries would ask twice while we count answers.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Callable
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from dataclasses import field

from urllib3 import HTTPHeaderDict
from urllib3.connection import HTTPConnection
from urllib3.exceptions import ConnectTimeoutError
from urllib3.exceptions import HTTPError
from urllib3.exceptions import NewConnectionError
from urllib3.exceptions import ReadTimeoutError
from urllib3.response import BaseHTTPResponse
from urllib3.util import Url
from urllib3.util import make_headers

from wpaudit.domain import Answer
from wpaudit.probes.body import Body
from wpaudit.probes.connection import CutHeader
from wpaudit.probes.connection import Deadline
from wpaudit.probes.connection import Dial
from wpaudit.probes.connection import PlainConnection
from wpaudit.probes.connection import TlsConnection
from wpaudit.probes.connection import ended_at
from wpaudit.probes.names import Found
from wpaudit.probes.names import Names
from wpaudit.probes.names import is_address

_CHUNK = 65536
_MAX_HEADER_BYTES = 256 * 1024
# What is not kept is still read, up to this many times ``max_body``: only so is a cut-off long page noticed.
_READ_ON = 8


class NoAnswer(Exception):
    """There was no HTTP answer; ``kind`` is one of the error kinds of ``Answer``."""

    def __init__(self, kind: str, detail: str, address: str = '') -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.address = address  # the one that was tried, or the last of them


@dataclass(frozen=True)
class Route:
    """How connections are made: straight to the site's address, unless it says otherwise.

    ``dial`` opens them somewhere else, where a name means what it means there; it may raise ShellError when that place
    cannot be used. ``proxy`` is an HTTP proxy, which resolves names itself: it is asked to CONNECT for https
    (RFC 9110, section 9.3.6) and told the whole URL for http (RFC 9112, section 3.2.2).
    """

    dial: Dial | None = None
    proxy: Url | None = None


@dataclass(frozen=True)
class Exchange:
    """An answer, the address it came from ('' where another machine chose it), and its HTTP version ('1.1')."""

    answer: Answer
    address: str = ''
    version: str = ''


@dataclass(frozen=True)
class Wire:
    """Sends one request and reads one answer. Holds no state of a connection, so threads may share it."""

    names: Names
    context: Callable[[], ssl.SSLContext]
    max_body: int
    route: Route = Route()
    via: Mapping[str, tuple[str, int]] = field(default_factory=dict)  # address and port, by scheme: ``Request.via``

    def exchange(
        self, url: Url, method: str, headers: HTTPHeaderDict, deadline: Deadline, body: bytes = b'',
    ) -> Exchange:
        """Return what came back; raises NoAnswer when no status line did."""
        connected, address = self._connected(url, deadline)
        target = url.request_uri
        if self.route.proxy is not None and url.scheme == 'http':
            target, headers = url.url, HTTPHeaderDict({**headers, **_credentials(self.route.proxy)})
        with closing(connected) as connection:
            # Taken now: http.client forgets the socket as soon as it has read "Connection: close".
            with ended_at(deadline, connection.sock):
                try:
                    connection.timeout = deadline.left()
                    connection.request(
                        method, target, body or None, headers, preload_content=False, decode_content=False)
                    response = connection.getresponse()
                except CutHeader as error:
                    if deadline.passed():
                        raise _no_answer(error, deadline, address) from error
                    return Exchange(Answer(url.url, error.status, truncated=True, detail=str(error)), address)
                except (OSError, http.client.HTTPException, HTTPError, ValueError) as error:
                    raise _no_answer(error, deadline, address) from error
                with closing(response):
                    version = f'{response.version // 10}.{response.version % 10}'
                    return Exchange(self._answer(url, response, deadline), address, version)

    def _connected(self, url: Url, deadline: Deadline) -> tuple[HTTPConnection, str]:
        host = bare(str(url.host))
        failure = NoAnswer('dns', f'the name {host} has no address')
        ends = self._ends(host, deadline)
        for n, end in enumerate(ends):
            # A first address that swallows packets must leave time for the second.
            connection = self._connection(url, host, end, deadline)
            connection.timeout = connection.limit = deadline.left() / (len(ends) - n)
            address = '' if self.route.proxy or not is_address(end) else end
            try:
                connection.connect()
            except (OSError, http.client.HTTPException, HTTPError, ValueError) as error:
                connection.close()
                failure = not_connected(error, self._where(url, host, end), deadline, address)
            else:
                return connection, address
        raise failure

    def _ends(self, host: str, deadline: Deadline) -> Found:
        """Return what to connect to, in order: addresses, or the name itself where another machine resolves it."""
        if self.via:
            return (host,)
        if self.route.dial is not None:
            return self.names.pinned(host) or (host,)
        name = host if self.route.proxy is None else bare(str(self.route.proxy.host))
        return addresses_of(self.names, name, deadline)

    def _where(self, url: Url, host: str, end: str) -> str:
        if self.route.proxy is not None:
            return f'the proxy {self.route.proxy.host} ({end}:{_port(self.route.proxy)})'
        return f'{host} ({end}:{_port(url)})'

    def _connection(self, url: Url, host: str, end: str, deadline: Deadline) -> PlainConnection | TlsConnection:
        connection: PlainConnection | TlsConnection
        proxy = self.route.proxy
        port = _port(url if proxy is None else proxy)
        if self.via:
            end, port = self.via[str(url.scheme)]
        if url.scheme == 'https':
            # Connected by address, asked for and verified by name: that is all --resolve needs.
            connection = TlsConnection(end, port, ssl_context=self.context(), server_hostname=host)
            if proxy is not None:
                connection.set_tunnel(host, _port(url), headers=_credentials(proxy))
        else:
            connection = PlainConnection(end, port)
        connection.deadline = deadline
        connection.dial = self.route.dial
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


def addresses_of(names: Names, host: str, deadline: Deadline) -> Found:
    """Return the addresses of ``host``; raises NoAnswer."""
    try:
        return names.addresses(host, timeout=deadline.left())
    except TimeoutError as error:
        raise NoAnswer('dns', f'{error} within {deadline.seconds:g} s') from error
    except socket.gaierror as error:
        raise NoAnswer('dns', f'the name {host} does not resolve: {error.strerror}') from error


def not_connected(error: Exception, where: str, deadline: Deadline, address: str = '') -> NoAnswer:
    """Say why there is no connection to ``where``."""
    cause = error.__cause__ if isinstance(error, NewConnectionError) else error
    if isinstance(cause, TimeoutError | ConnectTimeoutError) or deadline.passed():
        return NoAnswer('timeout', deadline.sentence(f'connecting to {where}'), address)
    match cause:
        case ssl.SSLCertVerificationError():
            kind, detail = 'tls', f'the certificate of {where} is not accepted: {cause.verify_message}'
        case ssl.SSLError():
            kind, detail = 'tls', f'the TLS handshake with {where} failed: {cause.reason or cause}'
        case socket.gaierror():
            kind, detail = 'dns', f'{where}: the name does not resolve there: {cause.strerror or cause}'
        case ConnectionRefusedError():
            kind, detail = 'refused', f'{where} refused the connection'
        case ConnectionError():
            kind, detail = 'reset', f'{where} closed the connection during the handshake'
        case OSError():
            kind, detail = 'refused', f'{where} cannot be reached: {cause.strerror or cause}'
        case http.client.HTTPException():  # of a proxy that was asked to connect
            kind, detail = 'protocol', f'{where} does not answer as a proxy does: {str(cause)[:200]!r}'
        case _:
            kind, detail = 'tls', f'no secure connection to {where}: {error}'
    return NoAnswer(kind, detail, address)


def _no_answer(error: Exception, deadline: Deadline, address: str) -> NoAnswer:
    if deadline.passed() or isinstance(error, TimeoutError | ReadTimeoutError):
        kind, detail = 'timeout', deadline.sentence('waiting for the first line')
    elif isinstance(error, http.client.RemoteDisconnected):
        kind, detail = 'reset', 'the connection was closed without an answer'
    elif isinstance(error, OSError):
        kind, detail = 'reset', f'the connection broke before an answer: {error.strerror or error}'
    else:
        said = str(error) or type(error).__name__
        kind, detail = 'protocol', f'what came back is not an HTTP answer: {said}'[:300]
    return NoAnswer(kind, detail, address)


def bare(host: str) -> str:
    """Return a URL's host without the brackets of an IPv6 address."""
    return host.strip('[]')


def _credentials(proxy: Url) -> dict[str, str]:
    return make_headers(proxy_basic_auth=proxy.auth) if proxy.auth else {}


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
