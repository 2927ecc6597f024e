"""Triage beside a bisection: what kind of failure it is, hints for the search, reasons for refusals."""

from __future__ import annotations

import time

import pytest

from fixtures.looking import Asked
from fixtures.looking import FakeInside
from fixtures.looking import FakeOutside
from fixtures.looking import always
from fixtures.site import FakeProber
from fixtures.site import FakeSite
from fixtures.site import fails_with
from wpaudit.commands.bisect import bisect
from wpaudit.commands.glance import Glance
from wpaudit.commands.opinion import Looking
from wpaudit.commands.options import Options
from wpaudit.commands.verdict import Findings
from wpaudit.domain import Answer
from wpaudit.domain import Mode
from wpaudit.domain import Outcome
from wpaudit.domain import Request
from wpaudit.domain import Role
from wpaudit.errors import ModeUnavailable
from wpaudit.errors import SiteError
from wpaudit.facts import LogLine
from wpaudit.facts import Purpose
from wpaudit.ports import Inside
from wpaudit.ports import Silence

NAMES = tuple(f'p{number:02}/p{number:02}.php' for number in range(12))
CRASH = '[pool www] child 7 exited on signal 11 (SIGSEGV) after 3.2 seconds from start'
NAMED = (
    'PHP message: PHP Fatal error:  Uncaught TypeError in /srv/www/wp-content/plugins/p07/p07.php:12'
)


def pages_fail(asked: Asked) -> Answer:
    """Answer as a web server does whose PHP crashes: it has its own files, and no pages."""
    return Answer(asked.request.url, status=200 if asked.purpose is Purpose.STATIC else 502, seconds=0.02)


def looking(*lines: tuple[str, str], lost: bool = False) -> Looking:
    def glance(url: str) -> Glance:
        return Glance(FakeOutside(pages_fail), url, Request(url + '/'))

    def inside() -> Inside:
        if lost:
            raise SiteError('the agent cannot look')
        logged = [LogLine(source, text, f'/var/log/{source}.log', at=time.time()) for source, text in lines]
        return FakeInside(always(502), logged=logged)

    return Looking(glance, inside)


def run(site: FakeSite, sees: Looking | None, **options: object) -> Findings:
    chosen = Options(url='http://site.test', **options)  # type: ignore[arg-type]  # as the command line has them
    return bisect(site, lambda url: FakeProber(site), chosen, Silence(), looking=sees)


def test_the_kind_of_failure_is_told_beside_the_culprit() -> None:
    found = run(FakeSite.of(*NAMES, failing=fails_with([NAMES[3]])), looking(('php-fpm', CRASH)))
    assert [one.id for one in found.conflicts[0]] == [NAMES[3]]
    assert found.diagnosis is not None
    assert found.diagnosis.cause.kind == 'worker-crash'
    assert found.diagnosis.cause.bisect_helps


def test_a_line_that_names_a_plugin_orders_the_search() -> None:
    site = FakeSite.of(*NAMES, failing=fails_with([NAMES[7]]))
    found = run(site, looking(('php-fpm', CRASH), ('nginx', NAMED)))
    assert NAMES[7] in found.evidence[0].suspects
    searched = {one.off for one in found.trial.records if one.role in (Role.SEARCH, Role.CERTIFICATE)}
    assert len(searched) == 2


def test_a_line_that_names_an_innocent_costs_probes_and_not_the_truth() -> None:
    found = run(FakeSite.of(*NAMES, failing=fails_with([NAMES[2]])), looking(('nginx', NAMED)))
    assert [one.id for one in found.conflicts[0]] == [NAMES[2]]


@pytest.mark.parametrize('sees', [None, looking(lost=True)])
def test_without_triage_or_its_host_the_verdict_is_the_same(sees: Looking | None) -> None:
    found = run(FakeSite.of(*NAMES, failing=fails_with([NAMES[2]])), sees)
    assert [one.id for one in found.conflicts[0]] == [NAMES[2]]
    assert (found.diagnosis is None) is (sees is None)


def test_what_no_plugin_explains_is_explained_by_triage() -> None:
    found = run(FakeSite.of(*NAMES, failing=lambda on: Outcome.FAIL), looking(('php-fpm', CRASH)))
    assert found.exit_code == 3
    assert found.diagnosis is not None
    assert found.diagnosis.cause.kind == 'worker-crash'


def test_a_refusal_says_what_the_failure_looks_like() -> None:
    site = FakeSite.of(*NAMES, failing=fails_with([NAMES[2]]), modes=frozenset({Mode.LIVE}))
    with pytest.raises(ModeUnavailable) as caught:
        run(site, looking(('php-fpm', CRASH)))
    assert '--mode live' in caught.value.hint
    assert 'it looks as if' in caught.value.hint


def test_a_healthy_site_has_no_cause() -> None:
    assert run(FakeSite.of(*NAMES, failing=fails_with()), looking()).diagnosis is None
