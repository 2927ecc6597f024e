"""ModSecurity 3 in nginx and 2 in Apache, for real: what is listed is what is loaded, and a harness switches it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.firewalls.modsecurity import ENGINES
from fixtures.firewalls.modsecurity import Name
from fixtures.firewalls.modsecurity import Reply
from fixtures.firewalls.modsecurity import Server
from fixtures.firewalls.modsecurity import rule_files
from fixtures.firewalls.modsecurity.server import CRS
from fixtures.firewalls.modsecurity.server import GIVEN
from fixtures.firewalls.modsecurity.server import HERE
from fixtures.lab import Lab
from wpaudit.domain import Suspect
from wpaudit.firewalls.modsecurity.exceptions import Stands
from wpaudit.firewalls.modsecurity.exceptions import remedies
from wpaudit.firewalls.modsecurity.harness import free_ids
from wpaudit.firewalls.modsecurity.harness import harness
from wpaudit.firewalls.modsecurity.harness import ids_needed
from wpaudit.firewalls.modsecurity.harness import request_headers
from wpaudit.firewalls.modsecurity.layer import ModSecurity
from wpaudit.firewalls.modsecurity.layer import read
from wpaudit.firewalls.modsecurity.lines import hits
from wpaudit.firewalls.modsecurity.lines import known
from wpaudit.firewalls.modsecurity.rules import Located
from wpaudit.firewalls.modsecurity.rules import ruleset
from wpaudit.firewalls.modsecurity.scopes import Configuration
from wpaudit.firewalls.modsecurity.scopes import concerned
from wpaudit.firewalls.modsecurity.scopes import found_in
from wpaudit.firewalls.modsecurity.scopes import places
from wpaudit.firewalls.modsecurity.seclang import Engine
from wpaudit.firewalls.modsecurity.seclang import pieces
from wpaudit.firewalls.modsecurity.suspicion import suspects
from wpaudit.ports import Ground
from wpaudit.shells.local import LocalShell

CHECK = '/usr/lib/x86_64-linux-gnu/libexec/modsec-rules-check'
CRS_FILES = [Path('/etc/modsecurity/crs/crs-setup.conf'), *sorted(CRS.glob('*.conf'))]
FORM = b'form=contact&text=' + b'x' * 30


@dataclass(frozen=True)
class Asked:
    """A request that one rule of the lab blocks."""

    path: str = '/'
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None


BLOCKED = {
    100001: Asked('/?search=1+UNION+2'),
    100002: Asked(headers=(('X-Client', 'bad'),)),
    100003: Asked('/page.html?secret'),
    100010: Asked('/?comment=buy++now'),
    100020: Asked('/post.html', body=FORM),
    100030: Asked('/?close=drop'),
    100031: Asked('/?close=444'),
    100040: Asked('/?odd=1'),
}


def ask(server: Server, asked: Asked, more: Sequence[tuple[str, str]] = (), *, outer: bool = True) -> Reply:
    """Ask as a visitor, by default through another proxy as most would."""
    return server.get(asked.path, (*asked.headers, *more), body=asked.body, outer=outer)


def listed(server: Server, url: str = '') -> tuple[Suspect, ...]:
    """List what is loaded; there is no gap."""
    ground = Ground(LocalShell(), str(server.docroot), url or f'http://127.0.0.1:{server.port}/')
    found, gaps = ModSecurity(ground).listing()
    assert gaps == ()
    return found


def configuration_of(server: Server) -> Configuration:
    """Return what was read of this server, among the others that run here."""
    (found,) = [one for one in read(LocalShell())[0] if one.path == str(server.configuration)]
    return found


@dataclass
class Armed:
    """A server with a harness in place."""

    server: Server
    word: str
    files: dict[Path, bytes]  # as they were

    def off(self, *rules: int) -> tuple[tuple[str, str], ...]:
        """Return the headers that switch rules off."""
        return request_headers(rules, self.word)


@contextlib.contextmanager
def armed(server: Server, *, expires: float = 3600) -> Iterator[Armed]:
    """Put a harness before the first rule of every scope of this site; take it away again."""
    configuration = configuration_of(server)
    indices = concerned(configuration, str(server.docroot), f'http://127.0.0.1:{server.port}/')
    found = [found_in(configuration, index) for index in indices]
    wanted = list(dict.fromkeys(rule.id for one in found for rule in one.suspects))
    taken = {rule.id for one in found for rule in one.rules.rules}
    removals = [pair for one in found for pair in one.rules.removals]
    word, moment = secrets.token_hex(16), int(time.time() + expires)
    before: dict[Path, bytes] = {}
    made = []
    first = free_ids(len(wanted) * 4, taken, removals)
    for number, place in enumerate(sorted(places(configuration, indices), key=lambda one: (one.path, -one.line))):
        file = server.root / f'harness-{number}.conf'
        file.write_text(harness(wanted, word, moment, first_id=first + number * ids_needed(len(wanted))))
        made.append(file)
        path = Path(place.path)
        before.setdefault(path, path.read_bytes())
        lines = path.read_bytes().splitlines(keepends=True)
        lines.insert(place.line - 1, place.text(str(file)).encode())
        path.write_bytes(b''.join(lines))
    try:
        assert before, 'there is no place for a harness'
        assert server.check() == ''
        server.reload()
        yield Armed(server, word, before)
    finally:
        for path, data in before.items():
            path.write_bytes(data)
        for file in made:
            file.unlink()
        server.reload()


@pytest.fixture(scope='module', params=ENGINES)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server with the lab's own rules."""
    with Server(request.param, rule_files('plain', 'default', 'chain', 'closing', 'hostile')) as running:
        yield running


@pytest.fixture(scope='module', params=ENGINES)
def crs(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server with the Core Rule Set."""
    with Server(request.param, rule_files('crs')) as running:
        yield running


# -- the reader and the engines -----------------------------------------------------------------------

def test_debians_core_rule_set_is_read_as_the_engine_reads_it() -> None:
    texts = {path: path.read_text('utf-8', 'surrogateescape') for path in CRS_FILES}
    by_hand = {int(one) for text in texts.values() for one in re.findall(
        r"""^[^#\n]*["', ]id:'?(\d+)""", text, re.MULTILINE)}
    for engine in Engine:
        located = [Located(str(path), one) for path, text in texts.items() for one in pieces(text, engine)]
        for path, text in texts.items():
            assert ''.join(one.piece.raw for one in located if one.path == str(path)) == text
        found = ruleset(located, engine)
        assert {rule.id for rule in found.rules} == by_hand
        assert len(found.rules) == len(by_hand) > 600
        assert len(suspects(found)) > 200
        for rule in found.rules:
            lines = texts[Path(rule.path)].split('\n')[rule.first - 1:rule.last]
            assert re.search(rf"id:'?{rule.id}\b", '\n'.join(lines))
    markers = sum(one.piece.name == 'secmarker' for one in located)
    rules = HERE / 'rules' / 'crs.conf'
    said = subprocess.run([CHECK, str(rules)], capture_output=True, text=True, timeout=60, check=True).stdout
    # The engine keeps a marker in each of its seven phases, and counts them.
    assert f'Loaded {len(found.rules) + 7 * markers} rules' in said


@pytest.mark.parametrize('text', [
    '# comment \\\nSecAction "id:1,pass"\nSecAction "id:2,pass"\n',
    '#SecRule A "x" \\\n  "bogus" \\\n more\nSecAction "id:2,pass"\n',
    'SecRule ARGS "x\ny" "id:1,deny"\nSecAction "id:2,pass"\n',
    'SecRule ARGS "x" "id:1,deny\nSecAction "id:2,pass"\n',
    'SecRule ARGS "x" "id:1,deny,msg:\'a\nb\'"\nSecAction "id:2,pass"\n',
    'SecRule ARGS "x" \\\r\n "id:1,pass"\r\n',
    'SecRule ARGS "x""id:1,pass"\n',
    'secrule ARGS "x" "ID:1,PASS"\n',
    'SecRule ARGS "x" "id:1,deny,chain"\nSecRule ARGS "y" "t:none"\nSecAction "id:2,pass"',
    'SecRule ARGS "x\\"y" "id:\'3\' , pass , msg:\'it\\\'s\'"\n',
])
def test_version_3_counts_the_same_rules(text: str, tmp_path: Path) -> None:
    file = tmp_path / 'rules.conf'
    file.write_text(text, newline='')
    done = subprocess.run([CHECK, str(file)], capture_output=True, text=True, timeout=60, check=False)
    rules = ruleset([Located('f', one) for one in pieces(text, Engine.V3)], Engine.V3).rules
    assert f'Loaded {len(rules)} rules' in done.stdout


def test_version_2_reads_the_same_rules() -> None:
    rule = 'SecRule ARGS:a "@streq {0}" "id:{0},phase:1,deny,status:502"\n'
    text = (
        '# comment \\\n' + rule.format(1) + rule.format(2) + '#SecRule A "x" \\\n  "id:9"\n'
        + 'SecRule ARGS:a \\\r\n "@streq 3" "id:3,\\\n phase:1,deny"\n' + rule.format(4).replace(' "id', '"id')
        + 'SecRule ARGS:a "@streq 5" "id:5,phase:1,deny\n' + rule.format(6)
    ).replace('@streq 4""', '@streq 4" "')
    rules = ruleset([Located('f', one) for one in pieces(text, Engine.V2)], Engine.V2).rules
    with Server('apache', text) as server:
        blocked = [number for number in range(1, 7) if server.get(f'/?a={number}').status != 200]
    assert blocked == [rule.id for rule in rules] == [2, 3, 4, 5, 6]


def test_what_is_listed_is_what_blocks(server: Server) -> None:
    found = {int(one.id): one for one in listed(server)}
    assert set(found) == set(BLOCKED)
    assert [found[100001].where, found[100020].where] == [
        f'{server.root}/{GIVEN}/plain.conf:2', f'{server.root}/{GIVEN}/chain.conf:2',
    ]
    assert found[100020].name == "A form, 'too' long"
    assert found[100040].name.startswith('\x1b]0;owned\x07')
    blocked = dict.fromkeys(BLOCKED, 502)
    if server.name == 'apache':
        blocked[100031] = 500  # it knows no 444
    assert {number: ask(server, asked).status for number, asked in BLOCKED.items()} == blocked
    assert ask(server, Asked('/?comment=only-logged')).status == 200


def test_a_firewall_that_closes_the_connection_is_a_502_only_behind_a_proxy(server: Server) -> None:
    dropped, closed = BLOCKED[100030], BLOCKED[100031]
    direct = [ask(server, one, outer=False).status for one in (dropped, closed)]
    # ModSecurity 3 takes `drop` for a `deny`, with the status of SecDefaultAction.
    assert direct == ([502, 0] if server.name == 'nginx' else [0, 500])


# -- the harness --------------------------------------------------------------------------------------

def test_each_rule_is_off_for_the_request_that_says_so_and_for_no_other(server: Server) -> None:
    files = {path: path.read_bytes() for path in server.root.glob('*.conf')}
    before = {number: ask(server, asked) for number, asked in BLOCKED.items()}
    page = {one: server.get(one) for one in ('/', '/page.html')}
    with armed(server) as run:
        for number, asked in BLOCKED.items():
            assert ask(server, asked) == before[number]              # a visitor
            assert ask(server, asked, run.off()) == before[number]   # one of ours that switches nothing
            assert ask(server, asked, run.off(*(set(BLOCKED) - {number}))) == before[number]
            assert ask(server, asked, run.off(number)).status == 200
            assert ask(server, asked, run.off(*BLOCKED)).status == 200
            assert ask(server, asked, run.off(number + 100)) == before[number]
        assert {one: server.get(one, run.off()) for one in page} == page
    assert {path: path.read_bytes() for path in server.root.glob('*.conf')} == files
    assert {number: ask(server, asked) for number, asked in BLOCKED.items()} == before
    assert server.check() == ''


def test_what_is_not_ours_switches_nothing(server: Server) -> None:
    before = {number: ask(server, asked) for number, asked in BLOCKED.items()}
    with armed(server) as run:
        good = run.off(*BLOCKED)
        word, off = good
        strange = {
            'another word': request_headers(BLOCKED, secrets.token_hex(16)),
            'a word in capitals': ((word[0], word[1].upper()), off),
            'an empty word': ((word[0], ''), off),
            'the word and more': ((word[0], f'{word[1]},{word[1]}'), off),
            'no word': (off,), 'no rules': (word,),
            'the word twice': (*good, word), 'the rules twice': (*good, off),
            'rules and a pattern': (word, (off[0], f'{off[1]}.*')),
            'a range': (word, (off[0], ',100000-200000,')),
        }
        for what, headers in strange.items():
            assert {number: ask(server, asked, headers) for number, asked in BLOCKED.items()} == before, what
        assert ask(server, BLOCKED[100001], good).status == 200


def test_an_expired_harness_switches_nothing(server: Server) -> None:
    before = {number: ask(server, asked) for number, asked in BLOCKED.items()}
    with armed(server, expires=-1) as run:
        assert {number: ask(server, asked, run.off(*BLOCKED)) for number, asked in BLOCKED.items()} == before


def test_a_harness_expires_while_it_is_in_place(server: Server) -> None:
    asked = BLOCKED[100001]
    with armed(server, expires=4) as run:
        status = ask(server, asked, run.off(100001)).status
        deadline = time.monotonic() + 60
        while ask(server, asked, run.off(100001)).status != 502:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert status in (200, 502)  # 502 on a machine so busy that four seconds were over before


def test_the_word_is_on_the_host_only_where_requests_are_logged(server: Server) -> None:
    with armed(server) as run:
        ask(server, BLOCKED[100001], run.off())
        holding = {path.name for path in server.root.glob('*.*') if run.word.encode() in path.read_bytes()}
    assert holding <= {'audit.log'}


# -- scopes within scopes -----------------------------------------------------------------------------

def rule(number: int, phase: int = 2) -> str:
    """Return a rule that answers 502 to ?a=NUMBER."""
    return f'SecRule ARGS:a "@streq {number}" "id:{number},phase:{phase},deny,status:502"\n'


def nested(name: Name) -> Server:
    """Return a server with rules in three scopes, one in another."""
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
def test_a_harness_stands_before_the_rules_of_every_scope(name: Name) -> None:
    with nested(name) as server:
        rules = sorted(int(one.id) for one in listed(server))
        assert rules == ([1, 2, 3, 4, 5, 6] if name == 'nginx' else [1, 2, 3, 4, 5])
        assert [server.get(f'/?a={number}').status for number in rules] == [502] * len(rules)
        with armed(server) as run:
            assert len(run.files) == (3 if name == 'nginx' else 1)  # in Apache all stand in the main file
            for number in rules:
                assert server.get(f'/?a={number}').status == 502
                assert server.get(f'/?a={number}', run.off(number)).status == 200
                assert server.get(f'/?a={number}', run.off(*(set(rules) - {number}))).status == 502


# -- the Core Rule Set --------------------------------------------------------------------------------

ATTACK = b'q=<script>alert(1)</script>&id=1%27+OR+%271%27%3D%271'


def test_the_whole_core_rule_set_switched_by_one_header(crs: Server) -> None:
    every = [int(one.id) for one in listed(crs)]
    assert len(every) == len(set(every)) > 200
    asked = Asked('/post.html', body=ATTACK)
    before = ask(crs, asked)
    pages = {one: crs.get(one) for one in ('/', '/page.html')}
    assert (before.status, {reply.status for reply in pages.values()}) == (403, {200})
    named = {hit.rule for hit in hits(crs.audit.read_text(errors='surrogateescape').splitlines())} & set(every)
    blocking = {number for number in named if number // 1000 in (941, 942)}
    assert len(blocking) > 2
    with armed(crs) as run:
        assert len(run.off(*every)[1][1]) < 8000  # what nginx and Apache take for one header
        assert ask(crs, asked) == before
        assert ask(crs, asked, run.off()) == before
        assert {one: crs.get(one, run.off()) for one in pages} == pages
        assert ask(crs, asked, run.off(*every)).status == 200
        assert ask(crs, asked, run.off(*blocking)).status == 200
        for number in blocking:  # each of them alone is enough to block
            assert ask(crs, asked, run.off(*(blocking - {number}))).status == 403
        assert ask(crs, asked) == before
        assert {one: crs.get(one) for one in pages} == pages
    assert ask(crs, asked) == before


# -- from a log line to what to paste -----------------------------------------------------------------

@pytest.mark.parametrize('number', [100001, 100010])
def test_exceptions_let_pass_what_they_say_and_no_more(server: Server, number: int) -> None:
    asked = BLOCKED[number]
    argument = {100001: 'search', 100010: 'comment'}[number]
    seen = server.log.stat().st_size
    assert ask(server, asked).status == 502
    lines = server.log.read_text(errors='surrogateescape')[seen:].splitlines()
    configuration = configuration_of(server)
    loaded = [rule for index in range(len(configuration.scopes)) for rule in found_in(configuration, index).rules.rules]
    (hit,) = set(known(hits(lines), loaded))
    assert (hit.rule, hit.variable, hit.status, hit.denied) == (number, f'ARGS:{argument}', 502, True)
    elsewhere = Asked(asked.path.replace('/?', '/page.html?'))
    other = BLOCKED[100002]
    found = remedies(hit.rule, path='/', variable=hit.variable, own_id=free_ids(1, [one.id for one in loaded]))
    passing = []
    original = server.rules.read_bytes()
    for remedy in found:
        line = f'{remedy.text}\n'.encode()
        server.rules.write_bytes(line + original if remedy.stands is Stands.BEFORE else original + b'\n' + line)
        assert server.check() == ''
        server.reload()
        assert ask(server, other).status == 502
        passing.append([ask(server, one).status == 200 for one in (asked, elsewhere)])
    server.rules.write_bytes(original)
    server.reload()
    assert passing == [[True, True and name_is_root(elsewhere)], [True, False], [True, True]]


def name_is_root(asked: Asked) -> bool:
    """Tell whether a request is to the path that the exceptions were made for."""
    return asked.path.startswith('/?')


# -- WordPress ----------------------------------------------------------------------------------------

@pytest.mark.parametrize('name', ENGINES)
def test_rules_before_wordpress(name: Name, site: Lab) -> None:
    rules = rule_files('plain')
    with Server(name, rules, docroot=site.path, socket=site.layout.run / 'fpm.sock') as server:
        host = (('Host', f'127.0.0.1:{site.port}'),)  # WordPress sends others to its own address
        assert [one.id for one in listed(server, site.url)] == ['100001', '100002', '100003']
        assert server.get('/', host).status == 200
        assert server.get('/?search=union', host).status == 502
        with armed(server) as run:
            assert server.get('/?search=union', host).status == 502
            page = server.get('/?search=union', (*host, *run.off(100001)))
            assert page.status == 200
            assert Lab.plugins_seen(page.body.decode(errors='replace'))


@pytest.mark.parametrize('name', ENGINES)
def test_wpaudit_list_shows_rules_and_what_it_could_not_read(
    name: Name, site: Lab, tmp_path: Path,
) -> None:
    included = ''.join(f'Include @ROOT@/{one}.conf\n' for one in ('closed', 'open'))
    hostile = (HERE / 'rules' / 'hostile.conf').read_bytes().decode('utf-8', 'surrogateescape')
    with Server(name, included, docroot=site.path, files={'closed.conf': rule(7), 'open.conf': hostile}) as server:
        (server.root / 'closed.conf').chmod(0)
        argv = [
            sys.executable, '-m', 'wpaudit', 'list', '--host', site.target, '--identity', str(site.identity),
            '--known-hosts', str(site.known_hosts), '--format',
        ]
        environment = {'PATH': os.environ['PATH'], 'HOME': str(tmp_path)}
        as_json, as_text = [
            subprocess.run([*argv, style], stdout=subprocess.PIPE, timeout=120, check=True, env=environment).stdout
            for style in ('json', 'text')
        ]
        (server.root / 'closed.conf').chmod(0o644)
    told = json.loads(as_json)
    rules = [one for one in told['rules'] if one['layer'] == 'modsecurity']
    assert [(one['kind'], one['id']) for one in rules] == [('rule', '100040')]
    assert rules[0]['where'] == f'{server.root}/open.conf:2'
    assert rules[0]['name'].startswith('\x1b]0;owned\x07')
    assert {'what': f'{server.root}/closed.conf',
            'why': f'may not be read; as root: setfacl -R -m u:{site.user}:rX {server.root}'} in told['gaps']
    assert b'100040' in as_text
    assert not set('\x1b\x07\u202e') & set(as_text.decode())
