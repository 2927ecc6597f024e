"""Whole sites as seen, and what triage must say of them: cause, failing hop, whether bisecting helps."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import replace

import pytest
import triage_worlds as w

from wpaudit.domain import Answer
from wpaudit.domain import Cost
from wpaudit.domain import Gap
from wpaudit.facts import Disk
from wpaudit.facts import HostState
from wpaudit.facts import LogLine
from wpaudit.facts import Look
from wpaudit.facts import Place
from wpaudit.facts import Purpose
from wpaudit.facts import Resolution
from wpaudit.facts import Seen
from wpaudit.facts import State
from wpaudit.triage.diagnosis import diagnose
from wpaudit.triage.diagnosis import exit_code
from wpaudit.triage.model import UNKNOWN
from wpaudit.triage.model import table


@dataclass(frozen=True)
class Row:
    """One site. `hop` is the failing station, `''` for none."""

    name: str
    seen: Seen
    kind: str
    hop: str = ''
    helps: bool | None = None
    state: State = State.FAILING
    just_me: bool = False
    made_by: str | None = None


STATIC = w.look(Purpose.STATIC, w.IMAGE)
FCGI_GOOD = w.look(Purpose.FASTCGI, w.GOOD)
FCGI_DEAD = w.look(Purpose.FASTCGI, w.none('reset', 'ended without a header'))
FCGI_GONE = w.look(Purpose.FASTCGI, w.none('refused', 'No such file or directory'))
FRESH = w.look(Purpose.FRESH, w.BAD_502, marker='m1')
INSIDE_GOOD = w.inside(w.GOOD)
ELSEWHERE = (w.look(Purpose.VIA, w.GOOD, vantage='via other'), w.look(Purpose.VIA, w.GOOD, n=1, vantage='via other'))
AT_ONCE = w.instant(w.BAD_502)
CDN_502 = replace(w.BAD_502, headers=w.EDGE, body=w.CLOUDFLARE)
BLANK = w.status(502, w.server_page(502, 'Bad Gateway', 'cloudflare'), w.EDGE)
OWN_502 = w.status(502, 'Oops')
NO_DATABASE = w.status(500, w.NO_DATABASE)
LIMITED = w.instant(w.status(503, w.server_page(503, 'Service Temporarily Unavailable')))
CUT = replace(w.GOOD, truncated=True, size=4096)
CACHED = replace(w.GOOD, headers={**w.GOOD.headers, 'x-cache-status': 'HIT'})
OLD_ERROR = replace(w.BAD_502, headers={'server': 'nginx', 'x-cache': 'HIT', 'age': '44'})
MUCH_HEADER = replace(w.GOOD, headers={'x-tags': 'x' * 5000})
HANGS = w.none('timeout', 'no complete answer', seconds=10.0)
UNRESOLVED = Resolution('shop.example', error='Name or service not known')
VANISHED = w.none('timeout', 'connecting to 203.0.113.7 took longer than 10 s', 10)
NOTED = w.line(
    'access', '198.51.100.9 - - [14/Nov/2023:22:13:20 +0000] "GET /?wpaudit=m1 HTTP/1.1" 502 157 "-" "x"',
    matched='marker', marker='m1')
NO_POOL = replace(w.HOST, pools=())
SOMETIMES = tuple(w.look(Purpose.REFRESH, w.BAD_502 if n in {0, 4, 5} else w.GOOD, n) for n in range(10))


def nginx(*texts: str, at: float = 0.2) -> tuple[LogLine, ...]:
    return tuple(w.line('nginx', text, at=w.NOW + at) for text in texts)


def fpm(*texts: str, at: float = 0.2) -> tuple[LogLine, ...]:
    return tuple(w.line('php-fpm', text, at=w.NOW + at) for text in texts)


CRASHED = nginx(w.RESET) + fpm(w.SEGV)


def failing(*more: Look, by: Answer = w.BAD_502, host: HostState = w.HOST, lines: tuple[LogLine, ...] = ()) -> Seen:
    """A site whose every refresh fails, on a host that can be looked at."""
    return w.seen(*w.refreshes(by), STATIC, *more, host=host, lines=lines)


def loopback(answer: Answer = w.BAD_502) -> Look:
    return w.look(Purpose.HOST_LOOPBACK, answer, 3)


def pool(**changes: object) -> HostState:
    return replace(w.HOST, pools=(replace(w.POOL, **changes),))  # type: ignore[arg-type] # of a dataclass


def beyond(*looks: Look, url: str = w.URL, tcp: str = '', tls: str = '', others: bool = False) -> Seen:
    """A site as seen without its host; `tcp` and `tls` say how connecting fails."""
    handshakes = (w.reached(tcp=tcp, tls=tls), *[w.reached(vantage='via other')] * others)
    return w.seen(*looks, *(ELSEWHERE if others else ()), url=url, handshakes=handshakes)


HEALTHY_ROWS = [
    Row('healthy', w.seen(*w.refreshes(w.GOOD), STATIC), UNKNOWN, state=State.HEALTHY),
    Row('healthy with a broken log', w.seen(*w.refreshes(w.GOOD), lines=fpm(w.SEGV)), UNKNOWN, state=State.HEALTHY),
    Row('maintenance', w.seen(*w.refreshes(w.status(503, w.MAINTENANCE))), UNKNOWN, state=State.HEALTHY),
    Row('404', w.seen(*w.refreshes(w.status(404))), UNKNOWN, state=State.HEALTHY),
    Row('403 for a search engine only',
        w.seen(*w.refreshes(w.GOOD), STATIC, w.look(Purpose.SEARCH_ENGINE, w.status(403))), UNKNOWN,
        state=State.HEALTHY),
]
OVERLOAD_ROWS = [
    Row('pool exhausted: its queue is full',
        failing(loopback(AT_ONCE), by=AT_ONCE, host=pool(busy=5, queue=511, socket='full'),
                lines=nginx(w.connecting('11: Resource temporarily unavailable'))),
        'pool-exhausted', 'php-fpm', helps=False),
    Row('pool exhausted: by its log', failing(loopback(), host=pool(busy=5, queue=12), lines=fpm(w.MAX_CHILDREN)),
        'pool-exhausted', 'php-fpm', helps=False),
    Row('pool exhausted: 502 and 504 mixed, from outside', beyond(*w.refreshes(AT_ONCE, w.BAD_504), STATIC),
        'pool-exhausted', 'php-fpm', helps=False),
    Row('pool exhausted by a slow plugin',
        failing(loopback(), host=pool(busy=5, queue=12), lines=fpm(w.MAX_CHILDREN, w.SLOW_FRAME)),
        'pool-exhausted', 'php-fpm', helps=True),
    Row('the limit of CloudLinux', beyond(*w.refreshes(w.status(508)), STATIC), 'pool-exhausted', 'php-fpm'),
    Row('Apache has no worker left', failing(by=w.BAD_503, lines=(w.line('apache', w.APACHE_BUSY),)),
        'pool-exhausted', 'php-fpm'),
    Row('worker timeout',
        failing(loopback(), FCGI_DEAD, by=replace(w.BAD_502, seconds=3.7), host=pool(terminate_timeout=3.0),
                lines=nginx(w.RESET, at=3.7) + fpm(w.TERMINATED, w.SIGTERM, at=3.7)),
        'worker-timeout', 'php-fpm', helps=True),
    Row('too slow for nginx',
        failing(loopback(w.BAD_504), by=w.BAD_504, lines=nginx(w.SLOW, at=60),
                host=replace(w.HOST, settings={'nginx fastcgi_read_timeout': '60s'})),
        'worker-timeout', 'php', helps=True),
    Row('so slow that our own requests fill the pool',
        failing(loopback(HANGS), w.look(Purpose.FASTCGI, HANGS), w.inside(HANGS), by=HANGS, host=pool(busy=1),
                lines=fpm(w.MAX_CHILDREN, at=2)), 'worker-timeout', 'php-fpm', helps=True),
    Row('too slow for Cloudflare', beyond(*w.refreshes(w.status(524, headers=w.EDGE, seconds=100.2)), STATIC),
        'worker-timeout', 'php', helps=True),
    Row('oom', failing(loopback(), FCGI_DEAD, lines=(
        *nginx(w.RESET), *fpm(w.SIGKILL), w.line('kernel', w.OOM))), 'oom', 'php-fpm', helps=True),
    Row('disk full',
        failing(loopback(w.status(500)), by=w.status(500), host=replace(w.HOST, disks=(Disk('/', 40 * w.GIB, 0, 0),)),
                lines=nginx(w.nginx('open() "/var/lib/nginx/body/1" failed (28: No space left on device)'))),
        'disk-full', 'web-server', helps=False),
    Row('database down', failing(loopback(NO_DATABASE), w.inside(NO_DATABASE, False), by=NO_DATABASE),
        'database-down', 'database', helps=False, made_by='WordPress'),
    Row('database down, from outside', beyond(*w.refreshes(NO_DATABASE), STATIC), 'database-down', 'database',
        helps=False),
]
FIREWALL_ROWS = [
    Row('ModSecurity', failing(by=w.status(403), lines=(w.line('nginx', w.MODSECURITY, matched='connection'),)),
        'rule-block', 'web-server', helps=True),
    Row('a rule answers 502',
        failing(FRESH, loopback(AT_ONCE), FCGI_GOOD, INSIDE_GOOD, by=AT_ONCE, lines=(NOTED,)),
        'rule-block', 'web-server', helps=True),
    Row('Wordfence limits',
        beyond(*w.refreshes(w.GOOD, times=4), *(
            w.look(Purpose.REFRESH, w.status(503, w.WORDFENCE), n) for n in range(4, 10)), STATIC),
        'rate-limit', 'web-server', helps=False, state=State.SOMETIMES, made_by='Wordfence'),
    Row('429', beyond(*w.refreshes(w.status(429)), STATIC), 'rate-limit', 'web-server', helps=False),
    Row('limit_req', failing(by=LIMITED, lines=(w.line(
        'nginx', w.nginx('limiting requests, excess: 5.300 by zone "one"'), matched='connection'),)),
        'rate-limit', 'web-server', helps=False),
    Row('banned: packets are dropped', beyond(*w.refreshes(VANISHED, times=3), tcp='timeout', others=True),
        'ip-ban', 'tcp', helps=False, just_me=True),
    Row('banned: refused', beyond(*w.refreshes(w.none('refused'), times=3), tcp='refused', others=True),
        'ip-ban', 'tcp', helps=False, just_me=True),
    Row('banned, as far as the host itself can tell',
        replace(beyond(*w.refreshes(w.none('refused'), times=3), loopback(w.GOOD), w.look(Purpose.HOST_PUBLIC, w.GOOD),
                       tcp='refused'), host=w.HOST), 'ip-ban', 'tcp', helps=False, just_me=True),
    Row('banned: 403 here only',
        beyond(*w.refreshes(w.status(403)), w.look(Purpose.STATIC, w.status(403)), others=True),
        'ip-ban', 'web-server', just_me=True),
]
NETWORK_ROWS = [
    Row('dns', w.seen(*w.refreshes(w.none('dns'), times=3), handshakes=(), resolutions=(UNRESOLVED,)),
        'dns', 'dns', helps=False),
    Row('dns, just me',
        w.seen(*w.refreshes(w.none('dns'), times=3), *ELSEWHERE, handshakes=(),
               resolutions=(UNRESOLVED, replace(w.NAMED, vantage='via other'))), 'dns', 'dns', just_me=True),
    Row('nothing listens', beyond(*w.refreshes(w.none('refused'), times=3), tcp='refused'), 'tcp', 'tcp', helps=False),
    Row('packets vanish', beyond(*w.refreshes(VANISHED, times=3), tcp='timeout'), 'tcp', 'tcp', helps=False),
    Row('IPv6 is dead',
        w.seen(*w.refreshes(w.GOOD), w.look(Purpose.ADDRESS, w.none('refused'), address='2001:db8::1'),
               w.look(Purpose.ADDRESS, w.GOOD, address='203.0.113.7'),
               handshakes=(w.reached(), w.reached('2001:db8::1', tcp='refused'))),
        'tcp', 'tcp', state=State.SOMETIMES),
    Row('certificate',
        beyond(*w.refreshes(w.none('tls'), times=3), url='https://shop.example/', tls='certificate has expired'),
        'tls', 'tls', helps=False),
    Row('TLS behind the CDN',
        beyond(*w.refreshes(w.status(525, headers=w.EDGE)), url='https://shop.example/'), 'tls', 'cdn', helps=False,
        made_by='Cloudflare'),
    Row('upstream name',
        failing(loopback(), lines=nginx(w.nginx('backend.example could not be resolved (3: Host not found)', ''))),
        'upstream-dns', 'web-server', helps=False),
    Row('upstream refuses',
        failing(loopback(), by=AT_ONCE, host=replace(NO_POOL, upstreams={'127.0.0.1:8080': 'refused'}),
                lines=nginx(w.connecting('111: Connection refused', w.PROXY))),
        'upstream-down', 'web-server', helps=False),
    Row('upstream drops packets',
        failing(by=w.BAD_504, host=NO_POOL, lines=nginx(w.nginx(
            'upstream timed out (110: Connection timed out) while connecting to upstream', w.PROXY), at=60)),
        'upstream-down', 'web-server'),
    Row('521', beyond(*w.refreshes(w.status(521, headers=w.EDGE))), 'upstream-down', 'web-server',
        made_by='Cloudflare'),
    Row('socket missing',
        failing(loopback(AT_ONCE), FCGI_GONE, by=AT_ONCE, host=pool(socket='missing', workers=0, busy=0),
                lines=nginx(w.connecting('2: No such file or directory'))),
        'socket-missing', 'php-fpm', helps=False),
    Row('socket missing, by the state of the host', failing(by=AT_ONCE, host=pool(socket='missing', busy=-1)),
        'socket-missing', 'php-fpm'),
    Row('socket refused',
        failing(by=w.instant(w.BAD_503), host=pool(socket='refused'), lines=(w.line('apache', w.APACHE_REFUSED),)),
        'socket-refused', 'php-fpm', helps=False),
    Row('socket denied',
        failing(FCGI_GOOD, loopback(AT_ONCE), by=AT_ONCE, lines=nginx(w.connecting('13: Permission denied'))),
        'socket-denied', 'web-server', helps=False),
    Row('proxy reset',
        failing(loopback(), host=NO_POOL, lines=nginx(w.nginx(
            'upstream prematurely closed connection while reading response header from upstream', w.PROXY))),
        'proxy-reset', 'web-server', helps=True),
    Row('cdn', w.seen(*w.refreshes(BLANK), loopback(w.GOOD), host=w.HOST), 'cdn', 'cdn', helps=False,
        made_by='Cloudflare'),
    Row('cdn, from outside', beyond(*w.refreshes(BLANK)), 'cdn', 'cdn', helps=False),
    Row('a CDN in front of a site that works', failing(
        loopback(w.GOOD), by=replace(w.BAD_502, headers=w.EDGE, body='nope'), lines=()), 'cdn', 'cdn', helps=False),
]
ANSWER_ROWS = [
    Row('crash', failing(loopback(), FCGI_DEAD, lines=CRASHED), 'worker-crash', 'php-fpm', helps=True, made_by='nginx'),
    Row('crash, php-fpm not asked', failing(loopback(), lines=CRASHED), 'worker-crash', 'php', helps=True),
    Row('crash in three of ten', w.seen(*SOMETIMES, STATIC, loopback(w.GOOD), host=w.HOST, lines=CRASHED),
        'worker-crash', 'php', helps=True, state=State.SOMETIMES),
    Row('crash behind Apache',
        failing(by=w.BAD_503, host=replace(w.HOST, server='apache'),
                lines=(w.line('apache', w.APACHE_RESET), *fpm(w.SEGV))),
        'worker-crash', 'php', helps=True, made_by='Apache'),
    Row('crash hidden by a cache',
        w.seen(*w.refreshes(CACHED), FRESH, STATIC, FCGI_DEAD, loopback(), lines=CRASHED, host=w.HOST),
        'worker-crash', 'php-fpm', helps=True, state=State.SOMETIMES),
    Row('crash behind a CDN', failing(loopback(), FCGI_DEAD, by=CDN_502, lines=CRASHED), 'worker-crash', 'php-fpm',
        helps=True, made_by='Cloudflare'),
    Row('header too big', failing(FCGI_GOOD, loopback(), lines=nginx(w.BIG)), 'header-too-big', 'web-server',
        helps=True),
    Row('header too big, for who has cookies',
        w.seen(*w.refreshes(w.GOOD), STATIC, w.look(Purpose.COOKIES, w.BAD_502), lines=nginx(w.BIG), host=w.HOST),
        'header-too-big', 'web-server', helps=True, state=State.SOMETIMES),
    Row('header too big, by its size',
        failing(w.look(Purpose.FASTCGI, MUCH_HEADER), loopback(),
                host=replace(w.HOST, settings={'nginx fastcgi_buffer_size': '4k'})),
        'header-too-big', 'web-server', helps=True),
    Row('invalid header', failing(loopback(), lines=nginx(w.nginx(
        'upstream sent invalid status "abc" while reading response header from upstream'))),
        'invalid-header', 'php', helps=True),
    Row('killed many times, with the crash of another request beside it', failing(
        loopback(), FCGI_DEAD, lines=(*nginx(w.RESET), *fpm(w.SIGKILL) * 9, *fpm(w.SEGV))),
        'oom', 'php-fpm', helps=True),
    Row('truncated', failing(by=CUT, lines=nginx(w.CUT) + fpm(w.SEGV)), 'truncated', 'php', helps=True),
    Row('truncated, from outside', beyond(*w.refreshes(CUT), STATIC), 'truncated', 'php', helps=True),
    Row('PHP says 502 itself',
        failing(FRESH, loopback(OWN_502), w.look(Purpose.FASTCGI, OWN_502), by=OWN_502, lines=(NOTED,)),
        'application-502', 'wordpress', helps=True, made_by='PHP'),
    Row('fatal error', failing(by=w.status(500, w.CRITICAL), lines=nginx(w.FATAL_LINE)), 'wordpress-fatal', 'wordpress',
        helps=True, made_by='WordPress'),
    Row('fatal error shown with status 200', beyond(*w.refreshes(w.status(200, w.FATAL)), STATIC), 'wordpress-fatal',
        'php', helps=True, made_by='PHP'),
    Row('stale error', failing(loopback(w.GOOD), w.look(Purpose.FRESH, w.GOOD), by=OLD_ERROR), 'stale-cache',
        'web-server', helps=False),
]
UNCLEAR_ROWS = [
    Row('a bare 502', beyond(*w.refreshes(w.BAD_502)), UNKNOWN),
    Row('nothing but a 503 of Apache', beyond(*w.refreshes(w.BAD_503)), UNKNOWN),
    Row('a crash, and too big a header at once', failing(lines=nginx(w.BIG) + fpm(w.SEGV)), UNKNOWN),
    Row('a crash long ago, and nothing but good looks on the host',
        failing(loopback(w.GOOD), FCGI_GOOD, INSIDE_GOOD, lines=fpm(w.SEGV, at=-900)), UNKNOWN),
    Row('a missing socket and a full queue at once',
        failing(lines=nginx(w.connecting('2: No such file or directory'), w.connecting('13: Permission denied')) + fpm(
            w.MAX_CHILDREN), host=pool(busy=5, socket='denied')), UNKNOWN, 'php-fpm'),
]
ROWS = [*HEALTHY_ROWS, *OVERLOAD_ROWS, *FIREWALL_ROWS, *NETWORK_ROWS, *ANSWER_ROWS, *UNCLEAR_ROWS]


@pytest.mark.parametrize('row', ROWS, ids=[row.name for row in ROWS])
def test_what_a_site_suffers_from(row: Row) -> None:
    found = diagnose(row.seen)
    assert (found.state, found.cause.kind, found.just_me) == (row.state, row.kind, row.just_me), found.cause
    failed = [hop.name for hop in found.hops if hop.outcome == 'failed']
    assert failed == ([Place(row.hop)] if row.hop else [])
    if row.helps is not None:
        assert found.cause.bisect_helps is row.helps
    if row.made_by is not None:
        assert found.made_by == row.made_by
    healthy = row.state is State.HEALTHY
    assert exit_code(found) == (0 if healthy else 6 if row.kind == UNKNOWN else 1)
    assert found.cause.category == table().kinds[row.kind].category


def test_every_cause_has_a_site() -> None:
    assert {row.kind for row in ROWS} == set(table().kinds)


def test_nothing_seen_is_no_failure_that_could_be_named() -> None:
    found = diagnose(Seen(w.URL))
    assert (found.state, found.hops, found.rate.n) == (State.HEALTHY, (), 0)


def test_notes_and_gaps_are_kept() -> None:
    seen = w.seen(*w.refreshes(w.status(503, w.MAINTENANCE)), notes=('backed off',), gaps=(Gap('log x', 'denied'),))
    found = diagnose(seen)
    assert found.notes[0] == 'backed off'
    assert 'maintenance mode' in found.notes[1]
    assert found.gaps == seen.gaps


def test_what_is_named_goes_into_the_advice() -> None:
    row = next(row for row in ROWS if row.name == 'pool exhausted: by its log')
    found = diagnose(row.seen)
    assert 'from 5 of www' in found.cause.advice
    assert found.cause.sentence == 'all PHP workers of www are busy, so new requests are refused or wait'


def test_costs_point_at_a_slow_plugin() -> None:
    costs = (Cost('acme', ('acme/acme.php',), seconds=50.0), Cost('WordPress itself', seconds=0.3))
    found = diagnose(replace(failing(by=w.BAD_504), costs=costs))
    assert found.cause.kind == 'worker-timeout'
    assert any(clue.plugin == 'acme' for clue in found.clues)
