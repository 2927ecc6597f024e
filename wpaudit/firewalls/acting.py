"""A shell on which every command runs as another user: as the owner of the files that a layer changes."""

from __future__ import annotations

from collections.abc import Sequence

from wpaudit.ports import CommandResult
from wpaudit.ports import Process
from wpaudit.ports import Shell


class Acting:
    """``ports.Shell`` that puts ``become`` (``Ground.become``) before each command; no words add nothing."""

    def __init__(self, shell: Shell, become: Sequence[str]) -> None:
        self._shell = shell
        self._become = tuple(become)
        self.label = shell.label

    def run(self, argv: Sequence[str], *, timeout: float, stdin: bytes = b'') -> CommandResult:
        """Run to the end."""
        return self._shell.run((*self._become, *argv), timeout=timeout, stdin=stdin)

    def start(self, argv: Sequence[str]) -> Process:
        """Start a command and keep talking to it."""
        return self._shell.start((*self._become, *argv))

    def close(self) -> None:
        """Leave the shell open: it is somebody else's."""
