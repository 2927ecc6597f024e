"""The Fetcher that asks real sites."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urljoin

import certifi
from urllib3 import HTTPHeaderDict
from urllib3.exceptions import HTTPError
from urllib3.util import Url
from urllib3.util import parse_url

from wpaudit import __version__
from wpaudit.domain import Answer
from wpaudit.domain import Request
from wpaudit.errors import UsageError
from wpaudit.ports import Fetcher
from wpaudit.probes.connection import Deadline
from wpaudit.probes.names import Found
from wpaudit.probes.names import Names
from wpaudit.probes.parsing import checked_cookie
from wpaudit.probes.parsing import checked_header
from wpaudit.probes.wire import Exchange
from wpaudit.probes.wire import NoAnswer
from wpaudit.probes.wire import Route
from wpaudit.probes.wire import Wire
from wpaudit.probes.wire import bare

_PORTS = {'http': 80, 'https': 443}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_DEFAULTS = (
    ('User-Agent', f'wpaudit/{__version__}'),
    ('Accept', 'text/html,application/xhtml+xml,*/*;q=0.8'),
    # gzip as browsers do: compression by a plugin is one of the things that break. Not br: one decoder, bounded
    # by the standard library, is enough.
    ('Accept-Encoding', 'gzip'),
    ('Connection', 'close'),
)


class HttpFetcher(Fetcher):
    """Asks over HTTP/1.1, each time on a new connection, without memory of earlier requests.

    No cookies are kept, nothing is retried, and neither ``~/.netrc`` nor the environment's proxies are read: the
    same request must mean the same thing in every probe. ``resolve`` pins host names to an address or several, as
    curl's ``--resolve`` does; TLS still asks for and verifies the name. ``verify`` is False for no verification, or
    the path of the certificates to trust instead of the system's and certifi's.
    """

    def __init__(
        self, *, resolve: Mapping[str, str | Found] = {}, verify: bool | Path = True,
        max_body: int = 2 * 1024 * 1024, max_redirects: int = 5, route: Route = Route(),
    ) -> None:
        self._verify = verify
        self._context: ssl.SSLContext | None = tls_context(verify) if isinstance(verify, Path) else None
        self._lock = threading.Lock()
        self._max_redirects = max_redirects
        pinned = {_host(host): (found,) if isinstance(found, str) else found for host, found in resolve.items()}
        self.names = Names(pinned)
        self._wire = Wire(self.names, self.context, max_body, route)

    def fetch(self, request: Request, *, timeout: float) -> Answer:
        """Fetch ``request`` and the redirects it leads to on the same origin, all within ``timeout`` seconds.

        Raises UsageError for a request that cannot be sent as given (no URL, CR or LF in a header).
        """
        return self.visit(request, timeout=timeout).answer

    def visit(self, request: Request, *, timeout: float, address: str = '') -> Exchange:
        """As ``fetch``, but tell the address and the HTTP version too; ``address`` replaces what the name means."""
        url, headers = asked(request)
        wire = replace(self._wire, names=self.names.only(bare(str(url.host)), address)) if address else self._wire
        if request.via:
            wire = replace(wire, via=dict(map(_place, request.via)), context=_unverified)
            if url.scheme not in wire.via:
                raise UsageError(f'there is no way to ask for {request.url!r}: only for {", ".join(wire.via)}')
        started, deadline = time.monotonic(), Deadline(timeout)
        try:
            done = self._followed(wire, url, request, headers, deadline)
        except NoAnswer as failure:
            done = Exchange(Answer(request.url, error=failure.kind, detail=failure.detail), failure.address)
        return replace(done, answer=replace(done.answer, seconds=time.monotonic() - started))

    def close(self) -> None:
        """Do nothing: no connection outlives its request."""

    def _followed(
        self, wire: Wire, url: Url, request: Request, headers: HTTPHeaderDict, deadline: Deadline,
    ) -> Exchange:
        method, body = request.method, request.body
        visited = set()
        for _ in range(self._max_redirects + 1):
            visited.add(url.url)
            done = wire.exchange(url, method, with_host(headers, url), deadline, body)
            answer = done.answer
            if answer.status not in _REDIRECTS or answer.error or not answer.headers.get('location'):
                return done
            following, refusal = _redirected(url, answer.headers['location'])
            if following is None:
                return replace(done, answer=replace(answer, detail=refusal))
            if wire.via and following.scheme not in wire.via:
                return replace(done, answer=replace(answer, detail=f'redirects to {following.scheme}; not followed'))
            if following.url in visited:  # nothing is remembered between requests, so it would go on like this
                return _circling(done, f'redirects in a circle to {following.url}')
            url = following
            if _asks_to_get(answer.status, method):
                method, body = 'GET', b''
                headers.discard('Content-Type')
        return _circling(done, f'more than {self._max_redirects} redirects')

    def context(self) -> ssl.SSLContext:
        """Return what TLS connections are made with; raises UsageError."""
        # Made once and late: reading the trusted certificates takes longer than a probe of a fast site.
        with self._lock:
            if self._context is None:
                self._context = tls_context(self._verify)
            return self._context


def asked(request: Request) -> tuple[Url, HTTPHeaderDict]:
    """Return the URL and the fields of a request; raises UsageError for one that cannot be sent as given."""
    try:
        url = parse_url(request.url)
    except HTTPError:
        url = Url()
    if url.scheme not in {'http', 'https'} or not url.host or url.auth:
        raise UsageError(f'{request.url!r} is not a URL that can be asked for')
    return url._replace(path=url.path or '/', fragment=None), _fields(request)


def _place(via: tuple[str, str]) -> tuple[str, tuple[str, int]]:
    scheme, place = via
    address, _, port = place.rpartition(':')
    return scheme, (bare(address), int(port))


def _unverified() -> ssl.SSLContext:
    return tls_context(False)


def _asks_to_get(status: int, method: str) -> bool:
    """Whether a redirect is followed with GET: 303, and 301 and 302 of a POST, as browsers do (RFC 9110, 15.4)."""
    if status == HTTPStatus.SEE_OTHER:
        return method != 'HEAD'
    return method == 'POST' and status in {HTTPStatus.MOVED_PERMANENTLY, HTTPStatus.FOUND}


def _circling(done: Exchange, detail: str) -> Exchange:
    return replace(done, answer=replace(done.answer, error='redirect-loop', detail=detail))


def _host(text: str) -> str:
    return str(parse_url(f'http://{text}/').host or text)


def _fields(request: Request) -> HTTPHeaderDict:
    given = [checked_header(name, value) for name, value in request.headers]
    if request.cookies:
        pairs = [checked_cookie(name, value) for name, value in request.cookies]
        given.append(('Cookie', '; '.join(f'{name}={value}' for name, value in pairs)))
    names = {name.lower() for name, _ in given}
    fields = HTTPHeaderDict()
    for name, value in [field for field in _DEFAULTS if field[0].lower() not in names] + given:
        # http.client sends text as ISO 8859-1; this makes it the bytes that were typed.
        fields.add(name, value.encode('utf-8', 'surrogateescape').decode('latin-1'))
    return fields


def with_host(fields: HTTPHeaderDict, url: Url) -> HTTPHeaderDict:
    """Return the fields with Host before them, unless they have one."""
    # Without the default port, as browsers do: WordPress builds links from this header.
    usual = url.port in {None, _PORTS[str(url.scheme)]}
    sent = HTTPHeaderDict({'Host': str(url.host) if usual else f'{url.host}:{url.port}'})
    if 'Host' in fields:
        sent.discard('Host')
    sent.extend(fields)
    return sent


def _redirected(url: Url, location: str) -> tuple[Url | None, str]:
    """Return where to go on, or None and why not.

    Only the same origin (RFC 6454), or from http to https of the same host: the request carries secrets.
    """
    try:
        following = parse_url(urljoin(url.url, location))._replace(fragment=None)
    except (HTTPError, ValueError):
        return None, 'redirects to something that is not a URL'
    if following.scheme not in {'http', 'https'} or following.host is None:
        return None, f'redirects to {location[:200]}, which is not a page'
    if following.host != url.host:
        return None, f'redirects to another host, {following.host}; not followed'
    before, after = url.port or _PORTS[str(url.scheme)], following.port or _PORTS[following.scheme]
    upgraded = url.scheme == 'http' and following.scheme == 'https' and after in {before, _PORTS['https']}
    if upgraded or (following.scheme == url.scheme and after == before):
        return following._replace(path=following.path or '/', auth=None), ''
    return None, f'redirects to {following.scheme} on port {after}; not followed'


def tls_context(verify: bool | Path) -> ssl.SSLContext:
    """Return a client's context: False verifies nothing, a path holds the certificates to trust. Raises UsageError."""
    if isinstance(verify, Path):
        try:
            folder = verify.is_dir()
            return ssl.create_default_context(
                cafile=None if folder else str(verify), capath=str(verify) if folder else None)
        except OSError as error:  # ssl.SSLError is one
            raise UsageError(f'the certificates in {verify} cannot be read: {error.strerror or error}') from error
    context = ssl.create_default_context()
    if verify:
        context.load_verify_locations(certifi.where())
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
