"""The layer of the packet filter in a namespace: switching, holding, refusing; and its second nginx for real."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures import web
from fixtures.firewalls.netfilter_run import until
from fixtures.firewalls.netfilter_run import with_chain
from fixtures.firewalls.netfilter_run import without_handles
from fixtures.lab import network
from fixtures.netfilter import Namespace
from fixtures.netfilter import namespace
from wpaudit.domain import Mode
from wpaudit.domain import Request
from wpaudit.errors import Inconclusive
from wpaudit.errors import ModeUnavailable
from wpaudit.errors import NotRestored
from wpaudit.errors import Unfinished
from wpaudit.firewalls.acting import Acting
from wpaudit.firewalls.netfilter import NetfilterLayer
from wpaudit.firewalls.netfilter import switching
from wpaudit.firewalls.netfilter.layer import restored
from wpaudit.firewalls.netfilter.nginx import Nginx
from wpaudit.firewalls.netfilter.nginx_text import unfolded
from wpaudit.firewalls.netfilter.nginx_text import written
from wpaudit.firewalls.netfilter.shadow import Place
from wpaudit.firewalls.netfilter.shadow import configuration
from wpaudit.firewalls.netfilter.shadow import outlined
from wpaudit.ports import Ground
from wpaudit.probes.http import HttpFetcher
from wpaudit.shells.local import LocalShell

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='network namespaces need root')


@pytest.fixture(scope='module')
def empty_space() -> Iterator[Namespace]:
    with namespace() as made:
        yield made


@pytest.fixture
def space(empty_space: Namespace) -> Namespace:
    empty_space.flush()
    return empty_space


def layer_of(space: Namespace, keep: Path) -> NetfilterLayer:
    return NetfilterLayer(Ground(space.shell, '/srv/www', 'http://site.example/', keep=str(keep / 'kept')))


def off(space: Namespace) -> list[str]:
    """Return the chains whose sets let everybody pass."""
    listed = space.run('nft', 'list', 'ruleset').split('set ')
    return [part.split(' ')[0] for part in listed if 'elements' in part]


def test_rules_of_every_tool_are_held_off_together_and_come_back_with_their_counters(
    space: Namespace, tmp_path: Path,
) -> None:
    space.load(with_chain('tcp dport 81 counter packets 7 bytes 420 drop; tcp dport 82 drop'))
    for tool in ('iptables', 'iptables-legacy', 'ip6tables'):
        space.run(tool, '-A', 'INPUT', '-p', 'tcp', '--dport', '83', '-j', 'DROP')
    before = without_handles(space.state())
    layer = layer_of(space, tmp_path)
    ids = [one.id for one in layer.listing()[0]]
    assert len(ids) == 5
    with layer.switching(Mode.LIVE) as switcher:
        assert not switcher.parallel
        with switcher.switched(frozenset(ids[:1])):
            assert len(off(space)) == 1
        with switcher.switched(frozenset(ids)):
            assert len(off(space)) == 2
            sets = space.run('ipset', 'save').splitlines()
            assert len([line for line in sets if line.startswith('add')]) == 6  # two halves of all addresses each
        with switcher.switched(frozenset()):
            assert off(space) == []
    assert switcher.restoration().verified
    assert switcher.restoration().changed_seconds > 0
    assert without_handles(space.state()) == before
    assert not list(tmp_path.iterdir())


def test_what_is_off_stays_off_for_as_long_as_a_probe_takes(
    space: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(switching, 'HOLD_SECONDS', 2)
    monkeypatch.setattr(switching, 'RENEWED', 0.4)
    space.load(with_chain('tcp dport 81 drop'))
    layer = layer_of(space, tmp_path)
    [rule], _ = layer.listing()
    with layer.switching(Mode.LIVE) as switcher:
        with switcher.switched(frozenset({rule.id})):
            over = time.monotonic() + 4
            while time.monotonic() < over:
                assert off(space)
        until(lambda: not off(space))  # nobody renews it any longer: the kernel counts


def test_rules_that_somebody_flushes_meanwhile_end_the_search_and_are_told(space: Namespace, tmp_path: Path) -> None:
    space.load(with_chain('tcp dport 81 drop'))
    layer = layer_of(space, tmp_path)
    [rule], _ = layer.listing()
    with pytest.raises(NotRestored, match='changed or removed by somebody else'):  # noqa: PT012 - it ends so
        with layer.switching(Mode.LIVE) as switcher:
            space.flush()
            with pytest.raises(Inconclusive, match='somebody else'), switcher.switched(frozenset({rule.id})):
                raise AssertionError('nothing was held off')
    assert not list(tmp_path.iterdir())


def test_rules_that_are_gone_before_it_begins_are_nobodys(space: Namespace, tmp_path: Path) -> None:
    space.load(with_chain('tcp dport 81 drop; tcp dport 82 drop'))
    layer = layer_of(space, tmp_path)
    ids = [one.id for one in layer.listing()[0]]
    space.run('nft', *f'delete rule {ids[0]}'.split())
    with layer.switching(Mode.LIVE) as switcher, switcher.switched(frozenset(ids)):
        assert len(off(space)) == 1
    space.flush()
    with pytest.raises(ModeUnavailable, match='no rule'), layer.switching(Mode.LIVE):
        raise AssertionError('there is nothing to switch')
    assert not list(tmp_path.iterdir())


def test_a_rule_of_iptables_is_found_again_where_another_was_put_before_it(space: Namespace, tmp_path: Path) -> None:
    """As fail2ban does all the time."""
    for port in ('81', '82'):
        space.run('iptables', '-A', 'INPUT', '-p', 'tcp', '--dport', port, '-j', 'DROP')
    layer = layer_of(space, tmp_path)
    assert [one.id for one in layer.listing()[0]] == ['filter INPUT 1', 'filter INPUT 2']
    space.run('iptables', '-I', 'INPUT', '-s', '192.0.2.9', '-j', 'REJECT')
    before = without_handles(space.state())
    with layer.switching(Mode.LIVE) as switcher, switcher.switched(frozenset({'filter INPUT 2'})):
        saved = space.run('iptables-save')
        [chain] = [line.split()[1] for line in saved.splitlines() if '--dport 82' in line]
        added = [line for line in space.run('ipset', 'save').splitlines() if line.startswith('add')]
        assert added
        assert all(line.split()[1].startswith(chain) for line in added)
    assert without_handles(space.state()) == before


def test_who_may_not_is_told_what_would_open_it(space: Namespace, tmp_path: Path) -> None:
    space.load(with_chain('tcp dport 81 drop'))
    other = Acting(space.shell, ('setpriv', '--reuid=daemon', '--regid=daemon', '--clear-groups'))
    layer = NetfilterLayer(Ground(other, '/', 'http://site.example/', keep=str(tmp_path / 'kept')))
    found, [gap] = layer.listing()
    assert found == ()
    assert '--sudo' in gap.why
    with pytest.raises(ModeUnavailable, match='--sudo'), layer.switching(Mode.LIVE):
        raise AssertionError('it may not')
    ground = Ground(other, '/', 'http://site.example/', keep='/var/tmp/wpaudit-nobody')
    assert restored(ground) is None
    with tempfile.TemporaryDirectory(prefix='wpaudit-', suffix='-netfilter') as left:
        with pytest.raises(Unfinished, match='only root'):
            restored(replace(ground, keep=left.removesuffix('-netfilter')))


def test_who_may_only_list_is_shown_the_rules_and_why_they_stay(space: Namespace, tmp_path: Path) -> None:
    """With the first lines of docs/sudoers and not the last."""
    space.load(with_chain('tcp dport 81 drop'))
    page = Path(__file__).parents[2].joinpath('docs', 'sudoers').read_text()
    lines = page.rpartition('deploy ALL=')[0].replace('deploy ALL=', 'daemon ALL=')
    (tmp_path / 'wpaudit').write_text(lines)
    mounted = f'mount --bind {tmp_path} /etc/sudoers.d && exec "$@"'
    daemon = ('setpriv', '--reuid=daemon', '--regid=daemon', '--clear-groups')
    shell = Acting(space.shell, ('sh', '-c', mounted, 'sh', *daemon))
    [rule], gaps = NetfilterLayer(Ground(shell, '/', 'http://site.example/', sudo=True)).listing()
    assert rule.id == 'inet fw c handle 2'
    assert '/bin/sh' in rule.stuck
    assert gaps == ()


LIVE = '''
daemon on; worker_processes 1; pid {root}/live.pid; error_log {root}/live.log; user www-data;
events {{ worker_connections 64; }}
http {{
    include conf.d/*.conf;
    log_format main '$remote_addr "$request" '
                    '$status';
    access_log {root}/access.log main;
    client_body_temp_path {root}/a; proxy_temp_path {root}/b; fastcgi_temp_path {root}/c; uwsgi_temp_path {root}/d;
    scgi_temp_path {root}/e; proxy_cache_path {root}/cache levels=1:2 keys_zone=pages:1m;
    server {{ listen 127.0.0.1:{port} default_server; return 404; }}
    server {{
        listen 127.0.0.1:{port}; listen 127.0.0.1:{tls} ssl; server_name shop.example;
        ssl_certificate cert.pem; ssl_certificate_key key.pem;
        if ($kind = "a bot") {{ return 402; }}
        location / {{
            proxy_pass http://127.0.0.1:{upstream}; proxy_cache pages;
            proxy_set_header X-Real $remote_addr:$server_port;
        }}
    }}
}}
'''


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A directory that other accounts may pass through."""
    with tempfile.TemporaryDirectory(prefix='wpaudit-nginx-') as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


def test_a_shadow_of_a_real_nginx_answers_as_it_does_to_those_who_know_the_secret(open_path: Path) -> None:
    root = open_path
    (root / 'conf.d').mkdir()
    keys = ('-keyout', str(root / 'key.pem'), '-out', str(root / 'cert.pem'))
    subprocess.run(['openssl', 'req', '-x509', '-nodes', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256',
                    '-subj', '/CN=shop.example', *keys], check=True, timeout=30, capture_output=True)
    (root / 'conf.d' / 'map.conf').write_text('map $http_user_agent $kind { default 0; "~*a \\"bot\\"{2}" "a bot"; }\n')
    port, tls, *ours = network.free_ports(4)
    with web.WebServer({'/': web.page(b'<html>hello</html>')}) as upstream:
        conf = root / 'live.conf'
        conf.write_text(LIVE.format(root=root, port=port, tls=tls, upstream=upstream.port))
        shell = LocalShell()
        with closing(shell):
            urls = [f'http://shop.example:{port}/', f'https://shop.example:{tls}/']
            outline = outlined(unfolded(shell, str(conf)), urls, anywhere=True)
            ports = dict(zip(('http', 'https'), ours, strict=True))
            shadow = root / 'shadow'
            shadow.mkdir(mode=0o711)
            place = Place(str(shadow), str(root), 'games', 'www-data', ports, 's3cret', '127.9.8.7', realip=True)
            (shadow / 'shadow.conf').write_text(written(configuration(outline, place)))
            command = Nginx('/usr/sbin/nginx', str(conf), str(root), 'www-data', 33, '').command(str(shadow))
            subprocess.run(f'{command} -t -q && {command}', shell=True, check=True, timeout=30)  # noqa: S602 - as the host does
        try:
            via = tuple((scheme, f'127.0.0.1:{number}') for scheme, number in ports.items())
            know = (('X-Wpaudit-Shadow', 's3cret'), ('X-Wpaudit-Client', '192.0.2.55'))
            fetcher = HttpFetcher()
            for url in urls:
                answer = fetcher.fetch(Request(url, headers=know, via=via), timeout=10)
                assert (answer.status, answer.body) == (200, '<html>hello</html>')
                assert fetcher.fetch(Request(url, via=via), timeout=10).status == 403
                bot = Request(url, headers=(*know, ('User-Agent', 'a "bot""')), via=via)
                assert fetcher.fetch(bot, timeout=10).status == 402
            told = [b'X-Real: 192.0.2.55:%d\r\n' % number for number in (port, tls)]
            assert [line in request for line, request in zip(told, upstream.requests, strict=True)] == [True, True]
            assert not (root / 'access.log').exists()
        finally:
            os.kill(int((shadow / 'shadow.pid').read_text()), 15)
            until(lambda: not (shadow / 'shadow.pid').exists())
