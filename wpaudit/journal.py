"""The durable record on this machine: one file for each site with an open run, and the reports of past runs.

``opened`` returns only after the entry is on disk (fsync of file and directory): whoever finds the file after a
power cut knows what was on before, where the harness is, and how to reach the host.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from wpaudit.errors import CannotStart

KEPT_RECORDS = 200


def state_directory() -> Path:
    """Return wpaudit's directory below ``$XDG_STATE_HOME`` (XDG Base Directory Specification)."""
    base = os.environ.get('XDG_STATE_HOME') or ''
    root = Path(base) if Path(base).is_absolute() else Path.home() / '.local' / 'state'
    return root / 'wpaudit'


class FileJournal:
    """The journal of one site, as one JSON file."""

    def __init__(self, target: str, directory: Path | None = None) -> None:
        """``target`` is what the user gave as --host; it names the file and is kept in it."""
        self._target = target
        self._directory = directory or state_directory()
        name = re.sub(r'[^A-Za-z0-9.-]+', '-', target).strip('-.')[:60]
        digest = hashlib.sha256(target.encode('utf-8', 'surrogateescape')).hexdigest()[:8]
        self.path = self._directory / 'open' / f'{name}-{digest}.json'

    def must_be_writable(self) -> None:
        """Raise CannotStart when this machine cannot keep the journal: to be known before a host is touched."""
        trial = self.path.with_suffix(f'.{os.getpid()}')  # another run may be trying too
        try:
            written(trial, 'x')
            trial.unlink()
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> CannotStart:
        return CannotStart(
            f'the journal {self.path} cannot be written: {error.strerror}',
            hint='make room for it, or name another directory with XDG_STATE_HOME',
        )

    def opened(self, entry: Mapping[str, object]) -> None:
        """Write the entry. Raises CannotStart when this machine cannot keep it; nothing is changed then."""
        record = {'target': self._target, 'opened': time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime()), **entry}
        try:
            written(self.path, json.dumps(record, indent=1))
        except OSError as error:
            raise self._unwritable(error) from error

    def closed(self) -> None:
        """Forget the entry. One that cannot be removed does no harm: `wpaudit restore` finds the site as it was."""
        with suppress(OSError):
            self.path.unlink()

    def entry(self) -> dict[str, object] | None:
        """Return the open entry, None when there is none."""
        try:
            found = json.loads(self.path.read_text(encoding='utf-8'))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def record(self, text: str) -> Path:
        """Keep the report of a run; the oldest of many go. Returns its path."""
        stamp = time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())
        path = self._directory / 'runs' / f'{stamp}-{os.getpid()}-{self.path.name}'
        written(path, text)
        for old in sorted(path.parent.glob('*.json'))[:-KEPT_RECORDS]:
            old.unlink(missing_ok=True)
        return path


def written(path: Path, text: str) -> None:
    """Write ``text`` so that after a crash the old or the new file is there whole; mode 0600."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix='.')
    try:
        with os.fdopen(descriptor, 'w', encoding='utf-8', errors='backslashreplace') as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
