"""Commands over SSH. Only the modules ``ssh*`` import paramiko; its exceptions become sentences here."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from collections.abc import Sequence
from contextlib import ExitStack
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import paramiko

from wpaudit.errors import CommandTimeout
from wpaudit.errors import ConnectionLost
from wpaudit.errors import ShellError
from wpaudit.ports import CommandResult
from wpaudit.shells.frame import Framed
from wpaudit.shells.known_hosts import HostKeys
from wpaudit.shells.process import RunningProcess
from wpaudit.shells.process import Started
from wpaudit.shells.sockets import Proxy
from wpaudit.shells.sockets import tcp
from wpaudit.shells.ssh_channel import ChannelPipes
from wpaudit.shells.ssh_config import HostSettings
from wpaudit.shells.ssh_config import config_text
from wpaudit.shells.ssh_config import parse_jumps
from wpaudit.shells.ssh_config import settings
from wpaudit.shells.ssh_login import log_in
from wpaudit.shells.ssh_transport import Transport
from wpaudit.shells.ssh_tunnel import Tunnels
from wpaudit.shells.target import Target

# Without a handler, Python prints a library's errors and their tracebacks to stderr.
logging.getLogger('paramiko').addHandler(logging.NullHandler())

KEEPALIVE_SECONDS = 15
START_SECONDS = 60.0
_END_SECONDS = 8.0
_SESSION_SECONDS = 2.0
_MAX_HOPS = 8
_BROKEN = (paramiko.SSHException, EOFError, OSError)
# A polite request, a second, then the end. Zombies count until sshd has collected them.
_END_GROUP = (
    'kill -s TERM -- "-$1" 2>/dev/null || exit 1; n=0; '
    'while kill -s 0 -- "-$1" 2>/dev/null; do n=$((n+1)); [ "$n" -gt 10 ] && break; sleep 0.1 || sleep 1; done; '
    'kill -s KILL -- "-$1" 2>/dev/null; exit 0'
)


class SshShell:
    """``ports.Shell`` over one SSH connection.

    A time limit ends the command's whole process group on the host, over a second channel. That cannot
    reach processes of another user (``sudo``) or of another session (``setsid``); the message then says that
    the command may still be running. Closing stdin reaches those too.
    """

    def __init__(self, label: str, transport: Transport, line: ExitStack) -> None:
        self.label = label
        self._transport = transport
        self._line = line
        self._processes = Started(label)
        self._tunnels = Tunnels(transport, label)

    @classmethod
    def connect(
        cls, target: Target, *, identity: Path | None = None, ssh_config: Path | None = None,
        known_hosts: Path | None = None, accept_new_host_key: bool = False, proxyjump: str | None = None,
        connect_timeout: float | None = None,
    ) -> SshShell:
        """Connect and log in as OpenSSH would, but never ask; a ShellError says in a sentence what failed."""
        wishes = _Wishes(identity, ssh_config, known_hosts, accept_new_host_key, connect_timeout)
        jumps = None if proxyjump is None else parse_jumps(proxyjump)
        with ExitStack() as line:
            transport = _entered(line, wishes, target, jumps, hops=0)
            transport.set_keepalive(KEEPALIVE_SECONDS)
            return cls(wishes.settings(target).label, transport, line.pop_all())

    def run(self, argv: Sequence[str], *, timeout: float, stdin: bytes = b'') -> CommandResult:
        """Run to the end; CommandTimeout after ``timeout`` seconds, with the remote process ended too."""
        started = time.monotonic()
        process = self._processes.started(lambda: self._begun(argv, timeout, self._end_group))
        left = timeout - (time.monotonic() - started)
        return process.collect(tuple(argv), stdin=stdin, timeout=timeout, limit=left)

    def start(self, argv: Sequence[str]) -> RunningProcess:
        """Start a command and keep talking to it."""
        return self._processes.started(lambda: self._begun(argv, START_SECONDS, self._end_group))

    def tunnels(self) -> Tunnels:
        """Return what opens TCP connections from this host."""
        return self._tunnels

    def dial(self, host: str, port: int, seconds: float) -> socket.socket:
        """Connect from this host, by its sshd. Raises as ``Tunnels.dial`` does."""
        return self._tunnels.dial(host, port, seconds)

    def close(self) -> None:
        """End what was started and still runs, as far as the host can be reached; close the connection. Idempotent."""
        self._processes.end()
        self._line.close()

    def _begun(self, argv: Sequence[str], limit: float, end_group: Callable[[int], None]) -> RunningProcess:
        framed = Framed(argv)
        name = f'{argv[0]} on {self.label}'
        deadline = time.monotonic() + limit
        channel = self._channel(framed.command, name, deadline)
        pipes = ChannelPipes(
            channel, name=name, exit_signal=partial(self._transport.exit_signals.get, channel.get_id()),
            end_group=end_group, alive=self._transport.is_active,
        )
        return RunningProcess(pipes, name=name, marker=framed.marker)

    def _channel(self, command: str, name: str, deadline: float) -> paramiko.Channel:
        channel = None
        try:
            channel = self._session(deadline)
            # exec_command has no time limit of its own; on an overloaded host it is needed.
            timer = threading.Timer(deadline - time.monotonic(), channel.close)
            timer.daemon = True
            timer.start()
            try:
                channel.exec_command(command)
            finally:
                timer.cancel()
        except _BROKEN as error:
            if channel is not None:
                channel.close()
            if not self._transport.is_active():
                raise ConnectionLost(f'The connection to {self.label} broke.') from error
            if time.monotonic() >= deadline:
                raise CommandTimeout(f'{self.label} did not start {name.partition(" ")[0]} in time.') from error
            raise ShellError(f'{self.label} does not run commands.', hint='Is the account limited?') from error
        return channel

    def _session(self, deadline: float) -> paramiko.Channel:
        """Open a channel; sshd may take a moment to count a session that has just ended."""
        patience = time.monotonic() + _SESSION_SECONDS
        while True:
            try:
                return self._transport.open_session(timeout=max(0.0, deadline - time.monotonic()))
            except paramiko.SSHException as error:  # of two refused at once, only one is a ChannelException
                if not self._transport.is_active() or time.monotonic() >= deadline:
                    raise
                if time.monotonic() >= patience:
                    raise ShellError(
                        f'{self.label} refuses another command on this connection.',
                        hint='sshd limits them with MaxSessions; wpaudit needs two.',
                    ) from error
            time.sleep(0.05)

    def _end_group(self, group: int) -> None:
        argv = ('sh', '-c', _END_GROUP, 'sh', str(group))
        process = self._begun(argv, _END_SECONDS, lambda _: None)
        process.collect(argv, stdin=b'', timeout=_END_SECONDS, limit=_END_SECONDS)


@dataclass(frozen=True)
class _Wishes:
    """What the command line asks for; the SSH configuration answers the rest."""

    identity: Path | None
    ssh_config: Path | None
    known_hosts: Path | None
    accept_new: bool
    connect_timeout: float | None

    def settings(self, target: Target) -> HostSettings:
        try:
            config = paramiko.SSHConfig.from_text(config_text(target, self.ssh_config))
            return settings(target, config.lookup(target.host))
        except (paramiko.SSHException, KeyError, ValueError, ImportError) as error:
            raise ShellError(f'Cannot understand the SSH configuration: {error}.') from error

    def host_keys(self, host: HostSettings, *, direct: bool) -> HostKeys:
        files = host.known_hosts if self.known_hosts is None else (self.known_hosts,)
        return HostKeys(
            host.host, host.port, files, host.system_known_hosts, alias=host.host_key_alias,
            accept_new=self.accept_new or host.accept_new, hashed=host.hashed, scannable=direct,
        )


def _entered(
    line: ExitStack, wishes: _Wishes, target: Target, jumps: Sequence[Target] | None, *, hops: int,
) -> Transport:
    """Connect to ``target`` through ``jumps`` (None: as configured) and log in; ``line`` takes what to close."""
    host = wishes.settings(target)
    if jumps is None:
        jumps = [jump for jump in host.jumps if jump.host != target.host]  # "Host *" includes the jump host
    timeout = wishes.connect_timeout or host.connect_timeout
    proxy = None
    opened: Any
    if jumps:
        if hops >= _MAX_HOPS:
            raise ShellError(f'There are more than {_MAX_HOPS} jump hosts on the way to {target.host}.')
        via = _entered(line, wishes, jumps[-1], jumps[:-1] or None, hops=hops + 1)
        opened = _forwarded(via, jumps[-1], host, timeout)
    elif host.proxy_command is not None:
        proxy = Proxy(host.proxy_command)
        line.callback(proxy.close)
        opened = proxy.socket
    else:
        opened = tcp(host.host, host.port, timeout=timeout)
    transport = Transport(opened)
    line.callback(_closed, transport)
    keys = wishes.host_keys(host, direct=not jumps and proxy is None)
    _shake_hands(transport, host, keys, timeout, proxy)
    log_in(transport, host, wishes.identity, timeout=timeout)
    return transport


def _forwarded(via: paramiko.Transport, jump: Target, host: HostSettings, timeout: float) -> paramiko.Channel:
    try:
        return via.open_channel('direct-tcpip', (host.host, host.port), ('127.0.0.1', 0), timeout=timeout)
    except _BROKEN as error:
        reason = error.text if isinstance(error, paramiko.ChannelException) else error
        raise ShellError(f'The jump host {jump.host} cannot reach {host.host}:{host.port}: {reason}.') from error


def _shake_hands(
    transport: Transport, host: HostSettings, keys: HostKeys, timeout: float, proxy: Proxy | None,
) -> None:
    transport.banner_timeout = transport.handshake_timeout = timeout
    _prefer_known(transport, keys)
    done = threading.Event()
    transport.start_client(event=done)
    in_time = done.wait(timeout)
    if not in_time or not transport.is_active():
        said = proxy.last_words() if proxy is not None and in_time else ''
        raise _not_shaken(transport, host, timeout if not in_time else None, said)
    key = transport.get_remote_server_key()
    keys.check(key.get_name(), key.asbytes())


def _prefer_known(transport: Transport, keys: HostKeys) -> None:
    """Ask for a type of host key that is on file, as OpenSSH does, so that another type is no surprise."""
    known = {key.type for key in keys.known() if not key.revoked}
    if 'ssh-rsa' in known:
        known |= {'rsa-sha2-512', 'rsa-sha2-256'}
    options = transport.get_security_options()
    options.key_types = sorted(options.key_types, key=lambda key_type: key_type not in known)


def _not_shaken(transport: Transport, host: HostSettings, waited: float | None, said: str) -> ShellError:
    where = f'{host.target.host}, port {host.port},'
    error = transport.get_exception()
    if said:
        result = ShellError(f'The ProxyCommand for {host.target.host} failed: {said}')
    elif waited is not None:
        result = ShellError(f'{where} accepted the connection but did not speak SSH for {waited:g} s.',
                            hint='Is that the SSH port? Is the host overloaded?')
    elif not transport.remote_version:
        result = ShellError(f'{where} is not an SSH server, or closed the connection at once.',
                            hint='Is that the SSH port? Does the host block this address?')
    elif isinstance(error, paramiko.ssh_exception.IncompatiblePeer):
        result = ShellError(f'{where} offers only SSH algorithms that are no longer safe: {error}')
    else:
        result = ShellError(f'{where} broke off the SSH handshake.', hint='Its own log says why.')
    result.__cause__ = error
    return result


def _closed(transport: Transport) -> None:
    """Close it and wait for its threads, which would otherwise notice a little later."""
    transport.packetizer.complete_handshake()
    with suppress(*_BROKEN):
        transport.sock.shutdown(socket.SHUT_RDWR)
    transport.close()
    transport.sock.close()
    if transport.is_alive():
        transport.join(1)
