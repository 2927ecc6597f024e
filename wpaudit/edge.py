"""The one place where an exception becomes a sentence and an exit code."""

from __future__ import annotations

import os
import platform
import sys
import time
import traceback
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from typing import NoReturn

import click

from wpaudit import __version__
from wpaudit.errors import Interrupted
from wpaudit.errors import OutputLost
from wpaudit.errors import WpauditError
from wpaudit.journal import state_directory
from wpaudit.journal import written
from wpaudit.report.printable import printable
from wpaudit.signals import raised_as_exceptions

BUG = 70
BROKEN_PIPE = 128 + 13
CANNOT_WRITE = 4

# told (message, hint, exit code); prints the error in the format that was asked for
OnError = Callable[[str, str, int], None]


def say(message: str, hint: str = '') -> None:
    """Print one sentence and what to do about it on stderr."""
    click.echo(f'wpaudit: {printable(message)}', err=True)
    if hint:
        click.echo(f'         {printable(hint)}', err=True)


@contextmanager
def guarded(on_error: OnError | None = None) -> Iterator[None]:
    """Run a command; leave with the documented exit code whatever happens in it."""
    try:
        with raised_as_exceptions():
            yield
    except WpauditError as error:
        _leave(error.message, error.hint, error.exit_code, on_error)
    except Interrupted as error:
        _leave('interrupted; nothing of this run is left on the host', '', error.exit_code, on_error)
    except BrokenPipeError:
        with suppress(OSError):  # the reader of our stdout has left; do not complain again at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(BROKEN_PIPE)
    except Exception as error:  # the edge: a bug must end in a sentence and a log too
        hint = f'please report it with {_logged(error)}'
        _leave(f'a bug in wpaudit: {type(error).__name__}: {error}', hint, BUG, on_error)


def _leave(message: str, hint: str, code: int, on_error: OnError | None) -> None:
    with suppress(OSError, OutputLost):  # nobody reads; the exit code still says it
        say(message, hint)
        if on_error is not None:
            on_error(message, hint, code)
    sys.exit(code)


def ended_at_once(main: Callable[[], object]) -> NoReturn:
    """Run the command line and leave the process without taking the interpreter apart.

    By then everything is put back and closed. What remains is memory, and freeing it object by object takes longer
    than several probes.
    """
    code = _left_with(main)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            code = code or _unwritten(error)
    os._exit(code)


def _left_with(main: Callable[[], object]) -> int:
    """Return the exit status that ``main`` asked for."""
    try:
        main()
    except SystemExit as left:
        if isinstance(left.code, str):
            click.echo(left.code, err=True)
            return 1
        return left.code or 0
    except OSError as error:  # of printing: whatever a command does itself is guarded
        return _unwritten(error)
    return 0


def _unwritten(error: OSError) -> int:
    """Say that the result could not be printed: ``--format json > file`` on a full disk must not pass for success."""
    if isinstance(error, BrokenPipeError):  # the reader has seen enough
        return BROKEN_PIPE
    with suppress(OSError):
        say(f'the output could not be written: {error.strerror}')
    return CANNOT_WRITE


def _logged(error: BaseException) -> str:
    """Write versions and traceback, ready to paste; no arguments, since they may hold secrets. Says where."""
    path = state_directory() / 'logs' / f'{time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())}-{os.getpid()}.md'
    text = (
        f'# wpaudit {__version__}\n\n- Python {platform.python_version()} on {platform.platform()}\n\n'
        f'```\n{"".join(traceback.format_exception(error))}```\n'
    )
    try:
        written(path, text)
    except OSError:
        click.echo(text, err=True)
        return 'what is printed above'
    return str(path)
