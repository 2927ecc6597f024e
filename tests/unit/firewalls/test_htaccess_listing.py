"""Which rules of Apache are listed for a site: on a host that is nothing but files."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from fixtures.firewalls.visits import rule_text
from fixtures.host_files import HostOfFiles
from fixtures.shells import Script
from wpaudit.domain import Gap
from wpaudit.domain import Kind
from wpaudit.domain import Mode
from wpaudit.domain import Suspect
from wpaudit.errors import CommandTimeout
from wpaudit.errors import ConnectionLost
from wpaudit.errors import ModeUnavailable
from wpaudit.firewalls.apache.finding import rule_files
from wpaudit.firewalls.apache.swap import ASKING
from wpaudit.firewalls.htaccess import Htaccess
from wpaudit.firewalls.modsecurity.running import FIND
from wpaudit.firewalls.reading import State
from wpaudit.ports import Ground

Contents = Mapping[str, 'bytes | State']
APACHE, NGINX = b'/usr/sbin/apache2\0-k\0start\0', b'nginx: master process /usr/sbin/nginx\0'
REPLACEABLE = Script(stdout=b'20261123120000\n', reply=lambda line: b'yes\n')
WWW, URL = '/srv/shop', 'https://shop.example/'
FORBID = b'RewriteEngine On\nRewriteRule ^a - [F]\n'
MAIN = b"""Define ROOT /srv
<Directory />
    AllowOverride None
    Require all denied
</Directory>
<FilesMatch "^\\.ht">
    Require all denied
</FilesMatch>
<Location "/server-status">
    Require local
</Location>
IncludeOptional sites-enabled/*.conf
"""
SITE = b"""<VirtualHost *:443>
    ServerName shop.example
    DocumentRoot ${ROOT}/shop
    <Directory ${ROOT}/shop>
        AllowOverride %s
        Require all granted
    </Directory>
    RewriteRule ^/secret - [F]
</VirtualHost>
<VirtualHost *:443>
    ServerName other.example
    DocumentRoot /srv/other
    <Directory /srv/other>
        Require all denied
    </Directory>
</VirtualHost>
"""


def host(files: Contents, *running: bytes) -> HostOfFiles:
    processes = {f'/proc/{10 + number}/cmdline': line for number, line in enumerate(running)}
    found = ''.join(f'{path.removesuffix("cmdline")}comm\n' for path in processes).encode()
    login = {('id', '-u'): Script(stdout=b'1000\n'), ('id', '-un'): Script(stdout=b'shop\n')}
    return HostOfFiles({**files, **processes}, scripts={FIND: Script(stdout=found), ASKING: REPLACEABLE, **login})


def apache(files: Contents, override: bytes = b'All') -> dict[str, bytes | State]:
    return {
        '/etc/apache2/apache2.conf': MAIN, '/etc/apache2/sites-enabled/shop.conf': SITE % override,
        WWW: State.DIRECTORY, **files,
    }


def listed(files: Contents, *running: bytes) -> tuple[list[str], list[Gap]]:
    found, gaps = Htaccess(Ground(host(files, *running), f'{WWW}/', URL)).listing()
    return [one.id for one in found], list(gaps)


VHOST = '/etc/apache2/sites-enabled/shop.conf:8'


def test_rules_of_files_and_of_the_virtual_host() -> None:
    files = apache({f'{WWW}/.htaccess': b'# BEGIN Mine\n' + FORBID + b'# END Mine\n'})
    found, gaps = Htaccess(Ground(host(files, APACHE), WWW, URL)).listing()
    assert found == (
        Suspect(VHOST, Kind.RULE, 'RewriteRule ^/secret - [F]', layer='htaccess',
                where='line 8, it answers with an error (403), changes count after a graceful reload',
                stuck='only root may change it: use --sudo, with this line in sudoers: '
                      'shop ALL=(root) NOPASSWD: /bin/sh, /usr/bin/sh'),
        Suspect(f'{WWW}/.htaccess:3', Kind.RULE, 'RewriteRule ^a - [F]', layer='htaccess',
                where='line 3, in "Mine", it answers with an error (403)'),
    )
    assert gaps == ()


def test_files_above_and_below_the_site_as_far_as_apache_reads_them() -> None:
    files = apache({
        '/.htaccess': FORBID, '/srv/.htaccess': FORBID, f'{WWW}/.htaccess': FORBID, f'{WWW}/wp-admin/.htaccess': FORBID,
        f'{WWW}/wp-content/uploads/2026/.htaccess': FORBID, f'{WWW}/wp-content/plugins/acme/.htaccess': FORBID,
        f'{WWW}/else/where/.htaccess': FORBID,
    })
    found, gaps = listed(files, APACHE)
    assert found == [VHOST, *(f'{WWW}/{below}.htaccess:2' for below in (
        '', 'wp-admin/', 'wp-content/plugins/acme/', 'wp-content/uploads/2026/'))]
    inert = 'AllowOverride is None, so Apache does not read /.htaccess, /srv/.htaccess'
    assert gaps == [Gap('rules in .htaccess', inert)]


def test_conditions_belong_to_their_rule() -> None:
    files = apache({f'{WWW}/.htaccess': rule_text('firewall-6g').encode('utf-8', 'surrogateescape')})
    found, _ = Htaccess(Ground(host(files, APACHE), WWW, URL)).listing()
    rule = f'{WWW}/.htaccess:34'
    assert [one.requires for one in found] == [(), (), *[(rule,)] * 20]


@pytest.mark.parametrize('override', [b'None', b'none'])
def test_without_allow_override_the_files_are_silent(override: bytes) -> None:
    found, gaps = listed(apache({f'{WWW}/.htaccess': FORBID}, override), APACHE)
    assert found == [VHOST]
    assert [gap.why for gap in gaps] == [f'AllowOverride is None, so Apache does not read {WWW}/.htaccess']


def test_expressions_of_the_host_are_not_run() -> None:
    files = apache({f'{WWW}/.htaccess': FORBID})
    slow = b'<DirectoryMatch "(a+)+$">\nAllowOverride %s\nRequire all denied\n</DirectoryMatch>\n'
    for said in (b'None', b'All'):
        files['/etc/apache2/apache2.conf'] = MAIN + slow % said
        found, _ = listed(files, APACHE)
        assert f'{WWW}/.htaccess:2' in found
        assert '/etc/apache2/apache2.conf:15' in found  # it may be about the site


def test_what_an_apache_reads_from_elsewhere() -> None:
    """Its environment names directories, links lead to files, and a section may hold what another file says."""
    files = apache({})
    files['/etc/apache2/envvars'] = b'unset HOME\nexport ROOT=/srv$SUFFIX\nexport LOGS="/var/log/apache2"\n'
    files['/etc/apache2/apache2.conf'] = MAIN.replace(b'Define ROOT /srv\n', b'ErrorLog ${LOGS}/error.log\n')
    files['/etc/apache2/sites-enabled/shop.conf'] = (SITE % b'All').replace(
        b'    RewriteRule', b'    Include snippets/here.conf\n    <Location "/a">\n    Include snippets/there.conf\n'
        b'    </Location>\n    RewriteRule')
    files['/etc/apache2/snippets/here.conf'] = files['/etc/apache2/snippets/there.conf'] = b'Redirect 404 /b\n'
    shell = host(files, APACHE)
    shell._scripts['id', '-u'] = Script(stdout=b'0\n')
    found = {one.id: one for one in Htaccess(Ground(shell, WWW, URL)).listing()[0]}
    assert found['/etc/apache2/sites-enabled/shop.conf:12'].stuck == ''
    assert found['/etc/apache2/snippets/here.conf:1'].stuck == ''
    assert 'included inside a <location>' in found['/etc/apache2/snippets/there.conf:1'].stuck
    assert rule_files(shell, WWW, URL, reader=shell).logs == ('/var/log/apache2/error.log',)


@pytest.mark.parametrize(('listen', 'url', 'ours'), [
    (b'*:443', 'https://shop.example/', True), (b'*:8443', 'https://shop.example/', False),
    (b'*:80 [::]:8443', 'https://shop.example:8443/', True), (b'*', 'https://shop.example/', True),
    (b'*', 'https://shop.example:444/', False),
])
def test_a_name_counts_at_the_port_of_the_url(listen: bytes, url: str, ours: bool) -> None:
    """Whoever keeps several servers on one machine may call them all by one name."""
    files = apache({'/srv/elsewhere': State.DIRECTORY, '/etc/apache2/apache2.conf': b'Listen 443\n' + MAIN})
    files['/etc/apache2/sites-enabled/shop.conf'] = (SITE % b'All').replace(b'*:443', listen).replace(
        b'${ROOT}/shop', b'/srv/elsewhere')
    found = rule_files(shell := host(files, APACHE), WWW, url, reader=shell)
    assert bool(found.files) is ours


def test_an_apache_that_serves_something_else_is_left_alone() -> None:
    files = apache({})
    files['/etc/apache2/apache2.conf'] = MAIN + b'Redirect 404 /a\n'
    files['/etc/apache2/sites-enabled/shop.conf'] = (SITE % b'All').replace(b'shop', b'mail')
    shell = host(files, APACHE)
    shell._scripts['id', '-u'] = Script(stdout=b'0\n')
    [rule] = Htaccess(Ground(shell, WWW, URL)).listing()[0]
    assert 'nothing says that this Apache serves the site' in rule.stuck


def test_rules_of_one_file_come_in_its_order() -> None:
    files = apache({f'{WWW}/.htaccess': rule_text('security-plugins').encode('utf-8', 'surrogateescape')})
    found = [one for one in Htaccess(Ground(host(files, APACHE), WWW, URL)).listing()[0] if one.id.startswith(WWW)]
    rules = [int(one.id.rpartition(':')[2]) for one in found if not one.requires]
    assert rules == sorted(rules)
    assert len(rules) > 15


def test_nginx_does_not_read_them() -> None:
    files: dict[str, bytes | State] = {WWW: State.DIRECTORY, f'{WWW}/.htaccess': FORBID, '/etc/nginx/nginx.conf': b''}
    found, [gap] = listed(files, NGINX)
    assert found == []
    assert 'nginx' in gap.why
    assert listed({'/etc/nginx/nginx.conf': b''}, NGINX) == ([], [])
    other = apache({f'{WWW}/.htaccess': FORBID, '/etc/nginx/nginx.conf': b''})
    other['/etc/apache2/sites-enabled/shop.conf'] = (SITE % b'All').replace(b'shop', b'mail')
    assert listed(other, NGINX, APACHE)[0] == []


def test_apache_behind_nginx_reads_them() -> None:
    files = apache({f'{WWW}/.htaccess': FORBID, '/etc/nginx/nginx.conf': b''})
    assert listed(files, NGINX, APACHE)[0] == [VHOST, f'{WWW}/.htaccess:2']


def test_where_no_web_server_is_seen_they_are_listed_with_a_word_of_caution() -> None:
    found, gaps = listed({WWW: State.DIRECTORY, f'{WWW}/.htaccess': FORBID})
    assert found == [f'{WWW}/.htaccess:2']
    assert 'LiteSpeed' in gaps[0].why
    assert listed({WWW: State.DIRECTORY}) == ([], [])
    [rule], _ = Htaccess(Ground(host({WWW: State.DIRECTORY, f'{WWW}/.htaccess': FORBID}), WWW, URL)).listing()
    assert 'other servers may read' in rule.stuck


def test_what_cannot_be_read_or_understood_is_a_gap() -> None:
    files = apache({
        '/srv/shop/.htaccess': State.UNREADABLE, f'{WWW}/wp-admin/.htaccess': b'<Files a>\nDeny from all\n',
        f'{WWW}/wp-content/.htaccess': b'Deny from evil.test\n',
    })
    found, gaps = listed(files, APACHE)
    assert found == [VHOST, f'{WWW}/wp-content/.htaccess:1']
    said = {gap.what: gap.why for gap in gaps}
    assert 'sudo cat /srv/shop/.htaccess' in said[f'{WWW}/.htaccess']
    assert 'line 1: <files> is not closed' in said[f'{WWW}/wp-admin/.htaccess']
    assert 'for one request' in said[f'{WWW}/wp-content/.htaccess:1']


def test_another_name_for_the_files() -> None:
    files = apache({f'{WWW}/.rules': FORBID, f'{WWW}/.htaccess': FORBID})
    files['/etc/apache2/apache2.conf'] = MAIN + b'AccessFileName .rules\n'
    assert listed(files, APACHE)[0] == [VHOST, f'{WWW}/.rules:2']


@pytest.mark.parametrize('path', ['/srv/*', '/srv/[a]', '/srv/a\\b', '/', '/srv/caf\udce9'])
def test_strange_paths(path: str) -> None:
    found, _ = Htaccess(Ground(host({f'{path.rstrip("/")}/.htaccess': FORBID}), path, URL)).listing()
    assert [one.id for one in found] == [f'{path.rstrip("/")}/.htaccess:2']


def test_a_slow_host_is_a_gap_and_a_lost_one_an_error() -> None:
    slow = HostOfFiles({}, scripts={FIND: Script(fault=CommandTimeout('too slow'))})
    assert Htaccess(Ground(slow, WWW, URL)).listing() == ((), (Gap('rules in .htaccess', 'too slow'),))
    lost = HostOfFiles({}, scripts={FIND: Script(fault=ConnectionLost('gone'))})
    with pytest.raises(ConnectionLost):
        Htaccess(Ground(lost, WWW, URL)).listing()


@pytest.mark.parametrize(('word', 'why'), [
    (b'link', 'a link'), (b'owner', 'another user'), (b'directory', 'not writable'), (b'yes', ''),
])
def test_what_cannot_be_replaced_is_listed_with_the_reason(word: bytes, why: str) -> None:
    files = apache({f'{WWW}/.htaccess': FORBID, f'{WWW}/wp-admin/.htaccess': FORBID})
    said = Script(stdout=b'20261123120000\n' + word + b'\nyes\n')
    shell = host(files, APACHE)
    shell._scripts[ASKING] = said
    _, first, second = Htaccess(Ground(shell, WWW, URL)).listing()[0]
    assert why in first.stuck
    assert bool(why) is bool(first.stuck)
    assert second.stuck == ''


@pytest.mark.parametrize('said', [b'', b'soon\nyes\n', b'20261123120000\nmaybe\n', b'20261123120000\n', b'\xff\nyes\n'])
def test_a_host_that_answers_something_else_is_a_gap(said: bytes) -> None:
    shell = host(apache({f'{WWW}/.htaccess': FORBID}), APACHE)
    shell._scripts[ASKING] = Script(stdout=said)
    found, [gap] = Htaccess(Ground(shell, WWW, URL)).listing()
    assert found == ()
    assert 'which files could be replaced' in gap.why


def test_a_file_that_stays_and_would_be_overruled_keeps_the_lists_of_others_from_being_switched() -> None:
    lists = b'Order allow,deny\nAllow from all\nDeny from 10.0.0.1\n'
    files = apache({f'{WWW}/.htaccess': lists + FORBID, f'{WWW}/wp-admin/.htaccess': lists})
    shell = host(files, APACHE)
    shell._scripts[ASKING] = Script(stdout=b'20261123120000\nyes\nlink\n')
    found = {one.id: one for one in Htaccess(Ground(shell, WWW, URL)).listing()[0]}
    assert 'lists of its own' in found[f'{WWW}/.htaccess:3'].live_only  # for everybody the line is simply taken out
    assert found[f'{WWW}/.htaccess:3'].stuck == ''
    assert found[f'{WWW}/.htaccess:5'].stuck == found[f'{WWW}/.htaccess:5'].live_only == ''


@pytest.mark.parametrize('mode', list(Mode))
def test_a_site_without_such_files_has_nothing_to_switch(mode: Mode) -> None:
    layer = Htaccess(Ground(host({WWW: State.DIRECTORY}), WWW, URL))
    with pytest.raises(ModeUnavailable, match='no file with rules'), layer.switching(mode):
        pass
