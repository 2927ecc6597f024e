"""Host keys as OpenSSH keeps them: known, unknown, changed or revoked.

paramiko's own reader skips wildcards and ``@revoked``, stops at a damaged line and hashes every line once per
line, which takes seconds for a well-used file; so these lines are read here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import secrets
import shlex
from collections.abc import Iterable
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from wpaudit.errors import HostKeyError

DEFAULT_PORT = 22


@dataclass(frozen=True)
class KnownKey:
    """One key that a known_hosts file holds for a host."""

    type: str
    blob: bytes
    source: Path
    line: int
    revoked: bool


@dataclass(frozen=True)
class HostKeys:
    """What is known about one host and what may be done about a key that is not.

    ``files`` are the user's own, the first of which takes new keys; ``system_files`` are only read.
    """

    host: str
    port: int
    files: tuple[Path, ...]
    system_files: tuple[Path, ...] = ()
    alias: str | None = None  # HostKeyAlias
    accept_new: bool = False
    hashed: bool = False
    scannable: bool = True  # ssh-keyscan reaches it: no proxy in between

    @property
    def name(self) -> str:
        """Return the host as known_hosts writes it."""
        if self.alias is not None:
            return self.alias.lower()
        host = self.host.lower()
        return host if self.port == DEFAULT_PORT else f'[{host}]:{self.port}'

    def known(self) -> tuple[KnownKey, ...]:
        """Return every key on file for this host."""
        return tuple(_known((*self.files, *self.system_files), self.name))

    def check(self, key_type: str, blob: bytes) -> None:
        """Return when the host may be trusted, else HostKeyError; may note a new key on the way."""
        known = self.known()
        same = [key for key in known if key.blob == blob]
        if any(key.revoked for key in same):
            raise HostKeyError(f'The key of {self.name} is marked as revoked in {same[0].source}.')
        if same:
            return
        others = [key for key in known if not key.revoked]
        if others:
            raise self._changed(key_type, blob, others)
        if self._known_without_port(blob):
            return
        if not self.accept_new:
            raise self._unknown(key_type, blob)
        self._remember(key_type, blob)

    def _known_without_port(self, blob: bytes) -> bool:
        """OpenSSH trusts a key on an odd port when the host has the same one on file without a port."""
        if self.alias is not None or self.port == DEFAULT_PORT:
            return False
        known = _known((*self.files, *self.system_files), self.host.lower())
        plain = [key for key in known if key.blob == blob]
        return bool(plain) and not any(key.revoked for key in plain)

    def _unknown(self, key_type: str, blob: bytes) -> HostKeyError:
        file = self.files[0] if self.files else Path('~/.ssh/known_hosts')
        scan = f'ssh-keyscan -p {self.port} {shlex.quote(self.host)} >> {shlex.quote(str(file))}'
        fix = f'run "{scan}" or repeat with --accept-new-host-key'
        if not self.scannable or self.alias is not None:
            fix = 'repeat with --accept-new-host-key'
        return HostKeyError(
            f'The host key of {self.name} is unknown: {key_type} {fingerprint(blob)}.',
            hint=f'If that is the fingerprint which the host itself shows (ssh-keygen -lf on its '
                 f'/etc/ssh/ssh_host_*_key.pub), {fix}.',
        )

    def _changed(self, key_type: str, blob: bytes, known: list[KnownKey]) -> HostKeyError:
        alike = [key for key in known if key.type == key_type] or known
        remove = f'ssh-keygen -f {shlex.quote(str(alike[0].source))} -R {shlex.quote(self.name)}'
        return HostKeyError(
            f'The host key of {self.name} has CHANGED: it shows {key_type} {fingerprint(blob)}, but '
            f'{alike[0].source}:{alike[0].line} has {alike[0].type} {fingerprint(alike[0].blob)}.',
            hint=f'Somebody may be listening in. Only if you know why it changed, forget the old key with '
                 f'"{remove}" and connect again.',
        )

    def _remember(self, key_type: str, blob: bytes) -> None:
        file = self.files[0] if self.files else Path('~/.ssh/known_hosts').expanduser()
        name = hashed_name(self.name) if self.hashed else self.name
        line = f'{name} {key_type} {base64.b64encode(blob).decode()}\n'
        try:
            _append(file, line.encode())
        except OSError as error:
            raise HostKeyError(
                f'Cannot note the new host key of {self.name} in {file}: {error.strerror}.',
                hint='Name a file that can be written with --known-hosts.',
            ) from error


def fingerprint(blob: bytes) -> str:
    """Return the fingerprint of a public key as OpenSSH prints it."""
    return 'SHA256:' + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip('=')


def hashed_name(name: str, salt: bytes | None = None) -> str:
    """Return ``name`` as HashKnownHosts writes it."""
    salt = salt or secrets.token_bytes(20)
    digest = hmac.digest(salt, name.encode(), 'sha1')
    return f'|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}'


def _append(file: Path, line: bytes) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with open(descriptor, 'r+b', buffering=0) as opened:
        if opened.seekable() and opened.seek(0, os.SEEK_END):
            opened.seek(-1, os.SEEK_END)
            if opened.read(1) not in (b'\n', b''):
                line = b'\n' + line
        opened.write(line)


def _known(files: Iterable[Path], name: str) -> Iterator[KnownKey]:
    for file in files:
        try:
            lines = file.read_text('utf-8', 'replace').splitlines()
        except OSError:
            continue  # as in OpenSSH, a file that cannot be read holds no keys
        for number, line in enumerate(lines, 1):
            fields = line.split()
            marker = fields.pop(0) if fields and fields[0].startswith('@') else ''
            if len(fields) < len(('names', 'type', 'key')) or fields[0].startswith('#'):
                continue
            # Certificate authorities are left out: paramiko cannot verify what they sign.
            if marker in ('', '@revoked') and _matches(fields[0], name):
                try:
                    blob = base64.b64decode(fields[2], validate=True)
                except binascii.Error:
                    continue
                yield KnownKey(fields[1], blob, file, number, marker == '@revoked')


def _matches(names: str, name: str) -> bool:
    if names.startswith('|1|'):
        try:
            salt = base64.b64decode(names.split('|')[2])
        except (binascii.Error, IndexError):
            return False
        return hmac.compare_digest(hashed_name(name, salt), names) if salt else False
    matched = False
    for pattern in names.lower().split(','):
        if _wildcard(pattern.removeprefix('!')).fullmatch(name):
            if pattern.startswith('!'):
                return False
            matched = True
    return matched


def _wildcard(pattern: str) -> re.Pattern[str]:
    # Not fnmatch: a name like [host]:2222 is no character class.
    return re.compile(re.escape(pattern).replace(r'\*', '.*').replace(r'\?', '.'))
