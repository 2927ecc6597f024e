from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import paramiko
import pytest

from wpaudit.errors import ShellError
from wpaudit.errors import UsageError
from wpaudit.shells.ssh_config import HostSettings
from wpaudit.shells.ssh_config import config_text
from wpaudit.shells.ssh_config import parse_jumps
from wpaudit.shells.ssh_config import settings
from wpaudit.shells.target import Target

Look = Callable[..., HostSettings]


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setenv('SSH_AUTH_SOCK', '/run/agent')
    monkeypatch.setattr('wpaudit.shells.ssh_config.SYSTEM_CONFIG', tmp_path / 'etc' / 'ssh_config')
    (tmp_path / '.ssh').mkdir()
    (tmp_path / 'etc').mkdir()
    return tmp_path / '.ssh'


@pytest.fixture
def look(ssh: Path) -> Look:
    def look_up(text: str, file: Path | None = None, **target: object) -> HostSettings:
        (ssh / 'config').write_text(text)
        wanted = Target(**{'host': 'shop', **target})  # type: ignore[arg-type]
        return settings(wanted, paramiko.SSHConfig.from_text(config_text(wanted, file)).lookup(wanted.host))

    return look_up


def test_defaults(look: Look, ssh: Path) -> None:
    found = look('')

    assert (found.host, found.port, found.jumps, found.proxy_command) == ('shop', 22, (), None)
    assert found.known_hosts == (ssh / 'known_hosts', ssh / 'known_hosts2')
    assert found.identity_files == ()
    assert found.identity_agent == '/run/agent'
    assert not found.accept_new
    assert found.connect_timeout == 15


def test_everything(look: Look, ssh: Path) -> None:
    found = look(
        'Host sh?p !other\n  HostName %h.example\n  Port=2222\n  User "deploy"\n  IdentityFile ~/.ssh/a\n'
        '  IdentityFile ~/.ssh/b\n  IdentitiesOnly yes\n  ProxyJump me@one:2200,two\n  UserKnownHostsFile ~/k1 "/k2"\n'
        '  HostKeyAlias key-name\n  ConnectTimeout 3\n  StrictHostKeyChecking accept-new\n  HashKnownHosts yes\n'
        '  IdentityAgent none\n  GlobalKnownHostsFile none\n',
    )

    assert (found.host, found.port, found.user) == ('shop.example', 2222, 'deploy')
    assert found.identity_files == (str(ssh / 'a'), str(ssh / 'b'))
    assert found.jumps == (Target(user='me', host='one', port=2200), Target(host='two'))
    assert found.known_hosts == (ssh.parent / 'k1', Path('/k2'))
    assert (found.system_known_hosts, found.host_key_alias, found.identity_agent) == ((), 'key-name', None)
    assert (found.identities_only, found.accept_new, found.hashed, found.connect_timeout) == (True, True, True, 3)
    assert found.label == 'deploy@shop:2222'


def test_the_target_wins_and_reaches_the_proxy_command(look: Look) -> None:
    found = look('Host *\n User config\n Port 1\n ProxyCommand nc %h %p %r\n', user='mine', port=2222)

    assert (found.user, found.port, found.proxy_command) == ('mine', 2222, 'nc shop 2222 mine')


def test_none_is_no_detour(look: Look) -> None:
    found = look('Host shop\n  ProxyJump none\n  ProxyCommand none\nHost *\n  ProxyJump bastion\n')

    assert (found.jumps, found.proxy_command) == ((), None)


def test_the_system_configuration_comes_last(look: Look, ssh: Path) -> None:
    (ssh.parent / 'etc' / 'part').write_text('ConnectTimeout 4\n')
    (ssh.parent / 'etc' / 'ssh_config').write_text('Host *\n  Port 1\n  HashKnownHosts yes\n  Include part\n')

    found = look('Host shop\n  Port 2\nHost elsewhere\n  Port 3\n')

    assert (found.port, found.hashed, found.connect_timeout) == (2, True, 4)


def test_a_named_file_replaces_both(look: Look, ssh: Path) -> None:
    named = ssh / 'named'
    named.write_text('Host *\n  Port 5\n')
    (ssh.parent / 'etc' / 'ssh_config').write_text('HashKnownHosts yes\n')

    found = look('User config\n', named)

    assert (found.port, found.hashed) == (5, False)
    assert found.user != 'config'


def test_included_files_stand_where_they_are_included(look: Look, ssh: Path) -> None:
    (ssh / 'conf.d').mkdir()
    (ssh / 'conf.d' / '1').write_text('Host other\n  Port 1\n')
    (ssh / 'conf.d' / '2').write_text(f'Host shop\n  Port 2\nInclude {ssh}/deeper "no such file"\n')
    (ssh / 'deeper').write_text('User deep\n')
    (ssh / 'only-other').write_text('HostName wrong\n')

    found = look('Include conf.d/*\nPort 3\nConnectTimeout 9\nHost other\n  Include only-other\n  ConnectTimeout 1\n')

    assert (found.port, found.user, found.host, found.connect_timeout) == (2, 'deep', 'shop', 9)


def test_a_file_that_includes_itself_ends(look: Look) -> None:
    assert look('Port 7\nInclude config\n').port == 7


@pytest.mark.parametrize(('text', 'error'), [
    ('Port x\n', ShellError), ('ConnectTimeout soon\n', ShellError), ('ProxyJump -x\n', UsageError),
    ('ProxyJump a/b\n', UsageError), ('ProxyJump $(id)\n', UsageError),
])
def test_nonsense_is_a_sentence(look: Look, text: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        look(text)


def test_jumps() -> None:
    assert parse_jumps('ssh://me@[::1]:22, two') == (Target(user='me', host='::1', port=22), Target(host='two'))
    assert parse_jumps('none') == parse_jumps(None) == parse_jumps('') == ()
