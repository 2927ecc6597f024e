"""Turn the bytes that the host's own requests brought back into ``domain.Answer``. Pure.

HTTP/1.1 framing is RFC 9112, section 6; what a FastCGI responder writes is a CGI response (RFC 3875, section 6).
"""

from __future__ import annotations

import re
import zlib
from contextlib import suppress
from dataclasses import dataclass

from wpaudit.domain import Answer

BODY_BYTES = 1 << 18
_HEAD = re.compile(rb'\r?\n\r?\n')
_STATUS = re.compile(rb'HTTP/(\d(?:\.\d)?) (\d{3})(?: |\r?\n|$)')
_GZIP = 47  # zlib's window bits for gzip or zlib, whichever it is (zlib.h, inflateInit2)


@dataclass(frozen=True)
class Raw:
    """What came back: the first bytes, how many there were in all, the last ones, and why no more came."""

    data: bytes
    size: int
    tail: bytes = b''
    error: str = ''
    detail: str = ''
    seconds: float = 0.0


def from_http(url: str, raw: Raw) -> tuple[Answer, str]:
    """Return the answer and the HTTP version of its status line."""
    head, start, _ = _split(raw.data)
    while True:  # interim answers (RFC 9110, section 15.2)
        status = _STATUS.match(head)
        if not (status and status[2].startswith(b'1') and status[2] != b'101'):
            break
        raw = Raw(raw.data[start:], raw.size - start, raw.tail, raw.error, raw.detail, raw.seconds)
        head, start, _ = _split(raw.data)
    if status is None:
        return _none(url, raw, 'no HTTP answer'), ''
    headers = _headers(head.partition(b'\n')[2])
    body, truncated = _framed(raw, start, int(status[2]), headers)
    answer = Answer(
        url, int(status[2]), headers, _text(body, headers), raw.size - start, truncated,
        detail=raw.detail, seconds=raw.seconds,
    )
    return answer, status[1].decode()


def from_cgi(url: str, raw: Raw, *, ended: bool) -> Answer:
    """Return what a CGI response says; ``ended`` tells whether the responder said that it was done."""
    head, start, found = _split(raw.data)
    headers = _headers(head) if found else {}
    if not found or not headers:
        return _none(url, raw, 'the worker closed the connection before any header')
    status = re.match(r'(\d{3})\b', headers.pop('status', '200'))
    if status is None:
        return _none(url, Raw(raw.data, raw.size, error='protocol', seconds=raw.seconds), 'sent an invalid status')
    return Answer(
        url, int(status[1]), headers, _text(raw.data[start:], headers), raw.size - start, not ended, detail=raw.detail,
        seconds=raw.seconds,
    )


def _none(url: str, raw: Raw, sentence: str) -> Answer:
    error = raw.error or ('protocol' if raw.data else 'reset')
    if error == 'timeout':
        sentence = f'no complete answer within {raw.seconds:.0f} s'
    return Answer(url, error=error, detail=raw.detail or sentence, size=raw.size, seconds=raw.seconds)


def _split(data: bytes) -> tuple[bytes, int, bool]:
    """Return (head, where the body starts, whether the head is whole)."""
    found = _HEAD.search(data)
    return (data[:found.start()], found.end(), True) if found else (data, len(data), False)


def _headers(lines: bytes) -> dict[str, str]:
    """Return fields by lower-case name; repeated ones joined as RFC 9110, section 5.2 has it."""
    headers: dict[str, str] = {}
    for line in re.split(rb'\r?\n', lines):
        name, colon, value = line.partition(b':')
        if colon and name.strip():
            key = name.strip().decode('latin-1').lower()
            text = value.strip().decode('utf-8', 'surrogateescape')
            headers[key] = f'{headers[key]}, {text}' if key in headers else text
    return headers


def _framed(raw: Raw, start: int, status: int, headers: dict[str, str]) -> tuple[bytes, bool]:
    """Return the body without its framing, and whether it ended before its framing said it would."""
    body, size = raw.data[start:], raw.size - start
    if status in {204, 304} or raw.error == 'too-large':
        return b'' if status in {204, 304} else body, False
    if 'chunked' in headers.get('transfer-encoding', '').lower():
        return _unchunked(body), not raw.tail.endswith(b'0\r\n\r\n')
    length = headers.get('content-length', '')
    if re.fullmatch(r'\d{1,15}', length):
        return body[:int(length)], size < int(length)
    return body, raw.error == 'timeout'


def _unchunked(data: bytes) -> bytes:
    """Return as much of a chunked body as there is (RFC 9112, section 7.1)."""
    whole = bytearray()
    at = 0
    while True:
        end = data.find(b'\r\n', at, at + 200)
        found = re.match(rb'([0-9A-Fa-f]{1,8})', data[at:end]) if end >= 0 else None
        if not found or not int(found[1], 16):
            return bytes(whole)
        length = int(found[1], 16)
        whole += data[end + 2:end + 2 + length]
        at = end + 2 + length + 2


def _text(body: bytes, headers: dict[str, str]) -> str:
    if headers.get('content-encoding', '').strip().lower() in {'gzip', 'x-gzip', 'deflate'}:
        with suppress(zlib.error):  # what is no gzip is kept as it came
            body = zlib.decompressobj(_GZIP).decompress(body, BODY_BYTES)
    return body[:BODY_BYTES].decode('utf-8', 'surrogateescape')
