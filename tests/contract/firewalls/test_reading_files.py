"""The contract of ``firewalls.reading``: the script on a real shell and the fake that stands for it say the same."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path

import pytest

from fixtures.host_files import HostOfFiles
from wpaudit.firewalls.reading import LIMITS
from wpaudit.firewalls.reading import Garbled
from wpaudit.firewalls.reading import HostFile
from wpaudit.firewalls.reading import Limits
from wpaudit.firewalls.reading import State
from wpaudit.firewalls.reading import argv_for
from wpaudit.firewalls.reading import read_files
from wpaudit.firewalls.reading import read_matching
from wpaudit.ports import CommandResult
from wpaudit.ports import Shell
from wpaudit.shells.local import LocalShell

FILES = {
    'a.conf': b'first\n',
    'b.conf': b'second\n\n\n',
    'binary.dat': bytes(range(256)) * 40,
    'empty.conf': b'',
    'new\nline\n': b'a name of two lines',
    'not utf-8 caf\udce9.conf': b'caf\xe9',
    'strange $(touch x) `id` \\0101 %s \'" *.conf': b'a name to trip over',
    'sub/c.conf': b'third',
}
World = Callable[[Limits], tuple[Shell, str]]


@pytest.fixture(params=['local', 'fake'])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    """A shell and the directory in which it sees FILES, within given limits."""
    if request.param == 'fake':
        return lambda limits: (HostOfFiles({f'/d/{name}': data for name, data in FILES.items()}, limits=limits), '/d')
    for name, data in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return lambda limits: (LocalShell(), str(tmp_path))


def test_files_come_as_they_are_in_one_round_trip(world: World) -> None:
    shell, root = world(LIMITS)
    found = read_files(shell, [f'{root}/{name}' for name in FILES])
    assert {path: file.data for path, file in found.items()} == {f'{root}/{name}': data for name, data in FILES.items()}
    for path, file in found.items():
        assert (file.state, file.path, file.real, file.cut) == (State.FILE, path, path, False)
        assert file.size == len(file.data)
        assert file.inode
        assert len(file.sha256) == 64


def test_patterns_are_expanded_in_order(world: World) -> None:
    shell, root = world(LIMITS)
    found = read_matching(shell, [f'{root}/[a-b].conf', f'{root}/*/*.conf', f'{root}/*.none', f'{root}/a.conf'])
    assert [[(file.path, file.data) for file in files] for files in found.values()] == [
        [(f'{root}/a.conf', b'first\n'), (f'{root}/b.conf', b'second\n\n\n')],
        [(f'{root}/sub/c.conf', b'third')],
        [(f'{root}/*.none', b'')],
        [(f'{root}/a.conf', b'first\n')],
    ]
    assert found[f'{root}/*.none'][0].state is State.ABSENT


def test_what_is_not_there_is_absent(world: World) -> None:
    shell, root = world(LIMITS)
    paths = [f'{root}/none', f'{root}/a.conf/none', f'{root}/no/such', 'a\0b', '']
    assert {file.state for file in read_files(shell, paths).values()} == {State.ABSENT}


def test_limits_hold(world: World) -> None:
    shell, root = world(Limits(file=100))
    file = read_files(shell, [f'{root}/binary.dat'], limits=Limits(file=100))[f'{root}/binary.dat']
    assert (file.data, file.cut, file.sha256) == (FILES['binary.dat'][:100], True, '')
    shell, root = world(Limits(total=5000))
    paths = [f'{root}/a.conf', f'{root}/b.conf', f'{root}/sub/c.conf']
    states = [file.state for file in read_files(shell, paths, limits=Limits(total=5000)).values()]
    assert states == [State.FILE, State.FILE, State.SKIPPED]
    shell, root = world(Limits(count=2))
    states = [file.state for file in read_files(shell, paths, limits=Limits(count=2)).values()]
    assert states == [State.FILE, State.FILE, State.SKIPPED]
    shell, root = world(Limits(count=2))
    (found,) = read_matching(shell, [f'{root}/*'], limits=Limits(count=2)).values()
    assert [file.state for file in found] == [State.FILE, State.FILE, State.SKIPPED]


# -- what only a real host has ------------------------------------------------------------------------


def test_what_is_no_plain_file_is_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'pipe')
    (tmp_path / 'directory').mkdir()
    found = read_files(LocalShell(), [f'{tmp_path}/pipe', f'{tmp_path}/directory', '/dev/zero'])
    assert [file.state for file in found.values()] == [State.SPECIAL, State.DIRECTORY, State.SPECIAL]


def test_links_say_where_they_lead(tmp_path: Path) -> None:
    (tmp_path / 'target').write_bytes(b'x')
    for name, target in (('good', 'target'), ('dangling', 'nowhere'), ('loop', 'loop')):
        (tmp_path / name).symlink_to(target)
    found = read_files(LocalShell(), [f'{tmp_path}/{name}' for name in ('good', 'target', 'dangling', 'loop')])
    good, target, dangling, loop = found.values()
    assert (good.real, good.data, good.identity) == (f'{tmp_path}/target', b'x', target.identity)
    assert (dangling.state, loop.state) == (State.ABSENT, State.UNREADABLE)


def test_files_of_proc_are_read_though_they_say_that_they_are_empty() -> None:
    file = read_files(LocalShell(), ['/proc/self/status'])['/proc/self/status']
    assert file.state is State.FILE
    assert b'Name:' in file.data


class Nobody(LocalShell):
    """This machine, as a user who owns nothing."""

    def run(self, argv: Sequence[str], *, timeout: float, stdin: bytes = b'') -> CommandResult:
        """Run it as nobody."""
        return super().run(['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', *argv], timeout=timeout,
                           stdin=stdin)


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A directory that others may look into, as those of pytest may not."""
    with tempfile.TemporaryDirectory(prefix='wpaudit-reading-') as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


def test_unreadable_is_told_apart_from_absent(open_path: Path) -> None:
    shell: Shell = Nobody() if os.geteuid() == 0 else LocalShell()
    for name, mode in (('closed', 0), ('searchable', 0o311), ('open', 0o755)):
        (open_path / name).mkdir()
        (open_path / name / 'file.conf').write_bytes(b'x')
        (open_path / name / 'file.conf').chmod(0)
        (open_path / name).chmod(mode)
    (open_path / 'link').symlink_to('closed/file.conf')
    paths = ['closed/file.conf', 'closed/none', 'searchable/file.conf', 'searchable/none', 'open/none', 'link']
    try:
        found = read_files(shell, [f'{open_path}/{path}' for path in paths])
        patterns = read_matching(shell, [f'{open_path}/{path}/*.conf' for path in ('closed', 'searchable', 'open')])
    finally:
        (open_path / 'closed').chmod(0o755)
        (open_path / 'searchable').chmod(0o755)
    assert [file.state.value for file in found.values()] == [
        'unreadable', 'unreadable', 'unreadable', 'absent', 'absent', 'unreadable',
    ]
    assert [files[0].state.value for files in patterns.values()] == ['unreadable'] * 3
    assert found[f'{open_path}/searchable/file.conf'].inode


@pytest.mark.parametrize('interpreter', ['dash', 'bash'])
def test_every_sh_reads_alike(interpreter: str, tmp_path: Path) -> None:
    for name, data in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    argv = [interpreter, *argv_for()[1:]]
    stdin = b'WORD\nL%s/a.conf\nG%s/*.conf\nL/none\n' % ((os.fsencode(tmp_path),) * 2)
    done = subprocess.run(argv, input=stdin, capture_output=True, timeout=60, check=True)
    pieces = done.stdout.split(b'WORD')
    assert [piece.split(b'\0')[0].split(b'\n')[0].split()[:2] for piece in pieces[1:-1]] == [
        [b'0', b'file'], *[[b'1', b'file']] * 5, [b'2', b'absent'],
    ]
    assert pieces[-1] == b' end\n'
    assert pieces[2].endswith(b'\0first\n')


# -- hostile answers ----------------------------------------------------------------------------------


class Lying:
    """A shell that answers ``text``, with WORD for the random word."""

    label = 'a liar'

    def __init__(self, text: bytes, status: int = 0) -> None:
        self._text = text
        self._status = status

    def run(self, argv: Sequence[str], *, timeout: float, stdin: bytes = b'') -> CommandResult:
        """Lie."""
        return CommandResult(tuple(argv), self._status, self._text.replace(b'WORD', stdin.split(b'\n')[0]), b'')


@pytest.mark.parametrize('text', [
    b'', b'WORD', b'WORD 0 file\n/x\0/x\0data', b'WORD nonsense\nWORD end\n', b'WORD 0 file\n/x\0WORD end\n',
    b'WORD 0 strange\n/x\0/x\0WORD end\n', b'WORD 0 file 1 2 3\n/x\0/x\0WORD end\n',
    b'WORD zero file\n/x\0/x\0WORD end\n', b'WORD 0 file 999 1 1 1 1 1 1\n/x\0/x\0WORD end\n',
    b'WORD 0 file 644 ' + b'9' * 5000 + b' 1 1 1 1 1\n/x\0/x\0WORD end\n', b'WORD 0 \xff\n/x\0/x\0WORD end\n',
    b'WORD end\nWORD', b'WORD 0 file\n\n\nWORD end\n',
])
def test_a_garbled_answer_is_said_so(text: bytes) -> None:
    with pytest.raises(Garbled):
        read_files(Lying(text), ['/x'])  # type: ignore[arg-type] # reading needs nothing of a shell but `run`


def test_a_shell_that_fails_is_said_so() -> None:
    with pytest.raises(Garbled, match='status 127'):
        read_files(Lying(b'WORD end\n', 127), ['/x'])  # type: ignore[arg-type] # as above


def test_an_answer_without_a_file_that_was_asked_for_counts_as_skipped() -> None:
    lying = Lying(b'noise before it WORD 7 absent\n/y\0\0WORD end\n')
    assert read_files(lying, ['/x']) == {'/x': HostFile('/x', State.SKIPPED)}  # type: ignore[arg-type] # as above
