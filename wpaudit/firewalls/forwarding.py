"""A port of loopback on this machine whose connections go on from the host: how a probe reaches what listens there."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import closing
from contextlib import contextmanager
from contextlib import suppress
from functools import partial

from wpaudit.errors import ShellError
from wpaudit.ports import Dialing
from wpaudit.ports import Shell

SECONDS = 30.0  # to connect from the host
_CHUNK = 65536
_UNUSED = 9     # "discard": whether anybody answers there is of no interest


def refusal(shell: Shell) -> str:
    """Say why the host opens no connections for us, '' when it does."""
    if not isinstance(shell, Dialing):
        return 'connections cannot be opened from this host'
    try:
        shell.dial('127.0.0.1', _UNUSED, SECONDS).close()
    except ShellError as error:
        return f'{error.message} {error.hint}'.strip()
    except OSError:
        pass  # it tried
    return ''


@contextmanager
def forwarded(shell: Dialing, host: str, port: int) -> Iterator[str]:
    """Hold a port of loopback here that leads to ``host``:``port`` of the shell's host; yield ``127.0.0.1:PORT``."""
    with closing(socket.create_server(('127.0.0.1', 0))) as listener:
        dial = partial(shell.dial, host, port, SECONDS)
        threading.Thread(target=_accept, args=(listener, dial), name='wpaudit-forward', daemon=True).start()
        try:
            yield f'127.0.0.1:{listener.getsockname()[1]}'
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes the thread


def _accept(listener: socket.socket, dial: Callable[[], socket.socket]) -> None:
    while True:
        try:
            ours, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_join, args=(ours, dial), name='wpaudit-forward', daemon=True).start()


def _join(ours: socket.socket, dial: Callable[[], socket.socket]) -> None:
    with closing(ours):
        try:
            theirs = dial()
        except (OSError, ShellError):
            return  # whoever asked sees a closed connection
        with closing(theirs):
            theirs.settimeout(None)
            back = threading.Thread(target=_pump, args=(theirs, ours), name='wpaudit-forward', daemon=True)
            back.start()
            _pump(ours, theirs)
            back.join()


def _pump(source: socket.socket, goal: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(_CHUNK):
            goal.sendall(data)
    with suppress(OSError):
        goal.shutdown(socket.SHUT_WR)
