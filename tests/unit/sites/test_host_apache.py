"""Reading Apache's configuration: Debian's own files, what panels write, and what would hurt whoever reads it."""

from __future__ import annotations

import pytest

from fixtures.config_files import ConfigFiles
from wpaudit.sites import apache
from wpaudit.sites.apache import Instance
from wpaudit.sites.apache_syntax import parse
from wpaudit.sites.hostask import Process
from wpaudit.sites.servers import Found
from wpaudit.sites.servers import Vhost
from wpaudit.sites.servers import Wanted
from wpaudit.sites.servers import chosen

MAIN, ROOT = '/etc/apache2/apache2.conf', '/etc/apache2'
ENABLED = {
    '/etc/apache2/sites-enabled/000-default.conf': '/etc/apache2/sites-available/000-default.conf',
    '/etc/apache2/sites-enabled/default-ssl.conf': '/etc/apache2/sites-available/default-ssl.conf',
    '/etc/apache2/conf-enabled/php8.2-fpm.conf': '/etc/apache2/conf-available/php8.2-fpm.conf',
    '/etc/apache2/conf-enabled/other.conf': '/etc/apache2/conf-available/other-vhosts-access-log.conf',
}


def of(text: str, **more: str) -> Found:
    files = ConfigFiles({'/srv/h.conf': text, **{f'/srv/{name}': body for name, body in more.items()}})
    return apache.read(files, [Instance('/srv/h.conf', '/srv')], running=True)


def main(text: str) -> Vhost:
    return of(text).vhosts[0]


def test_debian_as_it_is_installed_with_php_fpm() -> None:
    files = ConfigFiles.recorded('debian-12', ENABLED)
    found = apache.read(files, [Instance(MAIN, ROOT)], running=True)
    vhost = chosen(found.vhosts, Wanted(('/var/www/html',), 'any.example', 80))
    assert vhost is not None
    assert vhost.php == ('unix:/run/php/php8.2-fpm.sock',)
    assert ('apache', '/var/log/apache2/error.log') in [(log.source, log.path) for log in vhost.logs]
    assert ('access', '/var/log/apache2/access.log') in [(log.source, log.path) for log in vhost.logs]
    assert vhost.settings['apache Timeout'] == '300'
    secure = chosen(found.vhosts, Wanted(('/var/www/html',), 'any.example', 443))
    assert secure is not None
    assert secure.listens[0].tls


@pytest.mark.parametrize(('line', 'php', 'proxies'), [
    ('SetHandler "proxy:unix:/var/run/a.sock|fcgi://localhost"', ('unix:/run/a.sock',), ()),
    ('SetHandler proxy:fcgi://127.0.0.1:9000', ('127.0.0.1:9000',), ()),
    ('ProxyPassMatch "^/(.*\\.php)$" "fcgi://127.0.0.1:9001/var/www/$1"', ('127.0.0.1:9001',), ()),
    ('ProxyPassMatch ^/(.*\\.php)$ unix:/run/b.sock|fcgi://x/var/www/', ('unix:/run/b.sock',), ()),
    ('ProxyPass / http://127.0.0.1:8080/ timeout=60', (), ('127.0.0.1:8080',)),
    ('ProxyPass / https://app.internal/', (), ('app.internal:443',)),
    ('RewriteRule ^/(.*\\.php)$ fcgi://127.0.0.1:9002/w/$1 [P,L]', ('127.0.0.1:9002',), ()),
    ('ProxyPass / balancer://pool/', (), ()),
    ('ProxyPass /x !', (), ()),
])
def test_where_requests_are_sent_on_to(line: str, php: tuple[str, ...], proxies: tuple[str, ...]) -> None:
    vhost = main(f'DocumentRoot /w\n<FilesMatch "\\.php$">\n{line}\n</FilesMatch>\n')
    assert (vhost.php, vhost.proxies) == (php, proxies)


def test_virtual_hosts_variables_and_conditions() -> None:
    found = of(
        'LoadModule x_module modules/mod_x.so\nDefine site shop.example\n'
        'ServerRoot "/srv"\nErrorLog ${LOGS}/e.log\n<IfDefine !OFF>\nListen 8080\n</IfDefine>\n'
        '<IfModule !mod_x.c>\nDocumentRoot /wrong\n</IfModule>\n'
        '<VirtualHost *:8080>\n ServerName ${site}:8080\n ServerAlias www.shop.example \\\n  m.shop.example\n'
        ' DocumentRoot "/srv/my shop"\n ErrorLog logs/shop.log\n CustomLog "|/usr/bin/rotate x" combined\n'
        ' php_admin_value memory_limit 64M\n LimitRequestFieldSize 16380\n</VirtualHost>\n')
    vhost = found.vhosts[1]
    assert vhost.names == ('shop.example', 'www.shop.example', 'm.shop.example')
    assert (vhost.root, vhost.listens[0].port) == ('/srv/my shop', 8080)
    assert vhost.logs[0].path == '/srv/logs/shop.log'
    assert vhost.settings == {'apache LimitRequestFieldSize': '16380', 'php memory_limit': '64M'}
    assert any('which is no file' in gap.why for gap in found.gaps)
    assert found.vhosts[0].root == ''


@pytest.mark.parametrize(('listen', 'reachable'), [
    ('Listen 8080', '127.0.0.1:8080'), ('Listen 192.0.2.1:8080', '192.0.2.1:8080'), ('', '127.0.0.1:8080'),
    ('Listen 192.0.2.1:8080\nListen 8080', '127.0.0.1:8080'), ('Listen [2001:db8::1]:8080', '[2001:db8::1]:8080'),
])
def test_a_virtual_host_for_all_addresses_is_where_apache_listens(listen: str, reachable: str) -> None:
    found = of(f'{listen}\n<VirtualHost *:8080>\nDocumentRoot /w\n</VirtualHost>\n')
    assert found.vhosts[1].listens[0].reachable == reachable


@pytest.mark.parametrize(('words', 'config'), [
    (('/usr/sbin/apache2', '-k', 'start'), MAIN),
    (('/usr/sbin/httpd', '-DFOREGROUND'), '/etc/httpd/conf/httpd.conf'),
    (('/usr/sbin/apache2', '-f', '/tmp/l/apache.conf', '-D', 'FOREGROUND'), '/tmp/l/apache.conf'),
    (('/usr/sbin/apache2', '-d', '/srv/a', '-f', 'conf/h.conf'), '/srv/a/conf/h.conf'),
])
def test_the_command_line_tells_where_it_is(words: tuple[str, ...], config: str) -> None:
    found = apache.instances([Process(10, 1, 'S', 0, words), Process(11, 10, 'S', 33, words)])
    assert [one.config for one in found] == [config]


def test_loops_and_multiplying_includes_end() -> None:
    found = of('Include a.conf\nDocumentRoot /w\n', **{'a.conf': 'Include b.conf\n', 'b.conf': 'Include a.conf\n'})
    assert found.vhosts[0].root == '/w'
    assert [gap.why for gap in found.gaps] == ['includes itself']
    deep = {f'{n}.conf': f'Include {n + 1}.conf\n' * 12 for n in range(8)}
    assert any('more than' in gap.why for gap in of('Include 0.conf\n', **deep, **{'8.conf': 'Timeout 1\n'}).gaps)


@pytest.mark.parametrize('text', [
    '<VirtualHost', '</VirtualHost>', '<A>\n' * 5000, '"' * 50_000, 'a\\\n' * 100_000, '\0\udcff\x1b', '<>',
    'x ' * 200_000,
    '<VirtualHost *:99999999999>\n</VirtualHost>',
    'Listen\nInclude\nDefine\nSetHandler\nProxyPass\nDocumentRoot\nServerName\n',
])
def test_nonsense_is_read_as_far_as_it_goes(text: str) -> None:
    of(text + '\nDocumentRoot /w\n')
    parse(text)
