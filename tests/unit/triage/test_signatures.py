"""Lines as servers write them, and which signature knows them; hostile lines cost no more than others."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import triage_worlds as w
from hypothesis import given
from hypothesis import strategies as st

from wpaudit.triage import fields
from wpaudit.triage import host
from wpaudit.triage import lines
from wpaudit.triage import maker
from wpaudit.triage import model
from wpaudit.triage.model import table
from wpaudit.triage.signatures import LONGEST
from wpaudit.triage.signatures import Signature
from wpaudit.triage.signatures import plugin_of
from wpaudit.triage.signatures import reading
from wpaudit.triage.signatures import signatures

parser = re._parser  # type: ignore[attr-defined] # the only way to look into an expression
constants = re._constants  # type: ignore[attr-defined]

GROUPS = json.loads((Path(__file__).parent / 'lines.json').read_text(encoding='utf-8'))
LINES = [(group['source'], expected, text) for group in GROUPS for expected, text in group['lines']]
SOURCES = ('nginx', 'apache', 'php-fpm', 'php', 'wordpress', 'kernel', 'access')


@pytest.mark.parametrize(
    ('source', 'expected', 'text'), LINES, ids=[f'{n}-{expected}' for n, (_, expected, _) in enumerate(LINES)])
def test_recorded_lines(source: str, expected: str, text: str) -> None:
    read = reading(source, text)
    assert (read.signature.id if read else '') == expected


def test_every_signature_has_a_line_and_a_weight() -> None:
    assert {one.id for one in signatures()} == {expected for _, expected, _ in LINES if expected}
    assert {one.clue for one in signatures()} <= set(table().ratios)
    assert len({one.id for one in signatures()}) == len(signatures())
    assert {source for one in signatures() for source in one.sources} <= set(SOURCES)


@pytest.mark.parametrize(('source', 'text', 'names', 'plugin'), [
    ('php-fpm', w.MAX_CHILDREN, {'pool': 'www', 'limit': '5'}, ''),
    ('php-fpm', w.TERMINATED,
     {'pool': 'www', 'path': '/srv/www/index.php', 'time': '3.703345'}, ''),
    ('php', 'PHP Fatal error:  Maximum execution time of 30 seconds exceeded in /x/wp-content/plugins/acme/a.php:3',
     {'seconds': '30 s'}, 'acme'),
    ('php-fpm', w.SEGV, {'pool': 'www', 'signal': 'SIGSEGV'}, ''),
    ('php-fpm', w.SLOW_FRAME, {'path': '/srv/www/wp-content/plugins/acme/acme.php:12'}, 'acme'),
    ('nginx', w.MODSECURITY, {'rule': '942100'}, ''),
    ('nginx', w.FATAL_LINE, {'upstream': 'fastcgi://unix:/run/php/php8.2-fpm.sock:'}, 'acme'),
    ('nginx', w.connecting('2: No such file or directory'), {'upstream': w.SOCKET.removeprefix('unix:')}, ''),
    ('nginx', w.nginx('limiting requests, excess: 5.300 by zone "one"'),
     {'zone': 'one', 'upstream': 'fastcgi://unix:/run/php/php8.2-fpm.sock:'}, ''),
])
def test_what_a_line_names(source: str, text: str, names: dict[str, str], plugin: str) -> None:
    read = reading(source, text)
    assert read is not None
    assert (dict(read.names), read.plugin) == (names, plugin)


@pytest.mark.parametrize(('text', 'plugin'), [
    ('in /srv/www/wp-content/plugins/acme/acme.php:12', 'acme'),
    ('in /srv/www/wp-content/plugins/hello.php on line 3', 'hello.php'),
    ('in /srv/www/wp-content/mu-plugins/loader.php on line 3', 'loader.php'),
    ("Failed opening required '/x/wp-content/plugins/lost/a.php' in /x/wp-content/plugins/acme/b.php:3", 'acme'),
    ('in /srv/www/wp-includes/plugin.php:12', ''),
    ('', ''),
])
def test_plugins_in_messages(text: str, plugin: str) -> None:
    assert plugin_of(text) == plugin


def test_what_a_visitor_writes_is_not_read() -> None:
    asked = 'GET /wp-content/plugins/acme/x.js?upstream sent too big header while reading response header from upstream'
    text = f'2024/05/01 10:00:00 [error] 1#1: *7 open() failed (2: x), client: 1.2.3.4, server: _, request: "{asked}"'
    assert reading('nginx', text) is None
    text = w.nginx('upstream sent too big header while reading response header from upstream').replace('GET /', asked)
    read = reading('nginx', text)
    assert read is not None
    assert read.plugin == ''


@given(st.sampled_from(SOURCES), st.text(max_size=4 * LONGEST))
def test_any_text_can_be_read(source: str, text: str) -> None:
    reading(source, text)


@given(st.sampled_from(LINES), st.integers(0, 400), st.text(max_size=20))
def test_changed_lines_can_be_read(line: tuple[str, str, str], at: int, text: str) -> None:
    source, _, whole = line
    read = reading(source, whole[:at] + text + whole[at:])
    assert read is None or len(read.words) <= 240


# -- no expression takes more than linear time --------------------------------------------------------

def repeats(parsed: object, inside: bool = False) -> Iterator[tuple[bool, int, bool]]:
    """Yield (possessive, most, whether it stands in another that repeats) of every repeat of variable length."""
    for kind, value in parsed:  # type: ignore[attr-defined]
        name = str(kind)
        if name in {'MAX_REPEAT', 'MIN_REPEAT', 'POSSESSIVE_REPEAT'}:
            least, most, inner = value
            if least != most:
                yield name == 'POSSESSIVE_REPEAT', int(most), inside
            yield from repeats(inner, inside or most > 1)
        elif name == 'SUBPATTERN':
            yield from repeats(value[-1], inside)
        elif name == 'BRANCH':
            for one in value[1]:
                yield from repeats(one, inside)
        elif name in {'ASSERT', 'ASSERT_NOT'}:
            yield from repeats(value[1], inside)
        elif name == 'ATOMIC_GROUP':
            yield from repeats(value, inside)


def bounded(pattern: re.Pattern[str]) -> bool:
    """A gap that is tried in several lengths makes n * length steps; two of them would make n * length * length."""
    found = list(repeats(parser.parse(pattern.pattern)))
    gaps = sum(not possessive and most > 1 for possessive, most, _ in found)
    return gaps <= 1 and all(most <= 2000 and not nested for _, most, nested in found)


@pytest.mark.parametrize('signature', signatures(), ids=[one.id for one in signatures()])
def test_expressions_are_bounded(signature: Signature) -> None:
    assert bounded(signature.pattern)
    assert signature.then is None or bounded(signature.then)


@pytest.mark.parametrize('module', [fields, host, lines, maker, model], ids=lambda module: module.__name__)
def test_so_are_all_others(module: ModuleType) -> None:
    found = {name: value for name, value in vars(module).items() if isinstance(value, re.Pattern)}
    assert found
    assert [name for name, value in found.items() if not bounded(value)] == []


@pytest.mark.parametrize('pattern', ['a.*b', 'a.{0,9}b.{0,9}c', '(?:a{1,3}b){2,3}', '(a+)+'])
def test_the_check_finds_what_it_is_for(pattern: str) -> None:
    assert not bounded(re.compile(pattern))
