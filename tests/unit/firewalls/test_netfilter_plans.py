"""Whose packets a rule can be off for; what the host said of its nginx, its logs and our account."""

from __future__ import annotations

import shlex
import subprocess

import pytest

from wpaudit.firewalls.netfilter import clues
from wpaudit.firewalls.netfilter.guards import By
from wpaudit.firewalls.netfilter.guards import Who
from wpaudit.firewalls.netfilter.guards import guarded
from wpaudit.firewalls.netfilter.guards import own
from wpaudit.firewalls.netfilter.guards import ways
from wpaudit.firewalls.netfilter.matching import Packet
from wpaudit.firewalls.netfilter.nginx import Nginx
from wpaudit.firewalls.netfilter.nginx import error_logs
from wpaudit.firewalls.netfilter.nginx import running_of
from wpaudit.firewalls.netfilter.nginx_text import parse
from wpaudit.firewalls.netfilter.reading import account_of
from wpaudit.firewalls.netfilter.rules import Matches
from wpaudit.firewalls.netfilter.rules import Rule
from wpaudit.firewalls.netfilter.rules import Verdict
from wpaudit.firewalls.netfilter.undo import undo

NFT = Rule('nft', 'inet', 'fw', 'c', 3, 'drop')
TABLES = Rule('iptables', 'ip', 'filter', 'OUTPUT', 1, '-j DROP')
SHADOW, OURS, BOUND = Who(uid=5), Who(addresses=('192.0.2.1',)), Who(uid=5, loopback='127.7.7.7')


@pytest.mark.parametrize(('rule', 'at', 'who', 'how'), [
    (NFT, {'output'}, SHADOW, {By.UID}),
    (NFT, {'input'}, SHADOW, {By.UID}),  # answers to its connections
    (NFT, {'input'}, Who(uid=5, demux=False), set()),
    (NFT, {'forward'}, SHADOW, set()),
    (NFT, {'prerouting'}, SHADOW, set()),
    (TABLES, {'output'}, SHADOW, {By.UID}),
    (TABLES, {'output', 'postrouting'}, SHADOW, {By.UID}),
    (TABLES, {'input'}, SHADOW, set()),  # xt_owner is for what goes out
    (TABLES, {'input', 'output'}, SHADOW, set()),
    (NFT, {'input'}, OURS, {By.SOURCE}),
    (NFT, {'output'}, OURS, {By.DESTINATION}),
    (NFT, {'forward'}, OURS, {By.SOURCE, By.DESTINATION}),
    (TABLES, {'input'}, BOUND, {By.SOURCE, By.DESTINATION}),
    (NFT, {'input'}, Who(addresses=('127.0.0.1', '::1', '0.0.0.0')), set()),  # everybody has these  # noqa: S104
    (TABLES, {'input'}, Who(everybody=True), {By.NOTHING}),
])
def test_what_tells_a_probe_from_others(rule: Rule, at: set[str], who: Who, how: set[By]) -> None:
    assert ways(rule, frozenset(at), who) == how


def test_of_loopback_only_the_one_address_is_ours() -> None:
    assert [str(one) for one in own(Who(addresses=('127.0.0.1', '2001:db8::1'), loopback='127.7.7.7'))] == [
        '2001:db8::1', '127.7.7.7']


def test_the_way_back_is_a_script_whatever_rules_say() -> None:
    odd = Rule('iptables', 'ip', 'filter', 'a.b*c', 1, '-m comment --comment "it\'s `id` $(id) \\"x\\"" -j DROP')
    guards, _ = guarded([(NFT, frozenset({'input'})), (odd, frozenset({'input'}))], 'ab12cd34', Who(everybody=True))
    text = undo(guards, [NFT, odd], shadow=5)
    assert subprocess.run(['sh', '-n'], input=text.encode(), timeout=30, check=False).returncode == 0
    assert 'a\\.b\\*c' in text
    calls = [line.strip() for line in text.splitlines() if line.startswith('    nft_rule ')]
    assert shlex.split(calls[0])[1:8] == ['inet', 'fw', 'c', '3', 'wpa-ab12cd34-0', 'drop', '1']
    assert 'end_shadow 5' in text


SAID = '''
master 100 /usr/sbin/nginx -g daemon on; master_process on;
exe 100 /usr/sbin/nginx
built 100 nginx version: nginx/1.22.1 --prefix=/usr/share/nginx --conf-path=/etc/nginx/nginx.conf {realip}
worker 100 33 www-data
worker 100 33 www-data
master 200 nginx -c conf/own.conf -p /opt/n
exe 200 /opt/n/nginx
built 200 nginx version: openresty/1.19.3.2 --prefix=/opt
worker 200 1001 site
master 300 nginx: no worker, so it serves nobody
exe 300 /usr/sbin/nginx
account daemon 1
account games 5x
nonsense
'''


def test_what_the_host_says_of_its_nginx() -> None:
    found = running_of(SAID.replace('{realip}', '--with-http_realip_module'))
    first, second = found.masters
    assert (first.config, first.prefix, first.group, first.gid, first.realip) == (
        '/etc/nginx/nginx.conf', '/usr/share/nginx', 'www-data', 33, True)
    assert (second.config, second.group, second.realip) == ('/opt/n/conf/own.conf', 'site', False)
    assert first.command('/d') == '/usr/sbin/nginx -c /d/shadow.conf -p /usr/share/nginx -e /d/shadow.log'
    assert second.command('/d') == '/opt/n/nginx -c /d/shadow.conf -p /opt/n'  # it has no -e
    assert found.accounts == (('daemon', 1),)


def test_which_logs_are_read() -> None:
    nginx = Nginx('/usr/sbin/nginx', '/etc/nginx/nginx.conf', '/usr/share/nginx', 'www-data', 33, '')
    tree = parse('error_log logs/a.log; http { error_log syslog:server=x; server { error_log /b.log warn; } }')
    assert error_logs([(nginx, tree)]) == ('/usr/share/nginx/logs/a.log', '/b.log', '/var/log/nginx/error.log')


def test_only_what_was_logged_just_now_counts() -> None:
    lines = ['2026/11/27 10:00:00 [error] old', 'no time', '2026/99/27 10:00:00 bad', '2026/11/27 10:04:59 [error] new',
             '2026/11/27 10:05:30']
    assert clues.recent(lines) == ['2026/11/27 10:04:59 [error] new', '2026/11/27 10:05:30']
    assert clues.recent(lines, 10) == ['2026/11/27 10:05:30']
    assert clues.recent(['no time at all']) == []


def test_the_packet_that_a_rule_stopped_is_that_of_the_last_failure_it_fits() -> None:
    line = '2026/11/27 10:00:00 [error] 1#1: *1 connect() failed ({}: x) while connecting to upstream, upstream: "http://{}/"'
    lines = [line.format(111, '192.0.2.1:81'), line.format(111, '192.0.2.9:82'), line.format(110, '192.0.2.1:83')]
    rule = Rule('nft', 'inet', 'fw', 'c', 3, '', (Verdict('reject'),), Matches(daddr=('192.0.2.1',)))
    at = frozenset({'output'})
    assert clues.packet_of(lines, rule, at, (), frozenset()) == Packet(daddr='192.0.2.1', dport=81)
    assert clues.packet_of(lines[1:], rule, at, (), frozenset()) is None


def test_an_account_is_read_with_the_hosts_addresses() -> None:
    ssh = b'ssh 192.0.2.7 5000 10.0.0.1 2222'
    found = account_of(b'uid 0\nuser root\n%b\ntool nft /usr/sbin/nft\nlocal 10.0.0.1\nlocal x\ndemux 0\n' % ssh)
    assert (found.root, found.client, found.local, found.demux) == (True, '192.0.2.7', {'10.0.0.1'}, False)
    assert found.ssh_ports == {22, 2222}
    assert account_of(b'').demux
