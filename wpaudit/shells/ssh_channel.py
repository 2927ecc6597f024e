"""``process.Pipes`` over one session channel of an SSH connection."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from wpaudit.errors import ConnectionLost

_READ_BYTES = 128 << 10
_IDLE_SECONDS = 60.0


class Channel(Protocol):
    """The part of a paramiko channel that is used here."""

    status_event: threading.Event
    exit_status: int
    eof_received: int

    def recv(self, nbytes: int) -> bytes: ...
    def recv_stderr(self, nbytes: int) -> bytes: ...
    def send(self, s: bytes) -> int: ...
    def settimeout(self, timeout: float | None) -> None: ...
    def shutdown_write(self) -> None: ...
    def close(self) -> None: ...


class ChannelPipes:
    """Streams, status and end of a command that ``channel`` runs.

    ``name`` is what a person calls the command; ``exit_signal`` returns the name of the signal that ended it,
    if one did; ``end_group`` ends a process group on the host; ``alive`` tells whether the connection stands.
    """

    def __init__(
        self, channel: Channel, *, name: str, exit_signal: Callable[[], str | None], end_group: Callable[[int], None],
        alive: Callable[[], bool],
    ) -> None:
        self._channel = channel
        self._name = name
        self._exit_signal = exit_signal
        self._end_group = end_group
        self._alive = alive
        channel.settimeout(_IDLE_SECONDS)

    def read(self) -> bytes:
        """Return the next bytes of stdout."""
        return self._read(self._channel.recv)

    def read_error(self) -> bytes:
        """Return the next bytes of stderr."""
        return self._read(self._channel.recv_stderr)

    def _read(self, receive: Callable[[int], bytes]) -> bytes:
        while True:
            # paramiko has one time limit for both directions; only the one for writing is meant.
            with suppress(TimeoutError):
                return receive(_READ_BYTES)

    def write(self, data: bytes, *, timeout: float) -> int:
        """Write some of ``data`` to stdin."""
        self._channel.settimeout(max(0.01, timeout))
        try:
            written = self._channel.send(data)
        finally:
            self._channel.settimeout(_IDLE_SECONDS)
        if not written or not self._alive():  # paramiko drops data for a dead connection without a word
            raise BrokenPipeError
        return written

    def close_stdin(self) -> None:
        """Send end of file."""
        self._channel.shutdown_write()

    def status(self, *, timeout: float) -> int | None:
        """Return the exit status, 128 + n for signal n, None when it is still running."""
        if not self._channel.status_event.wait(timeout):
            return None
        if self._channel.exit_status >= 0:
            return self._channel.exit_status
        name = self._exit_signal()
        if name is None:
            raise ConnectionLost(f'The connection broke before {self._name} ended.')
        known = signal.Signals.__members__.get(f'SIG{name}')
        return 128 + (known or 0)

    def broken(self) -> bool:
        """Tell whether stdout ended without the host having said so."""
        return not (self._channel.eof_received or self._channel.exit_status >= 0 or self._exit_signal())

    def kill(self, group: int | None) -> None:
        """End the process group over a second channel."""
        if group is not None and group > 1:
            self._end_group(group)

    def close(self) -> None:
        """Close the channel."""
        with suppress(OSError, EOFError):
            self._channel.close()
