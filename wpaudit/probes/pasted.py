"""Read ``--request FILE``: a raw HTTP request, or a ``curl`` command line as browsers' developer tools copy it.

Some failures need more than a URL: a form, an upload, the headers of one browser. What is read here becomes one
``Request`` that every probe sends alike. Fields that belong to the connection are left to ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from wpaudit.domain import Request
from wpaudit.errors import UsageError
from wpaudit.probes.curl import curl_request
from wpaudit.probes.parsing import checked_header
from wpaudit.probes.parsing import parse_cookie
from wpaudit.probes.parsing import probe_url

MOST_BYTES = 8 << 20

_START = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) (\S+)(?: HTTP/[0-9.]+)?[ \t]*")
# Of the connection, not of the request (RFC 9110, section 7.6.1), or decided by what we can read.
_OURS = frozenset({
    'host', 'content-length', 'connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'upgrade', 'expect',
    'accept-encoding', 'http2-settings',
})

Reader = Callable[[str], bytes]  # the bytes of a file that the request names; raises UsageError


def request_file(path: Path, base_url: str) -> Request:
    """Return the request stored in ``path``; files that it names are looked for beside it. Raises UsageError."""
    return pasted(_file(path), base_url, lambda name: _file(path.parent / name))


def _file(path: Path) -> bytes:
    try:
        with path.open('rb') as file:
            return file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f'{path} cannot be read: {reason}') from error


def pasted(data: bytes, base_url: str, read: Reader) -> Request:
    """Return the request that ``data`` describes, on the site ``base_url``. Raises UsageError with what is wrong."""
    if len(data) > MOST_BYTES:
        raise UsageError(f'the request is longer than {MOST_BYTES >> 20} MiB')
    text = data.lstrip(b'\xef\xbb\xbf \t\r\n')
    if re.match(rb'(?:\$ )?curl[ \t^\\]', text):
        return _ours(curl_request(text.decode('utf-8', 'surrogateescape'), read), base_url)
    return _ours(_raw(text), base_url)


def _raw(data: bytes) -> Request:
    """Read a request as it goes over the wire (RFC 9112), with either kind of line end."""
    head, gap, body = data, b'', b''
    found = re.search(rb'\r?\n\r?\n', data)
    if found:
        head, gap, body = data[:found.start()], found[0], data[found.end():]
    lines = head.splitlines()
    start = _START.fullmatch(lines[0]) if lines else None
    if start is None:
        raise UsageError(
            'the file is neither a raw HTTP request (GET /path HTTP/1.1, then its headers) nor a curl command line',
            hint="in a browser's developer tools: Network, the request, Copy as cURL (bash)",
        )
    headers = [_field(line) for line in lines[1:] if not line.startswith(b':')]  # :authority and such are HTTP/2's
    if any(name.lower() == 'transfer-encoding' for name, _ in headers):
        raise UsageError('the request is sent in chunks', hint='store it with its plain body and no Transfer-Encoding')
    target = start[2].decode('utf-8', 'surrogateescape')
    host = next((value for name, value in headers if name.lower() == 'host'), '')
    if not gap:
        body = b''
    length = next((int(value) for name, value in headers if name.lower() == 'content-length' and value.isdigit()), None)
    url = target if '://' in target or not host else f'//{host}{target}'
    return Request(url, start[1].decode().upper(), tuple(headers), body=_body(body, length))


def _body(body: bytes, length: int | None) -> bytes:
    """Return the body without the line end that an editor adds after it."""
    if length is not None and len(body) > length and not body[length:].strip(b'\r\n'):
        return body[:length]
    return body if length is not None else body.rstrip(b'\r\n')


def _field(line: bytes) -> tuple[str, str]:
    name, colon, value = line.decode('utf-8', 'surrogateescape').partition(':')
    if not colon:
        raise UsageError(f'{line[:100]!r} is not a header of the form "Name: value"')
    return name.strip(), value.strip()


def _ours(request: Request, base_url: str) -> Request:
    """Return the request as every probe sends it: on the site, with fields that may be sent."""
    headers: list[tuple[str, str]] = []
    cookies: list[tuple[str, str]] = list(request.cookies)
    for name, value in request.headers:
        if name.lower() == 'cookie':
            read = _cookies(value)
            if read is None:
                headers.append(checked_header(name, value))
            else:
                cookies += read
        elif name.lower() not in _OURS:
            headers.append(checked_header(name, value))
    return Request(_url(request.url, base_url), request.method, tuple(headers), tuple(cookies), request.body)


def _url(url: str, base_url: str) -> str:
    if url.startswith('//'):  # the Host field and the target; the scheme is the site's
        url = f'{urlsplit(base_url).scheme}:{url}'
    if '://' not in url:
        # A target is relative to the host, not to the site: it was copied from the wire.
        base = urlsplit(base_url)
        url = f'{base.scheme}://{base.netloc}{url if url.startswith("/") else "/" + url}'
    return probe_url(base_url, url)


def _cookies(value: str) -> list[tuple[str, str]] | None:
    """Return the pairs of a Cookie field; None when it holds what no cookie may, and is then sent as it stands."""
    try:
        return [parse_cookie(part.strip()) for part in value.split(';') if part.strip()]
    except UsageError:
        return None
