"""The configuration of real servers changed and put back: by rename, tested first, reloaded gracefully."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.firewalls.modsecurity import ENGINES
from fixtures.firewalls.modsecurity import Name
from fixtures.firewalls.modsecurity import Server
from fixtures.lab import processes
from fixtures.lab.traces import eventually
from wpaudit.domain import Mode
from wpaudit.errors import ModeUnavailable
from wpaudit.errors import NotRestored
from wpaudit.errors import Unfinished
from wpaudit.firewalls.acting import Acting
from wpaudit.firewalls.reading import read_files
from wpaudit.firewalls.serverconf import Addition
from wpaudit.firewalls.serverconf import Change
from wpaudit.firewalls.serverconf import Edit
from wpaudit.firewalls.serverconf import beside
from wpaudit.firewalls.serverconf import reconfigured
from wpaudit.firewalls.serverconf import renew
from wpaudit.firewalls.switching import kept_in
from wpaudit.firewalls.switching import recovered
from wpaudit.ports import Ground
from wpaudit.ports import Shell
from wpaudit.shells.local import LocalShell

LAYER = 'test'
RULE = 'SecRule ARGS:q "@streq {0}" "id:{1},phase:1,deny,status:503"\n'


@dataclass
class Host:
    """A server whose rule file is a link, and a login as the user who runs it."""

    server: Server
    keep: str

    @property
    def file(self) -> Path:
        return self.server.root / 'real.conf'

    @property
    def shell(self) -> Shell:
        if os.geteuid() != 0:
            return LocalShell()
        return Acting(LocalShell(), ('runuser', '-u', self.server.account.name, '--'))

    @property
    def ground(self) -> Ground:
        return Ground(self.shell, str(self.server.docroot), '', by='me', keep=self.keep)

    @property
    def directory(self) -> Path:
        return Path(kept_in(self.ground, LAYER))

    def change(self, text: str = RULE.format('new', 71), more: str = RULE.format('more', 72)) -> Change:
        """Add a rule and include a file of ours."""
        linked = str(self.server.root / 'link.conf')
        file = read_files(self.shell, [linked])[linked]
        assert file.real == str(self.file)
        word = secrets.token_hex(8)
        added = Addition(f'{beside(file.real, word)}/added', more)
        new = f'{text}Include {added.path}\n{file.text}'
        return Change((str(self.server.configuration),), (Edit(file.real, file.text, new),), (added,), word)

    def seen(self) -> tuple[object, ...]:
        """Everything about the file but ctime, and what lies beside it."""
        stat = self.file.lstat()
        names = sorted(one.name for one in self.server.root.iterdir())
        return stat.st_ino, stat.st_mode, stat.st_uid, stat.st_nlink, stat.st_mtime_ns, self.file.read_bytes(), names

    def answers(self) -> list[int]:
        return [self.server.get(f'/?q={word}').status for word in ('new', 'more', 'old', 'page')]

    def children(self) -> set[int]:
        return {one.pid for one in processes.descendants(self.server.process)}


@contextmanager
def host_of(name: Name, keep: Path) -> Iterator[Host]:
    files = {'real.conf': '# \udcff\n' + RULE.format('old', 70)}
    with Server(name, 'Include @ROOT@/link.conf\n', files=files, links={'link.conf': 'real.conf'}) as server:
        keep.parent.chmod(0o777)
        found = Host(server, str(keep))
        server.get('/')
        yield found


@contextmanager
def private(name: Name) -> Iterator[Host]:
    """Hold a host with a directory for wardens of its own."""
    directory = Path('/var/tmp') / f'wpaudit-test-{secrets.token_hex(4)}'
    directory.mkdir()
    try:
        with host_of(name, directory / 'keep') as found:
            yield found
    finally:
        shutil.rmtree(directory)


@pytest.fixture(scope='module', params=ENGINES)
def module_host(request: pytest.FixtureRequest) -> Iterator[Host]:
    with private(request.param) as found:
        yield found


@pytest.fixture
def host(module_host: Host) -> Iterator[Host]:
    before = module_host.seen()
    assert module_host.answers() == [200, 200, 503, 200]
    yield module_host
    assert module_host.seen() == before
    assert module_host.answers() == [200, 200, 503, 200]
    assert not module_host.directory.exists()


def test_a_change_is_read_and_put_back(host: Host) -> None:
    with reconfigured(host.ground, LAYER, host.change()) as (_, make):
        switcher = make(Mode.ISOLATED, lambda _off: (), parallel=True)
        assert host.answers() == [503, 503, 503, 200]
    left = switcher.restoration()
    assert left.verified
    assert left.message == f'{"nginx" if host.server.name == "nginx" else "apache2"} was reloaded twice, gracefully'


def test_a_file_of_ours_is_renewed(host: Host) -> None:
    change = host.change()
    with reconfigured(host.ground, LAYER, change) as (warden, _):
        renew(warden, [Addition(change.additions[0].path, RULE.format('page', 73))])
        assert host.answers() == [503, 200, 503, 503]


def test_what_the_server_would_refuse_is_never_read(host: Host) -> None:
    children = host.children()
    with pytest.raises(ModeUnavailable, match=r'would refuse it: .*SecNonsense'):
        with reconfigured(host.ground, LAYER, host.change('SecNonsense On\n')):
            raise AssertionError('it was taken')
    assert host.children() >= children


def test_a_file_that_was_changed_since_it_was_read_is_not_touched(host: Host) -> None:
    change = host.change()
    [edit] = change.edits
    other = Change(change.servers, (Edit(edit.path, edit.old + '#', edit.new),), change.additions, change.word)
    with pytest.raises(ModeUnavailable, match='is not what it was when it was read'):
        with reconfigured(host.ground, LAYER, other):
            raise AssertionError('it was taken')


def test_another_login_is_told_what_to_do(host: Host) -> None:
    ground = host.ground
    nobody = Acting(LocalShell(), ('runuser', '-u', 'nobody', '--'))
    with pytest.raises(ModeUnavailable, match='runs as user'):
        with reconfigured(Ground(nobody, ground.path, ground.url, keep=ground.keep), LAYER, host.change()):
            raise AssertionError('it was taken')


def test_a_configuration_that_nobody_runs_is_not_changed(host: Host) -> None:
    change = host.change()
    with pytest.raises(ModeUnavailable, match='no web server is seen to run with /nowhere'):
        with reconfigured(host.ground, LAYER, Change(('/nowhere',), change.edits, change.additions, change.word)):
            raise AssertionError('it was taken')


def test_a_server_that_does_not_read_what_it_has_tested_gets_the_old_files_back() -> None:
    """nginx tests no port that somebody else listens at, and cannot bind it then."""
    with private('nginx') as host, socket.create_server(('127.0.0.1', 0)) as taken:
        before = host.seen()
        path = str(host.server.configuration)
        text = host.server.configuration.read_text()
        listen = f'http {{\nserver {{ listen 127.0.0.1:{taken.getsockname()[1]}; }}\n'
        edit = Edit(path, text, text.replace('http {\n', listen, 1))
        change = Change((path,), (edit,), word=secrets.token_hex(8), patience=2)
        with pytest.raises(ModeUnavailable, match='still answers with its old configuration after 2 seconds'):
            with reconfigured(host.ground, LAYER, change):
                raise AssertionError('it was taken')
        assert host.seen() == before
        assert host.answers() == [200, 200, 503, 200]


@pytest.mark.parametrize('name', ENGINES)
def test_a_server_that_has_ended_gets_its_files_back(name: Name) -> None:
    with private(name) as host:
        before = host.seen()
        with reconfigured(host.ground, LAYER, host.change()) as (_, make):
            switcher = make(Mode.ISOLATED, lambda _off: (), parallel=True)
            processes.end([host.server.process])
            (host.server.root / 'server.pid').unlink(missing_ok=True)
        assert host.file.read_bytes() == before[5]
        assert host.seen()[0] == before[0]
        assert switcher.restoration().verified
        assert switcher.restoration().message.endswith('was reloaded once, gracefully')


def test_the_second_keeper_puts_it_back(host: Host) -> None:
    before = host.seen()
    with pytest.raises(NotRestored):  # noqa: PT012 - what is in between is what breaks it
        with reconfigured(host.ground, LAYER, host.change()):
            assert host.answers() == [503, 503, 503, 200]
            os.kill(int((host.directory / 'pid').read_text()), signal.SIGKILL)
            assert eventually(lambda: host.seen() == before)
            assert eventually(lambda: not host.directory.exists())
            assert host.answers() == [200, 200, 503, 200]


def test_what_somebody_wrote_meanwhile_is_theirs(host: Host) -> None:
    before = host.file.read_bytes()
    with pytest.raises(NotRestored, match='somebody changed'):  # noqa: PT012 - what is in between is what breaks it
        with reconfigured(host.ground, LAYER, host.change()):
            with host.file.open('a') as handle:
                handle.write('# theirs\n')
            theirs = host.seen()
    assert host.seen()[:-1] == theirs[:-1]
    assert host.server.check() == ''
    with pytest.raises(Unfinished):
        with reconfigured(host.ground, LAYER, host.change()):
            raise AssertionError('it was taken')
    done = recovered(host.ground, LAYER)
    assert done is not None
    assert done.status == 1
    [old] = host.server.root.glob('.wpaudit-*/0.old')
    assert old.read_bytes() == before
    old.rename(host.file)  # they chose the old one
    done = recovered(host.ground, LAYER)
    assert done is not None
    assert done.status == 0
    assert recovered(host.ground, LAYER) is None
    host.server.reload()
