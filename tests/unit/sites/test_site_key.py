"""What a probe is signed with, and which marks are believed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from wpaudit.domain import Mark
from wpaudit.sites.switching import Key
from wpaudit.sites.switching import parsed_mark

NAMES = tuple(f'p{number}/p.php' for number in range(11))
KEY = Key(b's' * 32, NAMES, clock=100.0)


def test_a_header_is_signed_by_the_clock_of_the_host() -> None:
    off = frozenset(NAMES[:1])
    header = KEY.header('abc', off, theme=False)
    fields, _, proof = header.rpartition(';')
    version, nonce, expires, mask = fields.split(';')[:4]
    assert (version, nonce, mask) == ('v1', 'abc', KEY.mask(off))
    assert 390 <= int(expires) - time.time() <= 400
    assert proof == hmac.new(b's' * 32, fields.encode(), hashlib.sha256).hexdigest()
    assert KEY.header('abc', off, theme=False, record=True, cron=True).split(';')[4] == 'rc'
    assert KEY.header('abc', off, theme=False, cron=True).split(';')[5] != header.split(';')[5]
    assert KEY.header('abc', off, theme=True).split(';')[4] != header.split(';')[4]


@given(st.sets(st.sampled_from(NAMES)))
@settings(max_examples=50, deadline=None)
def test_a_mask_has_one_bit_a_suspect(off: set[str]) -> None:
    mask = KEY.mask(frozenset(off))
    data = base64.urlsafe_b64decode(mask + '=' * (-len(mask) % 4))
    bits = ''.join(f'{byte:08b}' for byte in data)
    assert len(data) == 2
    assert [bit == '1' for bit in bits[:11]] == [name in off for name in NAMES]
    assert '=' not in mask


def test_a_mask_of_strangers_is_empty() -> None:
    assert KEY.mask(frozenset({'no/such.php'})) == KEY.mask(frozenset())
    assert Key(b'', (), 0).mask(frozenset()) == ''


def signed(seen: str, nonce: str = 'abc') -> str:
    return seen + ';' + hmac.new(b's' * 32, f'mark;{nonce};{seen}'.encode(), hashlib.sha256).hexdigest()[:32]


def test_a_genuine_mark_is_believed_for_its_own_request() -> None:
    assert KEY.proves('abc', signed('3')) == 3
    assert KEY.proves('abd', signed('3')) is None


@pytest.mark.parametrize('value', [
    '', ';', '3', '3;', '3;' + '0' * 32, signed('3')[:-1], signed('3') + '0', '4' + signed('3')[1:], '3;é', 'é;é',
    '3;\udcff', '\udcff;\udcff', '\u0663;' + '0' * 32, ';;;;', '3;' + 'f' * 100_000,
    signed('-1'), signed('3.0'), signed(''), signed('\u0663'), signed('9' * 5000), signed('0x3'), signed(' 3'),
])
def test_any_other_mark_is_none(value: str) -> None:
    assert KEY.proves('abc', value) is None


@pytest.mark.parametrize(('noted', 'mark'), [
    ('', Mark(seen=False)),
    ('started 2\n', Mark(seen=True, stage='started', off=2)),
    ('started 2\nloaded 2\n', Mark(seen=True, stage='loaded', off=2)),
    ('started 2\nloaded 2\nended 2\n', Mark(seen=True, stage='ended', off=2)),
    ('started 2\nended 2\n', Mark(seen=True, stage='left', off=2)),
    ('started 0\nloaded 2\n', Mark(seen=True, stage='loaded', off=2)),
    ('garbage\nstarted\nloaded x\n started  1 \n', Mark(seen=True, stage='started', off=1)),
    ('loaded -1\nloaded 1.5\nloaded \u0663\nloaded ' + '9' * 5000, Mark(seen=False)),
    ('\0\0\0', Mark(seen=False)),
])
def test_what_php_noted(noted: str, mark: Mark) -> None:
    assert parsed_mark(noted) == mark


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_anything_may_stand_in_a_mark(noted: str) -> None:
    assert parsed_mark(noted).off >= 0
    assert KEY.proves('abc', noted) is None
