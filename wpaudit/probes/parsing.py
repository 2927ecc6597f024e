"""Turn what a person typed (``--probe``, ``--header``, ``--cookie``, ``--resolve``) into values.

Pure: every refusal is a UsageError whose message says what is wrong with the text.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult
from urllib.parse import quote
from urllib.parse import urlsplit

from wpaudit.errors import UsageError

# RFC 9110, section 5.6.2: the characters of a token, which names of fields and cookies are made of.
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = re.compile(r'[\x00-\x1f\x7f]')
_HOST = re.compile(r'[^\s/?#@\[\]\\:%]+')
_DEFAULT_PORTS = {'http': 80, 'https': 443}
# Said by us, of the body that is sent: another length or coding would leave the server waiting for it.
_FRAMING = frozenset({'content-length', 'transfer-encoding'})


def checked_header(name: str, value: str) -> tuple[str, str]:
    """Return the field as it may be sent, or raise UsageError.

    CR, LF and NUL would let a value add fields or a second request of its own (RFC 9110, section 5.5).
    """
    if not _TOKEN.fullmatch(name):
        raise UsageError(f'{name!r} is not a name an HTTP header can have')
    value = value.strip(' \t')
    if _CONTROL.search(value.replace('\t', ' ')):
        raise UsageError(f'the value of the header {name} has a control character in it')
    if name.lower() in _FRAMING:
        raise UsageError(f'the header {name} cannot be set: it follows from what is sent')
    return name, value


def checked_cookie(name: str, value: str) -> tuple[str, str]:
    """Return the cookie as it may be sent, or raise UsageError (RFC 6265, section 4.2.1)."""
    if not _TOKEN.fullmatch(name):
        raise UsageError(f'{name!r} is not a name a cookie can have')
    value = value.strip(' \t')
    if ';' in value or _CONTROL.search(value):
        raise UsageError(f'the value of the cookie {name} has a semicolon or a control character in it')
    return name, value


def parse_header(text: str) -> tuple[str, str]:
    """Read ``Name: value``."""
    name, colon, value = text.partition(':')
    if not colon:
        raise UsageError('a header is written "Name: value"; there is no colon in this one')
    return checked_header(name.strip(' \t'), value)


def parse_cookie(text: str) -> tuple[str, str]:
    """Read ``name=value``; the value may have more equals signs."""
    name, equals, value = text.partition('=')
    if not equals:
        raise UsageError('a cookie is written "name=value"; there is no equals sign in this one')
    return checked_cookie(name.strip(' \t'), value)


def parse_resolve(text: str) -> tuple[str, str]:
    """Read ``HOST:ADDRESS``; an IPv6 address may stand in brackets."""
    host, _, address = text.partition(':')
    if not _HOST.fullmatch(host):
        raise UsageError(f'{text!r} is not HOST:ADDRESS')
    try:
        found = ipaddress.ip_address(address.removeprefix('[').removesuffix(']'))
    except ValueError:
        hint = 'Leave the port out; the address applies to every port.' if address.count(':') else ''
        raise UsageError(f'{address!r} is not an IP address', hint=hint) from None
    return host.lower(), str(found)


def probe_url(base_url: str, text: str) -> str:
    """Return the absolute URL that ``text`` means on the site ``base_url``.

    A path is relative to the site, not to its host: ``/`` of ``https://example.org/blog`` is that blog's
    home page. A path that already starts with the site's own is taken as copied from the address bar. A full URL
    must be on the site's host and not fall back from https to http: probes carry the run's secret.
    """
    _refuse_hostile(text)
    base = site_url(base_url)
    if text.startswith(('http://', 'https://')):
        return _same_host(base, _split(text)).geturl()
    if text.startswith('//') or not text.startswith(('/', '?')):
        raise UsageError(f'the probe {text!r} is neither a path (/shop/) nor a full URL (https://...)')
    path, mark, query = text.partition('#')[0].partition('?')
    folder = base.path.rstrip('/')
    if not (folder and (path == folder or path.startswith(folder + '/'))):
        path = folder + (path or '/')
    return base._replace(path=_quoted(path), query=_quoted(query)).geturl() + ('?' if mark and not query else '')


def site_url(text: str) -> SplitResult:
    """Check the URL of a site: http or https, a host, nothing that hides another one."""
    _refuse_hostile(text)
    return _split(text)._replace(query='')


def _split(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise UsageError(f'{text!r} is not a URL: {error}') from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or port == 0:
        raise UsageError(f'{text!r} is not a URL of the form https://host/path')
    if '@' in parts.netloc:
        raise UsageError(
            'the URL has a login in it',
            hint="Send it as a header: --header 'Authorization: Basic ...'.",
        )
    netloc = parts.netloc.lower()
    return parts._replace(netloc=netloc, path=_quoted(parts.path or '/'), query=_quoted(parts.query), fragment='')


def _same_host(base: SplitResult, given: SplitResult) -> SplitResult:
    if given.hostname != base.hostname:
        raise UsageError(f'the probe is on the host {given.hostname!r}, the site on {base.hostname!r}')
    if base.scheme == 'https' and given.scheme == 'http':
        raise UsageError("the probe is http but the site is https; the run's secret would be sent in the clear")
    ports = {base.port or _DEFAULT_PORTS[base.scheme], given.port or _DEFAULT_PORTS[given.scheme]}
    if len(ports) > 1 and ports != set(_DEFAULT_PORTS.values()):
        raise UsageError('the probe is on another port than the site')
    return given


def _refuse_hostile(text: str) -> None:
    # urlsplit drops tabs and newlines silently and keeps backslashes, which browsers read as slashes:
    # what is checked would then not be what is asked for.
    if not text.strip() or re.search(r'[\x00-\x20\x7f\\]', text):
        raise UsageError(f'{text!r} has blanks, backslashes or control characters in it; a URL cannot')


def _quoted(text: str) -> str:
    try:
        return quote(text, safe="%/:=&?~#+!$,;'@()*[]|", errors='surrogateescape')
    except UnicodeEncodeError as error:
        raise UsageError(f'{text!r} holds half a character; a URL cannot') from error
