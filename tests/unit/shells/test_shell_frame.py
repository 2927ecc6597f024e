from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from wpaudit.errors import ShellError
from wpaudit.shells.frame import MAX_NOISE_BYTES
from wpaudit.shells.frame import Framed
from wpaudit.shells.frame import Unframer

SHELLS = [shell for shell in ('sh', 'dash', 'bash', 'ksh', 'zsh', 'fish', 'csh', 'tcsh') if shutil.which(shell)]
# Any bytes but NUL, as Python carries them.
words = st.binary(max_size=40).map(lambda data: data.replace(b'\0', b'').decode('utf-8', 'surrogateescape'))


def run(shell: str, framed: Framed) -> tuple[bytes, bytes]:
    result = subprocess.run([shell, '-c', framed.command], capture_output=True, check=True)
    return Unframer(framed.marker).feed(result.stdout), Unframer(framed.marker).feed(result.stderr)


@settings(max_examples=60, deadline=None)
@given(st.lists(words, max_size=8))
def test_every_argument_arrives_byte_for_byte(arguments: list[str]) -> None:
    expected = b''.join(word.encode('utf-8', 'surrogateescape') + b'\0' for word in ['x', *arguments])

    assert run('sh', Framed(['printf', '%s\\0', 'x', *arguments])) == (expected, b'')


@given(st.lists(words, max_size=8))
def test_nothing_on_which_login_shells_disagree_is_sent(arguments: list[str]) -> None:
    command = Framed(['echo', *arguments]).command

    framed = re.fullmatch(r"sh -c 'eval [^'!\\]+' sh '([^'!]*)'", command)
    assert framed is not None
    assert command.isascii()
    assert command.isprintable()
    assert re.sub(r'\\(0[0-3][0-7][0-7]|n)', '', framed[1]).count('\\') == 0  # fish reads \\ and \' in quotes


@pytest.mark.parametrize('shell', SHELLS)
def test_the_shells_of_this_machine_agree(shell: str) -> None:
    hostile = ["it's", '!!', '$HOME', '\\', '\\\\', "\\'", 'a\nb\n', '`id`', 'é\udcff', '%s', '*', '']
    expected = b''.join(word.encode('utf-8', 'surrogateescape') + b'\0' for word in hostile)

    assert run(shell, Framed(['printf', '%s\\0', *hostile])) == (expected, b'')


def test_the_marker_is_not_in_the_command() -> None:
    framed = Framed(['true'])

    assert framed.marker.decode() not in framed.command
    assert framed.marker != Framed(['true']).marker


def test_the_process_group_is_told() -> None:
    framed = Framed(['sh', '-c', 'echo $$; ps -o pgid= -p $$'])
    output = subprocess.run(['sh', '-c', framed.command], capture_output=True, check=True).stdout
    unframe = Unframer(framed.marker)

    assert unframe.fields == ()
    assert tuple(map(int, unframe.feed(output).split())) == unframe.fields


@pytest.mark.parametrize('argv', [[], [''], ['-x'], ['echo', '\0']])
def test_what_no_shell_could_run_is_refused(argv: list[str]) -> None:
    with pytest.raises(ShellError):
        Framed(argv)


def test_a_command_too_long_to_be_sent_is_refused() -> None:
    with pytest.raises(ShellError, match='through stdin'):
        Framed(['echo', 'x' * 140_000])


@given(st.binary(), st.binary(max_size=300), st.integers(1, 7))
def test_noise_is_dropped_however_it_is_cut(noise: bytes, output: bytes, size: int) -> None:
    unframe = Unframer(b'MARK')
    stream = noise.replace(b'MARK', b'') + b'MARK:12:34:\n' + output

    own = b''.join(unframe.feed(stream[n:n + size]) for n in range(0, len(stream), size))

    assert own == output
    assert unframe.fields == (12, 34)
    assert unframe.found


def test_noise_without_end_is_bounded() -> None:
    unframe = Unframer(b'MARK')
    for _ in range(40):
        unframe.feed(b'x' * 100_000)

    assert len(unframe.noise) == MAX_NOISE_BYTES
    assert unframe.feed(b'MARK:\nown') == b'own'


def test_without_a_marker_everything_is_output() -> None:
    assert Unframer(None).feed(b'data') == b'data'
