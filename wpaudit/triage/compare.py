"""What differs between visitors, addresses, caches and vantages, and what that says. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass

from wpaudit.facts import Look
from wpaudit.facts import Purpose
from wpaudit.triage.faults import Fault
from wpaudit.triage.faults import fails
from wpaudit.triage.faults import fault
from wpaudit.triage.faults import said
from wpaudit.triage.fields import cached
from wpaudit.triage.scene import Scene
from wpaudit.triage.scene import works

_SURE = 0.5           # trust from which on a good look is worth a sentence
_LOOKS_EACH = 3       # looks at each address from which on a split by address counts in full
_ITSELF = 0.5         # what it counts that the site's own host reaches it, past any firewall of its own
_OF_A_CACHE = 0.2     # what a good static file counts that a cache may have given
_VISITORS = {
    Purpose.DESKTOP: 'a desktop browser', Purpose.PHONE: 'a phone', Purpose.SEARCH_ENGINE: 'a search engine',
    Purpose.NO_AGENT: 'a client without a name',
}
_KNOWN = {Purpose.COOKIES: 'visitors with cookies', Purpose.LOGGED_IN: 'users who are logged in'}


@dataclass(frozen=True)
class Difference:
    """One sentence; ``kind`` is the clue it makes, if any. ``shown`` is False for what is no difference."""

    sentence: str
    kind: str = ''
    source: str = ''
    strength: float = 1.0
    shown: bool = True
    cache: str = ''


def differences(scene: Scene) -> Iterator[Difference]:
    """Yield what differs, and for the looks past a part of the path that they do not."""
    for rule in (_visitors, _known, _http2, _addresses, _static, _caches, _vantages, _origin, _fastcgi, _inside):
        yield from rule(scene)


def _visitors(scene: Scene) -> Iterator[Difference]:
    looks = {purpose: scene.of(purpose, vantage='here') for purpose in _VISITORS}
    bad = [purpose for purpose, seen in looks.items() if seen and all(map(fails, seen))]
    good = [purpose for purpose, seen in looks.items() if works(seen)]
    if bad and _usually_works(scene):
        yield Difference(_split(scene, bad, bad[0]), 'agent-only', str(bad[0]))
    elif scene.rate.value >= 1 and good and not _fresh_works(scene):
        seen = [look for purpose in good for look in looks[purpose]]
        trust = scene.trust(seen)
        if trust >= _SURE:
            names = _listed([_VISITORS[purpose] for purpose in good])
            sentence = f"works for {names}, fails for wpaudit's plain request"
            yield Difference(sentence, 'agent-only', str(good[0]), trust)


def _split(scene: Scene, bad: Sequence[Purpose], example: Purpose) -> str:
    answer = scene.of(example, vantage='here')[0].answer
    return f'fails for {_listed([_VISITORS[purpose] for purpose in bad])} ({said(answer)}), works for others'


def _known(scene: Scene) -> Iterator[Difference]:
    for purpose, who in _KNOWN.items():
        looks = scene.of(purpose)
        if looks and all(map(fails, looks)) and _usually_works(scene):
            yield Difference(f'fails only for {who} ({said(looks[0].answer)})', 'cookies-only', str(purpose))
        elif scene.rate.value >= 1 and works(looks) and scene.trust(looks) >= _SURE and not _fresh_works(scene):
            yield Difference(f'works for {who}, fails for others')


def _http2(scene: Scene) -> Iterator[Difference]:
    looks = scene.of(Purpose.HTTP2, vantage='here')
    if looks and all(map(fails, looks)) and _usually_works(scene):
        yield Difference(f'fails only over HTTP/2 ({said(looks[0].answer)})', 'http2-only', 'http2')
    elif scene.rate.value >= 1 and works(looks) and scene.trust(looks) >= _SURE and not _fresh_works(scene):
        yield Difference('works over HTTP/2, fails over HTTP/1.1')


def _addresses(scene: Scene) -> Iterator[Difference]:
    by_address: dict[str, list[Look]] = {}
    for look in scene.of(Purpose.ADDRESS, Purpose.REFRESH, vantage='here'):
        if look.address:
            by_address.setdefault(look.address, []).append(look)
    bad = [one for one, looks in by_address.items() if all(map(fails, looks))]
    good = [one for one, looks in by_address.items() if works(looks)]
    if not bad or not good:
        return
    strength = min(1.0, min(len(looks) for looks in by_address.values()) / _LOOKS_EACH)
    example = said(by_address[bad[0]][0].answer)
    if all(':' in one for one in bad) and not any(':' in one for one in good):
        yield Difference(f'fails over IPv6 only ({_listed(bad)}: {example})', 'ipv6-only', 'address', strength)
    else:
        yield Difference(
            f'fails at {_listed(bad)} ({example}), works at {_listed(good)}', 'one-address', 'address', strength)


def _static(scene: Scene) -> Iterator[Difference]:
    looks = scene.of(Purpose.STATIC)
    if works(looks) and scene.failing:
        from_store = _OF_A_CACHE if any(cached(look.answer) for look in looks) else 1.0
        trust = scene.trust(looks) if scene.rate.value else 1.0
        yield Difference('static files work, pages that PHP makes do not', 'static-works', 'static', trust * from_store)
    elif scene.fails(Purpose.STATIC):
        example = next(look for look in looks if fails(look))
        yield Difference(
            f'static files fail too ({said(example.answer)})', 'static-fails', 'static', shown=bool(scene.failing))


def _caches(scene: Scene) -> Iterator[Difference]:
    fresh, stored = scene.of(Purpose.FRESH), [look for look in scene.failing if cached(look.answer)]
    if stored:
        cache = cached(stored[0].answer)
        yield Difference(
            f'{len(stored)} of {len(scene.failing)} failures come out of a cache ({cache})', 'cached-fault', 'cache',
            len(stored) / len(scene.failing), cache=cache)
    if scene.rate.value and works(fresh) and (trust := scene.trust(fresh)) >= _SURE:
        yield Difference('a fresh page works, the usual one fails', 'fresh-works', 'fresh', trust)
    hidden = next((cached(look.answer) for look in scene.plain if cached(look.answer)), '')
    if not scene.rate.value and fresh and all(map(fails, fresh)) and hidden:
        yield Difference(
            f'a fresh page fails ({said(fresh[0].answer)}); a cache ({hidden}) hides it from visitors', 'cache-hides',
            'fresh')


def _usually_works(scene: Scene) -> bool:
    """Does the plain page work, and not only because a cache has it?"""
    fresh = scene.of(Purpose.FRESH)
    return not scene.rate.value and not (fresh and all(map(fails, fresh)))


def _fresh_works(scene: Scene) -> bool:
    """Is the page fine past the caches? Every look but the plain one goes past them, so it says nothing of its own."""
    fresh = scene.of(Purpose.FRESH)
    return works(fresh) and scene.trust(fresh) >= _SURE


def _vantages(scene: Scene) -> Iterator[Difference]:
    looks = scene.elsewhere()
    if not scene.rate.value or not looks or _fresh_works(scene):
        return
    bad = [look for look in looks if fails(look)]
    if bad:
        yield Difference(
            f'it fails from elsewhere too ({bad[0].vantage}: {said(bad[0].answer)})', 'everywhere', bad[0].vantage,
            shown=False)
        return
    names = _listed(sorted({look.vantage for look in looks}))
    sentence = f'works from elsewhere ({names}), fails from here'
    far = any(look.purpose is not Purpose.HOST_PUBLIC for look in looks)
    yield Difference(sentence, 'here-only', looks[0].vantage, scene.trust(looks) * (1.0 if far else _ITSELF))


def _origin(scene: Scene) -> Iterator[Difference]:
    looks = scene.of(Purpose.HOST_LOOPBACK)
    bad = [look for look in looks if fails(look)]
    if not looks or not scene.failing:
        return
    if not bad:
        sentence = "the web server of the site's host answers well when asked on the host itself"
        yield Difference(sentence, 'origin-works', 'host', scene.trust(looks))
    elif all(look.answer.error in ({'refused'} if scene.php_hangs else {'refused', 'timeout'}) for look in bad):
        why = bad[0].answer.detail or bad[0].answer.error
        sentence = f"the web server of the site's host does not take connections ({why})"
        yield Difference(sentence, 'origin-silent', 'host')
    else:
        yield Difference(
            f'it fails on the host itself too ({said(bad[0].answer)})', 'origin-fails', 'host', shown=False)


def _fastcgi(scene: Scene) -> Iterator[Difference]:
    looks = scene.of(Purpose.FASTCGI)
    bad = [look for look in looks if fails(look)]
    if not looks or not scene.failing:
        return
    if not bad:
        # Where the web server works too, as seen from the host, this says nothing about the way between the two.
        kind = '' if scene.works(Purpose.HOST_LOOPBACK) else 'fastcgi-works'
        yield Difference('php-fpm answers well when asked past the web server', kind, 'fastcgi',
                         scene.trust(looks) if scene.rate.value else _SURE)
        return
    kinds = {Fault.FATAL: 'fastcgi-500', Fault.GATEWAY: 'fastcgi-error', Fault.BLOCKED: 'fastcgi-blocked'}
    kind = kinds.get(fault(bad[0].answer), 'fastcgi-fails')
    kind = {'refused': 'fastcgi-refused', 'protocol': 'fastcgi-garbled'}.get(bad[0].answer.error, kind)
    detail = f': {bad[0].answer.detail}' if bad[0].answer.detail else ''
    sentence = f'php-fpm fails too when asked past the web server ({said(bad[0].answer)}{detail})'
    yield Difference(sentence, kind, 'fastcgi', shown=False)


def _inside(scene: Scene) -> Iterator[Difference]:
    looks = scene.of(Purpose.INSIDE)
    if not looks or not scene.failing:
        return
    bad = [look for look in looks if fails(look)]
    if bad and bad[0].answer.error == 'timeout':
        yield Difference(f'WordPress takes more than {bad[0].answer.seconds:.1f} s when run without a web server',
                         'inside-late', 'inside', shown=False)
    elif bad:
        detail = f': {bad[0].answer.detail}' if bad[0].answer.detail else ''
        yield Difference(f'WordPress fails too when run without a web server ({said(bad[0].answer)}{detail})',
                         'inside-fails', 'inside', shown=False)
    else:
        yield Difference('WordPress makes the page when run without a web server', 'inside-works', 'inside')
    if any(look.database is False for look in looks):
        yield Difference('the database does not answer WordPress', 'database-dead', 'inside', shown=False)
    elif any(look.database for look in looks):
        yield Difference('the database answers WordPress', 'database-alive', 'inside', shown=False)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f'{", ".join(names[:-1])} and {names[-1]}'
