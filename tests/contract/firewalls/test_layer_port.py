"""The port ``Layer``: what holds for every firewall, on the real one and on the fake.

Each host has two rules that stop a request each: ``first`` and ``second``.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.firewalls.apache import Apache
from fixtures.firewalls.modsecurity import Server
from fixtures.firewalls.netfilter_run import until
from fixtures.firewalls.netfilter_run import with_chain
from fixtures.netfilter import Namespace
from fixtures.netfilter import namespace
from fixtures.site import FakeLayer
from fixtures.site import FakeSite
from fixtures.site import fails_with
from wpaudit.domain import Kind
from wpaudit.domain import Mode
from wpaudit.domain import Outcome
from wpaudit.domain import Request
from wpaudit.errors import ModeUnavailable
from wpaudit.errors import SiteBusy
from wpaudit.errors import Unfinished
from wpaudit.firewalls import FIREWALLS
from wpaudit.firewalls.acting import Acting
from wpaudit.ports import Ground
from wpaudit.ports import Layer
from wpaudit.ports import Step
from wpaudit.shells.local import LocalShell

FIRST, SECOND = 'first', 'second'
BOTH = (FIRST, SECOND)


@dataclass
class Host:
    """One host with one firewall. ``passes`` sends the request that one rule stops, as a step prepares it."""

    make: Callable[[], Layer]
    rules: Mapping[str, str]  # ids of the two rules
    modes: frozenset[Mode]
    passes: Callable[[str, Step | None], bool]
    state: Callable[[], object]
    restored: Callable[[], object] = lambda: None
    exclusive: bool = True  # a second run at the same time is refused

    def seen(self, step: Step | None) -> dict[str, bool]:
        return {name: self.passes(name, step) for name in BOTH}

    def ids(self, *names: str) -> frozenset[str]:
        return frozenset(self.rules[name] for name in names)


STOPPED = dict.fromkeys(BOTH, False)


# -- the hosts ------------------------------------------------------------------------------------

@contextmanager
def fake() -> Iterator[Host]:
    site = FakeSite.of('acme/acme.php', failing=fails_with(), blocking=fails_with([FIRST], [SECOND]))
    layer = FakeLayer('fake', BOTH, site)

    def passes(name: str, step: Step | None) -> bool:
        request = Request(site.inventory().facts.url)
        request = step.prepare(request) if step else request
        others = frozenset(BOTH) - {name}
        off = site.rules_off | {value for key, value in request.headers if key == 'X-Off'}
        return name in off or fails_with([name])(frozenset(BOTH) - off - others) is Outcome.PASS

    yield Host(lambda: layer, {name: name for name in BOTH}, frozenset(Mode), passes,
               lambda: frozenset(site.rules_off), exclusive=False)


def headers(step: Step | None, url: str) -> dict[str, str]:
    return dict(step.prepare(Request(url)).headers) if step else {}


@contextmanager
def grounded(account: str, docroot: Path, url: str) -> Iterator[Ground]:
    """Hold the ground of the user who owns the files and runs the server."""
    keep = Path('/var/tmp') / f'wpaudit-test-{secrets.token_hex(4)}'
    keep.mkdir()
    keep.chmod(0o777)
    shell = Acting(LocalShell(), ('runuser', '-u', account, '--') if os.geteuid() == 0 else ())
    try:
        yield Ground(shell, str(docroot), url, by='me', keep=str(keep / 'kept'), requests=(Request(url),))
        assert list(keep.iterdir()) == []
    finally:
        with suppress(OSError):
            keep.rmdir()


def files(root: Path) -> dict[str, tuple[object, ...]]:
    """Everything about the files of a configuration but ctime."""
    found = [one for one in root.rglob('*') if one.is_file() and (one.suffix == '.conf' or one.name.startswith('.'))]
    stats = {one: one.lstat() for one in found}
    return {str(one): (stat.st_ino, stat.st_mode, stat.st_uid, stat.st_mtime_ns, one.read_bytes())
            for one, stat in stats.items()}


@contextmanager
def htaccess() -> Iterator[Host]:
    text = b'RewriteEngine On\nRewriteRule ^page\\.html$ - [R=502,L]\nRedirect 502 /xmlrpc.html\n'
    pages = {FIRST: '/page.html', SECOND: '/xmlrpc.html'}
    with Apache() as server:
        server.site(server.docroot, text)
        url = f'http://127.0.0.1:{server.port}/'
        file = server.docroot / '.htaccess'
        with grounded(server.account.name, server.docroot, url) as ground:
            yield Host(
                lambda: FIREWALLS['htaccess']().layer_of(ground), {FIRST: f'{file}:2', SECOND: f'{file}:3'},
                frozenset(Mode), lambda name, step: server.get(pages[name], headers(step, url)).status == 200,
                lambda: files(server.root), lambda: FIREWALLS['htaccess']().restored(ground),
            )


@contextmanager
def modsecurity(engine: str) -> Iterator[Host]:
    ids = {FIRST: '100001', SECOND: '100002'}
    rules = ''.join(f'SecRule ARGS:a "@streq {one}" "id:{one},phase:2,deny,status:502,log"\n' for one in ids.values())
    with Server('nginx' if engine == 'nginx' else 'apache', rules) as server:
        url = f'http://127.0.0.1:{server.port}/'
        with grounded(server.account.name, server.docroot, url) as ground:
            yield Host(
                lambda: FIREWALLS['modsecurity']().layer_of(ground), ids, frozenset(Mode),
                lambda name, step: server.get(f'/?a={ids[name]}', headers(step, url)).status == 200,
                lambda: files(server.root), lambda: FIREWALLS['modsecurity']().restored(ground),
            )


@contextmanager
def netfilter() -> Iterator[Host]:
    """Rules on loopback, where nothing tells a probe from visitors: they can be switched for everybody only."""
    ports = {FIRST: '8101', SECOND: '8102'}
    with namespace() as space, _listening(space, ports.values()):
        space.load(with_chain('tcp dport 8101 reject with tcp reset; tcp dport 8102 reject with tcp reset'))
        keep = Path('/var/tmp') / f'wpaudit-test-{secrets.token_hex(4)}'
        ground = Ground(space.shell, '/srv/www', 'http://127.0.0.1:8101/', keep=str(keep))
        found, _ = FIREWALLS['netfilter']().layer_of(ground).listing()
        yield Host(
            lambda: FIREWALLS['netfilter']().layer_of(ground),
            {name: one.id for name, one in zip(BOTH, found, strict=True)}, frozenset({Mode.LIVE}),
            lambda name, step: _connects(space, ports[name]), space.state,
            lambda: FIREWALLS['netfilter']().restored(ground),
        )
        assert not keep.exists()


def _connects(space: Namespace, port: str) -> bool:
    return space.shell.run(('bash', '-c', f': </dev/tcp/127.0.0.1/{port}'), timeout=20).status == 0


@contextmanager
def _listening(space: Namespace, ports: object) -> Iterator[None]:
    servers = [
        space.shell.start(('python3', '-m', 'http.server', port, '--bind', '127.0.0.1')) for port in ports  # type: ignore[attr-defined]  # strings
    ]
    try:
        until(lambda: all(_connects(space, port) for port in ports))  # type: ignore[attr-defined]  # strings
        yield
    finally:
        for server in servers:
            server.end(grace=0.1)


HOSTS: dict[str, Callable[[], object]] = {
    'fake': fake, 'htaccess': htaccess, 'modsecurity-nginx': lambda: modsecurity('nginx'),
    'modsecurity-apache': lambda: modsecurity('apache'), 'netfilter': netfilter,
}


@pytest.fixture(scope='module', params=[
    name if name != 'netfilter' else pytest.param(
        name, marks=pytest.mark.skipif(os.geteuid() != 0, reason='network namespaces need root'))
    for name in HOSTS
])
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    with HOSTS[request.param]() as made:  # type: ignore[attr-defined]  # context managers all
        yield made


# -- what holds -----------------------------------------------------------------------------------

def test_it_lists_its_rules_by_ids_that_stay_and_changes_nothing(host: Host) -> None:
    before = host.state()
    layer = host.make()
    found, gaps = layer.listing()
    assert [one.id for one in found] == list(host.ids(FIRST)) + list(host.ids(SECOND))
    assert {(one.kind, one.layer, one.stuck) for one in found} == {(Kind.RULE, layer.name, '')}
    assert all(one.where for one in found)
    assert host.make().listing() == (found, gaps)
    assert all(gap.what and gap.why for gap in gaps)
    assert host.state() == before
    assert host.seen(None) == STOPPED


@pytest.mark.parametrize('mode', list(Mode))
def test_exactly_what_is_off_lets_pass_and_all_comes_back(host: Host, mode: Mode) -> None:
    before = host.state()
    if mode not in host.modes:
        with pytest.raises(ModeUnavailable), host.make().switching(mode):
            raise AssertionError('a mode that is not offered was entered')
    else:
        with host.make().switching(mode) as switcher:
            assert switcher.mode is mode
            assert not switcher.restoration().verified
            for off in ((), (SECOND,), BOTH):
                with switcher.switched(host.ids(*off)) as step:
                    assert host.seen(step) == {name: name in off for name in BOTH}
                    if mode is Mode.ISOLATED:
                        assert host.seen(None) == STOPPED  # visitors
        assert switcher.restoration().verified
        assert not switcher.restoration().left_behind
    assert host.state() == before
    assert host.seen(None) == STOPPED
    assert host.restored() is None


def test_it_comes_back_when_the_search_ends_by_an_error(host: Host) -> None:
    before = host.state()
    mode = Mode.ISOLATED if Mode.ISOLATED in host.modes else Mode.LIVE
    with pytest.raises(KeyboardInterrupt), host.make().switching(mode) as switcher:
        with switcher.switched(host.ids(FIRST)):
            raise KeyboardInterrupt
    assert switcher.restoration().verified
    assert host.state() == before
    assert host.seen(None) == STOPPED


def test_a_second_run_is_refused_and_the_first_goes_on(host: Host) -> None:
    if not host.exclusive:
        return
    mode = Mode.ISOLATED if Mode.ISOLATED in host.modes else Mode.LIVE
    with host.make().switching(mode) as switcher:
        second = host.make()
        with pytest.raises((SiteBusy, Unfinished, ModeUnavailable)), second.switching(mode):
            raise AssertionError('two runs at once')
        with pytest.raises(SiteBusy):
            host.restored()
        with switcher.switched(host.ids(*BOTH)) as step:
            assert all(host.seen(step).values())
    assert switcher.restoration().verified


def test_what_is_narrower_may_be_off_and_evidence_is_about_its_rules(host: Host) -> None:
    host.seen(None)  # so that there are lines in the logs
    layer = host.make()
    known = {one.id for one in layer.listing()[0]}
    evidence, gaps = layer.evidence()
    assert {each for one in evidence for each in one.suspects} <= known
    assert all(one.reason and one.weight > 0 for one in evidence)
    assert all(gap.what and gap.why for gap in gaps)
    mode = Mode.ISOLATED if Mode.ISOLATED in host.modes else Mode.LIVE
    with layer.switching(mode) as switcher:
        assert switcher.exemptions(frozenset()) == ()
        for one in switcher.exemptions(host.ids(*BOTH)):
            assert one.rule in known
            assert one.lines
            with switcher.switched(frozenset({one.id})) as step:
                host.seen(step)
