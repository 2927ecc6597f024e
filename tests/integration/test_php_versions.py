"""The PHP that is sent to hosts, under each PHP that hosts have."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from fixtures.lab import Lab
from fixtures.lab.bundle import bundle
from fixtures.lab.errors import LabError
from fixtures.phps import PHPS
from fixtures.phps import Php
from fixtures.phps import PhpError
from fixtures.phps import Response
from fixtures.phps import fetched
from fixtures.phps import php
from fixtures.plugins import SOURCES
from wpaudit.domain import Mark
from wpaudit.sites.launch import joined
from wpaudit.sites.readings import Seen
from wpaudit.sites.readings import readings
from wpaudit.sites.recording import Part
from wpaudit.sites.recording import parsed
from wpaudit.sites.switching import Key
from wpaudit.sites.switching import parsed_mark

HERE = Path(__file__).parents[2]
TEXTS = HERE / 'wpaudit' / 'sites' / 'php'
PHP_SIDE = HERE / 'fixtures' / 'phps'
WORDS = {"'__RUNDIR__'": "'/bench/run'", '__TOKEN__': 'zoo', '__EXPIRES__': '4102444800', '__LIVE__': 'false'}
ZOO = PHP_SIDE / 'zoo'


def text_of(name: str) -> str:
    """Return a text as it is when the host has it."""
    text = (TEXTS / name).read_text()
    for word, value in WORDS.items():
        text = text.replace(word, value)
    return text


@dataclass(frozen=True)
class Bench:
    """A PHP with the zoo's files below /bench and WordPress's own below /wordpress."""

    php: Php
    work: Path

    @property
    def version(self) -> tuple[int, ...]:
        """The version, to compare."""
        return tuple(int(part) for part in self.php.version.split('.'))

    def compiled(self, text: str) -> list[str]:
        """Return what PHP has to say about a text that it does not run."""
        (self.work / 'text.php').write_text(text)
        return self.php.run('/bench/compile.php', '/?file=/bench/text.php').body.splitlines()

    def request(self, plugins: tuple[str, ...], more: str = '', *, record: str = '') -> Response:
        """Go through one request with these plugins."""
        recording = f'&record={record}' if record else ''
        return self.php.run('/bench/boot.php', f'/?plugins={",".join(plugins)}{recording}{more}')

    def recorded(self, nonce: str, plugins: tuple[str, ...]) -> Part:
        """Read what the flight recorder left."""
        return part_of(self.work / 'marks' / f'{nonce}-rec0', plugins)


def part_of(file: Path, suspects: tuple[str, ...]) -> Part:
    """Read a file of the flight recorder."""
    raw = file.read_bytes()
    assert len(raw) == 1 << 16
    part = parsed(raw.replace(b'\0', b'').decode(), suspects)
    assert part is not None
    return part


@pytest.fixture(scope='module', params=PHPS)
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    work = tmp_path_factory.mktemp('php')
    plugins = work / 'content' / 'plugins'
    plugins.mkdir(parents=True)
    (work / 'marks').mkdir()
    for file in (*ZOO.glob('*.php'), SOURCES / 'faulty' / 'hook-zoo' / 'hook-zoo.php'):
        shutil.copy(file, work if file.name == 'boot.php' else plugins)
    shutil.copy(PHP_SIDE / 'compile.php', work)
    shutil.copy(PHP_SIDE / 'code.php', work)
    shutil.copy(TEXTS / 'sources.php', work)
    (work / 'recorder.php').write_text(text_of('recorder.php'))
    with php(request.param, {work: '/bench', bundle().wordpress: '/wordpress'}) as running:
        yield Bench(running, work)


def test_what_is_cached_needs_no_network_and_no_node_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    modules = fetched('7.2')
    monkeypatch.setenv('PATH', str(tmp_path))
    assert fetched('7.2') == modules
    with pytest.raises(PhpError, match='`node` is not installed'), php('7.2', {}):
        pass
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    with pytest.raises(LabError, match='`npm` is not installed'):
        fetched('7.2')


# -- it is PHP ------------------------------------------------------------------------------------------


@pytest.mark.parametrize('name', sorted(file.name for file in TEXTS.glob('*.php')))
def test_each_text_compiles_without_a_word(bench: Bench, name: str) -> None:
    assert bench.compiled(text_of(name)) == []


def test_a_text_that_is_no_php_or_deprecated_is_noticed(bench: Bench) -> None:
    assert 'syntax error' in bench.compiled('<?php else;')[0]
    nullable = bench.compiled('<?php function f( array $a = null ) {}')
    assert bool(nullable) == (bench.version >= (8, 4))
    assert bool(bench.compiled('<?php echo "${a}";')) == (bench.version >= (8, 2))


# -- what plugins' code has to do with one another ---------------------------------------------------------

CODE = {
    'one/one.php': r"""<?php
/* Not Two_In_Comment, // nor this: two_in_comment */
function one_guard() {}
define( 'ONE_VERSION', '1' );
require 'inc/page.php';
do_action( 'one_ready' );
$url = 'http://two.example/'; // two_in_comment again
""",
    'one/inc/page.php': r"""<?php
namespace One;
use Two\Deep\Registry;
function page() {
	if ( \defined( 'TWO_LEVEL' ) || OF_CORE || \class_exists( '\\Two\\Deep\\Registry' ) ) {
		return \get_option( "two_mode" ) . \apply_filters( 'the_content', COMMON_NAME );
	}
}
add_action( 'two_loaded', 'One\page' );
is_plugin_active( 'alone.php' );
""",
    'two/two.php': r"""<?php
define( 'TWO_LEVEL', 2 );
define( 'OF_CORE', 2 );
define( 'COMMON_NAME', 2 );
class Two_In_Comment { public function page() {} private const TWO_MEMBER = 1; }
function two_in_comment() {}
do_action('two_loaded');
apply_filters( "the_content", '' );
update_option( 'two_mode', 1 );
""",
    'two/src/Registry.php': "<?php\nnamespace Two\\Deep;\nfinal class Registry {}\n",
    'three/three.php': r"""<?php
remove_action( 'init', 'one_guard' );
add_filter( 'one_ready', '__return_true', 10 );
define( 'COMMON_NAME', 3 ); echo ONE_VERSION, defined( 'ONE_VERSION' );
""",
    'four/four.php': "<?php define( 'COMMON_NAME', 4 );",
    'five/five.php': "<?php define( 'COMMON_NAME', 5 );",
    'alone.php': '<?php function one_guard() {}',
}
MENTIONED = {
    ('two/two.php', 'defines', 'TWO_LEVEL', 2), ('two/two.php', 'defines', r'Two\Deep\Registry', 2),
    ('two/two.php', 'stores', 'two_mode', 2), ('two/two.php', 'fires', 'two_loaded', 1),
    ('three/three.php', 'asks', 'one_guard', 0), ('three/three.php', 'asks', 'ONE_VERSION', 0),
    ('three/three.php', 'hooks', 'one_ready', 0), ('alone.php', 'file', 'alone.php', 1),
    ('alone.php', 'shares', 'one_guard', 0),
}


def test_names_that_two_plugins_have_to_do_with(bench: Bench) -> None:
    for name, text in CODE.items():
        file = bench.work / 'code' / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    plugins = [name for name in CODE if '/' not in name or Path(name).stem == Path(name).parent.name]
    question = {'plugins': [_b64(name.encode()) for name in plugins], 'plugin': plugins.index('one/one.php'),
                'file': _b64(b'one/inc/page.php'), 'first': 4, 'last': 8}
    (bench.work / 'question.json').write_text(json.dumps(question))
    said = json.loads(bench.php.run('/bench/code.php', '/').body)
    assert {(plugins[row['plugin']], row['how'], row['name'], row['near']) for row in said['rows']} == MENTIONED
    assert (said['files'], said['cut']) == (len(CODE), False)


# -- the flight recorder changes nothing ----------------------------------------------------------------


def told(text: str) -> str:
    """Return an output without what PHP's own messages tell of the caller, which is the recorder then."""
    text = re.sub(r'[\w:]*\{closure.*?\}\(\)', '{closure}()', text)
    text = re.sub(r'(called|passed) in \S+ on line \d+', r'\1 by somebody', text)
    text = re.sub(r'\(\$\w+\) must be passed by reference', 'must be passed by reference', text)
    return re.sub(r'"(class-wp-hook|recorder)\.php"\]', '"the caller"]', text)


def since(file: Path) -> tuple[int, ...]:
    """Return the version that a file of the zoo needs."""
    return tuple(int(part) for part in file.stem.removeprefix('since-').split('.'))


def test_callbacks_do_what_they_do_without_the_recorder(bench: Bench) -> None:
    newer = [file.name for file in sorted(ZOO.glob('since-*.php')) if since(file) <= bench.version]
    plugins = ('hook-zoo.php', 'more.php', 'strict.php', *newer)
    plain, seen = bench.request(plugins), bench.request(plugins, record='aa')
    assert plain.body.endswith('the end\n'), plain
    assert plain.errors == ''
    said = re.findall('<!-- zoo (.*?): ', told(plain.body))
    assert len(said) > 40 + 3 * len(newer)
    assert told(seen.body).splitlines() == told(plain.body).splitlines()
    assert replace(seen, body='') == replace(plain, body='')
    part = bench.recorded('aa', plugins)
    assert (part.how, part.done, part.frames, part.error) == ('returned', True, (), '')
    calls = {owner.suspects: cost.calls for owner, cost in part.costs.items()}
    assert all(calls[file,] > 1 for file in plugins)
    assert calls['more.php',] > 100
    assert readings([part], Seen(200, seconds=part.seconds)) == ()


ENDINGS = {
    'returns': ('returned', ''),
    'exits': ('exit', 'endings @ zoo_ending ended the request (exit)'),
    'dies': ('exit', 'endings @ zoo_ending ended the request (exit)'),
    'throws': ('fatal', 'ended by a PHP fatal error in endings (endings.php:'),
    'calls-nothing': ('fatal', 'Uncaught Error: Call to undefined function zoo_no_such_function()'),
    'eats': ('fatal', 'ran out of memory in endings (endings.php:'),
    'exits-in-finally': ('exit', 'endings @ zoo_ending ended the request (exit)'),
    'exits-at-shutdown': ('returned', 'died in endings @ shutdown function of zoo_ending'),
    'throws-at-shutdown': ('returned', 'died in endings @ shutdown function of zoo_ending'),
    'sends': ('returned', 'endings @ zoo_ending set the status 418'),
    'buffers': ('returned', ''),
}


@pytest.mark.parametrize('end', ENDINGS)
def test_a_request_ends_as_it_ends_without_the_recorder(bench: Bench, end: str) -> None:
    plugins = ('endings.php',)
    nonce = f'ending-{end}'
    plain = bench.request(plugins, f'&end={end}')
    seen = bench.request(plugins, f'&end={end}', record=nonce)
    assert seen.body == plain.body
    assert (seen.exit, seen.status, seen.headers) == (plain.exit, plain.status, plain.headers)
    assert seen.errors.splitlines()[:1] == plain.errors.splitlines()[:1]  # below are stack traces
    assert 'shutdown action' in plain.body.lower()
    part = bench.recorded(nonce, plugins)
    how, reason = ENDINGS[end]
    assert part.how == how
    found = readings([part], Seen(seen.status, seconds=0.1))
    assert [one.suspects for one in found] == [plugins] * bool(reason)
    assert not reason or reason in found[0].reason


# -- the must-use plugin --------------------------------------------------------------------------------

SUSPECTS = ('a/a.php', 'b\udcff/b.php', 'n/n.php')
KEY = Key(b'k' * 32, SUSPECTS, clock=0.0)
NONCE = '0123456789abcdef01234567'
LIST = ['a/a.php', 'b\ufffd/b.php', 'c.php']  # as JSON must carry it
READS = {
    'SELECT 1 FROM a', ' (select 2)', '/* x */ SHOW TABLES', '-- x\nSELECT 3', 'WITH x AS (SELECT 1) SELECT * FROM x',
}
FIRST_LINE = '<?php exit; ?>\n'


@dataclass(frozen=True)
class Armed:
    """A host on which the must-use plugin was put."""

    bench: Bench
    marks: Path

    def visited(self, header: str | None) -> dict[str, Any]:
        """Make a request and return what became of it."""
        headers = {} if header is None else {'x-wpaudit': header}
        seen = self.bench.php.run('/bench/must-use.php', headers=headers)
        assert (seen.exit, seen.errors) == (0, ''), seen
        said: dict[str, Any] = json.loads(seen.body)
        assert said['notices'] == []
        return {**said, 'headers': seen.headers}


def write_config(directory: Path, key: Key) -> None:
    """Write the run's configuration as `state.php` does."""
    config = {
        'key': _b64(key.secret), 'marks': '/bench/run/marks', 'theme': 'twenty',
        'suspects': [_b64(os.fsencode(name)) for name in key.suspects],
        'login': {'user': 7, 'verifier': 'v', 'expires': 4102444800},
    }
    (directory / 'config.php').write_text(FIRST_LINE + json.dumps(config))


@pytest.fixture
def armed(bench: Bench) -> Iterator[Armed]:
    run, must_use = bench.work / 'run', bench.work / 'mu-plugins'
    marks = run / 'marks'
    marks.mkdir(parents=True)
    must_use.mkdir()
    write_config(run, KEY)
    (must_use / '!wpaudit-zoo.php').write_text(text_of('isolate.php'))
    shutil.copy(PHP_SIDE / 'must-use.php', bench.work)
    yield Armed(bench, marks)
    shutil.rmtree(run, ignore_errors=True)
    shutil.rmtree(must_use, ignore_errors=True)


def test_a_visitor_gets_what_he_gets_without_it(armed: Armed) -> None:
    said = armed.visited(None)
    assert (said['plugins'], said['network'], said['kept']) == (LIST, ['a/a.php', 'n/n.php'], 'new')
    assert (said['theme'], said['mail'], said['cron'], said['login']) == (False, None, None, None)
    assert all(said['queries'].values())
    assert 'x-wpaudit-mark' not in said['headers']
    assert list(armed.marks.iterdir()) == []


def test_a_probe_is_isolated_and_its_answer_is_marked(armed: Armed) -> None:
    said = armed.visited(KEY.header(NONCE, frozenset(SUSPECTS[1:]), theme=True))
    assert (said['plugins'], said['network'], said['kept']) == (['a/a.php', 'c.php'], ['a/a.php'], 'old')
    assert (said['theme'], said['mail'], said['cron']) == ('twenty', True, [])
    assert [*said['login'][0]] == ['v']
    assert {query for query, passed in said['queries'].items() if passed} == READS
    [mark] = said['headers']['x-wpaudit-mark']
    assert KEY.proves(NONCE, mark) == 0  # nothing had asked for the list before the plugins were loaded
    assert parsed_mark((armed.marks / NONCE).read_text()) == Mark(seen=True, stage='ended', off=2)


def forged(header: str, place: int, value: str, *, sign: bool = False) -> str:
    """Change one field of a good header, and sign the whole again if asked to."""
    fields = header.split(';')
    fields[place] = value
    if sign:
        fields[5] = hmac.new(KEY.secret, ';'.join(fields[:5]).encode(), hashlib.sha256).hexdigest()
    return ';'.join(fields)


GOOD = KEY.header(NONCE, frozenset(), theme=False)
BAD = {
    'empty': '',
    'no fields': 'v1',
    'a field more': GOOD + ';',
    'another version': forged(GOOD, 0, 'v2', sign=True),
    'another nonce': forged(GOOD, 1, 'f' * 24),
    'a nonce that is a path': forged(GOOD, 1, '../../../../bench/x', sign=True),
    'a nonce that is short': forged(GOOD, 1, 'ab', sign=True),
    'another moment': forged(GOOD, 2, '4102444800'),
    'the past': forged(GOOD, 2, '1700000000', sign=True),
    'no moment': forged(GOOD, 2, 'soon', sign=True),
    'another mask': forged(GOOD, 3, 'wA'),
    'other flags': forged(GOOD, 4, 't'),
    'no proof': forged(GOOD, 5, ''),
    'zero as proof': forged(GOOD, 5, '0'),
    'another key': Key(b'x' * 32, SUSPECTS, 0).header(NONCE, frozenset(), theme=False),
    'too long': forged(GOOD, 3, 'A' * 5000, sign=True),
}


def test_a_header_that_is_not_ours_changes_nothing(armed: Armed) -> None:
    visitor = armed.visited(None)
    for name, header in BAD.items():
        said = armed.visited(header)
        assert {**said, 'headers': None} == {**visitor, 'headers': None}, name
        assert 'x-wpaudit-mark' not in said['headers'], name
    assert list(armed.marks.iterdir()) == []
    assert armed.visited(GOOD)['mail'] is True


def test_past_its_expiry_it_puts_the_rows_back_and_goes(armed: Armed) -> None:
    bench = armed.bench
    must_use = bench.work / 'mu-plugins' / '!wpaudit-zoo.php'
    must_use.write_text(must_use.read_text().replace('4102444800', '1700000000'))
    rows = {'1': b'a:1:{i:0;s:7:"\xff/a.php";}', '2': b'visitor', '3': b'ours'}
    text = json.dumps({'rows': [_row(rows['1'], 1), _row(b'before', 3, [b'other', b'ours'])]})
    (bench.work / 'run' / 'journal.php').write_text(FIRST_LINE + text)
    (bench.work / 'rows.json').write_text(json.dumps({id_: _b64(raw) for id_, raw in rows.items()}))
    assert armed.visited(KEY.header(NONCE, frozenset(SUSPECTS), theme=False))['plugins'] == LIST
    left = {id_: base64.b64decode(raw) for id_, raw in json.loads((bench.work / 'rows.json').read_text()).items()}
    assert left == {**rows, '3': b'before'}
    assert not must_use.exists()
    assert not (bench.work / 'run').exists()


def test_past_its_expiry_a_row_that_somebody_else_changed_stays_with_the_journal(armed: Armed) -> None:
    bench = armed.bench
    must_use = bench.work / 'mu-plugins' / '!wpaudit-zoo.php'
    must_use.write_text(must_use.read_text().replace('4102444800', '1700000000'))
    text = FIRST_LINE + json.dumps({'rows': [_row(b'before', 3, [b'ours'])]})
    (bench.work / 'run' / 'journal.php').write_text(text)
    (bench.work / 'rows.json').write_text(json.dumps({'3': _b64(b'theirs')}))
    armed.visited(None)
    assert json.loads((bench.work / 'rows.json').read_text()) == {'3': _b64(b'theirs')}
    assert (bench.work / 'run' / 'journal.php').read_text() == text
    assert must_use.exists()


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _row(raw: bytes, number: int, written: list[bytes] | None = None) -> dict[str, Any]:
    row = {'table': 'options', 'key': 'option_id', 'id': number, 'column': 'option_value', 'name': 'active_plugins'}
    more = {} if written is None else {'written': [_b64(one) for one in written]}
    return {**row, 'raw': _b64(raw), **more}


# -- the agent ------------------------------------------------------------------------------------------

QUESTIONS: list[tuple[str, Any]] = [
    ('{"id": 1, "op": "ping"}', ['time']),
    ('no json', None),
    ('{"op": "ping"}', None),
    ('{"id": 2, "op": "nothing such"}', ['unknown', 'no such operation']),
    ('{"id": 3, "op": "mark", "nonce": "ab"}', ['closed', 'this run was already put back by its watchdog']),
    ('{"id": 4, "op": "recording", "nonce": "ab"}', ['closed', 'this run was already put back by its watchdog']),
    ('{"id": 5, "op": "finish"}', ['after', 'before', 'foreign', 'left', 'seconds', 'verified']),
]
# What an operation says that is sent later, its letters being no UTF-8 at all, or too many.
TOLD = {
    r'"plain \xc3\xa4"': 'plain ä',
    r'"\xff\x00"': {'b64': '/wA='},
    'str_repeat( "x", 3000 )': 'x' * 2000,
    r'str_repeat( "x", 1999 ) . "\xc3\xa4"': {'b64': base64.b64encode(b'x' * 1999 + b'\xc3').decode()},
    "''": '',
    '7': '7',
}


def test_the_agent_answers_in_json_behind_its_sentinel(bench: Bench) -> None:
    shutil.copy(PHP_SIDE / 'agent.php', bench.work / 'serve.php')
    (bench.work / 'agent.php').write_text('<?php' + joined('agent.php', 'inventory.php', 'state.php'))
    thrown = [f'throw new Wpaudit_Refusal( "told", {expression} );' for expression in TOLD]
    extended = [
        json.dumps({'id': 100 + number, 'op': 'extend', 'unless': 'None', 'source': _b64(code.encode())})
        for number, code in enumerate([*thrown, 'trigger_undefined();', 'if ('])
    ]
    lines = [line for line, _ in QUESTIONS] + extended
    (bench.work / 'questions').write_text(''.join(f'{line}\n' for line in lines) + '{"id": 9, "op": "ping"} and no end')
    seen = bench.php.run('/bench/serve.php')
    assert (seen.exit, seen.errors) == (0, '')
    said = [line for line in seen.body.splitlines() if line]
    assert all(line.startswith('@zoo:{"id":') for line in said), seen.body
    answers = [json.loads(line.removeprefix('@zoo:')) for line in said]
    found = [sorted(one['result']) if one['error'] is None else list(one['error'].values()) for one in answers]
    wanted = [said for _, said in QUESTIONS if said] + [['told', text] for text in TOLD.values()]
    assert found[:-2] == wanted
    assert [code for code, _ in found[-2:]] == ['failed', 'failed']
    assert 'undefined function' in found[-2][1]
    assert 'ParseError' in found[-1][1]


# -- a whole WordPress ----------------------------------------------------------------------------------


@pytest.mark.parametrize('version', ['7.4', '8.5'])  # from the oldest that this WordPress takes to the newest
def test_a_whole_wordpress_answers_recorded_probes(version: str, site: Lab, tmp_path: Path) -> None:
    broken, zoo = (site.install(name) for name in ('fatal', 'hook-zoo'))
    suspects = (*site.active(), zoo, broken)
    site.activate(suspects)
    key = Key(b'w' * 32, suspects, clock=0.0)
    content = tmp_path / 'site' / 'wp-content'
    shutil.copytree(site.path, tmp_path / 'site', symlinks=True)
    (content / 'mu-plugins').mkdir(exist_ok=True)
    (content / 'mu-plugins' / '!wpaudit-zoo.php').write_text(text_of('isolate.php'))
    marks = tmp_path / 'run' / 'marks'
    marks.mkdir(parents=True)
    write_config(tmp_path / 'run', key)
    (tmp_path / 'run' / 'recorder-zoo.php').write_text(text_of('recorder.php'))
    database = (content / 'database' / '.ht.sqlite').read_bytes()

    def asked(nonce: str, *off: str, record: bool) -> Response:
        header = key.header(nonce, frozenset(off), theme=False, record=record)
        return running.run('/site/index.php', headers={'host': urlsplit(site.url).netloc, 'x-wpaudit': header})

    with php(version, {tmp_path / 'site': '/site', tmp_path / 'run': '/bench/run'}) as running:
        plain = asked('a' * 24, broken, record=False)
        seen = asked('b' * 24, broken, record=True)
        failed = asked('c' * 24, record=True)
    assert (plain.exit, plain.status, seen.exit, seen.status) == (0, 200, 0, 200), seen
    assert failed.exit != 0
    assert zoo_of(plain.body)['kinds'] == '"A FUNCTION STATIC METHOD INVOKED MAGIC METHOD"'
    assert zoo_of(seen.body) == zoo_of(plain.body)
    assert seen.body.count('<') == plain.body.count('<')
    assert key.proves('b' * 24, seen.headers['x-wpaudit-mark'][0]) == 1
    watched, fatal = (part_of(marks / f'{nonce * 24}-rec0', suspects) for nonce in 'bc')
    assert (watched.how, watched.done) == ('returned', True)
    alone = {(file,) for file in suspects if file != broken and 'h11-' not in file}  # which are two in one folder
    assert {owner.suspects for owner in watched.costs} >= alone
    [reason] = readings([fatal], Seen(500, seconds=0.1))
    assert reason.suspects == (broken,)
    assert 'PHP fatal error in fatal' in reason.reason
    assert (content / 'database' / '.ht.sqlite').read_bytes() == database


def zoo_of(page: str) -> dict[str, str]:
    """Return what the zoo wrote down in a page."""
    return dict(re.findall(r'<!-- zoo ([a-z ]+): (.*?) -->', page))
