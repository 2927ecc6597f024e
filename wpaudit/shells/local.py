"""Commands on this machine, with the same contract as over SSH."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import IO

from wpaudit.errors import ShellError
from wpaudit.ports import CommandResult
from wpaudit.shells.frame import joined
from wpaudit.shells.process import RunningProcess
from wpaudit.shells.process import Started

_READ_BYTES = 64 << 10
_POLL_SECONDS = 0.2
_TERM_SECONDS = 1.0


class LocalShell:
    """``ports.Shell`` over subprocess. Each command leads a process group, so that all of it can be ended."""

    label = 'this machine'

    def __init__(self) -> None:
        self._processes = Started(self.label)

    def run(self, argv: Sequence[str], *, timeout: float, stdin: bytes = b'') -> CommandResult:
        """Run to the end; CommandTimeout after ``timeout`` seconds, with all of its processes ended."""
        process = self.start(argv)
        return process.collect(tuple(argv), stdin=stdin, timeout=timeout, limit=timeout)

    def start(self, argv: Sequence[str]) -> RunningProcess:
        """Start a command and keep talking to it."""
        return self._processes.started(lambda: self._begun(argv))

    def _begun(self, argv: Sequence[str]) -> RunningProcess:
        # Through sh, so that a missing program is status 127 here as everywhere else.
        command = f'exec {joined(argv)}'.encode('utf-8', 'surrogateescape')
        try:
            popen = subprocess.Popen(
                ['/bin/sh', '-c', command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, bufsize=0, start_new_session=True,
            )
        except OSError as error:
            raise ShellError(f'Cannot start {argv[0]} on {self.label}: {error.strerror}.') from error
        return RunningProcess(LocalPipes(popen), name=f'{argv[0]} on {self.label}')

    def dial(self, host: str, port: int, seconds: float) -> socket.socket:
        """Connect to an address. Raises OSError."""
        return socket.create_connection((host, port), timeout=seconds)

    def close(self) -> None:
        """End what was started and still runs. Idempotent."""
        self._processes.end()


class LocalPipes:
    """``process.Pipes`` over one Popen. A reader closes its own stream, so that none is closed under it."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen
        self._closed = False
        if popen.stdin is not None:
            os.set_blocking(popen.stdin.fileno(), False)

    def read(self) -> bytes:
        """Return the next bytes of stdout."""
        return self._read(self._popen.stdout)

    def read_error(self) -> bytes:
        """Return the next bytes of stderr."""
        return self._read(self._popen.stderr)

    def _read(self, stream: IO[bytes] | None) -> bytes:
        if stream is None:
            return b''
        poll = select.poll()
        poll.register(stream, select.POLLIN)
        data = b''
        # A daemon that left the group may hold the pipe open for ever, so look up now and then.
        while not self._closed:
            if poll.poll(_POLL_SECONDS * 1000):
                data = os.read(stream.fileno(), _READ_BYTES)
                break
        if not data:
            stream.close()
        return data

    def write(self, data: bytes, *, timeout: float) -> int:
        """Write some of ``data`` to stdin."""
        stdin = self._popen.stdin
        if stdin is None or stdin.closed:
            raise BrokenPipeError
        deadline = time.monotonic() + timeout
        poll = select.poll()
        poll.register(stdin, select.POLLOUT)
        while (left := deadline - time.monotonic()) > 0:
            poll.poll(left * 1000)
            with suppress(BlockingIOError):
                return os.write(stdin.fileno(), data)
        raise TimeoutError

    def close_stdin(self) -> None:
        """Send end of file."""
        if self._popen.stdin is not None:
            self._popen.stdin.close()

    def status(self, *, timeout: float) -> int | None:
        """Return the exit status, 128 + n for signal n, None when it is still running."""
        try:
            status = self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        return 128 - status if status < 0 else status

    def broken(self) -> bool:
        """There is no transport that could break."""
        return False

    def kill(self, group: int | None) -> None:
        """End the process group: SIGTERM, a second, SIGKILL."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, signal.SIGTERM)
            deadline = time.monotonic() + _TERM_SECONDS
            while time.monotonic() < deadline:
                self._popen.poll()  # a zombie would keep the group alive
                os.killpg(self._popen.pid, 0)
                time.sleep(0.01)
            os.killpg(self._popen.pid, signal.SIGKILL)

    def close(self) -> None:
        """Close stdin and let the readers go."""
        self._closed = True
        with suppress(OSError):
            self.close_stdin()
