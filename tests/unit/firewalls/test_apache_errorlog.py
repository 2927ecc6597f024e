"""The end of Apache's error log: only lines of the last minutes, and a reason where there is nothing to read."""

from __future__ import annotations

import pytest

from fixtures.shells import Script
from fixtures.shells import ScriptedShell
from wpaudit.domain import Gap
from wpaudit.errors import CommandTimeout
from wpaudit.firewalls.apache.errorlog import TAIL
from wpaudit.firewalls.apache.errorlog import recent
from wpaudit.ports import Ground

LOG = '/var/log/apache2/error.log'
LINE = '[Thu Nov 26 {0} 2026] [authz_core:error] [pid 1] [client 10.0.0.1:1] AH01630: client denied'
LOGIN = {('id', '-u'): Script(stdout=b'1000\n'), ('id', '-un'): Script(stdout=b'shop\n')}


def said(script: Script, *logs: str) -> tuple[tuple[str, ...], tuple[Gap, ...]]:
    shell = ScriptedShell({(*TAIL, LOG): script, **LOGIN})
    return recent(Ground(shell, '/srv/shop', 'https://shop.example/'), logs or (LOG,))


def test_only_the_last_minutes_count() -> None:
    times = ('11:49:59.000001', '11:50:00', '11:59:59.123456', '12:03:00')
    lines = ''.join(f'{LINE.format(time)}\n' for time in times)
    output = f'20261126120000\ncut off\n{lines}no time\n[Thu Xyz 26 12:00:00 2026] x\n'
    found, gaps = said(Script(stdout=output.encode()))
    assert [line.split()[3] for line in found] == ['11:50:00', '11:59:59.123456', '12:03:00']
    assert gaps == ()


@pytest.mark.parametrize('output', [
    b'', b'\n', b'soon\n' + LINE.format('12:00:00').encode(), b'\xff\xfe\x00',
    b'20261126120000\n[Thu Nov 99 12:00:00 2026] x',
    b'20261126120000\n[Thu Feb 30 99:99:99 2026] x\n[Thu Nov 26 1:2 2026] x\n[Thu anF 26 12:00:00 2026] x\n',
])
def test_nonsense_is_no_line(output: bytes) -> None:
    assert said(Script(stdout=output)) == ((), ())


def test_a_log_that_is_not_there_says_nothing() -> None:
    assert said(Script(status=3)) == ((), ())


def test_one_that_may_not_be_read_is_a_gap_that_says_what_would_open_it() -> None:
    found, [gap] = said(Script(status=4))
    assert found == ()
    assert gap.what == LOG
    assert '--sudo' in gap.why
    assert 'shop ALL=(root)' in gap.why
    assert said(Script(fault=CommandTimeout('too slow'))) == ((), (Gap(LOG, 'too slow'),))


@pytest.mark.parametrize('target', ['|/usr/bin/rotatelogs x', 'syslog:local1', '${LOGS}/error.log'])
def test_what_is_no_file_is_a_gap(target: str) -> None:
    assert said(Script(), target) == ((), (Gap(f'Apache error log {target}', 'is no file'),))
