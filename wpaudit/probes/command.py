"""``--run CMD``: the user's own command is the judge, with the exit codes of ``git bisect run``."""

from __future__ import annotations

import atexit
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from wpaudit.domain import Answer
from wpaudit.domain import Outcome
from wpaudit.domain import Request
from wpaudit.errors import Inconclusive
from wpaudit.errors import UsageError
from wpaudit.ports import Observation
from wpaudit.ports import Step
from wpaudit.probes.parsing import checked_header

_KEPT = 4096     # bytes of output for the report
_GRACE = 1.0     # seconds between asking and forcing
_LOOK = 0.05     # seconds between looks at the process; its output wakes us sooner
_CANNOT_TELL = 125
_NOT_RUN = frozenset({126, 127})  # POSIX, Shell Command Language 2.8.2: found but not executable, not found
_ABORT = 128


@dataclass(frozen=True)
class Ended:
    """How the command ended. ``status`` is 128 + n for signal n, None when its time was up."""

    status: int | None
    output: str
    seconds: float


class CommandProber:
    """Runs a shell command on this machine for every probe; 0 is PASS, 125 OTHER, other codes up to 127 FAIL.

    The command finds the site in ``WPAUDIT_URL`` and what it must send for the probe to count in ``WPAUDIT_HEADER``
    (a whole header line, for ``curl -H "$WPAUDIT_HEADER"``) and, when probing as a user, ``WPAUDIT_COOKIE``
    (``curl -b "$WPAUDIT_COOKIE"``). Both are empty when there is nothing to send. Where rules of firewalls are switched
    too it is several lines with CRLF between them, which ``curl -H`` sends as they are. Thread-safe.
    """

    def __init__(self, command: str, url: str, *, timeout: float) -> None:
        self._command = command
        self._url = url
        self._timeout = timeout

    def observe(self, step: Step | None) -> Observation:
        """Run the command once. Raises Inconclusive for 128 and above, UsageError when it could not be run."""
        request = Request(self._url)
        prepared = step.prepare(request) if step else request
        ended = run(self._command, _environment(prepared), timeout=self._timeout)
        outcome, evidence = self._judged(ended)
        mark = step.mark(prepared, Answer(self._url)) if step else None
        if mark is not None and not mark.seen:
            outcome = Outcome.UNREACHED
            evidence += '; no request of it carried $WPAUDIT_HEADER to WordPress'
        return Observation(outcome, 0, ended.seconds, evidence, (), (mark,))

    def settle(self, failing: Sequence[Observation]) -> None:
        """Do nothing: what counts as the failure is the command's own decision."""

    def _judged(self, ended: Ended) -> tuple[Outcome, str]:
        said = f': {ended.output.splitlines()[-1][:200]}' if ended.output else ''
        if ended.status is None:
            return Outcome.OTHER, f'the command did not end within {self._timeout:g} s{said}'
        text = f'the command ended with {ended.status}{said}'
        if ended.status >= _ABORT:
            raise Inconclusive(f'{text}; 128 and above stops the search', hint='exit 125 where it cannot tell')
        if ended.status in _NOT_RUN:
            raise UsageError(f'{text}; the shell found no program to run', hint='check the command given with --run')
        if ended.status == _CANNOT_TELL:
            return Outcome.OTHER, text
        return (Outcome.FAIL if ended.status else Outcome.PASS), text


def run(command: str, environment: dict[str, str], *, timeout: float) -> Ended:
    """Run ``command`` in a shell and a process group of its own; whatever is left of that is killed at the end."""
    started = time.monotonic()
    with subprocess.Popen(
        ['/bin/sh', '-c', command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, **environment}, start_new_session=True,
    ) as process:
        _running.add(process.pid)
        try:
            output, in_time = _watched(process, started + timeout)
        finally:
            _end_group(process.pid)
            process.wait()
            _running.discard(process.pid)
    status = process.returncode if process.returncode >= 0 else _ABORT - process.returncode
    text = bytes(output).decode('utf-8', 'surrogateescape').strip()
    return Ended(status if in_time else None, text, time.monotonic() - started)


def _watched(process: subprocess.Popen[bytes], until: float) -> tuple[bytearray, bool]:
    """Keep the end of the output until the process has ended or time is up."""
    output = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)  # type: ignore[arg-type]  # PIPE was asked for
        while time.monotonic() < until:
            ended = _ended(process.pid)
            # Its end, not that of its output: a background child may keep the pipe open.
            ready = selector.select(0 if ended else _LOOK) if selector.get_map() else []
            for key, _ in ready:
                data = os.read(key.fd, 65536)
                if not data:
                    selector.unregister(key.fileobj)
                output += data
                del output[:-_KEPT]
            if ended and not ready:
                return output, True
            if not selector.get_map():
                time.sleep(_LOOK)  # it closed its output and runs on
    return output, _ended(process.pid)


def _ended(pid: int) -> bool:
    # WNOWAIT leaves the zombie, which keeps its number from being given to another process group.
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end_group(pid: int) -> None:
    if not _ended(pid):
        _signal(pid, signal.SIGTERM)
        until = time.monotonic() + _GRACE
        while not _ended(pid) and time.monotonic() < until:
            time.sleep(_LOOK)
    _signal(pid, signal.SIGKILL)


def _signal(group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # gone already; macOS says EPERM for a group of zombies
        os.killpg(group, number)


_running: set[int] = set()


@atexit.register
def _end_all() -> None:
    # Probe threads are daemons: after Ctrl-C their ``finally`` does not run.
    for group in tuple(_running):
        _signal(group, signal.SIGKILL)


def _environment(prepared: Request) -> dict[str, str]:
    header = '\r\n'.join(': '.join(checked_header(*one)) for one in prepared.headers)
    cookie = '; '.join(f'{name}={value}' for name, value in prepared.cookies)
    return {'WPAUDIT_URL': prepared.url, 'WPAUDIT_HEADER': header, 'WPAUDIT_COOKIE': cookie}
