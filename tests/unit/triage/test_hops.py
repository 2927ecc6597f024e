"""The path: which looks make which station fail, by the rules of `hops.py`."""

from __future__ import annotations

from dataclasses import replace

import pytest
import triage_worlds as w

from wpaudit.facts import HostState
from wpaudit.facts import Look
from wpaudit.facts import Place
from wpaudit.facts import Purpose
from wpaudit.facts import Resolution
from wpaudit.facts import Seen
from wpaudit.triage.hops import hops
from wpaudit.triage.scene import Scene

LOOP_BAD = w.look(Purpose.HOST_LOOPBACK, w.BAD_502)
LOOP_GOOD = w.look(Purpose.HOST_LOOPBACK, w.GOOD)
LOOP_SILENT = w.look(Purpose.HOST_LOOPBACK, w.none('refused'))
FCGI_BAD = w.look(Purpose.FASTCGI, w.none('reset'))
FCGI_500 = w.look(Purpose.FASTCGI, w.status(500, headers={'x-powered-by': 'PHP/8.2.7'}))
FCGI_GOOD = w.look(Purpose.FASTCGI, w.GOOD)
FCGI_CUT = w.look(Purpose.FASTCGI, replace(w.GOOD, truncated=True))
STATIC_GOOD = w.look(Purpose.STATIC, w.IMAGE)
STATIC_BAD = w.look(Purpose.STATIC, w.BAD_502)
SECURE = 'https://shop.example/'
EDGE_502 = replace(w.BAD_502, headers=w.EDGE, body='nope')


def bad(*more: Look, by: w.Answer = w.BAD_502, host: HostState | None = w.HOST) -> Seen:
    return w.seen(*w.refreshes(by), *more, host=host)


def socket(word: str) -> HostState:
    return replace(w.HOST, pools=(replace(w.POOL, socket=word),))


@pytest.mark.parametrize(('seen', 'failing'), [
    (bad(LOOP_BAD, FCGI_BAD), Place.FPM),
    (bad(LOOP_BAD, FCGI_CUT), Place.FPM),
    (bad(LOOP_BAD, FCGI_GOOD), Place.WEB_SERVER),
    (bad(LOOP_SILENT, FCGI_GOOD), Place.WEB_SERVER),
    (bad(LOOP_BAD, STATIC_BAD), Place.WEB_SERVER),
    (bad(LOOP_BAD, FCGI_500), Place.PHP),
    (bad(LOOP_BAD, host=socket('missing')), Place.FPM),
    (bad(LOOP_BAD, host=socket('full')), Place.FPM),
    (bad(LOOP_BAD, FCGI_BAD, w.inside(w.GOOD)), Place.FPM),
    (bad(w.inside(w.none('reset'))), Place.WORDPRESS),
    (bad(w.inside(w.none('timeout'))), None),  # slow is not broken
    (bad(w.inside(w.status(500), database=False)), Place.DATABASE),
    (bad(by=w.status(500, w.NO_DATABASE)), Place.DATABASE),
    (bad(by=w.status(500, w.CRITICAL)), Place.WORDPRESS),
    (bad(by=w.status(200, w.FATAL)), Place.PHP),
    (bad(LOOP_GOOD, by=EDGE_502), Place.CDN),
    (bad(by=w.status(502, w.server_page(502, 'Bad Gateway', 'cloudflare'), w.EDGE)), Place.CDN),
    (bad(LOOP_GOOD), None),       # no CDN shows: it may be anything in between
    (bad(STATIC_GOOD), None),
    (bad(by=w.status(521, headers=w.EDGE)), None),
    (bad(LOOP_GOOD, by=w.status(520, headers=w.EDGE)), None),  # the CDN says itself that it is not the CDN
    (w.seen(*w.refreshes(w.none('dns')), resolutions=(), handshakes=()), Place.DNS),
    (w.seen(*w.refreshes(w.none('refused')), handshakes=()), Place.TCP),
    (w.seen(*w.refreshes(w.none('timeout')), handshakes=(w.reached(tcp='timeout'),)), Place.TCP),
    (w.seen(*w.refreshes(w.none('tls')), handshakes=(), url=SECURE), Place.TLS),
    (w.seen(*w.refreshes(w.none('tls')), handshakes=(w.reached(tls='expired'),), url=SECURE), Place.TLS),
    (w.seen(*w.refreshes(w.GOOD), LOOP_BAD, FCGI_BAD), None),
])
def test_where_it_fails(seen: Seen, failing: Place | None) -> None:
    failed = [hop.name for hop in hops(Scene(seen)) if hop.outcome == 'failed']
    assert failed == ([failing] if failing else [])


def test_the_luck_of_one_look_does_not_blame_the_web_server_for_an_unsteady_failure() -> None:
    flags = [w.BAD_502, w.GOOD, w.GOOD, w.BAD_502, w.GOOD, w.GOOD, w.GOOD, w.GOOD, w.BAD_502, w.GOOD]
    looks = [w.look(Purpose.HOST_LOOPBACK, w.BAD_502), *[w.look(Purpose.FASTCGI, w.GOOD)] * 3]
    found = hops(Scene(w.seen(*w.refreshes(*flags), *looks)), Place.PHP)
    assert [hop.name for hop in found if hop.outcome == 'failed'] == [Place.PHP]


def test_stations_that_do_not_exist_are_left_out() -> None:
    plain = [hop.name for hop in hops(Scene(bad()))]
    assert plain == [Place.DNS, Place.TCP, Place.WEB_SERVER, Place.FPM, Place.PHP, Place.WORDPRESS, Place.DATABASE]
    whole = hops(Scene(w.seen(*w.refreshes(replace(w.GOOD, headers=w.EDGE)), url=SECURE)))
    assert [hop.name for hop in whole] == list(Place)
    assert hops(Scene(Seen(w.URL))) == ()


def test_what_nothing_was_seen_of_is_unknown() -> None:
    outcomes = {hop.name: hop.outcome for hop in hops(Scene(bad(host=None)))}
    assert outcomes[Place.WEB_SERVER] == 'ok'
    assert {outcomes[one] for one in (Place.FPM, Place.PHP, Place.WORDPRESS, Place.DATABASE)} == {'unknown'}


def test_the_named_cause_marks_its_place_where_the_looks_mark_none() -> None:
    scene = Scene(bad(host=None))
    outcomes = {hop.name: hop.outcome for hop in hops(scene, Place.PHP)}
    assert outcomes[Place.FPM] == 'ok'
    assert outcomes[Place.PHP] == 'failed'
    assert outcomes[Place.WORDPRESS] == 'unknown'


@pytest.mark.parametrize(('place', 'answer', 'expected'), [
    (Place.TCP, w.status(403), Place.WEB_SERVER), (Place.CDN, w.BAD_502, Place.WEB_SERVER),
    (Place.TLS, w.status(525, headers=w.EDGE), Place.CDN), (Place.WEB_SERVER, w.BAD_502, Place.WEB_SERVER),
])
def test_a_place_that_worked_for_us_is_not_blamed(place: Place, answer: w.Answer, expected: Place) -> None:
    seen = w.seen(*w.refreshes(answer), url=SECURE)
    assert [hop.name for hop in hops(Scene(seen), place) if hop.outcome == 'failed'] == [expected]


def test_tls_behind_a_cdn_that_is_asked_without() -> None:
    found = hops(Scene(w.seen(*w.refreshes(w.status(525, headers=w.EDGE)))), Place.TLS)
    assert [hop.name for hop in found if hop.outcome == 'failed'] == [Place.CDN]


def test_pages_from_a_cache_say_nothing_about_what_is_behind() -> None:
    stored = replace(w.GOOD, headers={'x-cache': 'HIT'})
    outcomes = {hop.name: hop.outcome for hop in hops(Scene(w.seen(*w.refreshes(stored), host=None)))}
    assert (outcomes[Place.PHP], outcomes[Place.DATABASE]) == ('unknown', 'unknown')


def test_addresses_times_and_reasons_are_shown() -> None:
    seen = replace(bad(LOOP_BAD, FCGI_BAD), resolutions=(
        Resolution('shop.example', 'here', ('203.0.113.7',), ('2001:db8::7',), '', 0.25),))
    found = {hop.name: hop for hop in hops(Scene(seen))}
    assert (found[Place.DNS].address, found[Place.DNS].seconds) == ('203.0.113.7, 2001:db8::7', 0.25)
    assert found[Place.TCP].address == '203.0.113.7:443'
    assert found[Place.FPM].address == 'www (unix:/run/php/php8.2-fpm.sock)'
    assert found[Place.FPM].detail == 'it is reset'
