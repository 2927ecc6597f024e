"""The shortened triage at the start of a bisection."""

from __future__ import annotations

import threading
import time

from fixtures.looking import Asked
from fixtures.looking import FakeInside
from fixtures.looking import FakeOutside
from fixtures.looking import always
from wpaudit.commands.glance import MOST_REQUESTS
from wpaudit.commands.glance import Glance
from wpaudit.commands.glance import shortened
from wpaudit.domain import Answer
from wpaudit.domain import Outcome
from wpaudit.domain import Request
from wpaudit.errors import ConnectionLost
from wpaudit.facts import LogLine
from wpaudit.facts import Purpose
from wpaudit.facts import State
from wpaudit.ports import Observation

SITE = 'http://site.test/'
CRASH = '[pool www] child 7 exited on signal 11 (SIGSEGV) after 3.2 seconds from start'


def visits(*statuses: int) -> list[Observation]:
    return [
        Observation(Outcome.FAIL if status > 500 else Outcome.PASS, status, 0.02,
                    answers=(Answer(SITE, status=status, seconds=0.02),))
        for status in statuses
    ]


def glance(outside: FakeOutside) -> Glance:
    return Glance(outside, SITE, Request(SITE))


def test_a_failing_site_gets_a_diagnosis() -> None:
    outside = FakeOutside(always(502))
    found = shortened(SITE, visits(502, 502), glance(outside), patience=10)
    assert found is not None
    assert found.state is State.FAILING
    assert found.rate.n == 2
    assert 'shortened' in found.notes[0]
    assert {one.purpose for one in outside.meter.asked} == {Purpose.FRESH, Purpose.STATIC}
    assert outside.meter.most == 1


def test_no_more_than_three_requests() -> None:
    outside = FakeOutside(always(502), ipv4=('192.0.2.1', '192.0.2.2', '192.0.2.3'))
    glance(outside).wait(10)
    assert len(outside.meter.asked) == MOST_REQUESTS
    assert outside.meter.asked[-1].address == '192.0.2.3'


def test_a_healthy_site_has_none_and_is_not_waited_for() -> None:
    release = threading.Event()

    def stuck(asked: Asked) -> Answer:
        release.wait(30)
        return Answer(asked.request.url, status=200)

    seen = glance(FakeOutside(stuck))
    began = time.monotonic()
    assert shortened(SITE, visits(200, 200), seen, patience=20) is None
    assert shortened(SITE, [], seen, patience=20) is None
    assert shortened(SITE, [Observation(Outcome.FAIL, 0, 1.0)], seen, patience=20) is None  # judged by a command
    assert time.monotonic() - began < 10
    release.set()


def test_what_has_not_come_is_left_out_and_no_longer_asked_for() -> None:
    release, asked_for = threading.Event(), []

    def stuck(asked: Asked) -> Answer:
        asked_for.append(asked)
        release.wait(30)
        return Answer(asked.request.url, status=502)

    seen = glance(FakeOutside(stuck))
    found = shortened(SITE, visits(502, 502), seen, patience=0.05)
    assert found is not None
    assert found.rate.n == 2
    release.set()
    seen.wait(10)
    assert len(asked_for) <= 1


def test_the_host_adds_its_logs() -> None:
    inside = FakeInside(always(502), logged=[LogLine('php-fpm', CRASH, '/var/log/fpm.log', at=time.time())])
    outside = FakeOutside(
        lambda asked: Answer(asked.request.url, status=200 if asked.purpose is Purpose.STATIC else 502, seconds=0.02))
    found = shortened(SITE, visits(502, 502), glance(outside), inside=inside, patience=10)
    assert found is not None
    assert found.cause.kind == 'worker-crash'
    assert len(inside.markers) == 2


def test_a_host_that_is_lost_takes_nothing_away() -> None:
    inside = FakeInside(always(502), lost=ConnectionLost('The connection broke.'))
    found = shortened(SITE, visits(502), glance(FakeOutside(always(502))), inside=inside, patience=10)
    assert found is not None
