"""A real sshd on loopback for tests, with keys and a home of its own."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wpaudit.shells.target import Target

SSHD = shutil.which('sshd', path='/usr/sbin:/usr/local/sbin:' + os.environ.get('PATH', ''))


def eventually(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Poll until ``condition`` holds."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, 'it did not happen'
        time.sleep(0.01)
    return result


def keygen(file: Path, kind: str = 'ed25519', passphrase: str = '') -> Path:
    command = ['ssh-keygen', '-q', '-t', kind, '-N', passphrase, '-C', file.name, '-f', str(file)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return file


def children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(word) for word in Path(f'/proc/{pid}/task/{pid}/children').read_text().split()]
    return []


class Sshd:
    """One sshd that lets the current user in with ``keys['user']``; ``home`` is the home it shows commands."""

    def __init__(self, directory: Path, authorized: Path, options: Sequence[str], kinds: Sequence[str]) -> None:
        self.directory = directory
        self.home = directory / 'home'
        self.home.mkdir(parents=True)
        self.host_keys = [keygen(directory / f'host_{kind}', kind) for kind in kinds]
        self.authorized = authorized
        self._options = options
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        for _ in range(5):
            with socket.create_server(('127.0.0.1', 0)) as server:
                self.port = server.getsockname()[1]
            config = self._config()
            with (self.directory / 'log').open('ab') as log:
                assert SSHD is not None
                process = self.process = subprocess.Popen([SSHD, '-D', '-e', '-f', str(config)], stderr=log)
            eventually(lambda: process.poll() is not None or self._listens())  # noqa: B023 (waited for right here)
            if process.poll() is None:
                return
        raise AssertionError((self.directory / 'log').read_text())

    def _config(self) -> Path:
        file = self.directory / 'sshd_config'
        lines = [
            *self._options, 'ListenAddress 127.0.0.1', f'Port {self.port}', 'PidFile none', 'UsePAM no',
            'StrictModes no', 'PasswordAuthentication no', 'KbdInteractiveAuthentication no',
            'PermitRootLogin yes', f'AuthorizedKeysFile {self.authorized}', f'SetEnv HOME={self.home}',
            'MaxStartups 100', *(f'HostKey {key}' for key in self.host_keys),
        ]
        file.write_text('\n'.join(lines) + '\n')
        # 9.8 and newer shut out an address that fails too often, which is what tests do.
        penalties = file.with_suffix('.probe')
        penalties.write_text(file.read_text() + 'PerSourcePenalties no\n')
        if subprocess.run([str(SSHD), '-t', '-f', str(penalties)], capture_output=True, check=False).returncode == 0:
            return penalties
        return file

    def _listens(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(('127.0.0.1', self.port)) == 0

    def stop(self) -> None:
        if self.process is None:
            return
        for child in children(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)
        self.process.terminate()
        self.process.wait(10)
        self.process = None

    def target(self, **changes: Any) -> Target:
        return Target(**{'user': getpass.getuser(), 'host': '127.0.0.1', 'port': self.port, **changes})

    def known_hosts_line(self, host: str = '127.0.0.1', key: int = 0) -> str:
        public = self.host_keys[key].with_suffix('.pub').read_text().split()
        return f'[{host}]:{self.port} {public[0]} {public[1]}\n'
