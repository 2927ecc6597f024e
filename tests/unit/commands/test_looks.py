"""What triage asks for."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wpaudit.commands import looks
from wpaudit.commands.looks import Ask
from wpaudit.domain import Answer
from wpaudit.domain import Request
from wpaudit.facts import Look
from wpaudit.facts import Purpose
from wpaudit.probes.parsing import checked_cookie

PAGE = looks.page_request('http://site.test/', ())


@pytest.mark.parametrize(('url', 'start'), [
    ('http://site.test/', 'http://site.test/?wpaudit='),
    ('http://site.test/?p=1', 'http://site.test/?p=1&wpaudit='),
    ('http://site.test/a?', 'http://site.test/a?&wpaudit='),
])
def test_a_marker_goes_into_the_query(url: str, start: str) -> None:
    one, other = (looks.marked(Ask(Purpose.FRESH, Request(url))) for _ in range(2))
    assert re.fullmatch('[0-9a-f]{12}', one.marker)
    assert one.request.url == start + one.marker
    assert one.marker != other.marker


def test_a_marker_stays_before_the_fragment() -> None:
    asked = looks.marked(Ask(Purpose.FRESH, Request('http://site.test/#top')))
    assert asked.request.url == f'http://site.test/?wpaudit={asked.marker}#top'


def test_a_second_marker_replaces_the_first() -> None:
    first = looks.marked(Ask(Purpose.FRESH, Request('http://site.test/?p=1')))
    second = looks.marked(first)
    assert second.request.url == f'http://site.test/?p=1&wpaudit={second.marker}'
    assert second.marker != first.marker


def test_a_visitor_looks_like_a_browser_but_can_be_told_from_one() -> None:
    agent = dict(PAGE.headers)['User-Agent']
    assert agent.startswith('Mozilla/5.0')
    assert 'wpaudit/' in agent


def test_the_users_own_agent_stays() -> None:
    page = looks.page_request('http://site.test/', (('user-agent', 'mine'),))
    assert page.headers == (('user-agent', 'mine'),)


def test_devices_differ_in_the_agent_alone() -> None:
    page = looks.page_request('http://site.test/', (('user-agent', 'mine'), ('X-Stage', 'yes')))
    asks = looks.devices(page)
    assert [one.purpose for one in asks] == [
        Purpose.DESKTOP, Purpose.PHONE, Purpose.SEARCH_ENGINE, Purpose.NO_AGENT,
    ]
    for one in asks:
        names = [name.lower() for name, _ in one.request.headers]
        assert sorted(names) == ['user-agent', 'x-stage']
    assert dict(asks[-1].request.headers)['User-Agent'] == ''
    assert len({dict(one.request.headers)['User-Agent'] for one in asks}) == 4


def test_fresh_asks_past_caches() -> None:
    fields = dict(looks.fresh(PAGE).request.headers)
    assert (fields['Cache-Control'], fields['Pragma']) == ('no-cache', 'no-cache')
    assert looks.fresh(PAGE).marker


@pytest.mark.parametrize(('site', 'paths'), [
    ('http://site.test', ['/wp-includes/images/blank.gif']),
    ('http://site.test/', ['/wp-includes/images/blank.gif']),
    ('http://site.test/blog', ['/blog/wp-includes/images/blank.gif', '/wp-includes/images/blank.gif']),
])
def test_static_files_are_guessed_in_the_folder_and_at_the_root(site: str, paths: list[str]) -> None:
    found = [one.request.url.partition('?')[0] for one in looks.statics(site, PAGE)]
    assert found == [f'http://site.test{path}' for path in paths]


# -- cookies --------------------------------------------------------------------------------------

def test_the_users_cookies_are_asked_twice() -> None:
    asks = looks.with_cookies(PAGE, (('cart', '1'),), Answer('', headers={'set-cookie': 'a=b'}))
    assert [(one.purpose, one.request.cookies, one.needed) for one in asks] == [
        (Purpose.COOKIES, (('cart', '1'),), True)] * 2


def test_cookies_of_a_login_are_a_login() -> None:
    asks = looks.with_cookies(PAGE, (('wordpress_logged_in_1f', 'x'),), None)
    assert {one.purpose for one in asks} == {Purpose.LOGGED_IN}


def test_without_cookies_there_is_nothing_to_ask() -> None:
    assert looks.with_cookies(PAGE, (), None) == []
    assert looks.with_cookies(PAGE, (), Answer('')) == []


@pytest.mark.parametrize(('field', 'found'), [
    ('a=b; Path=/; HttpOnly', {'a': 'b'}),
    ('a=b; expires=Wed, 21 Oct 2026 07:28:00 GMT; path=/, c=d; Secure', {'a': 'b', 'c': 'd'}),
    ('a=', {'a': ''}),
    ('a=1, a=2', {'a': '2'}),
    ('nonsense', {}),
    ('', {}),
])
def test_cookies_that_a_site_sets(field: str, found: dict[str, str]) -> None:
    assert dict(looks.cookies_set(Answer('', headers={'set-cookie': field}))) == found


def test_twenty_cookies_are_enough() -> None:
    field = ', '.join(f'c{n}=x; Path=/' for n in range(500))
    assert len(looks.cookies_set(Answer('', headers={'set-cookie': field}))) == 20


@given(st.text(alphabet=st.characters(codec='utf-8'), max_size=200))
def test_whatever_is_set_can_be_sent(field: str) -> None:
    for name, value in looks.cookies_set(Answer('', headers={'set-cookie': field})):
        assert checked_cookie(name, value) == (name, value)


# -- redirects ------------------------------------------------------------------------------------

@pytest.mark.parametrize(('location', 'target'), [
    ('https://www.site.test/', 'https://www.site.test/'),
    ('//www.site.test/x#part', 'http://www.site.test/x'),
    ('http://site.test:8080/', 'http://site.test:8080/'),
    ('/elsewhere', ''),
    ('http://site.test/x', ''),
    ('ftp://www.site.test/', ''),
    ('http://u:p@www.site.test/', ''),
    ('http://[bad/', ''),
    ('http://www.site.test:nonsense/', ''),
    ('', ''),
])
def test_a_move_to_another_host(location: str, target: str) -> None:
    answer = Answer('http://site.test/', status=301, headers={'location': location})
    assert looks.moved_to('http://site.test/', answer) == target


def test_only_a_redirect_moves() -> None:
    for answer in (
        Answer('http://site.test/', status=200, headers={'location': 'http://www.site.test/'}),
        Answer('http://site.test/', status=302, error='redirect-loop', headers={'location': 'http://www.site.test/'}),
    ):
        assert looks.moved_to('http://site.test/', answer) == ''


# -- what counts ----------------------------------------------------------------------------------

def made(purpose: Purpose, seconds: float, status: int = 0, detail: str = '') -> Look:
    error = '' if status else 'timeout'
    return Look(purpose, Answer('http://site.test/', status=status, error=error, detail=detail, seconds=seconds), 0.0)


@pytest.mark.parametrize('status', [200, 504])
def test_what_was_given_up_sooner_than_the_page_takes_says_nothing(status: int) -> None:
    page, short = made(Purpose.REFRESH, 8.0, status), made(Purpose.FRESH, 5.4)
    file, inside = made(Purpose.STATIC, 3.0), made(Purpose.INSIDE, 4.0)
    unreached = made(Purpose.HOST_PUBLIC, 3.0, detail='no connection within 3 s (connecting)')
    kept = looks.telling([page, short, file, inside, unreached])
    assert kept == [page, file, inside, unreached]
    assert looks.untold([page, short], kept) == [
        'given up sooner than the page takes, so that it says nothing: fresh after 5.4 s']


def test_what_was_waited_for_in_vain_counts_where_nothing_answered_or_only_sooner() -> None:
    hanging = [made(Purpose.REFRESH, 11.0), made(Purpose.FASTCGI, 5.0), made(Purpose.STATIC, 0.01, 200)]
    assert looks.telling(hanging) == hanging
    quick = [*hanging, made(Purpose.HOST_LOOPBACK, 0.3, 200)]
    assert looks.telling(quick) == quick
    assert looks.untold(quick, quick) == []
