"""The record on this machine: whole or not at all, private, and bounded."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from wpaudit import journal
from wpaudit.errors import CannotStart
from wpaudit.journal import FileJournal
from wpaudit.journal import state_directory
from wpaudit.journal import written


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_an_entry_comes_and_goes(tmp_path: Path) -> None:
    one = FileJournal('me@shop.example/srv/www', tmp_path / 'state')
    assert one.entry() is None
    one.opened({'digest': 'd', 'rows': [{'raw': 'x'}]})
    again = FileJournal('me@shop.example/srv/www', tmp_path / 'state')
    entry = again.entry()
    assert entry is not None
    assert (entry['target'], entry['digest']) == ('me@shop.example/srv/www', 'd')
    again.closed()
    again.closed()
    assert one.entry() is None
    assert list((tmp_path / 'state' / 'open').iterdir()) == []


def test_everything_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        one = FileJournal('x', tmp_path / 'state')
        one.opened({})
        record = one.record('{}')
    finally:
        os.umask(before)
    assert [mode(path) for path in (one.path, record)] == [0o600, 0o600]
    assert [mode(path.parent) for path in (one.path, record)] == [0o700, 0o700]


@pytest.mark.parametrize('target', ['', '../../etc', 'a/b', 'x' * 5000, '\udcff', '\x1b[2J', 'a b;$(c)', '.', '@alias'])
def test_any_target_names_a_file_of_its_own(tmp_path: Path, target: str) -> None:
    one, other = FileJournal(target, tmp_path), FileJournal(target + '2', tmp_path)
    one.opened({})
    other.opened({})
    assert one.path != other.path
    assert one.path.parent == tmp_path / 'open'
    assert one.path.name.isprintable()
    assert one.entry() is not None


def test_a_crash_while_writing_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = FileJournal('x', tmp_path)
    one.opened({'run': 1})

    def power_cut(descriptor: int) -> None:
        raise OSError(5, 'Input/output error')

    monkeypatch.setattr(journal.os, 'fsync', power_cut)
    with pytest.raises(CannotStart, match='Input/output error'):
        one.opened({'run': 2})
    entry = one.entry()
    assert entry is not None
    assert entry['run'] == 1
    assert list(one.path.parent.iterdir()) == [one.path]


def test_file_and_directory_are_on_disk_before_it_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(os.readlink(f'/proc/self/fd/{descriptor}'))
        real(descriptor)

    monkeypatch.setattr(journal.os, 'fsync', fsync)
    written(tmp_path / 'file', 'text')
    assert Path(synced[0]).parent == tmp_path
    assert synced[1] == str(tmp_path)


@pytest.mark.parametrize('text', ['', '[1]', '{"half": ', '\0', '5'])
def test_a_damaged_entry_is_none(tmp_path: Path, text: str) -> None:
    one = FileJournal('x', tmp_path)
    one.opened({})
    one.path.write_text(text)
    assert one.entry() is None


def test_whether_it_can_be_kept_is_known_before(tmp_path: Path) -> None:
    FileJournal('x', tmp_path).must_be_writable()
    assert [path for path in tmp_path.rglob('*') if path.is_file()] == []
    (tmp_path / 'file').touch()
    one = FileJournal('x', tmp_path / 'file')
    for attempt in (one.must_be_writable, lambda: one.opened({})):
        with pytest.raises(CannotStart, match='cannot be written: Not a directory') as caught:
            attempt()
        assert 'XDG_STATE_HOME' in caught.value.hint
    one.closed()


def test_old_records_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, 'KEPT_RECORDS', 3)
    stamps = iter(f'2026010{day}T000000Z' for day in range(1, 7))
    monkeypatch.setattr(journal.time, 'strftime', lambda *_: next(stamps))
    one = FileJournal('x', tmp_path)
    records = [one.record(json.dumps(number)) for number in range(6)]
    assert sorted((tmp_path / 'runs').iterdir()) == records[3:]
    assert [path.read_text() for path in records[3:]] == ['3', '4', '5']


def test_text_that_is_not_utf8_is_kept_readable(tmp_path: Path) -> None:
    written(tmp_path / 'file', 'caf\udce9')
    assert (tmp_path / 'file').read_text() == 'caf\\udce9'


@pytest.mark.parametrize(('base', 'expected'), [('/var/state', '/var/state/wpaudit'), ('relative', None), ('', None)])
def test_where_it_is(monkeypatch: pytest.MonkeyPatch, base: str, expected: str | None) -> None:
    monkeypatch.setenv('XDG_STATE_HOME', base)
    monkeypatch.setenv('HOME', '/home/me')
    assert str(state_directory()) == (expected or '/home/me/.local/state/wpaudit')
