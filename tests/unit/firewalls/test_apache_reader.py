"""Apache configuration is read as httpd reads it; what is said here was tried on httpd 2.4.71."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wpaudit.firewalls.apache.reader import BIGGEST
from wpaudit.firewalls.apache.reader import RewriteArgs
from wpaudit.firewalls.apache.reader import Section
from wpaudit.firewalls.apache.reader import flags
from wpaudit.firewalls.apache.reader import read
from wpaudit.firewalls.apache.reader import rewrite_args
from wpaudit.firewalls.apache.reader import words


def found(text: str) -> list[tuple[str, str, int, int]]:
    return [(one.name, one.args, one.first, one.last) for one in read(text).directives]


@pytest.mark.parametrize(('text', 'directives'), [
    ('Deny from all', [('deny', 'from all', 1, 1)]),
    ('\t DENY\x0bfrom  all \x0c\r\n\n# Deny\nOrder a', [('deny', 'from  all', 1, 1), ('order', 'a', 4, 4)]),
    ('RewriteRule ^a \\\n - \\\r\n [F]\nDeny x', [('rewriterule', '^a  -  [F]', 1, 3), ('deny', 'x', 4, 4)]),
    ('# comment \\\nRewriteRule ^ - [F]\nDeny x', [('deny', 'x', 3, 3)]),  # the comment goes on
    ('Deny a\\ \nDeny b', [('deny', 'a\\', 1, 1), ('deny', 'b', 2, 2)]),    # a space behind it: no continuation
    ('Deny a\\\\\nb', [('deny', 'a\\b', 1, 2)]),                            # one backslash goes, one stays
    ('"Deny" from all', [('deny', 'from all', 1, 1)]),
    ('Deny caf\udce9\u2028x', [('deny', 'caf\udce9\u2028x', 1, 1)]),        # no line ends but line feeds
    ('Deny from \\', [('deny', 'from \\', 1, 1)]),
    ('Deny from \\\n', [('deny', 'from', 1, 1)]),
])
def test_lines(text: str, directives: list[tuple[str, str, int, int]]) -> None:
    assert found(text) == directives
    assert read(text).problems == ()


def test_sections_and_owners() -> None:
    document = read(
        '# BEGIN One\n<IfModule mod_rewrite.c> ignored\n# BEGIN Two\n<Files "a >b">\nDeny from all\n</FILES>\n'
        '# END Two\nOrder x\n</IfModule>\n# END One\nSatisfy any\n<RequireAll>\n</RequireAll>\n'
    )
    outer, inner = Section('ifmodule', 'mod_rewrite.c', 2), Section('files', '"a >b"', 4)
    places = {one.name: (one.sections, one.owner) for one in document.directives}
    assert places == {
        '<ifmodule': ((), 'One'), '<files': ((outer,), 'Two'), 'deny': ((outer, inner), 'Two'),
        'order': ((outer,), 'One'), 'satisfy': ((), ''), '<requireall': ((), ''),
    }
    assert document.ends == {2: 9, 4: 6, 12: 13}
    assert document.problems == ()


@pytest.mark.parametrize('text', [
    '<Files a>\nDeny from all', '</Files>', '</>', '<Files a>\n</IfModule>', '<Files a', '<Files a>\n</Files> b',
    '<Files a>\n</Files >', 'RewriteRule "^a - [F]', 'RewriteRule ^a', 'RewriteCond a b [NC', 'RewriteRule ^ - [L, F]',
    'Deny from\0all', '<' * 3, '<>', '<a>\n' * 100, 'x' * (BIGGEST + 1),
])
def test_what_apache_refuses_or_nobody_should_guess_is_a_problem(text: str) -> None:
    assert len(read(text).problems) == 1


@pytest.mark.parametrize(('text', 'expected'), [
    ('^a - [F]', RewriteArgs('^a', '-', '[F]', ('^a', '-'))),
    ('^a -', RewriteArgs('^a', '-', '', ('^a', '-'))),
    ('"^a b" \'-\' "[F, L]" more', RewriteArgs('^a b', '-', '[F, L]', ('"^a b"', "'-'"))),
    ('^a\\ b -\t[F]', RewriteArgs('^a\\ b', '-', '[F]', ('^a\\ b', '-'))),
    ('%{X} "a\\"b" [NC]', RewriteArgs('%{X}', 'a\\', 'b"', ('%{X}', '"a\\"'))),  # a backslash does not protect quotes
    ('^a', None), ('', None), ('"^a b', None),
])
def test_arguments_of_rewrite_directives(text: str, expected: RewriteArgs | None) -> None:
    assert rewrite_args(text) == expected


def test_words_and_flags() -> None:
    assert words('"a \\"b\\\\" c\\\\d \'e" f\' g"h \'open') == ('a "b\\', 'c\\d', 'e" f', 'g"h', 'open')
    assert flags('[ F , L,R=502,E=a:b=c ]') == (('f', ''), ('l', ''), ('r', '502'), ('e', 'a:b=c'))
    assert flags('') == ()
    assert flags('[F') is None
    assert flags('F]') is None


@given(st.binary(max_size=300))
def test_whatever_the_bytes_are_the_lines_are_the_text(data: bytes) -> None:
    text = data.decode('utf-8', 'surrogateescape')
    assert ''.join(read(text).lines) == text


@given(st.text('<>/\\\n\r" #Ifa[]=,', max_size=200))
def test_reading_never_raises(text: str) -> None:
    document = read(text)
    assert all(1 <= one.first <= one.last <= len(document.lines) for one in document.directives)
