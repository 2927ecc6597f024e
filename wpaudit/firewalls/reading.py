"""Read files on a host, many in one round trip: bounded, and with a reason where there is nothing to read.

One ``sh`` on the host (``sh/read.sh``) answers for all paths and patterns. What separates the files in its answer is a
random word that travels on stdin, so no file can hold it. What the host says is checked here and is nowhere trusted:
a wrong answer is ``Garbled``, never an exception of another kind.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources

from wpaudit.errors import ShellError
from wpaudit.ports import Shell

READ_SECONDS = 60.0
_NUMBERS = 7
_LONGEST_NUMBER = 20  # digits of 2**64
_PLAIN = frozenset(range(ord(' '), 0x7F)) - frozenset(b'\\')


class State(StrEnum):
    """What is at a path."""

    FILE = 'file'
    ABSENT = 'absent'
    UNREADABLE = 'unreadable'  # it exists and may not be read, or stands where nobody may look
    DIRECTORY = 'directory'
    SPECIAL = 'special'        # a device, a pipe, a socket: never opened
    SKIPPED = 'skipped'        # the limits were reached before it


class Garbled(ShellError):
    """The host answered something else than it was asked for."""


@dataclass(frozen=True)
class Limits:
    """How much is read: bytes of one file, bytes of all together, and how many files."""

    file: int = 10_000_000
    total: int = 40_000_000  # below what a shell takes as output (64 MiB)
    count: int = 2_000


LIMITS = Limits()


@dataclass(frozen=True)
class HostFile:
    """One path on a host. The numbers are those of stat(2), links followed; 0 where nothing could be asked.

    ``real`` is where links lead, ``''`` when that cannot be told. ``data`` is cut at the limit, and ``cut`` says so.
    """

    path: str
    state: State
    data: bytes = b''
    cut: bool = False
    real: str = ''
    mode: int = 0
    size: int = 0
    user: int = 0
    group: int = 0
    device: int = 0
    inode: int = 0
    mtime: int = 0  # whole seconds since the epoch

    @property
    def text(self) -> str:
        """The bytes as text; those that are not UTF-8 are kept (surrogateescape)."""
        return self.data.decode('utf-8', 'surrogateescape')

    @property
    def sha256(self) -> str:
        """The digest of all bytes, ``''`` when not all of them were read."""
        return '' if self.cut or self.state is not State.FILE else hashlib.sha256(self.data).hexdigest()

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode: the same for two names of one file."""
        return self.device, self.inode


def read_files(shell: Shell, paths: Sequence[str], *, limits: Limits = LIMITS) -> dict[str, HostFile]:
    """Return what is at each of these paths, by path. Raises ShellError only for a broken line or answer."""
    found = _answers(shell, [('L', path) for path in dict.fromkeys(paths)], limits)
    return {path: files[0] if files else HostFile(path, State.SKIPPED) for (_, path), files in found.items()}


def read_matching(
    shell: Shell, patterns: Sequence[str], *, limits: Limits = LIMITS,
) -> dict[str, tuple[HostFile, ...]]:
    """Return what matches each of these patterns (glob(7)), by pattern, sorted by bytes.

    A pattern without a match has one entry that bears its own text: ABSENT, or UNREADABLE when its directory is.
    """
    found = _answers(shell, [('G', pattern) for pattern in dict.fromkeys(patterns)], limits)
    return {pattern: files for (_, pattern), files in found.items()}


def argv_for(limits: Limits = LIMITS) -> tuple[str, ...]:
    """Return the command that reads; what it is to read goes to its stdin."""
    return 'sh', '-c', _script(), 'wpaudit', str(limits.file), str(limits.total), str(limits.count)


@cache
def _script() -> str:
    return resources.files('wpaudit.firewalls').joinpath('sh', 'read.sh').read_text(encoding='utf-8')


Asked = tuple[str, str]


def _answers(shell: Shell, asked: Sequence[Asked], limits: Limits) -> Mapping[Asked, tuple[HostFile, ...]]:
    possible = [one for one in asked if one[1] and '\0' not in one[1]]
    answers: dict[Asked, tuple[HostFile, ...]] = {one: (HostFile(one[1], State.ABSENT),) for one in asked}
    if not possible:
        return answers
    word = secrets.token_hex(16)
    lines = [word, *(kind + escaped(path) for kind, path in possible)]
    result = shell.run(argv_for(limits), timeout=READ_SECONDS, stdin='\n'.join([*lines, '']).encode('ascii'))
    if result.status != 0:
        raise Garbled(f'{shell.label} cannot read files: sh ended with status {result.status}.')
    found: dict[int, list[HostFile]] = {}
    for number, file in _parsed(result.stdout, word.encode('ascii'), limits.file):
        found.setdefault(number, []).append(file)
    return answers | {one: tuple(found.get(number, ())) for number, one in enumerate(possible)}


def escaped(path: str) -> str:
    """Write ``path`` for ``printf %b`` on one line of ASCII."""
    data = path.encode('utf-8', 'surrogateescape')
    return ''.join(chr(byte) if byte in _PLAIN else f'\\0{byte:03o}' for byte in data)


def _parsed(answer: bytes, word: bytes, most: int) -> list[tuple[int, HostFile]]:
    """Take the answer apart; Garbled unless every piece has its shape and the last one is the end."""
    _noise, *pieces = answer.split(word)
    if not pieces or pieces.pop() != b' end\n':
        raise Garbled('The host stopped before all files were read.')
    return [_piece(piece, most) for piece in pieces]


def _piece(piece: bytes, most: int) -> tuple[int, HostFile]:
    head, _, rest = piece.partition(b'\n')
    path, nul, rest = rest.partition(b'\0')
    real, other_nul, data = rest.partition(b'\0')
    words = head.split()
    if not (nul and other_nul) or len(words) not in (2, 2 + _NUMBERS):
        raise Garbled('The host described a file in a way that cannot be read.')
    number, state, *numbers = words
    mode, size, user, group, device, inode, mtime = [_number(one) for one in numbers] or [0] * _NUMBERS
    return _number(number), HostFile(
        path=path.decode('utf-8', 'surrogateescape'), state=_state(state), real=real.decode('utf-8', 'surrogateescape'),
        data=data[:most], cut=len(data) > most, mode=_mode(mode), size=size, user=user, group=group, device=device,
        inode=inode, mtime=mtime,
    )


def _state(word: bytes) -> State:
    try:
        return State(word.decode('ascii', 'replace'))
    except ValueError as error:
        raise Garbled('The host described a file in a way that cannot be read.') from error


def _number(word: bytes) -> int:
    if not word.isdigit() or len(word) > _LONGEST_NUMBER:
        if word.startswith(b'-') and word[1:].isdigit() and len(word) <= _LONGEST_NUMBER:
            return int(word)  # a time before 1970
        raise Garbled('The host described a file in a way that cannot be read.')
    return int(word)


def _mode(digits: int) -> int:
    """Turn the permissions, which stat(1) writes in octal, into a number."""
    try:
        return int(str(digits), 8)
    except ValueError as error:
        raise Garbled('The host described a file in a way that cannot be read.') from error
