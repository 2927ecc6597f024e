"""`wpaudit triage` where the site, its logs or its clock are against it: it is polite, bounded, and does not guess."""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from fixtures import web
from fixtures.lab import Lab
from fixtures.lab.host import Host
from fixtures.scenarios import SCENARIOS
from fixtures.scenarios import Setting
from fixtures.scenarios.arranging import faulty
from fixtures.scenarios.running import Run
from fixtures.scenarios.running import triage

AHEAD = 7200  # seconds by which a wrong clock is wrong
MOST_AT_ONCE = 4


@pytest.fixture
def crashing(site: Lab) -> Iterator[Setting]:
    """A site whose PHP workers crash."""
    with SCENARIOS['worker-crash'].arranged(site) as setting:
        yield setting


def strange(text: str) -> set[str]:
    """Return the characters that a terminal could take for an order."""
    return {char for char in text if char != '\n' and unicodedata.category(char) in ('Cc', 'Cf', 'Cs', 'Zl', 'Zp')}


def gaps(run: Run) -> str:
    """What a report says it could not read."""
    return '\n'.join(f'{gap["what"]}: {gap["why"]}' for gap in run.report['gaps'])


# -- what the site says -------------------------------------------------------------------------------


def test_control_characters_of_headers_and_logs_do_not_reach_the_terminal(site: Lab, tmp_path: Path) -> None:
    setting = Setting(site, site.url + '/')
    with faulty(site, 'fatal-in-colour'), ThreadPoolExecutor() as pool:
        styles = ('text', 'json')
        runs = list(pool.map(lambda style: triage(setting, tmp_path / style, '--verbose', style=style), styles))

    for run in runs:
        assert run.code in (1, 6), run.err
        assert 'wordpress-fatal' in run.out
        assert strange(run.out) == set()
        assert strange(run.err) <= {'\r'}


OLD = (
    b'2026/01/01 00:00:00 [error] 1#1: *1 upstream sent too big header while reading response header from '
    b'upstream, client: 127.0.0.1, server: , request: "GET / HTTP/1.1", upstream: "fastcgi://unix:/run/fpm.sock:"\n'
)


def test_a_huge_log_is_read_within_bounds_and_its_old_lines_are_not_taken_for_new(
    crashing: Setting, tmp_path: Path,
) -> None:
    with crashing.lab.logs['nginx-error'].open('ab') as log:
        for _ in range(40):
            log.write(b'2026/01/01 00:00:00 [error] 1#1: nothing of interest here\n' * 16384)
            log.write(b'x' * 1024 * 1024 + b'\n')
        log.write(OLD * 500)

    run = triage(crashing, tmp_path)

    assert run.report['cause']['kind'] == 'worker-crash', run.summary
    assert 'header-too-big' not in [one['kind'] for one in run.report['others'] if one['probability'] > 0.1]
    assert len(run.out) < 256 * 1024


def test_logs_that_nobody_may_read_are_gaps_and_no_reason_to_guess(crashing: Setting, tmp_path: Path) -> None:
    logs = [crashing.lab.logs['nginx-error'], crashing.lab.logs['fpm']]
    for log in logs:
        log.chmod(0)
    try:
        run = triage(crashing, tmp_path)
    finally:
        for log in logs:
            log.chmod(0o644)

    for log in logs:
        assert str(log) in gaps(run), run.summary
    assert {clue['source'] for clue in run.report['evidence']}.isdisjoint({'nginx', 'php-fpm'}), run.summary
    assert run.report['cause']['kind'] in ('unknown', 'worker-crash', 'worker-timeout', 'oom'), run.summary
    assert run.report['cause']['probability'] < 0.9, run.summary


# -- what the clock says ------------------------------------------------------------------------------


@contextmanager
def with_clock(lab: Lab, ahead: int) -> Iterator[None]:
    """Let everything on the lab's host live by a wrong clock (Debian's package faketime)."""
    wrong = {
        'LD_PRELOAD': '/usr/$LIB/faketime/libfaketime.so.1', 'FAKETIME': f'{ahead:+d}', 'FAKETIME_NO_CACHE': '1',
        # How long something takes is measured by the monotonic clock, which no wrong date changes.
        'FAKETIME_DONT_FAKE_MONOTONIC': '1', 'DONT_FAKE_MONOTONIC': '1',
    }
    right = Host.environment
    config = lab.layout.etc / 'sshd_config'
    before = config.read_text()
    told = ' '.join(f'{name}={value}' for name, value in wrong.items())
    servers = ('nginx', 'fpm', 'sshd')
    with pytest.MonkeyPatch.context() as patch:
        assert right.fget is not None
        plain = right.fget
        patch.setattr(Host, 'environment', property(lambda host: plain(host) | wrong))
        lab.machine.host.write(config, before.replace('SetEnv ', f'SetEnv {told} '))
        _restart(lab, servers)
    try:
        yield
    finally:
        lab.machine.host.write(config, before)
        _restart(lab, servers)


def _restart(lab: Lab, servers: tuple[str, ...]) -> None:
    for name in servers:
        lab.machine.end(name)
    lab.machine.start(servers)


@pytest.mark.parametrize('ahead', [AHEAD, -AHEAD])
def test_a_host_with_a_wrong_clock_is_understood(crashing: Setting, tmp_path: Path, ahead: int) -> None:
    with with_clock(crashing.lab, ahead):
        run = triage(crashing, tmp_path)

    assert run.report['cause']['kind'] == 'worker-crash', run.summary
    assert 'php-fpm' in {clue['source'] for clue in run.report['evidence']}, run.summary


# -- manners ------------------------------------------------------------------------------------------


class Counter:
    """Counts the requests to a server, and how many there are at a time."""

    def __init__(self, answer: web.Behaviour, *, seconds: float) -> None:
        self.requests = 0
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()
        self._answer = answer
        self._seconds = seconds

    def __call__(self, talk: web.Talk) -> None:
        """Answer after a while."""
        with self._lock:
            self.requests += 1
            self._now += 1
            self.most = max(self.most, self._now)
        talk.pause(self._seconds)
        with self._lock:  # before the answer, after which the next request may be here sooner than we get on
            self._now -= 1
        self._answer(talk)


def counted(tmp_path: Path, lab: Lab, counter: Counter) -> Run:
    """Triage a site that does nothing but count."""
    with web.WebServer({'/': counter}) as server:
        return triage(Setting(lab, server.url()), tmp_path, host=False)


def test_never_more_than_four_requests_at_once_and_forty_in_all(lab: Lab, tmp_path: Path) -> None:
    slow = Counter(web.page(web.NGINX_502, status=b'502 Bad Gateway'), seconds=0.7)

    run = counted(tmp_path, lab, slow)

    assert run.code in (1, 6), run.err
    assert 1 < slow.most <= MOST_AT_ONCE
    assert slow.requests <= 40


@pytest.mark.parametrize('status', [b'503 Service Unavailable', b'504 Gateway Time-out', b'429 Too Many Requests'])
def test_an_overloaded_site_is_asked_less_and_the_report_says_so(lab: Lab, tmp_path: Path, status: bytes) -> None:
    tired = Counter(web.page(b'too much to do', status=status), seconds=0.5)

    run = counted(tmp_path, lab, tired)

    assert any('backed off' in note for note in run.report['notes']), run.summary
    assert tired.most == 1
    assert tired.requests <= 12


def test_an_answer_without_end_is_cut(lab: Lab, tmp_path: Path) -> None:
    endless = web.endless(b'HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\n\r\n', b'<p>more</p>' * 1000)
    with web.WebServer({'/': endless}) as server:
        run = triage(Setting(lab, server.url()), tmp_path, '--timeout', '3', host=False)

    assert run.code in (1, 6), run.err
    assert len(run.out) < 256 * 1024
