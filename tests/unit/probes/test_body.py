"""Bodies are kept bounded and decoded."""

from __future__ import annotations

import gzip

from hypothesis import given
from hypothesis import strategies as st

from wpaudit.probes.body import Body


def collected(data: bytes, *, limit: int = 1000, coding: str = '', step: int = 7) -> Body:
    body = Body(limit=limit, coding=coding)
    for start in range(0, len(data), step):
        body.add(data[start:start + step])
    return body


@given(st.binary(max_size=300), st.integers(1, 50), st.integers(1, 300), st.booleans())
def test_what_is_kept_is_the_beginning(data: bytes, step: int, limit: int, zipped: bool) -> None:
    sent = gzip.compress(data) if zipped else data
    body = collected(sent, limit=limit, coding='gzip' if zipped else '', step=step)
    assert body.text('text/html').encode('utf-8', 'surrogateescape') == data[:limit]
    assert (body.size, body.cut, body.problem) == (len(sent), len(data) > limit, '')
    assert not body.gzip_unfinished()


@given(st.binary(max_size=200), st.integers(1, 20))
def test_anything_may_claim_to_be_gzip(data: bytes, step: int) -> None:
    body = collected(data, limit=100, coding='gzip', step=step)
    assert len(body.text('').encode('utf-8', 'surrogateescape')) <= 100


def test_a_gzip_stream_without_its_end() -> None:
    assert collected(gzip.compress(b'x' * 500)[:-9], coding='gzip').gzip_unfinished()
    assert not collected(b'', coding='gzip').gzip_unfinished()
    assert not collected(gzip.compress(b'x' * 5000)[:-9], limit=10, coding='gzip').gzip_unfinished()
