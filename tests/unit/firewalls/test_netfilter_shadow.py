"""The configuration of the second nginx: what is kept, what is left out, and when there can be none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from wpaudit.firewalls.netfilter.nginx_text import Unreadable
from wpaudit.firewalls.netfilter.nginx_text import parse
from wpaudit.firewalls.netfilter.nginx_text import written
from wpaudit.firewalls.netfilter.shadow import Outline
from wpaudit.firewalls.netfilter.shadow import Peer
from wpaudit.firewalls.netfilter.shadow import Place
from wpaudit.firewalls.netfilter.shadow import configuration
from wpaudit.firewalls.netfilter.shadow import outlined
from wpaudit.nginx_syntax import Directive
from wpaudit.nginx_syntax import every

SITE = r'''
user www-data; worker_processes auto; pid /run/nginx.pid; error_log /var/log/nginx/error.log;
load_module modules/x.so;
events { worker_connections 768; use epoll; }
http {
    log_format main '$remote_addr "$request" '
                    'second';
    access_log /var/log/nginx/access.log main;
    proxy_cache_path /var/cache/nginx levels=1:2 keys_zone=pages:10m use_temp_path=off;
    map $http_x $kind { default 0; "~*a b;c" "d e"; pid 3; '' 1; }
    set_real_ip_from 10.0.0.0/8; real_ip_header X-Forwarded-For;
    upstream php { server 127.0.0.1:9000; }
    upstream far { server 192.0.2.1:8080; server unix:/run/far.sock; }
    server { listen 80 default_server; return 444; }
    server {
        listen 80; listen [::]:443 ssl http2; server_name shop.example *.shop.example;
        ssl_certificate certs/shop.pem; ssl_certificate_key /etc/ssl/shop.key; access_log off;
        if ($http_user_agent ~* "bad \"bot\"") { return 403; }
        location ~ \.php$ { fastcgi_pass php; fastcgi_param X "a\\b"; }
        location /far/ { proxy_pass http://far/; auth_basic_user_file .htpasswd; }
        location /v { proxy_pass $kind; }
    }
    server { listen 8080; server_name other.example; location / { proxy_pass http://other; } }
}
'''
PLACE = Place('/d', '/etc/nginx', 'games', 'www-data', {'http': 1001, 'https': 1002}, 's3cret', '127.7.8.9', True)


def shadow_of(text: str, *urls: str) -> tuple[Outline, str]:
    outline = outlined(parse(text), urls or ['http://shop.example/'])
    return outline, written(configuration(outline, PLACE))


def test_only_the_servers_that_would_answer_are_kept_on_ports_of_ours() -> None:
    outline, text = shadow_of(SITE)
    assert text.count('server {') == 1
    assert 'listen 127.0.0.1:1001 default_server;' in text
    assert 'listen 127.0.0.1:1002 ssl default_server;' in text
    assert 'other.example' not in text
    assert sorted(outline.servers) == ['http', 'https']
    default, _ = shadow_of(SITE, 'http://unknown.example/')
    assert [one.block for one in default.servers['http']] == [
        (Directive('listen', ('80', 'default_server')), Directive('return', ('444',)))]


def test_nothing_of_the_live_one_is_written_to() -> None:
    _, text = shadow_of(SITE)
    assert '/var/' not in text
    assert '/run/nginx.pid' not in text
    for line in ('user games www-data;', 'pid /d/shadow.pid;', 'error_log /d/shadow.log;', 'access_log off;',
                 'proxy_cache_path /d/cache-1 levels=1:2', 'client_body_temp_path /d/temp-client_body;'):
        assert line in text
    assert 'ssl_certificate /etc/nginx/certs/shop.pem;' in text
    assert 'ssl_certificate_key /etc/ssl/shop.key;' in text
    assert 'auth_basic_user_file /etc/nginx/.htpasswd;' in text
    assert 'pid 3;' in text  # an entry of a map


def test_who_does_not_know_the_secret_is_refused_and_the_address_comes_from_us_alone() -> None:
    _, text = shadow_of(SITE)
    assert 'if ($http_x_wpaudit_shadow != s3cret) {' in text
    assert text.count('set_real_ip_from') == text.count('real_ip_header') == 1
    assert 'real_ip_header X-Wpaudit-Client;' in text


def test_the_port_that_php_is_told_is_the_live_ones() -> None:
    told = 'fastcgi_param SERVER_PORT $server_port; set $a "x${server_port}";'
    text = SITE.replace('fastcgi_param X "a\\\\b";', told)
    assert '$server_port' in text
    _, text = shadow_of(text, 'http://shop.example/', 'https://shop.example:443/')
    assert 'server_port' not in text
    assert 'fastcgi_param SERVER_PORT $wpaudit_port;' in text
    assert 'map $https $wpaudit_port {\n    default 80;\n    on 443;\n  }' in text


def test_connections_to_loopback_get_an_address_and_others_none() -> None:
    outline, text = shadow_of(SITE)
    assert outline.peers == (
        Peer('127.0.0.1', 9000, bound=True), Peer('192.0.2.1', 8080), Peer(path='/run/far.sock'), Peer('', 80))
    assert 'fastcgi_bind 127.7.8.9;' in text
    assert text.count('proxy_bind off;') == 2
    unbound, plain = shadow_of(SITE.replace('fastcgi_pass php;', 'fastcgi_pass php; fastcgi_bind 127.0.0.1;'))
    assert not any(peer.bound for peer in unbound.peers)
    assert '127.7.8.9' not in plain


@pytest.mark.parametrize(('listen', 'host', 'there'), [
    ('80', 'shop.example', True), ('*:80', '192.0.2.1', True), ('[::]:80', '127.0.0.1', True),
    ('192.0.2.1', '192.0.2.1', True), ('192.0.2.1:80', '192.0.2.2', False), ('192.0.2.1:80', 'shop.example', True),
    ('127.0.0.1:80', 'shop.example', False), ('127.0.0.1:80', 'localhost', True), ('127.0.0.2:80', '127.0.0.1', False),
    ('[::1]:80', '[::1]', True), ('81', 'shop.example', False), ('unix:/run/x.sock', 'shop.example', False),
])
def test_the_nginx_that_is_asked_is_the_one_that_listens_there(listen: str, host: str, there: bool) -> None:
    tree = parse(f'http {{ server {{ listen {listen}; }} server {{ listen 127.0.0.9:7; }} }}')
    if there:
        assert list(outlined(tree, [f'http://{host}/']).servers) == ['http']
        return
    with pytest.raises(Unreadable):
        outlined(tree, [f'http://{host}/'])
    elsewhere = ('81', 'unix:/run/x.sock')
    if listen not in elsewhere:  # addresses may be translated on the way
        assert outlined(tree, [f'http://{host}/'], anywhere=True).servers


@pytest.mark.parametrize(('name', 'both'), [('localhost:9000', True), ('127.0.0.1:9000', False)])
def test_localhost_is_two_addresses(name: str, both: bool) -> None:
    outline, text = shadow_of(f'http {{ server {{ listen 80; location / {{ fastcgi_pass {name}; }} }} }}')
    assert len(outline.peers) == 1 + both
    assert ('fastcgi_bind' in text) != both


@pytest.mark.parametrize(('text', 'url', 'why'), [
    (SITE, 'https://shop.example:8443/', 'does not listen to https on port 8443'),
    ('http { server { location / { content_by_lua_file x.lua; } } }', 'http://a.example/', 'code of its own'),
    ('events {}', 'http://a.example/', 'does not listen to http'),
])
def test_there_is_none_where_it_would_not_be_the_same(text: str, url: str, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        shadow_of(text, url)


@pytest.mark.parametrize('text', ['server {', 'a b', 'x { ' * 100 + '}' * 100, 'include "x'])
def test_what_cannot_be_parsed_is_said(text: str) -> None:
    with pytest.raises(Unreadable):
        outlined(parse(text), ['http://a.example/'])


# U+E080 to U+E0FF are what bytes that are no UTF-8 travel as through crossplane, so as themselves they do not.
LETTERS = st.characters(codec='utf-8', exclude_characters='\\\0\r', exclude_categories=('Cs', 'Co'))
WORDS = st.text(LETTERS, max_size=12).filter(lambda word: not word.startswith('#'))
NAMES = st.from_regex(r'\A[a-z_]{2,9}\Z').filter(lambda name: name not in {'if', 'include'} and 'lua' not in name)
TREES = st.recursive(
    st.builds(Directive, NAMES, st.lists(WORDS, max_size=3).map(tuple)),
    lambda inner: st.builds(Directive, NAMES, st.lists(WORDS, max_size=2).map(tuple), st.lists(inner).map(tuple)),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(TREES, max_size=4).map(tuple))
def test_what_is_written_reads_the_same(tree: tuple[Directive, ...]) -> None:
    assert parse(written(tree)) == tree


def test_a_real_text_reads_the_same_when_it_is_written() -> None:
    tree = parse(SITE)
    assert parse(written(tree)) == tree
    assert any(one.args == ('$http_user_agent', '~*', 'bad "bot"') for one in every(tree) if one.name == 'if')
