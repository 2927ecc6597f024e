"""What the shells that run real commands promise on top: bytes, bounds, time limits and what becomes of processes."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from shell_hosts import eventually

from wpaudit.errors import CommandTimeout
from wpaudit.errors import ConnectionLost
from wpaudit.errors import ShellError
from wpaudit.ports import Process
from wpaudit.ports import Shell
from wpaudit.shells import process as process_module

HOSTILE = [
    '', ' ', "'", '"', "it's", '$HOME', '$(id)', '`id`', '!!', '!x', 'a;b', 'a&&b', '\\', '\\\\', 'end\\', "\\'",
    'line\nline\n', '\n', '\t', '\r', '*', '?', '[a]', '{a,b}', '~', '#', '%s', '%b', '\\n', '\\0101', '-n', '--',
    '<>|&', '\x01\x1b[31m', 'é', '日本語', '\udcff\udcfe', '^a^b', '=ls', 'a=b', "'\"'\"'", '$1', '${x}', '\x7f',
]


def alive(pid: int) -> bool:
    """Zombies are gone for our purpose: whoever started them has not looked yet."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] not in 'ZX'
    except (FileNotFoundError, ProcessLookupError):
        return False


def pid_line(process: Process) -> int:
    return int(process.receive(timeout=10))


def test_arguments_arrive_byte_for_byte(real: Shell) -> None:
    result = real.run(['printf', '%s\\0', *HOSTILE], timeout=10)

    assert result.stdout.split(b'\0')[:-1] == [word.encode('utf-8', 'surrogateescape') for word in HOSTILE]


def test_a_program_may_have_a_hostile_name(real: Shell, tmp_path: Path) -> None:
    program = tmp_path / "it's $(a) \udcff program!"
    program.write_text('#!/bin/sh\necho ran "$1"\n')
    program.chmod(0o755)

    assert real.run([str(program), 'x'], timeout=10).stdout == b'ran x\n'


def test_a_long_argument_arrives(real: Shell) -> None:
    assert real.run(['printf', '%s', 'x' * 125_000], timeout=10).stdout == b'x' * 125_000
    with pytest.raises(ShellError):
        real.run(['printf', '%s', 'x' * 140_000], timeout=10)


def test_binary_data_goes_through_unchanged(real: Shell) -> None:
    data = bytes(range(256)) * 4096

    assert real.run(['cat'], timeout=20, stdin=data).stdout == data


def test_both_streams_are_drained_together(real: Shell) -> None:
    script = 'head -c 6000000 /dev/zero >&2; head -c 6000000 /dev/zero; head -c 6000000 /dev/zero >&2; printf end'

    result = real.run(['sh', '-c', script], timeout=30)

    assert len(result.stdout) == 6_000_003
    assert result.stdout.endswith(b'end')
    assert len(result.stderr) == 65536


def test_input_is_sent_while_output_comes(real: Shell) -> None:
    data = b'x' * 5_000_000

    assert len(real.run(['sh', '-c', 'tee /dev/stderr'], timeout=30, stdin=data).stdout) == len(data)


def test_a_command_need_not_read_its_input(real: Shell) -> None:
    assert real.run(['sh', '-c', 'exit 5'], timeout=10, stdin=b'x' * 5_000_000).status == 5


def test_too_much_output_is_an_error_and_ends_the_command(real: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_module, 'MAX_OUTPUT_BYTES', 1 << 20)

    with pytest.raises(ShellError, match='wrote more than 1 MiB'):
        real.run(['sh', '-c', 'while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy; done'], timeout=30)


def test_an_endless_line_is_an_error(real: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_module, 'MAX_LINE_BYTES', 100_000)
    process = real.start(['sh', '-c', 'echo short; head -c 200000 /dev/zero; sleep 600'])
    try:
        assert process.receive(timeout=10) == b'short\n'
        with pytest.raises(ConnectionLost, match='a line longer'):
            process.receive(timeout=10)
    finally:
        process_module.RunningProcess.stop(process, kill=True)  # type: ignore[arg-type]


def test_a_time_limit_ends_the_command_and_its_children(real: Shell, tmp_path: Path) -> None:
    noted = tmp_path / 'pids'
    script = f'sleep 600 & echo $! > {noted}; sh -c "sleep 600; true" & echo $! >> {noted}; echo $$ >> {noted}; wait'

    with pytest.raises(CommandTimeout, match='and was ended'):
        real.run(['sh', '-c', script], timeout=0.5)

    pids = [int(line) for line in noted.read_text().split()]
    assert len(pids) == 3
    eventually(lambda: not any(alive(pid) for pid in pids))


def test_a_time_limit_ends_what_ignores_the_polite_signal(real: Shell, tmp_path: Path) -> None:
    noted = tmp_path / 'pid'
    script = f'trap "" TERM HUP INT; echo $$ > {noted}; while :; do sleep 0.1; done'

    with pytest.raises(CommandTimeout, match='and was ended'):
        real.run(['sh', '-c', script], timeout=0.3)

    assert not alive(int(noted.read_text()))


def test_a_time_limit_holds_while_nobody_reads_the_input(real: Shell) -> None:
    started = time.monotonic()

    with pytest.raises(CommandTimeout):
        real.run(['sleep', '600'], timeout=0.5, stdin=b'x' * 10_000_000)

    assert time.monotonic() - started < 5


def test_a_shell_still_works_after_a_timeout(real: Shell) -> None:
    with pytest.raises(CommandTimeout):
        real.run(['sleep', '600'], timeout=0.1)

    assert real.run(['echo', 'fine'], timeout=10).stdout == b'fine\n'


def test_ending_gives_a_process_time_to_restore(real: Shell, tmp_path: Path) -> None:
    restored = tmp_path / 'restored'
    process = real.start(['sh', '-c', f'echo $$; cat >/dev/null; sleep 0.7; echo done > {restored}'])
    pid = pid_line(process)

    process.end()

    assert restored.read_text() == 'done\n'
    assert not alive(pid)


def test_ending_kills_what_does_not_leave(real: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_module, 'END_GRACE_SECONDS', 0.2)
    process = real.start(['sh', '-c', 'sleep 601 & echo $!; echo $$; wait; sleep 602'])
    pids = [pid_line(process), pid_line(process)]

    process.end()

    eventually(lambda: not any(alive(pid) for pid in pids))


def test_a_process_that_ended_cannot_be_written_to(real: Shell) -> None:
    process = real.start(['true'])
    try:
        assert process.wait(timeout=10) == 0
        with pytest.raises(ConnectionLost):
            process.send(b'x' * 10_000_000)
    finally:
        process.end()


def test_output_is_there_although_nobody_asked_for_it(real: Shell) -> None:
    process = real.start(['sh', '-c', 'seq 1 100000; seq 1 100000 >&2; exit 7'])
    try:
        assert process.wait(timeout=20) == 7
        lines = iter(lambda: process.receive(timeout=10), b'')
        assert [int(line) for line in lines] == list(range(1, 100_001))
        assert process.stderr_tail().endswith(b'\n99999\n100000\n')
    finally:
        process.end()


def test_many_commands_at_once(real: Shell) -> None:
    with ThreadPoolExecutor(8) as pool:
        results = pool.map(lambda n: real.run(['sh', '-c', f'cat; exit {n}'], timeout=20, stdin=b'%d' % n), range(24))

        assert [(result.status, result.stdout) for result in results] == [(n, b'%d' % n) for n in range(24)]


def test_nothing_stays_behind(real: Shell) -> None:
    real.run(['true'], timeout=10)
    threads, files = threading.active_count(), len(os.listdir('/proc/self/fd'))

    for _ in range(3):
        real.run(['echo', 'x'], timeout=10)
        process = real.start(['cat'])
        process.send(b'x\n')
        process.receive(timeout=10)
        process.end()
        with pytest.raises(CommandTimeout):
            real.run(['sleep', '600'], timeout=0.05)

    eventually(lambda: threading.active_count() <= threads)
    assert len(os.listdir('/proc/self/fd')) <= files
