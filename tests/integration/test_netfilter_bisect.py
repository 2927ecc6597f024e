"""`wpaudit bisect` on a WordPress behind a gateway whose packet filter is at fault: rule named, all as it was."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.firewalls import netfilter_rules as kinds
from fixtures.firewalls.gateway import Gateway
from fixtures.firewalls.gateway import ended
from fixtures.firewalls.gateway import gateway
from fixtures.firewalls.netfilter_run import add_rule
from fixtures.firewalls.netfilter_run import without_handles
from fixtures.lab.traces import eventually
from fixtures.netfilter import CLIENT
from fixtures.netfilter import ORIGIN
from fixtures.netfilter import VISITOR
from wpaudit.domain import Request
from wpaudit.firewalls import FIREWALLS
from wpaudit.ports import Ground

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='network namespaces need root')

RULES = ('--suspects', 'rules')


@pytest.fixture(scope='module')
def built() -> Iterator[Gateway]:
    with gateway() as made:
        yield made


@pytest.fixture
def site(built: Gateway) -> Iterator[Gateway]:
    built.edge.flush()
    yield built
    built.edge.flush()


@contextlib.contextmanager
def untouched(site: Gateway, *, handles: bool = True) -> Iterator[None]:
    """Fail unless rules, processes and files are the same afterwards. iptables in nf_tables keeps no handles."""
    def seen() -> list[str]:
        return site.tables() if handles else without_handles(tuple(site.tables()))

    before, nginxes = seen(), site.nginxes()
    yield
    assert eventually(lambda: seen() == before), (before, seen())
    assert eventually(lambda: site.nginxes() == nginxes)
    assert eventually(lambda: not list(site.kept.iterdir()))


@contextlib.contextmanager
def visited(site: Gateway) -> Iterator[set[int]]:
    """Let somebody else visit the site all the while, and collect what they get."""
    statuses: set[int] = set()
    over = threading.Event()

    def come() -> None:
        while not over.is_set():
            statuses.add(site.visit())

    visitor = threading.Thread(target=come)
    visitor.start()
    try:
        yield statuses
    finally:
        over.set()
        visitor.join()


def to_origin(site: Gateway, rest: str) -> str:
    return f'ip daddr {ORIGIN} tcp dport {site.lab.port} {rest}'


def test_one_of_24_rules_is_named_with_at_most_8_probes_and_visitors_notice_nothing(site: Gateway) -> None:
    site.edge.load(kinds.one_of_24(to_origin(site, 'counter reject with tcp reset')))
    with untouched(site), visited(site) as statuses:
        run = site.run(*RULES)
    assert run.code == 1, run.why
    assert run.named == {frozenset({'inet fw out handle 19'})}
    assert statuses == {502}
    assert len(run.probes('search', 'certificate')) <= 8
    assert run.report['mode'] == 'isolated'
    assert run.report['restore']['verified']
    assert run.report['advice'][1] == "nft 'delete rule inet fw out handle 19'"
    assert any(one['suspects'] == ['inet fw out handle 19'] for one in run.report['evidence'])


# hook, tool, rule, what visitors get
AT_FAULT = [
    ('output', 'nft', 'ip daddr {origin} tcp dport {port} meta length > 60 reject with tcp reset', 502),
    ('input', 'nft', 'ip saddr {origin} tcp sport {port} drop', 504),  # the answers
    ('output', 'iptables-legacy', '-d {origin} -p tcp --dport {port} -j REJECT', 502),
]


@pytest.mark.parametrize(('hook', 'tool', 'rule', 'status'), AT_FAULT)
def test_the_rule_is_named_and_everything_is_as_it_was(
    site: Gateway, hook: str, tool: str, rule: str, status: int,
) -> None:
    add_rule(site.edge, hook, tool, rule.format(origin=ORIGIN, port=site.lab.port))
    assert site.visit() == status
    with untouched(site):
        run = site.run(*RULES)
    assert run.code == 1, run.why
    assert run.named == {frozenset({{'nft': 'inet fw c handle 2'}.get(tool, f'{tool} filter OUTPUT 1')})}
    assert site.visit() == status


def test_a_rule_that_blocks_by_a_set_is_named_with_the_entry_to_take_out(site: Gateway) -> None:
    for line in ('create bad hash:ip', f'add bad {ORIGIN}', 'add bad 192.0.2.7'):
        site.edge.run('ipset', *line.split())
    add_rule(site.edge, 'output', 'iptables', '-m set --match-set bad dst -j REJECT')
    with untouched(site, handles=False):
        run = site.run(*RULES)
    assert run.code == 1, run.why
    assert run.named == {frozenset({'filter OUTPUT 1'})}
    assert run.report['advice'][0] == f'ipset del bad {ORIGIN}'
    site.edge.run('sh', '-c', run.report['advice'][0])
    assert site.visit() == 200


def test_live_a_rule_is_off_for_everybody_for_moments(site: Gateway) -> None:
    rule = f'-d {ORIGIN} -p tcp --dport {site.lab.port} -j REJECT --reject-with tcp-reset'
    add_rule(site.edge, 'output', 'iptables', rule)
    with untouched(site, handles=False), visited(site) as statuses:
        run = site.run(*RULES, '--mode', 'live')
    assert run.code == 1, run.why
    assert run.named == {frozenset({'filter OUTPUT 1'})}
    assert statuses == {200, 502}
    assert 0 < run.report['restore']['changed_seconds'] < 30


def test_what_only_live_switching_reaches_says_why(site: Gateway) -> None:
    """At input iptables cannot tell what is for the second nginx. Without nginx nothing tells it at output either."""
    add_rule(site.edge, 'input', 'iptables', f'-s {ORIGIN} -p tcp --sport {site.lab.port} -j REJECT')
    add_rule(site.edge, 'output', 'nft', to_origin(site, 'drop'))
    add_rule(site.origin, 'output', 'nft', 'tcp dport 80 drop')
    asked = (Request(site.lab.url),)
    layer = FIREWALLS['netfilter']().layer_of(Ground(site.edge.shell, str(site.lab.path), site.lab.url, requests=asked))
    reasons = {one.id: one.live_only for one in layer.listing()[0]}
    assert reasons == {'filter INPUT 1': 'the requests of this run come from an address of loopback, which others have '
                                         'too', 'inet fw c handle 2': ''}
    url = 'http://127.0.0.1:7/'
    for asked, why in ((Request(url),), 'does not listen to http on port 7'), ((), '--run'):
        elsewhere = FIREWALLS['netfilter']().layer_of(Ground(site.origin.shell, '/', url, requests=asked))
        (other,) = elsewhere.listing()[0]
        assert why in other.live_only
    site.origin.flush()


def test_an_upstream_on_loopback_is_told_apart_by_the_address_it_is_asked_from(site: Gateway) -> None:
    place = f'127.0.0.2:{site.lab.port}'
    with site.passing_on_to(place):
        add_rule(site.edge, 'input', 'iptables', f'-d 127.0.0.2 -p tcp --dport {site.lab.port} -j REJECT')
        assert site.visit() == 502
        with untouched(site, handles=False), visited(site) as statuses:
            run = site.run(*RULES, '--mode', 'isolated')
    assert run.code == 1, run.why
    assert run.named == {frozenset({'filter INPUT 1'})}
    assert statuses == {502}


def test_over_ssh_with_sudo_the_probes_go_through_sshd(site: Gateway) -> None:
    add_rule(site.edge, 'output', 'nft', to_origin(site, 'reject'))
    with untouched(site):
        refused = site.run(*RULES, login='user')
        run = site.run(*RULES, '--sudo', login='user')
    assert refused.code == 3, refused.why
    assert any('--sudo' in gap['why'] and 'sudoers' in gap['why'] for gap in refused.report['gaps'])
    assert run.code == 1, run.why
    assert run.named == {frozenset({'inet fw c handle 2'})}


def test_a_rule_for_incoming_packets_is_off_for_our_address_alone(site: Gateway) -> None:
    """The second nginx works, and nginx has complained of nothing: probes go straight to the site."""
    (site.root / 'edge.log').write_text('')
    blocked = f'ip saddr {{ {CLIENT}, {VISITOR} }} tcp dport {site.lab.port} meta length > 60 reject with tcp reset'
    site.edge.load(
        f'table inet fw {{ chain i {{ type filter hook input priority 0; tcp dport 7 drop; {blocked}; }}; '
        'chain o { type filter hook output priority 0; tcp dport 7 drop; }; }')
    with untouched(site), visited(site) as statuses:
        run = site.run(*RULES, '--fail-on', 'reset', login='root')
    assert run.code == 1, run.why
    assert run.named == {frozenset({'inet fw i handle 5'})}
    assert statuses == {0}


def started(site: Gateway, *options: str) -> subprocess.Popen[str]:
    """Start a run and wait until it searches, so that everything is armed."""
    process = site.start(*RULES, '--verbose', *options)
    assert process.stderr is not None
    said = ''
    while not said.endswith('wpaudit: searching\n'):
        line = process.stderr.readline()
        assert line, f'it ended without a search: {said}'
        said += line
    return process


def test_when_it_is_killed_the_host_is_as_it_was_all_the_same(site: Gateway) -> None:
    site.edge.load(kinds.one_of_24(to_origin(site, 'reject')))
    with untouched(site):
        process = started(site)
        assert 'jump wpa-' in ''.join(site.tables())
        assert site.nginxes() == 2
        process.send_signal(signal.SIGKILL)
        assert ended(process).code == -signal.SIGKILL


def test_a_killed_run_tells_of_what_others_changed_when_somebody_listens(site: Gateway) -> None:
    site.edge.load(kinds.one_of_24(to_origin(site, 'reject')))
    process = started(site)
    site.edge.run('nft', *['delete', 'rule', 'inet', 'fw', 'out', 'handle', '5'])
    [pid] = site.kept.glob('*/pid')
    keeper = Path('/proc', pid.read_text().strip())
    process.send_signal(signal.SIGKILL)
    ended(process)
    assert eventually(lambda: not keeper.exists())
    assert 'wpa-' not in ''.join(site.tables())
    first = site.run(verb='restore')
    assert first.code == 5, first.why
    assert 'inet fw out handle 5 was changed or removed by somebody else' in ' '.join(first.err.split())
    assert site.run(verb='restore').code == 0
    assert eventually(lambda: not list(site.kept.iterdir()))


def test_what_somebody_else_changes_meanwhile_is_theirs_and_told(site: Gateway) -> None:
    site.edge.load(kinds.one_of_24(to_origin(site, 'reject')))
    process = started(site)
    site.edge.run('nft', *['delete', 'rule', 'inet', 'fw', 'out', 'handle', '5'])
    run = ended(process)
    assert run.code == 5, run.why
    told = ' '.join(run.err.split())
    assert 'inet fw out handle 5 was changed or removed by somebody else' in told
    assert 'before it was: ip daddr 198.51.100.3 tcp dport 7003 drop' in told
    left = ''.join(site.tables())
    assert 'wpa-' not in left
    assert left.count(' drop # handle') == 22
    assert site.nginxes() == 1
    assert eventually(lambda: not list(site.kept.iterdir()))


