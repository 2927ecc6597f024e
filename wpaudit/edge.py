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

import click

from wpaudit import __version__
from wpaudit.errors import Interrupted
from wpaudit.errors import WpauditError
from wpaudit.journal import state_directory
from wpaudit.journal import written
from wpaudit.report.printable import printable
from wpaudit.signals import raised_as_exceptions

BUG = 70

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
        sys.exit(128 + 13)
    except Exception as error:  # the edge: a bug must end in a sentence and a log too
        hint = f'please report it with {_logged(error)}'
        _leave(f'a bug in wpaudit: {type(error).__name__}: {error}', hint, BUG, on_error)


def _leave(message: str, hint: str, code: int, on_error: OnError | None) -> None:
    with suppress(OSError):  # nobody reads; the exit code still says it
        say(message, hint)
        if on_error is not None:
            on_error(message, hint, code)
    sys.exit(code)


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
