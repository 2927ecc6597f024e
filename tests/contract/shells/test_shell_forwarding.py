"""Connections that begin on a shell's host, and a port of this machine that leads to them."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from shell_hosts import Sshd

from fixtures import web
from fixtures.shells import ScriptedShell
from wpaudit.domain import Request
from wpaudit.firewalls.forwarding import forwarded
from wpaudit.firewalls.forwarding import refusal
from wpaudit.ports import Dialing
from wpaudit.ports import Shell
from wpaudit.probes.http import HttpFetcher
from wpaudit.shells import ShellOptions
from wpaudit.shells import open_shell
from wpaudit.shells.local import LocalShell

BODY = b'x' * 300_000


@pytest.fixture
def options(keys: dict[str, Path], known_hosts: Path) -> ShellOptions:
    return ShellOptions(identity=keys['user'], known_hosts=known_hosts)


@pytest.fixture(params=['local', 'ssh'])
def shell(request: pytest.FixtureRequest, sshd: Sshd, options: ShellOptions) -> Iterator[Shell]:
    found = LocalShell() if request.param == 'local' else open_shell(sshd.target(), options)
    yield found
    found.close()


def test_requests_go_through_it_at_the_same_time_too(shell: Shell) -> None:
    assert isinstance(shell, Dialing)
    assert refusal(shell) == ''
    with web.WebServer({'/': web.page(BODY)}) as server, forwarded(shell, '127.0.0.1', server.port) as place:
        asked = Request('http://shop.example/', via=(('http', place),))
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: HttpFetcher().fetch(asked, timeout=20), range(8)))
    assert {(answer.status, answer.size) for answer in answers} == {(200, len(BODY))}


def test_where_nobody_listens_the_connection_just_ends(shell: Shell) -> None:
    assert isinstance(shell, Dialing)
    with web.WebServer() as server:
        port = server.port
    with forwarded(shell, '127.0.0.1', port) as place:
        answer = HttpFetcher().fetch(Request('http://shop.example/', via=(('http', place),)), timeout=20)
        assert answer.status == 0
    gone = HttpFetcher().fetch(Request('http://shop.example/', via=(('http', place),)), timeout=5)
    assert gone.error == 'refused'


def test_a_host_that_opens_none_says_why(
    make_sshd: Callable[..., Sshd], options: ShellOptions, known_hosts: Path,
) -> None:
    strict = make_sshd('AllowTcpForwarding no')
    with known_hosts.open('a') as file:
        file.write(strict.known_hosts_line())
    shell = open_shell(strict.target(), options)
    try:
        assert 'AllowTcpForwarding' in refusal(shell)
    finally:
        shell.close()
    assert 'cannot be opened' in refusal(ScriptedShell({}))
