"""Requests from the host: as HTTP to its web server, as FastCGI to php-fpm, and WordPress run by the agent's PHP."""

from __future__ import annotations

import base64
import json
import posixpath
import re
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from urllib.parse import SplitResult
from urllib.parse import urlsplit

from wpaudit.domain import Answer
from wpaudit.domain import Cost
from wpaudit.domain import Request
from wpaudit.errors import SiteError
from wpaudit.sites.answers import Raw
from wpaudit.sites.answers import from_cgi
from wpaudit.sites.answers import from_http
from wpaudit.sites.hostask import HostAsk
from wpaudit.sites.launch import php_text
from wpaudit.sites.readings import costs as costs_of
from wpaudit.sites.recording import Part
from wpaudit.sites.recording import parsed
from wpaudit.sites.said import Said
from wpaudit.sites.said import encoded
from wpaudit.sites.said import raw_text
from wpaudit.sites.servers import stream_of

MARGIN = 15.0  # seconds for the agent besides what the request may take
MOST_MEMORY = 512 << 20  # bytes for WordPress when it is run here
PORTS = {'http': 80, 'https': 443}
SIGNALS = {
    4: 'SIGILL', 6: 'SIGABRT', 7: 'SIGBUS', 8: 'SIGFPE', 9: 'SIGKILL', 11: 'SIGSEGV', 15: 'SIGTERM', 31: 'SIGSYS'}
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, section 5.6.2
_SCRIPT = re.compile(r'(?:[\w.-]+/)*[\w-]+\.php', re.ASCII)
_ADMIN = re.compile(r'wp-admin/(?:network/|user/)?')
# What does nothing but answer; others of WordPress's scripts run events, upgrade the database, sign people up.
RUN_INSIDE = frozenset({'index.php', 'wp-login.php', 'xmlrpc.php', 'wp-admin/index.php', 'wp-admin/admin-ajax.php'})
AGENT = 'Mozilla/5.0 (compatible; wpaudit)'

# Settings of the pool that decide whether the same code crashes; the rest of them are about its place on the host.
CARRIED = frozenset({
    'memory_limit', 'zend.max_allowed_stack_size', 'zend.reserved_stack_size', 'pcre.backtrack_limit',
    'pcre.recursion_limit', 'pcre.jit', 'max_input_vars', 'date.timezone', 'default_charset',
    'short_open_tag', 'auto_detect_line_endings',
})
# What a page view has no need of, and what would leave something behind; see the end of inside.php.
SWITCHED_OFF = (
    'exec', 'shell_exec', 'system', 'passthru', 'popen', 'proc_open', 'pcntl_exec', 'pcntl_fork', 'mail', 'symlink',
    'link', 'fsockopen', 'pfsockopen', 'stream_socket_client', 'stream_socket_server', 'curl_exec', 'curl_multi_exec',
    'dl', 'tempnam', 'ini_set', 'posix_kill', 'mb_send_mail',
)


@dataclass(frozen=True)
class Place:
    """Where WordPress is: its directory, the web server's root where that is above it; and the settings of its pool."""

    docroot: str
    root: str = ''
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sent:
    """What one request from the host brought. ``at`` is when it began, on the host's clock."""

    answer: Answer
    at: float
    address: str = ''
    http_version: str = ''
    database: bool | None = None


def split(url: str) -> SplitResult:
    """Return the parts of a URL that can be asked for; raises SiteError for any other."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise SiteError(f'{url[:200]!r} is not a URL') from error
    if parts.scheme not in PORTS or not parts.hostname or port == 0 or re.search(r'[\x00-\x20\x7f]', url):
        raise SiteError(f'{url[:200]!r} is not a URL that can be asked for')
    return parts


def port_of(parts: SplitResult) -> int:
    """Return the port, the scheme's own by default."""
    return parts.port or PORTS[parts.scheme]


def _target(parts: SplitResult) -> str:
    return (parts.path or '/') + (f'?{parts.query}' if parts.query else '')


def _fields(request: Request) -> list[tuple[str, str]]:
    """Return the header fields to send. Raises SiteError for one that would end its line."""
    fields = {name: value for name, value in request.headers if name.lower() not in {'accept-encoding', 'connection'}}
    names = {name.lower() for name in fields}
    whole = [*fields.items()]
    if 'user-agent' not in names:
        whole.append(('User-Agent', AGENT))
    if 'accept' not in names:
        whole.append(('Accept', '*/*'))
    if request.cookies:
        whole.append(('Cookie', '; '.join(f'{name}={value}' for name, value in request.cookies)))
    if any(re.search(r'[\r\n\0]', value) or not _TOKEN.fullmatch(name) for name, value in whole):
        raise SiteError('a header of the request has a line break in it')
    return whole


def over_http(ask: HostAsk, request: Request, address: str, *, tls: bool, verify: bool, timeout: float) -> Sent:
    """Send ``request`` to ``address`` (host:port) with the site's name in Host and SNI. Follows no redirect."""
    parts = split(request.url)
    lines = [f'{request.method} {_target(parts)} HTTP/1.1', f'Host: {parts.netloc.rpartition("@")[2]}']
    lines += [f'{name}: {value}' for name, value in _fields(request) if name.lower() != 'host']
    if parts.scheme == 'https' and not tls:
        lines.append('X-Forwarded-Proto: https')  # what a load balancer that ends TLS in front of the server says
    lines += ['Accept-Encoding: identity', 'Connection: close', '', '']
    said = ask.ask(
        'host-send', seconds=timeout + MARGIN, timeout=timeout, address=encoded(address),
        data=encoded('\r\n'.join(lines)), tls=encoded(parts.hostname or '') if tls else '', verify=verify,
    )
    answer, version = from_http(request.url, _raw(said))
    return Sent(_worded(answer), said.number('at'), said.text('peer') or address, version)


def over_fastcgi(
    ask: HostAsk, request: Request, address: str, *, docroot: str, root: str = '', timeout: float,
) -> Sent:
    """Send ``request`` straight to php-fpm at ``address`` (``unix:/path`` or host:port)."""
    params = [[encoded(name), encoded(value)] for name, value in variables(request, docroot, root).items()]
    said = ask.ask(
        'host-fastcgi', seconds=timeout + MARGIN, address=encoded(stream_of(address)), params=params, timeout=timeout)
    answer = from_cgi(request.url, _raw(said), ended=said.flag('ended'))
    if said.text('stderr') and not answer.detail:
        answer = replace(answer, detail=said.text('stderr')[:500])
    return Sent(_worded(answer), said.number('at'), address)


def variables(request: Request, docroot: str, root: str = '') -> dict[str, str]:
    """Return what a web server passes for a request that WordPress answers (RFC 3875, section 4).

    ``docroot`` is the directory of WordPress, ``root`` the web server's where that is above it.
    """
    parts = split(request.url)
    root = root or docroot
    folder = docroot.removeprefix(root.rstrip('/')) if docroot.startswith(f'{root.rstrip("/")}/') else ''
    page = script_of(parts, folder)
    script, name = posixpath.join(docroot, page), f'{folder}/{page}'
    https = {'HTTPS': 'on', 'HTTP_X_FORWARDED_PROTO': 'https'} if parts.scheme == 'https' else {}
    fields = {f'HTTP_{name.upper().replace("-", "_")}': value for name, value in _fields(request)}
    return {
        'GATEWAY_INTERFACE': 'CGI/1.1', 'SERVER_SOFTWARE': 'wpaudit', 'SERVER_PROTOCOL': 'HTTP/1.1',
        'REQUEST_METHOD': request.method, 'REQUEST_SCHEME': parts.scheme, 'REQUEST_URI': _target(parts),
        'QUERY_STRING': parts.query, 'CONTENT_TYPE': '', 'CONTENT_LENGTH': '', 'DOCUMENT_ROOT': root,
        'DOCUMENT_URI': name, 'SCRIPT_NAME': name,
        'SCRIPT_FILENAME': script, 'PHP_SELF': name,
        'SERVER_NAME': parts.hostname or '', 'SERVER_PORT': str(port_of(parts)), 'SERVER_ADDR': '127.0.0.1',
        'REMOTE_ADDR': '127.0.0.1', 'REMOTE_PORT': '40000', 'REDIRECT_STATUS': '200',
        'HTTP_HOST': parts.netloc.rpartition('@')[2], **https, **fields,
    }


def script_of(parts: SplitResult, folder: str = '') -> str:
    """Return the script that a URL asks for, below ``folder``: index.php unless the path names another one."""
    path = parts.path.removeprefix(f'{folder}/') if parts.path.startswith(f'{folder}/') else ''
    path = f'{path}index.php' if _ADMIN.fullmatch(path) else path
    return path if _SCRIPT.fullmatch(path) and '..' not in path else 'index.php'


def inside(ask: HostAsk, request: Request, place: Place, *, timeout: float) -> Sent:
    """Run the script of WordPress that ``request`` asks for in a PHP process of its own, which writes nothing.

    Raises SiteError for a script that would do more than answer.
    A process that a signal ended is told as ``reset`` with ``exit status 128 + n`` in the detail.
    """
    said = _run(ask, program(request, place.docroot, place.root), place, timeout)
    notes = _notes(said.texts('notes'))
    answer = _of_child(request.url, said, notes)
    database = notes.get('database')
    return Sent(
        answer, said.number('at'), 'PHP of the command line', database=database if isinstance(database, bool) else None)


def costs(ask: HostAsk, request: Request, place: Place, *, timeout: float) -> tuple[Cost, ...]:
    """Return what the page costs each plugin when PHP of the command line makes it, as with ``inside``.

    Raises SiteError when the page does not come to its end.
    """
    said = _run(ask, program(request, place.docroot, place.root, record=True), place, timeout)
    notes = _notes(said.texts('notes'))
    answer = _of_child(request.url, said, notes)
    part = _recorded(notes)
    if part is None or answer.error or answer.status >= 500:  # noqa: PLR2004 - RFC 9110, section 15.6
        raise SiteError(f'nothing was recorded: {answer.detail or "the recorder did not work inside PHP"}')
    return costs_of((part,))


def _recorded(notes: Mapping[str, object]) -> Part | None:
    """Return what the flight recorder in ``inside.php`` handed in, in pieces; None where that is not whole."""
    pieces = [str(notes[name]) for name in sorted(notes) if name.startswith('tape ')]
    try:
        said = json.loads(''.join(pieces))
        plugins = [base64.b64decode(one).decode('utf-8', 'surrogateescape') for one in said['plugins']]
        return parsed(base64.b64decode(said['tape']).decode('utf-8', 'replace'), plugins)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _run(ask: HostAsk, code: str, place: Place, timeout: float) -> Said:
    carried = {name: value for name, value in place.settings.items() if name in CARRIED}
    return ask.ask(
        'host-inside', seconds=timeout + MARGIN, timeout=timeout, path=encoded(place.docroot),
        program=base64.b64encode(code.encode()).decode(),
        settings={
            **carried, 'memory_limit': _memory(carried.get('memory_limit', '256M')),
            'display_errors': '0', 'log_errors': '1', 'error_log': '',
            'html_errors': '0', 'max_execution_time': str(int(timeout) + 1),
            'opcache.enable_cli': '0', 'auto_prepend_file': '',
            'output_buffering': '4096', 'implicit_flush': '0', 'disable_functions': ','.join(SWITCHED_OFF),
        },
    )


def _memory(limit: str) -> str:
    """Return PHP's ``memory_limit`` for the process that we start: a pool may have none, and the host is not ours."""
    match = re.fullmatch(r'(\d{1,12})([KMG]?)', limit.strip().upper())
    factor = {'': 1, 'K': 1 << 10, 'M': 1 << 20, 'G': 1 << 30}
    wanted = int(match[1]) * factor[match[2]] if match else MOST_MEMORY
    return str(min(wanted, MOST_MEMORY))


def program(request: Request, docroot: str, root: str = '', *, record: bool = False) -> str:
    """Return the text of ``inside.php`` for one request, with the agent's gate and the cache that keeps its writes.

    ``record`` adds the flight recorder.
    """
    server = variables(request, docroot, root)
    script = server['SCRIPT_FILENAME'].removeprefix(docroot).lstrip('/')
    if script not in RUN_INSIDE:
        raise SiteError(f'{script} is not run inside PHP: it could do more than make a page')
    settings = {
        'path': encoded(docroot), 'script': encoded(script),
        'server': {name: encoded(value) for name, value in server.items()},
        'cookies': [[encoded(name), encoded(value)] for name, value in request.cookies], 'record': record,
    }
    packed = base64.b64encode(json.dumps(settings).encode()).decode()
    wanted = (
        'final class Wpaudit_Wanted { public static function settings() { '
        f"return json_decode( base64_decode( '{packed}' ), true ); }} }}"
    )
    recorder = [_classes('recorder.php')] if record else []
    parts = [_text('state.php'), _classes('isolate.php', 'Wpaudit_Cache'), *recorder, _text('paper.php')]
    return '\n'.join(['<?php', wanted, *parts, _text('inside.php')])


def _text(name: str) -> str:
    return php_text(name).removeprefix('<?php')


def _classes(file: str, name: str = r'\w+') -> str:
    """Return the classes of a file that the host gets a copy of for each run: all of them, or one."""
    found = re.findall(rf'^final class {name}___TOKEN__ \{{.*?^\}}', php_text(file), re.MULTILINE | re.DOTALL)
    if not found:
        raise RuntimeError(f'{file} has no {name}')
    return '\n'.join(found).replace('__TOKEN__', 'inside')


def _notes(lines: Sequence[str]) -> dict[str, object]:
    notes: dict[str, object] = {}
    for line in lines:
        try:
            said = json.loads(line)
        except ValueError:
            continue  # cut off, or a plugin that found the descriptor
        if isinstance(said, dict) and isinstance(said.get('key'), str):
            value = said.get('value')
            notes[said['key']] = raw_text(value) if isinstance(value, str) else value
    return notes


def _of_child(url: str, said: Said, notes: Mapping[str, object]) -> Answer:
    body = said.raw('raw')
    size, seconds, signal = said.whole('size', least=0), said.number('seconds'), said.whole('signal', least=0)
    fatal, code, location = notes.get('fatal'), notes.get('code'), notes.get('location')
    if said.flag('late'):
        detail = 'PHP did not end in time and was ended'
        return Answer(url, error='timeout', detail=detail, body=body, size=size, seconds=seconds)
    if signal:
        name = SIGNALS.get(signal, f'signal {signal}')
        detail = f'PHP was ended by signal {signal} ({name}), exit status {128 + signal}'
        return Answer(url, error='reset', detail=detail, body=body, size=size, seconds=seconds)
    status = code if isinstance(code, int) and 100 <= code <= 599 else 0  # noqa: PLR2004 - what HTTP has
    if isinstance(fatal, str):
        status, detail = (status if status >= 500 else 500), fatal  # noqa: PLR2004 - what a web server would make of it
    elif 'code' not in notes:
        last = said.text('stderr').strip().splitlines()
        why = f': {last[-1][:300]}' if last else ''
        detail = f'PHP left with exit status {said.whole("status")} before the end{why}'
        return Answer(url, error='reset', detail=detail, body=body, size=size, seconds=seconds)
    else:
        status, detail = status or 200, ''
    headers = {'content-type': 'text/html'} if body else {}
    if isinstance(location, str):
        headers['location'] = location
    return Answer(url, status, headers, body, size, error='', detail=detail[:1000], seconds=seconds)


def _raw(said: Said) -> Raw:
    return Raw(
        _bytes(said.raw('raw')), said.whole('size', least=0), _bytes(said.raw('tail')) if said.has('tail') else b'',
        said.text('error'), said.text('detail'), said.number('seconds'),
    )


def _bytes(text: str) -> bytes:
    return text.encode('utf-8', 'surrogateescape')


# domain.Answer has fewer words than facts.Pool.socket; the sentence keeps which it was.
_KNOWN = frozenset({'', 'dns', 'refused', 'reset', 'timeout', 'tls', 'too-large', 'protocol'})
_WORDS = {'missing': 'refused', 'denied': 'refused', 'full': 'refused', 'unreachable': 'timeout'}


def _worded(answer: Answer) -> Answer:
    error = _WORDS.get(answer.error, answer.error)
    return replace(answer, error=error if error in _KNOWN else 'protocol')


def probe_path(url: str) -> str:
    """Return path and query of a URL, as servers write them into their logs."""
    return _target(split(url))
