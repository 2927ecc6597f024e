"""A TCP connection that begins on another host: sshd opens it, nothing has to be installed there."""

from __future__ import annotations

import errno
import socket
import threading
from contextlib import suppress
from typing import Protocol

import paramiko

from wpaudit.errors import ConnectionLost
from wpaudit.errors import ShellError

_CHUNK = 32 << 10
# RFC 4254, section 5.1: the reason code of an sshd that forwards nothing, as opposed to one that tried.
_PROHIBITED = 1


class Forwarding(Protocol):
    """The part of a paramiko transport that is used here; ``refusal`` is what sshd said when it opened nothing."""

    refusal: str

    def open_channel(
        self, kind: str, dest_addr: tuple[str, int], src_addr: tuple[str, int], *, timeout: float,
    ) -> paramiko.Channel: ...

    def is_active(self) -> bool: ...


class Tunnels:
    """Opens connections through one SSH connection. ``label`` is what a person calls the host."""

    def __init__(self, transport: Forwarding, label: str) -> None:
        self._transport = transport
        self._label = label
        self._lock = threading.Lock()

    def dial(self, host: str, port: int, seconds: float) -> socket.socket:
        """Connect to a name, as it is known there, or to an address.

        Raises the OSError that a connection from there met, or ShellError when that host cannot be used for it. A real
        socket is returned, one end of a pair, since TLS and time limits need one.
        """
        channel = self._opened(host, port, seconds)
        ours, theirs = socket.socketpair()
        for work in (_outward, _inward):
            threading.Thread(target=work, args=(theirs, channel), name=f'via {self._label}', daemon=True).start()
        return ours

    def _opened(self, host: str, port: int, seconds: float) -> paramiko.Channel:
        with self._lock:  # ``refusal`` is the last one's
            self._transport.refusal = ''
            try:
                return self._transport.open_channel(
                    'direct-tcpip', (host, port), ('127.0.0.1', 0), timeout=max(seconds, 0.001))
            except paramiko.ChannelException as error:
                if error.code == _PROHIBITED:
                    raise ShellError(
                        f'{self._label} does not forward connections.', hint='AllowTcpForwarding of its sshd decides.',
                    ) from error
                raise _met(self._transport.refusal or error.text) from error
            except (paramiko.SSHException, EOFError, OSError) as error:
                if not self._transport.is_active():
                    raise ConnectionLost(f'The connection to {self._label} broke.') from error
                raise TimeoutError(errno.ETIMEDOUT, 'no connection within the time limit') from error


def _met(said: str) -> OSError:
    """Return the error that sshd put into words (``connect_to`` in OpenSSH's channels.c: strerror, gai_strerror)."""
    words = said.lower()
    if 'refused' in words:
        return ConnectionRefusedError(errno.ECONNREFUSED, said)
    if 'timed out' in words:
        return TimeoutError(errno.ETIMEDOUT, said)
    if 'reset' in words:
        return ConnectionResetError(errno.ECONNRESET, said)
    if any(word in words for word in ('not known', 'name resolution', 'no address', 'nodename', 'non-recoverable')):
        return socket.gaierror(socket.EAI_NONAME, said)
    return OSError(errno.EHOSTUNREACH, said)


def _outward(sock: socket.socket, channel: paramiko.Channel) -> None:
    with suppress(OSError, EOFError):
        while data := sock.recv(_CHUNK):
            channel.sendall(data)
    with suppress(OSError, EOFError):
        channel.close()  # our side closes only when it wants no more


def _inward(sock: socket.socket, channel: paramiko.Channel) -> None:
    with suppress(OSError, EOFError):
        while data := channel.recv(_CHUNK):
            sock.sendall(data)
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)  # wakes the other direction
    sock.close()
