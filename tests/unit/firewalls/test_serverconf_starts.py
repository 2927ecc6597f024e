"""How a running server is asked to test its configuration: with its own program, options and environment."""

from __future__ import annotations

import subprocess

import pytest

from fixtures.host_files import HostOfFiles
from fixtures.shells import Script
from wpaudit.errors import ModeUnavailable
from wpaudit.firewalls.modsecurity.running import FIND
from wpaudit.firewalls.modsecurity.running import Master
from wpaudit.firewalls.modsecurity.running import WebServer
from wpaudit.firewalls.modsecurity.seclang import Engine
from wpaudit.firewalls.serverconf import _start
from wpaudit.firewalls.serverconf import entitled
from wpaudit.firewalls.serverconf import obstacle
from wpaudit.ports import Ground

NGINX = 'nginx: master process /usr/sbin/nginx -g daemon on; master_process on;\0\0'
APACHE = '/usr/sbin/apache2\0-k\0start\0'


def script_for(line: str, environ: str = '', engine: Engine = Engine.V2) -> str:
    """Return the script that tests."""
    files = {'/proc/7/comm': b'apache2\n', '/proc/7/cmdline': line.encode(), '/proc/7/environ': environ.encode()}
    return _start(HostOfFiles(files), Master(7, 0, line, WebServer(engine, '/x'))).test



@pytest.mark.parametrize(('line', 'argv'), [
    (NGINX, "-t -q -g 'daemon on; master_process on;'"),
    ('nginx: master process nginx -p /srv/a b -e /l -c /srv/n.conf\0', "-t -q -p '/srv/a b' -e /l -c /srv/n.conf"),
    ('nginx: master process nginx\0', '-t -q'),
])
def test_nginx(line: str, argv: str) -> None:
    script = script_for(line, 'SECRET=x\0', Engine.V3)
    assert script.splitlines()[-1] == f'exec "/proc/$1/exe" {argv}'
    assert 'SECRET' not in script


@pytest.mark.parametrize(('line', 'argv'), [
    (APACHE, '-t'),
    ('httpd\0-f\0/srv/h.conf\0-DFOREGROUND\0-D\0STAGE\0-d/srv\0-E\0/l/e.log\0', '-t -f /srv/h.conf -D STAGE -d /srv'),
    ('httpd\0-X\0-c\0Listen 80\0', "-t -c 'Listen 80'"),
])
def test_apache(line: str, argv: str) -> None:
    assert script_for(line).splitlines()[-1] == f'exec "/proc/$1/exe" {argv}'


@pytest.mark.parametrize('line', ['httpd\0-f\0conf/h.conf\0', 'httpd\0-d\0.\0'])
def test_paths_that_say_too_little_are_refused(line: str) -> None:
    with pytest.raises(ModeUnavailable, match='says too little'):
        script_for(line)


def test_the_environment_comes_through_the_shell_as_it_is() -> None:
    values = {'APACHE_LOG_DIR': "/var/log/it's $(here)", 'LINES': 'a\nb', 'EMPTY': ''}
    environ = ''.join(f'{name}={value}\0' for name, value in values.items())
    environ += 'no name=1\0BASH_FUNC_x%%=() {\0garbage\0'
    script = script_for(APACHE, environ)
    shown = ''.join(f'printf "%s|" "${name}"\n' for name in values)
    lines = script.splitlines(keepends=True)[1:-1]  # neither the directory nor the program
    done = subprocess.run(['sh'], input=''.join(lines) + shown, capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == ''.join(f'{value}|' for value in values.values())
    assert 'BASH_FUNC' not in script


def test_only_the_user_who_runs_a_server_may_reconfigure_it() -> None:
    def ground(uid: int) -> Ground:
        return Ground(HostOfFiles({}, scripts={
            ('id', '-u'): Script(stdout=f'{uid}\n'.encode()), ('id', '-un'): Script(stdout=b'me\n'),
            FIND: Script(),
        }), '/srv', '')

    own = Master(7, 1000, APACHE, WebServer(Engine.V2, '/x'))
    roots = Master(8, 0, APACHE, WebServer(Engine.V2, '/y'))
    assert entitled(ground(1000), [own]).shell
    assert entitled(ground(0), [roots]).shell
    with pytest.raises(ModeUnavailable, match='Apache runs as user 1000 and the login is user 0'):
        entitled(ground(0), [own])
    with pytest.raises(ModeUnavailable, match='runs as user 0, 1000'):
        entitled(ground(1000), [own, roots])
    with pytest.raises(ModeUnavailable, match='only root may change it: use --sudo'):
        entitled(ground(1000), [roots])
    assert obstacle(ground(0), ['/x']).startswith('no web server is seen to run with /x')
