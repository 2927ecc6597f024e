"""The keeper of a machine's configuration puts it back, whoever dies, hangs or is cut off."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.lab.traces import eventually
from wpaudit.errors import ModeUnavailable
from wpaudit.errors import NotRestored
from wpaudit.errors import ShellError
from wpaudit.errors import SiteBusy
from wpaudit.errors import Unfinished
from wpaudit.errors import WpauditError
from wpaudit.firewalls.warden import Keeping
from wpaudit.firewalls.warden import Warden
from wpaudit.firewalls.warden import kept
from wpaudit.firewalls.warden import recover
from wpaudit.shells.local import LocalShell

BEFORE = b'deny all;\n\xff'


@dataclass
class Machine:
    """A configuration file, the directory of runs, and shells that reach both."""

    root: Path
    run: Path = Path()
    shells: list[LocalShell] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.run = self.run if self.run != Path() else self.root / 'run'
        self.config.write_bytes(BEFORE)

    @property
    def config(self) -> Path:
        return self.root / 'site.conf'

    def shell(self) -> LocalShell:
        self.shells.append(LocalShell())
        return self.shells[-1]

    def warden(self, patience: int = 30) -> Warden:
        return Warden(self.shell(), by='me at here', directory=str(self.run), patience=patience)

    def keeping(self, *, broken: str = '') -> Keeping:
        config, saved = shlex.quote(str(self.config)), shlex.quote(str(self.run / 'saved'))
        return Keeping(
            undo=f'[ ! -e {saved} ] || cp {saved} {config} || exit 1\n{broken}',
            scripts=(
                ('change', f'[ -e {saved} ] || cp {config} {saved} || exit 1\ncat >{config}\necho changed'),
                ('fail', 'echo "that went wrong: $(cat)" >&2; exit 7'),
                ('long', 'yes | head -c 5000000'),
                ('slow', f'sleep 6; [ -e {saved} ] || cp {config} {saved} || exit 1\nprintf %s "allow all;" >{config}\n'
                         'echo done at last'),
            ),
        )

    def pid(self, name: str) -> int:
        return int((self.run / name).read_text())

    @property
    def untouched(self) -> bool:
        return self.config.read_bytes() == BEFORE and not self.run.exists()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    yield made
    for shell in made.shells:
        shell.close()


def test_what_was_changed_is_put_back_at_the_end(machine: Machine) -> None:
    warden = machine.warden()
    with kept(warden, machine.keeping()):
        done = warden.act('change', "it's $(off) 'now' \xfc\udcff\n")
        assert (done.status, done.text) == (0, 'changed\n')
        assert machine.config.read_bytes() == "it's $(off) 'now' ü".encode() + b'\xff\n'
        guard = machine.pid('guarded')
    assert machine.untouched
    eventually(lambda: not Path(f'/proc/{guard}').exists())
    warden.close()


def test_a_script_that_fails_is_a_result_with_its_words(machine: Machine) -> None:
    warden = machine.warden()
    with kept(warden, machine.keeping()):
        assert warden.act('fail', 'so').text == 'that went wrong: so\n'
        assert warden.act('fail').status == 7
        assert len(warden.act('long').output) == 1_000_000
    assert machine.untouched


def cut_off(machine: Machine, warden: Warden) -> None:
    warden.close()


def keeper_killed(machine: Machine, warden: Warden) -> None:
    os.kill(machine.pid('pid'), signal.SIGKILL)


def keeper_hangs(machine: Machine, warden: Warden) -> None:
    os.kill(machine.pid('pid'), signal.SIGSTOP)


def keeper_ended(machine: Machine, warden: Warden) -> None:
    os.kill(machine.pid('pid'), signal.SIGTERM)


@pytest.mark.parametrize('end', [cut_off, keeper_killed, keeper_hangs, keeper_ended])
def test_it_is_put_back_without_anybody_asking(machine: Machine, end: Callable[[Machine, Warden], None]) -> None:
    warden = machine.warden(patience=2)
    warden.keep(machine.keeping())
    warden.act('change', 'allow all;')
    end(machine, warden)
    eventually(lambda: machine.untouched)


def test_the_guard_alone_is_not_needed(machine: Machine) -> None:
    warden = machine.warden()
    with kept(warden, machine.keeping()):
        warden.act('change', 'allow all;')
        os.kill(machine.pid('guarded'), signal.SIGKILL)
    assert machine.untouched


def test_nothing_kept_leaves_nothing(machine: Machine) -> None:
    warden = machine.warden()
    assert machine.run.is_dir()
    warden.close()
    eventually(lambda: machine.untouched)


def test_a_second_run_is_refused_and_names_the_first(machine: Machine) -> None:
    first = machine.warden()
    with kept(first, machine.keeping()):
        first.act('change', 'allow all;')
        with pytest.raises(SiteBusy, match='me at here'):
            machine.warden()
        with pytest.raises(SiteBusy):
            recover(machine.shell(), directory=str(machine.run))
        assert machine.config.read_text() == 'allow all;'
    assert machine.untouched


def test_an_interrupted_run_is_found_and_finished(machine: Machine) -> None:
    """As after a power cut: both keepers are gone, the directory is there."""
    warden = machine.warden()
    warden.keep(machine.keeping())
    warden.act('change', 'allow all;')
    for name in ('guarded', 'pid'):
        os.kill(machine.pid(name), signal.SIGKILL)
    warden.close()  # so that its pid is free
    with pytest.raises(Unfinished, match='me at here'):
        machine.warden()
    assert machine.config.read_text() == 'allow all;'
    done = recover(machine.shell(), directory=str(machine.run))
    assert done is not None
    assert done.status == 0
    assert machine.untouched
    assert recover(machine.shell(), directory=str(machine.run)) is None


def test_a_pid_that_another_process_has_now_is_not_taken_for_the_keeper(machine: Machine) -> None:
    machine.run.mkdir()
    (machine.run / 'pid').write_text(f'{os.getpid()}\n')
    (machine.run / 'beat').write_text(f'{int(time.time()) - 3600}\n')
    (machine.run / 'who').write_text('an older run')
    with pytest.raises(Unfinished, match='an older run'):
        machine.warden()


def test_a_way_back_that_fails_is_told_and_kept(machine: Machine) -> None:
    warden = machine.warden()
    broken = machine.keeping(broken='echo the disk is full; exit 1')
    with pytest.raises(NotRestored, match='the disk is full'), kept(warden, broken):
        warden.act('change', 'allow all;')
    assert (machine.run / 'undo').exists()
    (machine.run / 'undo').write_text(machine.keeping().undo)  # somebody made room
    warden.close()
    eventually(lambda: machine.untouched)


def test_the_guard_of_an_earlier_run_does_not_put_back_a_later_one(machine: Machine) -> None:
    for _ in range(3):  # one begins before the guard of the last has seen its end
        warden = machine.warden()
        with kept(warden, machine.keeping()):
            guard = machine.pid('guarded')
            warden.act('change', 'allow all;')
        warden.close()
    later = machine.warden()
    with kept(later, machine.keeping()):
        later.act('change', 'allow all;')
        assert eventually(lambda: not Path(f'/proc/{guard}').exists())
        assert machine.config.read_text() == 'allow all;'
    assert machine.untouched


def test_a_run_whose_directory_is_gone_is_told_so(machine: Machine) -> None:
    warden = machine.warden()
    warden.keep(machine.keeping())
    machine.run.rename(machine.root / 'gone')
    done = warden.act('change', 'allow all;')
    assert (done.status, done.text) == (1, f'{machine.run} is gone\n')
    assert machine.config.read_bytes() == BEFORE
    (machine.root / 'gone').rename(machine.run)
    warden.close()
    assert eventually(lambda: machine.untouched)


def test_a_late_answer_is_not_taken_for_that_of_the_way_back(machine: Machine) -> None:
    warden = machine.warden()
    slow = replace(machine.keeping(), scripts=(*machine.keeping().scripts, ('slow', 'sleep 3')))
    with pytest.raises(NotRestored, match='nobody has seen it'), kept(warden, slow):  # noqa: PT012 - the change comes first
        warden.act('change', 'allow all;')
        warden.act('slow', seconds=0.2)
    warden.close()
    assert eventually(lambda: machine.untouched)


def test_an_undo_left_halfway_is_taken_over(machine: Machine) -> None:
    warden = machine.warden()
    with kept(warden, machine.keeping()):
        warden.act('change', 'allow all;')
        (machine.run / 'free').rename(machine.run / 'undoing.999999999')
    assert machine.untouched


@pytest.fixture
def crowded(tmp_path: Path) -> Iterator[Path]:
    """A directory on a file system of its own that can be filled to the last inode."""
    if os.geteuid() != 0:
        pytest.skip('only root can mount')
    place = tmp_path / 'crowded'
    place.mkdir()
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=256k,nr_inodes=40', 'none', str(place)]
    subprocess.run(mount, check=True, timeout=30)
    yield place
    subprocess.run(['umount', '--lazy', str(place)], check=True, timeout=30)  # processes may be just about to leave it


def fill(place: Path) -> None:
    """Take every block and every inode that is left."""
    for number in range(100):
        with contextlib.suppress(OSError):
            (place / f'full-{number}').write_bytes(b'x' * 65536)
    with pytest.raises(OSError, match='No space'):
        (place / 'more').mkdir()


@pytest.mark.parametrize('end', [None, cut_off, keeper_killed])
def test_a_disk_that_is_full_by_then_keeps_nothing_from_being_put_back(
    tmp_path: Path, crowded: Path, end: Callable[[Machine, Warden], None] | None,
) -> None:
    machine = Machine(tmp_path, crowded / 'run')
    warden = machine.warden(patience=2)
    warden.keep(machine.keeping())
    warden.act('change', 'allow all;')
    fill(crowded)
    if end is None:
        assert warden.put_back().status == 0
    else:
        end(machine, warden)
    eventually(lambda: machine.untouched)
    assert machine.untouched
    for shell in machine.shells:
        shell.close()


def test_a_disk_that_is_full_from_the_beginning_is_refused_and_nothing_stays(tmp_path: Path, crowded: Path) -> None:
    machine = Machine(tmp_path, crowded / 'run')
    fill(crowded)
    with pytest.raises((ModeUnavailable, ShellError)):
        machine.warden().keep(machine.keeping())
    eventually(lambda: machine.untouched)
    assert machine.untouched


def test_a_script_that_takes_longer_than_silence_may_last_is_not_taken_for_silence(machine: Machine) -> None:
    warden = machine.warden(patience=2)
    with kept(warden, machine.keeping()):
        assert warden.act('slow').text == 'done at last\n'
        assert machine.config.read_text() == 'allow all;'
    assert machine.untouched


def test_a_keeper_that_is_killed_takes_its_script_along(machine: Machine) -> None:
    """Else it would go on changing what has just been put back."""
    warden = machine.warden(patience=2)
    warden.keep(machine.keeping())
    working = threading.Thread(target=_tried, args=(warden,))
    working.start()
    eventually((machine.run / 'acting').exists)
    os.kill(machine.pid('pid'), signal.SIGKILL)
    warden.close()  # so that its pid is free
    eventually(lambda: machine.untouched)
    working.join(timeout=30)
    time.sleep(7)  # when the script would have changed the file
    assert machine.untouched


def _tried(warden: Warden) -> None:
    with contextlib.suppress(WpauditError):
        warden.act('slow')


@pytest.mark.parametrize('obstacle', ['file', 'link', 'nowhere'])
def test_a_directory_that_cannot_be_ours_is_refused(machine: Machine, obstacle: str) -> None:
    if obstacle == 'file':
        machine.run.write_text('mine')
    elif obstacle == 'link':
        machine.run.symlink_to(machine.root)
    else:
        machine = Machine(machine.root, machine.root / 'missing' / 'run')
    with pytest.raises(ModeUnavailable, match='cannot be made'):
        machine.warden()


def test_without_a_place_for_scripts_nothing_is_changed(machine: Machine) -> None:
    warden = machine.warden()
    machine.run.rename(machine.root / 'gone')
    with pytest.raises(ShellError, match='cannot be written'):
        warden.keep(machine.keeping())
    assert machine.config.read_bytes() == BEFORE
    warden.close()
