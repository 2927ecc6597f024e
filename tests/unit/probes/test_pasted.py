"""Requests as people paste them: raw, or as curl command lines of developer tools."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from wpaudit.domain import Request
from wpaudit.errors import UsageError
from wpaudit.probes.curl import FORM
from wpaudit.probes.curl import split
from wpaudit.probes.pasted import MOST_BYTES
from wpaudit.probes.pasted import pasted

SITE = 'https://shop.example'
FILES = {'photo.jpg': b'\xff\xd8\r\nphoto\n', 'note.txt': b'line\r\nline'}


def read(name: str) -> bytes:
    if name not in FILES:
        raise UsageError(f'{name} cannot be read')
    return FILES[name]


def of(text: str | bytes, site: str = SITE) -> Request:
    return pasted(text if isinstance(text, bytes) else text.encode(), site, read)


def test_a_raw_request_keeps_what_matters_and_leaves_the_connection_to_us() -> None:
    found = of(
        'POST /checkout/?step=2 HTTP/1.1\r\nHost: shop.example\r\nConnection: keep-alive\r\nContent-Length: 7\r\n'
        'User-Agent: Browser/1.0\r\nAccept-Encoding: br\r\nCookie: a=1; b=2=3\r\nContent-Type: text/plain\r\n'
        '\r\nx=1&y=2\r\n',
    )
    assert found == Request(
        f'{SITE}/checkout/?step=2', 'POST', (('User-Agent', 'Browser/1.0'), ('Content-Type', 'text/plain')),
        (('a', '1'), ('b', '2=3')), b'x=1&y=2',
    )


@pytest.mark.parametrize('head', [
    'GET /wp-admin/ HTTP/2', 'GET https://shop.example/wp-admin/ HTTP/1.1', 'GET /wp-admin/',
])
def test_forms_of_the_first_line(head: str) -> None:
    assert of(f'{head}\nHost: shop.example\n').url == f'{SITE}/wp-admin/'


def test_a_target_is_of_the_host_and_not_of_a_site_below_it() -> None:
    assert of('GET /other HTTP/1.1\nHost: shop.example\n\n', 'https://shop.example/blog').url == f'{SITE}/other'


def test_bodies_may_be_any_bytes() -> None:
    body = bytes(range(256))
    assert of(b'PUT /x HTTP/1.1\nContent-Length: 256\n\n' + body).body == body


def test_a_cookie_field_that_no_client_would_send_is_sent_as_it_is() -> None:
    assert of('GET / HTTP/1.1\nCookie: bad[1]=x; y\n\n').headers == (('Cookie', 'bad[1]=x; y'),)


@pytest.mark.parametrize(('text', 'says'), [
    ('', 'neither'), ('hello there, how are you', 'neither'), ('GET\n', 'neither'),
    ('GET / HTTP/1.1\nno colon here\n\n', 'not a header'),
    ('POST / HTTP/1.1\nTransfer-Encoding: chunked\n\n0\n', 'chunks'),
    ('GET / HTTP/1.1\nHost: other.example\n\n', 'other.example'),
    ('GET http://shop.example/ HTTP/1.1\n\n', 'clear'),
    ('GET / HTTP/1.1\nX: a\x00b\n\n', 'control character'),
    ('GET /a\\b HTTP/1.1\n\n', 'backslashes'),
    ("curl 'https://shop.example/", 'within quotes'),
    ('curl', 'neither'), ('curl -s', '0 URLs'), ('curl https://a.example https://b.example', '2 URLs'),
    ('curl https://other.example/', 'other.example'),
    ('curl --tlsv1.3-or-so https://shop.example/', 'not recognized'),
    ('curl -d @/etc/shadow https://shop.example/', 'cannot be read'),
    ('curl -b jar.txt https://shop.example/', 'file of cookies'),
    ('curl -F a=1 -d b=2 https://shop.example/', 'both'),
    ('curl ^"https://shop.example/^" ^\r\n  -H ^"a: b^"', 'cmd.exe'),
])
def test_what_cannot_be_read_is_refused_in_a_sentence(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        of(text)


def test_a_request_that_is_too_long() -> None:
    with pytest.raises(UsageError, match='longer'):
        of(b'POST / HTTP/1.1\n\n' + b'x' * MOST_BYTES)


# -- curl -----------------------------------------------------------------------------------------------

def test_as_chrome_copies_it() -> None:
    found = of(r"""curl 'https://shop.example/wp-admin/admin-ajax.php' \
      -H 'accept: */*' \
      -H 'content-type: application/x-www-form-urlencoded; charset=UTF-8' \
      -b 'wordpress_logged_in=admin%7C1; wp-settings-1=editor%3Dhtml' \
      -H 'user-agent: Mozilla/5.0 (X11)' \
      --data-raw $'action=save&text=it\'s \u00fcber\u0021&html=%3Cb%3E' \
      --compressed --insecure""")
    assert found.url == f'{SITE}/wp-admin/admin-ajax.php'
    assert found.method == 'POST'
    assert found.cookies == (('wordpress_logged_in', 'admin%7C1'), ('wp-settings-1', 'editor%3Dhtml'))
    assert found.body == "action=save&text=it's über!&html=%3Cb%3E".encode()
    assert dict(found.headers)['content-type'].startswith(FORM)


@pytest.mark.parametrize(('options', 'method', 'body', 'kind'), [
    ('-d a=1 -d b=2', 'POST', b'a=1&b=2', FORM),
    ('-XPUT -d a=1', 'PUT', b'a=1', FORM),
    ('-G -d a=1', 'GET', b'', None),
    ('-I', 'HEAD', b'', None),
    ("--json '{}'", 'POST', b'{}', 'application/json'),
    ('--data-binary @note.txt', 'POST', b'line\r\nline', FORM),
    ('-d @note.txt', 'POST', b'lineline', FORM),
    ("--data-urlencode 'q=a b&c'", 'POST', b'q=a%20b%26c', FORM),
    ('--data-urlencode q@note.txt', 'POST', b'q=line%0D%0Aline', FORM),
    ("-H 'Content-Type: text/xml' -d '<a/>'", 'POST', b'<a/>', 'text/xml'),
])
def test_what_curl_would_send(options: str, method: str, body: bytes, kind: str | None) -> None:
    found = of(f'curl -sSL {options} https://shop.example/x')
    assert (found.method, found.body) == (method, body)
    assert dict(found.headers).get('Content-Type') == kind


def test_an_upload() -> None:
    found = of("curl -F 'file=@photo.jpg;type=image/jpeg' -F title=Sun --form-string at=@home https://shop.example/up")
    kind = dict(found.headers)['Content-Type']
    boundary = kind.partition('boundary=')[2].encode()
    assert kind.startswith('multipart/form-data; boundary=')
    assert found.body.count(b'--' + boundary) == 4
    assert b'filename="photo.jpg"\r\nContent-Type: image/jpeg\r\n\r\n' + FILES['photo.jpg'] in found.body
    assert b'@home' in found.body


def test_login_referer_and_agent() -> None:
    headers = dict(of("curl -u me:pa:ss -A 'X/1' -e https://shop.example/a https://shop.example/").headers)
    assert headers == {'Authorization': 'Basic bWU6cGE6c3M=', 'User-Agent': 'X/1', 'Referer': 'https://shop.example/a'}


@pytest.mark.parametrize('words', [
    [r"a'b", 'c d', ''], ['$x `y` "z"', '\\', '\n'], ["$'not ansi'", 'tab\there'], ['ü', '日本'],
])
def test_words_are_split_as_a_shell_does(words: list[str]) -> None:
    assert split(shlex.join(words)) == words


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=['Cs'], exclude_characters='\0'), max_size=12), max_size=6))
def test_any_words(words: list[str]) -> None:
    assert split(shlex.join(words)) == words


def test_ansi_quotes_mean_what_bash_says() -> None:
    text = r"$'\x41\u00e9\101\n\t\\\'\"\q' a$'b'c "
    script = 'import sys; print(ascii(sys.argv[1:]))'
    told = subprocess.run(
        ['bash', '-c', f'{sys.executable} -c "{script}" {text}'], capture_output=True, text=True, check=True,
        timeout=30, env={'LC_ALL': 'C.UTF-8'},
    ).stdout.strip()
    assert ascii(split(text)) == told


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for start in (b'', b'curl ', b'GET / HTTP/1.1\n'):
        try:
            found = pasted(start + data, SITE, read)
        except UsageError:
            continue
        assert found.url.startswith(SITE)


def test_files_are_named_relative_to_nothing_here(tmp_path: Path) -> None:
    """Which file a name means is the caller's to say; nothing is opened here."""
    with pytest.raises(UsageError, match='cannot be read'):
        of(f'curl -d @{tmp_path}/x https://shop.example/')
