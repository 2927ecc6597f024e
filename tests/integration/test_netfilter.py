"""Rules of real packet filters, in network namespaces: listed, guarded, switched one by one, put back as they were."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from collections.abc import Sequence

import pytest

from fixtures.firewalls import netfilter_rules as kinds
from fixtures.firewalls.netfilter_run import EVERYBODY
from fixtures.firewalls.netfilter_run import PROBE
from fixtures.firewalls.netfilter_run import TOKEN
from fixtures.firewalls.netfilter_run import Armed
from fixtures.firewalls.netfilter_run import add_rule
from fixtures.firewalls.netfilter_run import read
from fixtures.firewalls.netfilter_run import suspects
from fixtures.firewalls.netfilter_run import unguarded
from fixtures.firewalls.netfilter_run import with_chain
from fixtures.firewalls.netfilter_run import without_handles
from fixtures.netfilter import Namespace
from fixtures.netfilter import NamespaceShell
from fixtures.netfilter import NetfilterError
from fixtures.netfilter import namespace
from fixtures.netfilter import sweep
from wpaudit.firewalls import FIREWALLS
from wpaudit.firewalls.netfilter import iptables_guards
from wpaudit.firewalls.netfilter import nft_guards
from wpaudit.firewalls.netfilter.guards import Guard
from wpaudit.firewalls.netfilter.guards import Who
from wpaudit.firewalls.netfilter.guards import guarded
from wpaudit.firewalls.netfilter.rules import Rule
from wpaudit.firewalls.netfilter.undo import undo
from wpaudit.ports import Ground

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='network namespaces need root')

TOOLS = ('iptables', 'ip6tables', 'iptables-legacy', 'ip6tables-legacy')


@pytest.fixture(scope='module')
def empty_space() -> Iterator[Namespace]:
    with namespace() as made:
        yield made


@pytest.fixture
def space(empty_space: Namespace) -> Namespace:
    empty_space.flush()
    return empty_space


def loadable(space: Namespace, lines: Sequence[str], where: str) -> list[str]:
    """Return the rules that this kernel knows."""
    found = []
    for line in lines:
        try:
            space.load(kinds.NFT_TABLES.format(**{'input': '', 'output': '', where: line}))
        except NetfilterError:
            continue
        finally:
            space.run('nft', 'flush', 'ruleset')
        found.append(line)
    return found


@functools.cache
def known() -> tuple[list[str], list[str]]:
    with namespace() as trial:
        return loadable(trial, kinds.NFT_INPUT, 'input'), loadable(trial, kinds.NFT_OUTPUT, 'output')


def load_all_nft(space: Namespace) -> tuple[int, int]:
    """Load every kind that this kernel knows; return how many are suspects, and how many are not."""
    incoming, outgoing = known()
    lines = '\n'.join([*incoming, *kinds.NFT_OTHERS])
    space.load(kinds.NFT_TABLES.format(input=lines, output='\n'.join(outgoing)))
    # besides: one in "sub", two that lead elsewhere and one at ingress; none: what leads to SSH, and masquerading
    return len(incoming) + len(outgoing) + 4, len(kinds.NFT_OTHERS) + 2


def load_all_iptables(space: Namespace, tool: str) -> int:
    """Load every kind of iptables rule; return how many are suspects."""
    words = kinds.WORDS[6 if tool.startswith('ip6') else 4]
    space.run('ipset', 'create', 'blocked', 'hash:ip', 'family', 'inet6' if tool.startswith('ip6') else 'inet')
    lines = [f'[5:300] -A INPUT {line.format(**words)}' for line in (*kinds.IPTABLES_INPUT, *kinds.IPTABLES_OTHERS)]
    lines += [f'[6:400] -A OUTPUT {line.format(**words)}' for line in kinds.IPTABLES_OUTPUT]
    nat = ['-A PREROUTING -p tcp --dport 8088 -j REDIRECT --to-ports 8080',
           '-A PREROUTING -p tcp --dport 2222 -j REDIRECT --to-ports 22']
    lines += ['[3:180] -A sub -p tcp --dport 81 -j DROP', 'COMMIT', '*nat', *nat, 'COMMIT', '']
    space.run(f'{tool}-restore', '-n', '-c', stdin='\n'.join(['*filter', ':sub - [0:0]', *lines]))
    return len(kinds.IPTABLES_INPUT) + len(kinds.IPTABLES_OUTPUT) + 2


# -- everything comes back ------------------------------------------------------------------------------

@pytest.mark.parametrize('who', [EVERYBODY, PROBE], ids=['live', 'isolated'])
def test_every_kind_of_nft_rule_comes_back_byte_for_byte(space: Namespace, who: Who) -> None:
    wanted, _ = load_all_nft(space)
    before = space.state()
    armed = Armed(space, who)
    assert len(armed.guards) == wanted >= 28
    for guard in armed.guards:
        armed.off(guard.rule.id)
    armed.off()
    assert armed.disarm() == ''
    assert space.state() == before


@pytest.mark.parametrize('tool', TOOLS)
@pytest.mark.parametrize('who', [EVERYBODY, PROBE], ids=['live', 'isolated'])
def test_every_kind_of_iptables_rule_comes_back_with_its_counters(space: Namespace, tool: str, who: Who) -> None:
    wanted = load_all_iptables(space, tool)
    before = without_handles(space.state())
    armed = Armed(space, who)
    assert len(armed.guards) == wanted
    for guard in armed.guards[::3]:
        armed.off(guard.rule.id)
    assert armed.disarm() == ''
    assert without_handles(space.state()) == before


@pytest.mark.parametrize('tool', TOOLS)
def test_rules_that_look_the_same_keep_their_places(space: Namespace, tool: str) -> None:
    load_all_iptables(space, tool)
    before = without_handles(space.state())
    twin = next(one.id for one in read(space).ruleset.rules if one.place == 5 and one.chain == 'INPUT')
    armed = Armed(space, EVERYBODY, pick=lambda rule: rule.id == twin)
    now = [rule for rule in read(space).ruleset.rules if rule.chain == 'INPUT' and '8080' in rule.text]
    assert [rule.place for rule in now] == [1, 2]
    assert armed.disarm() == ''
    assert without_handles(space.state()) == before


def test_a_rehearsal_changes_nothing_and_finds_what_cannot_be_read_back(space: Namespace) -> None:
    load_all_nft(space)
    before = space.state()
    guards, _ = guarded(suspects(read(space)), TOKEN, EVERYBODY)
    assert all(space.succeeds(nft_guards.rehearsal([guard])) for guard in guards)
    assert space.state() == before
    broken = Guard(Rule(**{**vars(guards[0].rule), 'text': 'no such rule'}), *list(vars(guards[0]).values())[1:])
    assert not space.succeeds(nft_guards.rehearsal([*guards[1:], broken]))
    assert space.state() == before


# -- the list is what is there --------------------------------------------------------------------------

def test_no_nft_rule_is_missed_and_none_invented(space: Namespace) -> None:
    wanted, others = load_all_nft(space)
    listed = json.loads(space.run('nft', '-j', 'list', 'ruleset'))['nftables']
    rules = [part['rule'] for part in listed if 'rule' in part]
    there = {f'{one["family"]} {one["table"]} {one["chain"]} handle {one["handle"]}' for one in rules}
    found = read(space)
    assert {rule.id for rule in found.ruleset.rules} == there
    assert len(found.ruleset.rules) == len(there) == wanted + others
    layer = FIREWALLS['netfilter']().layer_of(Ground(space.shell, '/srv/www', 'https://site.example'))
    suspected, gaps = layer.listing()
    assert {one.id for one in suspected} < there
    assert len(suspected) == wanted
    assert len({one.id for one in suspected}) == wanted
    # it could drop, and cannot be switched without closing something
    assert {gap.why for gap in gaps} == {
        'cannot be switched: it also accepts or leads on, so switching it off could close SSH',
        'cannot be switched: SSH could come through it, so switching it off could close SSH',
    }


def test_all_kinds_of_tables_at_once_have_ids_of_their_own(space: Namespace) -> None:
    for tool in TOOLS:
        space.run(tool, '-A', 'INPUT', '-p', 'tcp', '--dport', '8080', '-j', 'DROP')
    space.load(with_chain('tcp dport 8080 drop', table='ip nftown'))
    counted = sum(line.startswith('[') for tool in TOOLS for line in space.run(f'{tool}-save', '-c').splitlines())
    found, gaps = FIREWALLS['netfilter']().layer_of(Ground(space.shell, '/', '')).listing()
    assert gaps == ()
    assert [one.id for one in found] == [
        'ip nftown c handle 2', 'filter INPUT 1', 'ip6tables filter INPUT 1', 'iptables-legacy filter INPUT 1',
        'ip6tables-legacy filter INPUT 1',
    ]
    assert len(found) == counted + 1
    assert found[3].where == 'iptables-legacy, table filter, chain INPUT, at input'


def test_what_is_in_the_sets_that_a_rule_asks_is_listed_with_it(space: Namespace) -> None:
    space.run('ipset', 'create', 'bad', 'hash:ip')
    space.run('ipset', 'add', 'bad', '10.9.0.1')
    space.run('iptables', '-A', 'INPUT', '-m', 'set', '--match-set', 'bad', 'src', '-j', 'DROP')
    entries = ', '.join(f'10.0.{number}.1' for number in range(30))
    space.load(f'table inet fw {{ set many {{ type ipv4_addr; elements = {{ {entries} }}; }}; '
               'chain c { type filter hook input priority 0; ip saddr @many drop; }; }')
    found, gaps = FIREWALLS['netfilter']().layer_of(Ground(space.shell, '/', '')).listing()
    assert gaps == ()
    details = {one.id: dict(one.details) for one in found}
    assert details['filter INPUT 1'] == {'set bad': '10.9.0.1'}
    assert details['inet fw c handle 3']['set many'].startswith('10.0.0.1, 10.0.1.1, ')
    assert details['inet fw c handle 3']['set many'].endswith(' and 10 more')


def test_a_table_of_nft_that_looks_like_one_of_iptables_stays_with_nft(space: Namespace) -> None:
    space.load(with_chain('tcp dport 80 drop comment "mine"', table='ip filter', chain='INPUT'))
    before = space.state()
    assert '-A INPUT' in space.run('iptables-save')  # iptables would list it, without its comment
    armed = Armed(space, EVERYBODY)
    assert [guard.rule.id for guard in armed.guards] == ['ip filter INPUT handle 2']
    assert armed.disarm() == ''
    assert space.state() == before


def test_an_unprivileged_account_is_told_the_line_that_opens_it(space: Namespace) -> None:
    class Unprivileged(NamespaceShell):
        def __init__(self, name: str) -> None:
            super().__init__(name)
            self._prefix = (*self._prefix, 'setpriv', '--reuid=daemon', '--regid=daemon', '--clear-groups')

    space.load(with_chain('drop'))
    found, gaps = FIREWALLS['netfilter']().layer_of(Ground(Unprivileged(space.name), '/', '')).listing()
    assert found == ()
    assert len(gaps) == 1
    assert '--sudo' in gaps[0].why
    assert 'daemon ALL=(root) NOPASSWD: ' in gaps[0].why


# -- hostile texts --------------------------------------------------------------------------------------

HOSTILE = (
    'a" drop; flush ruleset; comment "b', "new\nline\n\t\ttcp dport 1 drop # handle 2\n", 'tab\tand \x1b[31mred',
    'half a "quote', 'back\\slash "', '$variable', "it's `id` $(id)", 'x # handle 3',
)


def test_hostile_comments_of_nft_are_shown_and_never_put_back_changed(space: Namespace) -> None:
    space.load(with_chain(''))
    rule = {'family': 'inet', 'table': 'fw', 'chain': 'c', 'expr': [{'drop': None}]}
    rules = [{'add': {'rule': {**rule, 'comment': comment}}} for comment in ('plain', *HOSTILE)]
    space.run('nft', '-j', '-f', '-', stdin=json.dumps({'nftables': rules}))
    before = space.state()
    found = read(space)
    assert len(found.ruleset.rules) == 1 + len(HOSTILE)
    assert {rule.comment for rule in found.ruleset.rules} == {'plain', *HOSTILE}
    armed = Armed(space, EVERYBODY)
    switched = {guard.rule.comment for guard in armed.guards}
    assert switched == {'x # handle 3'}  # handle 2 is imitated
    armed.off(*(guard.rule.id for guard in armed.guards))
    assert armed.disarm() == ''
    assert space.state() == before


@pytest.mark.parametrize('tool', TOOLS)
def test_hostile_comments_of_iptables_are_shown_and_never_put_back_changed(space: Namespace, tool: str) -> None:
    for comment in ('plain', *HOSTILE):
        chain = 'OUTPUT' if '\n' in comment else 'INPUT'
        space.run(tool, '-A', chain, '-m', 'comment', '--comment', comment, '-p', 'tcp', '-j', 'DROP')
    before = without_handles(space.state())
    found = read(space)
    assert [rule.comment for rule in found.ruleset.rules if rule.chain == 'INPUT'] == [
        comment for comment in ('plain', *HOSTILE) if '\n' not in comment
    ]
    assert len(found.ruleset.rules) == 1 + len(HOSTILE)
    armed = Armed(space, EVERYBODY)
    assert not any('\n' in guard.rule.text for guard in armed.guards)
    assert len(armed.guards) >= 6
    assert armed.disarm() == ''
    assert without_handles(space.state()) == before


# -- somebody else at work ------------------------------------------------------------------------------

def test_nft_rules_that_somebody_else_changed_meanwhile_are_left_alone(space: Namespace) -> None:
    space.load(with_chain('tcp dport 1 drop; tcp dport 2 drop; tcp dport 3 drop'))
    armed = Armed(space, EVERYBODY)
    space.run('nft', 'insert', 'rule', 'inet', 'fw', 'c', 'ip', 'saddr', '5.5.5.5', 'drop')
    space.run('nft', 'delete', 'rule', 'inet', 'fw', 'c', 'handle', '3')
    space.run('nft', 'add', 'rule', 'inet', 'fw', armed.guards[2].name, 'tcp', 'dport', '9', 'drop')
    told = armed.disarm().splitlines()
    assert [line.split(' meanwhile')[0] for line in told] == [
        'inet fw c handle 3 was changed or removed by somebody else',
        'the guard of inet fw c handle 4 was changed by somebody else',
    ]
    assert told[0].endswith('before it was: tcp dport 2 drop')
    left = space.run('nft', '-a', 'list', 'chain', 'inet', 'fw', 'c')
    assert [line.strip().split(' # ')[0] for line in left.splitlines()[3:-2]] == [
        'ip saddr 5.5.5.5 drop', 'tcp dport 1 drop', f'jump {armed.guards[2].name} comment "wpaudit"',
    ]


@pytest.mark.parametrize('tool', TOOLS)
def test_iptables_rules_that_somebody_else_changed_meanwhile_are_left_alone(space: Namespace, tool: str) -> None:
    for port in (1, 2, 3):
        space.run(tool, '-A', 'INPUT', '-p', 'tcp', '--dport', str(port), '-j', 'DROP')
    armed = Armed(space, EVERYBODY)
    space.run(tool, '-I', 'INPUT', '1', '-p', 'tcp', '--dport', '99', '-j', 'REJECT', '--reject-with', 'tcp-reset')
    space.run(tool, '-I', 'INPUT', '3', '-p', 'tcp', '--dport', '98', '-j', 'DROP')
    space.run(tool, '-D', 'INPUT', *iptables_guards.jump(armed.guards[1]).split())
    assert [line.split(' was changed')[0] for line in armed.disarm().splitlines()] == [armed.guards[1].rule.id]
    assert re.findall(r'-A INPUT .*--dport (\d+)', space.run(f'{tool}-save')) == ['99', '1', '98', '3']


@pytest.mark.parametrize('tool', TOOLS)
def test_whoever_was_quicker_between_reading_and_arming_loses_nothing(space: Namespace, tool: str) -> None:
    space.run(tool, '-A', 'INPUT', '-p', 'tcp', '--dport', '1', '-j', 'DROP')
    found = read(space)
    guards, _ = guarded(suspects(found), TOKEN, EVERYBODY)
    space.run(tool, '-R', 'INPUT', '1', '-p', 'tcp', '--dport', '77', '-j', 'DROP')
    before = without_handles(space.state())
    with pytest.raises(NetfilterError):
        space.carry_out(iptables_guards.arm(guards, found.ruleset.rules))
    assert without_handles(space.state())[:-1] == before[:-1]  # the sets are there, the rules are as they were


# -- the way back, at any moment -------------------------------------------------------------------------

@pytest.mark.parametrize('tool', ['nft', 'iptables', 'iptables-legacy'])
def test_the_way_back_may_be_run_at_any_time_and_again(space: Namespace, tool: str) -> None:
    add_rule(space, 'input', tool, 'tcp dport 81 drop' if tool == 'nft' else '-p tcp --dport 81 -j DROP')
    before = without_handles(space.state())
    found = read(space)
    guards, _ = guarded(suspects(found), TOKEN, EVERYBODY)
    way_back = undo(guards, found.ruleset.rules)
    assert unguarded(space, way_back) == ''  # nothing is armed yet
    if tool != 'nft':
        space.carry_out(iptables_guards.arm(guards, found.ruleset.rules)[:1])
        assert unguarded(space, way_back) == ''  # half armed: the sets are there
    armed = Armed(space, EVERYBODY)
    for _ in range(2):
        assert armed.disarm() == ''
        assert without_handles(space.state()) == before


@pytest.mark.parametrize('tool', ['nft', 'iptables'])
def test_rules_that_somebody_loads_anew_meanwhile_are_as_they_were(space: Namespace, tool: str) -> None:
    """As `systemctl reload nftables` does: guards are gone, rules are there under other handles."""
    text = 'tcp dport 81 counter drop' if tool == 'nft' else '-p tcp --dport 81 -j DROP'
    add_rule(space, 'input', tool, text)
    armed = Armed(space, EVERYBODY)
    space.flush() if tool == 'nft' else space.run('iptables', '-F')
    add_rule(space, 'input', 'nft', 'tcp dport 80 accept') if tool == 'nft' else None
    space.run('nft', 'add', 'rule', 'inet', 'fw', 'c', text) if tool == 'nft' else add_rule(space, 'input', tool, text)
    assert armed.disarm() == ''
    assert 'wpa-' not in ''.join(space.state())


def test_what_a_killed_test_left_is_swept() -> None:
    code = 'import fixtures.netfilter as n, time\nwith n.namespace() as s:\n print(s.name, flush=True); time.sleep(600)'
    with subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        name = child.stdout.readline().strip()
        child.kill()
    assert name in subprocess.run(['ip', 'netns', 'list'], capture_output=True, text=True, check=True).stdout
    sweep()
    assert name not in subprocess.run(['ip', 'netns', 'list'], capture_output=True, text=True, check=True).stdout
