"""Progress on stderr: a live line on a terminal, one line an event elsewhere, nothing when asked for quiet."""

from __future__ import annotations

import io
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from contextlib import contextmanager
from contextlib import nullcontext
from contextlib import suppress
from typing import TYPE_CHECKING
from typing import Protocol
from typing import TextIO
from typing import cast

from wpaudit.domain import ProbeRecord
from wpaudit.domain import Stage
from wpaudit.ports import Listener
from wpaudit.ports import Silence
from wpaudit.report.page import colourful
from wpaudit.report.printable import printable

if TYPE_CHECKING:
    from wpaudit.facts import Look

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.progress import TaskID


class Talk(Listener, Protocol):
    """A listener that can be asked to leave the terminal alone."""

    def paused(self) -> AbstractContextManager[None]:
        """Keep off the terminal while something else asks a question there."""


@contextmanager
def progress(*, quiet: bool = False, verbose: bool = False, stream: TextIO | None = None) -> Iterator[Talk]:
    """Hold a listener for ``stream`` (stderr); a live one leaves nothing behind."""
    out = sys.stderr if stream is None else stream
    if quiet:
        yield QuietTalk()
    elif verbose or not colourful(out):
        yield PlainTalk(out, verbose=verbose)
    else:
        live = LiveTalk(out)
        try:
            yield live
        finally:
            live.stop()


class QuietTalk(Silence):
    """Says nothing."""

    def paused(self) -> AbstractContextManager[None]:
        """Do nothing."""
        return nullcontext()


class PlainTalk:
    """One line an event; probes too when ``verbose``, otherwise only every tenth."""

    def __init__(self, stream: TextIO, *, verbose: bool) -> None:
        self._stream = stream
        self._every = 1 if verbose else 10
        self._stage: Stage | None = None
        self._lock = threading.Lock()

    def stage(self, stage: Stage, detail: str = '') -> None:
        """Tell of a new stage, once."""
        with self._lock:
            if stage is self._stage and not detail:
                return
            self._stage = stage
        self._say(f'{stage.value}{f": {detail}" if detail else ""}')

    def probe(self, record: ProbeRecord, *, left: int) -> None:
        """Tell of a probe."""
        if record.n % self._every:
            return
        about = f', about {left} left' if left else ''
        evidence = f'; {record.evidence}' if record.evidence else ''
        self._say(f'probe {record.n} ({record.role}, {len(record.off)} off): {record.outcome} '
                  f'in {record.seconds:.2f} s{about}{evidence}')

    def look(self, look: Look) -> None:
        """Tell of a look, when all is to be told."""
        if self._every == 1:
            self._say(looked(look))

    def note(self, message: str) -> None:
        """Tell the message."""
        self._say(f'note: {message}')

    def paused(self) -> AbstractContextManager[None]:
        """Do nothing: whole lines disturb no question."""
        return nullcontext()

    def _say(self, text: str) -> None:
        # A reader that has left, or an encoding that lacks a character, is no reason to stop a run half-way.
        with self._lock, suppress(OSError, ValueError):
            encoding = getattr(self._stream, 'encoding', None) or 'utf-8'
            safe = f'wpaudit: {printable(text)}\n'.encode(encoding, 'backslashreplace').decode(encoding)
            self._stream.write(safe)
            self._stream.flush()


class LiveTalk:
    """One line that moves: the stage, probes made, probes and seconds still expected."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.RLock()
        self._began = time.monotonic()
        self._stage: Stage | None = None
        self._made = 0
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def stage(self, stage: Stage, detail: str = '') -> None:
        """Show the stage."""
        with self._lock, _harmless():
            if stage is not self._stage:
                self._stage = stage
                self._show(f'{stage.value}{f" ({printable(detail)})" if detail else ""}')

    def probe(self, record: ProbeRecord, *, left: int) -> None:
        """Move on by one probe."""
        with self._lock, _harmless():
            if not self._made:
                self._began = time.monotonic() - record.seconds
            self._made += 1
            self._show(counts=self._counts(left))

    def look(self, look: Look) -> None:
        """Count it."""
        with self._lock, _harmless():
            self._made += 1
            self._show(counts=f'{self._made} look{"s" if self._made > 1 else ""}')

    def note(self, message: str) -> None:
        """Print the message above the moving line."""
        from rich.text import Text

        with self._lock, _harmless():
            self._started().console.print(Text(f'wpaudit: {printable(message)}'), soft_wrap=True)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Take the moving line away, and bring it back afterwards."""
        self.stop()
        try:
            yield
        finally:
            with self._lock, _harmless():
                self._show()

    def stop(self) -> None:
        """Take the moving line away. Idempotent."""
        with self._lock, _harmless():
            if self._progress is not None:
                self._progress.stop()
            self._progress = self._task = None

    def _counts(self, left: int) -> str:
        words = f'{self._made} probe{"s" if self._made > 1 else ""}'
        if left:
            seconds = (time.monotonic() - self._began) / self._made * left
            words += f', about {left} left ({seconds:.0f} s)'
        return words

    def _show(self, stage: str = '', counts: str = '') -> None:
        shown = self._started()
        if self._task is not None:
            stage = stage or (self._stage.value if self._stage else '')
            fields = {'counts': counts} if counts else {}
            shown.update(self._task, description=stage, **fields)  # type: ignore[arg-type]  # fields are free

    def _started(self) -> Progress:
        if self._progress is None:
            from rich.console import Console
            from rich.progress import Progress
            from rich.progress import SpinnerColumn
            from rich.progress import TextColumn
            from rich.progress import TimeElapsedColumn

            stream = cast(TextIO, _Forgiving(self._stream))
            console = Console(file=stream, force_terminal=True, highlight=False, emoji=False, markup=False)
            self._progress = Progress(
                SpinnerColumn(), TextColumn('{task.description}', markup=False),
                TextColumn('{task.fields[counts]}', markup=False), TimeElapsedColumn(),
                console=console, transient=True, redirect_stdout=False, redirect_stderr=False,
            )
            self._task = self._progress.add_task('', total=None, counts='')
            self._progress.start()
        return self._progress


def looked(look: Look) -> str:
    """Say in one line what a look of triage saw."""
    answer = look.answer
    where = ' '.join(filter(None, (look.vantage, look.address)))
    came = f'HTTP {answer.status}' if answer.status else answer.detail or f'no answer ({answer.error})'
    cut = ', cut off' if answer.truncated else ''
    return f'{look.purpose} ({where}): {came}{cut} in {answer.seconds:.2f} s'


class _Forgiving(io.TextIOBase):
    """Passes text on and swallows what goes wrong with it.

    rich ends the whole program when a pipe breaks, sends its stdout to nowhere, and draws from a thread of its own.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed has a plain attribute
        """Tell rich what can be drawn."""
        return self._stream.encoding or 'utf-8'

    def isatty(self) -> bool:
        """Say yes: this is made for terminals only."""
        return True

    def write(self, text: str, /) -> int:
        """Write, or not."""
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, or not."""
        with suppress(OSError, ValueError):
            self._stream.flush()


def _harmless() -> AbstractContextManager[None]:
    # Whatever a terminal does to rich, the site must still be put back.
    return suppress(Exception)
