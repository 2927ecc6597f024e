"""Shells for the contract tests; nothing of the person who runs them is read."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from shell_hosts import SSHD
from shell_hosts import Sshd
from shell_hosts import keygen

from fixtures.shells import Script
from fixtures.shells import ScriptedShell
from wpaudit.ports import Shell
from wpaudit.shells import ShellOptions
from wpaudit.shells import open_shell
from wpaudit.shells.local import LocalShell
from wpaudit.shells.target import Target

Host = Callable[[Mapping[tuple[str, ...], Script]], Shell]


@pytest.fixture(scope='session')
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp('keys')
    made = {name: keygen(directory / name) for name in ('user', 'stranger')}
    made['locked'] = keygen(directory / 'locked', passphrase='secret words')
    made['rsa'] = keygen(directory / 'rsa', 'rsa')
    authorized = [made[name].with_suffix('.pub').read_text() for name in ('user', 'locked', 'rsa')]
    (directory / 'authorized_keys').write_text(''.join(authorized))
    made['authorized'] = directory / 'authorized_keys'
    return made


@pytest.fixture(scope='session')
def make_sshd(
    tmp_path_factory: pytest.TempPathFactory, keys: dict[str, Path],
) -> Iterator[Callable[..., Sshd]]:
    if SSHD is None:
        pytest.fail('OpenSSH sshd is missing: script/bootstrap installs it')
    if os.geteuid() == 0:
        Path('/run/sshd').mkdir(mode=0o755, exist_ok=True)  # sshd as root will not start without it
    made: list[Sshd] = []

    def make(*options: str, kinds: Sequence[str] = ('ed25519',)) -> Sshd:
        sshd = Sshd(tmp_path_factory.mktemp('sshd'), keys['authorized'], options, kinds)
        made.append(sshd)
        sshd.start()
        return sshd

    yield make
    for sshd in made:
        sshd.stop()


@pytest.fixture(scope='session')
def sshd(make_sshd: Callable[..., Sshd]) -> Sshd:
    return make_sshd()


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / 'client-home'
    (home / '.ssh').mkdir(parents=True, mode=0o700)
    monkeypatch.setenv('HOME', str(home))
    monkeypatch.delenv('SSH_AUTH_SOCK', raising=False)
    monkeypatch.setattr('wpaudit.shells.ssh_config.SYSTEM_CONFIG', home / 'no-system-config')
    return home


@pytest.fixture
def known_hosts(tmp_path: Path, sshd: Sshd) -> Path:
    """A file in which ``sshd`` is known."""
    file = tmp_path / 'known_hosts'
    file.write_text(sshd.known_hosts_line())
    return file


@pytest.fixture
def ssh_home(own_home: Path, keys: dict[str, Path], known_hosts: Path) -> Path:
    """The client's ``~/.ssh`` with the right ``key`` and what is ``known``."""
    shutil.copy(keys['user'], own_home / '.ssh' / 'key')
    (own_home / '.ssh' / 'known').symlink_to(known_hosts)
    return own_home / '.ssh'


@pytest.fixture
def enter(sshd: Sshd, keys: dict[str, Path], known_hosts: Path) -> Iterator[Callable[..., Shell]]:
    """Open shells, by default with the right key and on servers that are known, and close them after the test."""
    with contextlib.ExitStack() as stack:
        def entered(where: Sshd | Target, **changes: Any) -> Shell:
            if isinstance(where, Sshd) and where is not sshd:
                with known_hosts.open('a') as file:
                    file.write(where.known_hosts_line())
            options = ShellOptions(**{'identity': keys['user'], 'known_hosts': known_hosts, **changes})
            shell = open_shell(where.target() if isinstance(where, Sshd) else where, options)
            stack.callback(shell.close)
            return shell

        yield entered


@pytest.fixture
def ssh(sshd: Sshd, enter: Callable[..., Shell]) -> Shell:
    return enter(sshd)


@pytest.fixture(params=['local', 'ssh'])
def real(request: pytest.FixtureRequest) -> Shell:
    """A shell that runs commands for real."""
    return LocalShell() if request.param == 'local' else request.getfixturevalue('ssh')


@pytest.fixture(params=['local', 'ssh', 'scripted'])
def host(request: pytest.FixtureRequest) -> Host:
    """A shell for given commands; only the fake needs to be told how they behave."""
    if request.param == 'scripted':
        return ScriptedShell
    shell: Shell = LocalShell() if request.param == 'local' else request.getfixturevalue('ssh')
    return lambda scripts: shell
