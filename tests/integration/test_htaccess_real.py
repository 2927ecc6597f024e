"""Wrapped .htaccess files on a real Apache: for visitors nothing changes, and for the tester exactly what he asked for.

The answers with a unit off are compared with those of a copy of the file in which that unit can never apply, which
knows nothing of how wrapping works.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence

import pytest

from fixtures.firewalls.apache import Apache
from fixtures.firewalls.apache import Reply
from fixtures.firewalls.live import live_text
from fixtures.firewalls.neutral import without
from fixtures.firewalls.visits import RULES
from fixtures.firewalls.visits import VISITS
from fixtures.firewalls.visits import Visit
from fixtures.firewalls.visits import rule_text
from wpaudit.firewalls.apache.lines import BROKEN
from wpaudit.firewalls.apache.lines import hints
from wpaudit.firewalls.apache.reader import read
from wpaudit.firewalls.apache.remedies import remedies
from wpaudit.firewalls.apache.units import Key
from wpaudit.firewalls.apache.units import LiveKey
from wpaudit.firewalls.apache.units import Sort
from wpaudit.firewalls.apache.wrapper import Around
from wpaudit.firewalls.apache.wrapper import numbered
from wpaudit.firewalls.apache.wrapper import units
from wpaudit.firewalls.apache.wrapper import unwrapped
from wpaudit.firewalls.apache.wrapper import wrapped

KEY = Key('0123456789abcdef0123', '20991231235959')
LATE = Key(KEY.token, '20200101000000')
REFUSED = ('unbalanced', 'open-quote')
OVER = LiveKey(expires='0' * 14)
NAMES = sorted(path.stem for path in RULES.glob('*.htaccess') if path.stem not in REFUSED)


# Units that block nobody whom another unit would not block too.
SHADOWED: dict[str, tuple[int, ...]] = {
    'deny-files': (3,),
    # two <RequireAll> side by side: who passes one passes, which its authors have not meant
    'security-plugins': (4, 5, 6, 11, 12, 23, 32, 33, 34, 36, 44, 61, 62, 73, 82, 98),
}


@pytest.fixture(scope='module')
def apache() -> Iterator[Apache]:
    with Apache() as server:
        yield server


def put(apache: Apache, name: str, text: str) -> None:
    apache.site(apache.docroot / name, text.replace('/SITE/', f'/{name}/').encode('utf-8', 'surrogateescape'))


def answers(
    apache: Apache, name: str, more: Sequence[tuple[str, str]] = (), visits: Sequence[Visit] = VISITS,
) -> list[Reply]:
    asked = [(one.method, f'/{name}/{one.path}', {**one.headers, **dict(more)}) for one in visits]
    return [_comparable(reply, f'/{name}/') for reply in apache.replies(asked)]


def _comparable(reply: Reply, place: str) -> Reply:
    """Return an answer without the name of its directory and what follows from that."""
    kept = tuple((key, value.replace(place, '/SITE/')) for key, value in reply.headers
                 if key not in ('last-modified', 'content-length'))
    return Reply(reply.status, kept, reply.body.replace(place.encode(), b'/SITE/'))


def statuses(replies: Sequence[Reply]) -> list[int]:
    return [one.status for one in replies]


def differing(one: Sequence[Reply], other: Sequence[Reply], visits: Sequence[Visit] = VISITS) -> list[object]:
    return [(visit, a, b) for visit, a, b in zip(visits, one, other, strict=True) if a != b]


@pytest.mark.parametrize('name', NAMES)
def test_visitors_see_no_difference(apache: Apache, name: str) -> None:
    text = rule_text(name)
    numbers = numbered(units(read(text)))
    put(apache, f'{name}-plain', text)
    put(apache, f'{name}-wrapped', wrapped(text, numbers, KEY).text)
    put(apache, f'{name}-late', wrapped(text, numbers, LATE).text)
    plain = answers(apache, f'{name}-plain')
    assert 500 not in statuses(plain)
    wrong = ((KEY.header, 'wrong-' + KEY.token), (KEY.off, KEY.headers(numbers.values())[1][1]))
    twice = ((KEY.header, f'{KEY.token}, {KEY.token}'), (KEY.off, KEY.headers(numbers.values())[1][1]))
    for more in ((), KEY.headers(()), wrong, twice):
        assert differing(plain, answers(apache, f'{name}-wrapped', more)) == [], more
    assert differing(plain, answers(apache, f'{name}-late', KEY.headers(numbers.values()))) == []


@pytest.mark.parametrize('name', NAMES)
def test_each_unit_can_be_off_for_one_request(apache: Apache, name: str) -> None:
    text = rule_text(name)
    found = units(read(text))
    numbers = numbered(found)
    done = wrapped(text, numbers, KEY)
    assert done.able
    put(apache, f'{name}-plain', text)
    put(apache, f'{name}-wrapped', done.text)
    plain = answers(apache, f'{name}-plain')
    for unit in found:
        if unit.line not in done.able:
            continue
        put(apache, f'{name}-without', without(text, [unit.line]))
        expected = answers(apache, f'{name}-without')
        assert 500 not in statuses(expected), unit
        assert differing(expected, answers(apache, f'{name}-wrapped', KEY.headers([numbers[unit.line]]))) == [], unit
        if name not in SHADOWED or unit.line not in SHADOWED[name]:
            assert expected != plain, unit  # somebody among the visitors is blocked by it


@pytest.mark.parametrize('name', NAMES)
def test_any_set_of_units_can_be_off(apache: Apache, name: str) -> None:
    text = rule_text(name)
    numbers = numbered(units(read(text)))
    done = wrapped(text, numbers, KEY)
    put(apache, f'{name}-wrapped', done.text)
    chance = random.Random(name)
    everything = sorted(done.able)
    for chosen in [everything, *(chance.sample(everything, chance.randint(0, len(everything))) for _ in range(3))]:
        put(apache, f'{name}-without', without(text, chosen))
        off = KEY.headers(numbers[line] for line in chosen)
        expected = answers(apache, f'{name}-without')
        assert differing(expected, answers(apache, f'{name}-wrapped', off)) == [], chosen
        put(apache, f'{name}-live', live_text(text, chosen, KEY.expires))
        assert differing(expected, answers(apache, f'{name}-live')) == [], chosen
    put(apache, f'{name}-over', wrapped(text, numbers, OVER).text)
    put(apache, f'{name}-plain', text)
    assert differing(answers(apache, f'{name}-plain'), answers(apache, f'{name}-over')) == []


@pytest.mark.parametrize('name', NAMES)
def test_taking_the_wrapper_out_gives_the_same_bytes(name: str) -> None:
    text = rule_text(name)
    done = wrapped(text, numbered(units(read(text))), KEY)
    assert done.text != text
    assert unwrapped(done.text) == text


@pytest.mark.parametrize('name', NAMES)
def test_a_remedy_changes_what_it_says(apache: Apache, name: str) -> None:
    text = rule_text(name)
    put(apache, f'{name}-plain', text)
    plain = answers(apache, f'{name}-plain')
    for unit in units(read(text)):
        put(apache, f'{name}-without', without(text, [unit.line]))
        expected = answers(apache, f'{name}-without')
        for remedy in remedies(text, unit, path='/SITE/page.html'):
            put(apache, f'{name}-remedied', remedy.text)
            found = answers(apache, f'{name}-remedied')
            if '/SITE/page.html' in remedy.effect:
                mixed = [new if visit.path.partition('?')[0] == 'page.html' else old
                         for visit, new, old in zip(VISITS, expected, plain, strict=True)]
                assert differing(mixed, found) == [], remedy
            elif unit.sort is not Sort.DENY or len(unit.name.split()) == 3:
                assert differing(expected, found) == [], remedy
            else:
                assert 500 not in statuses(found)


def test_files_of_two_directories(apache: Apache) -> None:
    """mod_access_compat lets the inner file replace the outer one, which wrapping must not turn around."""
    texts = {
        '': 'Order allow,deny\nAllow from all\nDeny from 10.0.0.1\n',
        'sub': 'Deny from 10.1\nRedirect 404 /SITE/sub/x\n',
    }
    visits = [Visit(path, address) for path in ('page.html', 'sub/page.html', 'sub/x')
              for address in ('10.0.0.1', '10.1.0.1', '10.2.0.1')]

    def placed(name: str, texts: Mapping[str, str]) -> list[Reply]:
        put(apache, name, texts[''])
        (apache.docroot / name / 'sub' / '.htaccess').write_text(texts['sub'].replace('/SITE/', f'/{name}/'))
        return answers(apache, name, visits=visits)

    around, first, second = Around(denies=True), {3: 1}, {1: 2, 2: 3}
    new = {'': wrapped(texts[''], first, KEY, around).text, 'sub': wrapped(texts['sub'], second, KEY, around).text}
    plain = placed('outer-plain', texts)
    assert statuses(plain) == [403, 200, 200, 200, 403, 200, 404, 403, 404]
    assert placed('outer-wrapped', new) == plain
    for off in ([], [1], [2], [3], [1, 2, 3]):
        kept = {
            '': without(texts[''], [line for line, number in first.items() if number in off]),
            'sub': without(texts['sub'], [line for line, number in second.items() if number in off]),
        }
        expected = placed('outer-without', kept)
        assert answers(apache, 'outer-wrapped', KEY.headers(off), visits) == expected, off


@pytest.mark.parametrize(('override', 'names'), [
    ('Limit', ['deny-from', 'deny-files']), ('AuthConfig', ['require-not', 'login']),
    ('FileInfo', ['gateway', 'redirect', 'chains', 'firewall-6g']), ('FileInfo Limit AuthConfig', ['setenvif']),
])
def test_where_less_than_everything_is_allowed(override: str, names: Sequence[str]) -> None:
    """A directive that AllowOverride does not allow would answer 500 to every visitor."""
    allowed = f'<Directory "@WWW@">\nAllowOverride {override}\n</Directory>\n'
    with Apache(more=allowed) as apache:
        for name in names:
            text = rule_text(name)
            put(apache, f'{name}-plain', text)
            put(apache, f'{name}-wrapped', wrapped(text, numbered(units(read(text))), KEY).text)
            plain = answers(apache, f'{name}-plain')
            assert 500 not in statuses(plain)
            assert differing(plain, answers(apache, f'{name}-wrapped')) == []


def test_what_apache_logs_points_at_the_kind_of_rule() -> None:
    with Apache() as apache:
        put(apache, 'mixed', rule_text('deny-from') + '<Files "xmlrpc.html">\nRequire all denied\n</Files>\n')
        put(apache, 'broken', 'Nonsense\n')
        wanted = [Visit('page.html', '10.0.0.1'), Visit('xmlrpc.html')]
        assert statuses(answers(apache, 'mixed', visits=wanted)) == [403, 403]
        assert statuses(answers(apache, 'broken', visits=[Visit()])) == [500]
        found = hints(apache.log.read_text(errors='surrogateescape').splitlines())
        place = apache.docroot
    assert [(one.number, one.path, one.client) for one in found] == [
        ('AH01797', f'{place}/mixed/page.html', '10.0.0.1'), ('AH01630', f'{place}/mixed/xmlrpc.html', '127.0.0.1'),
        (BROKEN, f'{place}/broken/.htaccess', '127.0.0.1'),
    ]


def test_a_vhost_file() -> None:
    """The same text in the server's own configuration, where it counts after a graceful reload."""
    rules = (
        'RewriteEngine On\nRewriteCond %{QUERY_STRING} one [OR]\nRewriteCond %{QUERY_STRING} two\n'
        'RewriteRule ^/(page|xmlrpc) - [R=502]\n'
        '<Location "/xmlrpc.html">\n<RequireAll>\nRequire all granted\nRequire not ip 10.0.0.1\n</RequireAll>\n'
        '</Location>\n<Directory "@WWW@/sub">\nOrder allow,deny\nDeny from 10.1\nAllow from all\n'
        'RedirectMatch 404 "index"\n</Directory>\n'
    )
    numbers = numbered(units(read(rules)))
    done = wrapped(rules, numbers, KEY, Around(server=True))
    assert len(done.able) == len(numbers) == 6
    visits = [*VISITS, Visit('sub/page.html', '10.1.0.1'), Visit('sub/index.html'), Visit('page.html?two')]
    with Apache(more=rules) as plain, Apache(more=done.text) as new:
        expected = statuses(answers(plain, '.', visits=visits))
        assert {502, 403, 404, 200} <= set(expected)
        for more in ((), KEY.headers(())):
            assert statuses(answers(new, '.', more, visits)) == expected
        for line in sorted(done.able):
            with Apache(more=without(rules, [line])) as other:
                wanted = statuses(answers(other, '.', visits=visits))
            assert statuses(answers(new, '.', KEY.headers([numbers[line]]), visits)) == wanted, line


@pytest.mark.parametrize('name', REFUSED)
def test_a_file_that_apache_refuses_is_left_alone(apache: Apache, name: str) -> None:
    text = rule_text(name)
    put(apache, name, text)
    assert statuses(answers(apache, name, visits=[Visit()])) == [500]
    assert read(text).problems
    assert units(read(text)) == ()
    assert wrapped(text, {3: 1}, KEY).text == text
