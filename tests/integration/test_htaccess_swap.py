"""Files of rules swapped on a real Apache and put back: seen by nobody, whoever interferes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.firewalls.apache import Apache
from fixtures.firewalls.visits import Visit
from fixtures.firewalls.visits import rule_text
from fixtures.lab.traces import below
from fixtures.lab.traces import eventually
from wpaudit.domain import Mode
from wpaudit.domain import Request
from wpaudit.domain import Suspect
from wpaudit.errors import ConnectionLost
from wpaudit.errors import ModeUnavailable
from wpaudit.errors import NotRestored
from wpaudit.firewalls.htaccess import Htaccess
from wpaudit.firewalls.htaccess import advice
from wpaudit.firewalls.htaccess import restored
from wpaudit.firewalls.warden import Done
from wpaudit.firewalls.warden import Warden
from wpaudit.ports import Ground
from wpaudit.ports import Switcher
from wpaudit.shells.local import LocalShell

TEXT = (
    'RewriteEngine On\nRewriteRule ^page\\.html$ - [R=502,L]\n<RequireAll>\nRequire all granted\n'
    'Require not ip 10.0.0.1\n</RequireAll>\nRedirect 502 /xmlrpc.html\n'
)
BLOCKED = (('page.html', '127.0.0.1', 2), ('index.html', '10.0.0.1', 5), ('xmlrpc.html', '127.0.0.1', 7))


def seen(path: Path) -> tuple[object, ...]:
    """Everything about a file but the time of its last change of names (ctime), which nobody can put back."""
    stat = path.lstat()
    return stat.st_ino, stat.st_mode, stat.st_uid, stat.st_gid, stat.st_nlink, stat.st_mtime_ns, path.read_bytes()


@dataclass
class Place:
    """A site of nothing but files, on an Apache, with a shell to its host."""

    apache: Apache
    shell: LocalShell
    keep: Path

    @property
    def file(self) -> Path:
        return self.apache.docroot / '.htaccess'

    @property
    def ground(self) -> Ground:
        account = self.apache.account
        become = () if account.uid == os.geteuid() else ('runuser', '-u', account.name, '--')
        url = f'http://127.0.0.1:{self.apache.port}'
        return Ground(self.shell, f'{self.apache.docroot}/', url, become=become, by='me', keep=str(self.keep / 'run'))

    @property
    def layer(self) -> Htaccess:
        return Htaccess(self.ground)

    def put(self, text: str) -> tuple[object, ...]:
        """Write the site's rules as its owner would; return what the file is then."""
        self.apache.site(self.apache.docroot, text.encode('utf-8', 'surrogateescape'))
        self.file.chmod(0o640)
        os.utime(self.file, ns=(1_600_000_000_123_456_789, 1_600_000_000_123_456_789))
        return seen(self.file)

    def status(self, path: str, address: str = '127.0.0.1', fields: object = ()) -> int:
        visit = Visit(path, address, more=tuple(fields))  # type: ignore[arg-type]  # pairs, as a request has them
        return self.apache.get(f'/{path}', visit.headers).status

    def rules(self) -> list[Suspect]:
        return [one for one in self.layer.listing()[0] if one.id.startswith(f'{self.file}:')]

    @property
    def clean(self) -> bool:
        """Whether nothing of a run is left: names beside the files, directories, the warden's own."""
        return not [path for path in below(self.apache.docroot) if 'wpaudit' in path.name] and not any(
            self.keep.iterdir())


@pytest.fixture(scope='module')
def apache() -> Iterator[Apache]:
    with Apache() as server:
        yield server


@pytest.fixture
def place(apache: Apache, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    keep = apache.root / f'keep-{tmp_path_factory.mktemp("keep").name}'
    keep.mkdir()
    apache.account.own_tree(keep)
    shell = LocalShell()
    yield Place(apache, shell, keep)
    shell.close()
    for path in apache.docroot.rglob('.htaccess*'):
        path.unlink()


def fields(switcher: Switcher, *off: str) -> tuple[tuple[str, str], ...]:
    with switcher.switched(frozenset(off)) as step:
        return step.prepare(Request('http://site.test/')).headers


def test_each_rule_is_off_for_the_request_that_says_so_and_for_no_other(place: Place) -> None:
    before = place.put(TEXT)
    with place.layer.switching(Mode.ISOLATED) as switcher:
        assert place.file.stat().st_ino != before[0]
        assert place.file.stat().st_mode == before[1]
        assert switcher.parallel
        for path, address, line in BLOCKED:
            wrong = place.status(path, address)
            assert wrong in (403, 502)
            rule = f'{place.file}:{line}'
            assert place.status(path, address, fields(switcher)) == wrong
            assert place.status(path, address, fields(switcher, rule)) == 200
            others = [f'{place.file}:{other}' for *_, other in BLOCKED if other != line]
            assert place.status(path, address, fields(switcher, *others)) == wrong
    assert seen(place.file) == before
    assert place.clean
    assert switcher.restoration().verified
    assert switcher.restoration().before == switcher.restoration().after != ''


def test_two_layers_in_one_request_do_not_disturb_each_other(place: Place) -> None:
    place.put(TEXT)
    other = (('X-Wpaudit-Rules', 'a' * 32), ('X-Wpaudit-Off', ',1,2,3,'), ('X-Wpaudit', 'b' * 32))
    with place.layer.switching(Mode.ISOLATED) as switcher:
        assert place.status('page.html', fields=other) == 502
        assert place.status('page.html', fields=(*other, *fields(switcher))) == 502
        assert place.status('page.html', fields=(*other, *fields(switcher, f'{place.file}:2'))) == 200


def test_live_exactly_what_is_asked_for_is_off_for_everybody(place: Place) -> None:
    before = place.put(TEXT)
    with place.layer.switching(Mode.LIVE) as switcher:
        assert seen(place.file)[:1] + seen(place.file)[-1:] == before[:1] + before[-1:]  # nothing is changed yet
        assert not switcher.parallel
        wrong = [place.status(path, address) for path, address, _ in BLOCKED]
        for chosen in ([2], [5], [7], [2, 7], [2, 5, 7], []):
            off = frozenset(f'{place.file}:{line}' for line in chosen)
            with switcher.switched(off) as step:
                assert step.prepare(Request('http://site.test/')).headers == ()
            assert [place.status(path, address) for path, address, _ in BLOCKED] == [
                200 if line in chosen else status for status, (*_, line) in zip(wrong, BLOCKED, strict=True)]
            assert place.file.stat().st_mode == before[1]
        assert place.file.stat().st_ino == before[0]  # with nothing off it is the very file again
        fields(switcher, f'{place.file}:2')
    assert seen(place.file) == before
    assert place.clean
    assert switcher.restoration().verified
    assert 0 < switcher.restoration().changed_seconds < 30


@pytest.mark.parametrize('victims', [('pid',), ('pid', 'guarded')])
@pytest.mark.parametrize('order', ['stage', 'turn', ''])
def test_live_it_comes_back_from_wherever_it_was_cut_off(
    place: Place, victims: tuple[str, ...], order: str, monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = place.put(TEXT)
    act, made = Warden.act, []

    def cut_off(warden: Warden, name: str, text: str = '', **more: float) -> Done:
        done = act(warden, name, text, **more)
        made.append(name)
        if made.count(order) == 2:  # the text of the first set is in place
            kill(warden.directory)
        return done

    def kill(directory: str) -> None:
        for name in reversed(victims):
            os.kill(int((Path(directory) / name).read_text()), 9)

    monkeypatch.setattr(Warden, 'act', cut_off)
    with pytest.raises((NotRestored, ConnectionLost)), place.layer.switching(Mode.LIVE) as switcher:  # noqa: PT012 - what happens inside is the test
        fields(switcher, f'{place.file}:2')
        fields(switcher, f'{place.file}:5')
        [run] = place.keep.iterdir()
        kill(str(run))
    if 'guarded' in victims:
        done = restored(place.ground)
        assert done is not None
        assert done.status == 0
    assert eventually(lambda: seen(place.file) == before)
    assert eventually(lambda: place.clean)


def test_live_a_text_that_the_web_server_refuses_is_met_by_nobody(
    place: Place, monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = place.put(TEXT)
    statuses: list[int] = []
    with watched(place, statuses):
        monkeypatch.setattr('wpaudit.firewalls.apache.wrapper.END', '# wpaudit )\nNonsense')
        with pytest.raises(ModeUnavailable, match='answers 500 instead of 200'), place.layer.switching(Mode.LIVE):
            pytest.fail('it was put in place')
        monkeypatch.undo()
        with pytest.raises(ModeUnavailable, match='answers 500 instead of 200'), \
                place.layer.switching(Mode.LIVE) as switcher:  # noqa: PT012 - what happens inside is the test
            monkeypatch.setattr('wpaudit.firewalls.apache.wrapper.END', '# wpaudit )\nNonsense')
            fields(switcher, f'{place.file}:2')
    assert seen(place.file) == before
    assert place.clean
    assert set(statuses) == {200}


def test_live_swapping_under_load_is_seen_by_nobody(place: Place) -> None:
    before = place.put(TEXT)
    statuses: list[int] = []
    with watched(place, statuses), place.layer.switching(Mode.LIVE) as switcher:
        for line in (2, 5, 7, 5, 2):
            fields(switcher, f'{place.file}:{line}')
            fields(switcher)
    assert seen(place.file) == before
    assert set(statuses) == {200}
    assert len(statuses) > 20


def test_live_what_somebody_else_did_meanwhile_stays_and_is_told(place: Place) -> None:
    place.put(TEXT)
    with pytest.raises(NotRestored, match='somebody changed'), place.layer.switching(Mode.LIVE) as switcher:  # noqa: PT012
        fields(switcher, f'{place.file}:2')
        appended(place)
        theirs = seen(place.file)
        fields(switcher, f'{place.file}:5')
    assert seen(place.file) == theirs
    [kept] = place.apache.docroot.glob('.htaccess-wpaudit-*')
    kept.unlink()
    assert eventually(lambda: place.clean)


@pytest.mark.parametrize('mode', list(Mode))
def test_all_files_of_a_site_are_swapped_together(place: Place, mode: Mode) -> None:
    place.put(rule_text('deny-from'))
    inner = place.apache.docroot / 'wp-content' / '.htaccess'
    inner.parent.mkdir(exist_ok=True)
    place.apache.site(inner.parent, b'Redirect 502 /wp-content/page.html\n')
    before = seen(place.file), seen(inner)
    [denied] = [one.id for one in place.rules() if one.name == 'deny from 10.0.0.1']
    with place.layer.switching(mode) as switcher:
        assert place.status('wp-content/page.html', fields=fields(switcher)) == 502
        assert place.status('page.html', '10.0.0.1', fields(switcher)) == 403
        assert place.status('wp-content/page.html', fields=fields(switcher, f'{inner}:1')) == 200
        assert place.status('page.html', '10.0.0.1', fields(switcher, f'{inner}:1', denied)) == 200
        assert (seen(place.file)[0], seen(inner)[0]) != (before[0][0], before[1][0])
    assert (seen(place.file), seen(inner)) == before
    assert place.clean


@pytest.mark.parametrize('victims', [('pid',), ('pid', 'guarded')])
def test_a_killed_keeper_does_not_keep_it_from_coming_back(place: Place, victims: tuple[str, ...]) -> None:
    before = place.put(TEXT)
    layer = place.layer
    with pytest.raises(NotRestored), layer.switching(Mode.ISOLATED):  # noqa: PT012 - what happens inside is the test
        [run] = place.keep.iterdir()
        for name in reversed(victims):
            os.kill(int((run / name).read_text()), 9)
    if 'guarded' in victims:
        assert seen(place.file) != before
        done = restored(place.ground)
        assert done is not None
        assert done.status == 0
    assert eventually(lambda: seen(place.file) == before)
    assert eventually(lambda: place.clean)
    assert restored(place.ground) is None


@pytest.mark.parametrize('orders', [1, 2])
def test_it_is_put_back_from_wherever_it_was_cut_off(
    place: Place, orders: int, monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = place.put(TEXT)
    act, made = Warden.act, []

    def cut_off(warden: Warden, name: str, text: str = '', **more: float) -> Done:
        done = act(warden, name, text, **more)
        made.append(name)
        if len(made) == orders:
            os.kill(int((Path(warden.directory) / 'pid').read_text()), 9)
        return done

    monkeypatch.setattr(Warden, 'act', cut_off)
    with pytest.raises(NotRestored), place.layer.switching(Mode.ISOLATED):
        pass
    assert made == ['prepare', 'commit'][:orders]
    assert eventually(lambda: seen(place.file) == before)
    assert eventually(lambda: place.clean)


def test_a_name_in_the_way_is_neither_followed_nor_overwritten(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    before = place.put(TEXT)
    monkeypatch.setattr('wpaudit.firewalls.apache.swap.secrets.token_hex', lambda size: 'aa' * size)
    target = place.file.with_name('not-there')
    for name in ('.htaccess-wpaudit-aaaaaaaaaaaaaaaa', '.htaccess-wpaudit-aaaaaaaaaaaaaaaa~'):
        trap = place.file.with_name(name)
        trap.symlink_to(target)
        with pytest.raises(ModeUnavailable, match='in the way'), place.layer.switching(Mode.ISOLATED):
            pytest.fail('it was put in place')
        assert trap.is_symlink()
        trap.unlink()
    assert not target.exists()
    assert seen(place.file) == before
    assert place.clean


def replaced(place: Place) -> None:
    other = place.file.with_name('other')
    other.write_bytes(place.file.read_bytes())  # the same text in another file is somebody else's too
    place.apache.account.own(other)
    other.rename(place.file)


def appended(place: Place) -> None:
    with place.file.open('ab') as handle:  # as WordPress does
        handle.write(b'# BEGIN WordPress\n# END WordPress\n')


def state(place: Place) -> list[tuple[object, ...]]:
    """Return the file's state, nothing when there is none."""
    return [seen(place.file)] if place.file.exists() else []


def removed(place: Place) -> None:
    place.file.unlink()


@pytest.mark.parametrize('change', [replaced, appended, removed])
@pytest.mark.parametrize('choice', ['theirs', 'ours'])
def test_what_somebody_else_did_stays_and_both_are_told(
    place: Place, change: Callable[[Place], None], choice: str,
) -> None:
    before = place.put(TEXT)
    theirs: list[tuple[object, ...]] = []

    def interfere() -> None:
        change(place)
        theirs.extend(state(place))

    said = r'somebody changed \S+/\.htaccess meanwhile'
    with pytest.raises(NotRestored, match=said) as told, place.layer.switching(Mode.ISOLATED):
        interfere()
    assert state(place) == theirs
    [kept] = place.apache.docroot.glob('.htaccess-wpaudit-*')
    assert str(kept) in told.value.message
    assert kept.read_bytes() == before[-1]
    if choice == 'theirs':
        kept.unlink()
    else:
        kept.rename(place.file)
    assert eventually(lambda: place.clean)  # the second keeper sees that it was decided
    assert state(place) == (theirs if choice == 'theirs' else [before])


def test_what_somebody_wrote_to_the_old_file_comes_back_with_it_and_is_told(place: Place) -> None:
    place.put(TEXT)
    with place.file.open('ab', buffering=0) as handle:
        with pytest.raises(NotRestored, match='somebody wrote to'), place.layer.switching(Mode.ISOLATED):
            handle.write(b'# theirs\n')
    assert place.file.read_bytes() == TEXT.encode() + b'# theirs\n'
    assert eventually(lambda: place.clean)


def test_a_file_that_changed_since_it_was_listed_is_not_replaced(place: Place) -> None:
    place.put(TEXT)
    layer = place.layer
    layer.listing()
    place.put(TEXT + '# more\n')
    with pytest.raises(ModeUnavailable, match='not what it was'), layer.switching(Mode.ISOLATED):
        pass
    assert place.file.read_text() == TEXT + '# more\n'
    assert place.clean


def linked(place: Place) -> None:
    real = place.file.with_name('.htreal')
    place.file.rename(real)
    place.file.symlink_to(real)


def of_another(place: Place) -> None:
    if place.apache.account.uid == os.geteuid():
        pytest.skip('only root can make a file of another user')
    os.chown(place.file, 0, 0)
    place.file.chmod(0o644)


def closed(place: Place) -> None:
    place.apache.docroot.chmod(0o555)


@pytest.mark.parametrize(('obstacle', 'why'), [(linked, 'a link'), (of_another, 'another user'), (closed, 'beside it')])
def test_what_cannot_be_replaced_is_no_suspect_and_says_why(
    place: Place, obstacle: Callable[[Place], None], why: str,
) -> None:
    place.put(TEXT)
    obstacle(place)
    try:
        before = seen(place.file)
        found = place.rules()
        assert len(found) == len(BLOCKED)
        assert all(why in one.stuck for one in found)
        with place.layer.switching(Mode.ISOLATED):
            assert seen(place.file) == before
        assert place.clean
    finally:
        place.apache.docroot.chmod(0o755)
        place.file.with_name('.htreal').unlink(missing_ok=True)


def test_a_text_that_the_web_server_refuses_is_met_by_nobody(
    place: Place, monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = place.put(TEXT)
    monkeypatch.setattr('wpaudit.firewalls.apache.wrapper.END', '# wpaudit )\nNonsense')
    statuses: list[int] = []
    with watched(place, statuses), pytest.raises(ModeUnavailable, match='answers 500 instead of 200'), \
            place.layer.switching(Mode.ISOLATED):
        pytest.fail('it was put in place')
    assert seen(place.file) == before
    assert place.clean
    assert set(statuses) == {200}


def test_a_host_that_cannot_ask_itself_is_refused(place: Place) -> None:
    before = place.put(TEXT)
    ground = Ground(place.shell, place.ground.path, 'http://127.0.0.1:1', become=place.ground.become,
                    keep=place.ground.keep)
    with pytest.raises(ModeUnavailable, match='cannot ask its own web server'), \
            Htaccess(ground).switching(Mode.ISOLATED):
        pytest.fail('it was put in place')
    assert seen(place.file) == before
    assert place.clean


@contextmanager
def watched(place: Place, statuses: list[int]) -> Iterator[None]:
    """Ask for one page again and again, as a visitor."""
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            statuses.append(place.status('index.html'))

    asking = [threading.Thread(target=ask) for _ in range(2)]
    for thread in asking:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in asking:
            thread.join()


def test_swapping_under_load_is_seen_by_nobody(place: Place) -> None:
    before = place.put(TEXT)
    statuses: list[int] = []
    with watched(place, statuses):
        for _ in range(4):
            with place.layer.switching(Mode.ISOLATED) as switcher:
                assert place.status('page.html', fields=fields(switcher, f'{place.file}:2')) == 200
            assert seen(place.file) == before
    assert set(statuses) == {200}
    assert len(statuses) > 20


def test_advice_names_the_lines_and_what_to_write(place: Place) -> None:
    place.put(TEXT)
    [rule] = [one for one in place.rules() if one.id.endswith(':2')]
    narrow, *_ = advice(place.ground, rule, '/page.html')
    assert str(place.file) in narrow
    assert 'RewriteCond %{REQUEST_URI} !^/page\\.html$' in narrow
