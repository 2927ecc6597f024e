"""Read a ``curl`` command line as developer tools copy it: what it would send, not how.

Options that change only the connection or the output are ignored; unknown ones are refused, since what they would
change is unknown too. The words are split as bash does, ``$'...'`` included, and nothing is expanded or run.
"""

from __future__ import annotations

import base64
import getopt
import re
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field
from urllib.parse import quote

from urllib3.filepost import encode_multipart_formdata

from wpaudit.domain import Request
from wpaudit.errors import UsageError

FORM = 'application/x-www-form-urlencoded'
_BLANK = ' \t\n\r'

# What each option means; a colon or an equals sign marks those with a value, as getopt has it.
_SHORT = 'X:H:d:b:F:A:e:u:m:o:x:w:c:E:GIkLsSvifg#0N'
_LONG = (
    'request=', 'header=', 'data=', 'data-ascii=', 'data-raw=', 'data-binary=', 'data-urlencode=', 'json=', 'cookie=',
    'form=', 'form-string=', 'user-agent=', 'referer=', 'user=', 'url=', 'get', 'head',
    # of the connection or the output
    'max-time=', 'connect-timeout=', 'output=', 'proxy=', 'resolve=', 'cacert=', 'cert=', 'retry=', 'write-out=',
    'cookie-jar=', 'max-redirs=', 'insecure', 'location', 'silent', 'show-error', 'verbose', 'include', 'fail',
    'globoff', 'compressed', 'http1.0', 'http1.1', 'http2', 'http3', 'no-buffer', 'path-as-is', 'progress-bar',
    'ssl-no-revoke',
)
_SAME = {
    '-X': '--request', '-H': '--header', '-d': '--data', '--data-ascii': '--data', '-b': '--cookie', '-F': '--form',
    '-A': '--user-agent', '-e': '--referer', '-u': '--user', '-G': '--get', '-I': '--head',
}


@dataclass
class _Asked:
    """What the options asked for so far."""

    read: Callable[[str], bytes]
    urls: list[str] = field(default_factory=list)
    method: str = ''
    headers: list[tuple[str, str]] = field(default_factory=list)
    data: list[bytes] = field(default_factory=list)
    form: list[tuple[str, bytes | tuple[str, bytes, str]]] = field(default_factory=list)
    json: bool = False
    get: bool = False
    head: bool = False


def curl_request(text: str, read: Callable[[str], bytes]) -> Request:
    """Return what the command would send; ``read`` returns the bytes of a file it names. Raises UsageError."""
    if re.search(r'\^["%\r\n]', text):
        raise UsageError('this is a command line for cmd.exe', hint='copy it as cURL (bash) instead')
    words = split(text.removeprefix('$ ').rstrip())
    try:
        options, urls = getopt.gnu_getopt(words[1:], _SHORT, list(_LONG))
    except getopt.GetoptError as error:
        raise UsageError(f'curl: {error}', hint='leave it out when the request does not depend on it') from error
    asked = _Asked(read)
    for name, value in options:
        known = _MEANINGS.get(_SAME.get(name, name))
        if known:
            known(asked, value)
    return _made(asked, [*asked.urls, *urls])


def _made(asked: _Asked, urls: list[str]) -> Request:
    if len(urls) != 1:
        raise UsageError(f'the curl command has {len(urls)} URLs; a request has one')
    if asked.form and asked.data:
        raise UsageError('the curl command has both --form and --data')
    url, body, headers = urls[0], b'', list(asked.headers)
    given = {name.lower() for name, _ in headers}
    if asked.form:
        body, kind = encode_multipart_formdata(asked.form)
        headers = [(name, value) for name, value in headers if name.lower() != 'content-type']
        headers.append(('Content-Type', kind))
    elif asked.data and asked.get:
        url += ('&' if '?' in url else '?') + b'&'.join(asked.data).decode('utf-8', 'surrogateescape')
    elif asked.data:
        body = (b'' if asked.json else b'&').join(asked.data)
        if 'content-type' not in given:
            headers.append(('Content-Type', 'application/json' if asked.json else FORM))
    method = asked.method or ('HEAD' if asked.head else 'POST' if body or (asked.data and not asked.get) else 'GET')
    return Request(url if '://' in url else f'http://{url}', method, tuple(headers), body=body)


# -- what the options mean --------------------------------------------------------------------------------

def _bytes(text: str) -> bytes:
    return text.encode('utf-8', 'surrogateescape')


def _header(asked: _Asked, value: str) -> None:
    name, colon, rest = value.partition(':')
    if colon and rest.strip():
        asked.headers.append((name.strip(), rest.strip()))
    elif value.endswith(';'):  # curl's way to send an empty one
        asked.headers.append((value[:-1].strip(), ''))
    # "Name:" without a value takes away one of curl's own fields, of which we send none.


def _data(asked: _Asked, value: str) -> None:
    if value.startswith('@'):
        asked.data.append(re.sub(rb'[\r\n\0]', b'', asked.read(value[1:])))
    else:
        asked.data.append(_bytes(value))


def _data_raw(asked: _Asked, value: str) -> None:
    asked.data.append(_bytes(value))


def _data_binary(asked: _Asked, value: str) -> None:
    asked.data.append(asked.read(value[1:]) if value.startswith('@') else _bytes(value))


def _data_encoded(asked: _Asked, value: str) -> None:
    found = re.match(r'([^=@]*)([=@])', value)
    name, sign = (found[1], found[2]) if found else ('', '=')
    rest = value[found.end():] if found else value
    content = asked.read(rest) if sign == '@' else _bytes(rest)
    asked.data.append(_bytes(f'{name}=' if name else '') + _bytes(quote(content, safe='')))


def _json(asked: _Asked, value: str) -> None:
    asked.json = True
    _data_binary(asked, value)
    if 'accept' not in {name.lower() for name, _ in asked.headers}:
        asked.headers.append(('Accept', 'application/json'))


def _form(asked: _Asked, value: str) -> None:
    name, equals, content = value.partition('=')
    if not equals:
        raise UsageError(f'curl: --form {value} is not name=content')
    content, *settings = re.split(r';(?=(?:type|filename)=)', content)
    given = dict(setting.split('=', 1) for setting in settings)
    path = content[1:].strip('"')
    if content.startswith('@'):
        file = given.get('filename', path.rsplit('/', 1)[-1]).strip('"')
        asked.form.append((name, (file, asked.read(path), given.get('type', 'application/octet-stream'))))
    else:
        asked.form.append((name, asked.read(path) if content.startswith('<') else _bytes(content)))


def _form_string(asked: _Asked, value: str) -> None:
    name, _, content = value.partition('=')
    asked.form.append((name, _bytes(content)))


def _cookie(asked: _Asked, value: str) -> None:
    if '=' not in value:
        raise UsageError(f'curl: --cookie {value} names a file of cookies', hint='write them out: -b "name=value"')
    asked.headers.append(('Cookie', value))


def _login(asked: _Asked, value: str) -> None:
    asked.headers.append(('Authorization', 'Basic ' + base64.b64encode(_bytes(value)).decode()))


_MEANINGS: dict[str, Callable[[_Asked, str], None]] = {
    '--request': lambda asked, value: setattr(asked, 'method', value.upper()),
    '--header': _header,
    '--data': _data,
    '--data-raw': _data_raw,
    '--data-binary': _data_binary,
    '--data-urlencode': _data_encoded,
    '--json': _json,
    '--form': _form,
    '--form-string': _form_string,
    '--cookie': _cookie,
    '--user': _login,
    '--user-agent': lambda asked, value: asked.headers.append(('User-Agent', value)),
    '--referer': lambda asked, value: asked.headers.append(('Referer', value)),
    '--url': lambda asked, value: asked.urls.append(value),
    '--get': lambda asked, value: setattr(asked, 'get', True),
    '--head': lambda asked, value: setattr(asked, 'head', True),
}


# -- words, as bash splits them -----------------------------------------------------------------------------

_ANSI = {'n': '\n', 't': '\t', 'r': '\r', 'a': '\a', 'b': '\b', 'f': '\f', 'v': '\v', 'e': '\x1b', 'E': '\x1b'}
_CODED = re.compile(r'x[0-9A-Fa-f]{1,2}|u[0-9A-Fa-f]{1,4}|U[0-9A-Fa-f]{1,8}|[0-7]{1,3}')
_PIECE = re.compile(
    r"""\$'(?P<ansi>(?:[^'\\]|\\.)*)'|'(?P<plain>[^']*)'|"(?P<double>(?:[^"\\]|\\.)*)"|\\(?P<escaped>.)|(?P<bare>(?:[^\s'"\\$]|\$(?!'))+)""",
    re.DOTALL,
)


def split(text: str) -> list[str]:
    """Return the words of a command line (Bash manual, "Quoting"). Raises UsageError for quotes left open."""
    words: list[str] = []
    at, inside = 0, False
    while at < len(text):
        if text[at] in _BLANK:
            at, inside = at + 1, False
            continue
        found = _PIECE.match(text, at)
        if found is None:
            raise UsageError('the curl command ends within quotes', hint='copy all of it')
        at = found.end()
        if found['escaped'] == '\n':  # a continued line
            continue
        if not inside:
            words.append('')
        words[-1] += _meant(found)
        inside = True
    return words


def _meant(found: re.Match[str]) -> str:
    if found['ansi'] is not None:
        return _ansi(found['ansi'])
    if found['double'] is not None:
        return re.sub(r'\\([$`"\\])', r'\1', found['double'].replace('\\\n', ''))
    return next(found[kind] for kind in ('plain', 'escaped', 'bare') if found[kind] is not None)


def _ansi(text: str) -> str:
    r"""Return what ``$'...'`` means: \n, \xHH (a byte), \uHHHH (a character), \NNN."""
    out = bytearray()
    at = 0
    while at < len(text):
        if text[at] != '\\' or at + 1 == len(text):
            out += _bytes(text[at])
            at += 1
            continue
        coded = _CODED.match(text, at + 1)
        if coded is None:
            out += _bytes(_ANSI.get(text[at + 1], text[at + 1] if text[at + 1] in '\\\'"?' else '\\' + text[at + 1]))
            at += 2
            continue
        out += _code(coded[0])
        at = coded.end()
    return out.decode('utf-8', 'surrogateescape')


def _code(digits: str) -> bytes:
    if digits[0] in 'uU':
        return chr(int(digits[1:], 16) % 0x110000).encode('utf-8', 'surrogatepass')
    return bytes([(int(digits[1:], 16) if digits[0] == 'x' else int(digits, 8)) & 0xFF])
