"""Looks at a site over the network: from this machine, from another one through a tunnel, or through a proxy."""

from __future__ import annotations

import ipaddress
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from urllib3.exceptions import HTTPError
from urllib3.util import Url
from urllib3.util import parse_url

from wpaudit.domain import Answer
from wpaudit.domain import Request
from wpaudit.errors import UsageError
from wpaudit.facts import Handshake
from wpaudit.facts import Look
from wpaudit.facts import Purpose
from wpaudit.facts import Resolution
from wpaudit.probes import http2
from wpaudit.probes.connection import Deadline
from wpaudit.probes.handshake import ALPN
from wpaudit.probes.handshake import direct
from wpaudit.probes.handshake import handshake
from wpaudit.probes.http import HttpFetcher
from wpaudit.probes.http import asked
from wpaudit.probes.http import tls_context
from wpaudit.probes.http import with_host
from wpaudit.probes.names import Found
from wpaudit.probes.wire import Exchange
from wpaudit.probes.wire import NoAnswer
from wpaudit.probes.wire import Route
from wpaudit.probes.wire import addresses_of
from wpaudit.probes.wire import bare

RESOLVE_SECONDS = 10.0
CONNECT_SECONDS = 4.0  # a lost first packet is sent again after one second, and after three
_KEPT = 1 << 20  # bytes of a body; triage keeps some dozens of them


class NetworkOutside:
    """``ports.Outside`` over real connections.

    ``resolve`` pins names to addresses, for the looks from here and from elsewhere; a proxy resolves as it likes.
    ``verify`` is as for HttpFetcher; ``connect_seconds`` is for a handshake. Where ``route`` leads through another
    host that cannot be used, ``connect`` and ``look`` raise the ShellError that its ``dial`` raises.
    """

    def __init__(
        self, *, vantage: str = 'here', resolve: Mapping[str, Found] = {}, verify: bool | Path = True,
        route: Route = Route(), connect_seconds: float = CONNECT_SECONDS,
    ) -> None:
        self.vantage = vantage
        self._verify = verify
        self._route = route
        self._connect_seconds = connect_seconds
        self._fetcher = HttpFetcher(resolve=resolve, verify=verify, max_body=_KEPT, route=route)
        self._offering: ssl.SSLContext | None = None
        self._lock = threading.Lock()

    def resolve(self, name: str) -> Resolution:
        """Ask what ``name`` means, IPv4 and IPv6; elsewhere nobody can be asked, and ``error`` says so."""
        if self._route != Route():
            return Resolution(name, self.vantage, error='the name is resolved over there')
        began = time.monotonic()
        try:
            found, error = addresses_of(self._fetcher.names, bare(name), Deadline(RESOLVE_SECONDS)), ''
        except NoAnswer as failure:
            found, error = (), failure.detail
        ipv6 = tuple(address for address in found if ipaddress.ip_address(address).version == 6)  # noqa: PLR2004
        ipv4 = tuple(address for address in found if address not in ipv6)
        return Resolution(name, self.vantage, ipv4, ipv6, error, time.monotonic() - began)

    def connect(self, address: str, port: int, *, tls_name: str = '') -> Handshake:
        """Open a TCP connection, and TLS on it when ``tls_name`` is given; close it."""
        return handshake(
            address, port, vantage=self.vantage, context=self._offer() if tls_name else None, tls_name=bare(tls_name),
            seconds=self._connect_seconds, dial=self._route.dial or direct,
        )

    def look(self, purpose: Purpose, request: Request, *, address: str = '', marker: str = '', timeout: float) -> Look:
        """Send ``request``, to ``address`` instead of what the name means if given. Thread-safe."""
        at, began = time.time(), time.monotonic()
        if purpose is Purpose.HTTP2:
            done = self._over_http2(request, address, timeout)
            done = replace(done, answer=replace(done.answer, seconds=time.monotonic() - began))
        else:
            done = self._fetcher.visit(request, timeout=timeout, address=address)
        return Look(purpose, done.answer, at, self.vantage, done.address, marker, done.version)

    def close(self) -> None:
        """Drop what is open. Idempotent."""
        self._fetcher.close()

    def _over_http2(self, request: Request, address: str, timeout: float) -> Exchange:
        url, fields = asked(request)
        deadline = Deadline(timeout)
        try:
            if url.scheme != 'https' or self._route != Route():
                raise NoAnswer('protocol', 'HTTP/2 is only spoken over TLS, and only from here')
            end = address or addresses_of(self._fetcher.names, bare(str(url.host)), deadline)[0]
            return http2.exchange(
                url, with_host(fields, url), end, context=self._offer(), deadline=deadline, max_body=_KEPT)
        except NoAnswer as failure:
            return Exchange(Answer(request.url, error=failure.kind, detail=failure.detail), failure.address)

    def _offer(self) -> ssl.SSLContext:
        """Return a context that offers HTTP/2: one of its own, since urllib3 tells others what to offer."""
        with self._lock:
            if self._offering is None:
                self._offering = tls_context(self._verify)
                self._offering.set_alpn_protocols(ALPN)
            return self._offering


def parse_proxy(text: str) -> Url:
    """Read the URL of an HTTP proxy, ``http://[user:password@]host[:port]``. Raises UsageError."""
    try:
        url = parse_url(text if '://' in text else f'http://{text}')
    except HTTPError:
        url = Url()
    if url.scheme != 'http' or not url.host or url.path not in {None, '/'} or url.query:
        raise UsageError(
            'that is not the URL of an HTTP proxy',
            hint='Write it as http://host:port; SOCKS proxies are not spoken to.',
        )
    return url


def proxy_label(proxy: Url) -> str:
    """Name a proxy without the login in it."""
    return f'proxy {proxy._replace(auth=None, path=None).url}'
