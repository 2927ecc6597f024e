"""A shell on which every command runs as another user: as the owner of the files that a layer changes, or as root."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from wpaudit.errors import ModeUnavailable
from wpaudit.ports import CommandResult
from wpaudit.ports import Ground
from wpaudit.ports import Process
from wpaudit.ports import Shell

# sudo(8) never asks for a password with -n; of all programs it is sh that sudoers has to allow, see docs/sudoers
SUDO = ('sudo', '-n', 'sh', '-c', 'exec "$@"', 'sh')
SECONDS = 30.0


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


def rooted(ground: Ground) -> Ground:
    """Return the ground as root has it. Raises ModeUnavailable where the login neither is root nor may become it."""
    why = may_root(ground)
    if why:
        raise ModeUnavailable(why)
    return ground if _is_root(ground) else replace(ground, shell=Acting(ground.shell, SUDO))


def may_root(ground: Ground) -> str:
    """Say why nothing may be changed as root, and what would open it; '' where it may. Asks sudo only if allowed to."""
    if _is_root(ground):
        return ''
    name = ground.shell.run(['id', '-un'], timeout=SECONDS).stdout.decode('utf-8', 'replace').strip()
    line = f'{name} ALL=(root) NOPASSWD: /bin/sh, /usr/bin/sh'
    if not ground.sudo:
        return f'only root may change it: use --sudo, with this line in sudoers: {line}'
    if ground.shell.run((*SUDO, 'true'), timeout=SECONDS).status:
        return f'only root may change it, and sudo -n does not let {name}: put this line in sudoers: {line}'
    return ''


def _is_root(ground: Ground) -> bool:
    return ground.shell.run(['id', '-u'], timeout=SECONDS).stdout.split()[-1:] == [b'0']
