"""`wpaudit bisect` as a person runs it, on real sites with real faults: the culprit named, the site left as it was."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import threading
import time
import unicodedata
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import AbstractContextManager
from contextlib import ExitStack
from contextlib import contextmanager
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

import pytest

from fixtures.lab import VARIANTS
from fixtures.lab import Lab
from fixtures.lab.traces import eventually
from fixtures.lab.traces import left_behind
from fixtures.plugins import FAULTS
from fixtures.plugins import HARMLESS
from fixtures.plugins import HOSTILE
from fixtures.plugins import Symptom

Unchanged = Callable[[Lab], AbstractContextManager[None]]
Named = set[frozenset[str]]

MODES = ('isolated', 'live')
OTHERS = tuple(name for name in VARIANTS if name != 'sqlite')
FEW = HARMLESS[:8]  # h05-shop-core is among them, which `dependent` needs
SECONDS = 150       # no single run may take longer; an ordinary one takes three

# What a person who sees the fault adds to the command.
ASKED = {
    'crash-url': ('--probe', '/checkout/'),
    'crash-cookie': ('--cookie', 'shop_session=1'),
    'fatal': ('--fail-on', '500'),
    'exit-at-load': ('--expect-text', '</html>'),
}


# -- running wpaudit ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """How one run of wpaudit ended, and what it said."""

    code: int
    out: str
    err: str
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def named(self) -> Named:
        """The conflicts, as sets of ids."""
        return {frozenset(one['id'] for one in conflict) for conflict in self.report['conflicts']}

    @property
    def hint(self) -> str:
        """What wpaudit advises."""
        return '\n'.join(self.report['advice'])


@dataclass(frozen=True)
class Wpaudit:
    """The command, with a home for its records that belongs to one test."""

    home: Path

    def argv(self, site: Lab, verb: str, *options: str) -> list[str]:
        """Return what a person would type."""
        known = ('--identity', str(site.identity), '--known-hosts', str(site.known_hosts))
        url = () if '--url' in options else ('--url', site.url)
        return [sys.executable, '-m', 'wpaudit', verb, '--host', site.target, *known, *url, *options]

    def start(self, site: Lab, *options: str, verb: str = 'bisect', **more: Any) -> subprocess.Popen[str]:
        """Start it and do not wait."""
        environment = {**os.environ, 'XDG_STATE_HOME': str(self.home), 'NO_COLOR': '1', **more.pop('env', {})}
        streams = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'stdin': subprocess.DEVNULL, **more}
        return subprocess.Popen(self.argv(site, verb, *options), env=environment, text=True, **streams)

    def __call__(self, site: Lab, *options: str, verb: str = 'bisect', style: str = 'json', **more: Any) -> Run:
        """Run it to its end."""
        chosen = ('--format', style) if verb != 'restore' else ()
        return ended(self.start(site, *chosen, *options, verb=verb, **more))

    def records(self) -> list[dict[str, Any]]:
        """Return the reports that runs kept on this machine, the oldest first."""
        return [json.loads(path.read_text()) for path in sorted((self.home / 'wpaudit/runs').glob('*.json'))]

    def open_journals(self) -> list[Path]:
        """Return the journals of runs that are not finished."""
        return list((self.home / 'wpaudit/open').glob('*.json'))


def ended(process: subprocess.Popen[str]) -> Run:
    """Wait for a run's end."""
    try:
        out, err = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return Run(process.returncode, out, err, json.loads(out) if out.startswith('{') else {})


@pytest.fixture
def wpaudit(tmp_path: Path) -> Wpaudit:
    """The command."""
    return Wpaudit(tmp_path / 'state')


# -- sites --------------------------------------------------------------------------------------------


class Stage:
    """A variant's lab with few plugins, kept warm between tests: a reset ends php-fpm and empties its opcache."""

    def __init__(self, lab: Lab) -> None:
        lab.reset()
        self.lab = lab
        sitewide = set(lab.active(network=True)) if lab.variant.multisite else set()
        self._everywhere = sorted(sitewide & set(FEW))
        self._blogs = {blog: [file for file in lab.active(blog=blog) if file in FEW] for blog in lab.blogs}
        self._choose()
        for url in lab.blogs.values():
            lab.get(url.removeprefix(lab.url) + '/')
        self._state = lab.state()

    def restored(self) -> bool:
        """Put the lists of active plugins back; say whether nothing but files of other plugins is different now."""
        self._choose()
        changes = self._state.diff(self.lab.state())
        return all(line.startswith('file wp-content/plugins/') and ': new' in line for line in changes)

    def _choose(self) -> None:
        if self.lab.variant.multisite:
            self.lab.activate(self._everywhere, network=True)
        for blog, files in self._blogs.items():
            self.lab.activate(files, blog=blog)


@pytest.fixture(scope='module')
def stages() -> Iterator[dict[str, Stage]]:
    """The stages that stand; a test takes away one that it broke."""
    standing: dict[str, Stage] = {}
    yield standing
    for stage in standing.values():
        stage.lab.reset()


@pytest.fixture
def site_of(
    request: pytest.FixtureRequest, lab_of: Callable[[str], Lab], stages: dict[str, Stage],
) -> Iterator[Callable[[str], Lab]]:
    """Give a variant's site with few plugins, as it was at its start."""
    used: set[str] = set()

    def find(variant: str) -> Lab:
        if variant not in stages:
            stages[variant] = Stage(lab_of(variant))
        used.add(variant)
        return stages[variant].lab

    yield find
    for variant in used:
        if not stages[variant].restored():
            del stages[variant]


@pytest.fixture
def site(request: pytest.FixtureRequest, site_of: Callable[[str], Lab]) -> Lab:
    """One site with few plugins, as it was at its start."""
    return site_of(getattr(request, 'param', 'sqlite'))


@pytest.fixture
def anew(stages: dict[str, Stage], site_of: Callable[[str], Lab]) -> Lab:
    """The SQLite site from a fresh start: plugin files that were written anew are seen at once."""
    stages.pop('sqlite', None)
    return site_of('sqlite')


@contextmanager
def untouched(site: Lab, but: str = '') -> Iterator[None]:
    """Fail if rows, files, the cron or mails are not as before, or if anything of wpaudit is left on the host."""
    mails, before = site.mails, site.state()
    yield
    assert eventually(lambda: left_behind(site) == []), left_behind(site)
    assert [line for line in before.diff(site.state()) if not but or but not in line] == []
    assert site.mails == mails


def culprits(*sets: Sequence[str]) -> Named:
    """Return conflicts as `Run.named` has them."""
    return {frozenset(one) for one in sets}


def proves(run: Run, wanted: Named, mode: str) -> None:
    """Fail unless a run named exactly these conflicts, showed why, and put everything back."""
    assert run.code == 1, run.err
    assert run.named == wanted
    report = run.report
    assert (report['outcome'], report['exit_code'], report['mode']) == ('culprit', 1, mode)
    assert report['certificate']
    assert all(claim['observed'] for claim in report['certificate'])
    assert {claim['outcome'] for claim in report['certificate']} == {'FAIL', 'PASS'}
    assert report['confidence'] > 0.9
    assert put_back(run)
    assert report['costs']['wp_cli_starts'] <= 2


def put_back(run: Run) -> bool:
    """Say whether a run saw the site as it was before."""
    restore = run.report['restore']
    return bool(restore['verified']) and restore['before'] == restore['after'] and restore['left_behind'] == []


# -- every fault --------------------------------------------------------------------------------------

STEADY = [name for name, fault in FAULTS.items() if fault.culprits and fault.rate == 1 and name != 'slow']
PAGES = [name for name, fault in FAULTS.items() if fault.symptom is Symptom.HEALTHY]


@dataclass(frozen=True)
class AtOnce:
    """Runs on several variants of the site at the same time: one alone mostly waits, for PHP, for SSH, for limits."""

    home: Path
    site_of: Callable[[str], Lab]

    def __call__(
        self, faults: Sequence[str], *options: str, variants: Sequence[str] = tuple(VARIANTS), but: str = '',
    ) -> dict[str, Run]:
        """Run `wpaudit bisect` with these faults on each variant; fail if any site is not as before."""
        with ExitStack() as checks:
            runs: dict[str, subprocess.Popen[str]] = {}
            for variant in variants:
                site = self.site_of(variant)
                site.add_faults(faults)
                checks.enter_context(untouched(site, but))
                runs[variant] = Wpaudit(self.home / variant).start(site, '--format', 'json', *options)
            return {variant: ended(process) for variant, process in runs.items()}


@pytest.fixture
def at_once(tmp_path: Path, site_of: Callable[[str], Lab]) -> AtOnce:
    """The command on several variants."""
    return AtOnce(tmp_path, site_of)


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('name', STEADY)
def test_the_fault_is_named_and_the_site_is_as_it_was(wpaudit: Wpaudit, site: Lab, name: str, mode: str) -> None:
    site.add_faults([name])
    with untouched(site):
        run = wpaudit(site, '--mode', mode, *ASKED.get(name, ()))
    proves(run, culprits(*FAULTS[name].culprits), mode)


# Faults that can be asked about in one run, each a reason of its own. One file of the rewriter's is crash-worker's.
TOGETHER = (
    ('crash-worker', 'crash-include', 'crash-pair', 'crash-triple', 'dependent', 'network-crash', 'rewriter'),
    ('crash-url', 'crash-cookie'), ('crash-late',), ('big-header',), ('fatal',), ('exit-at-load',),
)
assert {name for names in TOGETHER for name in names} == {*STEADY}


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('names', TOGETHER, ids=lambda names: names[0])
def test_every_fault_is_named_on_the_other_variants_too(at_once: AtOnce, names: Sequence[str], mode: str) -> None:
    asked = [word for name in names for word in ASKED.get(name, ())]
    wanted = culprits(*(one for name in names for one in FAULTS[name].culprits))
    for variant, run in at_once(names, '--mode', mode, *asked, variants=OTHERS).items():
        if names == ('big-header',) and VARIANTS[variant].web == 'apache':
            assert (run.code, run.report['outcome']) == (0, 'healthy')  # Apache passes it on
        else:
            proves(run, wanted, mode)


@pytest.mark.parametrize('mode', MODES)
def test_a_slow_plugin_is_named_on_every_variant(at_once: AtOnce, mode: str) -> None:
    for run in at_once(['slow'], '--mode', mode, '--parallel', '4').values():
        proves(run, culprits(*FAULTS['slow'].culprits), mode)


@pytest.mark.parametrize('mode', MODES)
def test_strange_plugins_that_harm_nobody_are_not_named(at_once: AtOnce, mode: str) -> None:
    # A file that a plugin writes by itself is the one thing nobody can hold back; the README says so.
    for run in at_once([*PAGES, 'crash-worker'], '--mode', mode, but='writer.log').values():
        proves(run, culprits(*FAULTS['crash-worker'].culprits), mode)


def test_a_site_that_works_is_left_alone(wpaudit: Wpaudit, site: Lab) -> None:
    site.add_faults(PAGES)
    site.get('/')
    before = site.active()
    run = wpaudit(site)
    assert (run.code, run.report['outcome'], run.report['conflicts']) == (0, 'healthy', [])
    assert run.report['restore'] is None
    assert {probe['role'] for probe in run.report['probes']} == {'baseline'}
    assert (site.active(), left_behind(site)) == (before, [])


@pytest.mark.parametrize('mode', MODES)
def test_an_unsteady_fault_never_gets_a_wrong_name(at_once: AtOnce, mode: str) -> None:
    for run in at_once(['intermittent'], '--mode', mode).values():
        assert run.code in (0, 1, 6), run.err
        assert run.named <= culprits(*FAULTS['intermittent'].culprits)
        assert run.report['restore'] is None or put_back(run)


def test_an_unsteady_fault_is_named_with_its_rate(wpaudit: Wpaudit, site: Lab) -> None:
    site.add_faults(['intermittent'])
    with untouched(site):
        for _ in range(4):  # one run in ten meets a lucky streak, and says so
            run = wpaudit(site)
            if run.code == 1:
                break
    assert (run.code, run.named) == (1, culprits(*FAULTS['intermittent'].culprits)), run.err
    rate = run.report['rate']
    assert 0 < rate['low'] < rate['value'] < rate['high'] < 1
    assert rate['n'] >= 5
    assert 0.95 < run.report['confidence'] <= 0.99
    assert put_back(run)


def test_two_separate_faults_are_both_named(wpaudit: Wpaudit, site: Lab) -> None:
    site.add_faults(['crash-worker', 'crash-pair'])
    with untouched(site):
        run = wpaudit(site)
    proves(run, culprits(*FAULTS['crash-worker'].culprits, *FAULTS['crash-pair'].culprits), 'isolated')


# -- what is asked about ------------------------------------------------------------------------------


@pytest.mark.parametrize('mode', MODES)
def test_a_failure_of_another_kind_is_refused_with_the_way_to_ask(wpaudit: Wpaudit, site: Lab, mode: str) -> None:
    site.add_faults(['fatal'])
    with untouched(site):
        run = wpaudit(site, '--mode', mode)
    assert (run.code, run.report['outcome'], run.report['conflicts']) == (4, 'error', [])
    assert '--fail-on 500' in run.hint
    assert '--fail-on 500' in run.err


def test_an_empty_page_works_unless_its_text_is_asked_for(wpaudit: Wpaudit, site: Lab) -> None:
    site.add_faults(['exit-at-load'])
    with untouched(site):
        run = wpaudit(site)
    assert (run.code, run.report['outcome']) == (0, 'healthy')


def test_several_pages_are_one_probe(wpaudit: Wpaudit, site: Lab) -> None:
    site.add_faults(['crash-url'])
    with untouched(site):
        run = wpaudit(site, '--probe', '/', '--probe', f'{site.url}/shop/', '--probe', '/checkout/')
    proves(run, culprits(*FAULTS['crash-url'].culprits), 'isolated')
    assert wpaudit(site, '--probe', '/', '--probe', '/shop/').code == 0


def test_headers_and_cookies_are_sent_with_every_probe(wpaudit: Wpaudit, site: Lab) -> None:
    site.add_faults(['crash-cookie'])
    start = len(site.logs['nginx-access'].read_text().splitlines())
    with untouched(site):
        run = wpaudit(site, '--header', 'User-Agent: a-phone/7', '--cookie', 'shop_session=1', '--cookie', 'other=2')
    proves(run, culprits(*FAULTS['crash-cookie'].culprits), 'isolated')
    lines = site.logs['nginx-access'].read_text().splitlines()[start:]
    assert len(lines) >= len(run.report['probes'])
    assert all('a-phone/7' in line for line in lines)


def test_a_request_pasted_from_a_browser_is_sent_with_every_probe(
    wpaudit: Wpaudit, site: Lab, tmp_path: Path,
) -> None:
    site.activate([*site.active(), site.install('crash-upload')])
    (tmp_path / 'photo.jpg').write_bytes(b'\xff\xd8 a picture')
    pasted = tmp_path / 'upload.txt'
    pasted.write_text(f"curl '{site.url}/' \\\n  -F 'photo=@photo.jpg;type=image/jpeg' -F album=7 --compressed\n")
    with untouched(site):
        run = wpaudit(site, '--request', str(pasted))
    proves(run, {frozenset(['crash-upload/crash-upload.php'])}, 'isolated')


def test_an_expected_status_decides(wpaudit: Wpaudit, site: Lab) -> None:
    site.add_faults(['fatal'])
    with untouched(site):
        run = wpaudit(site, '--expect-status', '200')
    proves(run, culprits(*FAULTS['fatal'].culprits), 'isolated')


@pytest.mark.parametrize('mode', MODES)
def test_a_command_of_the_users_own_judges(wpaudit: Wpaudit, site: Lab, mode: str) -> None:
    site.add_faults(['crash-url'])
    command = 'curl -fsS -o /dev/null -H "$WPAUDIT_HEADER" "$WPAUDIT_URL/checkout/"'
    with untouched(site):
        run = wpaudit(site, '--run', command, '--mode', mode)
    proves(run, culprits(*FAULTS['crash-url'].culprits), mode)


def test_a_command_that_does_not_send_the_header_is_told(wpaudit: Wpaudit, site: Lab) -> None:
    site.add_faults(['crash-worker'])
    with untouched(site):
        run = wpaudit(site, '--run', 'curl -fsS -o /dev/null "$WPAUDIT_URL/"')
    assert run.code == 4
    assert 'WPAUDIT_HEADER' in run.err
    assert run.report['conflicts'] == []


ADMIN_CRASH = """<?php
/* Plugin Name: Crash For The Boss
 * Version: 2.0 */
class Admin_Crash_Endless {
	public function __get( $name ) {
		return ( new self() )->$name;
	}
}
add_action( 'admin_init', static function () {
	if ( 'admin' === wp_get_current_user()->user_login ) {
		( new Admin_Crash_Endless() )->anything;
	}
} );
"""


def written_plugin(site: Lab, name: str, text: str) -> str:
    """Put a plugin of the test's own on the site; return its plugin file."""
    folder = site.path / 'wp-content/plugins' / name
    folder.mkdir(exist_ok=True)
    (folder / f'{name}.php').write_text(text)
    site.record.account.own_tree(folder)
    return f'{name}/{name}.php'


@pytest.mark.parametrize('site', ['sqlite', 'multisite'], indirect=True)
def test_a_page_behind_the_login_is_probed_as_that_user(wpaudit: Wpaudit, site: Lab) -> None:
    crash = written_plugin(site, 'admin-crash', ADMIN_CRASH)
    site.activate([*site.active(), crash])
    with untouched(site):
        run = wpaudit(site, '--as-user', 'admin', '--probe', '/wp-admin/', '--expect-text', 'Dashboard')
    proves(run, culprits([crash]), 'isolated')
    assert not any('session_tokens' in row for row in site.state().tables['wp_usermeta'].values())


def test_a_user_who_does_not_exist_is_a_usage_error(wpaudit: Wpaudit, site: Lab) -> None:
    site.add_faults(['crash-worker'])
    with untouched(site):
        run = wpaudit(site, '--as-user', 'nobody-here')
    assert run.code == 2
    assert 'wp user list' in run.err


# -- what may be switched -----------------------------------------------------------------------------


@pytest.mark.parametrize('mode', MODES)
def test_what_a_plugin_declares_to_need_is_never_taken_from_it(wpaudit: Wpaudit, site: Lab, mode: str) -> None:
    site.add_faults(['dependent'])
    with untouched(site):
        run = wpaudit(site, '--mode', mode)
    proves(run, culprits(*FAULTS['dependent'].culprits), mode)
    sets = [set(probe['off']) for probe in run.report['probes']]
    assert all('dependent/dependent.php' in off for off in sets if 'h05-shop-core/shop.php' in off)


def test_a_kept_plugin_stays_on_in_every_probe(wpaudit: Wpaudit, site: Lab) -> None:
    site.add_faults(['crash-pair'])
    first, second = FAULTS['crash-pair'].files
    with untouched(site):
        run = wpaudit(site, '--keep', 'crash-pair-a', '--keep', 'h02-seo-titles')
    proves(run, culprits([second]), 'isolated')
    off = {file for probe in run.report['probes'] for file in probe['off']}
    assert not off & {first, 'h02-seo-titles/h02-seo-titles.php'}
    assert first not in {suspect['id'] for suspect in run.report['suspects']}


def test_when_the_culprit_is_kept_nobody_else_is_blamed(wpaudit: Wpaudit, site: Lab) -> None:
    site.add_faults(['crash-worker'])
    with untouched(site):
        run = wpaudit(site, '--keep', 'crash-worker')
    assert (run.code, run.report['outcome'], run.report['conflicts']) == (3, 'not-a-suspect', [])
    assert put_back(run)


def test_only_the_suspects_given_are_switched(wpaudit: Wpaudit, site: Lab) -> None:
    site.add_faults(['crash-worker'])
    mine = {'crash-worker/crash-worker.php', 'h01-contact-forms/contact.php'}
    with untouched(site):
        run = wpaudit(site, '--suspect', 'crash-worker', '--suspect', 'h01-contact-forms/contact.php')
    proves(run, culprits(*FAULTS['crash-worker'].culprits), 'isolated')
    assert {file for probe in run.report['probes'] for file in probe['off']} == mine
    assert {suspect['id'] for suspect in run.report['suspects']} == mine


def test_logs_and_the_age_of_files_say_where_to_begin(wpaudit: Wpaudit, site: Lab) -> None:
    site.add_faults(['fatal'])
    [fatal] = FAULTS['fatal'].files
    plugins, now = site.path / 'wp-content/plugins', time.time()
    for file in site.active():
        os.utime(plugins / file, times=(now, now if file == fatal else now - 30 * 86400))
    log = str(site.logs['nginx-error'])
    with untouched(site):
        run = wpaudit(site, '--fail-on', '500', '--no-recorder', '--no-triage', '--log', log)
    proves(run, culprits([fatal]), 'isolated')
    said = {one['source']: one['suspects'] for one in run.report['evidence']}
    assert said == {log: [fatal], 'file times': [fatal]}
    assert sum(probe['role'] in ('search', 'certificate') for probe in run.report['probes']) == 3


@pytest.mark.parametrize('option', ['--keep', '--suspect'])
def test_a_misspelt_plugin_is_a_usage_error_with_a_guess(wpaudit: Wpaudit, site: Lab, option: str) -> None:
    site.add_faults(['crash-worker'])
    with untouched(site):
        run = wpaudit(site, option, 'crash-wroker')
    assert run.code == 2
    assert 'did you mean crash-worker?' in run.err


def test_a_dry_run_switches_nothing(wpaudit: Wpaudit, site: Lab) -> None:
    site.add_faults(['crash-worker'])
    with untouched(site):
        run = wpaudit(site, '--dry-run')
    assert run.code == 0
    assert {suspect['id'] for suspect in run.report['suspects']} == set(site.active())
    assert {probe['role'] for probe in run.report['probes']} == {'baseline'}
    assert f'{len(site.active())} plugins' in run.report['message']


def test_a_budget_of_probes_is_kept_and_the_rest_told(wpaudit: Wpaudit, site: Lab) -> None:
    site.add_faults(['crash-pair'])
    with untouched(site):
        run = wpaudit(site, '--max-probes', '14')
    assert (run.code, run.report['outcome'], run.report['conflicts']) == (6, 'inconclusive', [])
    assert len(run.report['probes']) <= 14
    assert '--max-probes' in run.hint
    assert any(file in run.hint for file in FAULTS['crash-pair'].files)
    assert put_back(run)


def test_a_budget_too_small_to_begin_is_inconclusive(wpaudit: Wpaudit, site: Lab) -> None:
    site.add_faults(['crash-worker'])
    with untouched(site):
        run = wpaudit(site, '--max-probes', '4')
    assert (run.code, run.report['exit_code']) == (6, 6)
    assert run.report['outcome'] == 'inconclusive'
    assert run.report['conflicts'] == []


def test_a_budget_of_time_is_kept(wpaudit: Wpaudit, site: Lab) -> None:
    site.add_faults(['slow'])
    start = time.monotonic()
    with untouched(site):
        run = wpaudit(site, '--max-time', '5')
    assert time.monotonic() - start < 25
    assert (run.code, run.report['outcome'], run.report['conflicts']) == (6, 'inconclusive', [])
    assert '--max-time' in run.hint


def test_many_probes_at_once_come_to_the_same(wpaudit: Wpaudit, site: Lab) -> None:
    site.add_faults(['crash-triple'])
    with untouched(site):
        run = wpaudit(site, '--parallel', '4')
    proves(run, culprits(*FAULTS['crash-triple'].culprits), 'isolated')


@contextmanager
def closed(directory: Path) -> Iterator[None]:
    """Take the right to write away from a directory."""
    mode = directory.stat().st_mode
    directory.chmod(0o555)
    try:
        yield
    finally:
        directory.chmod(mode)


def test_auto_goes_live_only_with_a_yes(wpaudit: Wpaudit, site: Lab) -> None:
    site.add_faults(['crash-worker'])
    with untouched(site), closed(site.path / 'wp-content/mu-plugins'):
        refused, told, done = wpaudit(site), wpaudit(site, '--mode', 'isolated', '--yes'), wpaudit(site, '--yes')
    for run in (refused, told):
        assert (run.code, run.report['outcome'], run.report['conflicts']) == (4, 'error', [])
        assert 'must-use plugin directory cannot be written' in run.err
        assert '--mode live' in run.hint
    proves(done, culprits(*FAULTS['crash-worker'].culprits), 'live')
    assert 'cannot be written' in done.report['mode_reason']


# -- networks -----------------------------------------------------------------------------------------

NETWORK = pytest.mark.parametrize('site', ['multisite'], indirect=True)


@NETWORK
@pytest.mark.parametrize('mode', MODES)
def test_a_plugin_of_one_blog_is_named_through_that_blogs_url(wpaudit: Wpaudit, site: Lab, mode: str) -> None:
    crash = site.install('crash-worker')
    site.activate([*site.active(blog=2), crash], blog=2)
    with untouched(site):
        run = wpaudit(site, '--url', site.blogs[2], '--mode', mode)
        first = wpaudit(site)
    proves(run, culprits([crash]), mode)
    assert first.code == 0
    advice = run.hint
    assert f'--url={site.blogs[2]}' in advice


@NETWORK
@pytest.mark.parametrize('mode', MODES)
def test_a_network_plugin_and_a_blogs_plugin_conflict(wpaudit: Wpaudit, site: Lab, mode: str) -> None:
    first, second = (site.install(name) for name in ('crash-pair-a', 'crash-pair-b'))
    site.activate(sorted([*site.active(network=True), first]), network=True)
    site.activate([second, *site.active(blog=2)], blog=2)
    with untouched(site):
        run = wpaudit(site, '--url', site.blogs[2], '--mode', mode)
    proves(run, culprits([first, second]), mode)
    assert {one['id']: one['kind'] for one in run.report['conflicts'][0]} == {first: 'network-plugin', second: 'plugin'}


# -- visitors -----------------------------------------------------------------------------------------


_QUEUES = 8  # of visitors; one of them waits for its page before the next one of it comes


@contextmanager
def visitors(site: Lab, path: str, *, every: float, seconds: float) -> Iterator[list[tuple[int, set[str]]]]:
    """Let visitors come at a steady pace, also while pages are slow; gives what each of them got."""
    visits: list[tuple[int, set[str]]] = []
    leave = threading.Event()
    start = time.monotonic()

    def come(number: int) -> None:
        due = start + number * every
        while due < start + seconds and not leave.wait(max(0.0, due - time.monotonic())):
            status, page = site.get(path)
            visits.append((status, site.plugins_seen(page)))
            due += _QUEUES * every

    threads = [threading.Thread(target=come, args=(number,), daemon=True) for number in range(_QUEUES)]
    for thread in threads:
        thread.start()
    try:
        yield visits
    finally:
        leave.set()
        for thread in threads:
            thread.join(30)


@pytest.mark.parametrize('site', ['sqlite', 'multisite'], indirect=True)
def test_visitors_notice_nothing_of_an_isolated_run(wpaudit: Wpaudit, site: Lab) -> None:
    site.add_faults(['crash-url'])
    everything = site.plugins_seen(site.get('/')[1])
    assert len(everything) == 9
    with untouched(site), visitors(site, '/', every=0.05, seconds=SECONDS) as visits:
        run = wpaudit(site, '--probe', '/checkout/')
    proves(run, culprits(*FAULTS['crash-url'].culprits), 'isolated')
    assert len(visits) >= 10
    assert {status for status, _ in visits} == {200}
    assert all(marks == everything for _, marks in visits)


# -- names that attack --------------------------------------------------------------------------------

BYTES = 'hostile-bytes'
NAMES = tuple(HOSTILE)


def shown(file: str) -> str:
    """Return an id as JSON output spells it: bytes that are not UTF-8 as `\\xNN`."""
    return file.encode('utf-8', 'surrogateescape').decode('utf-8', 'backslashreplace')


def harmful(text: str) -> set[str]:
    """Return the characters of a text that act on a terminal or deceive its reader."""
    return {char for char in text if char != '\n' and unicodedata.category(char) in ('Cc', 'Cf', 'Cs', 'Zl', 'Zp')}


@pytest.mark.parametrize('mode', MODES)
def test_culprits_with_hostile_names_are_named_and_harmless_on_every_variant(
    tmp_path: Path, stages: dict[str, Stage], site_of: Callable[[str], Lab], mode: str,
) -> None:
    stages.clear()  # files that were written anew are seen at once
    named: dict[str, list[str]] = {}
    runs: dict[str, subprocess.Popen[str]] = {}
    with ExitStack() as checks:
        for variant in VARIANTS:
            site = site_of(variant)
            # MariaDB takes no Latin-1, so no site has such a name there; elsewhere WordPress could not put it back.
            usable = [name for name in NAMES if name != BYTES or (mode == 'isolated' and variant != 'mariadb')]
            named[variant] = [site.install(f'{name}:crash') for name in usable]
            site.activate([*site.active(), *named[variant]])
            checks.enter_context(untouched(site))
            runs[variant] = Wpaudit(tmp_path / variant).start(site, '--mode', mode, '--verbose')
        done = {variant: ended(process) for variant, process in runs.items()}
    for variant, run in done.items():
        assert run.code == 1, run.err
        kept = Wpaudit(tmp_path / variant).records()[-1]
        assert {tuple(one['id'] for one in conflict) for conflict in kept['conflicts']} == {
            (shown(file),) for file in named[variant]}
        assert kept['restore']['verified'] is True
        assert harmful(run.out + run.err) == set()
        assert not [*site_of(variant).layout.root.rglob('pwned'), *Path().glob('pwned')]


def test_what_could_not_be_written_back_is_not_begun(wpaudit: Wpaudit, anew: Lab) -> None:
    """WordPress refuses to write a name in Latin-1 into a row, so live mode would never get it back there."""
    site = anew
    site.activate([*site.active(), site.install(BYTES), site.install('crash-worker')])
    with untouched(site):
        run = wpaudit(site, '--mode', 'live')
    assert (run.code, run.report['conflicts']) == (4, [])
    assert 'could not write back' in run.err
    proves(wpaudit(site), culprits(['crash-worker/crash-worker.php']), 'isolated')


def test_nothing_hostile_reaches_a_terminal(wpaudit: Wpaudit, anew: Lab) -> None:
    site = anew
    site.activate([*(site.install(name) for name in NAMES[1:]), site.install(f'{NAMES[0]}:crash')])
    controller, terminal = pty.openpty()
    process = wpaudit.start(site, stdin=terminal, stdout=terminal, stderr=terminal, env={'TERM': 'xterm'})
    os.close(terminal)
    received = b''
    with suppress(OSError):  # how Linux says that the other end was closed
        while data := os.read(controller, 65536):
            received += data
    os.close(controller)
    assert process.wait(SECONDS) == 1
    assert HOSTILE[NAMES[0]].file.encode() in received
    for sequence in ('\x1b[2J', '\x07', '\x08', '\x9b', '\u202e', '\u2066'):
        assert sequence.encode() not in received


# -- not a plugin -------------------------------------------------------------------------------------

THEME = """<?php
class Theme_Endless {
	public function __get( $name ) {
		return ( new self() )->$name;
	}
}
if ( PHP_SAPI !== 'cli' ) {
	( new Theme_Endless() )->anything;
}
"""
MUST_USE = '<?php\n/* Plugin Name: Crash (must-use) */\n' + THEME.removeprefix('<?php\n').replace('Theme_', 'Must_Use_')


def crashing_theme(site: Lab, *, also: str = '') -> None:
    """Write a theme whose functions.php crashes and switch to it; no page view has completed the switch yet."""
    folder = site.path / 'wp-content/themes/shaky'
    folder.mkdir()
    (folder / 'style.css').write_text('/*\nTheme Name: Shaky\nVersion: 1.1\n*/\n')
    (folder / 'index.php').write_text('<?php get_header(); get_footer();')
    (folder / 'functions.php').write_text(THEME)
    site.record.account.own_tree(folder)
    done = site.wp('eval', f'switch_theme( "shaky" ); {also}', '--skip-plugins')
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(('site', 'mode'), [('sqlite', 'live'), ('mariadb', 'isolated')], indirect=['site'])
def test_a_theme_is_named_when_all_plugins_are_innocent(wpaudit: Wpaudit, site: Lab, mode: str) -> None:
    crashing_theme(site)
    with untouched(site):
        run = wpaudit(site, '--mode', mode)
    proves(run, culprits(['shaky']), mode)
    theme = run.report['conflicts'][0][0]
    assert (theme['kind'], theme['name'], theme['version']) == ('theme', 'Shaky', '1.1')
    assert any('wp theme activate' in line for line in run.report['advice'])


def test_the_theme_is_tried_where_no_plugin_is_active(wpaudit: Wpaudit, site: Lab) -> None:
    crashing_theme(site)
    site.activate([])
    with untouched(site):
        for mode in MODES:
            proves(wpaudit(site, '--mode', mode), culprits(['shaky']), mode)
    for theme in (site.path / 'wp-content/themes').glob('twenty*'):
        shutil.rmtree(theme)
    with untouched(site):
        run = wpaudit(site)
    assert (run.code, run.report['conflicts']) == (3, [])
    assert 'the theme could not be tried: no other theme' in run.report['message']


@pytest.mark.parametrize('mode', MODES)
def test_a_must_use_plugin_is_no_suspect_and_the_report_says_so(wpaudit: Wpaudit, site: Lab, mode: str) -> None:
    path = site.path / 'wp-content/mu-plugins/crash-always.php'
    path.write_text(MUST_USE)
    with untouched(site):
        run = wpaudit(site, '--mode', mode)
    assert (run.code, run.report['outcome'], run.report['conflicts']) == (3, 'not-a-suspect', [])
    assert 'not switched' in run.hint
    assert 'crash-always.php' in run.hint
    assert put_back(run)


# -- every way out ------------------------------------------------------------------------------------


def seen(process: subprocess.Popen[str], line: str) -> None:
    """Wait until a run with --verbose says this on stderr."""
    assert process.stderr is not None
    said = ''
    while not said.endswith('\n') or not said.splitlines()[-1].startswith(f'wpaudit: {line}'):
        text = process.stderr.readline()
        assert text, f'wpaudit ended without saying {line!r}: {said}'
        said += text


def signalled(process: subprocess.Popen[str], number: signal.Signals, line: str) -> Run:
    """Send a signal when this line has come on stderr; wait for the end."""
    seen(process, line)
    process.send_signal(number)
    return ended(process)


MOMENTS = ('reading', 'probe 2 ', 'probe 5 ', 'searching', 'probe 11 ', 'restoring')


@pytest.mark.parametrize('moment', MOMENTS)
@pytest.mark.parametrize(('mode', 'number'), [('live', signal.SIGINT), ('isolated', signal.SIGTERM)])
def test_an_interrupted_run_puts_back_before_it_leaves(
    wpaudit: Wpaudit, site: Lab, mode: str, number: signal.Signals, moment: str,
) -> None:
    site.add_faults(['crash-pair'])
    with untouched(site):
        process = wpaudit.start(site, '--format', 'json', '--mode', mode, '--verbose')
        run = signalled(process, number, moment)
        assert run.code == 128 + number, run.err
        assert left_behind(site) == []
    assert wpaudit.open_journals() == []


@pytest.mark.parametrize(('mode', 'number'), [('isolated', signal.SIGINT), ('live', signal.SIGTERM)])
def test_a_second_signal_does_not_keep_the_site_from_being_put_back(
    wpaudit: Wpaudit, site: Lab, mode: str, number: signal.Signals,
) -> None:
    site.add_faults(['crash-pair'])
    with untouched(site):
        process = wpaudit.start(site, '--format', 'json', '--mode', mode, '--verbose')
        seen(process, 'probe 9 ')
        process.send_signal(number)
        seen(process, 'restoring')
        process.send_signal(number)
        assert ended(process).code == 128 + number
    assert wpaudit.open_journals() == []


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('moment', ['probe 5 ', 'probe 11 '])
def test_after_kill_9_the_host_puts_itself_back(wpaudit: Wpaudit, site: Lab, mode: str, moment: str) -> None:
    site.add_faults(['crash-pair'])
    with untouched(site):
        process = wpaudit.start(site, '--format', 'json', '--mode', mode, '--verbose')
        assert signalled(process, signal.SIGKILL, moment).code == -signal.SIGKILL
        assert eventually(lambda: left_behind(site) == [])
        if moment == 'probe 5 ':
            assert wpaudit.open_journals()
            done = wpaudit(site, verb='restore')
            assert done.code == 0, done.err
            assert wpaudit.open_journals() == []
        proves(wpaudit(site, '--mode', mode), culprits(*FAULTS['crash-pair'].culprits), mode)
    assert wpaudit.open_journals() == []


def test_what_nobody_put_back_stops_the_next_run_and_restore_does_it(wpaudit: Wpaudit, site: Lab) -> None:
    """The client, the agent and the watchdog killed at once, in live mode: as if the host had lost its power."""
    site.add_faults(['crash-worker'])
    everything = site.active()
    with untouched(site):
        process = wpaudit.start(site, '--format', 'json', '--mode', 'live', '--verbose')
        seen(process, 'probe 9 ')
        process.send_signal(signal.SIGSTOP)
        directory = site.path / 'wp-content/.wpaudit'
        journal = json.loads((directory / 'journal.php').read_text().partition('\n')[2])
        for victim in (int((directory / 'watchdog').read_text()), journal['pid'], process.pid):
            os.kill(victim, signal.SIGKILL)
        process.communicate(timeout=SECONDS)
        assert site.active() != everything
        refused = wpaudit(site)
        assert (refused.code, refused.report['conflicts']) == (5, [])
        assert 'wpaudit restore' in refused.err
        assert wpaudit(site, verb='doctor').code == 4
        done = wpaudit(site, verb='restore')
        assert done.code == 0, done.err
        assert 'Restored and verified' in done.out
        assert site.active() == everything
    proves(wpaudit(site), culprits(*FAULTS['crash-worker'].culprits), 'isolated')


def test_the_second_run_is_refused_and_the_first_is_not_disturbed(tmp_path: Path, site: Lab) -> None:
    site.add_faults(['crash-triple'])
    one, two = Wpaudit(tmp_path / 'one'), Wpaudit(tmp_path / 'two')
    with untouched(site):
        first = one.start(site, '--format', 'json', '--verbose')
        seen(first, 'probe 5 ')
        first.send_signal(signal.SIGSTOP)
        second = two(site)
        first.send_signal(signal.SIGCONT)
        proves(ended(first), culprits(*FAULTS['crash-triple'].culprits), 'isolated')
    assert second.code == 4
    assert 'another wpaudit run' in second.err


# -- the other verbs ----------------------------------------------------------------------------------


KNOWN_UPDATE = """
    $found = (object) array( 'new_version' => '9.9' );
    $known = array( 'last_checked' => 1, 'response' => array( '%s' => $found ) ); // as old as can be: no reason to ask
    set_site_transient( 'update_plugins', (object) $known );
"""


@pytest.mark.parametrize('variant', ['sqlite', 'multisite'])
def test_list_says_what_wp_cli_itself_says(
    wpaudit: Wpaudit, stages: dict[str, Stage], site_of: Callable[[str], Lab], variant: str,
) -> None:
    stages.pop(variant, None)  # without the strange files that other tests have left
    site = site_of(variant)
    site.install_must_use('noisy.php')
    site.install_drop_in('object-cache.php')
    crash = site.install('crash-worker')  # installed and not active
    site.wp('eval', KNOWN_UPDATE % crash, '--skip-plugins')
    site.get('/')
    site.wp('eval', '1;', '--skip-plugins', '--skip-themes')  # what an object cache keeps of WordPress's start
    with untouched(site):
        run = wpaudit(site, verb='list')
    assert run.code == 0, run.err
    listed = site.wp('plugin', 'list', '--format=json', '--fields=file,status,version,title', '--skip-plugins')
    words = {'active-network': 'network', 'dropin': 'drop-in'}
    wanted = {  # WP-CLI does not know the versions of drop-ins
        (one['file'], words.get(one['status'], one['status']), one['version'])
        for one in json.loads(listed.stdout[listed.stdout.rindex('[{"file"'):])
    }
    assert wanted == {
        (one['id'], one['status'], '' if one['kind'] == 'drop-in' else one['version'])
        for one in run.report['components'] if one['kind'] != 'theme'
    }
    assert {one['version'] for one in run.report['components'] if one['id'] == 'object-cache.php'} == {'1.0'}
    themes = json.loads(site.wp('theme', 'list', '--format=json', '--skip-plugins').stdout.splitlines()[-1])
    assert {(one['id'], one['version']) for one in run.report['components'] if one['kind'] == 'theme'} == {
        (one['name'], one['version']) for one in themes
    }
    assert run.report['schema'] == 'wpaudit.list/1'
    assert {one['id']: one['update'] for one in run.report['components'] if one['update']} == {crash: '9.9'}


@pytest.mark.parametrize('site', VARIANTS, indirect=True)
def test_doctor_and_restore_on_a_clean_site_change_nothing(wpaudit: Wpaudit, site: Lab) -> None:
    with untouched(site):
        doctor, restore = wpaudit(site, verb='doctor'), wpaudit(site, verb='restore')
    assert doctor.code == 0, doctor.err
    assert {check['name'] for check in doctor.report['checks'] if check['ok'] is False} == set()
    assert {'host', 'WordPress', 'WP-CLI', 'isolated mode', 'live mode', 'probe'} <= {
        check['name'] for check in doctor.report['checks']
    }
    assert restore.code == 0, restore.err
    assert 'nothing to restore' in restore.out


def test_looking_writes_nothing_where_the_start_of_wordpress_would(wpaudit: Wpaudit, site: Lab) -> None:
    """A theme switch that no page view has completed yet, and a cron event that is due."""
    crashing_theme(site, also='wp_schedule_single_event( time() - 60, "lab_shop_expire_carts" );')
    with untouched(site):
        assert wpaudit(site, verb='list').code == 0
        assert wpaudit(site, verb='doctor').code == 0
        assert wpaudit(site, verb='restore').code == 0
        assert wpaudit(site, '--dry-run').code == 0


# -- the report ---------------------------------------------------------------------------------------

KEYS = {
    '': 'schema command version started finished target site mode outcome cause conflicts fixes confidence '
        'certificate probes suspects evidence gaps restore exit_code',
    'target': 'host path url',
    'site': 'wordpress php server multisite',
    'restore': 'verified before after left_behind',
    'probes': 'n role off outcome status seconds evidence',
    'suspects': 'kind id name version layer where',
    'gaps': 'what why',
}


def test_the_report_has_every_documented_key(wpaudit: Wpaudit, site: Lab) -> None:
    site.add_faults(['crash-worker'])
    report = wpaudit(site).report
    for place, keys in KEYS.items():
        found = report[place] if place else report
        for one in found if isinstance(found, list) else [found]:
            assert set(keys.split()) <= set(one), place
    assert report['schema'] == 'wpaudit.report/1'
    assert set(KEYS['suspects'].split()) <= set(report['conflicts'][0][0])
    for claim in report['certificate']:
        assert {'outcome', 'claim', 'observed'} <= set(claim)
        assert ('on' in claim) != ('off' in claim)
    assert report['site']['server'].startswith('nginx')
    assert [probe['n'] for probe in report['probes']] == list(range(1, len(report['probes']) + 1))
    assert {probe['role'] for probe in report['probes']} <= {'baseline', 'recorder', 'search', 'certificate', 'canary'}
    assert report['fixes'] == report['conflicts']
    assert json.loads(Path(report['record']).read_text())['conflicts'] == report['conflicts']


def test_the_text_says_the_verdict_the_fix_and_that_all_is_back(wpaudit: Wpaudit, site: Lab) -> None:
    site.add_faults(['crash-worker'])
    with untouched(site):
        run = wpaudit(site, style='text')
    lines = run.out.splitlines()
    assert lines[0] == lines[-1]
    assert 'Crash Worker 1.4.2 (crash-worker/crash-worker.php)' in lines[0]
    assert 'Restored and verified' in run.out
    fix = next(line.strip() for line in lines if line.strip().startswith('wp plugin deactivate'))
    assert site.run(['sh', '-c', fix]).returncode == 0
    assert site.get('/')[0] == 200


