"""Requests that real rules let fail: the probe passes while visitors fail as before, and the culprit is found."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from fixtures.firewalls import netfilter_rules as kinds
from fixtures.firewalls.netfilter_run import EVERYBODY
from fixtures.firewalls.netfilter_run import PROBE
from fixtures.firewalls.netfilter_run import Armed
from fixtures.firewalls.netfilter_run import add_rule
from fixtures.firewalls.netfilter_run import read
from fixtures.firewalls.netfilter_run import suspects
from fixtures.firewalls.netfilter_run import until
from fixtures.firewalls.netfilter_run import without_counters
from fixtures.firewalls.netfilter_run import without_handles
from fixtures.netfilter import CLIENT
from fixtures.netfilter import EDGE
from fixtures.netfilter import LIVE_PORT
from fixtures.netfilter import ORIGIN
from fixtures.netfilter import SHADOW_PORT
from fixtures.netfilter import VISITOR
from fixtures.netfilter import Topology
from fixtures.netfilter import topology
from wpaudit.firewalls.netfilter import clues
from wpaudit.firewalls.netfilter.matching import Packet
from wpaudit.firewalls.netfilter.remedy import remedies

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='network namespaces need root')



@pytest.fixture(scope='module')
def wired() -> Iterator[Topology]:
    with topology() as made:
        yield made


@pytest.fixture
def top(wired: Topology) -> Topology:
    wired.flush()
    return wired


# -- real failures --------------------------------------------------------------------------------------

UPSTREAM = f'ip daddr {ORIGIN} tcp dport 9000'
AT_OUTPUT = [
    (['nft', f'{UPSTREAM} reject with tcp reset'], 502),
    (['nft', f'{UPSTREAM} reject with icmpx admin-prohibited'], 502),
    (['nft', f'{UPSTREAM} drop'], 504),
    (['nft', f'{UPSTREAM} meta length > 60 reject with tcp reset'], 502),
    (['iptables', '-p tcp --dport 9000 -j REJECT'], 502),
    (['iptables', '-p tcp --dport 9000 -j DROP'], 504),
    (['iptables', '-p tcp --dport 9000 -m string --algo bm --string GET -j REJECT --reject-with tcp-reset'], 502),
    (['iptables-legacy', '-p tcp --dport 9000 -j REJECT --reject-with tcp-reset'], 502),
]


@pytest.mark.parametrize(('how', 'status'), AT_OUTPUT)
def test_a_rule_at_output_is_off_for_one_uid_and_on_for_visitors(top: Topology, how: list[str], status: int) -> None:
    add_rule(top.edge, 'output', *how)
    before = without_counters(tuple(without_handles(top.edge.state())))
    assert top.get(VISITOR) == status
    armed = Armed(top.edge, PROBE)
    (guard,) = armed.guards
    assert top.get(port=SHADOW_PORT) == status
    armed.off(guard.rule.id)
    assert (top.get(port=SHADOW_PORT), top.get(VISITOR)) == (200, status)
    armed.off()
    assert top.get(port=SHADOW_PORT) == status
    assert armed.disarm() == ''
    assert top.get(VISITOR) == status
    assert without_counters(tuple(without_handles(top.edge.state()))) == before


@pytest.mark.parametrize(('how', 'status'), [
    (['nft', 'tcp dport 9000 reject'], 502),
    (['nft', 'tcp dport 9000 drop'], 504),
    (['iptables', '-p tcp --dport 9000 -j REJECT'], 502),
    (['iptables-legacy', '-p tcp --dport 9000 -j DROP'], 504),
])
def test_a_rule_at_the_upstream_is_off_for_one_address(top: Topology, how: list[str], status: int) -> None:
    add_rule(top.origin, 'input', *how)
    armed = Armed(top.origin, PROBE)
    armed.off(armed.guards[0].rule.id)
    assert (top.get(port=SHADOW_PORT), top.get(VISITOR)) == (200, status)
    assert armed.disarm() == ''
    assert top.get(port=SHADOW_PORT) == status


def test_a_block_list_at_input_is_off_for_the_tester_alone(top: Topology) -> None:
    top.edge.load(f'table inet fw {{ set bad {{ type ipv4_addr; elements = {{ {CLIENT}, {VISITOR} }}; }}; '
                  'chain c { type filter hook input priority 0; ip saddr @bad tcp dport 80 reject with tcp reset; }; }')
    armed = Armed(top.edge, PROBE)
    assert (top.get(), top.get(VISITOR)) == (0, 0)
    armed.off(armed.guards[0].rule.id)
    assert (top.get(), top.get(VISITOR)) == (200, 0)
    armed.disarm()
    found = read(top.edge)
    commands = remedies(found.ruleset.rules[0], Packet(saddr=CLIENT, daddr=EDGE, dport=LIVE_PORT), found.ruleset.sets)
    assert commands[0] == f"nft 'delete element inet fw bad {{ {CLIENT} }}'"
    top.edge.run('sh', '-c', commands[0])
    assert (top.get(), top.get(VISITOR)) == (200, 0)
    top.edge.run('sh', '-c', commands[2])
    assert top.get(VISITOR) == 200


@pytest.mark.parametrize('how', [['nft', f'{UPSTREAM} reject'], ['iptables', '-p tcp --dport 9000 -j REJECT'],
                                 ['iptables-legacy', '-p tcp --dport 9000 -j REJECT']])
def test_a_rule_is_off_for_everybody_and_on_again_by_itself(top: Topology, how: list[str]) -> None:
    add_rule(top.edge, 'output', *how)
    armed = Armed(top.edge, EVERYBODY)
    armed.off(armed.guards[0].rule.id, seconds=2)
    assert (top.get(), top.get(VISITOR)) == (200, 200)
    until(lambda: top.get(VISITOR) == 502)  # nothing is run: the kernel counts
    assert armed.disarm() == ''


@pytest.mark.parametrize('how', [
    ['nft', f'{UPSTREAM} reject'], ['iptables', '-p tcp --dport 9000 -j REJECT'],
    ['iptables-legacy', f'-d {ORIGIN} -p tcp --dport 9000 -j REJECT'],
])
def test_a_remedy_does_what_it_says(top: Topology, how: list[str]) -> None:
    for number in range(2):
        top.edge.flush()
        add_rule(top.edge, 'output', *how)
        assert top.get() == 502
        (rule,) = (one for one, _ in suspects(read(top.edge)))
        exception, removal, _ = remedies(rule, Packet(daddr=ORIGIN, dport=9000))
        top.edge.run('sh', '-c', (exception, removal)[number])
        assert top.get() == 200


@pytest.mark.parametrize(('how', 'errno'), [
    (f'{UPSTREAM} reject with tcp reset', 111), (f'{UPSTREAM} reject with icmpx admin-prohibited', 113),
    (f'{UPSTREAM} drop', 110), (f'{UPSTREAM} meta length > 60 reject with tcp reset', 104),
])
def test_what_nginx_says_leads_to_the_rule(top: Topology, how: str, errno: int) -> None:
    top.edge.load(kinds.one_of_24(how))
    already = len(top.log())
    assert top.get() in (502, 504)
    failures = [one for line in top.log()[already:].splitlines() if (one := clues.failure_in(line))]
    assert [(one.errno, one.address, one.port) for one in failures] == [(errno, ORIGIN, 9000)]
    found = clues.hints(failures[0], read(top.edge).ruleset)
    assert [hint.rule.text for hint in found] == [how]


def test_packets_that_visitors_meet_meanwhile_are_counted(top: Topology) -> None:
    add_rule(top.edge, 'output', 'nft', f'{UPSTREAM} counter reject with tcp reset')
    armed = Armed(top.edge, PROBE)
    for _ in range(3):
        assert top.get(VISITOR) == 502
    armed.off(armed.guards[0].rule.id)
    assert top.get(port=SHADOW_PORT) == 200
    assert armed.disarm() == ''
    # what the kernel sends for a process that is gone has no uid, hence may be counted too
    assert 3 <= read(top.edge).ruleset.rules[0].packets <= 5
