"""Where the results of the command line go."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from wpaudit import report
from wpaudit.edge import say
from wpaudit.errors import OutputLost
from wpaudit.errors import UsageError


def colour(output: Path | None) -> bool:
    """Say whether the result may be coloured."""
    return output is None and report.colourful(sys.stdout)


def emit(text: str, output: Path | None) -> None:
    """Print a result, or write it; what cannot be written is printed rather than lost."""
    if output is not None:
        try:
            _write(output, text if text.endswith('\n') else f'{text}\n')
            return
        except OSError as error:
            say(f'{output} cannot be written ({error.strerror}), so the result is printed')
    try:
        click.echo(text, nl=not text.endswith('\n'))
    except BrokenPipeError:
        raise  # the reader has seen enough
    except OSError as error:
        raise OutputLost(f'the output could not be written: {error.strerror}') from error


def _write(output: Path, text: str) -> None:
    output.write_text(text, encoding='utf-8', errors='backslashreplace')


def check_writable(output: Path) -> None:
    """Raise UsageError now rather than after the run. A file that exists keeps what it has."""
    try:
        there = output.exists()
        if there and not output.is_file():
            return  # a pipe or a device; opening it may have a meaning
        with output.open('ab'):
            pass
        if not there:
            output.unlink()
    except OSError as error:
        raise UsageError(f'{output} cannot be written: {error.strerror}', hint='name another --output') from error
