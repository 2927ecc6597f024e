"""The switch of ModSecurity's rules on real servers: each rule for one request, in every scope, or nothing at all."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fixtures.firewalls.generated_seclang import generated
from fixtures.firewalls.modsecurity import ENGINES
from fixtures.firewalls.modsecurity import Name
from fixtures.firewalls.modsecurity import Server
from fixtures.firewalls.modsecurity.server import HERE
from wpaudit.domain import Mode
from wpaudit.domain import Request
from wpaudit.errors import ModeUnavailable
from wpaudit.firewalls.acting import Acting
from wpaudit.firewalls.modsecurity.harness import free_ids
from wpaudit.firewalls.modsecurity.harness import harness
from wpaudit.firewalls.modsecurity.layer import ModSecurity
from wpaudit.firewalls.modsecurity.planning import with_lines
from wpaudit.firewalls.switching import RuleStep
from wpaudit.ports import Ground
from wpaudit.ports import Switcher
from wpaudit.shells.local import LocalShell

CHECK = '/usr/lib/x86_64-linux-gnu/libexec/modsec-rules-check'
SAMPLE = 20  # of the generated files are tried on the engine


def rule(number: int, phase: int = 2) -> str:
    """Return a rule that answers 502 to ?a=NUMBER."""
    return f'SecRule ARGS:a "@streq {number}" "id:{number},phase:{phase},deny,status:502,log"\n'


def ground_of(server: Server, keep: Path, path: str = '/') -> Ground:
    """Return the ground of a login that runs the server."""
    shell = LocalShell()
    acting = Acting(shell, ('runuser', '-u', server.account.name, '--') if os.geteuid() == 0 else ())
    url = f'http://127.0.0.1:{server.port}'
    return Ground(acting, str(server.docroot), url, by='me', keep=str(keep), requests=(Request(url + path),))


@pytest.fixture
def keep() -> Iterator[Path]:
    directory = Path('/var/tmp') / f'wpaudit-test-{secrets.token_hex(4)}'
    directory.mkdir()
    directory.chmod(0o777)
    yield directory / 'keep'
    assert list(directory.iterdir()) == []
    directory.rmdir()


def seen(server: Server) -> dict[str, tuple[object, ...]]:
    """Everything about the configuration but ctime."""
    found = [one for one in server.root.rglob('*') if one.suffix == '.conf' or one.name.startswith('.wpaudit')]
    return {str(one): (one.lstat().st_ino, one.lstat().st_mtime_ns, one.read_bytes() if one.is_file() else b'')
            for one in found}


@contextmanager
def switching(server: Server, ground: Ground, mode: Mode = Mode.ISOLATED) -> Iterator[Switcher]:
    before = seen(server)
    try:
        with ModSecurity(ground).switching(mode) as switcher:
            assert seen(server) != before
            yield switcher
        assert switcher.restoration().verified
    finally:
        assert seen(server) == before


def statuses(server: Server, switcher: Switcher, off: set[int], numbers: list[int]) -> list[int]:
    """Return how requests with these rules off are answered."""
    with switcher.switched(frozenset(map(str, off))) as step:
        assert isinstance(step, RuleStep)
        return [server.get(f'/?a={number}', step.fields).status for number in numbers]


def nested(name: Name) -> Server:
    """Return a server with rules in several scopes, one in another."""
    text = (HERE / f'{name}.conf').read_text()
    files = {'outer.conf': f'SecRuleEngine On\n{rule(1)}{rule(2, 1)}', 'inner.conf': rule(5)}
    if name == 'apache':
        text = text.replace('<Directory />', 'Include @ROOT@/outer.conf\n<Directory />')
        location = '    <Location />\n        Include @ROOT@/inner.conf\n    </Location>\n'
        text = text.replace('    Include @RULES@\n', f'{location}    Include @RULES@\n')
    else:
        server = '    server {\n        listen 127.0.0.1:@PORT@'
        text = text.replace(server, f'    modsecurity_rules_file @ROOT@/outer.conf;\n{server}')
        inline = rule(6).replace('"', '\\"')
        text = text.replace('location / { try', f'location / {{\nmodsecurity_rules "{inline}";\n'
                                                'modsecurity_rules_file @ROOT@/inner.conf;\ntry')
    return Server(name, rule(3) + rule(4, 1), configuration=text, files=files)


@pytest.mark.parametrize('name', ENGINES)
def test_rules_of_every_scope_are_switched_in_either_mode(name: Name, keep: Path) -> None:
    with nested(name) as server:
        ground = ground_of(server, keep)
        numbers = sorted(int(one.id) for one in ModSecurity(ground).listing()[0])
        assert numbers == ([1, 2, 3, 4, 5, 6] if name == 'nginx' else [1, 2, 3, 4, 5])
        blocked = [502] * len(numbers)
        with switching(server, ground) as switcher:
            assert (switcher.mode, switcher.parallel) == (Mode.ISOLATED, True)
            assert [server.get(f'/?a={number}').status for number in numbers] == blocked
            assert statuses(server, switcher, set(), numbers) == blocked
            assert statuses(server, switcher, set(numbers), numbers) == [200] * len(numbers)
            for at, number in enumerate(numbers):
                assert statuses(server, switcher, {number}, numbers) == [*blocked[:at], 200, *blocked[at + 1:]]
        assert switcher.restoration().message.endswith('was reloaded twice, gracefully')
        with switching(server, ground, Mode.LIVE) as switcher:
            assert (switcher.mode, switcher.parallel) == (Mode.LIVE, False)
            assert statuses(server, switcher, set(), numbers) == blocked
            assert statuses(server, switcher, {1, 4, 5}, numbers) == [200, 502, 502, 200, 200, 502][:len(numbers)]
            assert statuses(server, switcher, set(numbers), numbers) == [200] * len(numbers)
        assert switcher.restoration().message.endswith('was reloaded 4 times, gracefully')
        assert [server.get(f'/?a={number}').status for number in numbers] == blocked


@pytest.mark.parametrize('name', ENGINES)
def test_an_exemption_lets_pass_what_it_says_and_no_more(name: Name, keep: Path) -> None:
    text = 'SecRule ARGS|REQUEST_COOKIES "@contains evil" "id:10,phase:2,deny,status:502,log"\n'
    with Server(name, text) as server:
        ground = ground_of(server, keep, '/?word=evil')
        assert server.get('/?word=evil').status == 502
        with switching(server, ground) as switcher:
            target, whole = switcher.exemptions(frozenset({'10'}))
            assert (target.rule, whole.id) == ('10', '10')
            assert int(target.id) > 9_000_000
            with switcher.switched(frozenset({target.id})) as step:
                assert isinstance(step, RuleStep)
                asked = ('/?word=evil', '/?other=evil')
                assert [server.get(one, step.fields).status for one in asked] == [200, 502]
        # What is to be pasted does the same for everybody, and for that page only.
        path, _, line = target.lines[0].removeprefix('in ').partition(': ')
        file, _, number = path.partition(', before line ')
        before = Path(file).read_text()
        Path(file).write_text(with_lines(before, {int(number): [f'{line}\n']}))
        assert server.check() == ''
        server.reload()
        asked = ('/?word=evil', '/?other=evil', '/page.html?word=evil')
        assert [server.get(one).status for one in asked] == [200, 502, 502]


@pytest.mark.parametrize('name', ENGINES)
def test_strange_texts_are_switched_and_come_back(name: Name, keep: Path) -> None:
    """No UTF-8, open quotes in a comment that goes on and in a rule, lines that end as on Windows, or not at all."""
    latin = '# caf\udce9\nSecRule ARGS:b "caf\udce9" "id:2,deny,status:502"\n'
    text = latin + rule(4).replace('log"', 'log')
    text += '# it\'s "open \\\n# and goes on\n' + rule(3).replace('\n', '\r\n') + rule(1).rstrip('\n')
    with Server(name, text) as server, switching(server, ground_of(server, keep)) as switcher:
        assert statuses(server, switcher, {1}, [1, 3, 4]) == [200, 502, 502]
        assert server.get('/?a=1').status == 502


@pytest.mark.parametrize('name', ENGINES)
def test_what_cannot_be_read_any_more_is_refused_with_nothing_left(name: Name, keep: Path) -> None:
    """The server runs with what it has read; since then the files have become what it would not start with."""
    with Server(name, 'Include @ROOT@/more.conf\n' + rule(1), files={'more.conf': rule(2)}) as server:
        more = server.root / 'more.conf'
        ground = ground_of(server, keep)
        more.write_text({'nginx': f'Include {more}\n{rule(2)}', 'apache': 'SecRule ARGS:b "@streq 2\n'}[name])
        before = seen(server)
        _, gaps = ModSecurity(ground).listing()
        assert gaps != ()
        with pytest.raises(ModeUnavailable, match='would refuse it'), switching(server, ground):
            raise AssertionError('it was taken')
        assert seen(server) == before
        assert server.get('/?a=1').status == 502


def test_a_place_that_may_not_be_read_is_refused(keep: Path) -> None:
    with Server('nginx', rule(1)) as server:
        ground = ground_of(server, keep)
        server.rules.chmod(0)
        layer = ModSecurity(ground)
        found, gaps = layer.listing()
        assert found == ()
        assert any(gap.what == str(server.rules) for gap in gaps)
        with pytest.raises(ModeUnavailable), layer.switching(Mode.ISOLATED):
            raise AssertionError('it was taken')
        server.rules.chmod(0o644)


def test_generated_files_stay_valid_for_the_engine(tmp_path: Path) -> None:
    for seed in range(SAMPLE):
        text = generated(seed)
        rules, ours = tmp_path / 'rules.conf', tmp_path / 'ours.conf'
        ours.write_text(harness([7, 8], secrets.token_hex(16), 2_000_000_000, first_id=free_ids(2, ())))
        for tried in (text, with_lines(text, {1: [f'Include {ours}\n']})):
            rules.write_bytes(tried.encode('utf-8', 'surrogateescape'))
            done = subprocess.run([CHECK, str(rules)], capture_output=True, text=True, timeout=60, check=False)
            assert 'Test ok.' in done.stdout, (seed, done.stdout, tried)
