"""Generated .htaccess files: wrapping leaves their bytes and, on a real Apache, what visitors get."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from fixtures.firewalls.apache import Apache
from fixtures.firewalls.apache import Reply
from fixtures.firewalls.generated import generated
from fixtures.firewalls.live import able_live
from fixtures.firewalls.live import live_text
from fixtures.firewalls.neutral import without
from fixtures.firewalls.visits import Visit
from wpaudit.firewalls.apache.reader import read
from wpaudit.firewalls.apache.removing import NAME
from wpaudit.firewalls.apache.units import Key
from wpaudit.firewalls.apache.wrapper import numbered
from wpaudit.firewalls.apache.wrapper import units
from wpaudit.firewalls.apache.wrapper import wrapped

KEY = Key('0123456789abcdef0123', '20991231235959')
REAL = 40  # of the thousand seeds are tried with sets of rules off, too
VISITS = (
    Visit(), Visit('index.html'), Visit('xmlrpc.html?one'), Visit('sub/page.html'), Visit('nowhere.html?one'),
    Visit('wp-login.php.html', '10.0.0.1'), Visit(address='10.0.0.1'), Visit(address='10.1.2.3'),
    Visit('index.html', '10.2.0.1'), Visit(address='10.9.0.1'), Visit(agent='evil'), Visit(agent='ev\xe9l'),
    Visit('sub/page.html?b=1', agent='evil'), Visit(method='POST'), Visit(more=(('X-Attack', '1'),)),
    Visit('xmlrpc.html', referer='spam.test', agent='curl'),
)


def test_generated_files_with_rules_off() -> None:
    able = refused = passed = 0
    with Apache() as apache:
        for seed in range(REAL):
            text = generated(seed)
            numbers = numbered(units(read(text)))
            done = wrapped(text, numbers, KEY)
            able += len(done.able)
            refused += len(done.refusals)
            plain = answers(apache, f'plain-{seed}', text)
            assert not [one for one in plain if one.status == 500], (seed, text)
            harnessed = answers(apache, f'wrapped-{seed}', done.text)
            assert harnessed == plain, seed
            wrong = ((KEY.header, f'not-{KEY.token}'), (KEY.off, KEY.headers(numbers.values())[1][1]))
            for more in (KEY.headers(()), wrong):
                assert answers(apache, f'wrapped-{seed}', None, more) == plain, (seed, more)
            passed += off_as_if_they_were_not_there(apache, seed, text, plain)
    assert able > 200  # the generator is worth its name
    assert refused > 10
    assert passed > 60


def test_the_others_of_a_thousand_are_the_same_to_visitors() -> None:
    with Apache() as apache:
        for place in ('plain', 'wrapped'):
            apache.site(apache.docroot / place)
        for seed in range(REAL, 1000):
            text = generated(seed)
            done = wrapped(text, numbered(units(read(text))), KEY)
            found = [written(apache, 'plain', text), written(apache, 'wrapped', done.text)]
            assert found[0] == found[1], seed
            assert 500 not in [one.status for one in found[0]], seed


def written(apache: Apache, place: str, text: str) -> list[Reply]:
    """Ask some visitors' questions of a directory whose rules are ``text`` from now on."""
    file = apache.docroot / place / '.htaccess'
    file.write_bytes(text.replace('/SITE/', f'/{place}/').encode('utf-8', 'surrogateescape'))
    return asked(apache, place, VISITS[::3])


def off_as_if_they_were_not_there(apache: Apache, seed: int, text: str, plain: list[Reply]) -> int:
    """Compare all off, and some sets, with files that lack those units. Returns for how many sets it mattered."""
    numbers = numbered(units(read(text)))
    able = sorted(wrapped(text, numbers, KEY).able)
    chance = random.Random(seed)
    mattered = 0
    for_everybody = sorted(able_live(text))
    assert set(able) <= set(for_everybody)
    for chosen in [for_everybody, chance.sample(for_everybody, chance.randint(0, len(for_everybody)))]:
        expected = answers(apache, f'without-{seed}', without(text, chosen))
        assert answers(apache, f'live-{seed}', live_text(text, chosen, KEY.expires)) == expected, (seed, chosen)
        over = live_text(text, chosen, '0' * 14).replace(f'<IfDefine {NAME}', f'<IfDefine !{NAME}')  # as swap.sh asks
        assert answers(apache, f'live-{seed}', over) == plain, (seed, chosen)
    for chosen in [able, chance.sample(able, chance.randint(0, len(able))), *([one] for one in able[:3])]:
        expected = answers(apache, f'without-{seed}', without(text, chosen))
        off = KEY.headers(numbers[line] for line in chosen)
        assert answers(apache, f'wrapped-{seed}', None, off) == expected, (seed, chosen)
        mattered += expected != plain
    return mattered


def answers(
    apache: Apache, name: str, text: str | None, more: tuple[tuple[str, str], ...] = (),
) -> list[Reply]:
    """Ask all visitors' questions of a directory, after putting ``text`` into it."""
    if text is not None:
        apache.site(apache.docroot / name, text.replace('/SITE/', f'/{name}/').encode('utf-8', 'surrogateescape'))
    return asked(apache, name, VISITS, more)


def asked(
    apache: Apache, name: str, visits: Sequence[Visit], more: tuple[tuple[str, str], ...] = (),
) -> list[Reply]:
    """Ask these visitors' questions of a directory."""
    found = apache.replies((one.method, f'/{name}/{one.path}', {**one.headers, **dict(more)}) for one in visits)
    return [Reply(one.status, tuple(
        (key, value.replace(f'/{name}/', '/SITE/')) for key, value in one.headers
        if key not in ('last-modified', 'content-length')
    ), one.body.replace(f'/{name}/'.encode(), b'/SITE/')) for one in found]


@pytest.mark.parametrize('seed', [3, 17])
def test_a_harness_whose_time_is_over_does_nothing(seed: int) -> None:
    text = generated(seed)
    numbers = numbered(units(read(text)))
    late = Key(KEY.token, '20200101000000')
    with Apache() as apache:
        plain = answers(apache, 'plain', text)
        assert answers(apache, 'late', wrapped(text, numbers, late).text, late.headers(numbers.values())) == plain
