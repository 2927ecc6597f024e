"""Clues from the failing answers themselves: status, who made the page, how long it took. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence

from wpaudit.domain import Answer
from wpaudit.facts import Clue
from wpaudit.facts import Look
from wpaudit.triage import rate
from wpaudit.triage.faults import Fault
from wpaudit.triage.faults import fails
from wpaudit.triage.faults import fault
from wpaudit.triage.faults import said
from wpaudit.triage.fields import cdn
from wpaudit.triage.maker import Maker
from wpaudit.triage.maker import fatal_shown
from wpaudit.triage.maker import maker
from wpaudit.triage.scene import Scene

_DATABASE = 'error establishing a database connection'  # wp-includes/functions.php, dead_db()
_CRITICAL = 'there has been a critical error'           # class-wp-fatal-error-handler.php
_LIMITED = 'your access to this site has been limited'  # Wordfence's wf503.php
_CDN_STATUSES = {520: 'cdn-520', 521: 'cdn-521', 522: 'cdn-522', 523: 'cdn-523', 524: 'cdn-524', 525: 'cdn-525',
                 526: 'cdn-525', 530: 'cdn-530'}
_BLOCKED = {403: 'status-403', 406: 'status-406', 429: 'status-429', 444: 'status-444'}
_GATEWAY = {502: 'gateway-502', 503: 'gateway-503', 504: 'gateway-504', 508: 'gateway-508'}
_FIREWALLS = frozenset({Maker.WORDFENCE, Maker.MODSECURITY, Maker.SUCURI, Maker.IMUNIFY, Maker.INCAPSULA})
_BY = {Maker.OTHER: 'page-of-nobody', Maker.PHP: 'page-of-php', Maker.WORDPRESS: 'page-of-php'}
_ERRORS = {'dns': 'no-dns', 'tls': 'no-tls', 'refused': 'refused', 'timeout': 'no-first-byte',
           'reset': 'closed-without-answer', 'protocol': 'not-http'}


def answer_clues(scene: Scene) -> Iterator[Clue]:
    """Yield what the failing answers say; each weighs by its share of them."""
    bad = scene.failing
    if not bad:
        return
    connects = any(not one.tcp_error for one in scene.seen.handshakes if one.vantage == 'here')
    for kinds in (_of_status, _of_page, _of_end):
        yield from _counted(bad, kinds)
    yield from _no_answer(bad, connects=connects)
    yield from _in_front(scene)
    yield from _timing(bad)
    yield from _later(scene)


def _counted(bad: Sequence[Look], kinds: Callable[[Answer], Iterator[str]]) -> Iterator[Clue]:
    found = Counter(kind for look in bad for kind in set(kinds(look.answer)))
    for kind, count in found.most_common():
        example = next(look.answer for look in bad if kind in kinds(look.answer))
        yield Clue(kind, str(bad[0].purpose), _counting(count, len(bad), said(example)), strength=count / len(bad))


def _counting(count: int, total: int, what: str) -> str:
    return what if count == total else f'{what} in {count} of {total} failures'


def _of_status(answer: Answer) -> Iterator[str]:
    if answer.error or answer.truncated:
        return
    if answer.status in _CDN_STATUSES and maker(answer) in {Maker.CLOUDFLARE, Maker.OTHER}:
        yield _CDN_STATUSES[answer.status]
    elif answer.status in _BLOCKED:
        yield _BLOCKED[answer.status]
    elif answer.status in _GATEWAY and maker(answer) not in _FIREWALLS:
        yield _GATEWAY[answer.status]


def _of_page(answer: Answer) -> Iterator[str]:
    """Name what the page itself says."""
    made_by, body = maker(answer), answer.body[:65536].lower()
    if answer.error:
        return
    if made_by in _FIREWALLS:
        yield 'page-limited' if _LIMITED in body else 'page-firewall'
    elif _DATABASE in body:
        yield 'page-database'
    elif fatal_shown(answer):
        yield 'page-fatal'
    elif answer.status == 500:  # noqa: PLR2004
        yield 'page-wordpress' if _CRITICAL in body or made_by is Maker.WORDPRESS else 'page-500'
    elif made_by is Maker.CLOUDFLARE and answer.status in _GATEWAY:
        yield 'cdn-branded' if 'cf-error-details' in body else 'cdn-own'
    elif made_by in {Maker.CLOUDFRONT, Maker.FASTLY, Maker.AKAMAI, Maker.LOAD_BALANCER}:
        yield 'cdn-own'
    elif answer.status in _GATEWAY:
        yield _BY.get(made_by, 'page-of-server')


def _of_end(answer: Answer) -> Iterator[str]:
    if answer.truncated:
        yield 'cut-off' if answer.size or answer.headers else 'cut-header'


def _no_answer(bad: Sequence[Look], *, connects: bool) -> Iterator[Clue]:
    """Name why there was no answer. A time-out means something else when the connection came about."""
    count = Counter(look.answer.error for look in bad if look.answer.error in _ERRORS)
    for error, number in count.most_common():
        detail = next(look.answer.detail for look in bad if look.answer.error == error)
        kind = 'connect-timeout' if error == 'timeout' and not connects and 'connecting' in detail else _ERRORS[error]
        reason = _counting(number, len(bad), detail or f'no answer ({error})')
        yield Clue(kind, str(bad[0].purpose), reason, strength=number / len(bad))


def _in_front(scene: Scene) -> Iterator[Clue]:
    """Whether there is a CDN at all. It shows on every answer that came through it."""
    answered = [look for look in scene.plain if look.answer.headers]
    name = next((cdn(look.answer) for look in answered if cdn(look.answer)), '')
    if name:
        yield Clue('cdn-in-front', 'refresh', f'the answers come through {name}')
    elif answered:
        yield Clue('no-cdn', 'refresh', 'no CDN shows in the answers')


def _timing(bad: Sequence[Look]) -> Iterator[Clue]:
    """The time counts for failures that somebody in between made: only those wait for something."""
    answers = [look.answer for look in bad if fault(look.answer) in {Fault.GATEWAY, Fault.BLOCKED, Fault.FATAL}]
    seen = rate.timing(answers)
    source = str(bad[0].purpose)
    if seen.mixed:
        yield Clue('mixed-502-504', source, 'some requests fail at once (502), others after a timeout (504)')
    elif seen.instant:
        yield Clue('instant', source, f'the failures come at once (typically in {seen.typical * 1000:.0f} ms)')
    elif seen.limit:
        yield Clue('round-time', source, f'the failures come after {seen.limit:g} s, a round number',
                   names={'seconds': f'{seen.limit:g} s'})
    elif seen.slow:
        yield Clue('slow', source, f'the failures take {seen.typical:.1f} s')


def _later(scene: Scene) -> Iterator[Clue]:
    """First good, then blocked for the rest: our own requests were counted."""
    ordered = sorted(scene.plain, key=lambda look: look.at)
    flags = [fails(look) for look in ordered]
    if not any(flags) or all(flags):
        return
    start = flags.index(True)
    last = ordered[start:]
    blocked = all(fault(look.answer) in {Fault.BLOCKED, Fault.NO_ANSWER} or look.answer.status == 503  # noqa: PLR2004
                  for look in last)
    if all(flags[start:]) and blocked and len(last) > 1:
        yield Clue('blocked-later', 'refresh', f'{start} requests went well, then all of {len(last)} were refused')
