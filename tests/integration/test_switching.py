"""Switching a real site over real SSH, and putting it back on every way out; the whole state is compared."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from fixtures.lab import VARIANTS
from fixtures.lab import Lab
from fixtures.lab.traces import eventually
from fixtures.lab.traces import left_behind
from wpaudit.domain import Mode
from wpaudit.domain import Request
from wpaudit.errors import ModeUnavailable
from wpaudit.errors import NotRestored
from wpaudit.errors import SiteBusy
from wpaudit.errors import Unfinished
from wpaudit.journal import FileJournal
from wpaudit.probes.http import HttpFetcher
from wpaudit.shells import ShellOptions
from wpaudit.shells import open_shell
from wpaudit.shells.target import parse_target
from wpaudit.sites.launch import LaunchOptions
from wpaudit.sites.launch import agent_source
from wpaudit.sites.launch import php_text
from wpaudit.sites.wpcli import WpCliSite

Unchanged = Callable[[Lab], AbstractContextManager[None]]
OpenSite = Callable[..., WpCliSite]
EVERYWHERE = pytest.mark.parametrize('site', VARIANTS, indirect=True)


@pytest.fixture
def open_site(site: Lab, tmp_path: Path) -> Iterator[OpenSite]:
    """Open any number of wpaudit's connections to the site under test."""
    opened: list[WpCliSite] = []

    def make(name: str = 'one', **options: object) -> WpCliSite:
        target = parse_target(site.target)
        shell = ShellOptions(identity=site.identity, known_hosts=site.known_hosts)
        one = WpCliSite(
            lambda: open_shell(target, shell),
            LaunchOptions(path=target.path or '', url=site.url),
            journal=FileJournal(name, tmp_path),
            **options,  # type: ignore[arg-type]  # options of WpCliSite
        )
        opened.append(one)
        return one

    yield make
    for one in opened:
        one.close()


def failing(site: Lab, *names: str) -> None:
    """Switch faulty plugins on beside the harmless ones."""
    site.activate([*site.active(), *(site.install(name) for name in names)])


# -- both modes, every variant ----------------------------------------------------------------------


@EVERYWHERE
def test_isolated_switches_for_its_own_requests_only(site: Lab, open_site: OpenSite, unchanged: Unchanged) -> None:
    failing(site, 'crash-worker')
    one = open_site()
    suspects = [suspect.id for suspect in one.suspects()]
    assert 'crash-worker/crash-worker.php' in suspects
    fetcher = HttpFetcher()
    before, rows = site.active(), site.state().tables
    with unchanged(site):
        with one.switching(Mode.ISOLATED) as switcher:
            with switcher.switched(frozenset(suspects)) as step:
                request = step.prepare(Request(f'{site.url}/'))
                answer = fetcher.fetch(request, timeout=20)
                mark = step.mark(request, answer)
                assert (answer.status, mark is not None and mark.off) == (200, len(suspects))
                assert site.plugins_seen(answer.body) == set()
            assert site.get('/')[0] in (502, 503)
            assert site.active() == before
            with switcher.switched(frozenset()) as step:
                request = step.prepare(Request(f'{site.url}/'))
                answer = fetcher.fetch(request, timeout=20)
                mark = step.mark(request, answer)
                assert answer.status in (502, 503)
                assert mark is not None
                assert (mark.seen, mark.stage) == (True, 'loaded')
            assert site.state().tables == rows
        assert switcher.restoration().verified
    fetcher.close()
    one.close()
    assert eventually(lambda: left_behind(site) == [])


@EVERYWHERE
def test_live_switches_for_everybody_and_puts_back(site: Lab, open_site: OpenSite, unchanged: Unchanged) -> None:
    failing(site, 'crash-worker')
    one = open_site()
    suspects = [suspect.id for suspect in one.suspects()]
    with unchanged(site):
        with one.switching(Mode.LIVE) as switcher:
            with switcher.switched(frozenset(suspects)):
                assert site.active() == []
                assert site.get('/')[0] == 200
            with switcher.switched(frozenset(['crash-worker/crash-worker.php'])):
                assert site.get('/')[0] == 200
            with switcher.switched(frozenset()):
                assert site.get('/')[0] in (502, 503)
        assert switcher.restoration().verified
        assert switcher.restoration().changed_seconds > 0
    one.close()
    assert eventually(lambda: left_behind(site) == [])


@pytest.mark.parametrize('site', ['multisite'], indirect=True)
def test_network_plugins_keep_their_timestamps(site: Lab, open_site: OpenSite, unchanged: Unchanged) -> None:
    crash = site.install('network-crash')
    site.activate([*site.active(network=True), crash], network=True)
    one = open_site()
    network = [suspect.id for suspect in one.suspects() if suspect.kind == 'network-plugin']
    assert crash in network
    with unchanged(site), one.switching(Mode.LIVE) as switcher, switcher.switched(frozenset(network[:2])):
        assert not set(network[:2]) & set(site.active(network=True))


# -- every way out ------------------------------------------------------------------------------------


@pytest.mark.parametrize('mode', list(Mode))
def test_a_killed_agent_is_put_back_by_the_watchdog(
    site: Lab,
    open_site: OpenSite,
    unchanged: Unchanged,
    mode: Mode,
) -> None:
    one = open_site()
    suspects = [suspect.id for suspect in one.suspects()]
    with unchanged(site):
        with one.switching(mode) as switcher:
            with switcher.switched(frozenset(suspects[:3])):
                pass
            must_use = next((site.path / 'wp-content/mu-plugins').glob('!wpaudit-*.php'))
            site.run(['touch', f'{must_use}~'])  # as if killed while it wrote
            os.kill(one.agent.pid, signal.SIGKILL)
            assert eventually(lambda: left_behind(site) == [])
        assert switcher.restoration().verified


@pytest.mark.parametrize('mode', list(Mode))
def test_a_cut_connection_is_put_back_by_the_agent(
    site: Lab,
    open_site: OpenSite,
    unchanged: Unchanged,
    mode: Mode,
) -> None:
    one = open_site()
    suspects = [suspect.id for suspect in one.suspects()]
    parent = int(Path(f'/proc/{one.agent.pid}/stat').read_text().rsplit(')', 1)[1].split()[1])
    with unchanged(site):
        with one.switching(mode) as switcher:
            with switcher.switched(frozenset(suspects[:3])):
                pass
            os.kill(parent, signal.SIGKILL)  # the sshd of this connection
            assert eventually(lambda: left_behind(site) == [])
        assert switcher.restoration().verified


def test_an_agent_that_hears_nothing_puts_back(
    site: Lab,
    open_site: OpenSite,
    unchanged: Unchanged,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr('wpaudit.sites.agent.PATIENCE', 5)
    monkeypatch.setattr('wpaudit.sites.agent.BEAT', 3600.0)
    one = open_site()
    suspects = [suspect.id for suspect in one.suspects()]
    with unchanged(site):
        with one.switching(Mode.LIVE) as switcher:
            with switcher.switched(frozenset(suspects[:3])):
                pass
            assert eventually(lambda: left_behind(site) == [])
        assert switcher.restoration().verified


def test_an_agent_that_hangs_is_ended_by_the_watchdog(
    site: Lab,
    open_site: OpenSite,
    unchanged: Unchanged,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr('wpaudit.sites.switching.WATCHDOG_PATIENCE', 3)
    one = open_site()
    suspects = [suspect.id for suspect in one.suspects()]
    with unchanged(site):
        with one.switching(Mode.LIVE) as switcher:
            with switcher.switched(frozenset(suspects[:3])):
                pass
            os.kill(one.agent.pid, signal.SIGSTOP)
            assert eventually(lambda: left_behind(site) == [], 25)
        assert switcher.restoration().verified


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_to_the_agent_puts_back(
    site: Lab,
    open_site: OpenSite,
    unchanged: Unchanged,
    number: signal.Signals,
) -> None:
    one = open_site()
    suspects = [suspect.id for suspect in one.suspects()]
    with unchanged(site):
        with one.switching(Mode.LIVE) as switcher:
            with switcher.switched(frozenset(suspects[:3])):
                pass
            os.kill(one.agent.pid, number)
            assert eventually(lambda: left_behind(site) == [])
        assert switcher.restoration().verified


def test_past_its_expiry_the_next_visitor_puts_back(site: Lab, open_site: OpenSite, unchanged: Unchanged) -> None:
    """Agent and watchdog both gone, as after a reboot: the must-use plugin is the last line."""
    one = open_site()
    suspects = [suspect.id for suspect in one.suspects()]
    with unchanged(site):
        with one.switching(Mode.LIVE) as switcher:
            with switcher.switched(frozenset(suspects[:3])):
                pass
            directory = site.path / 'wp-content/.wpaudit'
            os.kill(int((directory / 'watchdog').read_text()), signal.SIGKILL)
            os.kill(one.agent.pid, signal.SIGKILL)
            must_use = next((site.path / 'wp-content/mu-plugins').glob('!wpaudit-*.php'))
            text = must_use.read_text()
            expires = text.split('EXPIRES = ', 1)[1].split(';', 1)[0]
            must_use.write_text(text.replace(f'EXPIRES = {expires};', 'EXPIRES = 1;'))
            site.run(['touch', f'{must_use}~'])  # as a process killed while it wrote would leave it
            time.sleep(2.1)  # php-fpm's opcache looks at a file's time every two seconds
            assert eventually(lambda: bool(site.get('/')) and left_behind(site) == [])
        assert switcher.restoration().verified


# -- other people -------------------------------------------------------------------------------------


def test_a_second_run_is_refused_and_told_who_is_first(site: Lab, open_site: OpenSite) -> None:
    first, second = open_site('first'), open_site('second')
    with first.switching(Mode.ISOLATED):
        with pytest.raises(SiteBusy, match='another wpaudit run'):
            second.must_be_free()
        with pytest.raises(SiteBusy, match='isolated mode'), second.switching(Mode.ISOLATED):
            pass
    with open_site('third').switching(Mode.ISOLATED) as switcher:
        pass
    assert switcher.restoration().verified


def inside(site: Lab, method: str, *arguments: str) -> str:
    """Call a private method of the host's part; return its refusal's code word, or what it returns."""
    given = ''.join(f', {json.dumps(argument)}' for argument in arguments)
    call = (
        f'$method = new ReflectionMethod("Wpaudit_State", "{method}"); $method->setAccessible(true);'
        f'try {{ echo $method->invoke(null{given}); }} catch (Wpaudit_Refusal $no) {{ echo $no->code_word; }}'
    )
    return site.wp('eval', f'{agent_source()}\n{call}', '--skip-plugins', '--skip-themes').stdout


def test_a_run_that_was_a_moment_slower_takes_no_other_place(site: Lab, open_site: OpenSite) -> None:
    with open_site().switching(Mode.ISOLATED):
        assert inside(site, 'make_place') == 'busy'
    assert list(site.home.glob('.wpaudit*')) == []


def test_a_run_directory_is_removed_whatever_the_path_is_called(site: Lab) -> None:
    place = site.path / 'wp-content' / 'a [site] *' / '.wpaudit'
    made = site.run(['sh', '-c', 'mkdir -p "$0/marks" && touch "$0/lock" "$0/marks/one"', str(place)])
    assert made.returncode == 0
    assert inside(site, 'remove', str(place)) == '1'
    assert not place.exists()


def test_requests_that_outlive_the_run_leave_nothing_behind(site: Lab, open_site: OpenSite) -> None:
    """A watchdog that is just starting, or a slow probe, still writes while the directory is being removed."""
    one = open_site()
    ending = threading.Event()

    def write(directory: Path) -> None:
        for number in itertools.count():
            with contextlib.suppress(OSError):
                (directory / f'late-{number}').touch()
            if ending.wait(0.0001):
                return

    with one.switching(Mode.ISOLATED) as switcher:
        writers = [threading.Thread(target=write, args=(site.path / 'wp-content/.wpaudit',)) for _ in range(3)]
        for writer in writers:
            writer.start()
        threading.Timer(1.0, ending.set).start()
    for writer in writers:
        writer.join()
    one.close()
    assert switcher.restoration().verified
    assert eventually(lambda: left_behind(site) == [])


def test_a_watchdog_that_comes_too_late_removes_itself(tmp_path: Path) -> None:
    directory = tmp_path / 'run'
    directory.mkdir()
    words = [str(directory), str(os.getpid()), '30', str(tmp_path / 'plugin.php'), 'kept', 'isolated', 'false']
    subprocess.run(['sh', '-c', php_text('watchdog.sh'), 'wpaudit', *words], check=True, timeout=60)
    assert not directory.exists()


def test_an_unfinished_journal_stops_the_next_run_and_restore_finishes_it(
    site: Lab,
    open_site: OpenSite,
    unchanged: Unchanged,
) -> None:
    one = open_site()
    suspects = [suspect.id for suspect in one.suspects()]
    with unchanged(site):
        with one.switching(Mode.LIVE) as switcher:
            with switcher.switched(frozenset(suspects[:3])):
                pass
            os.kill(int((site.path / 'wp-content/.wpaudit/watchdog').read_text()), signal.SIGKILL)
            os.kill(one.agent.pid, signal.SIGKILL)
            second = open_site('second')
            with pytest.raises(Unfinished, match='not put back yet') as caught:
                second.must_be_free()
            assert 'wpaudit restore' in caught.value.hint
            with pytest.raises(Unfinished), second.switching(Mode.ISOLATED):
                pass
            done = open_site('third').recover()
            assert done is not None
            assert done.verified
        assert switcher.restoration().verified


def test_what_others_changed_meanwhile_is_kept_and_reported(site: Lab, open_site: OpenSite) -> None:
    one = open_site()
    suspects = [suspect.id for suspect in one.suspects()]
    wanted = [file for file in suspects if file != suspects[5]]
    with one.switching(Mode.LIVE) as switcher:
        with switcher.switched(frozenset(suspects[:3])):
            pass
        site.activate([file for file in site.active() if file != suspects[5]])
        with pytest.raises(NotRestored, match='somebody else'), switcher.switched(frozenset(suspects[:2])):
            pass
    assert not switcher.restoration().verified
    assert 'active_plugins' in switcher.restoration().message
    assert site.active() == wanted
    assert suspects[5] in switcher.restoration().advice
    one.close()  # the agent is a process of this site as well
    assert eventually(lambda: left_behind(site) == [])


def test_a_plugin_that_rewrites_the_list_cannot_in_either_mode(
    site: Lab,
    open_site: OpenSite,
    unchanged: Unchanged,
) -> None:
    failing(site, 'crash-worker', 'rewriter')
    one = open_site()
    fetcher = HttpFetcher()
    with unchanged(site):
        for mode in Mode:
            with one.switching(mode) as switcher:
                with switcher.switched(frozenset(['crash-worker/crash-worker.php'])) as step:
                    held = site.active()
                    for _ in range(3):
                        assert fetcher.fetch(step.prepare(Request(f'{site.url}/')), timeout=20).status == 200
                    assert site.active() == held
            assert switcher.restoration().verified
    fetcher.close()


# -- write-free probes --------------------------------------------------------------------------------


@pytest.mark.parametrize('site', ['sqlite', 'mariadb'], indirect=True)
def test_probes_write_no_row_and_send_no_mail_even_if_plugins_try(site: Lab, open_site: OpenSite) -> None:
    failing(site, 'writer', 'mailer')
    one = open_site()
    fetcher = HttpFetcher()
    one.suspects()
    site.get('/')  # what the writer writes at its first page view
    mails, before = site.mails, site.state()
    with one.switching(Mode.ISOLATED) as switcher, switcher.switched(frozenset()) as step:
        for path in ('/', '/shop/', '/?s=shop'):
            fetcher.fetch(step.prepare(Request(f'{site.url}{path}')), timeout=20)
    # A file that a plugin writes by itself is the one thing nobody can hold back; the README says so.
    assert [line for line in before.diff(site.state()) if 'writer.log' not in line] == []
    assert site.mails == mails
    fetcher.close()


def test_a_persistent_object_cache_is_read_and_not_written(site: Lab, open_site: OpenSite) -> None:
    site.install_drop_in('object-cache.php')
    failing(site, 'writer')
    one = open_site()
    suspects = frozenset(suspect.id for suspect in one.suspects())
    fetcher = HttpFetcher()
    for _ in range(3):
        site.get('/')
    before = site.state()
    with one.switching(Mode.ISOLATED) as switcher:
        for off in (frozenset[str](), suspects):
            with switcher.switched(off) as step:
                assert fetcher.fetch(step.prepare(Request(f'{site.url}/')), timeout=20).status == 200
    assert [line for line in before.diff(site.state()) if 'writer.log' not in line] == []
    fetcher.close()


# -- hosts that do not want ---------------------------------------------------------------------------


def test_a_read_only_content_directory_allows_no_isolation_and_live_blocks_cron_otherwise(
    site: Lab,
    open_site: OpenSite,
    unchanged: Unchanged,
) -> None:
    content = site.path / 'wp-content'
    one = open_site()
    suspects = [suspect.id for suspect in one.suspects()]
    if (content / 'mu-plugins').is_dir():
        (content / 'mu-plugins').rmdir()
    mode = content.stat().st_mode
    content.chmod(0o555)
    try:
        with unchanged(site):
            with pytest.raises(ModeUnavailable, match='cannot be written'), one.switching(Mode.ISOLATED):
                pass
            with one.switching(Mode.LIVE) as switcher:
                with switcher.switched(frozenset(suspects[:3])):
                    lock = site.wp('eval', 'echo get_transient("doing_cron") - time();', '--skip-plugins').stdout
                    assert float(lock) > 400
                    assert len(site.active()) == len(suspects) - 3
            assert switcher.restoration().verified
    finally:
        content.chmod(mode)


def test_a_request_that_is_not_ours_is_not_believed(site: Lab, open_site: OpenSite) -> None:
    failing(site, 'crash-worker')
    one = open_site()
    suspects = frozenset(suspect.id for suspect in one.suspects())
    with one.switching(Mode.ISOLATED) as switcher, switcher.switched(suspects) as step:
        header = dict(step.prepare(Request(f'{site.url}/')).headers)['X-Wpaudit']
        assert site.get('/', headers={'X-Wpaudit': header})[0] == 200
        version, nonce, expires, mask, flags, proof = header.split(';')
        for forged in (
            ';'.join((version, nonce, str(int(expires) + 1), mask, flags, proof)),
            ';'.join((version, nonce, expires, mask, 't', proof)),
            ';'.join((version, nonce, expires, mask, 'r', proof)),
            ';'.join((version, nonce, expires, mask, flags, '0' * 64)),
            ';'.join((version, nonce, expires, mask, flags, '')),
            '',
            ';',
            'v1;;;;;',
            'x' * 5000,
        ):
            assert site.get('/', headers={'X-Wpaudit': forged})[0] == 502
