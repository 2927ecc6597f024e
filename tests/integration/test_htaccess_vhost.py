"""Rules in Apache's own configuration switched on a real server: one reload in, one out, and the files as they were."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.firewalls.apache import Apache
from fixtures.firewalls.visits import VISITS
from fixtures.firewalls.visits import Visit
from fixtures.lab.traces import below
from fixtures.lab.traces import eventually
from wpaudit.domain import Mode
from wpaudit.domain import Request
from wpaudit.domain import Suspect
from wpaudit.errors import ModeUnavailable
from wpaudit.errors import NotRestored
from wpaudit.firewalls.acting import Acting
from wpaudit.firewalls.htaccess import Htaccess
from wpaudit.firewalls.htaccess import restored
from wpaudit.ports import Ground
from wpaudit.ports import Shell
from wpaudit.ports import Switcher
from wpaudit.shells.local import LocalShell

SITE = """<VirtualHost *:@PORT@>
    ServerName lab.test
    DocumentRoot "@WWW@"
    RewriteEngine On
    RewriteCond %{QUERY_STRING} one [OR]
    RewriteCond %{QUERY_STRING} two
    RewriteRule ^/(page|xmlrpc) - [R=502]
    RedirectMatch 502 ^/gone
    SetEnvIfNoCase User-Agent evilbot bad
    <Directory "@WWW@">
        RewriteEngine On
        RewriteRule ^wp-login - [F]
        <RequireAll>
            Require all granted
            Require not ip 10.0.0.1
            Require not env bad
        </RequireAll>
    </Directory>
    <Location "/xmlrpc.html">
        Order allow,deny
        Allow from all
        Deny from 10.1
    </Location>
</VirtualHost>
"""
# a visitor whom each rule stops, and who passes without it
STOPPED = {
    5: Visit('page.html?one'), 6: Visit('page.html?two'), 7: Visit('xmlrpc.html?two'), 12: Visit('wp-login.php.html'),
    15: Visit('index.html', '10.0.0.1'), 16: Visit('index.html', agent='evilbot'), 22: Visit('xmlrpc.html', '10.1.2.3'),
    8: Visit('gone.html'), 9: Visit('index.html', agent='evilbot'),
}
ALONE = [5, 6, 7, 12, 15, 16, 22]  # can be off for one request
HTACCESS = 'RewriteEngine On\nRewriteCond %{QUERY_STRING} one\nRewriteRule ^page - [R=502]\n'


def seen(path: Path) -> tuple[object, ...]:
    """Everything about a file but ctime."""
    stat = path.lstat()
    return stat.st_ino, stat.st_mode, stat.st_uid, stat.st_gid, stat.st_nlink, stat.st_mtime_ns, path.read_bytes()


@dataclass
class Host:
    """An Apache with a virtual host in a file that is linked, and a login as the user who runs it."""

    apache: Apache
    keep: Path

    @property
    def link(self) -> Path:
        return self.apache.root / 'sites-enabled/site.conf'

    @property
    def file(self) -> Path:
        return self.apache.root / 'sites-available/site.conf'

    @property
    def shell(self) -> Shell:
        account = self.apache.account
        return LocalShell() if account.uid == os.geteuid() else Acting(
            LocalShell(), ('runuser', '-u', account.name, '--'))

    @property
    def ground(self) -> Ground:
        url = f'http://127.0.0.1:{self.apache.port}'
        return Ground(self.shell, str(self.apache.docroot), url, by='me', keep=str(self.keep / 'run'))

    @property
    def layer(self) -> Htaccess:
        return Htaccess(self.ground)

    def rule(self, line: int) -> str:
        return f'{self.link}:{line}'

    def statuses(self, visits: Sequence[Visit], fields: Sequence[tuple[str, str]] = ()) -> list[int]:
        asked = [(one.method, f'/{one.path}', {**one.headers, **dict(fields)}) for one in visits]
        return [one.status for one in self.apache.replies(asked)]

    def rules(self) -> list[Suspect]:
        return [one for one in self.layer.listing()[0] if one.id.startswith(f'{self.link}:')]

    @property
    def clean(self) -> bool:
        left = [path for path in below(self.apache.root) if 'wpaudit' in path.name]
        return not left and not any(self.keep.iterdir())


@pytest.fixture(scope='module')
def apache() -> Iterator[Apache]:
    server = Apache(more='IncludeOptional sites-enabled/*.conf\n')
    for name in ('sites-available', 'sites-enabled'):
        (server.root / name).mkdir()
    text = SITE.replace('@PORT@', str(server.port)).replace('@WWW@', str(server.docroot))
    (server.root / 'sites-available/site.conf').write_text(text)
    (server.root / 'sites-enabled/site.conf').symlink_to('../sites-available/site.conf')
    with server:
        yield server


@pytest.fixture
def host(apache: Apache, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    keep = apache.root / f'keep-{tmp_path_factory.mktemp("keep").name}'
    keep.mkdir()
    apache.account.own_tree(keep)
    yield Host(apache, keep)
    (apache.docroot / '.htaccess').unlink(missing_ok=True)


@contextmanager
def untouched(host: Host) -> Iterator[None]:
    """Fail unless the file is the same inode afterwards, visitors get what they got, and nothing of a run is left."""
    before, answers = seen(host.file), host.statuses(VISITS)
    yield
    assert eventually(lambda: seen(host.file) == before)
    assert eventually(lambda: host.clean)
    assert os.readlink(host.link) == '../sites-available/site.conf'
    assert host.statuses(VISITS) == answers


def fields(host: Host, switcher: Switcher, *off: int) -> tuple[tuple[str, str], ...]:
    with switcher.switched(frozenset(map(host.rule, off))) as step:
        return step.prepare(Request('http://site.test/')).headers


def test_rules_are_listed_with_what_can_be_done_about_them(host: Host) -> None:
    found = {one.id: one for one in host.rules()}
    assert set(found) == set(map(host.rule, STOPPED))
    assert all(one.stuck == '' for one in found.values())
    assert {rule for rule, one in found.items() if one.live_only} == set(map(host.rule, set(STOPPED) - set(ALONE)))
    assert 'outside of any directory' in found[host.rule(8)].live_only


def test_each_rule_is_off_for_the_request_that_says_so_and_for_no_other(host: Host) -> None:
    visits = [*VISITS, *STOPPED.values()]
    plain = host.statuses(visits)
    assert {200, 403, 502} <= set(plain)
    with untouched(host):
        with host.layer.switching(Mode.ISOLATED) as switcher:
            assert switcher.parallel
            wrong = (*fields(host, switcher, *ALONE)[1:], ('X-Wpaudit-Htaccess', 'not-the-token'))
            for more in ((), fields(host, switcher), wrong):
                assert host.statuses(visits, more) == plain
            for line in ALONE:
                assert host.statuses([STOPPED[line]], fields(host, switcher, line)) == [200], line
                others = [one for one in ALONE if one != line and {one, line} not in ({5, 7}, {6, 7})]
                [stopped] = host.statuses([STOPPED[line]])
                assert host.statuses([STOPPED[line]], fields(host, switcher, *others)) == [stopped], line
        assert switcher.restoration().verified
        assert switcher.restoration().message == 'apache2 was reloaded twice, gracefully'


def test_live_each_rule_is_off_for_everybody(host: Host) -> None:
    plain = host.statuses(list(STOPPED.values()))
    with untouched(host):
        with host.layer.switching(Mode.LIVE) as switcher:
            assert not switcher.parallel
            assert host.statuses(list(STOPPED.values())) == plain
            for chosen in ([8], [5, 12, 22], [9], []):
                assert fields(host, switcher, *chosen) == ()
                off = {*chosen, *([16] if 9 in chosen else [])}  # nothing sets what 16 looks at
                expected = [
                    (404 if line == 8 else 200) if line in off else status
                    for line, status in zip(STOPPED, plain, strict=True)
                ]
                assert host.statuses(list(STOPPED.values())) == expected, chosen
        assert switcher.restoration().changed_seconds > 0


@pytest.mark.parametrize('mode', list(Mode))
def test_a_rule_here_and_one_in_htaccess_that_stop_the_same_request(host: Host, mode: Mode) -> None:
    own = host.apache.docroot / '.htaccess'
    host.apache.site(host.apache.docroot, HTACCESS.encode())
    visit = [Visit('page.html?one')]
    before = seen(own)
    with untouched(host), host.layer.switching(mode) as switcher:
        both = {host.rule(7), f'{own}:2'}
        for off, status in ((set(), 502), ({host.rule(7)}, 502), ({f'{own}:2'}, 502), (both, 200)):
            with switcher.switched(frozenset(off)) as step:
                assert host.statuses(visit, step.prepare(Request('http://site.test/')).headers) == [status], off
    assert seen(own) == before
    assert switcher.restoration().verified


def test_whoever_is_killed_it_comes_back(host: Host) -> None:
    own = host.apache.docroot / '.htaccess'
    host.apache.site(host.apache.docroot, HTACCESS.encode())
    before = seen(own)
    with untouched(host):
        with pytest.raises(NotRestored), host.layer.switching(Mode.LIVE) as switcher:  # noqa: PT012 - the test
            fields(host, switcher, 7)
            for run in host.keep.iterdir():
                for name in ('guarded', 'pid'):
                    os.kill(int((run / name).read_text()), signal.SIGKILL)
        done = restored(host.ground)
        assert done is not None
        assert done.status == 0, done.text
    assert seen(own) == before
    assert restored(host.ground) is None


def test_a_configuration_that_the_server_would_refuse_is_left_alone(host: Host) -> None:
    broken = host.link.with_name('broken.conf')
    broken.write_text('Nonsense\n')
    try:
        with untouched(host), pytest.raises(ModeUnavailable, match=r'would refuse it: .*Nonsense'), \
                host.layer.switching(Mode.ISOLATED):
            pytest.fail('it was put in place')
    finally:
        broken.unlink()


def test_visitors_notice_neither_reload(host: Host) -> None:
    found: set[tuple[int, ...]] = set()
    over = threading.Event()

    def come() -> None:
        while not over.is_set():
            found.add((host.statuses([Visit('index.html')])[0], host.statuses([STOPPED[7]])[0]))

    visitors = [threading.Thread(target=come) for _ in range(2)]
    for one in visitors:
        one.start()
    try:
        with untouched(host), host.layer.switching(Mode.ISOLATED) as switcher:
            assert host.statuses([STOPPED[7]], fields(host, switcher, 7)) == [200]
    finally:
        over.set()
        for one in visitors:
            one.join()
    assert found == {(200, 502)}


def test_what_apache_logs_of_a_refusal_speaks_against_its_kind_of_rule(host: Host) -> None:
    host.statuses([STOPPED[15], STOPPED[22]])
    found, gaps = host.layer.evidence()
    assert gaps == ()
    said = {one.reason.partition(':')[0]: set(one.suspects) for one in found}
    assert said['AH01630'] == set(map(host.rule, [15, 16]))
    assert said['AH01797'] >= {host.rule(22)}


def test_a_log_that_may_not_be_read_is_a_gap(host: Host) -> None:
    host.apache.log.chmod(0)
    try:
        found, [gap] = host.layer.evidence()
    finally:
        host.apache.log.chmod(0o644)
    assert found == ()
    assert gap.what == str(host.apache.log)
    assert '--sudo' in gap.why
