"""Which lines of a log are about us, and that nobody else's are taken for ours."""

from __future__ import annotations

from datetime import UTC
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wpaudit.facts import LogLine
from wpaudit.sites.loglines import LINE
from wpaudit.sites.loglines import MOST
from wpaudit.sites.loglines import Asked
from wpaudit.sites.loglines import LogText
from wpaudit.sites.loglines import Own
from wpaudit.sites.loglines import chosen
from wpaudit.sites.logtimes import FORMS
from wpaudit.sites.logtimes import Clock

AT = datetime(2026, 11, 23, 3, 7, 16, tzinfo=UTC).timestamp()
MARKER = 'wpaudit=ab12'
RECV = ('2026/11/23 03:07:{second:02d} [error] 9#9: *{connection} recv() failed (104: Connection reset by peer) while '
        'reading response header from upstream, client: {client}, server: , request: "GET {path} HTTP/1.1", host: "h"')


def asked(**more: object) -> Asked:
    return Asked(AT - 5, AT + 30, [MARKER], Clock(now=AT + 30), **more)  # type: ignore[arg-type]  # fields of Asked


def nginx(path: str, *, second: int = 16, connection: int = 4, client: str = '192.0.2.1') -> str:
    return RECV.format(path=path, second=second, connection=connection, client=client)


def of(source: str, *lines: str, more: tuple[LogText, ...] = (), **asking: object) -> tuple[LogLine, ...]:
    return chosen([LogText(source, f'/l/{source}', '\n'.join(lines) + '\n'), *more], asked(**asking))


def access(second: int, client: str, path: str, status: int = 502) -> str:
    return f'{client} - - [23/Nov/2026:03:07:{second:02d} +0000] "GET {path} HTTP/1.1" {status} 157 "-" "-"'


def test_a_marker_is_the_surest_sign() -> None:
    (line,) = of('nginx', nginx(f'/?{MARKER}'))
    assert (line.matched, line.marker, line.at, line.path) == ('marker', MARKER, AT, '/l/nginx')


def test_other_visitors_are_left_out() -> None:
    assert of('nginx', nginx('/'), nginx('/shop/?a=b', connection=5)) == ()
    assert of('access', access(16, '192.0.2.1', '/')) == ()


def test_the_connection_of_a_marked_line_is_ours() -> None:
    found = of('nginx', nginx(f'/?{MARKER}'), '2026/11/23 03:07:17 [warn] 9#9: *4 an upstream response is buffered',
               '2026/11/23 03:07:17 [warn] 9#9: *44 an upstream response is buffered')
    assert [(line.matched, line.marker) for line in found] == [('marker', MARKER), ('connection', MARKER)]


def test_a_request_of_our_own_without_a_marker_in_the_line() -> None:
    own = [Own('/page/', AT, AT + 0.5)]
    assert [line.matched for line in of('nginx', nginx('/page/'), own=own)] == ['time']
    assert of('nginx', nginx('/page/', second=25), own=own) == ()


def test_php_fpm_tells_about_the_pool_of_the_site_only() -> None:
    lines = [f'[23-Nov-2026 03:07:1{n}] WARNING: [pool {pool}] child 7 exited on signal 11 (SIGSEGV) after 1 seconds'
             for n, pool in enumerate(['www', 'other'])]
    lines += [f'[23-Nov-2026 03:07:16] NOTICE: {what}' for what in ('[pool www] child 9 started', 'Terminating ...')]
    found = of('php-fpm', *lines, pools=frozenset({'www'}))
    assert [line.text.partition('] ')[2].partition(':')[0] for line in found] == ['WARNING', 'NOTICE']
    assert '[pool www] child 7' in found[0].text


def test_what_a_worker_said_is_one_line() -> None:
    said = '[23-Nov-2026 03:07:16] WARNING: [pool www] child 7 said into stderr: "{}"'
    found = of('php-fpm', said.format('NOTICE: PHP message: PHP Fatal error:  Uncaught Error: x in /p/a.php:1'),
               said.format('Stack trace:'), said.format('#0 {main}'),
               said.format('NOTICE: PHP message: PHP Deprecated:  y'))
    assert len(found) == 1
    assert found[0].text.endswith('Stack trace:\n#0 {main}')


def test_a_trace_belongs_to_its_message_and_notices_are_noise() -> None:
    found = of('php', '[23-Nov-2026 03:07:16 UTC] PHP Fatal error:  Uncaught Error: boom in /p/a.php:1', 'Stack trace:',
               '#0 {main}', '[23-Nov-2026 03:07:16 UTC] PHP Deprecated:  old')
    assert [line.text.count('\n') for line in found] == [2]


@pytest.mark.parametrize(('source', 'line', 'kept'), [
    ('kernel', '1795403236.5 h kernel: php-fpm[7]: segfault at 0 ip 0 sp 0 error 4 in php-fpm8.2', True),
    ('kernel', '1795403236.5 h kernel: Out of memory: Killed process 7 (php-fpm)', True),
    ('kernel', '1795403236.5 h kernel: usb 1-1: new device', False),
    ('nginx', '2026/11/23 03:07:16 [alert] 1#1: worker process 9 exited on signal 11', True),
    ('nginx', '2026/11/23 03:07:16 [notice] 1#1: signal process started', False),
    ('apache', '[Mon Nov 23 03:07:16.1 2026] [core:notice] [pid 1] AH00052: child pid 7 exit signal Aborted (6)', True),
    ('nginx', '2026/11/23 03:06:01 [alert] 1#1: worker process 9 exited on signal 11', False),
])
def test_lines_without_a_request_count_by_time_and_weight(source: str, line: str, kept: bool) -> None:
    assert [one.matched for one in of(source, line)] == (['time'] if kept else [])


APACHE = '[Mon Nov 23 03:07:{:02d}.500000 2026] [proxy_fcgi:error] [pid 1] [client {}:4567] AH01067: Failed to read'


def with_access(*lines: str) -> tuple[LogText, ...]:
    return (LogText('access', '/l/access', '\n'.join(lines)),)


def test_apache_names_only_the_client() -> None:
    more = with_access(access(16, '192.0.2.1', f'/?{MARKER}', 503))
    found = of('apache', APACHE.format(18, '192.0.2.1'), APACHE.format(18, '198.51.100.7'), more=more)
    assert [(line.source, line.matched, line.marker) for line in found] == [
        ('access', 'marker', MARKER), ('apache', 'connection', MARKER)]


def test_ipv6_clients_of_apache() -> None:
    found = of('apache', APACHE.format(18, '2001:db8::1'), more=with_access(access(16, '2001:db8::1', f'/?{MARKER}')))
    assert [line.matched for line in found] == ['marker', 'connection']


def test_an_address_that_others_share_is_ours_for_a_moment_only() -> None:
    more = with_access(access(16, '192.0.2.1', f'/?{MARKER}', 503), access(20, '192.0.2.1', '/shop/', 503))
    found = of('apache', APACHE.format(16, '192.0.2.1'), APACHE.format(20, '192.0.2.1'), more=more)
    assert [line.matched for line in found if line.source == 'apache'] == ['connection']


def test_it_is_bounded_and_keeps_what_is_surest() -> None:
    flood = ['2026/11/23 03:07:16 [alert] 1#1: worker process 9 exited on signal 11 ' + 'x' * 5000] * 1000
    found = of('nginx', *flood, nginx(f'/?{MARKER}'))
    assert len(found) == MOST
    assert max(len(line.text) for line in found) <= LINE
    assert [line.matched for line in found].count('marker') == 1


@given(st.sampled_from(sorted(FORMS)), st.text(max_size=200))
def test_no_log_breaks_it(source: str, text: str) -> None:
    of(source, text, nginx(f'/?{MARKER}'))
