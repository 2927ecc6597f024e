"""What a person types becomes values, or a sentence."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wpaudit.errors import UsageError
from wpaudit.probes.parsing import parse_cookie
from wpaudit.probes.parsing import parse_header
from wpaudit.probes.parsing import parse_resolve
from wpaudit.probes.parsing import probe_url
from wpaudit.probes.parsing import site_url

ANY = st.text(st.characters(exclude_categories=()), max_size=60)


@pytest.mark.parametrize(('text', 'expected'), [
    ('X-Name: value', ('X-Name', 'value')), ('X:y', ('X', 'y')), ('X:', ('X', '')), ('X: a:b ', ('X', 'a:b')),
    ('Authorization: Basic eA==', ('Authorization', 'Basic eA==')), ('X: a\tb', ('X', 'a\tb')),
])
def test_headers(text: str, expected: tuple[str, str]) -> None:
    assert parse_header(text) == expected


@pytest.mark.parametrize('text', [
    '', 'no colon', ': value', 'a b: c', 'X: a\r\nY: b', 'X: a\nb', 'X: \x00', 'X\n: a', 'Kö: x', 'Content-Length: 3',
    'transfer-encoding: chunked',
])
def test_headers_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_header(text)


@given(ANY)
def test_a_header_never_holds_two_lines(text: str) -> None:
    try:
        name, value = parse_header(text)
    except UsageError:
        return
    assert name
    assert not set(name + value) & set('\r\n\x00')
    assert parse_header(f'{name}: {value}') == (name, value)


@pytest.mark.parametrize(('text', 'expected'), [
    ('a=b', ('a', 'b')), ('a=', ('a', '')), ('wordpress_x=admin|1|h=', ('wordpress_x', 'admin|1|h=')),
])
def test_cookies(text: str, expected: tuple[str, str]) -> None:
    assert parse_cookie(text) == expected


@pytest.mark.parametrize('text', ['', 'a', '=b', 'a b=c', 'a=b; c=d', 'a=b\nc', 'a=b\x1b'])
def test_cookies_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_cookie(text)


@pytest.mark.parametrize(('text', 'expected'), [
    ('Shop.Example:10.0.0.1', ('shop.example', '10.0.0.1')), ('a:::1', ('a', '::1')), ('a:[::1]', ('a', '::1')),
])
def test_resolve(text: str, expected: tuple[str, str]) -> None:
    assert parse_resolve(text) == expected


@pytest.mark.parametrize('text', ['', 'a', 'a:', ':1.2.3.4', 'a:b', 'a/b:1.2.3.4', 'a:443:1.2.3.4', 'a:1.2.3.4:80'])
def test_resolve_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_resolve(text)


def test_the_port_of_curls_form_is_explained() -> None:
    with pytest.raises(UsageError) as caught:
        parse_resolve('a:443:1.2.3.4')
    assert 'port' in caught.value.hint


@pytest.mark.parametrize(('base', 'text', 'expected'), [
    ('https://x.example', '/', 'https://x.example/'),
    ('https://x.example', '/shop/?a=b&c=%20#part', 'https://x.example/shop/?a=b&c=%20'),
    ('https://x.example/blog', '/', 'https://x.example/blog/'),
    ('https://x.example/blog/', '/shop', 'https://x.example/blog/shop'),
    ('https://x.example/blog', '/blog/shop', 'https://x.example/blog/shop'),
    ('https://x.example/blog', '/blogger', 'https://x.example/blog/blogger'),
    ('https://x.example/blog', '?p=1', 'https://x.example/blog/?p=1'),
    ('https://x.example:8443', '/a', 'https://x.example:8443/a'),
    ('https://X.example', 'https://x.EXAMPLE/a', 'https://x.example/a'),
    ('https://x.example', 'https://x.example:443/a', 'https://x.example:443/a'),
    ('http://x.example', 'https://x.example/a', 'https://x.example/a'),
    ('https://x.example', '/süß?q=ü', 'https://x.example/s%C3%BC%C3%9F?q=%C3%BC'),
    ('https://x.example', '/\udcff', 'https://x.example/%FF'),
    ('https://x.example', '/a//b', 'https://x.example/a//b'),
])
def test_probe_urls(base: str, text: str, expected: str) -> None:
    assert probe_url(base, text) == expected


@pytest.mark.parametrize('text', [
    '', ' ', 'shop', 'x.example/a', '//evil.example/', 'https://evil.example/', 'https://x.example@evil.example/',
    'https://user:pw@x.example/', 'https://x.example.evil.example/', 'http://x.example/', 'https://x.example:8443/',
    'ftp://x.example/', 'javascript:alert(1)', 'https://', 'https:///a', '/a b', '/a\nb', '/a\r\nX: y', '\\\\evil',
    '/\\evil.example', 'https://x.example\\@evil.example/', 'https://[::1', 'https://x.example:99999/', '/\x00',
    'https://x.example:0/', 'https:x.example',
])
def test_probe_urls_refused(text: str) -> None:
    with pytest.raises(UsageError):
        probe_url('https://x.example', text)


@given(ANY)
def test_a_probe_never_leaves_the_host(text: str) -> None:
    for prefix in ('', '/', '//', 'https://x.example', 'https://'):
        try:
            url = probe_url('https://x.example/blog', prefix + text)
        except UsageError:
            continue
        parts = urlsplit(url)
        assert (parts.scheme, parts.hostname, parts.username) == ('https', 'x.example', None)
        assert url.isascii()
        assert not set(url) & set(' \r\n\t\\')


@pytest.mark.parametrize('text', ['', 'x.example', '/srv', 'ftp://x', 'https://', 'https://u@x.example', 'http://a b/'])
def test_what_is_no_site(text: str) -> None:
    with pytest.raises(UsageError):
        site_url(text)
