"""Ways to run a command on a site's host, one per scheme of a TARGET.

Nothing heavy is imported before a shell is opened: start-up time is the user's time.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wpaudit.errors import CannotStart
from wpaudit.ports import Shell
from wpaudit.shells.target import Target

if TYPE_CHECKING:
    from wpaudit.shells.ssh import SshShell


@dataclass(frozen=True)
class ShellOptions:
    """How to connect, where the SSH configuration is not to be followed."""

    identity: Path | None = None
    ssh_config: Path | None = None
    known_hosts: Path | None = None
    accept_new_host_key: bool = False
    proxyjump: str | None = None


def open_shell(target: Target, options: ShellOptions = ShellOptions()) -> Shell:
    """Open a shell on ``target``'s host; a ShellError says in a sentence why that failed."""
    opener = SHELLS.get(target.scheme)
    if opener is None:
        raise CannotStart(
            f'The scheme "{target.scheme}" is not supported yet; supported are {" and ".join(SHELLS)}.',
            hint='Run wpaudit with "local:" inside the container, or reach it over SSH.',
        )
    return opener(target, options)


@contextmanager
def open_tunnels(
    target: Target, options: ShellOptions = ShellOptions(),
) -> Iterator[Callable[[str, int, float], socket.socket]]:
    """Hold an SSH connection to ``target`` and a function that connects from there: see ``ssh_tunnel.Tunnels.dial``."""
    if target.scheme != 'ssh':
        raise CannotStart(f'The scheme "{target.scheme}" cannot lend its network.', hint='Give a host with SSH.')
    shell = _ssh(target, options)
    try:
        yield shell.tunnels().dial
    finally:
        shell.close()


def _ssh(target: Target, options: ShellOptions) -> SshShell:
    from wpaudit.shells.ssh_library import load_paramiko

    load_paramiko()
    from wpaudit.shells.ssh import SshShell

    return SshShell.connect(
        target, identity=options.identity, ssh_config=options.ssh_config, known_hosts=options.known_hosts,
        accept_new_host_key=options.accept_new_host_key, proxyjump=options.proxyjump,
    )


def _local(target: Target, options: ShellOptions) -> Shell:
    from wpaudit.shells.local import LocalShell

    return LocalShell()


SHELLS: dict[str, Callable[[Target, ShellOptions], Shell]] = {
    'ssh': _ssh,
    'local': _local,
}
