"""The way to a host before SSH begins: a TCP connection or a ProxyCommand, or a sentence why not."""

from __future__ import annotations

import socket
import subprocess
import tempfile
from contextlib import suppress

from wpaudit.errors import ShellError
from wpaudit.shells.target import bracketed

# Together with the keepalive this notices a dead line, which would otherwise block for a quarter of an hour.
_DEAD_LINE_MILLISECONDS = 60_000
_END_SECONDS = 2.0


class Prompt(socket.socket):
    """Acknowledges at once what it receives, where the system can be told to.

    sshd sends two small packets when a session is opened, and the second one waits until the first is acknowledged
    (RFC 896), which Linux puts off by 40 ms (RFC 1122, section 4.2.3.2). It forgets this option, hence each time.
    """

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Receive, and say so."""
        data = super().recv(bufsize, flags)
        if hasattr(socket, 'TCP_QUICKACK'):
            self.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return data


def tcp(host: str, port: int, *, timeout: float) -> socket.socket:
    """Connect, trying every address of ``host``."""
    where = f'{bracketed(host)}:{port}'
    try:
        opened = socket.create_connection((host, port), timeout=timeout)
    except socket.gaierror as error:
        raise ShellError(f'Cannot find the host {host}: {error.strerror}.', hint='Check the name.') from error
    except UnicodeError as error:
        raise ShellError(f'"{host}" cannot be a host name.') from error
    except TimeoutError as error:
        raise ShellError(
            f'{where} did not answer within {timeout:g} s.', hint='Is a firewall in between?',
        ) from error
    except ConnectionRefusedError as error:
        raise ShellError(
            f'{where} refused the connection.', hint='Does sshd run there, on this port?',
        ) from error
    except OSError as error:
        raise ShellError(f'Cannot connect to {where}: {error.strerror or error}.') from error
    opened = Prompt(fileno=opened.detach())
    opened.settimeout(timeout)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, 'TCP_USER_TIMEOUT'):
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_LINE_MILLISECONDS)
    return opened


class Proxy:
    """A running ProxyCommand. ``socket`` is our end of the line it carries."""

    def __init__(self, command: str) -> None:
        ours, theirs = socket.socketpair()
        # A file, since nobody reads a pipe while the line stands.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed in close)
        try:
            # A shell reads it, as in OpenSSH; paramiko's own ProxyCommand does not, and never sees its end.
            self._popen = subprocess.Popen(
                ['/bin/sh', '-c', f'exec {command}'], stdin=theirs.fileno(), stdout=theirs.fileno(),
                stderr=self._errors, start_new_session=True,
            )
        except OSError as error:
            ours.close()
            self._errors.close()
            raise ShellError(f'Cannot start the ProxyCommand "{command}": {error.strerror}.') from error
        finally:
            theirs.close()
        self.socket = ours

    def last_words(self) -> str:
        """Return what it said when it failed; only to be called once the line is dead."""
        self._end()
        self._errors.seek(0)
        said = self._errors.read(4096).decode(errors='replace').strip()
        return said.splitlines()[-1] if said else ''

    def close(self) -> None:
        """End it. Idempotent."""
        self.socket.close()
        self._end()
        self._errors.close()

    def _end(self) -> None:
        try:
            self._popen.wait(_END_SECONDS / 20)
        except subprocess.TimeoutExpired:
            self._popen.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._popen.wait(_END_SECONDS)
                return
            self._popen.kill()
            self._popen.wait()
