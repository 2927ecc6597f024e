"""The documented sudoers file with the real sudo: each of its lines opens what it says, and nothing else does.

The file stands in the place of the machine's own in a mount namespace, which ends with each command.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path

import pytest

from fixtures.netfilter import Namespace
from fixtures.netfilter import NamespaceShell
from fixtures.netfilter import namespace
from wpaudit.app_layers import firewall_checks
from wpaudit.errors import ModeUnavailable
from wpaudit.firewalls import FIREWALLS
from wpaudit.firewalls.acting import may_root
from wpaudit.firewalls.acting import rooted
from wpaudit.ports import Ground

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='network and mount namespaces need root')

DOCUMENTED = Path(__file__).parents[2] / 'docs' / 'sudoers'
LOGIN = 'daemon'
_AS_LOGIN = 'mount --bind "$0" /etc/sudoers && exec setpriv --reuid="$1" --regid="$1" --clear-groups "${@:2}"'


class Login(NamespaceShell):
    """An account that is not root, on a host with this sudoers file."""

    def __init__(self, name: str, sudoers: Path) -> None:
        super().__init__(name)
        self._prefix = (*self._prefix, 'unshare', '--mount', 'bash', '-c', _AS_LOGIN, str(sudoers), LOGIN)


@pytest.fixture(scope='module')
def space() -> Iterator[Namespace]:
    with namespace() as made:
        made.load('table inet fw { chain c { type filter hook input priority 0; tcp dport 80 drop; }; }')
        yield made


def ground(space: Namespace, folder: Path, lines: Sequence[str], *, sudo: bool = True) -> Ground:
    file = folder / 'sudoers'
    file.write_text('\n'.join([*lines, '']))
    file.chmod(0o440)
    return Ground(Login(space.name, file), '/srv/www', 'http://site.test', sudo=sudo)


def documented(*, switching: bool) -> list[str]:
    text = re.sub(r'^deploy ', f'{LOGIN} ', DOCUMENTED.read_text(), flags=re.MULTILINE)
    return [line for line in text.splitlines() if switching or 'NOPASSWD: /bin/sh' not in line]


def test_the_documented_file_is_one_that_sudo_takes() -> None:
    subprocess.run(['visudo', '-c', '-q', '-f', str(DOCUMENTED)], check=True, timeout=30)


def test_all_of_it_lets_a_login_list_and_switch(space: Namespace, tmp_path: Path) -> None:
    host = ground(space, tmp_path, documented(switching=True))
    assert may_root(host) == ''
    assert rooted(host).shell.run(['id', '-u'], timeout=30).stdout == b'0\n'
    [sudo, netfilter] = [one for one in firewall_checks(host) if one.name in ('sudo', 'netfilter')]
    assert sudo.ok
    assert netfilter.detail.startswith('1 rules')


def test_the_first_line_lists_and_changes_nothing(space: Namespace, tmp_path: Path) -> None:
    host = ground(space, tmp_path, documented(switching=False))
    found, gaps = FIREWALLS['netfilter']().layer_of(host).listing()
    assert [one.id.split()[:3] for one in found] == [['inet', 'fw', 'c']]
    assert gaps == ()
    assert f'{LOGIN} ALL=(root) NOPASSWD: /bin/sh, /usr/bin/sh' in may_root(host)
    refused = host.shell.run(['sudo', '-n', '/usr/sbin/nft', 'flush', 'ruleset'], timeout=30)
    assert refused.status
    assert 'dport 80 drop' in space.run('nft', 'list', 'ruleset')


def test_without_the_file_each_gap_names_what_opens_it(space: Namespace, tmp_path: Path) -> None:
    host = ground(space, tmp_path, [])
    with pytest.raises(ModeUnavailable, match='sudo -n does not let daemon'):
        rooted(host)
    [sudo] = [one for one in firewall_checks(host) if one.name == 'sudo']
    assert sudo.ok is False
    assert 'NOPASSWD' in sudo.hint
    found, gaps = FIREWALLS['netfilter']().layer_of(host).listing()
    assert found == ()
    told = re.sub(r'.*NOPASSWD: ', f'{LOGIN} ALL=(root) NOPASSWD: ', gaps[0].why)
    opened = FIREWALLS['netfilter']().layer_of(ground(space, tmp_path, [told])).listing()
    assert '/bin/sh' not in told
    assert len(opened[0]) == 1
    assert opened[1] == ()


def test_sudo_is_not_asked_by_itself(space: Namespace, tmp_path: Path) -> None:
    host = ground(space, tmp_path, documented(switching=True), sudo=False)
    assert 'use --sudo' in may_root(host)
    found, gaps = FIREWALLS['netfilter']().layer_of(host).listing()
    assert found == ()
    assert '--sudo' in gaps[0].why
