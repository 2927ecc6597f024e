"""The looks of triage, in a network and on a host that answer as told."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from fixtures.looking import Asked
from fixtures.looking import FakeInside
from fixtures.looking import FakeOutside
from fixtures.looking import Meter
from fixtures.looking import always
from wpaudit.commands import triage as command
from wpaudit.commands.costs import Measured
from wpaudit.commands.pace import Limits
from wpaudit.commands.pace import Pace
from wpaudit.commands.triage import Hosted
from wpaudit.commands.triage import Question
from wpaudit.commands.triage import Vantage
from wpaudit.commands.triage import triage
from wpaudit.domain import Answer
from wpaudit.domain import Cost
from wpaudit.domain import Gap
from wpaudit.errors import ConnectionLost
from wpaudit.errors import NotRestored
from wpaudit.errors import ShellError
from wpaudit.facts import LogLine
from wpaudit.facts import Purpose
from wpaudit.facts import Seen
from wpaudit.facts import State
from wpaudit.ports import Outside
from wpaudit.ports import Silence
from wpaudit.triage.diagnosis import diagnose

SITE = 'http://site.test/'
SECURE = 'https://site.test/'


@pytest.fixture(autouse=True)
def _unspaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, 'SPACING', 0.001)


def looked(
    outside: FakeOutside, *, url: str = SITE, inside: FakeInside | None = None, vantages: tuple[Vantage, ...] = (),
    measure: Callable[[], Measured] | None = None, **more: object,
) -> Seen:
    question = Question(url, url, **more)  # type: ignore[arg-type]  # fields of Question
    hosted = Hosted('me@host', lambda: inside, measure) if inside else None
    return triage(question, outside, Silence(), vantages=vantages, hosted=hosted)


def counts(seen: Seen) -> Counter[Purpose]:
    return Counter(look.purpose for look in seen.looks)


# -- from outside ---------------------------------------------------------------------------------

def test_a_failing_site_from_outside() -> None:
    outside = FakeOutside(always(502))
    seen = looked(outside)
    made = counts(seen)
    assert made[Purpose.REFRESH] == command.REFRESHES
    assert made[Purpose.STATIC] == made[Purpose.FRESH] == made[Purpose.PHONE] == made[Purpose.NO_AGENT] == 1
    assert Purpose.ADDRESS not in made  # the only address is looked at anyway
    assert Purpose.HTTP2 not in made
    assert outside.meter.most <= 4
    assert [gap.what for gap in seen.gaps] == ['the host']
    assert '--host' in seen.gaps[0].why
    assert seen.notes == ()
    assert seen.resolutions[0].ipv4 == ('192.0.2.1',)
    assert [(one.address, one.port, one.tcp_error) for one in seen.handshakes] == [('192.0.2.1', 80, '')]


def test_refreshes_are_plain_and_all_else_carries_a_marker() -> None:
    outside = FakeOutside(always(200))
    looked(outside)
    for one in outside.meter.asked:
        assert bool(one.marker) is (one.purpose is not Purpose.REFRESH)
        if one.purpose is Purpose.REFRESH:
            assert one.request.url == SITE
    markers = [one.marker for one in outside.meter.asked if one.marker]
    assert len(set(markers)) == len(markers)


def test_looks_are_in_the_order_of_time() -> None:
    seen = looked(FakeOutside(always(200)))
    assert [look.at for look in seen.looks] == sorted(look.at for look in seen.looks)
    assert seen.looks[0].purpose is Purpose.REFRESH


def test_every_address_gets_a_look_and_those_left_out_are_told() -> None:
    many = tuple(f'192.0.2.{n}' for n in range(1, 8))
    outside = FakeOutside(always(200), ipv4=many, ipv6=('2001:db8::1', '2001:db8::2', '2001:db8::3'))
    seen = looked(outside)
    asked = [one.address for one in outside.meter.of(Purpose.ADDRESS)]
    assert sorted(asked) == ['192.0.2.1', '192.0.2.2', '2001:db8::1', '2001:db8::2']
    assert seen.notes == ('site.test has 10 addresses; 4 of them were looked at',)


def test_an_address_that_refuses_gets_no_request() -> None:
    outside = FakeOutside(always(200), ipv4=('192.0.2.1', '192.0.2.2'), tcp={'192.0.2.2': 'refused'})
    seen = looked(outside)
    assert [one.address for one in outside.meter.of(Purpose.ADDRESS)] == ['192.0.2.1']
    assert [one.tcp_error for one in seen.handshakes] == ['', 'refused']


def test_ipv6_that_this_machine_lacks_says_nothing_about_the_site() -> None:
    outside = FakeOutside(always(200), ipv6=('2001:db8::1',), tcp={'2001:db8::1': 'unreachable'})
    seen = looked(outside)
    assert [one.address for one in seen.handshakes] == ['192.0.2.1']
    assert Gap('the IPv6 addresses', 'this machine has no way to them') in seen.gaps


def test_ipv6_that_refuses_does_say_something() -> None:
    outside = FakeOutside(always(200), ipv6=('2001:db8::1',), tcp={'2001:db8::1': 'refused'})
    assert [one.tcp_error for one in looked(outside).handshakes] == ['', 'refused']


@pytest.mark.parametrize(('outside', 'error'), [
    (FakeOutside(lambda asked: Answer(asked.request.url, error='dns'), name='other.test'), 'dns'),
    (FakeOutside(lambda asked: Answer(asked.request.url, error='refused'), tcp={'192.0.2.1': 'refused'}), 'refused'),
])
def test_a_site_out_of_reach_is_left_soon(outside: FakeOutside, error: str) -> None:
    seen = looked(outside)
    assert counts(seen) == {Purpose.REFRESH: command.UNREACHED_REFRESHES}
    assert {look.answer.error for look in seen.looks} == {error}


def test_a_certificate_that_is_not_accepted_needs_no_devices() -> None:
    outside = FakeOutside(lambda asked: Answer(asked.request.url, error='tls'), tls='expired')
    seen = looked(outside, url=SECURE)
    assert counts(seen) == {Purpose.REFRESH: command.UNREACHED_REFRESHES}
    assert seen.handshakes[0].tls_error == 'expired'
    assert seen.handshakes[0].port == 443


def test_http2_is_asked_of_servers_that_speak_it() -> None:
    seen = looked(FakeOutside(always(200), alpn='h2'), url=SECURE)
    assert [look.http_version for look in seen.looks if look.purpose is Purpose.HTTP2] == ['2']


def test_cookies_of_the_site_come_back() -> None:
    outside = FakeOutside(always(200, headers={'set-cookie': 'seen=1; Path=/'}))
    looked(outside)
    assert [one.request.cookies for one in outside.meter.of(Purpose.COOKIES)] == [(('seen', '1'),)]
    assert all(not one.request.cookies for one in outside.meter.of(Purpose.REFRESH))


def test_headers_go_with_every_look() -> None:
    outside = FakeOutside(always(200))
    looked(outside, headers=(('Authorization', 'Basic eDp5'),))
    assert {one.header['authorization'] for one in outside.meter.asked} == {'Basic eDp5'}


# -- redirects ------------------------------------------------------------------------------------

def sent_on(asked: Asked) -> Answer:
    if asked.request.url.startswith('http://old.test'):
        return Answer(asked.request.url, status=301, headers={'location': SITE})
    return Answer(asked.request.url, status=502)


class TwoNames(FakeOutside):
    """Resolves whatever it is asked."""

    def resolve(self, name: str):  # type: ignore[no-untyped-def]  # as in the fake
        self.name = name
        return super().resolve(name)


def test_a_site_that_moved_is_looked_at_where_it_is() -> None:
    outside = TwoNames(sent_on)
    seen = looked(outside, url='http://old.test/')
    assert seen.url == SITE
    assert {look.answer.status for look in seen.looks} == {502}
    assert seen.notes == ('http://old.test/ sends visitors on to http://site.test/, which was looked at',)


def test_what_the_user_sends_is_not_carried_to_another_host() -> None:
    outside = TwoNames(sent_on)
    seen = looked(outside, url='http://old.test/', cookies=(('a', 'b'),))
    assert seen.url == 'http://old.test/'
    assert all(one.request.url.startswith('http://old.test/') for one in outside.meter.asked)


def test_redirects_without_an_end() -> None:
    def on_and_on(asked: Asked) -> Answer:
        host = asked.request.url.split('/')[2]
        return Answer(asked.request.url, status=302, headers={'location': f'http://a{host}/'})

    outside = TwoNames(on_and_on)
    seen = looked(outside, url='http://x.test/')
    assert seen.url == 'http://aaax.test/'
    assert len(seen.notes) == command.MOST_MOVES


def test_a_redirect_on_the_same_host_is_followed_once_for_all() -> None:
    outside = FakeOutside(lambda asked: Answer('http://site.test/home/', status=200))
    seen = looked(outside)
    assert {one.request.url for one in outside.meter.of(Purpose.REFRESH)} == {SITE, 'http://site.test/home/'}
    assert 'leads to http://site.test/home/' in seen.notes[0]


def test_redirects_in_a_circle_are_the_answer() -> None:
    outside = FakeOutside(lambda asked: Answer('http://site.test/b', status=302, error='redirect-loop'))
    seen = looked(outside)
    assert (seen.url, seen.notes) == (SITE, ())


def test_a_redirect_to_https_is_another_connection() -> None:
    outside = FakeOutside(lambda asked: Answer(asked.request.url.replace('http:', 'https:'), status=200), alpn='h2')
    seen = looked(outside)
    assert [(one.port, one.alpn) for one in seen.handshakes] == [(443, 'h2')]
    assert Purpose.HTTP2 in counts(seen)
    assert {one.request.url.split(':')[0] for one in outside.meter.of(Purpose.STATIC)} == {'https'}


# -- limits ---------------------------------------------------------------------------------------

def test_never_more_than_forty_requests_nor_four_at_once() -> None:
    meter = Meter()
    many = tuple(f'192.0.2.{n}' for n in range(9))
    flips = iter([200, 502] * 200)
    outside = FakeOutside(
        lambda asked: Answer(asked.request.url, status=next(flips), headers={'set-cookie': 'a=b'}),
        ipv4=many, alpn='h2', meter=meter)
    inside = FakeInside(always(502), meter=meter)

    @contextmanager
    def opened() -> Iterator[Outside]:
        yield FakeOutside(always(200), vantage='via x', meter=meter)

    vantages = tuple(Vantage(f'via {n}', Purpose.VIA, opened) for n in range(20))
    seen = looked(outside, url=SECURE, inside=inside, vantages=vantages)
    assert len(meter.asked) == len(seen.looks) == 40
    assert meter.most <= 4
    assert any('left out' in note for note in seen.notes)


def test_an_overloaded_site_gets_few_requests_one_at_a_time() -> None:
    outside = FakeOutside(always(503))
    inside = FakeInside(always(503), meter=outside.meter)
    seen = looked(outside, inside=inside)
    made = counts(seen)
    assert made[Purpose.REFRESH] == command.STRAINED_REFRESHES
    assert made[Purpose.STATIC] == made[Purpose.FRESH] == made[Purpose.HOST_LOOPBACK] == 1
    assert Purpose.PHONE not in made
    assert outside.meter.most == 1
    assert seen.notes[0].startswith('backed off: the site answered 503')
    assert len(seen.looks) < 12


def test_the_file_comes_first_where_one_look_is_made_at_a_time() -> None:
    outside = FakeOutside(always(504))
    looked(outside, inside=FakeInside(always(504), meter=outside.meter))
    order = [one.purpose for one in outside.meter.asked if one.purpose is not Purpose.INSIDE]
    assert order[:2] == [Purpose.REFRESH, Purpose.STATIC]
    assert order.count(Purpose.STATIC) == 1


def test_a_site_that_answers_late_leaves_time_for_the_other_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    late = FakeOutside(lambda asked: Answer(asked.request.url, error='timeout', seconds=30.0))
    real = Pace.seconds_left
    monkeypatch.setattr(Pace, 'seconds_left', lambda pace: real(pace) - 12.0 * len(pace.looks))
    made = counts(looked(late, inside=FakeInside(always(502)), limits=Limits(seconds=240.0)))
    assert made[Purpose.REFRESH] < command.STRAINED_REFRESHES + 1
    for purpose in (Purpose.STATIC, Purpose.FRESH, Purpose.HOST_LOOPBACK, Purpose.FASTCGI, Purpose.INSIDE):
        assert made[purpose] == 1
    assert Purpose.HOST_PUBLIC not in made  # the host's own web server failed: it is not just us


class Hanging:
    """Answers ``pages`` other looks while the first waits, and the first in the end."""

    def __init__(self, pages: int, first: Answer) -> None:
        self.before = 0  # looks that were made while the first one waited
        self._missing = pages
        self._first = first
        self._enough = threading.Event()
        self._lock = threading.Lock()

    def __call__(self, asked: Asked) -> Answer:
        if asked.purpose is Purpose.REFRESH and not self._enough.is_set():
            assert self._enough.wait(30)
            return self._first
        return self.beside(asked, Answer(asked.request.url, status=200))

    def beside(self, asked: Asked, answer: Answer) -> Answer:
        with self._lock:
            self._missing -= asked.purpose is not Purpose.INSIDE
            if not self._missing:
                self._enough.set()
        return answer


def no_answer(seconds: float) -> Answer:
    return Answer(SITE, error='timeout', detail='no complete answer (waiting for the first line)', seconds=seconds)


def test_beside_a_page_that_hangs_what_tells_most_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, 'HANGS', 0.02)
    site = Hanging(3, no_answer(10.9))
    outside = FakeOutside(lambda asked: site(asked) if asked.purpose in {Purpose.REFRESH, Purpose.STATIC}
                          else site.beside(asked, no_answer(5.5)))
    inside = FakeInside(lambda asked: site.beside(asked, no_answer(5.5)), meter=outside.meter)
    seen = looked(outside, inside=inside)
    assert counts(seen) == dict.fromkeys(
        (Purpose.REFRESH, Purpose.STATIC, Purpose.FRESH, Purpose.FASTCGI, Purpose.INSIDE), 1)
    assert outside.meter.most <= 4
    assert seen.effort is not None
    assert (seen.effort.requests, seen.effort.at_once) == (len(seen.looks) - 1, outside.meter.most)
    assert seen.effort.allowed <= 15
    assert seen.notes[0].startswith('backed off: the site did not answer within 5 s, so few requests were made')
    found = diagnose(seen)
    assert found.cause.kind == 'worker-timeout'
    assert any('stopped waiting for the page after 11 s' in note for note in found.notes)


@pytest.mark.parametrize(('status', 'asked'), [(504, 0), (502, 1)])
def test_where_php_hangs_its_web_server_is_not_asked_to_wait_for_it(status: int, asked: int) -> None:
    inside = FakeInside(lambda asked: no_answer(5.5) if asked.purpose is Purpose.FASTCGI else always(status)(asked))
    seen = looked(FakeOutside(always(status)), inside=inside)
    assert len(inside.meter.of(Purpose.FASTCGI)) == 1
    assert len(inside.meter.of(Purpose.HOST_LOOPBACK)) == asked
    assert seen.effort is not None
    assert seen.effort.allowed <= 15


def test_a_page_that_comes_at_last_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, 'HANGS', 0.02)
    site = Hanging(2, Answer(SITE, status=200, seconds=8.0))
    outside = FakeOutside(lambda asked: site.beside(asked, no_answer(5.5)) if asked.purpose is Purpose.FRESH
                          else site(asked))
    seen = looked(outside)
    assert Purpose.FRESH not in counts(seen)  # it was given up sooner than the page takes
    assert any('fresh after 5.5 s' in note for note in seen.notes)
    assert counts(seen)[Purpose.STATIC] == 1
    assert diagnose(seen).state is State.HEALTHY


def test_a_late_answer_that_leads_to_another_host_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, 'HANGS', 0.02)
    old = Hanging(2, Answer('http://old.test/', status=301, headers={'location': SITE}))
    outside = TwoNames(lambda asked: old(asked) if 'old.test' in asked.request.url else sent_on(asked))
    seen = looked(outside, url='http://old.test/')
    assert seen.url == SITE
    assert {look.answer.status for look in seen.looks} == {502}
    assert counts(seen)[Purpose.FRESH] == counts(seen)[Purpose.STATIC] == 1


def test_an_answer_that_comes_late_holds_up_no_other_refresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, 'REFRESHING', 0.2)
    begun: list[float] = []

    def late(asked: Asked) -> Answer:
        begun.append(time.monotonic())
        time.sleep(0.15 if asked.purpose is Purpose.REFRESH else 0)
        return Answer(asked.request.url, status=502)

    outside = FakeOutside(late)
    made = counts(looked(outside))
    assert command.STRAINED_REFRESHES <= made[Purpose.REFRESH] < command.REFRESHES
    assert 1 < outside.meter.most <= 4
    assert begun[-1] - begun[0] < 1.0


def test_what_takes_no_connection_is_not_waited_for_as_long_as_a_page() -> None:
    outside = FakeOutside(lambda asked: Answer(asked.request.url, error='timeout'), tcp={'192.0.2.1': 'timeout'})
    inside = FakeInside(lambda asked: Answer(asked.request.url, error='timeout'))
    seen = looked(outside, inside=inside)
    assert counts(seen)[Purpose.REFRESH] == command.UNREACHED_REFRESHES
    assert {*outside.meter.timeouts, *inside.meter.timeouts} == {command.UNREACHED_SECONDS, command.INSIDE_SECONDS}
    assert seen.notes == ()  # that nobody is there is no reason to be gentle


def test_wordpress_inside_php_gets_a_few_seconds() -> None:
    inside = FakeInside(always(502))
    looked(FakeOutside(always(502)), inside=inside)
    asked = dict(zip([one.purpose for one in inside.meter.asked], inside.meter.timeouts, strict=True))
    assert asked[Purpose.INSIDE] == command.INSIDE_SECONDS < asked[Purpose.FASTCGI]
    assert next(iter(asked)) is Purpose.INSIDE  # it asks no server, so it does not wait for the first answer


def test_a_page_that_led_elsewhere_is_what_php_is_asked_for_inside() -> None:
    inside = FakeInside(always(502))
    outside = FakeOutside(lambda asked: Answer('http://site.test/home/', status=502))
    seen = looked(outside, inside=inside)
    assert counts(seen)[Purpose.INSIDE] == 1
    assert '/home/' in inside.meter.of(Purpose.INSIDE)[-1].request.url


def test_the_time_for_the_run_is_kept_to() -> None:
    seen = looked(FakeOutside(always(200)), limits=Limits(seconds=0.0))
    assert seen.looks == ()
    assert 'left out' in seen.notes[0]


# -- from the host --------------------------------------------------------------------------------

def test_a_host_is_looked_at_from_inside() -> None:
    inside = FakeInside(always(200), gaps=(Gap('dmesg', 'may not be read'),))
    inside.logged = [LogLine('nginx', 'one'), LogLine('access', 'not ours', marker='ffffffffffff')]
    seen = looked(FakeOutside(always(502)), inside=inside)
    made = counts(seen)
    for purpose in command.FROM_HOST:
        assert made[purpose] == 1
    assert seen.host == inside.state_
    assert [line.text for line in seen.lines] == ['one']
    assert seen.gaps == inside.gaps
    assert set(inside.markers) == {look.marker for look in seen.looks if look.marker}
    assert inside.since < seen.looks[0].at


def test_what_a_host_does_not_offer_is_a_gap() -> None:
    seen = looked(FakeOutside(always(502)), inside=FakeInside(always(200), missing=frozenset({Purpose.FASTCGI})))
    assert seen.gaps == (Gap('the request straight to php-fpm', 'this host offers no fastcgi'),)
    assert Purpose.INSIDE in counts(seen)


def test_a_host_that_cannot_be_reached_is_one_gap() -> None:
    inside = FakeInside(always(200), lost=ConnectionLost('The connection broke.', hint='try again'))
    seen = looked(FakeOutside(always(502)), inside=inside)
    assert seen.gaps == (Gap('the host me@host', 'The connection broke; try again'),)
    assert counts(seen)[Purpose.REFRESH] == command.REFRESHES
    assert 'what keeps the host from being read' in diagnose(seen).cause.advice
    assert 'run this again with --host' in diagnose(looked(FakeOutside(always(502)))).cause.advice


def test_an_unsteady_site_is_looked_at_again_from_the_host() -> None:
    flips = iter([200, 502] * 50)
    outside = FakeOutside(lambda asked: Answer(asked.request.url, status=next(flips)))
    made = counts(looked(outside, inside=FakeInside(always(200))))
    assert (made[Purpose.HOST_LOOPBACK], made[Purpose.FASTCGI], made[Purpose.INSIDE]) == (3, 3, 1)


def test_a_look_that_may_have_been_luck_is_made_again() -> None:
    def unsteady(asked: Asked) -> Answer:
        bad = asked.purpose is Purpose.PHONE or (asked.purpose is Purpose.REFRESH and next(flips) > 300)
        return Answer(asked.request.url, status=502 if bad else 200)

    flips = iter([200, 502] * 50)
    seen = looked(FakeOutside(unsteady, ipv4=('192.0.2.1', '192.0.2.2')))
    made = counts(seen)
    assert made[Purpose.DESKTOP] == made[Purpose.FRESH] == 1 + command.THROWS
    assert made[Purpose.ADDRESS] == 2 * (1 + command.THROWS)
    assert made[Purpose.PHONE] == 1  # it failed: that was no luck
    assert len({look.marker for look in seen.looks if look.marker}) == len(seen.looks) - made[Purpose.REFRESH]
    assert len(seen.looks) <= 40
    assert seen.notes == ()


def test_what_differs_from_the_plain_page_is_looked_at_again() -> None:
    phone_fails = FakeOutside(lambda asked: Answer(
        asked.request.url, status=502 if asked.purpose is Purpose.PHONE else 200))
    made = counts(looked(phone_fails))
    assert (made[Purpose.PHONE], made[Purpose.DESKTOP]) == (1 + command.THROWS, 1)
    fresh_works = FakeOutside(lambda asked: Answer(
        asked.request.url, status=200 if asked.purpose is Purpose.FRESH else 502))
    made = counts(looked(fresh_works))
    assert (made[Purpose.FRESH], made[Purpose.PHONE]) == (1 + command.THROWS, 1)


def test_addresses_that_differ_are_all_looked_at_again() -> None:
    outside = FakeOutside(
        lambda asked: Answer(asked.request.url, status=502 if asked.address == '192.0.2.2' else 200),
        ipv4=('192.0.2.1', '192.0.2.2'))
    seen = looked(outside)
    asked = Counter(one.address for one in outside.meter.of(Purpose.ADDRESS))
    assert asked == {'192.0.2.1': 1 + command.THROWS, '192.0.2.2': 1 + command.THROWS}
    assert counts(seen)[Purpose.PHONE] == 1


COST = Cost('acme', ('acme/acme.php',), seconds=1.5)


def test_what_a_page_that_works_costs_is_asked_inside() -> None:
    seen = looked(FakeOutside(always(200)), inside=FakeInside(always(200), costing=(COST,)))
    assert (seen.costs, command.COSTED in seen.notes) == ((COST,), True)
    failing = looked(FakeOutside(always(502)), inside=FakeInside(always(200), costing=(COST,)))
    assert (failing.costs, command.COSTED in failing.notes) == ((), False)
    without = looked(FakeOutside(always(200)), inside=FakeInside(always(200)))
    assert (without.costs, [gap.what for gap in without.gaps]) == ((), [command.COSTS])


def test_costs_are_measured_through_the_web_server_when_asked_for() -> None:
    inside = FakeInside(always(200), costing=(replace(COST, seconds=0.5),))
    seen = looked(FakeOutside(always(200)), inside=inside, measure=lambda: Measured((COST,)))
    assert (seen.costs, command.COSTED in seen.notes) == ((COST,), False)


def test_a_host_that_is_not_restored_is_no_gap() -> None:
    def measure() -> Measured:
        raise NotRestored('the original state is NOT verified')

    with pytest.raises(NotRestored):
        looked(FakeOutside(always(200)), inside=FakeInside(always(200)), measure=measure)


# -- from elsewhere -------------------------------------------------------------------------------

def vantage(outside: FakeOutside) -> Vantage:
    @contextmanager
    def opened() -> Iterator[Outside]:
        yield outside

    return Vantage(outside.vantage, Purpose.VIA, opened)


def test_another_host_sees_the_same() -> None:
    other = FakeOutside(always(502), vantage='via there')
    seen = looked(FakeOutside(always(502)), vantages=(vantage(other),))
    assert [look.vantage for look in seen.looks if look.purpose is Purpose.VIA] == ['via there']


def test_another_host_that_sees_something_else_is_asked_twice() -> None:
    other = FakeOutside(always(200), vantage='via there')
    seen = looked(FakeOutside(always(502)), vantages=(vantage(other),))
    assert counts(seen)[Purpose.VIA] == 2


def test_another_host_that_refuses_is_a_gap_and_the_next_is_asked() -> None:
    def refusing() -> Iterator[Outside]:
        raise ShellError('there refused the login.')

    other = FakeOutside(always(502), vantage='via here')
    broken = Vantage('via there', Purpose.VIA, contextmanager(refusing))
    seen = looked(FakeOutside(always(502)), vantages=(broken, vantage(other)))
    assert Gap('via there', 'there refused the login.') in seen.gaps
    assert counts(seen)[Purpose.VIA] == 1
