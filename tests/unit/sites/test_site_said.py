"""The border to the host: right kinds or a SiteError, whatever was sent."""

from __future__ import annotations

import base64
import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from wpaudit.domain import Kind
from wpaudit.errors import CannotStart
from wpaudit.errors import ModeUnavailable
from wpaudit.errors import NotRestored
from wpaudit.errors import SiteBusy
from wpaudit.errors import SiteError
from wpaudit.errors import Unfinished
from wpaudit.errors import UsageError
from wpaudit.errors import WpauditError
from wpaudit.sites.agent import refusal
from wpaudit.sites.said import Said
from wpaudit.sites.said import encoded
from wpaudit.sites.said import parsed
from wpaudit.sites.said import raw_text
from wpaudit.sites.said import text
from wpaudit.sites.switching import restoration

NOT_UTF8 = 'caf\udce9/caf\udce9.php'
READERS = ('flag', 'number', 'whole', 'text', 'raw', 'texts', 'raws', 'named', 'part', 'parts', 'plain')


def test_strings_survive_the_way_there_and_back() -> None:
    for value in ('', 'acme/acme.php', 'плагин-🔥', NOT_UTF8, 'a\0b\n'):
        assert raw_text(encoded(value)) == value
        assert text({'b64': encoded(value)}) == value


def test_strings_that_are_none() -> None:
    for value in (None, 5, [], {}, {'b64': None}, {'b64': 'é'}):
        assert text(value) == ''
    for value in ('é', '=', 'a', None):
        assert raw_text(value) == ''
    assert text('half \ud800') == 'half \\ud800'


def test_values_of_the_right_kind() -> None:
    said = parsed(json.dumps({
        'flag': True, 'number': 1.5, 'whole': 3, 'text': 'x', 'raw': encoded(NOT_UTF8), 'texts': ['a', {'b64': 'Yg=='}],
        'raws': ['YQ=='], 'named': {'a': 'b'}, 'part': {'whole': 1}, 'parts': [{'whole': 1}], 'plain': [{'x': [1]}],
        'kind': 'must-use', 'null': None,
    }))
    assert (said.flag('flag'), said.number('number'), said.whole('whole')) == (True, 1.5, 3)
    assert (said.text('text'), said.raw('raw')) == ('x', NOT_UTF8)
    assert (said.texts('texts'), said.raws('raws'), said.named('named')) == (('a', 'b'), ('a',), {'a': 'b'})
    assert (said.part('part').whole('whole'), said.parts('parts')[0].whole('whole')) == (1, 1)
    assert (said.plain('plain'), said.choice('kind', Kind)) == ([{'x': [1]}], Kind.MUST_USE)
    assert (said.has('flag'), said.has('null'), said.has('missing')) == (True, False, False)


@pytest.mark.parametrize('reader', READERS)
@pytest.mark.parametrize('value', ['null', '"x"', '1', 'true', '[1]', '[[]]', '{"a": 1}', 'NaN', '1e999', '[null]'])
def test_another_kind_is_an_error_or_a_value(reader: str, value: str) -> None:
    said = parsed(f'{{"key": {value}}}')
    for key in ('key', 'missing'):
        with suppress(SiteError):
            assert getattr(said, reader)(key) is not None


@pytest.mark.parametrize(('reader', 'value'), [
    ('flag', '1'), ('flag', '"true"'), ('number', 'true'), ('number', 'NaN'), ('number', '1e999'), ('whole', '-1e300'),
    ('text', '5'), ('raw', '{"b64": "YQ=="}'), ('texts', '"abc"'), ('raws', '[5]'), ('named', '[]'),
    ('named', '{"a": 5}'), ('part', '[]'), ('parts', '{}'), ('parts', '[[]]'), ('plain', '[5]'), ('plain', 'null'),
])
def test_what_is_refused(reader: str, value: str) -> None:
    with pytest.raises(SiteError, match='wrong shape'):
        getattr(parsed(f'{{"key": {value}}}'), reader)('key')


def test_limits_and_choices() -> None:
    said = Said({'pid': -1, 'kind': 'demon'})
    with pytest.raises(SiteError, match='out of range'):
        said.whole('pid', least=1)
    with pytest.raises(SiteError, match='no Kind'):
        said.choice('kind', Kind)


@pytest.mark.parametrize('payload', ['', 'x', '[1]', '5', 'null', '{"a": ', '[' * 200_000, '9' * 5000, '{} {}'])
def test_payloads_that_are_no_object(payload: str) -> None:
    with pytest.raises(SiteError, match='the agent on the host sent an answer'):
        parsed(payload)


@pytest.mark.parametrize(('code', 'message', 'kind', 'exit_code'), [
    ('busy', '{"by": "me@here", "started": 0, "mode": "live"}', SiteBusy, 4),
    ('unfinished', '{"by": "me@here", "started": 0, "mode": ""}', Unfinished, 5),
    ('busy', 'garbage', SiteError, 4),
    ('busy', '{"by": 1, "started": 1e15, "mode": "live"}', SiteError, 4),
    ('read-only', 'no place', ModeUnavailable, 4),
    ('no-user', 'nobody', UsageError, 2),
    ('foreign', 'somebody else', NotRestored, 5),
    ('protocol', 'speaks 9', SiteError, 4),
    ('', 'x', SiteError, 4),
    ('no-such-code', 'x', SiteError, 4),
])
def test_refusals(code: str, message: str, kind: type[WpauditError], exit_code: int) -> None:
    with suppress(SiteError):  # making sense of a busy site may fail as well
        error = refusal(code, message)
        assert isinstance(error, kind)
        assert error.exit_code == exit_code
        assert error.message


def test_a_busy_site_says_by_whom_and_since_when() -> None:
    error = refusal('busy', '{"by": "me@here", "started": 0, "mode": "live"}')
    assert 'me@here, started 1970-01-01 00:00:00 UTC, live mode' in error.message


def test_how_a_site_was_left() -> None:
    done = {'verified': True, 'before': 'd', 'after': 'd', 'left': [], 'foreign': [], 'seconds': -0.5}
    assert restoration(Said(done)).changed_seconds == 0
    foreign = [{'name': 'active_plugins', 'before': base64.b64encode(b'a:0:{}').decode(), 'found': ''}]
    left = restoration(Said({**done, 'verified': False, 'foreign': foreign, 'left': ['/x']}))
    assert (left.verified, left.left_behind) == (False, ('/x',))
    assert 'a:0:{}' in left.advice
    with pytest.raises(CannotStart):
        restoration(Said({'verified': 'yes'}))


@given(st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(['key', 'b64']), inner, max_size=2),
    max_leaves=6,
))
@settings(max_examples=200, deadline=None)
def test_nothing_but_site_errors(value: object) -> None:
    for reader in READERS:
        with suppress(SiteError):
            getattr(Said(value), reader)('key')
