"""Which rules are listed: out of configurations of nginx and Apache on a host that is nothing but files."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from fixtures.host_files import HostOfFiles
from fixtures.shells import Script
from wpaudit.domain import Gap
from wpaudit.domain import Kind
from wpaudit.domain import Suspect
from wpaudit.errors import CommandTimeout
from wpaudit.errors import ConnectionLost
from wpaudit.firewalls.modsecurity.files import DEEPEST
from wpaudit.firewalls.modsecurity.layer import ModSecurity
from wpaudit.firewalls.modsecurity.layer import read
from wpaudit.firewalls.modsecurity.running import FIND
from wpaudit.firewalls.modsecurity.scopes import Form
from wpaudit.firewalls.modsecurity.scopes import Place
from wpaudit.firewalls.modsecurity.scopes import concerned
from wpaudit.firewalls.modsecurity.scopes import places
from wpaudit.firewalls.reading import State
from wpaudit.ports import Ground

Contents = Mapping[str, 'bytes | str | State']
WWW, URL = '/srv/shop', 'https://shop.example/'
NGINX = b'nginx: master process /usr/sbin/nginx -g daemon on;\0\0\0'
APACHE = b'/usr/sbin/apache2\0-k\0start\0'
DENY = 'SecRule ARGS:{0} "x" "id:{0},deny,status:502,msg:\'No {0}\'"\n'
ON = 'SecRuleEngine On\n'


def shell_on(
    files: Contents, *running: bytes, links: Mapping[str, str] | None = None, uid: int = 0,
) -> HostOfFiles:
    """Return a shell on a host with these files and web servers."""
    processes = {f'/proc/{10 + number}/cmdline': line for number, line in enumerate(running)}
    contents = {path: text.encode('utf-8', 'surrogateescape') if isinstance(text, str) and not isinstance(text, State)
                else text for path, text in {**files, **processes}.items()}
    found = ''.join(f'{path.removesuffix("cmdline")}comm\n' for path in processes).encode()
    login = {('id', '-un'): Script(stdout=b'deploy\n'), ('id', '-u'): Script(stdout=f'{uid}\n'.encode())}
    return HostOfFiles(contents, links=links, scripts={FIND: Script(stdout=found), **login})


def listed(files: Contents, *running: bytes, url: str = URL) -> tuple[dict[str, str], list[Gap]]:
    """Return the suspects' places by id, and the gaps."""
    found, gaps = ModSecurity(Ground(shell_on(files, *running), WWW, url)).listing()
    return {one.id: one.where for one in found}, list(gaps)


def nginx(server: str, *, http: str = '', rules: str = ON + DENY.format(1)) -> dict[str, str]:
    """Return a host with one site in nginx."""
    return {
        '/etc/nginx/nginx.conf': f'events {{}}\nhttp {{\n{http}\ninclude sites/*;\n}}\n',
        '/etc/nginx/sites/shop': f'server {{\nlisten 443 ssl;\nserver_name shop.example;\nroot {WWW};\n{server}\n}}\n',
        '/etc/waf/main.conf': rules,
    }


def apache(host: str, *, main: str = '', rules: str = ON + DENY.format(1)) -> dict[str, str]:
    """Return a host with one site in Apache."""
    return {
        '/etc/apache2/apache2.conf': f'IncludeOptional mods/*.load\n{main}\nIncludeOptional sites/*.conf\n',
        '/etc/apache2/mods/security2.load': 'LoadModule security2_module /usr/lib/apache2/modules/mod_security2.so\n',
        '/etc/apache2/sites/shop.conf':
            f'<VirtualHost *:443>\nServerName shop.example\nDocumentRoot {WWW}\n{host}\n</VirtualHost>\n',
        '/etc/waf/main.conf': rules,
    }


def with_waf(server: str, rules: str = ON + DENY.format(1), more: str = '') -> tuple[dict[str, str], bytes]:
    """Return a host with one site behind these rules, and the server that runs on it."""
    if server == 'nginx':
        return nginx(f'modsecurity on;\nmodsecurity_rules_file /etc/waf/main.conf;\n{more}', rules=rules), NGINX
    return apache(f'Include /etc/waf/main.conf\n{more}', rules=rules), APACHE


BOTH = pytest.mark.parametrize('server', ['nginx', 'apache'])


# -- suspects -----------------------------------------------------------------------------------------

@BOTH
def test_a_rule_is_a_suspect_with_its_message_and_its_place(server: str) -> None:
    files, running = with_waf(server)
    found, gaps = ModSecurity(Ground(shell_on(files, running), WWW, URL)).listing()
    assert found == (Suspect('1', Kind.RULE, 'No 1', layer='modsecurity', where='/etc/waf/main.conf:2',
                             details=(('phase', '2'),)),)
    assert gaps == ()


@BOTH
def test_messages_are_bounded_and_come_as_they_are(server: str) -> None:
    files, running = with_waf(server, f'{ON}SecRule A "x" "id:1,deny,msg:\'\x1b[31mcaf\udce9{"y" * 9999}\'"\n')
    (found,), _ = ModSecurity(Ground(shell_on(files, running), WWW, URL)).listing()
    assert found.name.startswith('\x1b[31mcaf\udce9yyy')
    assert len(found.name) == 300


@pytest.mark.parametrize('running', [(), (NGINX,), (APACHE,), (b'nginx: worker process\0',), (b'',), (b'\xff\0',)])
def test_a_host_without_it_is_silent(running: tuple[bytes, ...]) -> None:
    assert listed({}, *running) == ({}, [])
    assert listed({'/etc/nginx/nginx.conf': 'http { server { listen 80; } }\n'}, *running) == ({}, [])
    bare = apache('')
    del bare['/etc/apache2/mods/security2.load']
    assert listed(bare, *running) == ({}, [])


def test_rules_of_a_module_that_is_not_loaded_are_none() -> None:
    files = apache('Include /etc/waf/main.conf\nInclude /etc/gone.conf')
    del files['/etc/apache2/mods/security2.load']
    assert listed(files, APACHE) == ({}, [])


@BOTH
@pytest.mark.parametrize(('mode', 'said'), [
    ('SecRuleEngine DetectionOnly\n', 'SecRuleEngine is detectiononly in /etc/waf/main.conf:1'),
    ('SecRuleEngine Off\n', 'SecRuleEngine is off in /etc/waf/main.conf:1'),
    ('', 'SecRuleEngine is nowhere on'),
    ('SecRuleEngine On\nSecRuleEngine Off\n', 'SecRuleEngine is off in /etc/waf/main.conf:2'),
])
def test_rules_that_only_watch_are_said_and_not_listed(server: str, mode: str, said: str) -> None:
    files, running = with_waf(server, mode + DENY.format(1))
    assert listed(files, running) == (
        {}, [Gap('rules of ModSecurity', f'they block nothing, so none is listed: {said}')],
    )


# -- which files --------------------------------------------------------------------------------------

@BOTH
def test_includes_are_followed_in_their_order(server: str) -> None:
    files, running = with_waf(server, f'{ON}Include /etc/waf/crs/*.conf\n{DENY.format(9)}')
    files |= {'/etc/waf/crs/b.conf': DENY.format(2), '/etc/waf/crs/a.conf': DENY.format(1), '/etc/waf/crs/c.txt': 'x'}
    assert listed(files, running) == ({
        '1': '/etc/waf/crs/a.conf:1', '2': '/etc/waf/crs/b.conf:1', '9': '/etc/waf/main.conf:3',
    }, [])


def test_what_relative_names_are_relative_to() -> None:
    files = nginx('modsecurity on;\nmodsecurity_rules_file /etc/waf/main.conf;', rules=f'{ON}Include crs/a.conf\n')
    assert listed(files | {'/etc/waf/crs/a.conf': DENY.format(1)}, NGINX)[0] == {'1': '/etc/waf/crs/a.conf:1'}
    files = apache('Include /etc/waf/main.conf', rules=f'{ON}Include crs/a.conf\n')
    assert listed(files | {'/etc/apache2/crs/a.conf': DENY.format(1)}, APACHE)[0] == {'1': '/etc/apache2/crs/a.conf:1'}
    files['/etc/waf/main.conf'] = f'{ON}ServerRoot /opt\nDefine crs crs/v3\nInclude ${{crs}}/a.conf\n'
    assert listed(files | {'/opt/crs/v3/a.conf': DENY.format(1)}, APACHE)[0] == {'1': '/opt/crs/v3/a.conf:1'}


def test_apache_reads_all_of_a_directory() -> None:
    files = apache('Include /etc/waf/crs', rules='')
    directories = dict.fromkeys(('/etc/waf/crs', '/etc/waf/crs/b'), State.DIRECTORY)
    files |= {'/etc/waf/crs/a.conf': DENY.format(1), '/etc/waf/crs/b/c.conf': DENY.format(2) + ON}
    assert listed(files | directories, APACHE) == ({'1': '/etc/waf/crs/a.conf:1', '2': '/etc/waf/crs/b/c.conf:1'}, [])


@pytest.mark.parametrize(('line', 'paths'), [
    (b'nginx: master process nginx -c /opt/n.conf\0', {'/opt/n.conf': 'nginx'}),
    (b'nginx: master process nginx -p /opt -c n.conf\0\0\0', {'/opt/n.conf': 'nginx'}),
    (b'/usr/sbin/httpd\0-f/opt/h.conf\0-DFOREGROUND\0', {'/opt/h.conf': 'apache'}),
    (b'/usr/sbin/apache2\0-d\0/opt\0-f\0h.conf\0', {'/opt/h.conf': 'apache'}),
])
def test_the_configuration_that_is_in_use_is_read(line: bytes, paths: dict[str, str]) -> None:
    ((path, server),) = paths.items()
    files, _ = with_waf(server)
    usual = {'nginx': '/etc/nginx/nginx.conf', 'apache': '/etc/apache2/apache2.conf'}[server]
    text = files.pop(usual).replace('sites/', f'{usual.rpartition("/")[0]}/sites/')
    text = text.replace('mods/', '/etc/apache2/mods/')
    assert listed(files | {path: text}, line)[0] == {'1': '/etc/waf/main.conf:2'}


def test_where_processes_cannot_be_seen_the_usual_files_are_read() -> None:
    for server in ('nginx', 'apache'):
        assert listed(with_waf(server)[0])[0] == {'1': '/etc/waf/main.conf:2'}


def test_a_server_that_does_not_run_is_not_read() -> None:
    assert listed(with_waf('apache')[0] | nginx(''), NGINX) == ({}, [])


def test_a_rule_that_two_servers_load_is_one_suspect() -> None:
    front, back = with_waf('nginx')[0], with_waf('apache')[0]
    assert listed(front | back, NGINX, APACHE, APACHE)[0] == {'1': '/etc/waf/main.conf:2'}


# -- which site ---------------------------------------------------------------------------------------

def test_other_hosts_of_nginx_do_not_count() -> None:
    files = nginx('modsecurity on;\nmodsecurity_rules_file /etc/waf/main.conf;')
    files['/etc/nginx/sites/other'] = (
        'server { listen 443 ssl; server_name other.example; root /srv/other; modsecurity on;\n'
        'modsecurity_rules_file /etc/waf/other.conf; }\n'
    )
    files['/etc/waf/other.conf'] = ON + DENY.format(2)
    assert set(listed(files, NGINX)[0]) == {'1'}
    assert set(listed(files, NGINX, url='https://www.other.example/')[0]) == {'1'}  # it has the document root
    files['/etc/nginx/sites/shop'] = files['/etc/nginx/sites/shop'].replace('shop', 'else')
    assert set(listed(files, NGINX, url='https://other.example/')[0]) == {'2'}
    assert set(listed(files, NGINX, url='https://third.example/')[0]) == {'1', '2'}
    assert set(listed(files, NGINX, url='http://third.example:8080/')[0]) == {'1', '2'}  # nobody says whose it is


def test_other_hosts_of_apache_do_not_count() -> None:
    files = apache('Include /etc/waf/main.conf', main=ON + DENY.format(3))
    files['/etc/apache2/sites/other.conf'] = (
        '<VirtualHost *:443>\nServerName other.example\nDocumentRoot /srv/other\n' + DENY.format(2) + '</VirtualHost>\n'
    )
    assert set(listed(files, APACHE)[0]) == {'1', '3'}


@pytest.mark.parametrize('server', ['nginx', 'apache'])
def test_a_server_that_serves_something_else_is_left_alone(server: str) -> None:
    files, running = with_waf(server)
    shell = shell_on(files, running)
    [rule] = ModSecurity(Ground(shell, '/srv/else', 'http://else.example:8080/')).listing()[0]
    assert 'nothing says that the server which has loaded it serves this site' in rule.stuck
    [rule] = ModSecurity(Ground(shell, WWW, URL)).listing()[0]
    assert rule.stuck == ''


def test_what_is_off_for_the_site_is_not_listed() -> None:
    files = apache('SecRuleEngine Off', main=ON + DENY.format(3))
    assert listed(files, APACHE)[0] == {}
    files = nginx('modsecurity off;', http='modsecurity on;\nmodsecurity_rules_file /etc/waf/main.conf;')
    assert listed(files, NGINX)[0] == {}
    files = nginx('location / { modsecurity on; }', http='modsecurity_rules_file /etc/waf/main.conf;')
    assert set(listed(files, NGINX)[0]) == {'1'}


def test_sections_for_servers_without_the_module_are_passed_over() -> None:
    files = apache(f'<IfModule !security2_module>\n<IfModule x>\n{DENY.format(5)}</IfModule>\n</IfModule>\n'
                   f'<IfModule security2_module>\n{ON}{DENY.format(6)}</IfModule>\n')
    assert set(listed(files, APACHE)[0]) == {'6'}


def test_rules_in_the_middle_of_nginx() -> None:
    files = nginx('modsecurity on;\nmodsecurity_rules \'\n  SecRuleEngine On\n  SecRule ARGS "x" "id:5,deny"\n\';')
    assert listed(files, NGINX) == ({'5': '/etc/nginx/sites/shop:8'}, [])


# -- gaps ---------------------------------------------------------------------------------------------

@BOTH
def test_a_file_that_may_not_be_read_is_a_gap_with_the_way_to_open_it(server: str) -> None:
    files, running = with_waf(server, f'{ON}Include /etc/waf/my/crs.conf\n{DENY.format(1)}')
    found, gaps = listed(files | {'/etc/waf/my/crs.conf': State.UNREADABLE}, running)
    assert set(found) == {'1'}
    assert gaps == [Gap('/etc/waf/my/crs.conf', 'may not be read; as root: setfacl -R -m u:deploy:rX /etc/waf/my')]


@BOTH
def test_a_main_file_that_may_not_be_read_is_a_gap(server: str) -> None:
    path = {'nginx': '/etc/nginx/nginx.conf', 'apache': '/etc/apache2/apache2.conf'}[server]
    found, (gap,) = listed({path: State.UNREADABLE}, {'nginx': NGINX, 'apache': APACHE}[server])
    assert found == {}
    assert gap.what == path


@BOTH
def test_a_file_that_includes_itself_is_a_gap(server: str) -> None:
    files, running = with_waf(server, f'{ON}Include /etc/waf/a.conf\n{DENY.format(1)}')
    files |= {
        '/etc/waf/a.conf': 'Include /etc/waf/b.conf\n' + DENY.format(2), '/etc/waf/b.conf': 'Include /etc/waf/a.conf\n',
    }
    found, gaps = listed(files, running)
    assert set(found) == {'1', '2'}
    assert gaps == [Gap('/etc/waf/a.conf', 'includes itself, by way of /etc/waf/b.conf')]


@BOTH
def test_a_link_to_a_file_that_includes_it_is_a_loop_too(server: str) -> None:
    files, running = with_waf(server, f'{ON}Include /etc/waf/link.conf\n{DENY.format(1)}')
    shell = shell_on(files | {'/etc/waf/link.conf': files['/etc/waf/main.conf']}, running,
                     links={'/etc/waf/link.conf': '/etc/waf/main.conf'})
    found, gaps = ModSecurity(Ground(shell, WWW, URL)).listing()
    assert [one.id for one in found] == ['1']
    assert gaps == (Gap('/etc/waf/link.conf', 'includes itself, by way of /etc/waf/main.conf'),)


@BOTH
def test_a_link_that_leads_elsewhere_is_followed_as_the_server_does(server: str) -> None:
    files, running = with_waf(server, f'{ON}Include /etc/waf/link.conf\n')
    files |= {'/etc/waf/link.conf': DENY.format(4), '/home/evil/x.conf': DENY.format(4)}
    shell = shell_on(files, running, links={'/etc/waf/link.conf': '/home/evil/x.conf'})
    found, gaps = ModSecurity(Ground(shell, WWW, URL)).listing()
    assert [(one.id, one.where) for one in found] == [('4', '/etc/waf/link.conf:1')]
    assert gaps == ()


@BOTH
def test_includes_are_followed_to_a_depth(server: str) -> None:
    files, running = with_waf(server, f'{ON}{DENY.format(99)}Include /etc/waf/0.conf\n')
    files |= {f'/etc/waf/{number}.conf': f'Include /etc/waf/{number + 1}.conf\n' for number in range(30)}
    found, gaps = listed(files, running)
    assert set(found) == {'99'}
    assert any(f'more than {DEEPEST} levels' in gap.why for gap in gaps)


@BOTH
def test_files_that_are_included_again_and_again_are_bounded(server: str) -> None:
    files, running = with_waf(server, f'{ON}{DENY.format(99)}Include /etc/waf/0.conf\n')
    files |= {f'/etc/waf/{number}.conf': f'Include /etc/waf/{number + 1}.conf\n' * 40 for number in range(6)}
    found, gaps = listed(files | {'/etc/waf/6.conf': DENY.format(7)}, running)
    assert {'99'} <= set(found)
    assert any('too often' in gap.why for gap in gaps)


def test_quotes_that_do_not_end_are_a_gap() -> None:
    broken = f'{ON}{DENY.format(1)}SecRule ARGS "x\n{DENY.format(2).replace(chr(34), "")}'
    files, running = with_waf('nginx', broken)
    found, (gap,) = listed(files, running)
    assert '1' in found
    assert (gap.what, 'quote' in gap.why) == ('/etc/waf/main.conf:3', True)
    files, running = with_waf('apache', broken)
    found, (gap,) = listed(files, running)
    assert '1' in found
    assert (gap.what, 'quote' in gap.why) == ('/etc/waf/main.conf:3', True)


@pytest.mark.parametrize('text', [
    'http {', 'http { server {', '}', "http { x '", 'http ' + '{ a ' * 3000, '\udcff' * 9, '', 'http { modsecurity; }',
])
def test_an_nginx_configuration_that_cannot_be_parsed_is_no_exception(text: str) -> None:
    found, _gaps = listed({'/etc/nginx/nginx.conf': text}, NGINX)
    assert found == {}


def test_names_that_are_not_utf_8_are_followed() -> None:
    path = '/etc/waf/caf\udce9.conf'
    files = nginx(f'modsecurity on;\nmodsecurity_rules_file "{path}";') | {path: ON + DENY.format(8)}
    assert listed(files, NGINX)[0] == {'8': f'{path}:2'}


def test_remote_rules_and_rules_that_are_gone_are_gaps() -> None:
    files = nginx('modsecurity on;\nmodsecurity_rules_remote key https://rules.example/x;\n'
                  'modsecurity_rules_file rules.conf;\nmodsecurity_rules_file /etc/waf/main.conf;')
    found, gaps = listed(files, NGINX)
    assert set(found) == {'1'}
    assert [gap.what for gap in gaps] == ['/etc/nginx/sites/shop:6', '/rules.conf']


def test_a_host_that_does_not_answer_is_a_gap_and_a_broken_line_an_error() -> None:
    def ground(fault: CommandTimeout | ConnectionLost) -> Ground:
        return Ground(HostOfFiles({}, scripts={FIND: Script(fault=fault)}), WWW, URL)

    assert ModSecurity(ground(CommandTimeout('too slow'))).listing() == ((), (Gap('rules of ModSecurity', 'too slow'),))
    with pytest.raises(ConnectionLost):
        ModSecurity(ground(ConnectionLost('gone'))).listing()


@BOTH
def test_a_login_that_may_not_change_the_server_has_nothing_to_switch(server: str) -> None:
    files, running = with_waf(server)
    [suspect] = ModSecurity(Ground(shell_on(files, running, uid=1000), WWW, URL)).listing()[0]
    assert suspect.stuck == (
        'only root may change it: use --sudo, with this line in sudoers: deploy ALL=(root) NOPASSWD: /bin/sh, '
        '/usr/bin/sh')
    [suspect] = ModSecurity(Ground(shell_on(files, running), WWW, URL)).listing()[0]
    assert suspect.stuck == ''


def test_rules_of_a_server_that_nobody_sees_running_are_not_switched() -> None:
    files, _ = with_waf('nginx')
    [suspect] = ModSecurity(Ground(shell_on(files), WWW, URL)).listing()[0]
    assert suspect.stuck.startswith('no web server is seen to run with /etc/nginx/nginx.conf')


# -- places for a harness -----------------------------------------------------------------------------

def places_in(files: Contents, running: bytes) -> tuple[Place, ...]:
    """Return where a harness has to stand for the site."""
    ((configuration,), _gaps) = read(shell_on(files, running))
    return places(configuration, concerned(configuration, WWW, URL))


def test_places_in_nginx_are_before_the_first_rule_of_each_block() -> None:
    files = nginx(
        'modsecurity on;\nmodsecurity_rules_file /etc/waf/main.conf;\nmodsecurity_rules_file /etc/waf/b.conf;\n'
        'location /a {\nmodsecurity_rules "SecRule A \'x\' \'id:5\'";\n}\n',
        http='modsecurity_rules_file /etc/waf/http.conf;',
    )
    assert set(places_in(files, NGINX)) == {
        Place('/etc/waf/http.conf', 1), Place('/etc/waf/main.conf', 1), Place('/etc/nginx/sites/shop', 9, Form.NGINX),
    }


def test_places_in_apache_are_outside_of_sections_that_its_first_phase_does_not_know() -> None:
    location = f'<Location /a>\n<IfModule x>\n{DENY.format(5)}</IfModule>\n</Location>\n'
    files = apache(f'{ON}{location}Include /etc/waf/main.conf')
    assert places_in(files, APACHE) == (Place('/etc/apache2/sites/shop.conf', 5),)
    files = apache('Include /etc/waf/main.conf', main=DENY.format(3))
    shop = '/etc/apache2/sites/shop.conf'
    assert set(places_in(files, APACHE)) == {Place('/etc/apache2/apache2.conf', 2), Place(shop, 4)}
    files = apache('', main='<IfModule security2_module>\nInclude /etc/waf/main.conf\n</IfModule>')
    assert places_in(files, APACHE) == (Place('/etc/apache2/apache2.conf', 3),)


def test_a_place_in_apache_is_behind_the_loading_of_the_module() -> None:
    """What is included together with LoadModule cannot be preceded: the directives would not be known yet."""
    files = {**apache(''), '/etc/apache2/mods/waf.load': DENY.format(1)}
    files['/etc/apache2/mods/a.load'] = files.pop('/etc/apache2/mods/security2.load')
    assert places_in(files, APACHE) == (Place('/etc/apache2/mods/waf.load', 1),)
