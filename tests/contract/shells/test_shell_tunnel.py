"""Connections that begin on another host, through real sshd."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path

import pytest
from shell_hosts import Sshd
from shell_hosts import eventually

from fixtures import web
from wpaudit.errors import CannotStart
from wpaudit.errors import ShellError
from wpaudit.shells import ShellOptions
from wpaudit.shells import open_tunnels
from wpaudit.shells.target import Target

Dial = Callable[[str, int, float], socket.socket]


@pytest.fixture
def options(keys: dict[str, Path], known_hosts: Path) -> ShellOptions:
    return ShellOptions(identity=keys['user'], known_hosts=known_hosts)


@pytest.fixture
def dial(sshd: Sshd, options: ShellOptions) -> Iterator[Dial]:
    with open_tunnels(sshd.target(), options) as found:
        yield found


@pytest.fixture
def server() -> Iterator[web.WebServer]:
    with web.WebServer({'/': web.page(b'x' * 500_000), '/cut': web.reset_at_once}) as running:
        yield running


def fetched(sock: socket.socket, path: bytes = b'/') -> bytes:
    with sock:
        sock.settimeout(10)
        sock.sendall(b'GET %b HTTP/1.1\r\nHost: x\r\n\r\n' % path)
        data = b''
        while more := sock.recv(65536):
            data += more
    return data


@pytest.mark.parametrize('host', ['127.0.0.1', 'localhost'])
def test_a_connection_begins_there(dial: Dial, server: web.WebServer, host: str) -> None:
    assert fetched(dial(host, server.port, 10)).endswith(b'x' * 500_000)


def test_several_at_once(dial: Dial, server: web.WebServer) -> None:
    sizes: list[int] = []
    threads = [
        threading.Thread(target=lambda: sizes.append(len(fetched(dial('127.0.0.1', server.port, 10)))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(sizes) == 4
    assert len(set(sizes)) == 1


def test_the_end_of_one_side_is_the_end_of_the_other(dial: Dial, server: web.WebServer) -> None:
    assert fetched(dial('127.0.0.1', server.port, 10), b'/cut') == b''
    server.routes['/'] = web.silent
    left = dial('127.0.0.1', server.port, 10)
    left.sendall(b'GET / HTTP/1.1\r\n\r\n')
    left.close()
    eventually(lambda: not [one for one in threading.enumerate() if one.name.startswith('via ')])


def test_a_closed_port_refuses(dial: Dial) -> None:
    with web.closed_port() as port, pytest.raises(ConnectionRefusedError):
        dial('127.0.0.1', port, 10)


def test_a_name_that_is_not_known_there(dial: Dial) -> None:
    with pytest.raises(socket.gaierror):
        dial('nowhere.invalid', 80, 10)


def test_after_a_refusal_the_next_one_works(dial: Dial, server: web.WebServer) -> None:
    with web.closed_port() as port, pytest.raises(ConnectionRefusedError):
        dial('127.0.0.1', port, 10)
    assert fetched(dial('127.0.0.1', server.port, 10))


def test_a_host_that_does_not_forward(
    make_sshd: Callable[..., Sshd], options: ShellOptions, known_hosts: Path, server: web.WebServer,
) -> None:
    strict = make_sshd('AllowTcpForwarding no')
    with known_hosts.open('a') as file:
        file.write(strict.known_hosts_line())
    with open_tunnels(strict.target(), options) as dial, pytest.raises(ShellError) as caught:
        dial('127.0.0.1', server.port, 10)
    assert 'does not forward' in caught.value.message
    assert 'AllowTcpForwarding' in caught.value.hint


def test_no_answer_within_the_time(dial: Dial) -> None:
    with socket.socket() as full:  # a backlog that is full takes no further connection and says nothing
        full.bind(('127.0.0.1', 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            dial('127.0.0.1', full.getsockname()[1], 0.4)
        assert time.monotonic() - began < 8
        for one in waiting:
            one.close()


def test_only_ssh_lends_its_network() -> None:
    with pytest.raises(CannotStart), open_tunnels(Target(scheme='local')):
        pass
