"""One plain request over a way that is known, for its status: does the shadow show the failure?"""

from __future__ import annotations

import http.client
import socket
import ssl
from contextlib import closing
from urllib.parse import urlsplit

from wpaudit.domain import Request

SECONDS = 30.0
_SAFE = frozenset({'GET', 'HEAD'})


def repeatable(request: Request) -> bool:
    """Tell whether a request may be sent once more without harm (RFC 9110, section 9.2.1)."""
    return request.method in _SAFE


def status(request: Request) -> int:
    """Return the status of the answer to a request that has a way (``via``), 0 where there is none."""
    url = urlsplit(request.url)
    place = dict(request.via).get(url.scheme)
    if place is None:
        return 0
    address, _, port = place.rpartition(':')
    target = (url.path or '/') + (f'?{url.query}' if url.query else '')
    cookies = '; '.join(f'{name}={value}' for name, value in request.cookies)
    fields = [('Host', url.netloc.rpartition('@')[2]), ('Connection', 'close'), *request.headers]
    fields += [('Cookie', cookies)] if cookies else []
    head = f'{request.method} {target} HTTP/1.1\r\n' + ''.join(f'{name}: {value}\r\n' for name, value in fields)
    try:
        with closing(_connected(address, int(port), url.hostname or '', tls=url.scheme == 'https')) as sock:
            sock.sendall(f'{head}\r\n'.encode('utf-8', 'surrogateescape'))
            answer = http.client.HTTPResponse(sock, method=request.method)
            answer.begin()
            return answer.status
    except (OSError, http.client.HTTPException):
        return 0


def _connected(address: str, port: int, host: str, *, tls: bool) -> socket.socket:
    sock = socket.create_connection((address, port), timeout=SECONDS)
    if not tls:
        return sock
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # the way there is our own
    try:
        return context.wrap_socket(sock, server_hostname=host)
    except BaseException:
        sock.close()
        raise
