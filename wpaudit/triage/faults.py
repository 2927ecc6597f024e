"""Which answers count as failing, and how. Pure.

By default what ``bisect`` counts, and more: here the question is not whether two failures are the same one, but whether
a visitor was served at all.
"""

from __future__ import annotations

from enum import StrEnum

from wpaudit.domain import Answer
from wpaudit.facts import Look
from wpaudit.facts import Purpose
from wpaudit.triage.maker import Maker
from wpaudit.triage.maker import fatal_shown
from wpaudit.triage.maker import maker

# 521-527 and 530 are Cloudflare's, 508 LiteSpeed's with CloudLinux; whatever else is 5xx serves nobody either.
_SERVER_ERROR = 500
_NO_ANSWER = frozenset({'dns', 'refused', 'reset', 'timeout', 'tls', 'protocol'})
_BLOCKED = frozenset({403, 406, 429, 444})
_FIREWALLS = frozenset({Maker.WORDFENCE, Maker.MODSECURITY, Maker.SUCURI, Maker.IMUNIFY, Maker.INCAPSULA})

# A page that PHP makes, asked for over HTTP from outside.
PAGES = frozenset({
    Purpose.REFRESH, Purpose.ADDRESS, Purpose.FRESH, Purpose.DESKTOP, Purpose.PHONE, Purpose.SEARCH_ENGINE,
    Purpose.NO_AGENT, Purpose.HTTP2, Purpose.COOKIES, Purpose.LOGGED_IN,
})
ELSEWHERE = frozenset({Purpose.PROXY, Purpose.VIA, Purpose.HOST_PUBLIC})


class Fault(StrEnum):
    """How an answer fails; the empty one does not."""

    NONE = ''
    NO_ANSWER = 'no answer'
    TRUNCATED = 'cut off'
    BLOCKED = 'blocked'
    FATAL = 'fatal error'    # 500, or a fatal error shown on a page with another status
    GATEWAY = 'error of a server'  # 502, 503, 504, 520 and above, ...


def fault(answer: Answer) -> Fault:
    """Say how ``answer`` fails."""
    if answer.error in _NO_ANSWER:
        return Fault.NO_ANSWER
    if answer.truncated:
        return Fault.TRUNCATED
    if answer.status in _BLOCKED or (answer.status >= _SERVER_ERROR and maker(answer) in _FIREWALLS):
        return Fault.BLOCKED
    if maintenance(answer):
        return Fault.NONE
    if answer.status == _SERVER_ERROR or fatal_shown(answer):
        return Fault.FATAL
    return Fault.GATEWAY if answer.status > _SERVER_ERROR else Fault.NONE


def fails(look: Look) -> bool:
    """Did this look fail?"""
    return fault(look.answer) is not Fault.NONE


def maintenance(answer: Answer) -> bool:
    """Is this WordPress's own page while it updates itself?"""
    return answer.status == 503 and maker(answer) is Maker.MAINTENANCE  # noqa: PLR2004 - wp_maintenance()


def said(answer: Answer) -> str:
    """Name what came back: ``HTTP 502 from nginx``."""
    if answer.error:
        return f'no answer ({answer.error})'
    made_by = maker(answer)
    by = '' if made_by is Maker.OTHER or answer.status < 400 else f' from {made_by.value}'  # noqa: PLR2004
    return f'HTTP {answer.status}{by}{", cut off" if answer.truncated else ""}'
