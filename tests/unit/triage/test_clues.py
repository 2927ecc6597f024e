"""Single observations, and the clue and sentence that each makes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import triage_worlds as w

from wpaudit.domain import Answer
from wpaudit.domain import Gap
from wpaudit.facts import Clue
from wpaudit.facts import Look
from wpaudit.facts import Purpose
from wpaudit.facts import Resolution
from wpaudit.facts import Seen
from wpaudit.triage.clues import clues
from wpaudit.triage.clues import compared
from wpaudit.triage.fields import cached
from wpaudit.triage.fields import cdn
from wpaudit.triage.hints import weights
from wpaudit.triage.host import seconds
from wpaudit.triage.host import size
from wpaudit.triage.model import table
from wpaudit.triage.scene import Scene


def kinds(seen: Seen) -> dict[str, float]:
    """Return the strength of each kind of clue."""
    scene = Scene(seen)
    found: dict[str, float] = {}
    for clue in clues(scene, compared(scene)):
        found[clue.kind] = max(clue.strength, found.get(clue.kind, 0.0))
    return found


def bad(*more: Look, by: Answer = w.BAD_502, **rest: object) -> Seen:
    return w.seen(*w.refreshes(by), *more, **rest)


def good(*more: Look, **rest: object) -> Seen:
    return w.seen(*w.refreshes(w.GOOD), *more, **rest)


STORED = replace(w.GOOD, headers={'age': '7'})
SIX = '2001:db8::1'
GOOD_ADDRESS = w.look(Purpose.ADDRESS, w.GOOD, address='203.0.113.7')
ANSWERS = (
    w.BAD_502, w.BAD_504, w.status(403), w.status(521, headers=w.EDGE), w.status(500, w.NO_DATABASE), w.none('reset'))


@pytest.mark.parametrize(('seen', 'kind'), [
    (good(w.look(Purpose.COOKIES, w.BAD_502)), 'cookies-only'),
    (good(w.look(Purpose.LOGGED_IN, w.BAD_502)), 'cookies-only'),
    (good(w.look(Purpose.PHONE, w.BAD_502)), 'agent-only'),
    (bad(w.look(Purpose.DESKTOP, w.GOOD), w.look(Purpose.PHONE, w.GOOD)), 'agent-only'),
    (good(w.look(Purpose.HTTP2, w.BAD_502)), 'http2-only'),
    (bad(w.look(Purpose.STATIC, w.IMAGE)), 'static-works'),
    (bad(w.look(Purpose.STATIC, w.BAD_502)), 'static-fails'),
    (bad(w.look(Purpose.FRESH, w.GOOD)), 'fresh-works'),
    (bad(by=replace(w.BAD_502, headers={'age': '60'})), 'cached-fault'),
    (w.seen(*w.refreshes(STORED), w.look(Purpose.FRESH, w.BAD_502)), 'cache-hides'),
    (bad(w.look(Purpose.VIA, w.GOOD, vantage='via x')), 'here-only'),
    (bad(w.look(Purpose.HOST_PUBLIC, replace(w.GOOD, headers=w.EDGE))), 'here-only'),
    (bad(w.look(Purpose.HOST_PUBLIC, w.GOOD), by=w.none('refused'), handshakes=(w.reached(tcp='refused'),)),
     'here-only'),
    (bad(w.look(Purpose.PROXY, w.BAD_502, vantage='proxy')), 'everywhere'),
    (bad(w.look(Purpose.HOST_LOOPBACK, w.GOOD)), 'origin-works'),
    (bad(w.look(Purpose.HOST_LOOPBACK, w.BAD_502)), 'origin-fails'),
    (bad(w.look(Purpose.HOST_LOOPBACK, w.none('refused'))), 'origin-silent'),
    (bad(w.look(Purpose.HOST_LOOPBACK, w.BAD_502), w.look(Purpose.FASTCGI, w.GOOD)), 'fastcgi-works'),
    (bad(w.look(Purpose.FASTCGI, w.none('reset'))), 'fastcgi-fails'),
    (bad(w.look(Purpose.FASTCGI, w.none('refused'))), 'fastcgi-refused'),
    (bad(w.look(Purpose.FASTCGI, w.status(502))), 'fastcgi-error'),
    (bad(w.look(Purpose.FASTCGI, w.status(500))), 'fastcgi-500'),
    (bad(w.look(Purpose.FASTCGI, w.status(403))), 'fastcgi-blocked'),
    (bad(w.inside(w.GOOD)), 'inside-works'),
    (bad(w.inside(w.GOOD)), 'database-alive'),
    (bad(w.inside(w.none('reset'))), 'inside-fails'),
    (bad(w.inside(w.none('timeout'))), 'inside-late'),
    (bad(w.inside(w.status(500), database=False)), 'database-dead'),
    (good(GOOD_ADDRESS, w.look(Purpose.ADDRESS, w.BAD_502, address='203.0.113.8')), 'one-address'),
    (good(GOOD_ADDRESS, w.look(Purpose.ADDRESS, w.BAD_502, address=SIX)), 'ipv6-only'),
    (good(handshakes=(w.reached(), w.reached(SIX, tcp='refused'))), 'ipv6-only'),
    (good(handshakes=(w.reached(), w.reached('203.0.113.8', tls='expired'))), 'one-address'),
    (bad(by=w.none('refused'), handshakes=(w.reached(tcp='refused'), w.reached(vantage='via x'))), 'here-only'),
    (good(resolutions=(w.NAMED, Resolution('shop.example', 'via x', ('203.0.113.9',)))), 'dns-differs'),
    (bad(by=w.none('reset')), 'closed-without-answer'),
    (bad(by=w.none('protocol')), 'not-http'),
    (bad(by=w.none('timeout', 'waiting for the first line', 30)), 'no-first-byte'),
    (bad(by=w.status(502, 'x', {'x-powered-by': 'PHP/8.2'})), 'page-of-php'),
    (bad(by=replace(w.BAD_502, truncated=True, size=0, headers={})), 'cut-header'),
])
def test_an_observation_makes_its_clue(seen: Seen, kind: str) -> None:
    assert kinds(seen).get(kind, 0.0) > 0
    assert kind in table().ratios


@pytest.mark.parametrize(('seen', 'kind'), [
    (bad(w.look(Purpose.COOKIES, w.BAD_502)), 'cookies-only'),
    (good(w.look(Purpose.PHONE, w.BAD_502), w.look(Purpose.FRESH, w.BAD_502)), 'agent-only'),  # past a cache, that is
    (bad(w.look(Purpose.PHONE, w.GOOD), w.look(Purpose.FRESH, w.GOOD)), 'agent-only'),
    (bad(w.look(Purpose.HOST_PUBLIC, w.GOOD, address='203.0.113.7:80')), 'here-only'),  # that never left the host
    (good(handshakes=(w.reached(), w.reached(SIX, tcp='unreachable'))), 'ipv6-only'),  # we have no IPv6
    (good(resolutions=(w.NAMED, Resolution('shop.example', 'host', ('10.0.0.1',)))), 'dns-differs'),
    (good(w.look(Purpose.FRESH, w.BAD_502)), 'cache-hides'),                        # no cache shows
    (bad(w.look(Purpose.HOST_LOOPBACK, w.GOOD), w.look(Purpose.FASTCGI, w.GOOD)), 'fastcgi-works'),
])
def test_and_what_looks_like_it_does_not(seen: Seen, kind: str) -> None:
    assert kind not in kinds(seen)


def test_a_good_look_at_a_site_that_fails_at_times_says_little() -> None:
    flags = [w.BAD_502, w.GOOD, w.GOOD, w.GOOD, w.GOOD]
    once = kinds(w.seen(*w.refreshes(*flags), w.look(Purpose.HOST_LOOPBACK, w.GOOD)))['origin-works']
    often = kinds(w.seen(*w.refreshes(*flags), *[w.look(Purpose.HOST_LOOPBACK, w.GOOD)] * 20))['origin-works']
    always = kinds(bad(w.look(Purpose.HOST_LOOPBACK, w.GOOD)))['origin-works']
    assert once < 0.1 < often == always == 1.0


@pytest.mark.parametrize('purpose', [Purpose.PHONE, Purpose.COOKIES, Purpose.HTTP2])
def test_one_visitor_that_fares_well_where_all_do_at_times_is_no_difference(purpose: Purpose) -> None:
    flags = [w.BAD_502, w.BAD_502, w.GOOD, w.BAD_502, w.BAD_502, w.BAD_502, w.GOOD, w.BAD_502]
    scene = Scene(w.seen(*w.refreshes(*flags), *[w.look(purpose, w.GOOD)] * 20))
    assert [one.sentence for one in compared(scene) if 'fails for' in one.sentence or 'HTTP/2' in one.sentence] == []


def test_every_clue_that_the_code_makes_is_in_the_table() -> None:
    hosts = (w.HOST, replace(w.HOST, memory_available=1, swap_free=0, load=99.0))
    for host in hosts:
        for answer in ANSWERS:
            assert set(kinds(bad(by=answer, host=host))) <= set(table().ratios)


def test_a_queue_counts_in_full_where_no_worker_is_free_for_it() -> None:
    full = kinds(bad(host=replace(w.HOST, pools=(replace(w.POOL, busy=5, queue=3),))))
    momentary = kinds(bad(host=replace(w.HOST, pools=(replace(w.POOL, busy=2, queue=1),))))
    unknown = kinds(bad(host=replace(w.HOST, pools=(replace(w.POOL, busy=-1, queue=1),))))
    assert (full['pool-queue'], unknown['pool-queue']) == (1.0, 1.0)
    assert momentary['pool-queue'] < 0.5


# -- lines ----------------------------------------------------------------------------------------

KILLED = '[14-Nov-2023 22:13:20] WARNING: [pool www] child 7 exited on signal {} (SIG{}) after 6.2 seconds from start'
TOO_LONG = (
    "[14-Nov-2023 22:13:20] WARNING: [pool www] child 7, script '/srv/www/index.php' (request: \"GET /index.php\") "
    'execution timed out (3.1 sec), terminating'
)


def told(*lines: w.LogLine, looks: tuple[Look, ...] = (), gaps: tuple[Gap, ...] = ()) -> dict[str, float]:
    return kinds(bad(*looks, lines=lines, host=replace(w.HOST, clock=100.0), gaps=gaps))


def test_lines_near_a_failing_request_count_in_full() -> None:
    assert told(w.line('php-fpm', w.SEGV, at=w.NOW + 100.5))['worker-crashed'] == 1.0
    assert told(w.line('php-fpm', w.SEGV, at=w.NOW + 400))['worker-crashed'] == 0.5
    assert told(w.line('php-fpm', w.SEGV, at=0.0))['worker-crashed'] == 1.0


def test_lines_about_a_request_that_went_well_do_not_count() -> None:
    fine, failed = w.look(Purpose.FRESH, w.GOOD, marker='m1'), w.look(Purpose.PHONE, w.BAD_502, marker='m2')
    assert 'worker-reset' not in told(w.line('nginx', w.RESET, matched='marker', marker='m1'), looks=(fine,))
    assert told(w.line('nginx', w.RESET, matched='marker', marker='m2'), looks=(failed,))['worker-reset'] == 1.0


def test_lines_that_say_the_same_are_told_once() -> None:
    lines = (*[w.line('php-fpm', w.SEGV, at=w.NOW + 100.5)] * 30, w.line('nginx', w.FATAL_LINE, at=w.NOW + 400))
    scene = Scene(bad(lines=lines, host=replace(w.HOST, clock=100.0)))
    crashed, fatal = (clue for clue in clues(scene, ()) if clue.source in {'php-fpm', 'nginx'})
    assert crashed.reason.endswith('and 29 more like it')
    assert (fatal.plugin, fatal.strength) == ('acme', 0.5)


def test_how_most_processes_died_counts_and_another_death_among_them_as_little_as_it_is_rare() -> None:
    killed = [w.line('php-fpm', KILLED.format(9, 'KILL'), at=w.NOW + 100.5)] * 15
    found = told(*killed, w.line('php-fpm', KILLED.format(15, 'TERM'), at=w.NOW + 100.5),
                 w.line('php-fpm', TOO_LONG, at=w.NOW + 100.5))
    assert found['worker-killed'] == 1.0
    assert found['worker-terminated'] == found['worker-killed-slow'] == pytest.approx(1 / 15)


def test_what_every_host_logs_all_day_counts_only_about_us() -> None:
    dropped = '[1.0] [UFW BLOCK] IN=eth0 OUT= MAC=00 SRC=203.0.113.9 DST=192.0.2.1'
    assert 'dropped-line' not in told(w.line('kernel', dropped))
    assert 'dropped-line' in told(w.line('kernel', dropped, matched='connection'))


ENTRY = '198.51.100.9 - - [14/Nov/2023:22:13:20 +0000] "GET /?wpaudit={} HTTP/1.1" {} 157 "-" "x"'
FRESH = w.look(Purpose.FRESH, w.BAD_502, marker='m1')


def entry(marker: str, status: int) -> w.LogLine:
    return w.line('access', ENTRY.format(marker, status), matched='marker', marker=marker)


def test_the_access_log_tells_how_far_a_request_came() -> None:
    arrived = told(entry('m1', 502), looks=(FRESH,))
    assert {'arrived', 'no-error-line'} <= set(arrived)
    assert 'no-error-line' not in told(entry('m1', 502), w.line('nginx', w.RESET), looks=(FRESH,))
    assert 'no-error-line' not in told(entry('m1', 502), looks=(FRESH,), gaps=(Gap('log /x/error.log', 'denied'),))
    assert 'served-well' in told(entry('m1', 200), looks=(FRESH,))
    other = w.look(Purpose.HOST_LOOPBACK, w.GOOD, marker='m9')
    assert 'never-arrived' in told(entry('m9', 200), looks=(FRESH, other))
    assert 'never-arrived' not in told(looks=(FRESH, other))


# -- fields and settings ------------------------------------------------------------------------------

@pytest.mark.parametrize(('fields', 'cache'), [
    ({}, ''), ({'age': '0'}, ''), ({'age': '12'}, 'a cache'), ({'age': 'x'}, ''), ({'x-cache': 'MISS'}, ''),
    ({'x-cache': 'HIT from cdn-1'}, 'a cache'), ({'cf-cache-status': 'DYNAMIC'}, ''),
    ({'cf-cache-status': 'HIT'}, 'Cloudflare'),
    ({'x-cache-status': 'STALE'}, 'nginx'), ({'x-litespeed-cache': 'hit'}, 'LiteSpeed'), ({'x-varnish': '32770'}, ''),
    ({'x-varnish': '32773 32771'}, 'Varnish'), ({'cache-status': 'ExampleCache; hit; ttl=30'}, 'ExampleCache'),
    ({'cache-status': 'A; fwd=miss, B; hit'}, 'B'), ({'cache-status': 'A; fwd=miss'}, ''),
])
def test_caches(fields: dict[str, str], cache: str) -> None:
    assert cached(Answer(w.URL, 200, fields)) == cache


@pytest.mark.parametrize(('fields', 'name'), [
    ({}, ''), ({'server': 'nginx'}, ''), ({'cf-ray': 'x'}, 'Cloudflare'), ({'server': 'cloudflare'}, 'Cloudflare'),
    ({'x-sucuri-id': '1'}, 'Sucuri'), ({'x-amz-cf-id': 'x'}, 'CloudFront'), ({'x-served-by': 'cache-fra-1'}, 'Fastly'),
    ({'x-served-by': 'web1'}, ''), ({'server': 'AkamaiGHost'}, 'Akamai'),
])
def test_cdns(fields: dict[str, str], name: str) -> None:
    assert cdn(Answer(w.URL, 200, fields)) == name


@pytest.mark.parametrize(('text', 'expected'), [('4k', 4096), ('1M', 1 << 20), ('4096', 4096), ('off', 0), ('', 0)])
def test_sizes(text: str, expected: int) -> None:
    assert size(text) == expected


@pytest.mark.parametrize(('text', 'expected'), [
    ('60', 60), ('60s', 60), ('1m', 60), ('500ms', 0.5), ('1h', 3600), ('x', 0), ('', 0)])
def test_times(text: str, expected: float) -> None:
    assert seconds(text) == expected


# -- hints for the search -------------------------------------------------------------------------------

def test_plugins_that_are_named_become_hints() -> None:
    found = weights([
        Clue('php-fatal', 'nginx', 'one', 'acme', 0.5), Clue('php-fatal', 'nginx', 'two', 'acme'),
        Clue('slow-frame', 'php-fpm', 'three', 'hello.php', 0.5), Clue('segfault', 'kernel', 'four'),
    ])
    assert [(one.suspects, one.reason) for one in found] == [(('acme/',), 'two'), (('hello.php',), 'three')]
    assert found[0].weight > found[1].weight > 1
