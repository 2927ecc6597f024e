"""The path of a request as stations, with the one marked where it fails first. Pure.

Each station is judged by the looks that went past the stations before it:

=============  ========  ==============================================================================
dns, tcp, tls            what the resolver and the connections said, here
cdn            fails     the host's web server works when asked on the host, and CDN fields show on the failing answers;
                         or the CDN says itself that it made the page
web-server     fails     it takes no connection; it fails on the host while php-fpm, asked past it, works; or it
                         refuses the request by a rule
php-fpm        fails     php-fpm gives no answer when asked past the web server, or its socket is not usable
php, wordpress fails     php-fpm answers with an error of PHP or WordPress; WordPress fails when run without a server
database       fails     WordPress could not reach it
=============  ========  ==============================================================================

What nothing was seen of is ``unknown``. When the looks mark no station, the named cause does: it knows its place.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import replace

from wpaudit.facts import Handshake
from wpaudit.facts import Hop
from wpaudit.facts import Look
from wpaudit.facts import Place
from wpaudit.facts import Purpose
from wpaudit.facts import State
from wpaudit.triage.faults import fails
from wpaudit.triage.faults import said
from wpaudit.triage.fields import cdn
from wpaudit.triage.maker import Maker
from wpaudit.triage.maker import maker
from wpaudit.triage.network import means_something
from wpaudit.triage.scene import HERE
from wpaudit.triage.scene import Scene
from wpaudit.triage.scene import seconds
from wpaudit.triage.scene import works

OK, FAILED, UNKNOWN, SKIPPED = 'ok', 'failed', 'unknown', 'skipped'
_SURE = 0.5
_CERTAIN = 0.95
_DATABASE = 'error establishing a database connection'
_ANSWERED = frozenset({200, 301, 302, 303, 304, 307, 308, 401, 404})
_ORIGIN = frozenset({520, 521, 522, 523, 524, 525, 526, 530})  # Cloudflare's words for "not me, the server behind"
_EDGES = frozenset({Maker.CLOUDFRONT, Maker.FASTLY, Maker.AKAMAI, Maker.LOAD_BALANCER, Maker.SUCURI, Maker.INCAPSULA})


def hops(scene: Scene, place: Place | None = None) -> tuple[Hop, ...]:
    """Return the stations of the path; ``place`` is where the named cause sits, if one was named."""
    if not scene.seen.looks and not scene.seen.handshakes and not scene.seen.resolutions:
        return ()
    path = [hop for hop in (_dns(scene), _tcp(scene), _tls(scene), _cdn(scene)) if hop is not None]
    path += [_web_server(scene), _fpm(scene), _php(scene), _wordpress(scene), _database(scene)]
    if scene.state is State.HEALTHY:
        return tuple(replace(hop, outcome=UNKNOWN) if hop.outcome == FAILED else hop for hop in path)
    return tuple(_marked(path, place))


def _marked(path: list[Hop], place: Place | None) -> Iterator[Hop]:
    """Leave one failing station, the first; what comes after it did not get a chance unless it was seen to work."""
    seen = next((n for n, hop in enumerate(path) if hop.outcome == FAILED), -1)
    where = _named(path, place) if seen < 0 else seen
    for n, hop in enumerate(path):
        if n == where:
            yield replace(hop, outcome=FAILED)
        elif hop.outcome == FAILED:
            yield replace(hop, outcome=UNKNOWN)
        elif n < where and hop.outcome == UNKNOWN and hop.name is not Place.CDN and place is not None:
            yield replace(hop, outcome=OK, detail=hop.detail or 'the request came past it')
        else:
            yield hop


def _named(path: list[Hop], place: Place | None) -> int:
    """Find the station of the cause; that of a connection that worked for us lies further on (a ban by a page, say)."""
    outcomes = {hop.name: hop.outcome for hop in path}
    if place is Place.TLS and outcomes.get(place, OK) == OK and Place.CDN in outcomes:
        place = Place.CDN  # the CDN speaks TLS with the server behind it, too
    elif place in {Place.DNS, Place.TCP, Place.TLS, Place.CDN} and outcomes.get(place, OK) == OK:
        place = Place.WEB_SERVER
    return next((n for n, hop in enumerate(path) if hop.name == place), -1)


# -- as far as the network goes -----------------------------------------------------------------------

def _dns(scene: Scene) -> Hop | None:
    here = [one for one in scene.seen.resolutions if one.vantage == HERE]
    if here:
        one = next((two for two in here if not means_something(two)), here[0])
        outcome = OK if means_something(one) else FAILED
        return Hop(Place.DNS, ', '.join((one.ipv4 + one.ipv6)[:4]), outcome, one.seconds, one.error)
    bad = _errors(scene, 'dns')
    return Hop(Place.DNS, '', FAILED if bad else _reached(scene), 0.0, bad[0].answer.detail if bad else '')


def _tcp(scene: Scene) -> Hop | None:
    here = [one for one in scene.seen.handshakes if one.vantage == HERE]
    bad, good = [one for one in here if one.tcp_error], [one for one in here if not one.tcp_error]
    missed = {look.address for look in scene.failing if look.answer.error}
    if good and not any(one.address in missed for one in bad):
        detail = f'not {bad[0].address} ({bad[0].tcp_error})' if bad else ''
        return Hop(Place.TCP, _at(good[0]), OK, good[0].tcp_seconds, detail)
    if bad:
        return Hop(Place.TCP, _at(bad[0]), FAILED, bad[0].tcp_seconds, bad[0].tcp_error)
    refused = _errors(scene, 'refused')
    address = next((look.address for look in scene.plain if look.address), '')
    if refused:
        return Hop(Place.TCP, address, FAILED, 0.0, refused[0].answer.detail)
    return Hop(Place.TCP, address, _reached(scene), 0.0)


def _tls(scene: Scene) -> Hop | None:
    if not scene.seen.url.startswith('https:'):
        return None
    here = [one for one in scene.seen.handshakes if one.vantage == HERE and not one.tcp_error]
    bad, good = [one for one in here if one.tls_error], [one for one in here if not one.tls_error]
    if good:
        return Hop(Place.TLS, _at(good[0]), OK, good[0].tls_seconds, bad[0].tls_error if bad else '')
    if bad:
        return Hop(Place.TLS, _at(bad[0]), FAILED, bad[0].tls_seconds, bad[0].tls_error)
    lost = _errors(scene, 'tls')
    return Hop(Place.TLS, '', FAILED if lost else _reached(scene), 0.0, lost[0].answer.detail if lost else '')


def _cdn(scene: Scene) -> Hop | None:
    name = next((cdn(look.answer) for look in scene.seen.looks if look.vantage == HERE and cdn(look.answer)), '')
    edge = next((look for look in scene.failing if maker(look.answer) in _EDGES), None)
    if not name and edge is None:
        return None
    name = name or maker(edge.answer).value if edge else name
    loopback = scene.of(Purpose.HOST_LOOPBACK)
    own = [look for look in scene.failing if maker(look.answer) is Maker.CLOUDFLARE and not _blames_origin(look)]
    if edge or own:
        return Hop(Place.CDN, name, FAILED, 0.0, 'made the failing page itself')
    if scene.failing and any(map(_blames_origin, scene.failing)):
        return Hop(Place.CDN, name, OK, 0.0, 'it says that the server behind it fails')
    if scene.failing and works(loopback) and scene.trust(loopback) >= _SURE and not _contact(scene):
        return Hop(Place.CDN, name, FAILED, 0.0, 'the server behind it works')
    return Hop(Place.CDN, name, OK if works(scene.plain) or scene.fails(Purpose.HOST_LOOPBACK) else UNKNOWN, 0.0)


def _blames_origin(look: Look) -> bool:
    """Cloudflare's own pages: 52x, and the branded one around a status that the origin gave."""
    return look.answer.status in _ORIGIN or 'cf-error-details' in look.answer.body[:65536]


# -- on the host ----------------------------------------------------------------------------------

def _web_server(scene: Scene) -> Hop:
    loopback, static, fastcgi = (scene.of(one) for one in (Purpose.HOST_LOOPBACK, Purpose.STATIC, Purpose.FASTCGI))
    name = (scene.host.server if scene.host else '') or _server_name(scene)
    took = seconds(loopback or static)
    bad = [look for look in loopback if fails(look)]
    silent = {'refused'} if scene.php_hangs else {'refused', 'timeout'}
    if bad and all(look.answer.error in silent for look in bad):
        return Hop(Place.WEB_SERVER, name, FAILED, took, bad[0].answer.detail or 'takes no connection')
    # Where the site fails at times, one good look is luck.
    if bad and works(fastcgi) and (not scene.rate.value or scene.trust(fastcgi) >= _CERTAIN):
        return Hop(Place.WEB_SERVER, name, FAILED, took, f'{said(bad[0].answer)}, while php-fpm works')
    if bad and not fastcgi and scene.fails(Purpose.STATIC):
        return Hop(Place.WEB_SERVER, name, FAILED, took, 'static files fail too')
    if works(loopback) or bad or works(static):
        return Hop(Place.WEB_SERVER, name, OK, took)
    return Hop(Place.WEB_SERVER, name, OK if any(map(_from_origin, scene.plain)) else UNKNOWN, took)


def _fpm(scene: Scene) -> Hop:
    pool = next(iter(scene.pools()), None)
    address = f'{pool.name} ({pool.listen})' if pool else ''
    looks = scene.of(Purpose.FASTCGI)
    bad = [look for look in looks if fails(look) and (look.answer.error or look.answer.truncated)]
    if pool and pool.socket in {'missing', 'refused', 'denied', 'full'}:
        return Hop(Place.FPM, address, FAILED, seconds(looks), f'its socket: {pool.socket}')
    if bad:
        return Hop(Place.FPM, address, FAILED, seconds(bad), bad[0].answer.detail or said(bad[0].answer))
    if looks or works(scene.of(Purpose.HOST_LOOPBACK)) or _php_answered(scene):
        return Hop(Place.FPM, address, OK, seconds(looks))
    return Hop(Place.FPM, address, OK if pool and pool.socket == 'answers' else UNKNOWN, 0.0)


def _php(scene: Scene) -> Hop:
    bad = [look for look in (*scene.of(Purpose.FASTCGI), *scene.failing) if fails(look)]
    fatal = next((look for look in bad if _error_of(look, Maker.PHP)), None)
    if fatal is not None:
        return Hop(Place.PHP, '', FAILED, 0.0, said(fatal.answer))
    fine = works(scene.of(Purpose.FASTCGI)) or works(scene.of(Purpose.INSIDE)) or works(scene.of(Purpose.HOST_LOOPBACK))
    return Hop(Place.PHP, '', OK if fine or _php_answered(scene) else UNKNOWN, 0.0)


def _wordpress(scene: Scene) -> Hop:
    inside = scene.of(Purpose.INSIDE)
    bad = [look for look in inside if fails(look) and look.answer.error != 'timeout']  # slow is not broken
    page = next((look for look in scene.failing if _error_of(look, Maker.WORDPRESS)), None)
    if bad and not any(look.database is False for look in inside):
        return Hop(Place.WORDPRESS, '', FAILED, seconds(inside), bad[0].answer.detail or said(bad[0].answer))
    if page is not None and not _dead_database(scene):
        return Hop(Place.WORDPRESS, '', FAILED, 0.0, said(page.answer))
    fine = works(inside) or works(scene.of(Purpose.FASTCGI)) or works(scene.of(Purpose.HOST_LOOPBACK))
    return Hop(Place.WORDPRESS, '', OK if fine or works(scene.served) else UNKNOWN, seconds(inside))


def _database(scene: Scene) -> Hop:
    if _dead_database(scene):
        return Hop(Place.DATABASE, '', FAILED, 0.0, 'does not answer WordPress')
    fine = any(look.database for look in scene.seen.looks) or works(scene.served)
    return Hop(Place.DATABASE, '', OK if fine else UNKNOWN, 0.0)


# -- questions ------------------------------------------------------------------------------------

def _dead_database(scene: Scene) -> bool:
    page = any(_DATABASE in look.answer.body[:65536].lower() for look in scene.failing)
    return page or any(look.database is False for look in scene.seen.looks)


def _error_of(look: Look, made_by: Maker) -> bool:
    """Is this an error page by ``made_by``? A good page that was cut off shows who began it, not who failed."""
    return maker(look.answer) is made_by and not look.answer.truncated


def _contact(scene: Scene) -> bool:
    """Did the failing requests not even get a connection?"""
    return any(look.answer.error in {'dns', 'refused', 'tls'} for look in scene.failing)


def _errors(scene: Scene, error: str) -> list[Look]:
    return [look for look in scene.plain if look.answer.error == error]


def _reached(scene: Scene) -> str:
    return OK if any(look.answer.status for look in scene.plain) else UNKNOWN


def _from_origin(look: Look) -> bool:
    """Does the answer come from the site's own server, as far as one can tell from outside?"""
    return look.answer.status > 0 and maker(look.answer) not in _EDGES and (
        look.answer.status not in _ORIGIN and not (maker(look.answer) is Maker.CLOUDFLARE and not _blames_origin(look)))


def _php_answered(scene: Scene) -> bool:
    pages = (*scene.served, *scene.of(Purpose.HOST_LOOPBACK, Purpose.FASTCGI))
    return any(
        maker(look.answer) in {Maker.WORDPRESS, Maker.PHP} or look.answer.status in _ANSWERED for look in pages)


def _server_name(scene: Scene) -> str:
    fields: Mapping[str, str] = next((look.answer.headers for look in scene.plain if look.answer.headers), {})
    return fields.get('server', '')[:60]


def _at(one: Handshake) -> str:
    return f'[{one.address}]:{one.port}' if ':' in one.address else f'{one.address}:{one.port}'
