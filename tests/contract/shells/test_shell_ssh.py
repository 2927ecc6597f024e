"""SSH against real sshd: trust, logins, detours, noise, and every way in which a connection fails."""

from __future__ import annotations

import contextlib
import getpass
import os
import signal
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest
from shell_hosts import Sshd
from shell_hosts import children
from shell_hosts import eventually
from shell_hosts import keygen

from wpaudit.errors import AuthenticationError
from wpaudit.errors import CommandTimeout
from wpaudit.errors import ConnectionLost
from wpaudit.errors import HostKeyError
from wpaudit.errors import ShellError
from wpaudit.errors import UsageError
from wpaudit.ports import Shell
from wpaudit.shells import process as process_module
from wpaudit.shells.ssh import SshShell
from wpaudit.shells.target import Target

Enter = Callable[..., Shell]
Make = Callable[..., Sshd]


# -- host keys ----------------------------------------------------------------------------------

def test_an_unknown_host_key_is_refused_with_the_line_that_fixes_it(sshd: Sshd, enter: Enter, tmp_path: Path) -> None:
    empty = tmp_path / 'empty'
    public = sshd.host_keys[0].with_suffix('.pub')
    shown = subprocess.run(['ssh-keygen', '-lf', public], capture_output=True, text=True, check=True).stdout.split()

    with pytest.raises(HostKeyError) as caught:
        enter(sshd, known_hosts=empty)

    assert shown[1] in caught.value.message
    assert f'ssh-keyscan -p {sshd.port} 127.0.0.1 >> {empty}' in caught.value.hint
    assert '--accept-new-host-key' in caught.value.hint
    assert not empty.exists()


def test_a_new_host_key_is_noted_when_asked_to(sshd: Sshd, enter: Enter, tmp_path: Path) -> None:
    file = tmp_path / 'new' / 'known_hosts'

    enter(sshd, known_hosts=file, accept_new_host_key=True)

    assert file.read_text() == sshd.known_hosts_line()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    enter(sshd, known_hosts=file)


def test_a_changed_host_key_is_never_accepted(sshd: Sshd, enter: Enter, tmp_path: Path) -> None:
    other = keygen(tmp_path / 'other').with_suffix('.pub').read_text().split()
    file = tmp_path / 'changed'
    file.write_text(f'# mine\n[127.0.0.1]:{sshd.port} {other[0]} {other[1]}\n')
    before = file.read_text()

    with pytest.raises(HostKeyError, match='CHANGED') as caught:
        enter(sshd, known_hosts=file, accept_new_host_key=True)

    assert f'{file}:2' in caught.value.message
    assert f"ssh-keygen -f {file} -R '[127.0.0.1]:{sshd.port}'" in caught.value.hint
    assert file.read_text() == before


def test_hashed_known_hosts_are_read(sshd: Sshd, enter: Enter, known_hosts: Path) -> None:
    subprocess.run(['ssh-keygen', '-q', '-H', '-f', known_hosts], check=True, capture_output=True)
    assert known_hosts.read_text().startswith('|1|')

    enter(sshd)


def test_the_type_of_key_that_is_known_is_asked_for(make_sshd: Make, enter: Enter, known_hosts: Path) -> None:
    server = make_sshd(kinds=('ed25519', 'rsa'))
    known_hosts.write_text(server.known_hosts_line(key=1))

    enter(server.target())


def test_an_alias_names_the_key(sshd: Sshd, enter: Enter, known_hosts: Path, tmp_path: Path) -> None:
    config = tmp_path / 'config'
    config.write_text('Host 127.0.0.1\n  HostKeyAlias shop\n')
    known_hosts.write_text('shop ' + sshd.known_hosts_line().partition(' ')[2])

    enter(sshd, ssh_config=config)


# -- logins -------------------------------------------------------------------------------------

def test_a_wrong_key_is_a_sentence(sshd: Sshd, enter: Enter, keys: dict[str, Path]) -> None:
    with pytest.raises(AuthenticationError, match='refused the login') as caught:
        enter(sshd, identity=keys['stranger'])

    assert f'key {keys["stranger"]}' in caught.value.message
    assert '--identity' in caught.value.hint


def test_an_rsa_key_logs_in(sshd: Sshd, enter: Enter, keys: dict[str, Path]) -> None:
    enter(sshd, identity=keys['rsa'])


def test_a_locked_key_is_a_sentence(sshd: Sshd, enter: Enter, keys: dict[str, Path]) -> None:
    with pytest.raises(AuthenticationError, match='protected by a passphrase') as caught:
        enter(sshd, identity=keys['locked'])

    assert 'ssh-add' in caught.value.hint


@pytest.fixture
def agent(tmp_path: Path, keys: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An ssh-agent that holds the locked key."""
    path = tmp_path / 'agent.sock'
    process = subprocess.Popen(['ssh-agent', '-D', '-a', path], stdout=subprocess.DEVNULL)
    try:
        monkeypatch.setenv('SSH_AUTH_SOCK', str(path))
        ask = tmp_path / 'ask'
        ask.write_text('#!/bin/sh\necho secret words\n')
        ask.chmod(0o755)
        asking = {**os.environ, 'SSH_ASKPASS': str(ask), 'SSH_ASKPASS_REQUIRE': 'force', 'DISPLAY': ':'}
        add = ['ssh-add', str(keys['locked'])]
        eventually(lambda: subprocess.run(add, env=asking, check=False, capture_output=True).returncode == 0)
        yield
    finally:
        process.terminate()
        process.wait()


@pytest.mark.usefixtures('agent')
@pytest.mark.parametrize('identity', ['locked', 'public', 'none', 'stranger'])
def test_the_agent_logs_in(identity: str, sshd: Sshd, enter: Enter, keys: dict[str, Path]) -> None:
    chosen = {'locked': keys['locked'], 'public': keys['locked'].with_suffix('.pub'), 'stranger': keys['stranger']}

    enter(sshd, identity=chosen.get(identity))


def test_a_certificate_logs_in(make_sshd: Make, enter: Enter, tmp_path: Path) -> None:
    authority = keygen(tmp_path / 'authority')
    key = keygen(tmp_path / 'certified')
    signing = ['ssh-keygen', '-q', '-s', str(authority), '-I', 'test', '-n', getpass.getuser(), f'{key}.pub']
    subprocess.run(signing, check=True, capture_output=True)
    server = make_sshd(f'TrustedUserCAKeys {authority}.pub')

    enter(server, identity=key)


def test_default_keys_are_tried(sshd: Sshd, enter: Enter, own_home: Path, keys: dict[str, Path]) -> None:
    with pytest.raises(AuthenticationError, match='no key at all'):
        enter(sshd, identity=None)

    (own_home / '.ssh' / 'id_ed25519').write_bytes(keys['user'].read_bytes())
    enter(sshd, identity=None)


def test_a_host_that_takes_no_keys_is_a_sentence(make_sshd: Make, enter: Enter) -> None:
    server = make_sshd('PubkeyAuthentication no', 'PasswordAuthentication yes')

    with pytest.raises(AuthenticationError, match='It only takes password'):
        enter(server)


@pytest.mark.parametrize(('content', 'message'), [
    (None, 'does not exist'), ('PuTTY-User-Key-File-3: ssh-ed25519\n', 'not a private key'), ('', 'not a private key'),
])
def test_a_key_file_that_is_none(content: str | None, message: str, sshd: Sshd, enter: Enter, tmp_path: Path) -> None:
    file = tmp_path / 'identity'
    if content is not None:
        file.write_text(content)

    with pytest.raises(ShellError, match=message):
        enter(sshd, identity=file)


# -- configuration and detours ------------------------------------------------------------------

def test_ssh_config_names_host_port_user_and_key(sshd: Sshd, enter: Enter, ssh_home: Path) -> None:
    (ssh_home / 'parts').mkdir()
    (ssh_home / 'config').write_text('Include parts/*\nHost *\n  User nobody-at-all\n')
    (ssh_home / 'parts' / 'shop').write_text(
        f'Host shop-*\n  HostName 127.0.0.1\n  Port {sshd.port}\n  User {getpass.getuser()}\n'
        '  IdentityFile ~/.ssh/key\n  UserKnownHostsFile ~/.ssh/known\n',
    )

    shell = enter(Target(host='shop-one'), identity=None, known_hosts=None)

    assert shell.label == f'{getpass.getuser()}@shop-one:{sshd.port}'
    assert shell.run(['echo', 'here'], timeout=10).stdout == b'here\n'


def test_the_target_wins_over_ssh_config(sshd: Sshd, enter: Enter, ssh_home: Path) -> None:
    (ssh_home / 'config').write_text('Host *\n  Port 1\n  User nobody-at-all\n')

    enter(sshd)


def test_a_missing_ssh_config_is_an_error(sshd: Sshd, enter: Enter) -> None:
    with pytest.raises(UsageError, match='does not exist'):
        enter(sshd, ssh_config=Path('/no/such/config'))


@pytest.fixture
def bastion(make_sshd: Make, known_hosts: Path) -> Sshd:
    """A second sshd; both are known."""
    server = make_sshd()
    with known_hosts.open('a') as file:
        file.write(server.known_hosts_line())
    return server


def test_a_jump_host_is_passed_through(sshd: Sshd, bastion: Sshd, enter: Enter, ssh_home: Path) -> None:
    (ssh_home / 'config').write_text('Host *\n  IdentityFile ~/.ssh/key\n')
    jump = f'{getpass.getuser()}@127.0.0.1:{bastion.port}'

    shell = enter(sshd, proxyjump=jump)

    assert shell.run(['sh', '-c', 'echo $HOME'], timeout=10).stdout.decode().strip() == str(sshd.home)


def test_a_chain_of_jump_hosts_in_ssh_config(sshd: Sshd, bastion: Sshd, enter: Enter, ssh_home: Path) -> None:
    (ssh_home / 'config').write_text(
        f'Host first second\n  HostName 127.0.0.1\nHost first\n  Port {bastion.port}\nHost second\n  Port {sshd.port}\n'
        f'Host last\n  HostName 127.0.0.1\n  Port {bastion.port}\n  ProxyJump first,second\n'
        'Host *\n  IdentityFile ~/.ssh/key\n  UserKnownHostsFile ~/.ssh/known\n  ProxyJump none\n',
    )

    shell = enter(Target(host='last'), identity=None, known_hosts=None)

    assert shell.run(['sh', '-c', 'echo $HOME'], timeout=10).stdout.decode().strip() == str(bastion.home)


def test_a_jump_host_that_cannot_reach_the_host(bastion: Sshd, enter: Enter) -> None:
    jump = f'127.0.0.1:{bastion.port}'

    with pytest.raises(ShellError, match=r'jump host 127\.0\.0\.1 cannot reach 127\.0\.0\.1:1'):
        enter(Target(host='127.0.0.1', port=1), proxyjump=jump)


def test_jump_hosts_in_a_circle(enter: Enter, ssh_home: Path) -> None:
    (ssh_home / 'config').write_text('Host a\n  ProxyJump b\nHost b\n  ProxyJump a\n')

    with pytest.raises(ShellError, match='more than 8 jump hosts'):
        enter(Target(host='a'))


def test_a_proxy_command_carries_the_line(sshd: Sshd, bastion: Sshd, enter: Enter, ssh_home: Path) -> None:
    (ssh_home / 'config').write_text(
        f'Host 127.0.0.1\n  ProxyCommand ssh -F none -i {ssh_home}/key -o UserKnownHostsFile={ssh_home}/known '
        f'-p {bastion.port} -W %h:%p {getpass.getuser()}@127.0.0.1\n',
    )

    shell = enter(sshd)

    assert shell.run(['cat'], timeout=10, stdin=b'x' * 1_000_000).stdout == b'x' * 1_000_000


def test_a_proxy_command_that_fails_is_quoted(sshd: Sshd, enter: Enter, ssh_home: Path) -> None:
    (ssh_home / 'config').write_text('Host *\n  ProxyCommand sh -c "echo no way >&2; exit 1"\n')

    with pytest.raises(ShellError, match='failed: no way'):
        enter(sshd)


# -- hosts that cannot be reached ---------------------------------------------------------------

@contextlib.contextmanager
def served(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server on loopback that treats every client with ``answer``."""
    with socket.create_server(('127.0.0.1', 0)) as server:
        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = server.accept()
                    with client, contextlib.suppress(OSError):
                        answer(client)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def wait_for_close(client: socket.socket) -> None:
    while client.recv(4096):
        pass


def speak_and_wait(client: socket.socket) -> None:
    client.sendall(b'220 mail.example ESMTP\r\n')
    wait_for_close(client)


def answer_http(client: socket.socket) -> None:
    client.recv(1000)
    client.sendall(b'HTTP/1.1 400 Bad Request\r\n\r\n')


def break_off(client: socket.socket) -> None:
    client.sendall(b'SSH-2.0-OpenSSH_9.2\r\n')
    client.recv(1000)


@pytest.mark.parametrize(('answer', 'message'), [
    (wait_for_close, 'did not speak SSH for 1 s'),
    (speak_and_wait, 'did not speak SSH for 1 s|not an SSH server'),
    (answer_http, 'not an SSH server'),
    (lambda client: None, 'not an SSH server, or closed the connection'),
    (break_off, 'broke off the SSH handshake'),
], ids=['silent', 'mail', 'web', 'closes', 'breaks off'])
def test_a_port_that_is_not_ssh(answer: Callable[[socket.socket], None], message: str) -> None:
    before = threading.active_count()
    with served(answer) as port, pytest.raises(ShellError, match=message):
        SshShell.connect(Target(host='127.0.0.1', port=port), connect_timeout=1)

    eventually(lambda: threading.active_count() <= before)


def test_a_refused_port(enter: Enter) -> None:
    with socket.create_server(('127.0.0.1', 0)) as server:
        port = server.getsockname()[1]

    with pytest.raises(ShellError, match='refused the connection'):
        enter(Target(host='127.0.0.1', port=port))


def test_a_name_that_does_not_exist(enter: Enter) -> None:
    with pytest.raises(ShellError, match=r'Cannot find the host no-such-host\.invalid'):
        enter(Target(host='no-such-host.invalid'))


# -- noise --------------------------------------------------------------------------------------

@pytest.fixture
def noisy(make_sshd: Make, enter: Enter, tmp_path: Path) -> Shell:
    """A host with a banner whose .bashrc talks on both streams, echoes its commands and takes its time."""
    banner = tmp_path / 'banner'
    banner.write_text('AUTHORISED USERS ONLY\n' * 10)
    server = make_sshd(f'Banner {banner}')
    (server.home / '.bashrc').write_text(
        'set -xv\nprintf "Welcome, no newline"; printf "warning" >&2\nseq 1 3000\nseq 1 3000 >&2\nsleep 0.3\n',
    )
    return enter(server)


def test_noise_before_a_command_is_dropped(noisy: Shell) -> None:
    result = noisy.run(['sh', '-c', 'echo out; echo err >&2'], timeout=10)

    assert (result.stdout, result.stderr) == (b'out\n', b'err\n')


def test_noise_before_a_conversation_is_dropped(noisy: Shell) -> None:
    process = noisy.start(['sh', '-c', 'echo ready; echo err >&2; cat'])
    try:
        process.send(b'hello\n')
        assert [process.receive(timeout=10) for _ in range(2)] == [b'ready\n', b'hello\n']
        process.close_stdin()
        assert process.wait(timeout=10) == 0
        assert process.stderr_tail() == b'err\n'
    finally:
        process.end()


def test_an_account_that_runs_no_commands_is_a_sentence(make_sshd: Make, enter: Enter) -> None:
    server = make_sshd('ForceCommand echo This account is limited; exit 1')
    shell = enter(server)

    with pytest.raises(ShellError, match=r'did not run wp on .*This account is limited'):
        shell.run(['wp'], timeout=10)
    process = shell.start(['wp'])
    with pytest.raises(ShellError, match='This account is limited'):
        process.receive(timeout=10)
    process.end()


def test_one_session_at_a_time(make_sshd: Make, enter: Enter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('wpaudit.shells.ssh._SESSION_SECONDS', 0.1)
    server = make_sshd('MaxSessions 1')
    shell = enter(server)
    process = shell.start(['cat'])

    with pytest.raises(ShellError, match='refuses another command') as caught:
        shell.run(['true'], timeout=10)

    assert 'MaxSessions' in caught.value.hint
    process.end()
    assert shell.run(['true'], timeout=10).status == 0


# -- connections that break ---------------------------------------------------------------------

@pytest.fixture
def cut(make_sshd: Make, enter: Enter) -> tuple[Shell, Callable[[], None]]:
    """A shell and the way to cut its line."""
    server = make_sshd()
    assert server.process is not None
    shell = enter(server)
    listener = server.process.pid

    def cut_line() -> None:
        for child in children(listener):
            for pid in (*children(child), child):
                with contextlib.suppress(OSError):  # the death of one may have been that of another
                    if 'sshd' in Path(f'/proc/{pid}/comm').read_text():
                        os.kill(pid, signal.SIGKILL)

    return shell, cut_line


def test_a_cut_line_during_a_command(cut: tuple[Shell, Callable[[], None]]) -> None:
    shell, cut_line = cut
    timer = threading.Timer(0.3, cut_line)
    timer.start()
    started = time.monotonic()

    with pytest.raises(ConnectionLost):
        shell.run(['sleep', '5'], timeout=20)

    timer.join()
    assert time.monotonic() - started < 3


def test_a_cut_line_during_a_conversation(cut: tuple[Shell, Callable[[], None]], tmp_path: Path) -> None:
    shell, cut_line = cut
    restored = tmp_path / 'restored'
    process = shell.start(['sh', '-c', f'echo ready; cat >/dev/null; echo done > {restored}'])
    assert process.receive(timeout=10) == b'ready\n'

    cut_line()

    with pytest.raises(ConnectionLost):
        process.receive(timeout=10)
    with pytest.raises(ConnectionLost):
        process.wait(timeout=10)
    with pytest.raises(ConnectionLost):
        process.send(b'x' * 100_000)
    process.end()
    eventually(restored.exists)
    with pytest.raises(ConnectionLost):
        shell.run(['true'], timeout=10)


def test_a_closed_shell_runs_nothing(ssh: Shell) -> None:
    process = ssh.start(['cat'])
    ssh.close()

    with pytest.raises(ConnectionLost):
        ssh.run(['true'], timeout=10)
    process.end()
    ssh.close()


def test_what_is_being_started_while_the_shell_closes_is_ended(
    ssh: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:
    begin, sent, refused = paramiko.Channel.exec_command, threading.Event(), threading.Event()

    def slow(channel: paramiko.Channel, command: str) -> None:
        begin(channel, command)
        if not sent.is_set():  # the host is at work, and this thread has not been told yet
            sent.set()
            time.sleep(0.5)

    def work() -> None:
        with contextlib.suppress(ConnectionLost):
            ssh.start(['sh', '-c', f'echo $$ >{tmp_path}/pid; sleep 600 & wait'])
            return
        refused.set()

    monkeypatch.setattr(paramiko.Channel, 'exec_command', slow)
    thread = threading.Thread(target=work)
    thread.start()
    pid = int(eventually(lambda: sent.is_set() and (tmp_path / 'pid').exists() and (tmp_path / 'pid').read_text()))
    ssh.close()
    thread.join()

    assert refused.is_set()
    eventually(lambda: not Path(f'/proc/{pid}').exists())


def test_closing_leaves_no_thread(sshd: Sshd, keys: dict[str, Path], known_hosts: Path) -> None:
    before = threading.active_count()
    shell = SshShell.connect(sshd.target(), identity=keys['user'], known_hosts=known_hosts)
    shell.run(['true'], timeout=10)
    shell.close()

    assert threading.active_count() <= before


def test_a_login_shell_that_hangs_is_a_timeout(noisy: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_module, 'END_GRACE_SECONDS', 0.1)

    with pytest.raises(CommandTimeout):
        noisy.run(['true'], timeout=0.1)
