"""Answers become outcomes, one line a case."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wpaudit.domain import Answer
from wpaudit.domain import Mark
from wpaudit.domain import Outcome
from wpaudit.errors import UsageError
from wpaudit.probes.judge import FAILING
from wpaudit.probes.judge import Expectation
from wpaudit.probes.judge import Fingerprint
from wpaudit.probes.judge import classify
from wpaudit.probes.judge import combine
from wpaudit.probes.judge import fingerprint
from wpaudit.probes.judge import parse_fail_on
from wpaudit.triage.maker import Maker
from wpaudit.triage.maker import maker

FAIL, PASS, OTHER, UNREACHED = Outcome.FAIL, Outcome.PASS, Outcome.OTHER, Outcome.UNREACHED
URL = 'https://x.example/'
DEFAULT = Expectation()

NGINX = '<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>'
APACHE = '<p>The server is temporarily unable to service your request due to maintenance downtime.</p>'
CRITICAL = '<body id="error-page"><div class="wp-die-message"><p>There has been a critical error on this website.</p>'
MAINTENANCE = '<div class="wp-die-message">Briefly unavailable for scheduled maintenance. Check back in a minute.</div>'
LOCKOUT = '<title>503</title><h1>Your access to this site has been limited</h1>'
FATAL = '<br />\n<b>Fatal error</b>:  Uncaught Error in <b>/srv/x.php</b> on line <b>3</b><br />'

LIVE, LOADED, ENDED, LEFT, UNSEEN = (
    None, Mark(True, 'loaded', 2), Mark(True, 'ended', 2), Mark(True, 'left', 2), Mark(False))


def answer(status: int = 200, body: str = '<html></html>', error: str = '', **fields: object) -> Answer:
    return Answer(URL, status, body=body, error=error, **{'detail': error, **fields})  # type: ignore[arg-type]


CUT = answer(200, '<html>', truncated=True, detail='cut off')
BAD = answer(502, NGINX)
LOGIN = Answer(f'{URL}wp-login.php?redirect_to=x&reauth=1', 200, body='<html>')


@pytest.mark.parametrize(('given_', 'mark', 'expected'), [
    (answer(), LOADED, PASS), (answer(), ENDED, PASS), (answer(), LIVE, PASS), (answer(204, ''), LIVE, PASS),
    (answer(301, headers={'location': 'https://www.x.example/'}), LIVE, PASS),
    (answer(), UNSEEN, UNREACHED), (BAD, UNSEEN, UNREACHED), (answer(0, error='timeout'), UNSEEN, UNREACHED),
    (answer(), LEFT, OTHER), (answer(), Mark(True, 'started'), OTHER), (BAD, LEFT, FAIL),
    *((answer(status), mark, FAIL) for status in (502, 503, 504, 520, 521, 522, 523, 524) for mark in (LIVE, LOADED)),
    (CUT, LOADED, FAIL), (CUT, LIVE, FAIL),
    *((answer(status), LOADED, OTHER) for status in (400, 401, 403, 404, 429, 500, 501, 525, 101)),
    (answer(200, FATAL), LOADED, OTHER), (answer(200, f'{"x" * 99999}{FATAL}'), LOADED, OTHER),
    (answer(200, 'How to fix <b>Fatal error</b>: a guide'), LOADED, PASS),
    (answer(0, error='dns'), LIVE, UNREACHED), (answer(0, error='refused'), LIVE, UNREACHED),
    (answer(0, error='timeout'), LIVE, UNREACHED), (answer(0, error='timeout'), LOADED, OTHER),
    (answer(200, error='timeout'), LIVE, OTHER), (answer(0, error='tls'), LIVE, UNREACHED),
    (answer(0, error='reset'), LIVE, UNREACHED), (answer(0, error='reset'), LOADED, FAIL),
    (answer(0, error='protocol'), LIVE, OTHER), (answer(302, error='redirect-loop'), LIVE, OTHER),
    (answer(200, error='too-large'), LIVE, OTHER), (LOGIN, LOADED, PASS),
])
def test_without_a_fingerprint(given_: Answer, mark: Mark | None, expected: Outcome) -> None:
    outcome, evidence = classify(given_, mark, DEFAULT, None)
    assert outcome is expected
    assert evidence


@pytest.mark.parametrize(('expectation', 'given_', 'expected'), [
    (Expectation(expect_text='Cart'), answer(200, 'My Cart'), PASS),
    (Expectation(expect_text='Cart'), answer(200, 'nothing'), FAIL),
    (Expectation(expect_text='Cart'), answer(500, 'nothing'), FAIL),
    (Expectation(expect_text='Cart'), answer(500, 'Cart'), OTHER),
    (Expectation(expect_text='Cart'), answer(0, error='dns'), UNREACHED),
    (Expectation(expect_text=''), answer(200, ''), PASS),
    (Expectation(expect_status=frozenset({404})), answer(404), PASS),
    (Expectation(expect_status=frozenset({404})), answer(200), FAIL),
    (Expectation(expect_status=frozenset({503})), answer(503), PASS),
    (Expectation(expect_status=frozenset({503})), CUT, FAIL),
    (Expectation(expect_status=frozenset({404}), expect_text='x'), answer(404, 'y'), FAIL),
    (Expectation(fail_on=frozenset({500})), answer(500), FAIL), (Expectation(fail_on=frozenset({500})), BAD, OTHER),
    (Expectation(fail_on=frozenset({500})), CUT, OTHER),
    (Expectation(fail_on=frozenset({'timeout'})), answer(0, error='timeout'), FAIL),
    (Expectation(fail_on=frozenset({'timeout'})), answer(200, error='timeout'), FAIL),
    (Expectation(fail_on=frozenset({'reset'})), answer(0, error='reset'), FAIL),
    (Expectation(signed_in=True), LOGIN, OTHER),
    (Expectation(signed_in=True), answer(302, headers={'location': '/wp-login.php?redirect_to=%2F'}), OTHER),
    (Expectation(signed_in=True), answer(), PASS),
])
def test_what_the_user_expects(expectation: Expectation, given_: Answer, expected: Outcome) -> None:
    assert classify(given_, None, expectation)[0] is expected


@pytest.mark.parametrize(('baseline', 'given_', 'mark', 'expected'), [
    ([BAD], BAD, LOADED, FAIL), ([BAD], answer(502, APACHE), ENDED, OTHER), ([BAD], answer(504, NGINX), ENDED, OTHER),
    ([BAD, answer(504, NGINX)], answer(504, NGINX), LIVE, FAIL), ([BAD], answer(), LOADED, PASS),
    ([BAD], answer(503, MAINTENANCE), LOADED, OTHER), ([BAD], answer(503, LOCKOUT), LOADED, OTHER),
    ([BAD], answer(500, CRITICAL), LOADED, OTHER), ([BAD], answer(403), LOADED, OTHER), ([BAD], BAD, UNSEEN, UNREACHED),
    # One PHP process dying looks different before and after the headers were out; its mark says that it died.
    ([BAD], CUT, LOADED, FAIL), ([BAD], CUT, ENDED, OTHER), ([BAD], CUT, LIVE, OTHER), ([CUT], BAD, LOADED, FAIL),
    ([CUT], BAD, ENDED, OTHER), ([CUT], CUT, LIVE, FAIL), ([BAD], answer(503, APACHE), LOADED, FAIL),
    ([BAD], answer(0, error='reset'), LOADED, FAIL), ([answer(0, error='reset')], BAD, LOADED, FAIL),
    ([answer(503, LOCKOUT)], answer(503, LOCKOUT), LOADED, FAIL), ([answer(503, LOCKOUT)], CUT, LOADED, OTHER),
    ([answer(502, 'made by PHP')], CUT, LOADED, OTHER),
    ([answer()], BAD, LOADED, OTHER), ([], BAD, LOADED, OTHER),
])
def test_with_a_fingerprint(baseline: list[Answer], given_: Answer, mark: Mark | None, expected: Outcome) -> None:
    outcome, evidence = classify(given_, mark, DEFAULT, fingerprint(baseline, DEFAULT))
    assert outcome is expected, evidence


def test_a_page_without_the_text_is_the_same_whoever_made_it() -> None:
    expectation = Expectation(expect_text='Cart')
    linked = answer(200, 'x', headers={'link': '<https://x/wp-json/>; rel="https://api.w.org/"'})
    settled = fingerprint([linked], expectation)
    assert classify(answer(200, 'y'), LOADED, expectation, settled)[0] is FAIL
    assert classify(BAD, LOADED, expectation, settled)[0] is OTHER


def test_a_fatal_error_reported_by_wordpress_or_by_php_is_one_failure() -> None:
    expectation = Expectation(fail_on=frozenset({500}))
    settled = fingerprint([answer(500, CRITICAL)], expectation)
    assert classify(answer(500, FATAL), LOADED, expectation, settled)[0] is FAIL
    assert classify(answer(500, NGINX), LOADED, expectation, settled)[0] is OTHER


@pytest.mark.parametrize(('given_', 'words'), [
    (BAD, 'HTTP 502 from nginx: a status that counts as failing'), (answer(), 'HTTP 200'),
    (answer(0, error='dns', detail='the name x does not resolve'), 'no answer (dns): the name x does not resolve'),
    (CUT, 'HTTP 200: cut off'),
    (answer(503, MAINTENANCE), "HTTP 503 from WordPress's maintenance mode: a status that counts as failing"),
])
def test_evidence(given_: Answer, words: str) -> None:
    assert classify(given_, None, DEFAULT)[1] == words


def test_another_failure_names_the_one_asked_about() -> None:
    assert classify(answer(504), None, DEFAULT, fingerprint([BAD], DEFAULT))[1].endswith(
        'not the failure asked about (HTTP 502, nginx)')
    assert Fingerprint(truncated=True, errors=frozenset({'reset'})).sentence() == 'a page cut off, reset'


@pytest.mark.parametrize(('given_', 'expected'), [
    (BAD, Maker.NGINX), (answer(503, APACHE), Maker.APACHE), (answer(500, CRITICAL), Maker.WORDPRESS),
    (answer(503, MAINTENANCE), Maker.MAINTENANCE), (answer(503, LOCKOUT), Maker.WORDFENCE),
    (answer(500, FATAL), Maker.PHP), (answer(502, '<div id="cf-error-details">'), Maker.CLOUDFLARE),
    (answer(502, '<center>cloudflare</center>'), Maker.CLOUDFLARE),
    (answer(520, '', headers={'server': 'cloudflare'}), Maker.CLOUDFLARE),
    (answer(502, '', headers={'server': 'cloudflare'}), Maker.OTHER),
    (answer(502, '', headers={'x-powered-by': 'PHP/8.2'}), Maker.PHP),
    (answer(404, '', headers={'link': '<x>; rel="https://api.w.org/"'}), Maker.WORDPRESS),
    (answer(503, 'Guru Meditation <p>Varnish cache server</p>'), Maker.VARNISH), (answer(502, ''), Maker.OTHER),
])
def test_who_made_it(given_: Answer, expected: Maker) -> None:
    assert maker(given_) is expected


def test_combine_on_every_combination() -> None:
    rank = [FAIL, UNREACHED, OTHER, PASS]
    for size in (1, 2, 3):
        for outcomes in itertools.product(Outcome, repeat=size):
            assert combine(outcomes) is min(outcomes, key=rank.index)
    assert combine([]) is UNREACHED


@pytest.mark.parametrize(('text', 'expected'), [
    ('502', {502}), (' 403, reset ,TIMEOUT', {403, 'reset', 'timeout'}), ('5xx', set(range(500, 600))),
    ('truncated,,', {'truncated'}), ('+403', FAILING | {403}),
])
def test_fail_on(text: str, expected: set[int | str]) -> None:
    assert parse_fail_on(text) == expected


@pytest.mark.parametrize('text', [
    '', ',', '50', '5000', '600', '099', '6xx', '5x', 'boom', '-502', '٥٠٢', '5Xy', '5.2',
])
def test_fail_on_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_fail_on(text)


@given(st.integers(0, 999), st.text(max_size=20), st.sampled_from(['', 'dns', 'reset', 'timeout', 'nonsense']),
       st.booleans(), st.sampled_from([LIVE, LOADED, ENDED, LEFT, UNSEEN]))
def test_every_answer_has_an_outcome_and_a_sentence(
    status: int, body: str, error: str, truncated: bool, mark: Mark | None,
) -> None:
    given_ = answer(status, body, error, truncated=truncated)
    for settled in (None, fingerprint([BAD], DEFAULT), fingerprint([given_], DEFAULT)):
        outcome, evidence = classify(given_, mark, DEFAULT, settled)
        assert evidence
        assert (outcome is UNREACHED) or mark is not UNSEEN
