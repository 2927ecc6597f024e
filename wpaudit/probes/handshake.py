"""One connection tried to one address: TCP and TLS, each with its time and with what went wrong."""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import closing
from contextlib import suppress

from wpaudit.facts import Handshake
from wpaudit.probes.connection import Deadline
from wpaudit.probes.connection import Dial
from wpaudit.probes.wire import not_connected

# RFC 7301; http/1.1 too, so that a server without HTTP/2 does not break the handshake off.
ALPN = ('h2', 'http/1.1')


def direct(host: str, port: int, seconds: float) -> socket.socket:
    """Open a TCP connection from this machine; the Dial that needs nobody's help."""
    sock = socket.create_connection((host, port), timeout=seconds)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # HTTP/2 sends many small frames
    return sock


def handshake(
    address: str, port: int, *, vantage: str, context: ssl.SSLContext | None, tls_name: str, seconds: float,
    dial: Dial = direct,
) -> Handshake:
    """Connect, shake hands over TLS where ``context`` is given, and close; both within ``seconds``.

    The name is asked for and verified as ``context`` says.
    """
    deadline, began = Deadline(seconds), time.monotonic()
    try:
        sock = dial(address, port, seconds)
    except OSError as error:
        return Handshake(address, port, vantage, _tcp_error(error), time.monotonic() - began)
    connected = time.monotonic()
    if context is None:
        sock.close()
        return Handshake(address, port, vantage, '', connected - began)
    tls_error, alpn = _tls(sock, context, tls_name, f'{tls_name} ({address}:{port})', deadline)
    return Handshake(address, port, vantage, '', connected - began, tls_error, time.monotonic() - connected, alpn)


def _tls(
    sock: socket.socket, context: ssl.SSLContext, name: str, where: str, deadline: Deadline,
) -> tuple[str, str]:
    """Return what went wrong and the protocol that was agreed on."""
    with closing(sock):
        sock.settimeout(deadline.left())  # of a whole handshake, not of each of its packets
        try:
            with context.wrap_socket(sock, server_hostname=name) as secured:
                return '', secured.selected_alpn_protocol() or ''
        except (OSError, ValueError) as error:  # ValueError: a name that TLS cannot ask for
            with suppress(OSError):
                sock.close()
            return not_connected(error, where, deadline).detail, ''


def _tcp_error(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return 'timeout'
    if isinstance(error, ConnectionRefusedError):
        return 'refused'
    if isinstance(error, ConnectionError):
        return 'reset'
    # What is left (no permission, no buffer space) did not reach the address either.
    return 'unreachable'
