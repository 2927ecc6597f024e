"""What ``~/.ssh/config`` says about a host: read here, looked up by paramiko, typed here."""

from __future__ import annotations

import getpass
import glob
import os
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wpaudit.errors import ShellError
from wpaudit.errors import UsageError
from wpaudit.shells.known_hosts import DEFAULT_PORT
from wpaudit.shells.target import Target
from wpaudit.shells.target import bracketed
from wpaudit.shells.target import parse_target

USER_CONFIG = Path('~/.ssh/config')
SYSTEM_CONFIG = Path('/etc/ssh/ssh_config')
DEFAULT_CONNECT_SECONDS = 15.0
_MAX_INCLUDE_DEPTH = 16
_MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class HostSettings:
    """How to reach, trust and enter one host."""

    target: Target  # as it was asked for
    host: str
    port: int
    user: str
    identity_files: tuple[str, ...]
    identities_only: bool
    identity_agent: str | None  # None = no agent
    jumps: tuple[Target, ...]
    proxy_command: str | None
    known_hosts: tuple[Path, ...]
    system_known_hosts: tuple[Path, ...]
    host_key_alias: str | None
    accept_new: bool
    hashed: bool
    connect_timeout: float

    @property
    def label(self) -> str:
        """Return what a person calls this host."""
        return f'{self.user}@{bracketed(self.target.host)}:{self.port}'


def config_text(target: Target, file: Path | None) -> str:
    """Return the configuration for ``target``: what it says itself, then ``file`` or the usual two files.

    paramiko knows no ``Include``, so included files are put in their place here.
    """
    own = ['Host *']
    if target.port is not None:
        own.append(f'Port {target.port}')
    if target.user is not None:
        own.append(f'User {target.user}')
    if file is not None and not file.exists():
        raise UsageError(f'The SSH configuration {file} does not exist.')
    home = USER_CONFIG.expanduser()
    lines = _lines(home if file is None else file, home.parent, 0)
    system = () if file is not None else _lines(SYSTEM_CONFIG, SYSTEM_CONFIG.parent, 0)
    return '\n'.join([*own, 'Host *', *lines, 'Host *', *system])


def _lines(path: Path, base: Path, depth: int) -> Iterator[str]:
    try:
        with path.open(encoding='utf-8', errors='replace') as file:
            lines = file.read(_MAX_BYTES).splitlines()
    except OSError:
        return
    block = 'Host *'
    for line in lines:
        keyword, _, rest = line.strip().replace('=', ' ', 1).partition(' ')
        if keyword.lower() in ('host', 'match'):
            block = line
        if keyword.lower() != 'include':
            yield line
        elif depth < _MAX_INCLUDE_DEPTH:
            for included in _included(rest, base):
                yield block
                yield from _lines(included, base, depth + 1)
            yield block  # the included file may have ended inside a block of its own


def _included(patterns: str, base: Path) -> Iterator[Path]:
    for pattern in patterns.replace('"', ' ').split():
        yield from map(Path, sorted(glob.glob(str(base / os.path.expanduser(pattern)))))


def settings(target: Target, found: Mapping[str, object]) -> HostSettings:
    """Type the answer of paramiko's lookup; a ShellError names the option that makes no sense."""
    words = {key: value for key, value in found.items() if isinstance(value, str)}
    identities = found.get('identityfile')
    return HostSettings(
        target=target,
        host=words.get('hostname') or target.host,
        port=int(_number(words, 'port', DEFAULT_PORT)),
        user=words.get('user') or getpass.getuser(),
        identity_files=tuple(os.path.expanduser(str(name)) for name in identities)
        if isinstance(identities, list) else (),
        identities_only=words.get('identitiesonly', 'no').lower() == 'yes',
        identity_agent=_agent(words.get('identityagent')),
        jumps=parse_jumps(words.get('proxyjump')),
        proxy_command=words.get('proxycommand'),
        known_hosts=tuple(_paths(words.get('userknownhostsfile', '~/.ssh/known_hosts ~/.ssh/known_hosts2'))),
        system_known_hosts=tuple(
            _paths(words.get('globalknownhostsfile', '/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2'))),
        host_key_alias=words.get('hostkeyalias'),
        # "no" would also accept a changed key, which wpaudit never does.
        accept_new=words.get('stricthostkeychecking', 'ask').lower() in ('accept-new', 'no', 'off'),
        hashed=words.get('hashknownhosts', 'no').lower() == 'yes',
        connect_timeout=_number(words, 'connecttimeout', DEFAULT_CONNECT_SECONDS),
    )


def parse_jumps(text: str | None) -> tuple[Target, ...]:
    """Read ``[user@]host[:port],...`` or ``none``; the first hop comes first."""
    if text is None or text.strip().lower() in ('', 'none'):
        return ()
    jumps = tuple(parse_target('ssh:' + hop.strip().removeprefix('ssh://')) for hop in text.split(','))
    for jump in jumps:
        if jump.path is not None:
            raise UsageError(f'The jump host "{jump}" cannot have a path.')
    return jumps


def _number(words: Mapping[str, str], key: str, default: float) -> float:
    try:
        return float(words.get(key, default)) or default
    except ValueError as error:
        raise ShellError(f'The SSH configuration says "{key} {words[key]}": not a number.') from error


def _agent(word: str | None) -> str | None:
    if word is None or word == 'SSH_AUTH_SOCK':
        return os.environ.get('SSH_AUTH_SOCK')
    if word.lower() == 'none':
        return None
    return os.environ.get(word[1:]) if word.startswith('$') else os.path.expanduser(word.strip('"'))


def _paths(words: str) -> Iterable[Path]:
    return (Path(os.path.expanduser(word.strip('"'))) for word in words.split() if word.lower() != 'none')
