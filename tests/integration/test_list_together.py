"""`wpaudit list` on a host with all firewalls at once: nothing missed, nothing invented, as their own tools have it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.firewalls.apache import Apache
from fixtures.firewalls.modsecurity.server import CRS
from fixtures.lab.servers import APACHE_MODULES
from fixtures.netfilter import Namespace
from fixtures.netfilter import namespace
from wpaudit.domain import Suspect
from wpaudit.firewalls import layers
from wpaudit.ports import Ground

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='network namespaces need root')

HTACCESS = b"""# BEGIN Acme
RewriteEngine On
RewriteCond %{QUERY_STRING} evil [OR]
RewriteCond %{HTTP_USER_AGENT} bot
RewriteRule ^ - [F]
# END Acme
Redirect 502 /gone
RewriteRule ^harmless$ elsewhere [L]
"""
NFT = """table inet fw {
    chain in { type filter hook input priority 0; tcp dport 80 ip saddr 10.9.9.9 drop; tcp dport 443 accept; }
    chain out { type filter hook output priority 0; tcp dport 9000 reject; }
}"""
IPTABLES = ('-A INPUT -p tcp --dport 81 -j DROP', '-A OUTPUT -p tcp --dport 82 -j REJECT')
# What the rules of the Core Rule Set have in common that count others' findings (its own files 901, 949, 959, 980).
MACHINERY = re.compile(r'90[01]\d{3}|9[45]9\d{3}|980\d{3}')
PHASES = {'request': '2', 'response': '4'}
_RULE = re.compile(r'^Sec(?:Rule|Action)\b(?:.*\\\n)*.*', re.MULTILINE)


@pytest.fixture(scope='module')
def space() -> Iterator[Namespace]:
    with namespace() as made:
        made.load(NFT)
        for rule in IPTABLES:
            made.run('iptables', *rule.split())
        yield made


@pytest.fixture(scope='module')
def host(space: Namespace) -> Iterator[Ground]:
    names = ('unique_id', 'security2')
    modules = ''.join(f'LoadModule {name}_module {APACHE_MODULES}/mod_{name}.so\n' for name in names)
    rules = f'SecRuleEngine On\nInclude /etc/modsecurity/crs/crs-setup.conf\nInclude {CRS}/*.conf\n'
    with Apache(more=modules + rules) as server:
        server.site(server.docroot, HTACCESS)
        # Not by the server's name, which other tests' servers on this machine have too.
        yield Ground(space.shell, str(server.docroot), f'http://127.0.0.1:{server.port}/')


@pytest.fixture(scope='module')
def listed(host: Ground) -> dict[str, tuple[Suspect, ...]]:
    return {name: layer.listing()[0] for name, layer in layers(host).items()}


def in_files(files: list[Path]) -> dict[str, str]:
    """Return the rules of SecLang by id, read in the simplest way: their text as it stands there."""
    texts = [match[0] for file in files for match in _RULE.finditer(file.read_text())]
    return {found[1]: text for text in texts if (found := re.search(r'\bid:(\d+)', text))}


def test_every_rule_of_the_core_rule_set_that_may_block_is_there(listed: dict[str, tuple[Suspect, ...]]) -> None:
    every = in_files(sorted(CRS.glob('*.conf')))
    blocking = {
        number: text for number, text in every.items()
        if re.search(r'["\s,](?:block|deny|drop)\b', text) and not MACHINERY.fullmatch(number)
    }
    found = {one.id: one for one in listed['modsecurity']}
    assert set(found) == set(blocking)
    assert len(found) > 200
    for number, one in found.items():
        path, _, line = one.where.rpartition(':')
        assert blocking[number].split('\n')[0] == Path(path).read_text().split('\n')[int(line) - 1]
        phase = re.search(r'\bphase:(\w+)', blocking[number])
        assert phase is None or dict(one.details)['phase'] == PHASES.get(phase[1], phase[1])
        assert set(re.findall(r"tag:'([^']*)'", blocking[number])[:2]) <= set(dict(one.details)['tags'].split(', '))


def test_every_rule_of_htaccess_that_blocks_is_there(host: Ground, listed: dict[str, tuple[Suspect, ...]]) -> None:
    file = f'{host.path}/.htaccess'
    # the rule, each of its two conditions, and the redirect
    assert {one.id for one in listed['htaccess'] if one.id.startswith(file)} == {
        f'{file}:{line}' for line in (3, 4, 5, 7)}


def test_every_rule_of_the_packet_filter_that_stops_something_is_there(
    space: Namespace, listed: dict[str, tuple[Suspect, ...]],
) -> None:
    rules = [part['rule'] for part in json.loads(space.run('nft', '-j', 'list', 'table', 'inet', 'fw'))['nftables']
             if 'rule' in part]
    stopping = {
        f'inet fw {one["chain"]} handle {one["handle"]}' for one in rules
        if any(verdict in part for part in one['expr'] for verdict in ('drop', 'reject'))
    }
    saved = [line for line in space.run('iptables-save').split('\n') if line.startswith('-A')]
    assert len(stopping) == len(saved) == 2
    assert {one.id for one in listed['netfilter']} == stopping | {'filter INPUT 1', 'filter OUTPUT 1'}
