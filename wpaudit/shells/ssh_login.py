"""Which keys are offered to an SSH server, in which order, and why none was taken, in a sentence."""

from __future__ import annotations

import base64
import binascii
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import paramiko
from paramiko.agent import AgentSSH
from paramiko.pkey import UnknownKeyType

from wpaudit.errors import AuthenticationError
from wpaudit.errors import ShellError
from wpaudit.shells.ssh_config import HostSettings

DEFAULT_KEYS = ('~/.ssh/id_ed25519', '~/.ssh/id_ecdsa', '~/.ssh/id_rsa')
_ANSWER_SECONDS = 30.0  # PAM and its name lookups may take their time
_AGENT_SECONDS = 60.0  # a person may have to touch a key


def log_in(transport: paramiko.Transport, host: HostSettings, identity: Path | None, *, timeout: float) -> None:
    """Log in with a key; AuthenticationError lists what was tried."""
    transport.auth_timeout = max(timeout, _ANSWER_SECONDS)
    agent = _Agent(host.identity_agent)
    attempt = _Attempt(transport, host)
    try:
        keys = _Keys(host, identity, agent)
        for what, key in keys.in_order():
            if attempt.succeeds(what, key):
                return
        if attempt.needs_no_key():
            return
        raise attempt.refused(keys.notes)
    finally:
        agent.close()


class _Attempt:
    """One connection's tries to log in."""

    def __init__(self, transport: paramiko.Transport, host: HostSettings) -> None:
        self._transport = transport
        self._host = host
        self._tried: list[str] = []
        self._methods: list[str] = []

    def succeeds(self, what: str, key: paramiko.PKey) -> bool:
        """Offer one key."""
        if not self._transport.is_active():
            return False
        self._tried.append(what)
        try:
            self._methods = self._transport.auth_publickey(self._host.user, key)
        except paramiko.BadAuthenticationType as error:
            self._methods = error.allowed_types
            return False
        except (paramiko.SSHException, EOFError, OSError):
            return False
        if self._methods and 'publickey' not in self._methods:
            raise AuthenticationError(
                f'{self._host.label} took the {what} but also wants {" or ".join(self._methods)}, '
                'which wpaudit cannot answer.',
            )
        return not self._methods

    def needs_no_key(self) -> bool:
        """Ask for nothing, which some hosts grant and the others answer with the methods they take."""
        if not self._transport.is_active():
            return False
        try:
            return not self._transport.auth_none(self._host.user)
        except paramiko.BadAuthenticationType as error:
            self._methods = error.allowed_types
        except (paramiko.SSHException, EOFError, OSError):
            pass
        return False

    def refused(self, notes: list[str]) -> AuthenticationError:
        """Say what was tried and what to do."""
        tried = ', '.join(self._tried) or 'no key at all'
        message = ' '.join((f'{self._host.label} refused the login; tried: {tried}.', *notes))
        if self._methods and 'publickey' not in self._methods:
            return AuthenticationError(
                f'{message} It only takes {" or ".join(self._methods)}.',
                hint='wpaudit logs in with keys; add your public key on the host.',
            )
        if notes:
            return AuthenticationError(message, hint='Add the key to the agent: ssh-add FILE.')
        return AuthenticationError(message, hint='Name the right key with --identity, or add it with ssh-add.')


class _Agent(AgentSSH):
    """The agent at ``path``; one that is not there or does not answer holds no keys."""

    def __init__(self, path: str | None) -> None:
        super().__init__()
        if not path:
            return
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(_AGENT_SECONDS)
            connection.connect(path)
            self._connect(connection)  # type: ignore[attr-defined]  # Agent itself only reads SSH_AUTH_SOCK
        except (OSError, paramiko.SSHException):
            connection.close()

    def close(self) -> None:
        """Hang up."""
        self._close()  # type: ignore[attr-defined]


class _Keys:
    """The keys to offer. ``notes`` are sentences about those that could not be."""

    def __init__(self, host: HostSettings, identity: Path | None, agent: _Agent) -> None:
        self.notes: list[str] = []
        named = [os.path.expanduser(identity)] if identity is not None else []
        if identity is not None and not os.path.exists(named[0]):
            raise ShellError(f'The key file {identity} does not exist.')
        self._named = [*named, *(name for name in host.identity_files if name not in named)]
        self._identities_only = host.identities_only
        self._agent = {key.asbytes(): key for key in agent.get_keys()}

    def in_order(self) -> Iterator[tuple[str, paramiko.PKey]]:
        """Named files first, since servers count failures; then the agent; default files if none was named."""
        yield from self._from_files(self._named)
        if not self._identities_only:
            for blob in list(self._agent):
                yield self._from_agent(blob)
        if not self._named:
            yield from self._from_files([os.path.expanduser(name) for name in DEFAULT_KEYS])

    def _from_files(self, names: list[str]) -> Iterator[tuple[str, paramiko.PKey]]:
        for name in names:
            if not os.path.isfile(name):
                continue
            public = _public(name) or _public(f'{name}.pub')
            if public in self._agent:
                yield self._from_agent(public)
            elif (key := self._loaded(name)) is not None:
                yield f'key {name}', key

    def _from_agent(self, blob: bytes) -> tuple[str, paramiko.PKey]:
        key = self._agent.pop(blob)
        return f'{key.get_name()} key {key.comment or ""}'.strip() + ' of the agent', key

    def _loaded(self, name: str) -> paramiko.PKey | None:
        try:
            return paramiko.PKey.from_path(name)
        except (paramiko.PasswordRequiredException, TypeError):
            # cryptography says TypeError for a key that needs a passphrase
            self.notes.append(f'The key {name} is protected by a passphrase and is not in ssh-agent.')
        except (paramiko.SSHException, UnknownKeyType, ValueError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else 'not a private key in OpenSSH or PEM format'
            self.notes.append(f'The key {name} cannot be read: {reason}.')
        return None


def _public(name: str) -> bytes:
    """Return the public key in file ``name``, ``b''`` when that is none."""
    try:
        with open(name, 'rb') as file:
            words = file.read(64 << 10).split()
        return base64.b64decode(words[1], validate=True) if len(words) > 1 and b'-' in words[0] else b''
    except (OSError, binascii.Error):
        return b''
