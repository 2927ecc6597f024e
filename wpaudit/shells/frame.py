"""One command line that every login shell reads alike, and the marker that tells its output from noise.

sshd hands a command to the user's login shell, which may be dash, bash, zsh, fish or csh, and which may print
whatever its start-up files print, on both streams. So the command travels inside single quotes, with every
character on which these shells disagree written in octal, and ``sh`` prints a random marker on both streams
before it turns into the command. What comes before the marker is dropped.
"""

from __future__ import annotations

import re
import secrets
import shlex
from collections.abc import Sequence

from wpaudit.errors import ShellError

# Linux refuses a single argument of 128 KiB, and the login shell gets all of it as one.
MAX_COMMAND_BYTES = 128 * 1024 - 64
# Start-up files may print, but not for ever.
MAX_NOISE_BYTES = 1 << 20

_PLAIN = frozenset(range(ord(' '), ord('~') + 1)) - frozenset(b"'\\!")
# The process group may be older than this sh: fish and csh stay around as its parent.
_GROUP = (
    'wpaudit_g=$$; if read -r wpaudit_s 2>/dev/null </proc/$$/stat; then wpaudit_s=${wpaudit_s##*) }; '
    'wpaudit_s=${wpaudit_s#* }; wpaudit_s=${wpaudit_s#* }; wpaudit_g=${wpaudit_s%% *}; '
    'else wpaudit_g=$(ps -o pgid= -p $$ 2>/dev/null) || wpaudit_g=$$; fi'
)


class Framed:
    """A command ready to be sent: ``command`` is pure ASCII, ``marker`` what precedes its real output."""

    def __init__(self, argv: Sequence[str]) -> None:
        # In two halves, so that a shell that echoes its commands does not print the marker itself.
        halves = secrets.token_hex(8), secrets.token_hex(8)
        self.marker = ''.join(halves).encode()
        script = (
            f"{_GROUP}; printf '%s%s:%s:%s:\\n' {halves[0]} {halves[1]} $$ $wpaudit_g; "
            f"printf '%s%s:\\n' {halves[0]} {halves[1]} >&2; exec {joined(argv)}"
        )
        self.command = f"sh -c 'eval \"$(printf %b \"$1\")\"' sh '{_octal(script)}'"
        if len(self.command) > MAX_COMMAND_BYTES:
            raise ShellError(f'The command {argv[0]} is too long to be sent; its data must go through stdin.')


def joined(argv: Sequence[str]) -> str:
    """Quote ``argv`` for a POSIX shell; a ShellError when no shell could run it."""
    if not argv or not argv[0] or argv[0].startswith('-'):
        raise ShellError(f'{list(argv)!r} does not begin with a program.')
    if any('\0' in word for word in argv):
        raise ShellError(f'An argument of {argv[0]} contains a NUL byte, which no command can receive.')
    return shlex.join(argv)


def _octal(script: str) -> str:
    """Write ``script`` for ``printf %b`` with only the characters that are literal in everybody's quotes."""
    data = script.encode('utf-8', 'surrogateescape')
    return ''.join(chr(byte) if byte in _PLAIN else '\\n' if byte == ord('\n') else f'\\0{byte:03o}'
                   for byte in data)


class Unframer:
    """Drops a stream's bytes up to the marker; ``fields`` then holds the numbers that came with it."""

    def __init__(self, marker: bytes | None) -> None:
        self._pattern = None if marker is None else re.compile(re.escape(marker) + rb':((?:[ \d]*:)*)\r?\n')
        self._seen = b''
        self.fields: tuple[int, ...] = ()

    @property
    def found(self) -> bool:
        """True when everything that comes now is the command's own."""
        return self._pattern is None

    @property
    def noise(self) -> bytes:
        """Return what was printed instead of the marker."""
        return self._seen

    def feed(self, data: bytes) -> bytes:
        """Return the part of ``data`` that belongs to the command."""
        if self._pattern is None:
            return data
        seen = self._seen + data
        match = self._pattern.search(seen)
        if match is None:
            self._seen = seen[-MAX_NOISE_BYTES:]
            return b''
        self._pattern, self._seen = None, b''
        self.fields = tuple(int(field) for field in match[1].split(b':') if field.strip().isdigit())
        return seen[match.end():]
