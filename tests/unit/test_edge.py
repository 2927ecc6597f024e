"""Every exception ends in one sentence and the documented exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from wpaudit import errors
from wpaudit.edge import guarded
from wpaudit.errors import Interrupted
from wpaudit.errors import WpauditError
from wpaudit.signals import ENDING

KINDS = [
    (kind, kind.exit_code) for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, WpauditError)
]
DOCUMENTED = {
    'UsageError': 2, 'CannotStart': 4, 'ShellError': 4, 'HostKeyError': 4, 'AuthenticationError': 4,
    'CommandTimeout': 4, 'ConnectionLost': 4, 'SiteError': 4, 'ModeUnavailable': 4, 'SiteBusy': 4, 'Unfinished': 5,
    'NotRestored': 5, 'Inconclusive': 6, 'BudgetSpent': 6, 'Unsteady': 6,
}


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv('XDG_STATE_HOME', str(tmp_path))
    return tmp_path / 'wpaudit'


@pytest.mark.parametrize(('kind', 'code'), KINDS)
def test_expected_errors(kind: type[WpauditError], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    told: list[tuple[str, str, int]] = []
    with pytest.raises(SystemExit) as left, guarded(lambda *said: told.append(said)):
        raise kind('it is \x1b[31mwrong\nhere', hint='do\tthat')
    assert left.value.code == code == DOCUMENTED.get(kind.__name__, 4)
    assert told == [('it is \x1b[31mwrong\nhere', 'do\tthat', code)]
    out, err = capsys.readouterr()
    assert out == ''
    assert err == 'wpaudit: it is \\x1b[31mwrong\\nhere\n         do\\tthat\n'


@pytest.mark.parametrize(('number', 'code'), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_interruptions(number: int, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left, guarded():
        raise Interrupted(number)
    assert left.value.code == code
    assert 'interrupted' in capsys.readouterr().err


def test_nothing_wrong_is_nothing_said(capsys: pytest.CaptureFixture[str]) -> None:
    with guarded():
        pass
    with pytest.raises(SystemExit) as left, guarded():
        sys.exit(3)
    assert left.value.code == 3
    assert capsys.readouterr() == ('', '')


def test_a_bug_is_logged_without_the_arguments(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, 'argv', ['wpaudit', 'bisect', '--cookie', 'session=hunter2'])
    told: list[tuple[str, str, int]] = []
    with pytest.raises(SystemExit) as left, guarded(lambda *said: told.append(said)):
        raise KeyError('oops')
    assert left.value.code == 70
    assert told[0][2] == 70
    (log,) = (state / 'logs').iterdir()
    text = log.read_text()
    assert "KeyError: 'oops'" in text
    assert 'Traceback' in text
    assert 'hunter2' not in text
    assert log.stat().st_mode & 0o777 == 0o600
    err = capsys.readouterr().err
    assert str(log) in err
    assert 'Traceback' not in err


def test_a_bug_that_cannot_be_logged_is_printed(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state.touch()
    with pytest.raises(SystemExit) as left, guarded():
        raise KeyError('oops')
    assert left.value.code == 70
    err = capsys.readouterr().err
    assert 'Traceback' in err
    assert 'what is printed above' in err


def test_a_reader_that_left_does_not_change_the_exit_code() -> None:
    def gone(message: str, hint: str, code: int) -> None:
        raise BrokenPipeError

    with pytest.raises(SystemExit) as left, guarded(gone):
        raise errors.SiteError('no')
    assert left.value.code == 4


# -- the end of the process ---------------------------------------------------------------------------

def ended(code: str, stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess[bytes]:
    program = f'import sys\nfrom wpaudit.edge import ended_at_once\ndef main():\n    {code}\nended_at_once(main)'
    return subprocess.run(
        [sys.executable, '-c', program], stdout=stdout, stderr=subprocess.PIPE, timeout=60, check=False)


@pytest.mark.parametrize(('code', 'status'), [
    ('print("all of it")', 0), ('print("all of it"); sys.exit(3)', 3), ('print("all of it"); sys.exit()', 0),
])
def test_the_process_ends_with_its_status_and_all_it_printed(code: str, status: int) -> None:
    done = ended(code)
    assert (done.returncode, done.stdout, done.stderr) == (status, b'all of it\n', b'')


def test_a_sentence_as_status_is_printed() -> None:
    done = ended('sys.exit("so it is")')
    assert (done.returncode, done.stderr) == (1, b'so it is\n')


def test_output_that_cannot_be_written_is_no_success() -> None:
    with open('/dev/full', 'wb') as full:
        done = ended('print("lost")', stdout=full.fileno())
        shown = subprocess.run(
            [sys.executable, '-m', 'wpaudit', '--help'], stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    for one in (done, shown):
        assert one.returncode == 4
        assert one.stderr == b'wpaudit: the output could not be written: No space left on device\n'


def test_a_reader_that_has_left_is_no_error_to_talk_about() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = ended('print("lost")', stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (128 + 13, b'')


@pytest.mark.parametrize('number', ENDING)
def test_a_signal_while_modules_are_loaded_ends_it_without_a_traceback(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / 'click.py').write_text('import time\nprint("loading", flush=True)\ntime.sleep(60)\n')
    with subprocess.Popen(
        [sys.executable, '-m', 'wpaudit', '--help'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, 'PYTHONPATH': f'{tmp_path}:{Path(__file__).parents[2]}'},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == 'loading\n'
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (128 + number, '', '')
