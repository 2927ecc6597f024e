"""Times of log lines in every format, in every zone, around a change of summer time."""

from __future__ import annotations

from datetime import UTC
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wpaudit.sites.logtimes import FORMS
from wpaudit.sites.logtimes import Clock
from wpaudit.sites.logtimes import time_of


def utc(*parts: int) -> float:
    return datetime(*parts, tzinfo=UTC).timestamp()  # type: ignore[misc,arg-type]  # year, month, ... one by one


AT = utc(2026, 11, 23, 3, 7, 16)
BERLIN = Clock((3600.0,), booted=AT - 12345.5, now=AT)


@pytest.mark.parametrize(('source', 'line'), [
    ('nginx', '2026/11/23 04:07:16 [error] 12#12: *3 recv() failed'),
    ('php-fpm', '[23-Nov-2026 04:07:16] WARNING: [pool www] child 1 exited on signal 11'),
    ('php-fpm', '[23-Nov-2026 04:07:16.000000] DEBUG: x'),
    ('php', '[23-Nov-2026 03:07:16 UTC] PHP Fatal error:  x'),
    ('php', '[23-Nov-2026 04:07:16 Europe/Berlin] PHP Fatal error:  x'),
    ('php', '[22-Nov-2026 22:07:16 America/New_York] PHP Fatal error:  x'),
    ('php', '[23-Nov-2026 05:07:16 +02:00] PHP Fatal error:  x'),
    ('php', '[23-Nov-2026 04:07:16 No/Such_Zone] PHP Fatal error:  x'),
    ('wordpress', '[23-Nov-2026 03:07:16 UTC] PHP Warning:  x'),
    ('apache', '[Mon Nov 23 04:07:16.000000 2026] [proxy_fcgi:error] [pid 1] x'),
    ('apache', '[Mon Nov 23 04:07:16 2026] [error] x'),
    ('access', '192.0.2.1 - - [23/Nov/2026:03:07:16 +0000] "GET / HTTP/1.1" 502 1'),
    ('access', 'shop.example:80 192.0.2.1 - - [23/Nov/2026:14:07:16 +1100] "GET / HTTP/1.1" 502 1'),
    ('access', '192.0.2.1 - - [22/Nov/2026:21:37:16 -0530] "GET / HTTP/1.1" 502 1'),
    ('kernel', '[12345.500000] php-fpm[1]: segfault at 0'),
    ('kernel', '1795403236.000000 host kernel: php-fpm[1]: segfault at 0'),
    ('kernel', 'Nov 23 04:07:16 host kernel: [12345.5] php-fpm[1]: segfault'),
    ('kernel', '2026-11-23T04:07:16.000000+01:00 host kernel: php-fpm[1]: segfault'),
    ('kernel', '2026-11-23T04:07:16 host kernel: php-fpm[1]: segfault'),
])
def test_every_format(source: str, line: str) -> None:
    assert time_of(source, line, BERLIN, AT + 40) == pytest.approx(AT, abs=0.01)


@pytest.mark.parametrize('near', [utc(2026, 10, 25, 0, 30), utc(2026, 10, 25, 1, 30)])
def test_the_hour_that_comes_twice(near: float) -> None:
    """Half past two in Berlin on 25 October 2026 is 00:30 and 01:30 UTC."""
    both = Clock((3600.0, 7200.0))
    assert time_of('nginx', '2026/10/25 02:30:00 [error] x', both, near) == near
    assert time_of('php', '[25-Oct-2026 02:30:00 Europe/Berlin] x', both, near) == near


def test_syslog_has_no_year() -> None:
    new_year = utc(2027, 1, 1, 0, 0, 5)
    assert time_of('kernel', 'Dec 31 23:59:58 host kernel: x', Clock(), new_year) == new_year - 7
    assert time_of('kernel', 'Jan  1 00:00:02 host kernel: x', Clock(), new_year - 10) == new_year - 3


@pytest.mark.parametrize(('source', 'line'), [
    ('nginx', 'somebody wrote 2026/11/23 04:07:16 into the middle'), ('php', '#0 /srv/www/index.php(17): require()'),
    ('php-fpm', '[99-Nov-2026 04:07:16] x'), ('nginx', '2026/13/45 77:88:99 x'), ('access', '- - - -'), ('kernel', ''),
    ('php', '[23-Foo-2026 03:07:16 UTC] x'), ('php', '[23-Nov-2026 03:07:16 ../../etc/passwd] x'),
])
def test_no_time(source: str, line: str) -> None:
    found = time_of(source, line, Clock(), AT)
    assert found == 0.0 or 'passwd' in line


@given(st.sampled_from(sorted(FORMS)), st.text(alphabet='0123456789:/[]-. +JanNovUTC', max_size=80))
def test_no_line_breaks_it(source: str, line: str) -> None:
    assert isinstance(time_of(source, line, BERLIN, AT), float)
