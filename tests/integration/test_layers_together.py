"""ModSecurity and Apache's own rules in the same file of a real server, both switched in one run."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.firewalls.apache import Apache
from fixtures.lab.servers import APACHE_MODULES
from fixtures.lab.traces import eventually
from wpaudit.domain import Mode
from wpaudit.domain import Request
from wpaudit.errors import NotRestored
from wpaudit.firewalls import FIREWALLS
from wpaudit.firewalls.acting import Acting
from wpaudit.ports import Ground
from wpaudit.ports import Layer
from wpaudit.ports import Switcher
from wpaudit.shells.local import LocalShell

SITE = """<VirtualHost *:@PORT@>
    ServerName lab.test
    DocumentRoot "@WWW@"
    SecRuleEngine On
    SecRule ARGS:q "@streq one" "id:100001,phase:1,deny,status:502"
    RewriteEngine On
    RewriteCond %{QUERY_STRING} one
    RewriteRule ^/page - [R=502]
</VirtualHost>
"""


@dataclass
class Host:
    """The server, and what both layers stand on."""

    apache: Apache
    ground: Ground

    @property
    def file(self) -> Path:
        return self.apache.root / 'sites/site.conf'

    @property
    def rules(self) -> dict[str, frozenset[str]]:
        return {'modsecurity': frozenset(['100001']), 'htaccess': frozenset([f'{self.file}:7'])}

    def layer(self, name: str) -> Layer:
        made = FIREWALLS[name]().layer_of(self.ground)
        listed = {one.id for one in made.listing()[0] if not one.stuck}
        assert listed == self.rules[name]
        return made

    def status(self, off: dict[str, Switcher]) -> int:
        """Ask with the rules of these layers off, as their switchers want it."""
        request = Request('http://lab.test/')
        for name, switcher in off.items():
            with switcher.switched(self.rules[name]) as step:
                request = step.prepare(request)
        return self.apache.get('/page.html?q=one', dict(request.headers)).status

    def seen(self) -> tuple[object, ...]:
        stat = self.file.stat()
        names = sorted(path.name for path in self.file.parent.iterdir())
        return stat.st_ino, stat.st_mtime_ns, stat.st_nlink, self.file.read_bytes(), names


@pytest.fixture(scope='module')
def host() -> Iterator[Host]:
    names = ('unique_id', 'security2')
    modules = ''.join(f'LoadModule {name}_module {APACHE_MODULES}/mod_{name}.so\n' for name in names)
    server = Apache(more=f'{modules}IncludeOptional sites/*.conf\n')
    (server.root / 'sites').mkdir()
    text = SITE.replace('@PORT@', str(server.port)).replace('@WWW@', str(server.docroot))
    (server.root / 'sites/site.conf').write_text(text)
    keep = server.root / 'keep'
    keep.mkdir()
    with server:
        become = () if server.account.uid == os.geteuid() else ('runuser', '-u', server.account.name, '--')
        ground = Ground(
            Acting(LocalShell(), become), str(server.docroot), f'http://127.0.0.1:{server.port}', by='me',
            keep=str(keep / 'run'))
        yield Host(server, ground)


@pytest.mark.parametrize('mode', list(Mode))
def test_both_stop_the_request_and_only_without_both_it_passes(host: Host, mode: Mode) -> None:
    before = host.seen()
    first, second = (host.layer(name) for name in FIREWALLS if name in host.rules)
    with first.switching(mode) as one, second.switching(mode) as other:
        both = {first.name: one, second.name: other}
        assert host.status({}) == 502
        for name, switcher in both.items():
            assert host.status({name: switcher}) == 502
            with switcher.switched(frozenset()):
                pass
        assert host.status(both) == 200
    assert one.restoration().verified
    assert other.restoration().verified
    assert host.seen() == before
    assert host.status({}) == 502


def test_killed_in_the_middle_both_are_put_back_the_last_one_first(host: Host) -> None:
    before = host.seen()
    keep = Path(host.ground.keep).parent
    first, second = (host.layer(name) for name in FIREWALLS if name in host.rules)
    with pytest.raises(NotRestored), first.switching(Mode.LIVE) as one, second.switching(Mode.LIVE) as other:  # noqa: PT012 - the test
        assert host.status({first.name: one, second.name: other}) == 200
        for run in keep.iterdir():
            for name in ('guarded', 'pid'):
                os.kill(int((run / name).read_text()), signal.SIGKILL)
    done = [FIREWALLS[name]().restored(host.ground) for name in reversed(FIREWALLS)]
    assert [one.status for one in done if one is not None] == [0, 0]
    assert eventually(lambda: host.seen() == before)
    assert host.status({}) == 502
    assert not any(keep.iterdir())
