from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wpaudit.errors import UsageError
from wpaudit.shells.target import MAX_CONFIG_BYTES
from wpaudit.shells.target import SCHEMES
from wpaudit.shells.target import Target
from wpaudit.shells.target import parse_alias
from wpaudit.shells.target import parse_target


@pytest.mark.parametrize(('text', 'expected'), [
    ('shop.example', Target(host='shop.example')),
    ('ssh:shop.example', Target(host='shop.example')),
    ('deploy@shop.example:2222/var/www', Target('ssh', 'deploy', 'shop.example', 2222, '/var/www')),
    ('deploy@shop.example:/var/www', Target('ssh', 'deploy', 'shop.example', None, '/var/www')),
    ('shop.example~/www', Target(host='shop.example', path='~/www')),
    ('shop.example:22~/www', Target(host='shop.example', port=22, path='~/www')),
    ('shop.example~bob/www', Target(host='shop.example', path='~bob/www')),
    ('shop.example/', Target(host='shop.example', path='/')),
    ('shop/a b/@c:d', Target(host='shop', path='/a b/@c:d')),
    ('site+user@shop', Target(user='site+user', host='shop')),
    ('my_alias', Target(host='my_alias')),
    ('192.0.2.1:2222', Target(host='192.0.2.1', port=2222)),
    ('[2001:db8::1]:2222/www', Target(host='2001:db8::1', port=2222, path='/www')),
    ('root@[fe80::1%eth0]', Target(user='root', host='fe80::1%eth0')),
    ('münchen.example', Target(host='münchen.example')),
    ('local', Target('local')),
    ('local:', Target('local')),
    ('local:/var/www', Target('local', path='/var/www')),
    ('local:~/www', Target('local', path='~/www')),
    ('local/var/www', Target(host='local', path='/var/www')),
    ('docker:www-data@wordpress_1/var/www/html', Target('docker', 'www-data', 'wordpress_1', None, '/var/www/html')),
    ('docker-compose:php', Target('docker-compose', host='php')),
    ('ssh:local', Target(host='local')),
    ('docker', Target(host='docker')),
])
def test_the_grammar_of_wp_cli(text: str, expected: Target) -> None:
    assert parse_target(text) == expected


@pytest.mark.parametrize(('text', 'reason'), [
    ('', 'the host is missing'), ('user@', 'the host is missing'), (':22', 'the host is missing'),
    ('ssh:', 'the host is missing'), ('/var/www', 'the host is missing'),
    ('-oProxyCommand=id', 'a host cannot begin with "-"'), ('ssh:-x', 'a host cannot begin with "-"'),
    ('me@-x', 'a host cannot begin with "-"'), ('-x@shop', 'not a login name'), ('@shop', 'not a login name'),
    ('a;b@shop', 'not a login name'), ('$(id)@shop', 'not a login name'), ('a b@shop', 'not a login name'),
    ('shop;id', 'not a host name'), ('$(id)', 'not a host name'), ('a b', 'not a host name'), ('`id`', 'not a host'),
    ('shop:0', 'not a port'), ('shop:65536', 'not a port'), ('me@shop:abc', 'not a port'), ('shop:²²', 'not a port'),
    ('shop:99999999999999999999', 'not a port'), ('shop:-1', 'not a port'), ('shop.example:www', 'not a port'),
    ('vagrant:default', 'the scheme "vagrant" is not one of ssh, local, docker, docker-compose'),
    ('ssh://shop/www', 'the host is missing'), ('2001:db8::1', 'not a port'), ('[::1', 'it is not'),
    ('[shop]', 'not an IPv6 address'), ('[]', 'not an IPv6 address'), ('a@b@c', 'it is not'),
    ('local:www', 'begins with / or ~'), ('docker:php:80', 'a container has no port'),
    ('shop\n', 'control character'), ('shop/\0', 'control character'), ('shop/\x1b[31m', 'control character'),
])
def test_anything_else_is_a_usage_error(text: str, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_target(text)

    assert reason in caught.value.message
    assert caught.value.message.isprintable()


names = st.from_regex(r'[A-Za-z0-9_.][A-Za-z0-9_.-]{0,20}', fullmatch=True)
paths = st.from_regex(r'[/~][^\x00-\x1f\x7f]*', fullmatch=True)
addresses = st.ip_addresses(v=6).map(str)


@st.composite
def targets(draw: st.DrawFn) -> Target:
    scheme = draw(st.sampled_from(SCHEMES))
    path = draw(st.none() | paths)
    if scheme == 'local':
        return Target('local', path=path)
    port = draw(st.none() | st.integers(1, 65535)) if scheme == 'ssh' else None
    return Target(scheme, draw(st.none() | names), draw(names | addresses), port, path)


@given(targets())
def test_a_written_target_is_read_back(target: Target) -> None:
    assert parse_target(str(target)) == target


@given(st.text())
def test_any_text_is_a_target_or_a_usage_error(text: str) -> None:
    try:
        target = parse_target(text)
    except UsageError as error:
        message = error.message
    else:
        message = ''
        assert not target.host.startswith('-')
        assert parse_target(str(target)) == target

    assert message.isprintable()


# -- aliases ------------------------------------------------------------------------------------

@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / 'home'
    (home / '.wp-cli').mkdir(parents=True)
    monkeypatch.setenv('HOME', str(home))
    monkeypatch.delenv('WP_CLI_CONFIG_PATH', raising=False)
    return home


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / 'project'
    (place / 'sub' / 'deep').mkdir(parents=True)
    monkeypatch.chdir(place / 'sub' / 'deep')
    return place


def test_an_alias_as_wp_cli_documents_it(project: Path) -> None:
    (project / 'wp-cli.yml').write_text(
        'path: wp-core\n'
        '@staging:\n'
        '  ssh: deploy@staging.example:2222/srv/www\n'
        '  url: https://staging.example\n'
        '  user: admin\n'
        '  proxyjump: me@bastion\n'
        '  key: ~/.ssh/id_staging\n'
        '@both:\n'
        ' - @staging\n'
        ' - @production\n',
    )

    alias = parse_alias('@staging')

    assert alias.target == Target('ssh', 'deploy', 'staging.example', 2222, '/srv/www')
    assert (alias.name, alias.source) == ('@staging', project / 'wp-cli.yml')
    assert (alias.url, alias.user, alias.proxyjump) == ('https://staging.example', 'admin', 'me@bastion')
    assert alias.key == str(Path('~/.ssh/id_staging').expanduser())
    with pytest.raises(UsageError, match='@both is a group'):
        parse_alias('@both')


def test_the_nearest_files_win(project: Path, own_home: Path) -> None:
    (own_home / '.wp-cli' / 'config.yml').write_text('"@a": {ssh: own}\n"@own": {ssh: own}\n')
    (project / 'wp-cli.yml').write_text('"@a": {ssh: far}\n"@far": {ssh: far}\n')
    (project / 'sub' / 'wp-cli.yml').write_text('"@a": {ssh: near}\n"@near": {ssh: near}\n')
    (project / 'sub' / 'wp-cli.local.yml').write_text('"@a": {ssh: nearest}\n')

    found = {name: parse_alias(name).target for name in ('@a', '@near', '@own')}

    assert found == {'@a': Target(host='nearest'), '@near': Target(host='near'), '@own': Target(host='own')}
    with pytest.raises(UsageError, match=r'There is no alias @far; known aliases: @a, @near, @own\.'):
        parse_alias('@far')


def test_the_variable_of_wp_cli_names_the_own_file(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / 'other.yml').write_text('@live:\n  ssh: live.example\n')
    monkeypatch.setenv('WP_CLI_CONFIG_PATH', str(project / 'other.yml'))

    assert parse_alias('@live').target == Target(host='live.example')


def test_the_path_of_an_alias(project: Path) -> None:
    (project / 'wp-cli.yml').write_text(
        '@a: {ssh: host, path: /srv}\n@b: {ssh: host/own, path: /srv}\n@c: {path: wp}\n@d: {http: example.org}\n',
    )

    assert [parse_alias(name).target for name in ('@a', '@b', '@c', '@d')] == [
        Target(host='host', path='/srv'), Target(host='host', path='/own'),
        Target('local', path=str(project / 'wp')), None,
    ]


@pytest.mark.parametrize(('content', 'reason'), [
    ('"@a": just text\n', 'has no keys'), ('"@a": {url: x}\n', 'none of ssh, path and http'),
    ('"@a": {ssh: [1]}\n', '"ssh" .* is not a text'), ('"@a": {ssh: "-x"}\n', 'cannot begin'),
    ('[1, 2\n', 'Cannot read aliases'), ('"@a": !!python/object:os.system {}\n', 'Cannot read aliases'),
    ('- list\n', 'known aliases: none'), ('', 'known aliases: none'), ('\xff', 'known aliases: none'),
    ('[' * 100_000, 'Cannot read aliases'), ('#' * (MAX_CONFIG_BYTES + 1), 'is larger than'),
])
def test_a_file_that_cannot_be_used(project: Path, content: str, reason: str) -> None:
    (project / 'wp-cli.yml').write_text(content)

    with pytest.raises(UsageError, match=reason):
        parse_alias('@a')


@pytest.mark.parametrize('name', ['@', 'a', '@a b', '@a/../b', '@\n'])
def test_a_name_that_is_no_alias(name: str) -> None:
    with pytest.raises(UsageError, match='is not an alias'):
        parse_alias(name)
