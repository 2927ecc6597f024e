"""Reading nginx's configuration: Debian's own files, what people write, and what would hurt whoever reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.config_files import ConfigFiles
from wpaudit.nginx_syntax import parsed
from wpaudit.sites import nginx
from wpaudit.sites.hostask import Process
from wpaudit.sites.nginx import Instance
from wpaudit.sites.servers import Found
from wpaudit.sites.servers import Vhost
from wpaudit.sites.servers import Wanted
from wpaudit.sites.servers import chosen

MAIN = '/etc/nginx/nginx.conf'
DEFAULT = {'/etc/nginx/sites-enabled/default': '/etc/nginx/sites-available/default'}


def read(files: ConfigFiles, *, running: bool = True) -> Found:
    return nginx.read(files, [Instance(MAIN, '/etc/nginx')], running=running)


def of(text: str, **more: str) -> Found:
    return read(ConfigFiles({MAIN: text, **{f'/etc/nginx/{name}': body for name, body in more.items()}}))


def only(text: str) -> Vhost:
    found = of(text)
    assert found.gaps == ()
    (vhost,) = found.vhosts
    return vhost


def test_debian_as_it_is_installed() -> None:
    found = read(ConfigFiles.recorded('debian-12', DEFAULT))
    (vhost,) = found.vhosts
    assert vhost.root == '/var/www/html'
    assert [(one.address, one.port, one.default) for one in vhost.listens] == [('', 80, True), ('::', 80, True)]
    assert vhost.php == ()
    assert {log.path for log in vhost.logs} == {'/var/log/nginx/error.log', '/var/log/nginx/access.log'}


def test_debians_php_through_a_snippet() -> None:
    files = ConfigFiles.recorded('debian-12', DEFAULT)
    shop = (
        'server { listen 443 ssl; server_name shop.example *.shop.example; root /var/www/shop;\n'
        'location ~ \\.php$ { include snippets/fastcgi-php.conf; fastcgi_buffer_size 8k;\n'
        'fastcgi_pass unix:/var/run/php/php8.2-fpm.sock; } access_log /var/log/nginx/shop.log; }'
    )
    found = read(ConfigFiles({**files.texts, '/etc/nginx/sites-enabled/shop': shop}))
    vhost = chosen(found.vhosts, Wanted(('/srv/real', '/var/www/shop'), 'www.shop.example', 443))
    assert vhost is not None
    assert vhost.php == ('unix:/run/php/php8.2-fpm.sock',)
    assert vhost.settings['nginx fastcgi_buffer_size'] == '8k'
    assert vhost.listens[0].tls
    assert ('access', '/var/log/nginx/shop.log') in [(log.source, log.path) for log in vhost.logs]
    assert ('nginx', '/var/log/nginx/error.log') in [(log.source, log.path) for log in vhost.logs]


def test_settings_are_inherited_and_the_innermost_wins() -> None:
    vhost = only(
        'http { fastcgi_read_timeout 10s; fastcgi_buffers 8 4k; proxy_read_timeout 7s;'
        'server { root /w; fastcgi_read_timeout 20s; location / { fastcgi_read_timeout 30s;'
        'location ~ php { fastcgi_pass 127.0.0.1:9000; } } } }')
    assert vhost.settings == {
        'nginx fastcgi_read_timeout': '30s', 'nginx fastcgi_buffers': '8 4k', 'nginx proxy_read_timeout': '7s'}
    assert vhost.php == ('127.0.0.1:9000',)


def test_upstreams_variables_and_proxies_are_followed() -> None:
    vhost = only(
        'http { upstream php { server unix:/run/a.sock; server 10.0.0.1:9000 down; server [::1]:9001; }'
        'upstream app { server app.internal:8080 max_fails=3; }'
        'server { root /w; set $back php; location ~ php { fastcgi_pass $back; }'
        'location /a { proxy_pass http://app/x; }'
        'location /b { proxy_pass https://b.example; } location /c { proxy_pass http://$host; } } }')
    assert vhost.php == ('unix:/run/a.sock', '[::1]:9001')
    assert vhost.proxies == ('app.internal:8080', 'b.example:443')


@pytest.mark.parametrize(('title', 'config', 'prefix', 'log'), [
    ('nginx: master process /usr/sbin/nginx -g daemon on; master_process on;', MAIN, '/etc/nginx', ''),
    ('nginx: master process nginx -p /srv/lab -e /srv/lab/e.log -c /srv/lab/etc/n.conf', '/srv/lab/etc/n.conf',
     '/srv/lab', '/srv/lab/e.log'),
    ('nginx: master process nginx -p /srv/lab -c conf/n.conf', '/srv/lab/conf/n.conf', '/srv/lab', ''),
    ('nginx: master process /usr/local/nginx/sbin/nginx', '/usr/local/nginx/conf/nginx.conf', '/usr/local/nginx', ''),
])
def test_the_command_line_tells_where_it_is(title: str, config: str, prefix: str, log: str) -> None:
    found = nginx.instances([Process(1, 0, 'S', 0, (title,)), Process(2, 1, 'S', 0, ('nginx: worker process',))])
    assert found == (Instance(config, prefix, log),)


def test_what_expects_the_proxy_protocol_is_known() -> None:
    vhost = only('http { server { root /w; listen 80 proxy_protocol; listen [::]:443 ssl; listen unix:/run/n.sock; } }')
    assert [(one.port, one.tls, one.proxied) for one in vhost.listens] == [(80, False, True), (443, True, False)]


def test_loops_of_includes_end() -> None:
    found = of('http { include a.conf; }', **{
        'a.conf': 'include b.conf; server { root /w; }', 'b.conf': 'include a.conf;'})
    assert [vhost.root for vhost in found.vhosts] == ['/w']
    assert [gap.why for gap in found.gaps] == ['includes itself']


def test_includes_that_multiply_are_cut() -> None:
    deep = {f'{n}.conf': f'include {n + 1}.conf; ' * 12 for n in range(8)}
    found = of('http { include 0.conf; server { root /w; } }', **deep, **{'8.conf': 'server { root /x; }'})
    assert any('more than' in gap.why for gap in found.gaps)


def test_includes_that_go_on_for_ever_are_cut() -> None:
    files = ConfigFiles({MAIN: 'include 0.conf; http { server { root /w; } }', **{
        f'/etc/nginx/{n}.conf': f'include {n + 1}.conf;' for n in range(100)}})
    found = read(files)
    assert len(files.asked) < 20
    assert any('deep' in gap.why for gap in found.gaps)


def test_what_is_closed_is_a_gap_with_who_may() -> None:
    files = ConfigFiles(
        {MAIN: 'http { include sites/*.conf; server { root /w; } }'},
        closed={'/etc/nginx/sites/a.conf': 'belongs to root:adm with mode 0640; group adm may read it'})
    found = read(files)
    assert [vhost.root for vhost in found.vhosts] == ['/w']
    assert [(gap.what, gap.why) for gap in found.gaps] == [
        ('nginx: /etc/nginx/sites/a.conf', 'belongs to root:adm with mode 0640; group adm may read it')]


def test_a_usual_place_where_nothing_is_is_no_gap() -> None:
    assert read(ConfigFiles({}), running=False) == Found()
    assert read(ConfigFiles({}), running=True).gaps != ()


@pytest.mark.parametrize('text', [
    'http {', '}', '"', 'http { server { root /w; }', '{' * 5000, 'http { server { root', '\0\udcff\x1b{;}',
    'include', 'a' * 200_000,
])
def test_nonsense_is_refused_or_read_as_far_as_it_goes(text: str) -> None:
    of(text)


def test_text_that_is_not_utf8_does_not_hide_the_rest() -> None:
    assert only('http { # caf\udce9\n server { root /w; server_name caf\udce9.example; } }').root == '/w'


def test_a_host_cannot_make_us_read_our_own_files(tmp_path: Path) -> None:
    secret = tmp_path / 'secret.conf'
    secret.write_text('http { server { root /stolen; } }')
    found = of(f'include {secret}; http {{ server {{ root /w; }} }}')
    assert [vhost.root for vhost in found.vhosts] == ['/w']
    assert 'stolen' not in repr(parsed(f'include {secret};'))


@pytest.mark.parametrize(('names', 'roots', 'wanted', 'index'), [
    (['a.example', 'b.example'], ['/a', '/b'], Wanted(('/b',)), 1),
    (['a.example', 'b.example'], ['/a', '/a'], Wanted(('/a',), 'b.example', 80), 1),
    (['a.example', '*.b.example'], ['/x', '/x'], Wanted(('/b',), 'www.b.example', 80), 1),
    (['a.example', '.b.example'], ['/x', '/x'], Wanted(('/b',), 'b.example', 80), 1),
    (['a.example', 'b.example'], ['/a', '/b'], Wanted(('/a/shop',), 'other.example', 80), 0),
    (['a.example', 'b.example'], ['/a', '/b'], Wanted(('/c',), 'c.example', 80), None),
    (['192.0.2.1', 'localhost'], ['/x', '/y'], Wanted(('/c',), '192.0.2.1', 8080), None),
    (['192.0.2.1', 'localhost'], ['/x', '/y'], Wanted(('/c',), 'localhost', 8080), None),
    (['_', 'b.example'], ['', ''], Wanted(('/c',), '', 80), None),
])
def test_the_site_is_told_from_its_neighbours(
    names: list[str], roots: list[str], wanted: Wanted, index: int | None,
) -> None:
    vhosts = [Vhost('nginx', (name,), root=root) for name, root in zip(names, roots, strict=True)]
    assert chosen(vhosts, wanted) is (None if index is None else vhosts[index])
