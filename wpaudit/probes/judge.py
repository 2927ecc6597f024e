"""What an answer means: FAIL, PASS, OTHER or UNREACHED, each with a sentence. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wpaudit.domain import Answer
from wpaudit.domain import Mark
from wpaudit.domain import Outcome
from wpaudit.errors import UsageError
from wpaudit.triage.maker import Maker
from wpaudit.triage.maker import fatal_shown
from wpaudit.triage.maker import login_page
from wpaudit.triage.maker import maker

ERRORS = ('dns', 'refused', 'reset', 'timeout', 'tls', 'redirect-loop', 'too-large', 'protocol')
TRUNCATED = 'truncated'
# 503 because Apache answers that when php-fpm crashes (mod_proxy_fcgi); 520-524 are Cloudflare's words for it.
FAILING: frozenset[int | str] = frozenset({502, 503, 504, 520, 521, 522, 523, 524, TRUNCATED})

_BAD = 400  # RFC 9110, section 15: from here on an answer says that something is wrong
_NO_CONTACT = frozenset({'dns', 'refused', 'reset', 'timeout', 'tls'})
# How the death of one PHP process may look, depending on how much of the page was out by then.
_CRASHED = frozenset({502, 503, 520})
_APPLICATION = frozenset({Maker.WORDPRESS, Maker.PHP})
_SERVERS = frozenset({Maker.NGINX, Maker.APACHE, Maker.LITESPEED, Maker.VARNISH, Maker.CLOUDFLARE})


@dataclass(frozen=True)
class Expectation:
    """What the user counts as failing.

    ``expect_status`` and ``expect_text`` say what a good answer is; whatever does not meet them fails too.
    ``signed_in`` tells that the requests carry a login: being sent to the login page is then a different failure,
    for a visitor it is how a members' site works.
    """

    fail_on: frozenset[int | str] = FAILING
    expect_status: frozenset[int] | None = None
    expect_text: str | None = None
    signed_in: bool = False


@dataclass(frozen=True)
class Fingerprint:
    """What the failure asked about looks like, as the baseline showed it."""

    statuses: frozenset[int] = frozenset()
    makers: frozenset[Maker] = frozenset()
    truncated: bool = False
    errors: frozenset[str] = frozenset()

    def matches(self, answer: Answer, mark: Mark | None) -> bool:
        """Is this failing answer the same failure?"""
        if self._crash() and _crashed(answer, mark):
            return True
        if answer.error:
            return answer.error in self.errors
        if answer.truncated:
            return self.truncated
        if answer.status not in self.statuses:
            return False
        # Below 400 the failure is a page that is not as expected; who made it varies with what is switched off.
        return answer.status < _BAD or any(_same(maker(answer), one) for one in self.makers)

    def sentence(self) -> str:
        """Describe the failure."""
        words = [f'HTTP {status}' for status in sorted(self.statuses)]
        words += [one.value for one in sorted(self.makers) if one is not Maker.OTHER]
        words += ['a page cut off'] * self.truncated + sorted(self.errors)
        return ', '.join(words) or 'none here'

    def _crash(self) -> bool:
        """Could the failure be the death of a PHP process?"""
        made_by_server = bool(self.statuses & _CRASHED) and bool(self.makers & _SERVERS)
        return self.truncated or 'reset' in self.errors or made_by_server


def fingerprint(answers: Sequence[Answer], expectation: Expectation) -> Fingerprint:
    """Return what the failing ones among ``answers`` have in common; one of none matches nothing."""
    failing = [one for one in answers if _failing(one, Mark(seen=True), expectation)]
    whole = [one for one in failing if not one.error and not one.truncated]
    return Fingerprint(
        statuses=frozenset(one.status for one in whole),
        makers=frozenset(maker(one) for one in whole),
        truncated=any(one.truncated for one in failing),
        errors=frozenset(one.error for one in failing if one.error),
    )


def classify(
    answer: Answer, mark: Mark | None, expectation: Expectation, settled: Fingerprint | None = None,
) -> tuple[Outcome, str]:
    """Return the outcome and the sentence that gives the reason.

    ``mark`` is None when the way of switching leaves none; a mark that was not seen means UNREACHED whatever came
    back. Once the baseline has ``settled`` what the failure looks like, another one is OTHER.
    """
    text = _described(answer)
    if mark is not None and not mark.seen:
        return Outcome.UNREACHED, f'{text}; the request never reached WordPress'
    reason = _failing(answer, mark, expectation)
    if not reason:
        outcome, reason = _otherwise(answer, mark, expectation)
        return outcome, _joined(text, reason)
    if settled is None or settled.matches(answer, mark):
        return Outcome.FAIL, _joined(text, reason)
    return Outcome.OTHER, f'{_joined(text, reason)}; not the failure asked about ({settled.sentence()})'


def combine(outcomes: Sequence[Outcome]) -> Outcome:
    """Judge the requests of one probe together; without any it reached nothing."""
    for outcome in (Outcome.FAIL, Outcome.UNREACHED, Outcome.OTHER, Outcome.PASS):
        if outcome in outcomes:
            return outcome
    return Outcome.UNREACHED


def parse_fail_on(text: str) -> frozenset[int | str]:
    """Read ``403,reset,timeout,5xx``. A leading ``+`` adds to the default instead of replacing it."""
    found: set[int | str] = set(FAILING) if text.lstrip().startswith('+') else set()
    for word in filter(None, (word.strip().lower() for word in text.strip().removeprefix('+').split(','))):
        found |= _codes(word)
    if not found:
        raise UsageError('no codes were given; write for example 502,5xx,truncated')
    return frozenset(found)


def parse_statuses(text: str) -> frozenset[int]:
    """Read ``200,3xx``: what a good answer may have."""
    found = parse_fail_on(text)
    statuses = frozenset(code for code in found if isinstance(code, int))
    if text.lstrip().startswith('+') or len(statuses) < len(found):
        raise UsageError(f'{text!r} is not a list of status codes', hint='Write for example 200,301,3xx.')
    return statuses


def _codes(word: str) -> set[int | str]:
    if word == TRUNCATED or word in ERRORS:
        return {word}
    if len(word) == 3 and word.isascii() and word[0] in '12345':  # noqa: PLR2004 - RFC 9110, section 15
        if word.isdigit():
            return {int(word)}
        if word.endswith('xx'):
            return set(range(int(word[0]) * 100, int(word[0]) * 100 + 100))
    raise UsageError(
        f'{word!r} is not something a site can answer',
        hint=f'Use status codes (502, 5xx), {TRUNCATED}, {", ".join(ERRORS)}.',
    )


def _failing(answer: Answer, mark: Mark | None, expectation: Expectation) -> str:
    """Return why this answer fails, '' when it does not. 'Fails' says no more than that a rule caught it."""
    if answer.error in expectation.fail_on or _cut_at_once(answer, mark, expectation):
        return answer.detail or answer.error
    if answer.truncated and TRUNCATED in expectation.fail_on:
        return answer.detail or TRUNCATED
    return _unmet(answer, expectation) if answer.status else ''


def _unmet(answer: Answer, expectation: Expectation) -> str:
    if expectation.expect_status is not None:
        if answer.status not in expectation.expect_status:
            return 'not a status that was expected'
    elif answer.status in expectation.fail_on:
        return answer.detail or 'a status that counts as failing'
    if expectation.expect_text is not None and expectation.expect_text not in answer.body:
        return 'the expected text is not on the page'
    return ''


def _cut_at_once(answer: Answer, mark: Mark | None, expectation: Expectation) -> bool:
    # Apache with mod_php has nobody left to write an error page: a crash before the headers is a connection closed
    # without a byte. Only the mark tells it from a firewall that resets connections.
    return answer.error == 'reset' and TRUNCATED in expectation.fail_on and mark is not None and mark.seen


def _otherwise(answer: Answer, mark: Mark | None, expectation: Expectation) -> tuple[Outcome, str]:
    """Judge an answer that no rule counts as failing."""
    if answer.error:
        reached = answer.status or answer.error not in _NO_CONTACT or (mark is not None and mark.seen)
        return (Outcome.OTHER if reached else Outcome.UNREACHED), answer.detail
    expected = expectation.expect_status is not None
    reason = ''
    if answer.truncated:
        reason = answer.detail
    elif not expected and not 200 <= answer.status < _BAD:  # noqa: PLR2004
        reason = answer.detail or 'an error, but not one that counts as failing'
    elif fatal_shown(answer):
        reason = 'the page shows a PHP fatal error'
    elif expectation.signed_in and login_page(answer):
        reason = 'sent to the login page: the login does not hold'
    elif mark is not None and mark.stage in {'started', 'left'}:
        reason = 'answered before all plugins were loaded, so it says nothing about them'
    return (Outcome.OTHER, reason) if reason else (Outcome.PASS, answer.detail)


def _described(answer: Answer) -> str:
    if not answer.status:
        return f'no answer ({answer.error})'
    made_by = maker(answer)
    if answer.status < _BAD or made_by is Maker.OTHER:
        return f'HTTP {answer.status}'
    return f'HTTP {answer.status} from {made_by.value}'


def _joined(text: str, reason: str) -> str:
    return f'{text}: {reason}' if reason else text


def _same(one: Maker, other: Maker) -> bool:
    # Whether WordPress or PHP reports a fatal error depends on how far WordPress had come.
    return one is other or {one, other} <= _APPLICATION


def _crashed(answer: Answer, mark: Mark | None) -> bool:
    """Did PHP, by its mark, die in this request without ending it?"""
    if mark is None or not mark.seen or mark.stage in {'ended', 'left'}:
        return False
    if answer.truncated or answer.error == 'reset':
        return True
    return answer.status in _CRASHED and maker(answer) in _SERVERS
