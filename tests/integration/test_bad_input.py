"""Whatever is wrong: one sentence, the documented exit code, valid JSON, and a host without a trace of us.

The command runs as a user runs it, in a process of its own. What cannot be had that way within a test's time (limits
of a minute) is tested one level below, on the connection to the site.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from typing import Any

import pytest

from fixtures import web
from fixtures.lab import Lab
from fixtures.lab import processes
from fixtures.lab.traces import below
from fixtures.lab.traces import eventually
from fixtures.lying import write_lying_wp
from fixtures.web import WebServer
from wpaudit.errors import SiteError
from wpaudit.errors import WpauditError
from wpaudit.journal import FileJournal
from wpaudit.shells import ShellOptions
from wpaudit.shells import open_shell
from wpaudit.shells.target import parse_target
from wpaudit.sites.launch import LaunchOptions
from wpaudit.sites.wpcli import WpCliSite

Unchanged = Callable[[Lab], AbstractContextManager[None]]
Spotless = Callable[[Lab], AbstractContextManager[None]]
CRASH = 'crash-worker/crash-worker.php'
ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason='mounts and other accounts need root')


# -- the command --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Command:
    """`wpaudit` as one user types it, with a home and a state directory of its own."""

    home: Path

    @property
    def environment(self) -> dict[str, str]:
        """Nothing of ours but where Python finds wpaudit."""
        return {
            'PATH': os.environ['PATH'],
            'HOME': str(self.home),
            'XDG_STATE_HOME': str(self.home / 'state'),
            'PYTHONPATH': str(Path(__file__).parents[2]),
        }

    def start(
        self, *arguments: str, stdout: IO[str] | int = subprocess.PIPE, **environment: str,
    ) -> subprocess.Popen[str]:
        """Start it."""
        return subprocess.Popen(
            [sys.executable, '-m', 'wpaudit', *arguments], cwd=self.home, env=self.environment | environment,
            stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, text=True,
        )

    def __call__(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        with self.start(*arguments, **environment) as process:
            out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)


@pytest.fixture
def wpaudit(tmp_path: Path) -> Command:
    """Give the command."""
    home = tmp_path / 'user'
    home.mkdir()
    return Command(home)


def there(site: Lab, **instead: str) -> list[str]:
    """Return the options that lead to a site over SSH."""
    given = {'host': site.target, 'identity': str(site.identity), 'known-hosts': str(site.known_hosts)} | instead
    return [word for name, value in given.items() if value for word in (f'--{name}', value)]


def said(done: subprocess.CompletedProcess[str], code: int, *words: str) -> dict[str, Any]:
    """Check what every failure must look like; return the report."""
    shown = f'{done.args}\nexit {done.returncode}\n{done.stderr}\n{done.stdout[:200]}'
    assert done.returncode == code, shown
    assert 'Traceback' not in done.stdout + done.stderr, shown
    told = [line for line in done.stderr.splitlines() if line.startswith('wpaudit: ')]
    assert told, shown
    assert len(told[-1]) < 1100, shown
    for word in words:
        assert word in done.stderr, f'{word!r} is missing in:\n{shown}'
    report: dict[str, Any] = json.loads(done.stdout, parse_constant=pytest.fail)
    assert report['schema'].startswith('wpaudit.'), shown
    assert report.get('exit_code', code) == code, shown
    return report


def refused(wpaudit: Command, code: int, words: Sequence[str], *arguments: str, **environment: str) -> dict[str, Any]:
    """Run `wpaudit bisect --format json` and check its refusal."""
    return said(wpaudit('bisect', '--format', 'json', *arguments, **environment), code, *words)


def all_refused(wpaudit: Command, code: int, cases: dict[tuple[str, ...], str], *common: str) -> None:
    """Check many refusals of one kind at once: options -> a part of the sentence."""
    with ThreadPoolExecutor(4) as pool:
        done = pool.map(lambda options: wpaudit('bisect', '--format', 'json', *common, *options), cases)
        for one, words in zip(done, cases.values(), strict=True):
            said(one, code, words)


# -- the host -----------------------------------------------------------------------------------------


def running(site: Lab) -> list[str]:
    """Return the commands that run on the host and are none of its servers."""
    servers = {*site.pids.values()}
    for server in site.pids.values():
        servers.update(one for one in processes.descendants(server) if processes.program_of(one) != 'sshd')
    sshd = processes.descendants(site.pids['sshd'])
    strangers = {one.pid for one in sshd if processes.program_of(one) != 'sshd'}
    known = {one.pid for one in servers} - strangers | {one.pid for one in sshd} - strangers
    found = []
    for folder in Path('/proc').iterdir():
        if folder.name.isdigit() and int(folder.name) not in known:
            with contextlib.suppress(OSError):
                words = (folder / 'cmdline').read_bytes().replace(b'\0', b' ').decode(errors='replace')
                marked = f'{processes.MARK}={site.layout.root}'.encode() in (folder / 'environ').read_bytes()
                if words and (marked or str(site.path) in words) and int(folder.name) != os.getpid():
                    found.append(words[:200])
    return found


def files_of(site: Lab) -> set[str]:
    """Return the files in the site user's home and in the run directories of the host."""
    return {str(path) for place in (site.home, site.layout.run) for path in below(place)}


@pytest.fixture
def spotless(unchanged: Unchanged) -> Spotless:
    """`with spotless(site): ...` fails if anything on the host differs afterwards: rows, files, processes."""

    @contextlib.contextmanager
    def check(site: Lab) -> Iterator[None]:
        files = files_of(site)
        with unchanged(site):
            yield
            assert eventually(lambda: running(site) == []), running(site)
        assert files_of(site) == files

    return check


@pytest.fixture
def broken(site: Lab) -> Lab:
    """A site that answers 502."""
    site.activate([*site.active(), site.install('crash-worker')])
    assert site.get('/')[0] == 502
    return site


def program(site: Lab, text: str, name: str = 'strange-wp') -> str:
    """Put a program on the host; return its path."""
    path = site.layout.bin / name
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


@contextlib.contextmanager
def replaced(path: Path, text: str) -> Iterator[None]:
    """Hold other text in a file of the site; owner, mode and content come back."""
    before, found = path.read_bytes(), path.stat()
    path.write_text(text)
    try:
        yield
    finally:
        path.write_bytes(before)
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


@contextlib.contextmanager
def mounted(place: Path, *options: str) -> Iterator[None]:
    """Mount something over a directory."""
    done = subprocess.run(['mount', *options, str(place)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f'cannot mount here: {done.stderr.strip()}')
    try:
        yield
    finally:
        subprocess.run(['umount', '--lazy', str(place)], check=True)


# -- getting there ------------------------------------------------------------------------------------


def test_targets_that_cannot_be_read(wpaudit: Command) -> None:
    hosts = {
        '': 'the host is missing',
        '-oProxyCommand=touch${IFS}pwned': 'a host cannot begin with "-"',
        'host:99999': 'is not a port',
        'host:ssh': 'the scheme "host" is not one of',
        'ftp:host': 'the scheme "ftp" is not one of',
        'local:www': 'begins with / or ~',
        'ssh:host\x1b[2J': 'control character',
        '$(touch pwned)@host': 'is not a login name',
        '@': 'is not an alias',
        '@no-such-alias': 'There is no alias @no-such-alias; known aliases: ',
        '@many': 'is a group of aliases',
        '@only-http': 'has no ssh key',
    }
    (wpaudit.home / 'wp-cli.yml').write_text(
        '@shop:\n  ssh: user@shop.invalid\n@many:\n  - "@shop"\n@only-http:\n  http: https://shop.invalid\n')
    all_refused(wpaudit, 2, {('--host', host): words for host, words in hosts.items()})
    assert not (wpaudit.home / 'pwned').exists()


def test_an_alias_file_that_is_no_yaml(wpaudit: Command) -> None:
    (wpaudit.home / 'wp-cli.yml').write_text('@shop: [unclosed\n')
    refused(wpaudit, 2, ['Cannot read aliases from'], '--host', '@shop')


def test_hosts_that_cannot_be_reached(wpaudit: Command, site: Lab) -> None:
    with web.closed_port() as port:
        cases = {
            ('--host', 'nobody@no-such-host.invalid'): 'Cannot find the host no-such-host.invalid',
            ('--host', f'nobody@127.0.0.1:{port}'): 'refused the connection',
            ('--host', f'nobody@127.0.0.1:{site.port}'): 'is not an SSH server',
            ('--host', 'docker:shop'): 'not supported yet',
            ('--host', 'docker-compose:shop'): 'not supported yet',
        }
        all_refused(wpaudit, 4, cases)


def test_logins_that_are_refused(wpaudit: Command, site: Lab, spotless: Spotless) -> None:
    keys = wpaudit.home / 'keys'
    keys.mkdir()
    for name in ('other', 'locked'):
        subprocess.run(
            ['ssh-keygen', '-q', '-t', 'ed25519', '-N', 'secret' if name == 'locked' else '', '-f', keys / name],
            check=True, stdin=subprocess.DEVNULL,
        )
    (keys / 'garbage').write_text('this is no key\n')
    (keys / 'empty').write_text('')
    key = (keys / 'other.pub').read_text()
    (keys / 'changed').write_text(f'[127.0.0.1]:{site.ssh_port} {key}')
    with spotless(site):
        cases = {
            tuple(there(site, identity=str(keys / 'other'))): 'refused the login',
            tuple(there(site, identity=str(keys / 'locked'))): 'protected by a passphrase',
            tuple(there(site, identity=str(keys / 'garbage'))): 'cannot be read',
            tuple(there(site, identity='')): 'no key at all',
            tuple(there(site, host=site.target.replace(site.user, 'no-such-user', 1))): 'refused the login',
            tuple(there(site, **{'known-hosts': str(keys / 'changed')})): 'has CHANGED',
            tuple(there(site, **{'known-hosts': str(keys / 'empty')})): '--accept-new-host-key',
            tuple(there(site, **{'known-hosts': str(keys / 'not-there')})): 'ssh-keyscan -p',
        }
        all_refused(wpaudit, 4, cases)
    assert (keys / 'empty').read_text() == ''


def test_a_new_host_key_is_noted_when_asked_for(wpaudit: Command, site: Lab) -> None:
    where = there(site, **{'known-hosts': str(wpaudit.home / 'known')})
    assert wpaudit('list', *where).returncode == 4
    assert wpaudit('list', *where, '--accept-new-host-key').returncode == 0
    assert wpaudit('list', *where).returncode == 0


@pytest.mark.parametrize('verb', ['list', 'doctor'])
def test_every_verb_fails_alike(wpaudit: Command, verb: str) -> None:
    done = wpaudit(verb, '--host', 'nobody@no-such-host.invalid', '--format', 'json')
    assert done.returncode == 4
    assert 'Cannot find the host' in json.dumps(json.loads(done.stdout))
    said(wpaudit(verb, '--host', 'a b', '--format', 'json'), 2, 'is not a host name')


# -- the path -----------------------------------------------------------------------------------------


def test_paths_that_are_no_site(wpaudit: Command, site: Lab, spotless: Spotless) -> None:
    bare = site.home / 'bare'
    (bare / 'wp').mkdir(parents=True)
    (bare / 'wp/wp-load.php').touch()
    login = f'{site.user}@127.0.0.1:{site.ssh_port}'
    with spotless(site):
        cases = {
            ('--path', '/no/such/place'): 'there is no directory /no/such/place',
            ('--path', str(site.path / 'wp-content')): 'is not a WordPress directory',
            ('--path', str(bare / 'wp')): 'has no wp-config.php',
            ('--path', '$(touch pwned)'): 'there is no directory $(touch pwned)',
            ('--path', '`touch pwned`;touch pwned'): 'there is no directory',
            ('--path', 'it\'s "here" now'): 'there is no directory it\'s "here" now',
            ('--path', '-rf'): 'there is no directory -rf',
            ('--path', '/\x1b[31mred'): 'there is no directory /\\x1b[31mred',
            ('--path', 'x' * 5000): 'there is no directory',
        }
        all_refused(wpaudit, 4, cases, *there(site, host=login))


def test_a_path_with_anything_in_it_works(wpaudit: Command, site: Lab) -> None:
    odd = site.home / 'it\'s a "$(touch pwned)" site; x'
    odd.symlink_to(site.path)
    done = wpaudit('list', *there(site, host=f'{site.user}@127.0.0.1:{site.ssh_port}'), '--path', str(odd))
    assert done.returncode == 0, done.stderr
    assert not list(site.home.rglob('pwned'))


def test_without_a_path_it_must_be_clear_which_site(wpaudit: Command, site: Lab, spotless: Spotless) -> None:
    host = f'{site.user}@127.0.0.1:{site.ssh_port}'
    with spotless(site):
        refused(wpaudit, 4, ['no WordPress was found'], *there(site, host=host))
    for name in ('public_html', 'www'):
        (site.home / name).mkdir()
        (site.home / name / 'wp-load.php').touch()
    with spotless(site):
        words = ['several WordPress sites', 'public_html', 'choose one with --path']
        refused(wpaudit, 4, words, *there(site, host=host))


# -- WP-CLI -------------------------------------------------------------------------------------------

STRANGE = {
    'exits': ('exit 0', 'WP-CLI ended (status 0)'),
    'crashes': ('kill -SEGV $$', 'crashed (SIGSEGV)'),
    'kills-itself': ('kill -KILL $$', 'status 137'),
    'reads-and-leaves': ('head -c 100 >/dev/null; exit 1', 'WP-CLI ended'),
    'short-lines': ('exec yes', 'prints without end'),
    'long-lines': ('exec yes "$(head -c 100000 /dev/zero | tr "\\0" x)"', 'prints without end'),
    'one-line': ('exec cat /dev/zero', 'line longer than'),
    'errors': ('yes Error: again >&2 & yes Error: again | head -c 1000000 >&2; kill $!; exit 1', 'Error: again'),
}


def test_a_strange_wp(wpaudit: Command, site: Lab, spotless: Spotless) -> None:
    programs = {name: program(site, f'#!/bin/sh\n{script}\n', name) for name, (script, _) in STRANGE.items()}
    with spotless(site):
        cases = {('--wp', programs[name]): words for name, (_, words) in STRANGE.items()}
        all_refused(wpaudit, 4, cases, *there(site))


def test_a_wp_that_is_not_there(wpaudit: Command, site: Lab, spotless: Spotless) -> None:
    with spotless(site):
        cases = {
            ('--wp', '/nonexistent'): 'WP-CLI was not found on the host (looked for /nonexistent',
            ('--wp', str(site.path / 'readme.html')): 'Permission denied',
            ('--wp', 'php /no/such/wp.phar'): 'Could not open input file',
        }
        all_refused(wpaudit, 4, cases, *there(site))
        refused(wpaudit, 2, ['--wp', 'No closing quotation'], *there(site), '--wp', 'php "unclosed')


def test_garbage_first_and_then_it_works(wpaudit: Command, site: Lab, spotless: Spotless) -> None:
    noise = '@wpaudit ready\\n@0000:{"id":0,"result":{}}\\n\\0\\377{"id":1}\\033[2J'
    wp = program(site, f'#!/bin/sh\nprintf \'{noise}\'\nprintf \'{noise}\' >&2\nexec wp "$@"\n')
    with spotless(site):
        done = wpaudit('list', *there(site), '--wp', wp, '--format', 'json')
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)['components']) > 20


def test_a_wp_that_hangs(site: Lab, spotless: Spotless, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('wpaudit.sites.agent.START_SECONDS', 1.0)
    wp = program(site, '#!/bin/sh\nsleep 600 & wait\n')
    with spotless(site):
        with pytest.raises(SiteError, match='did not answer within 1 s') as caught:
            opened(site, tmp_path, wp=wp).inventory()
        assert caught.value.hint


def test_a_login_that_never_gets_to_wp(
    site: Lab, unchanged: Unchanged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('wpaudit.sites.launch.START_SECONDS', 1.0)
    (site.home / '.bashrc').write_text('sleep 600\n')  # ours is never run, so this is not ours to end
    with unchanged(site), pytest.raises(SiteError, match='did not start WP-CLI'):
        opened(site, tmp_path).inventory()


def test_ctrl_c_while_wp_hangs_leaves_nothing(wpaudit: Command, site: Lab, spotless: Spotless) -> None:
    hosts = {'ssh': there(site)} | ({'local': ['--host', f'local:{site.path}']} if ROOT else {})
    started = {scheme: site.home / f'started-{scheme}' for scheme in hosts}
    for file in started.values():
        file.touch()
        file.chmod(0o666)
    with spotless(site), contextlib.ExitStack() as ending:
        runs = []
        for scheme, host in hosts.items():
            wp = program(site, f'#!/bin/sh\necho "$$" >{started[scheme]}\nsleep 600 & wait\n', scheme)
            process = wpaudit.start('bisect', *host, '--wp', wp, '--url', site.url, '--format', 'json')
            runs.append(ending.enter_context(process))
        assert eventually(lambda: all(file.read_text() for file in started.values()))
        asked = time.monotonic()
        for process in runs:
            process.send_signal(signal.SIGINT)
        for process in runs:
            out, err = process.communicate(timeout=60)
            said(subprocess.CompletedProcess((), process.returncode, out, err), 130, 'interrupted')
        assert time.monotonic() - asked < 8  # seconds: nobody waits for one that has nothing to put back


@needs_root
def test_a_host_without_php(wpaudit: Command, site: Lab, tmp_path: Path) -> None:
    empty = tmp_path / 'none'
    empty.touch()
    programs = {Path(shutil.which('php') or '/usr/bin/php').resolve(), *Path('/usr/bin').glob('php8*')}
    hide = ' && '.join(f'mount --bind {empty} {path}' for path in programs)
    argv = [sys.executable, '-m', 'wpaudit', 'bisect', '--format', 'json', '--host', f'local:{site.path}']
    done = subprocess.run(
        ['unshare', '--mount', 'sh', '-c', f'{hide} && exec "$@"', 'sh', *argv], env=wpaudit.environment,
        capture_output=True, text=True, check=False, timeout=60,
    )
    if 'unshare' in done.stderr or 'mount:' in done.stderr:
        pytest.skip('no mount namespaces here')
    said(done, 4, 'there is no php on the host', '--wp "/path/to/php wp.phar"')


# -- what WordPress loads before us -------------------------------------------------------------------

CONFIGS = {
    'fatal': ('no_such_function();', 'wp-config.php breaks WordPress on the command line'),
    'parse-error': ('if ( {', 'wp-config.php breaks WordPress on the command line'),
    'exits': ('exit( 3 );', 'WP-CLI ended (status 3)'),
    'dies': ('die( "Site under maintenance" );', 'Site under maintenance'),
    'memory': ('ini_set( "memory_limit", "64M" ); $x = str_repeat( "x", 1 << 30 );', 'ran out of memory'),
}


@pytest.mark.parametrize('name', CONFIGS)
def test_a_wp_config_that_breaks(wpaudit: Command, site: Lab, spotless: Spotless, name: str) -> None:
    line, words = CONFIGS[name]
    config = site.path / 'wp-config.php'
    with spotless(site), replaced(config, config.read_text().replace("$table_prefix", f'{line}\n$table_prefix')):
        refused(wpaudit, 4, [words], *there(site))


MUST_USE = {
    'fatal': ('no_such_function();', 'a must-use plugin breaks WordPress on the command line'),
    'parse-error': ('if ( {', 'a must-use plugin breaks WordPress on the command line'),
    'exits': ('exit( 3 );', 'WP-CLI ended (status 3)'),
    'dies': ('wp_die( "Closed for today" );', 'Closed for today'),
    'crashes': ('( new class() { public function __get( $n ) { return ( new self() )->$n; } } )->x;', 'SIGSEGV'),
}


@pytest.mark.parametrize('name', MUST_USE)
def test_a_must_use_plugin_that_breaks(wpaudit: Command, site: Lab, spotless: Spotless, name: str) -> None:
    line, words = MUST_USE[name]
    plugin = site.path / 'wp-content/mu-plugins/zz-broken.php'
    plugin.write_text(f"<?php\nif ( PHP_SAPI === 'cli' ) {{\n{line}\n}}\n")
    with spotless(site):
        refused(wpaudit, 4, [words], *there(site))


NOISE = r"""<?php
if ( PHP_SAPI === 'cli' ) {
	echo "Deprecated: old\n{\"id\":1,\"result\":{}}\n@wpaudit ready\n@wpaudit error no-php x\n";
	echo "@0123456789abcdef:{\"id\":1}\n";
	ob_start();
	register_shutdown_function( static function () { echo "bye\n", str_repeat( "y\n", 1000 ); } );
	add_filter( 'query', static function ( $query ) { echo "\n@", $query; return $query; } );
}
"""


def test_noise_from_everywhere_does_not_disturb(wpaudit: Command, broken: Lab, spotless: Spotless) -> None:
    broken.install_must_use('noisy.php')
    (broken.path / 'wp-content/mu-plugins/zz-noise.php').write_text(NOISE)
    config = broken.path / 'wp-config.php'
    text = config.read_text().replace('<?php', '<?php if ( PHP_SAPI === "cli" ) { echo "hello from wp-config\\n"; }', 1)
    (broken.home / '.bashrc').write_text('echo "@wpaudit error no-php here"; echo \'{"id":0}\'; echo red >&2\n')
    with spotless(broken), replaced(config, text):
        done = wpaudit('bisect', *there(broken), '--format', 'json')
    assert [[one['id'] for one in conflict] for conflict in said(done, 1)['conflicts']] == [[CRASH]]


def test_a_bashrc_that_exits(wpaudit: Command, site: Lab, spotless: Spotless) -> None:
    (site.home / '.bashrc').write_text('echo "This account is closed."\nexit 1\n')
    with spotless(site):
        refused(wpaudit, 4, ['The login shell did not run', 'This account is closed.'], *there(site))


def test_a_bashrc_that_becomes_another_shell(wpaudit: Command, site: Lab, spotless: Spotless) -> None:
    (site.home / '.bashrc').write_text('exec true\n')
    with spotless(site):
        refused(wpaudit, 4, ['The login shell did not run'], *there(site))


# -- the database -------------------------------------------------------------------------------------


@pytest.mark.parametrize('damage', ['unreadable', 'corrupt', 'empty', 'gone'])
def test_a_sqlite_file_that_cannot_be_used(
    wpaudit: Command, site: Lab, spotless: Spotless, damage: str, tmp_path: Path
) -> None:
    database = site.layout.sqlite
    kept = tmp_path / 'kept'
    with spotless(site):
        shutil.copy2(database, kept)
        owner, mode = database.stat(), database.stat().st_mode
        if damage == 'unreadable':
            database.chmod(0)
        elif damage == 'gone':
            database.unlink()
        else:
            database.write_bytes(b'not a database\n' * 1000 if damage == 'corrupt' else b'')
        try:
            done = wpaudit('bisect', '--format', 'json', *there(site))
        finally:
            for path in database.parent.glob(f'{database.name}*'):
                path.unlink()
            shutil.copy2(kept, database)
            os.chown(database, owner.st_uid, owner.st_gid)
            database.chmod(mode)
    said(done, 4)


@pytest.mark.parametrize('site', ['mariadb'], indirect=True)
def test_a_database_server_that_is_down(wpaudit: Command, site: Lab, spotless: Spotless) -> None:
    with spotless(site):
        site.machine.end('mariadb', grace=30)
        try:
            done = wpaudit('bisect', '--format', 'json', *there(site))
        finally:
            site.machine.start(['mariadb'])
    said(done, 4, 'WordPress cannot reach its database', 'DB_HOST')


@pytest.mark.parametrize('site', ['multisite'], indirect=True)
def test_a_network_without_such_a_blog(wpaudit: Command, site: Lab, spotless: Spotless) -> None:
    with spotless(site):
        done = wpaudit('list', '--format', 'json', *there(site), '--url', 'http://no-such-blog.invalid')
    said(done, 4, 'the network has no site with this --url', 'wp site list')


# -- whose site it is ---------------------------------------------------------------------------------


@needs_root
def test_root_never_runs_the_code_of_a_site_by_accident(
    wpaudit: Command, site: Lab, spotless: Spotless, tmp_path: Path
) -> None:
    where = ['--host', f'local:{site.path}', '--wp', str(site.layout.bin / 'wp')]
    with spotless(site):
        found = wpaudit('list', *where, '--format', 'json')
        assert found.returncode == 0, found.stderr
        assert json.loads(found.stdout)['site']['user'] == site.user
        cases = {
            ('--run-as', 'no-such-user'): 'there is no user no-such-user on the host',
            ('--run-as', 'root'): 'never run as root by accident',
            ('--run-as', '-rf'): 'there is no user -rf on the host',
        }
        all_refused(wpaudit, 4, cases, *where)
    of_root = tmp_path / 'root-site'
    of_root.mkdir()
    for name in ('wp-load.php', 'wp-config.php'):
        (of_root / name).write_text('<?php touch( "/tmp/pwned" );')
    refused(
        wpaudit, 4, ['belongs to root', '--allow-root'], '--host', f'local:{of_root}',
        '--wp', str(site.layout.bin / 'wp'),
    )


@needs_root
def test_a_login_that_is_not_the_owner(wpaudit: Command, site: Lab, spotless: Spotless) -> None:
    config = site.path / 'wp-config.php'
    found = config.stat()
    with spotless(site):
        os.chown(config, 65534, found.st_gid)
        try:
            refused(wpaudit, 4, ['wp-config.php belongs to nobody', 'sudoers'], *there(site))
            config.chmod(0o600)
            refused(wpaudit, 4, ['cannot be read', '--run-as'], *there(site), '--run-as', site.user)
        finally:
            config.chmod(found.st_mode)
            os.chown(config, found.st_uid, found.st_gid)


# -- disks --------------------------------------------------------------------------------------------


@needs_root
def test_a_full_disk_for_the_must_use_plugin(wpaudit: Command, broken: Lab, spotless: Spotless) -> None:
    must_use = broken.path / 'wp-content/mu-plugins'
    owner = must_use.stat()
    options = f'size=8k,uid={owner.st_uid},gid={owner.st_gid},mode={owner.st_mode & 0o7777:o}'
    with mounted(must_use, '-t', 'tmpfs', '-o', options, 'none'):
        (must_use / 'full').write_bytes(b'x' * 8192)
        with spotless(broken):
            words = ['isolated switching does not work here', 'the disk is full', '--mode live']
            refused(wpaudit, 4, words, *there(broken))


def test_a_disk_that_takes_no_journal(wpaudit: Command, broken: Lab, spotless: Spotless) -> None:
    wp = program(broken, '#!/bin/sh\ntrap "" XFSZ\nulimit -f 0\nexec wp "$@"\n')
    with spotless(broken):
        for mode in ('isolated', 'live'):
            refused(wpaudit, 4, ['cannot'], *there(broken), '--wp', wp, '--mode', mode)


@needs_root
@pytest.mark.parametrize('mode', ['auto', 'live'])
def test_a_read_only_site_has_its_journal_in_the_home(
    wpaudit: Command, broken: Lab, spotless: Spotless, mode: str
) -> None:
    content = broken.path / 'wp-content'
    must_use = content / 'mu-plugins'
    modes = {path: path.stat().st_mode for path in (content, must_use)}
    with spotless(broken):
        for path in modes:
            path.chmod(0o555)
        try:
            done = wpaudit('bisect', '--format', 'json', *there(broken), '--mode', mode)
        finally:
            for path, before in modes.items():
                path.chmod(before)
    if mode == 'live':
        report = said(done, 1)
        assert [[one['id'] for one in conflict] for conflict in report['conflicts']] == [[CRASH]]
        assert report['restore']['verified']
    else:
        said(done, 4, 'the must-use plugin directory cannot be written', '--mode live')


def test_no_place_for_a_journal_at_all(wpaudit: Command, broken: Lab, spotless: Spotless) -> None:
    content = broken.path / 'wp-content'
    modes = {path: path.stat().st_mode for path in (content, broken.home)}
    with spotless(broken):
        for path in modes:
            path.chmod(0o555)
        try:
            refused(wpaudit, 4, ['there is no place for the journal'], *there(broken))
        finally:
            for path, before in modes.items():
                path.chmod(before)


# -- the URL ------------------------------------------------------------------------------------------


def test_urls_that_cannot_be_probed(wpaudit: Command, site: Lab, spotless: Spotless) -> None:
    context, _ = web.tls_server('127.0.0.1')
    with spotless(site), web.closed_port() as port, WebServer({'/': web.page(b'ok')}, tls=context) as secure:
        cases = {
            ('--url', 'http://no-such-site.invalid'): 'does not resolve',
            ('--url', f'http://127.0.0.1:{port}'): 'refused the connection',
            ('--url', secure.url()): 'is not accepted',
            ('--url', secure.url().replace('https', 'http')): 'cannot be probed from here',
            ('--url', site.url.replace('http', 'https')): 'TLS',
            ('--url', site.url, '--probe', '/', '--resolve', '127.0.0.1:127.0.0.9'): 'refused the connection',
        }
        all_refused(wpaudit, 4, cases, *there(site))


def test_urls_that_make_no_sense(wpaudit: Command, site: Lab, spotless: Spotless) -> None:
    with spotless(site):
        cases = {
            ('--url', 'ftp://x.test'): 'is not a URL',
            ('--url', 'http://user:secret@x.test'): 'has a login in it',
            ('--url', 'http://x y'): 'blanks',
            ('--url', 'http://x.test/\r\nHost: y'): 'control characters',
            ('--url', site.url, '--probe', 'http://elsewhere.test/'): "on the host 'elsewhere.test'",
            ('--url', site.url, '--probe', 'shop'): 'neither a path',
            ('--probe', '//elsewhere.test/'): 'neither a path',
        }
        all_refused(wpaudit, 2, cases, *there(site))


HEAD = b'HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n'
STRANGE_PAGES = {
    'endless-page': (web.endless(HEAD + b'\r\n', b'x' * 65536), 'the body did not end'),
    'slow-drip': (web.dripping(HEAD + b'\r\n', b'x'), 'no complete answer within 2 s'),
    'silence': (web.silent, 'no complete answer within 2 s'),
    'slow-header': (web.dripping(HEAD, b'X-A: b\r\n'), ''),
    'header-bomb': (web.raw(HEAD + b''.join(b'X-%d: %b\r\n' % (n, b'y' * 8000) for n in range(90)) + b'\r\n'), ''),
    'long-header': (web.raw(HEAD + b'X-A: ' + b'y' * 1000000 + b'\r\n\r\n'), ''),
    'no-http': (web.raw(b'SSH-2.0-OpenSSH_9.2\r\n'), 'not an HTTP answer'),
    'status-0': (web.raw(b'HTTP/1.1 0 Zero\r\n\r\n'), ''),
    'redirect-loop': (web.redirect('/'), 'redirects in a circle'),
    'reset': (web.reset_at_once, 'no answer (reset)'),
}


def test_a_strange_page(wpaudit: Command, site: Lab, spotless: Spotless) -> None:
    with spotless(site), contextlib.ExitStack() as servers:
        cases = {
            ('--url', servers.enter_context(WebServer({'/': behaviour})).url()): words
            for behaviour, words in STRANGE_PAGES.values()
        }
        all_refused(wpaudit, 4, cases, *there(site), '--timeout', '2')


@pytest.mark.parametrize('behaviour', [
    web.gzip_bomb(200),
    web.page(b'<html>' + b'x' * 10_000_000 + b'</html>'),
    web.raw(HEAD + b'Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope'),
    web.page(b'\xff\xfe\x00' * 1000, headers=b'Server: \xff\x1b[2J\r\nX-Wpaudit-Mark: \xff;\xff\r\n'),
], ids=['gzip-bomb', 'huge-page', 'no-gzip', 'bytes'])
def test_a_heavy_page_is_a_page(wpaudit: Command, site: Lab, spotless: Spotless, behaviour: web.Behaviour) -> None:
    with spotless(site), WebServer({'/': behaviour}) as server:
        done = wpaudit('bisect', '--format', 'json', *there(site), '--url', server.url(), '--timeout', '10')
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)['outcome'] == 'healthy'


def test_a_page_that_lies_about_marks(wpaudit: Command, site: Lab, spotless: Spotless) -> None:
    """The site's front is somebody else: it fails, and forges what the must-use plugin would say."""
    marks = b'X-Wpaudit-Mark: 0;\xc3\xa9\xff\r\nX-Wpaudit-Mark: \xd9\xa3;' + b'0' * 32 + b'\r\n'
    with spotless(site), WebServer({'/': web.page(web.NGINX_502, status=b'502 Bad Gateway', headers=marks)}) as server:
        refused(wpaudit, 4, ['the canary never reached WordPress'], *there(site), '--url', server.url())


# -- options ------------------------------------------------------------------------------------------


def test_options_that_cannot_be_read(wpaudit: Command) -> None:
    cases = {
        ('--header', 'no colon'): 'a header is written "Name: value"',
        ('--header', 'X-A: b\r\nX-C: d'): 'control character',
        ('--cookie', 'novalue'): 'a cookie is written "name=value"',
        ('--fail-on', 'sometimes'): 'is not something a site can answer',
        ('--expect-status', 'truncated'): 'is not a list of status codes',
        ('--resolve', 'nonsense'): 'is not an IP address',
        ('--resolve', 'x.test:443:127.0.0.1'): 'Leave the port out',
    }
    all_refused(wpaudit, 2, cases, '--host', 'nobody@no-such-host.invalid')


def test_options_that_click_refuses(wpaudit: Command) -> None:
    cases = [
        ('--timeout', '-1'), ('--timeout', 'nan'), ('--max-time', 'inf'), ('--max-time', '1e300'),
        ('--max-probes', '1.5'), ('--parallel', '0'), ('--mode', 'both'), ('--identity', '/no/such/key'),
        ('--output', '/'), ('surplus',),
    ]
    with ThreadPoolExecutor(4) as pool:
        for one in pool.map(lambda options: wpaudit('bisect', '--host', 'x', *options), cases):
            assert one.returncode == 2, one
            assert 'Error: ' in one.stderr
            assert 'Traceback' not in one.stderr


def test_names_that_mean_no_plugin_or_several(wpaudit: Command, broken: Lab, spotless: Spotless) -> None:
    with spotless(broken):
        cases = {
            ('--keep', 'crash-wroker'): 'did you mean crash-worker?',
            ('--keep', 'zzzzzz'): 'see: wpaudit list',
            ('--keep', 'h11-gallery'): 'means several plugins: h11-gallery/gallery.php, h11-gallery/lightbox.php',
            ('--suspect', '../../wp-config.php'): 'no active plugin is called',
            ('--suspect', '\x1b[31m'): 'no active plugin is called \\x1b[31m',
            ('--as-user', 'nobody-here'): 'there is no user "nobody-here"',
            tuple(word for file in broken.active() for word in ('--keep', file)): 'everything is pinned',
        }
        all_refused(wpaudit, 2, cases, *there(broken))


def test_no_plugin_is_active(wpaudit: Command, site: Lab, spotless: Spotless) -> None:
    site.activate([])
    plugin = site.path / 'wp-content/mu-plugins/zz.php'
    plugin.write_text("<?php\nif ( PHP_SAPI !== 'cli' ) { http_response_code( 502 ); exit; }\n")
    with spotless(site):
        report = said(wpaudit('bisect', '--format', 'json', *there(site)), 3)
    assert report['outcome'] == 'not-a-suspect'
    assert 'no plugin is active' in report['message']


@pytest.mark.parametrize('output', ['missing/report.json', 'file/report.json', '/proc/version'])
def test_an_output_that_cannot_be_written_is_noticed_first(
    wpaudit: Command, broken: Lab, spotless: Spotless, output: str
) -> None:
    (wpaudit.home / 'file').touch()
    with spotless(broken):
        done = wpaudit('bisect', '--format', 'json', *there(broken), '--output', output)
    assert done.returncode == 2
    assert 'Traceback' not in done.stderr
    assert 'search' not in done.stderr
    assert output in done.stderr


def test_an_output_that_becomes_unwritable_is_printed(wpaudit: Command, site: Lab) -> None:
    report = said(wpaudit('bisect', '--format', 'json', *there(site), '--output', '/dev/full'), 0, '/dev/full')
    assert report['outcome'] == 'healthy'


@pytest.mark.parametrize('verb', ['bisect', 'list'])
def test_a_result_that_cannot_be_printed_is_neither_success_nor_a_bug(wpaudit: Command, site: Lab, verb: str) -> None:
    with open('/dev/full', 'w') as full:
        process = wpaudit.start(verb, '--format', 'json', *there(site), stdout=full)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 4
    assert err.splitlines()[-1] == 'wpaudit: the output could not be written: No space left on device'


def test_an_error_goes_to_the_output_as_well(wpaudit: Command) -> None:
    file = wpaudit.home / 'report.json'
    done = wpaudit('bisect', '--host', 'x@y.invalid', '--format', 'json', '--output', str(file))
    assert (done.returncode, done.stdout) == (4, '')
    assert json.loads(file.read_text())['exit_code'] == 4


def state_is_a_file(home: Path) -> AbstractContextManager[None]:
    (home / 'state').touch()
    return contextlib.nullcontext()


def state_is_read_only(home: Path) -> AbstractContextManager[None]:
    (home / 'state').mkdir()
    return mounted(home / 'state', '-t', 'tmpfs', '-o', 'ro', 'none')


@contextlib.contextmanager
def state_is_full(home: Path) -> Iterator[None]:
    (home / 'state').mkdir()
    with mounted(home / 'state', '-t', 'tmpfs', '-o', 'size=4k', 'none'):
        (home / 'state' / 'full').write_bytes(b'x' * 4096)
        yield


@pytest.mark.parametrize('state', [
    state_is_a_file,
    pytest.param(state_is_read_only, marks=needs_root),
    pytest.param(state_is_full, marks=needs_root),
])
def test_without_a_journal_here_nothing_begins(
    wpaudit: Command, broken: Lab, spotless: Spotless, state: Callable[[Path], AbstractContextManager[None]]
) -> None:
    with spotless(broken), state(wpaudit.home):
        done = wpaudit('bisect', '--format', 'json', *there(broken))
        said(done, 4, 'the journal', 'cannot be written', 'XDG_STATE_HOME')
        assert 'connecting' not in done.stderr


# -- the host lies ------------------------------------------------------------------------------------

WRONG = '{"id": @ID@, "result": %s}'
DEEP = '[' * 200_000
LIES = {
    'hello-garbage': (4, {'hello': 'garbage'}),
    'hello-list': (4, {'hello': '[1, 2]'}),
    'hello-empty': (4, {'hello': WRONG % '{}'}),
    'hello-pid-text': (4, {'hello': WRONG % '{"pid": "1; touch pwned", "time": 1, "protocol": 1}'}),
    'hello-pid-everybody': (4, {'hello': WRONG % '{"pid": -1, "time": 1, "protocol": 1}'}),
    'hello-time-nan': (4, {'hello': WRONG % '{"pid": 2, "time": NaN, "protocol": 1}'}),
    'hello-time-endless': (4, {'hello': WRONG % '{"pid": 2, "time": 1e999, "protocol": 1}'}),
    'hello-too-new': (4, {'hello': '{"id": 0, "error": {"code": "protocol", "message": "speaks 9"}}'}),
    'hello-error-text': (4, {'hello': '{"id": 0, "error": "no"}'}),
    'inventory-garbage': (4, {'inventory': '{"id": @ID@, "result": '}),
    'inventory-null': (4, {'inventory': WRONG % 'null'}),
    'inventory-empty': (4, {'inventory': WRONG % '{}'}),
    'inventory-deep': (4, {'inventory': WRONG % DEEP}),
    'inventory-huge-number': (4, {'inventory': '{"id": ' + '9' * 5000 + '}'}),
    'inventory-facts-list': (4, {'inventory': WRONG % '{"facts": [], "components": [], "order": [], "run": null}'}),
    'inventory-exit': (4, {'inventory': '!exit'}),
    'hello-endless': (4, {'hello': '!endless'}),
    'busy-garbage': (4, {'prepare': '{"id": @ID@, "error": {"code": "busy", "message": "nobody"}}'}),
    'busy-started': (4, {'prepare': '{"id": @ID@, "error": {"code": "busy", "message": "{\\"started\\": 1e300}"}}'}),
    'prepare-empty': (4, {'prepare': WRONG % '{}'}),
    'prepare-rows': (4, {'prepare': WRONG % '{"dir": "", "must_use": "", "made": 0, "rows": 5, "digest": []}'}),
    'prepare-exit': (4, {'prepare': '!exit'}),
    'arm-garbage': (4, {'arm': 'garbage'}),
    'mark-garbage': (6, {'mark': 'garbage'}),
    'mark-number': (6, {'mark': WRONG % '{"text": 5}'}),
    'mark-huge': (4, {'mark': WRONG % ('{"text": "loaded ' + '9' * 5000 + '"}')}),
    'mark-exit': (6, {'mark': '!exit'}),
    'finish-garbage': (3, {'finish': 'garbage'}),
    'finish-and-recover': (5, {'finish': WRONG % '{}', 'recover': WRONG % '{"found": true}'}),
    'finish-not-verified': (5, {'finish': WRONG % (
        '{"verified": false, "before": "d", "after": "e", "left": ["\\u001b[2J/x"], "foreign": [], "seconds": -1}')}),
    'finish-strange': (5, {'finish': WRONG % '{"verified": "yes"}', 'recover': 'garbage'}),
    'finish-other-digest': (5, {'finish': '!exit', 'recover': WRONG % '{"found": false, "digest": "e"}'}),
    'arm-and-finish': (5, {'arm': 'garbage', 'finish': 'garbage', 'recover': 'garbage'}),
}


@pytest.mark.parametrize('about', sorted({name.partition('-')[0] for name in LIES}))
def test_a_host_that_lies(wpaudit: Command, site: Lab, spotless: Spotless, about: str) -> None:
    lies = {name: lie for name, lie in LIES.items() if name.startswith(about)}
    with WebServer({'/': web.page(web.NGINX_502, status=b'502 Bad Gateway')}) as front:
        for name, (_, answers) in lies.items():
            write_lying_wp(site.layout.bin / name, answers, url=front.url(), site=site.path)

        def run(name: str) -> subprocess.CompletedProcess[str]:
            return wpaudit('bisect', '--format', 'json', *there(site), '--wp', str(site.layout.bin / name))

        with spotless(site), ThreadPoolExecutor(4) as pool:
            for (code, _), done in zip(lies.values(), pool.map(run, lies), strict=True):
                report = said(done, code)
                if code == 5 and about == 'finish':
                    assert report['restore']['verified'] is False
                    assert len(report['probes']) > 5
    assert not list(site.layout.root.rglob('pwned'))


def test_names_that_would_act_on_a_terminal(wpaudit: Command, site: Lab, spotless: Spotless) -> None:
    for name in ('hostile-ansi', 'hostile-bidi', 'hostile-bytes', 'hostile-newline', 'hostile-html'):
        site.activate([*site.active(), site.install(name)])
    with spotless(site):
        done = wpaudit('list', *there(site))
        found = wpaudit('list', *there(site), '--format', 'json')
    assert done.returncode == found.returncode == 0, done.stderr + found.stderr
    for text in (done.stdout, found.stdout):
        assert not {*text} & {*map(chr, [*range(10), *range(11, 32), *range(127, 160)]), '\u202e', '\u2066'}
    assert 'caf\\xe9/caf\\xe9.php' in done.stdout
    assert 'new\\nline/new\\nline.php' in done.stdout
    names = [one['name'] for one in json.loads(found.stdout)['components']]
    assert any(name.startswith('\x1b[2J') for name in names)


# -- in the middle ------------------------------------------------------------------------------------


def armed(site: Lab) -> Path | None:
    """Return the must-use plugin of a run that has begun."""
    return next((site.path / 'wp-content/mu-plugins').glob('!wpaudit-*.php'), None)


def slow_run(wpaudit: Command, site: Lab, *options: str) -> subprocess.Popen[str]:
    """Start a run whose probes wait for a file to go away."""
    gate = wpaudit.home / 'gate'
    gate.touch()
    waiting = f'while [ -e {gate} ]; do sleep 0.05; done; curl -fs -o /dev/null -H "$WPAUDIT_HEADER" "$WPAUDIT_URL/"'
    return wpaudit.start('bisect', '--format', 'json', *there(site), '--as-user', 'admin', '--run', waiting, *options)


@pytest.mark.parametrize('mode', ['isolated', 'live'])
def test_wp_dies_in_the_middle(wpaudit: Command, broken: Lab, spotless: Spotless, mode: str) -> None:
    with spotless(broken), slow_run(wpaudit, broken, '--mode', mode) as process:
        assert eventually(lambda: armed(broken) is not None, 30)
        journal = (broken.path / 'wp-content/.wpaudit/journal.php').read_text()
        os.kill(int(json.loads(journal.partition('\n')[2])['pid']), signal.SIGKILL)
        (wpaudit.home / 'gate').unlink()
        out, err = process.communicate(timeout=60)
        report = said(subprocess.CompletedProcess((), process.returncode, out, err), 6)
    assert 'the host was lost in the middle of the run' in report['message']


def test_a_second_run_is_told_who_is_first(wpaudit: Command, broken: Lab, spotless: Spotless) -> None:
    with spotless(broken), slow_run(wpaudit, broken) as process:
        assert eventually(lambda: armed(broken) is not None, 30)
        who = f'@{os.uname().nodename}'
        refused(wpaudit, 4, ['another wpaudit run holds this site', who, 'isolated mode', 'wait'], *there(broken))
        (wpaudit.home / 'gate').unlink()
        out, err = process.communicate(timeout=60)
        said(subprocess.CompletedProcess((), process.returncode, out, err), 1)


# -- one level below ----------------------------------------------------------------------------------


def opened(site: Lab, tmp_path: Path, **options: Any) -> WpCliSite:
    """Connect as the command does."""
    target = parse_target(site.target)
    shell = ShellOptions(identity=site.identity, known_hosts=site.known_hosts)
    launch = LaunchOptions(path=target.path or '', url=site.url, **options)
    return WpCliSite(lambda: open_shell(target, shell), launch, journal=FileJournal('test', tmp_path))


def test_an_agent_that_stops_answering(site: Lab, spotless: Spotless, tmp_path: Path) -> None:
    write_lying_wp(site.layout.bin / 'liar', {'inventory': '!hang'}, url=site.url, site=site.path)
    with spotless(site):
        one = opened(site, tmp_path, wp=str(site.layout.bin / 'liar'))
        with pytest.raises(WpauditError, match='did not answer'):
            one.agent.ask('inventory', seconds=1)
        one.agent.launched.process.end(grace=0.1)
        one.close()
