"""One HTTP/2 exchange (RFC 9113) over a connection of its own, with the bounds of the HTTP/1.1 one.

The protocol is the library's (h2). urllib3's HTTP/2 keeps a whole body in memory, however long it is.
"""

from __future__ import annotations

import ssl
from contextlib import closing
from dataclasses import dataclass
from dataclasses import field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated
from h2.events import DataReceived
from h2.events import Event
from h2.events import ResponseReceived
from h2.events import StreamEnded
from h2.events import StreamReset
from h2.exceptions import InvalidBodyLengthError
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes
from h2.settings import Settings
from urllib3 import HTTPHeaderDict
from urllib3.util import Url

from wpaudit.domain import Answer
from wpaudit.probes.body import Body
from wpaudit.probes.connection import Deadline
from wpaudit.probes.connection import ended_at
from wpaudit.probes.handshake import direct
from wpaudit.probes.wire import Exchange
from wpaudit.probes.wire import NoAnswer
from wpaudit.probes.wire import bare
from wpaudit.probes.wire import not_connected

_CHUNK = 65536
_READ_ON = 8  # what is not kept is still read, up to this many times ``max_body``
_STREAM = 1
_WINDOW = 1 << 20  # bytes on their way; with the 64 KiB of the RFC a distant site would seem slow
_MAX_HEADER_BYTES = 256 * 1024
# RFC 9113, section 8.2.2: fields of a connection have no place in a request.
_CONNECTION = frozenset({'connection', 'host', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade'})


def exchange(
    url: Url, headers: HTTPHeaderDict, address: str, *, context: ssl.SSLContext, deadline: Deadline, max_body: int,
) -> Exchange:
    """GET ``url`` at ``address`` over HTTP/2; raises NoAnswer, also when the server does not speak it.

    ``context`` must offer ``h2``.
    """
    where = f'{url.host} ({address}:{url.port or 443})'
    try:
        sock = direct(address, url.port or 443, deadline.left())
        sock.settimeout(deadline.left())
        secured = context.wrap_socket(sock, server_hostname=bare(str(url.host)))
    except (OSError, ValueError) as error:
        raise not_connected(error, where, deadline, address) from error
    with closing(secured), ended_at(deadline, secured):
        if secured.selected_alpn_protocol() != 'h2':
            raise NoAnswer('protocol', f'{where} does not speak HTTP/2', address)
        return Exchange(_Reader(url, secured, deadline, max_body).answer(headers, address), address, '2')


@dataclass
class _Reader:
    """One stream: what has come of its answer so far."""

    url: Url
    sock: ssl.SSLSocket
    deadline: Deadline
    max_body: int
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: Body | None = None
    ended: bool = False
    broken: str = ''

    def answer(self, headers: HTTPHeaderDict, address: str) -> Answer:
        link = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        link.local_settings = Settings(client=True, initial_values={
            SettingCodes.ENABLE_PUSH: 0, SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW,
            SettingCodes.MAX_HEADER_LIST_SIZE: _MAX_HEADER_BYTES,
        })
        error, detail = '', ''
        try:
            link.initiate_connection()
            link.increment_flow_control_window(_WINDOW)
            link.send_headers(_STREAM, _fields(self.url, headers), end_stream=True)
            self._read(link)
        except InvalidBodyLengthError:
            self.broken = 'the body is not as long as announced'
        except ProtocolError as failure:
            error, detail = 'protocol', f'what came back is not HTTP/2: {failure or type(failure).__name__}'[:300]
        except OSError as failure:
            self.broken = self.broken or f'the connection broke: {failure.strerror or failure}'
        if self.deadline.passed() and not self.ended:
            error, detail = 'timeout', self.deadline.sentence('over HTTP/2')
        elif self.broken and not self.status:
            error, detail = 'reset', self.broken
        return self._said(error, detail, address)

    def _read(self, link: H2Connection) -> None:
        while not (self.ended or self.broken or self._too_long()):
            waiting = link.data_to_send()
            if waiting:
                self.sock.sendall(waiting)
            data = self.sock.recv(_CHUNK)
            if not data:
                self.broken = 'the connection was closed before the answer ended'
                return
            for event in link.receive_data(data):
                self._take(event, link)

    def _take(self, event: Event, link: H2Connection) -> None:
        match event:
            case ResponseReceived():
                self._begin(event)
            case DataReceived() if self.body is not None:
                self.body.add(event.data)
                link.acknowledge_received_data(event.flow_controlled_length, _STREAM)
            case StreamReset():
                self.broken = f'the server reset the stream (HTTP/2 error {int(event.error_code)})'
            case ConnectionTerminated() if not self.ended:
                self.broken = f'the server ended the connection (HTTP/2 error {int(event.error_code or 0)})'
            case StreamEnded():
                self.ended = True

    def _begin(self, event: ResponseReceived) -> None:
        for key, value in event.headers or ():
            name = _text(key)
            self.headers[name] = f'{self.headers[name]}, {_text(value)}' if name in self.headers else _text(value)
        status = self.headers.pop(':status', '')
        self.status = int(status) if status.isascii() and status.isdigit() else 0
        self.body = Body(limit=self.max_body, coding=self.headers.get('content-encoding', ''))

    def _too_long(self) -> bool:
        return self.body is not None and self.body.size > self.max_body * _READ_ON

    def _said(self, error: str, detail: str, address: str) -> Answer:
        if not self.status:
            raise NoAnswer(error or 'protocol', detail or 'the answer has no status', address)
        body = self.body or Body(limit=0, coding='')
        if self._too_long():
            error, detail = 'too-large', f'the body did not end within {body.size} bytes'
        cut = not error and (bool(self.broken) or body.gzip_unfinished())
        return Answer(
            url=self.url.url, status=self.status, headers=self.headers, size=body.size, truncated=cut, error=error,
            body=body.text(self.headers.get('content-type', '')),
            detail=detail or (f'the body was cut off after {body.size} bytes' if cut else body.problem),
        )


def _fields(url: Url, headers: HTTPHeaderDict) -> list[tuple[bytes, bytes]]:
    authority = headers.get('Host') or str(url.host)
    given = [(name.lower(), value) for name, value in headers.items() if name.lower() not in _CONNECTION]
    pseudo = [(':method', 'GET'), (':authority', authority), (':scheme', 'https'), (':path', url.request_uri)]
    return [(name.encode('latin-1'), value.encode('latin-1')) for name, value in (*pseudo, *given)]


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode('utf-8', 'surrogateescape')
