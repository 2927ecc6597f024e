"""What every shell promises, the fake included."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fixtures.shells import Script
from fixtures.shells import ScriptedShell
from fixtures.shells import UnexpectedCommand
from wpaudit.errors import CommandTimeout
from wpaudit.errors import ConnectionLost
from wpaudit.errors import ShellError
from wpaudit.ports import CommandResult
from wpaudit.ports import Process
from wpaudit.ports import Shell

Host = Callable[..., Shell]

BOTH = ('sh', '-c', 'echo out; echo err >&2; exit 3')
CAT = ('cat',)
SLEEP = ('sleep', '600')
ECHO_UNTIL_EOF = ('sh', '-c', 'echo ready; while read -r line; do echo "<$line>"; done; echo bye; exit 4')
CONVERSATION = Script(
    stdout=b'ready\n', reply=lambda line: b'<' + line.strip() + b'>\n', farewell=b'bye\n', status=4,
)


def test_a_command_gives_its_status_and_both_streams(host: Host) -> None:
    shell = host({BOTH: Script(stdout=b'out\n', stderr=b'err\n', status=3)})

    assert shell.run(list(BOTH), timeout=10) == CommandResult(BOTH, 3, b'out\n', b'err\n')


def test_a_missing_program_is_status_127(host: Host) -> None:
    argv = ('/no/such/program',)
    shell = host({argv: Script(status=127, stderr=b'not found')})

    assert shell.run(argv, timeout=10).status == 127


def test_a_signal_is_128_and_its_number(host: Host) -> None:
    argv = ('sh', '-c', 'kill -KILL $$')
    shell = host({argv: Script(status=137)})

    assert shell.run(argv, timeout=10).status == 137


def test_stdin_reaches_the_command(host: Host) -> None:
    shell = host({CAT: Script(reply=lambda line: line)})

    assert shell.run(CAT, timeout=10, stdin=b'one\ntwo').stdout == b'one\ntwo'


def test_without_stdin_a_command_sees_end_of_file(host: Host) -> None:
    assert host({CAT: Script()}).run(CAT, timeout=10) == CommandResult(CAT, 0, b'', b'')


def test_a_command_past_its_time_limit_is_a_timeout(host: Host) -> None:
    shell = host({SLEEP: Script(hangs=True)})

    with pytest.raises(CommandTimeout, match='sleep'):
        shell.run(SLEEP, timeout=0.2)


@pytest.mark.parametrize('argv', [(), ('',), ('-x',), ('echo', 'a\0b')])
def test_what_no_shell_can_run_is_refused(host: Host, argv: tuple[str, ...]) -> None:
    with pytest.raises(ShellError):
        host({}).run(argv, timeout=10)
    with pytest.raises(ShellError):
        host({}).start(argv)


def test_a_conversation(host: Host) -> None:
    process: Process = host({ECHO_UNTIL_EOF: CONVERSATION}).start(ECHO_UNTIL_EOF)
    try:
        assert process.receive(timeout=10) == b'ready\n'
        process.send(b'first\nsecond\n')
        assert process.receive(timeout=10) == b'<first>\n'
        assert process.receive(timeout=10) == b'<second>\n'
        with pytest.raises(CommandTimeout):
            process.receive(timeout=0.05)
        with pytest.raises(CommandTimeout):
            process.wait(timeout=0.05)
        process.send(b'thi')
        process.send(b'rd\n')
        assert process.receive(timeout=10) == b'<third>\n'
        process.close_stdin()
        assert process.receive(timeout=10) == b'bye\n'
        assert process.receive(timeout=10) == b''
        assert process.receive(timeout=10) == b''
        assert process.wait(timeout=10) == 4
        assert process.wait(timeout=0) == 4
    finally:
        process.end()


def test_a_last_line_without_newline_is_a_line(host: Host) -> None:
    argv = ('printf', 'a\\nb')
    process = host({argv: Script(stdout=b'a\nb')}).start(argv)
    process.close_stdin()
    try:
        assert [process.receive(timeout=10) for _ in range(3)] == [b'a\n', b'b', b'']
    finally:
        process.end()


def test_ending_is_idempotent_and_final(host: Host) -> None:
    process = host({CAT: Script(reply=lambda line: line)}).start(CAT)

    process.end()
    process.end()

    with pytest.raises(ConnectionLost):
        process.send(b'too late\n')
    assert process.receive(timeout=1) == b''


def test_a_process_keeps_the_end_of_its_stderr(host: Host) -> None:
    argv = ('sh', '-c', 'head -c 200000 /dev/zero >&2; printf last >&2')
    process = host({argv: Script(stderr=b'\0' * 200_000 + b'last')}).start(argv)
    process.close_stdin()
    process.wait(timeout=10)
    process.end()

    assert process.stderr_tail() == b'\0' * (65536 - 4) + b'last'


def test_a_shell_has_a_name_and_closes_twice(host: Host) -> None:
    shell = host({})

    assert shell.label
    shell.close()
    shell.close()


def test_the_fake_refuses_what_it_was_not_told() -> None:
    shell = ScriptedShell({('true',): [Script()]})
    shell.run(('true',), timeout=1)

    with pytest.raises(UnexpectedCommand):
        shell.run(('true',), timeout=1)
    with pytest.raises(UnexpectedCommand):
        shell.start(('false',))
    assert shell.calls == [('true',), ('true',), ('false',)]


def test_the_fake_can_fail() -> None:
    shell = ScriptedShell({('true',): Script(fault=ConnectionLost('gone'))})

    with pytest.raises(ConnectionLost):
        shell.run(('true',), timeout=1)
