"""Connections of urllib3 that keep to a deadline and read the head of an answer strictly."""

from __future__ import annotations

import http.client
import io
import socket
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress

from urllib3.connection import HTTPConnection
from urllib3.connection import HTTPSConnection

_MAX_INTERIM = 10  # 1xx answers before the real one

# Opens a TCP connection to (host or address, port) within so many seconds; raises OSError.
Dial = Callable[[str, int, float], socket.socket]


class Deadline:
    """A moment on the monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._at = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds left, never less than a thousandth: a socket reads 0 as "do not wait"."""
        return max(self._at - time.monotonic(), 0.001)

    def passed(self) -> bool:
        """Is it later than that?"""
        return time.monotonic() >= self._at

    def sentence(self, doing: str) -> str:
        """Say that time was up."""
        return f'no complete answer within {self.seconds:g} s ({doing})'


@contextmanager
def ended_at(deadline: Deadline, sock: socket.socket) -> Iterator[None]:
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


class CutHeader(http.client.HTTPException):
    """The connection ended before the empty line that ends the headers (RFC 9112, section 8)."""

    def __init__(self, status: int) -> None:
        super().__init__('the answer was cut off within its headers')
        self.status = status


class _Lines(io.BufferedReader):
    """Remembers the last line read."""

    last = b''

    def readline(self, size: int | None = -1, /) -> bytes:
        self.last = super().readline(size)
        return self.last


class _Response(http.client.HTTPResponse):
    """Closes two gaps of http.client: it takes interim answers but 100 for final, and cut-off headers for whole."""

    def __init__(
        self, sock: socket.socket, debuglevel: int = 0, method: str | None = None, url: str | None = None,
    ) -> None:
        super().__init__(sock, debuglevel, method, url)
        self.fp = self._lines = _Lines(self.fp.detach())

    def begin(self) -> None:
        for _ in range(_MAX_INTERIM):
            super().begin()
            if self._lines.last not in {b'\r\n', b'\n'}:
                raise CutHeader(self.status)
            if self.status // 100 != 1 or self.status == http.client.SWITCHING_PROTOCOLS:
                return
            self.headers = self.msg = None  # type: ignore[assignment]  # begin() does nothing while they are set
        raise http.client.HTTPException('nothing but interim answers')


class _Timed:
    """Gives each handshake the time that is left after the one before it, not as much again."""

    deadline: Deadline
    dial: Dial | None = None
    sock: socket.socket
    host: str
    port: int
    limit: float  # for this one address, in seconds

    def _new_conn(self) -> socket.socket:
        sock: socket.socket
        if self.dial is None:
            sock = super()._new_conn()  # type: ignore[misc]  # of the class that this is mixed into
        else:
            sock = self.dial(self.host, self.port, min(self.limit, self.deadline.left()))
        sock.settimeout(self.deadline.left())
        return sock

    def _tunnel(self) -> None:
        with ended_at(self.deadline, self.sock):
            super()._tunnel()  # type: ignore[misc]  # of the class that this is mixed into


class PlainConnection(_Timed, HTTPConnection):
    """A connection for http."""

    response_class = _Response


class TlsConnection(_Timed, HTTPSConnection):
    """A connection for https."""

    response_class = _Response
