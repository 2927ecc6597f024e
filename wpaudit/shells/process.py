"""A running command seen the same way over every transport: draining, lines, time limits and its end.

A transport brings ``Pipes``, six blocking primitives; everything a caller may rely on is here, once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from wpaudit.errors import CommandTimeout
from wpaudit.errors import ConnectionLost
from wpaudit.errors import ShellError
from wpaudit.ports import STDERR_TAIL_BYTES
from wpaudit.ports import CommandResult
from wpaudit.shells.frame import Unframer

MAX_LINE_BYTES = 16 << 20
MAX_OUTPUT_BYTES = 64 << 20
END_GRACE_SECONDS = 10.0  # at end of file the agent restores a site; that may not be cut short
SEND_STALL_SECONDS = 60.0
_SETTLE_SECONDS = 0.5
_BEGIN_SECONDS = 10.0  # for a start that is under way while its shell closes
_WRITE_BYTES = 32 << 10


class Pipes(Protocol):
    """The three streams of one command and the way to its end."""

    def read(self) -> bytes:
        """Return the next bytes of stdout; ``b''`` at its end or after ``close``."""

    def read_error(self) -> bytes:
        """Return the next bytes of stderr; ``b''`` at its end or after ``close``."""

    def write(self, data: bytes, *, timeout: float) -> int:
        """Write some of ``data`` to stdin; TimeoutError when it takes nothing, OSError when it is gone."""

    def close_stdin(self) -> None:
        """Send end of file; OSError when it is gone."""

    def status(self, *, timeout: float) -> int | None:
        """Return the exit status, None while it is running; ConnectionLost when nobody will know."""

    def broken(self) -> bool:
        """Tell, after stdout ended, whether the transport broke rather than the command closing it."""

    def kill(self, group: int | None) -> None:
        """End the command's process group on the host, as far as that is possible."""

    def close(self) -> None:
        """Free everything; blocked reads and writes return."""


class RunningProcess:
    """``ports.Process`` over ``Pipes``: two threads drain both streams for as long as it lives."""

    def __init__(self, pipes: Pipes, *, name: str, marker: bytes | None = None) -> None:
        self._pipes = pipes
        self._name = name  # "wp on deploy@shop.example:22"
        self._changed = threading.Condition()
        self._stdout = bytearray()
        self._scanned = 0
        self._overflow = False
        self._stderr = bytearray()
        self._open = 2
        self._stdout_open = True
        self._over = False
        self._unframe = Unframer(marker)
        self._unframe_error = Unframer(marker)
        output = pipes.read, self._unframe, self._keep_output
        errors = pipes.read_error, self._unframe_error, self._keep_error
        self._threads = [
            threading.Thread(target=self._drain, args=stream, name=f'wpaudit {name}', daemon=True)
            for stream in (output, errors)
        ]
        for thread in self._threads:
            thread.start()

    # -- draining -------------------------------------------------------------------------------

    def _drain(self, read: Callable[[], bytes], unframe: Unframer, keep: Callable[[bytes], None]) -> None:
        try:
            while chunk := read():
                own = unframe.feed(chunk)
                with self._changed:
                    keep(own)
                    self._changed.notify_all()
        except OSError:
            pass  # the transport broke or was closed; ``broken`` and ``status`` tell which
        finally:
            with self._changed:
                self._open -= 1
                self._stdout_open = self._stdout_open and unframe is not self._unframe
                self._changed.notify_all()

    def _keep_output(self, data: bytes) -> None:
        if self._overflow or len(self._stdout) + len(data) > MAX_OUTPUT_BYTES:
            self._overflow = True  # keep draining, or the command would stall and never end
        else:
            self._stdout += data

    def _keep_error(self, data: bytes) -> None:
        self._stderr += data
        if len(self._stderr) > 2 * STDERR_TAIL_BYTES:
            del self._stderr[:-STDERR_TAIL_BYTES]

    # -- the conversation -----------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Write all of ``data`` to its stdin; ConnectionLost when it is gone or reads nothing for a minute."""
        try:
            self._write(data, deadline=None)
        except TimeoutError as error:
            raise ConnectionLost(f'{self._name} reads no input since {SEND_STALL_SECONDS:g} s.') from error
        except OSError as error:
            raise ConnectionLost(f'{self._name} is gone: it can no longer be written to.') from error

    def _write(self, data: bytes, *, deadline: float | None) -> None:
        view = memoryview(data)
        while view:
            allowed = SEND_STALL_SECONDS
            if deadline is not None:
                allowed = min(allowed, deadline - time.monotonic())
            if allowed <= 0:
                raise TimeoutError
            view = view[self._pipes.write(bytes(view[:_WRITE_BYTES]), timeout=allowed):]

    def receive(self, *, timeout: float) -> bytes:
        """Return the next line of stdout with its newline; ``b''`` at end of file."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                line = self._take_line()
                if line is not None:
                    return line
                if not self._stdout_open:
                    return self._take_last()
                left = deadline - time.monotonic()
                if left <= 0:
                    raise CommandTimeout(f'{self._name} has said nothing for {timeout:g} s.')
                self._changed.wait(left)

    def _take_line(self) -> bytes | None:
        end = self._stdout.find(b'\n', self._scanned) + 1
        if (end or len(self._stdout)) > MAX_LINE_BYTES:
            raise ConnectionLost(f'{self._name} wrote a line longer than {MAX_LINE_BYTES >> 20} MiB.')
        if not end:
            self._scanned = len(self._stdout)
            if self._overflow:
                raise ConnectionLost(f'{self._name} wrote over {MAX_OUTPUT_BYTES >> 20} MiB that nobody read.')
            return None
        line = bytes(self._stdout[:end])
        del self._stdout[:end]
        self._scanned = 0
        return line

    def _take_last(self) -> bytes:
        if self._pipes.broken():
            raise ConnectionLost(f'The connection to {self._name} broke.')
        self._check_ran()
        rest = bytes(self._stdout)
        self._stdout.clear()
        self._scanned = 0
        return rest

    def _check_ran(self) -> None:
        if self._unframe.found:
            return
        noise = b' '.join((self._unframe.noise + b' ' + self._unframe_error.noise).split())[-300:]
        said = f', but said: {noise.decode(errors="replace")}' if noise else '.'
        raise ShellError(
            f'The login shell did not run {self._name}{said}',
            hint='Is the account limited (sftp only, forced command, nologin)? Does a start-up file exit?',
        )

    def close_stdin(self) -> None:
        """Send end of file."""
        try:
            self._pipes.close_stdin()
        except OSError as error:
            raise ConnectionLost(f'{self._name} is gone: its input can no longer be closed.') from error

    def wait(self, *, timeout: float) -> int:
        """Return the exit status; CommandTimeout when still running after ``timeout`` seconds."""
        status = self._pipes.status(timeout=timeout)
        if status is None:
            raise CommandTimeout(f'{self._name} is still running after {timeout:g} s.')
        with self._changed:  # its last words may still be on their way
            self._changed.wait_for(lambda: self._open == 0, _SETTLE_SECONDS)
        return status

    def stderr_tail(self) -> bytes:
        """Return the last bytes it wrote to stderr, at most STDERR_TAIL_BYTES."""
        with self._changed:
            return bytes(self._stderr[-STDERR_TAIL_BYTES:])

    # -- the end --------------------------------------------------------------------------------

    @property
    def over(self) -> bool:
        """True once it was ended and everything freed."""
        return self._over

    def end(self, *, grace: float = END_GRACE_SECONDS) -> None:
        """Close stdin, give the process ``grace`` seconds to leave, then kill it on the host too. Idempotent."""
        if self._over:
            return
        with suppress(OSError):
            self._pipes.close_stdin()
        try:
            gone = self._pipes.status(timeout=grace) is not None
        except ConnectionLost:
            gone = True  # or out of reach: nothing can be killed either way
        self.stop(kill=not gone)

    def stop(self, *, kill: bool) -> bool:
        """Free everything, killing the process first if asked to. False: it may still be running."""
        gone = True
        try:
            if kill:
                with self._changed:  # one that has just been started may not have said which group it is yet
                    self._changed.wait_for(lambda: self._unframe.found or not self._stdout_open, _SETTLE_SECONDS)
                fields = self._unframe.fields
                self._pipes.kill(fields[1] if len(fields) > 1 else None)
                gone = self._pipes.status(timeout=1) is not None
        except ShellError:
            gone = False
        finally:
            self._pipes.close()
            for thread in self._threads:
                thread.join(1)
            self._over = True
        return gone

    def collect(self, argv: tuple[str, ...], *, stdin: bytes, timeout: float, limit: float) -> CommandResult:
        """Run to the end: ``stdin`` in, all output out. ``limit`` seconds of the caller's ``timeout`` are left."""
        ended = False
        deadline = time.monotonic() + limit
        try:
            self._feed(stdin, deadline)
            with self._changed:
                left = max(0.0, deadline - time.monotonic())
                self._changed.wait_for(lambda: not self._open or self._overflow, left)
                if self._overflow:
                    raise ShellError(f'{self._name} wrote more than {MAX_OUTPUT_BYTES >> 20} MiB.')
            status = None if self._open else self._pipes.status(timeout=max(0, deadline - time.monotonic()))
            if status is None:
                ended = True
                raise self._timed_out(timeout, gone=self.stop(kill=True))
            ended = True
            self._check_ran()
            return CommandResult(argv, status, bytes(self._stdout), self.stderr_tail())
        finally:
            self.stop(kill=not ended)

    def _feed(self, stdin: bytes, deadline: float) -> None:
        try:
            self._write(stdin, deadline=deadline)
            self._pipes.close_stdin()
        except TimeoutError:
            pass  # the deadline has come; the caller sees that too
        except OSError:
            pass  # a command may end without reading all of its input

    def _timed_out(self, timeout: float, *, gone: bool) -> CommandTimeout:
        fate = 'and was ended' if gone else 'and may still be running there'
        return CommandTimeout(f'{self._name} took longer than {timeout:g} s {fate}.')


class Started:
    """What a shell has started and has to end. Thread-safe.

    A start may be under way in one thread while Ctrl-C closes the shell in another; what it starts would be nobody's.
    So closing waits for it, and its process is ended at once.
    """

    def __init__(self, label: str) -> None:
        self._label = label
        self._changed = threading.Condition()
        self._processes: list[RunningProcess] = []
        self._beginning = 0
        self._closed = False

    def started(self, begin: Callable[[], RunningProcess]) -> RunningProcess:
        """Start a process, and keep it. Raises ConnectionLost when the shell closes meanwhile, or has been closed."""
        with self._changed:
            self._must_be_open()
            self._beginning += 1
        try:
            process = begin()
            with self._changed:
                kept = not self._closed
                self._processes = [*(one for one in self._processes if not one.over), *([process] if kept else [])]
            if not kept:
                process.end(grace=0)  # nobody has said a word to it
                self._must_be_open()
            return process
        finally:
            with self._changed:
                self._beginning -= 1
                self._changed.notify_all()

    def _must_be_open(self) -> None:
        if self._closed:
            raise ConnectionLost(f'The connection to {self._label} is closed.')

    def end(self) -> None:
        """End all of them, and let none begin from now on. Idempotent."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: not self._beginning, _BEGIN_SECONDS)
        for process in self._processes:
            process.end()
