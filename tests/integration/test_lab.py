"""The lab keeps its own promises: every fault does what its registry says, and every change is seen."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.lab import VARIANTS
from fixtures.lab import Lab
from fixtures.lab import LabError
from fixtures.lab import bundle
from fixtures.lab import network
from fixtures.lab import processes
from fixtures.lab import records
from fixtures.lab import templates
from fixtures.lab.__main__ import main
from fixtures.lab.traces import eventually
from fixtures.plugins import FAULTS
from fixtures.plugins import HARMLESS
from fixtures.plugins import HOSTILE
from fixtures.plugins import Fault
from fixtures.plugins import Symptom

Unchanged = Callable[[Lab], AbstractContextManager[None]]
PAGES = ('/', '/shop/', '/checkout/', '/contact/', '/news-of-week-2/', '/feed/', '/wp-json/lab/v1/status', '/nowhere/')
STEADY = [fault for fault in FAULTS.values() if fault.rate == 1]


def ssh(site: Lab, command: str, **options: str) -> subprocess.CompletedProcess[str]:
    """Log in as OpenSSH's own client does."""
    settings = {'UserKnownHostsFile': str(site.known_hosts), 'IdentitiesOnly': 'yes', 'BatchMode': 'yes', **options}
    argv = ['ssh', '-F', 'none', '-i', str(site.identity), '-p', str(site.ssh_port)]
    argv += [f'-o{name}={value}' for name, value in settings.items()]
    argv += [f'{site.user}@{network.LOOPBACK}', command]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


# Every variant


@pytest.mark.parametrize('site', VARIANTS, indirect=True)
def test_a_settled_site_serves_pages_and_writes_nothing(site: Lab, unchanged: Unchanged) -> None:
    with unchanged(site):
        answers = [site.get(path)[0] for path in PAGES]

    assert answers == [200] * 7 + [404]


@pytest.mark.parametrize('site', VARIANTS, indirect=True)
def test_every_active_plugin_leaves_its_mark(site: Lab) -> None:
    assert len(site.plugins_seen(site.get('/')[1])) == 24


@pytest.mark.parametrize('site', VARIANTS, indirect=True)
def test_reset_brings_everything_back(site: Lab) -> None:
    before = site.state()
    site.add_faults(['writer'])
    site.get('/')
    site.run(['touch', str(site.home / 'left-behind')])
    (site.path / 'wp-config.php').chmod(0o600)
    (site.path / 'wp-content' / 'mu-plugins').rmdir()
    (site.path / 'wp-content' / 'link').symlink_to('/etc/passwd')
    (site.path / 'wp-includes' / 'version.php').write_text('<?php')
    assert before.diff(site.state())

    site.reset()

    assert before.diff(site.state()) == []
    assert site.get('/')[0] == 200
    assert not (site.home / 'left-behind').exists()


@pytest.mark.parametrize('variant', VARIANTS)
def test_a_lab_is_up_within_ten_seconds_and_gone_afterwards(
    variant: str, capsys: pytest.CaptureFixture[str], lab_of: Callable[[str], Lab]
) -> None:
    lab_of(variant)  # Whatever has to be built and cached first, is.
    for _ in range(3):  # other tests run beside this one: the quickest of three tells what the lab itself takes
        start = time.monotonic()
        with Lab.start(variant) as lab:
            seconds = time.monotonic() - start
            root, running, ports = lab.layout.root, lab.pids, (lab.port, lab.ssh_port)
        if seconds < 10:
            break

    with capsys.disabled():
        print(f'\n{variant}: up in {seconds:.1f} s', end=' ')
    assert seconds < 10
    assert not root.exists()
    assert not any(processes.alive(process) for process in running.values())
    assert not any(network.answers(port) for port in ports)


# Faults


@pytest.mark.parametrize('site', ['sqlite', 'apache'], indirect=True)
@pytest.mark.parametrize('fault', STEADY, ids=[fault.name for fault in STEADY])
def test_a_fault_shows_its_symptom_and_its_log_lines(site: Lab, fault: Fault) -> None:
    site.add_faults([fault.name])

    status, page = site.get(fault.path, cookies=fault.cookies)

    assert status == fault.symptom.status(site.variant.web)
    assert ('</html>' in page) == (fault.symptom not in {Symptom.TRUNCATED, Symptom.EMPTY})
    for log, text in fault.logged.items():
        if log in site.logs:
            assert eventually(lambda file=site.logs[log], text=text: text in file.read_text()), f'{log}: no {text!r}'


@pytest.mark.parametrize('fault', STEADY, ids=[fault.name for fault in STEADY])
def test_a_fault_is_gone_without_any_one_of_each_culprit_set(site: Lab, fault: Fault) -> None:
    site.add_faults([fault.name])
    active = site.active()
    # The rewriter changes the list by itself once its plugin is missing; it is tested below.
    for culprit in fault.culprits[0] if fault.name != 'rewriter' and fault.culprits else ():
        site.activate([file for file in active if file != culprit])
        status, page = site.get(fault.path, cookies=fault.cookies)
        assert (status, '</html>' in page) == (200, True)


@pytest.mark.parametrize('name', ['crash-url', 'crash-cookie'])
def test_a_narrow_fault_spares_other_visitors(site: Lab, name: str) -> None:
    site.add_faults([name])

    assert site.get('/')[0] == 200


def test_an_intermittent_fault_strikes_sometimes(site: Lab) -> None:
    site.add_faults(['intermittent'])

    failures = [site.get('/')[0] for _ in range(40)].count(502)

    # 0.3 of 40 is 12; each bound is missed less than once in 10,000 runs.
    assert 2 <= failures <= 25


def test_the_rewriter_persists_a_list_of_its_own(site: Lab) -> None:
    site.add_faults(['rewriter'])
    without = [file for file in site.active() if not file.startswith('crash-worker')]
    site.activate(without)

    site.get('/')

    assert site.active() == [
        'rewriter/rewriter.php',
        *[f for f in reversed(without) if not f.startswith('rewriter')][1:],
    ]


def test_an_undeclared_dependency_is_a_php_fatal(site: Lab) -> None:
    site.add_faults(['undeclared'])
    site.activate([file for file in site.active() if file != 'parent/parent.php'])

    assert site.get('/')[0] == 500


def test_the_writer_and_the_mailer_do_what_probes_must_not(site: Lab) -> None:
    site.add_faults(['writer', 'mailer'])
    before = site.state()

    site.get('/')

    assert eventually(lambda: len(site.mails) == 1)
    changed = ' '.join(before.diff(site.state()))
    for place in ('writer_views', '_transient_writer_last', 'row wp_posts', 'table wp_writer_log', 'writer.log'):
        assert place in changed


def test_noise_surrounds_the_answers_of_wp_cli(site: Lab) -> None:
    site.add_faults(['noisy-cli'])
    site.install_must_use('noisy.php')

    loud, quieter = site.wp('option', 'get', 'home').stdout, site.wp('option', 'get', 'home', '--skip-plugins').stdout

    assert 'Purged all caches' in loud
    assert '{"ok":true}' in loud
    assert 'Purged' not in quieter
    assert quieter.endswith(f'{site.url}\n')
    assert '"event":"hello"' in quieter


def test_a_must_use_fatal_breaks_site_and_wp_cli(site: Lab) -> None:
    site.install_must_use('fatal.php')

    assert site.get('/')[0] == 500
    assert site.wp('option', 'get', 'home', '--skip-plugins').returncode != 0


def test_the_object_cache_outlives_the_request(site: Lab) -> None:
    site.install_drop_in('object-cache.php')

    site.wp('eval', 'wp_cache_set( "key", "kept", "lab" );')

    assert site.wp('eval', 'echo wp_cache_get( "key", "lab" );').stdout == 'kept'
    assert site.get('/')[0] == 200
    assert len(site.plugins_seen(site.get('/')[1])) == 24


# Networks


@pytest.mark.parametrize('site', ['multisite'], indirect=True)
def test_a_network_has_two_blogs_with_plugins_of_their_own(site: Lab) -> None:
    everywhere = site.active(network=True)
    first, second = site.active(blog=1), site.active(blog=2)

    assert len(site.blogs) == 2
    assert len(everywhere) == 8
    assert set(second) < set(first)
    assert len(site.plugins_seen(site.get('/second/')[1])) == len(everywhere) + len(second)
    assert site.wp('plugin', 'list', '--status=active-network', '--format=count').stdout.strip() == '8'


@pytest.mark.parametrize('site', ['multisite'], indirect=True)
def test_a_network_fault_strikes_on_every_blog(site: Lab) -> None:
    site.add_faults(['network-crash'])

    assert [site.get(path)[0] for path in ('/', '/second/')] == [502, 502]
    assert 'network-crash/network-crash.php' in site.active(network=True)


# Hostile names


def test_hostile_names_work_and_none_is_run(site: Lab) -> None:
    files = [site.install(name) for name in HOSTILE]
    site.activate(files)

    status, page = site.get('/')

    assert status == 200
    assert site.plugins_seen(page) == set(HOSTILE)
    assert site.active() == files
    assert not list(site.layout.root.rglob('pwned'))
    assert site.state() == site.state()


def test_a_hostile_plugin_crashes_on_request(site: Lab) -> None:
    site.activate([site.install('hostile-bytes:crash')])

    assert site.get('/')[0] == 502


# The state


@pytest.mark.parametrize('site', ['sqlite', 'mariadb'], indirect=True)
def test_the_state_sees_a_row_a_file_a_mode_and_the_order_of_plugins(site: Lab) -> None:
    before = site.state()
    assert before == site.state()

    site.wp('option', 'update', 'blogname', 'Renamed')
    site.activate([*site.active()[1:], site.active()[0]])
    (site.path / 'index.php').chmod(0o600)
    (site.path / 'new.txt').write_text('new')

    lines = before.diff(site.state())
    assert len(lines) == 4
    for part in ('file index.php', 'file new.txt: new', '(blogname)', '(active_plugins)'):
        assert any(part in line for line in lines)


# The host


def test_ssh_finds_wp_in_a_home_of_its_own(site: Lab) -> None:
    done = ssh(site, f'echo "$HOME"; cd {site.path} && wp option get siteurl')

    assert done.stdout.splitlines() == [str(site.home), site.url]
    assert done.stderr == ''


def test_ssh_refuses_other_keys_and_shows_its_own_only(site: Lab, tmp_path: Path) -> None:
    other = tmp_path / 'other'
    subprocess.run(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', str(other)], check=True, timeout=60)

    assert (
        'Permission denied'
        in ssh(
            site, 'true', IdentityFile='none', CertificateFile='none', IdentityAgent='none', PubkeyAuthentication='no'
        ).stderr
    )
    assert 'verification failed' in ssh(site, 'true', UserKnownHostsFile=str(other)).stderr


def test_nothing_listens_but_on_loopback_and_nothing_runs_as_root(site: Lab) -> None:
    for process in site.pids.values():
        status = Path(f'/proc/{process.pid}/status').read_text()
        assert f'Uid:\t{site.record.account.uid}\t' in status
    with socket.socket() as outside:
        outside.settimeout(1)
        with pytest.raises(ConnectionRefusedError):
            outside.connect(('127.0.0.2', site.port))  # whoever listens on every address answers here too


def test_cron_is_real(site: Lab) -> None:
    site.wp(
        'eval',
        'wp_schedule_single_event( time() - 60, "lab_shop_expire_carts" ); add_option( "lab_shop_cart_of_nobody", 1 );',
    )

    site.get('/')

    assert eventually(lambda: not any('lab_shop_cart' in row for row in site.state().tables['wp_options'].values()))


def test_reset_ends_commands_left_behind_but_no_server(site: Lab) -> None:
    ssh(site, 'setsid sleep 300 >/dev/null 2>&1 </dev/null &')
    assert len(_sleepers(site)) == 1
    servers = site.pids

    site.reset()

    assert not _sleepers(site)
    assert {name for name, process in site.pids.items() if process != servers[name]} == {'fpm'}
    assert ssh(site, 'true').returncode == 0


def _sleepers(site: Lab) -> list[int]:
    found = processes.marked(site.layout.root)
    return [found.pid for found in found if b'sleep' in Path(f'/proc/{found.pid}/cmdline').read_bytes()]


def test_a_noisy_shell_greets_on_both_streams() -> None:
    with Lab.start(harmless=0, noisy_shell=True) as lab:
        done = ssh(lab, 'echo done')

    assert done.stdout.startswith('Welcome to')
    assert done.stdout.endswith('done\n')
    assert 'restart required' in done.stderr


# Starting and ending


def test_a_start_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=f'has {len(HARMLESS)} harmless plugins'):
        Lab.start(harmless=99)
    with pytest.raises(KeyError):
        Lab.start(faults=['no-such-fault'])

    mine = [Lab(record) for record in records.all_records() if record.owner.pid == os.getpid()]
    assert all(lab.pids for lab in mine)


@pytest.mark.parametrize('name', ['with space', "it's", 'x' * 90])
def test_a_directory_that_could_break_a_configuration_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(LabError, match='cannot live in'):
        Lab.start(root=tmp_path / name)


def test_a_killed_lab_is_cleaned_up_by_down(capsys: pytest.CaptureFixture[str]) -> None:
    code = (
        'import time; from fixtures.lab import Lab; '
        'lab = Lab.start(harmless=0); print(lab.path, flush=True); time.sleep(300)'
    )
    with subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        path = Path(child.stdout.readline().strip())
        child.send_signal(signal.SIGKILL)
    running = next(Lab(record).pids for record in records.all_records() if record.root == path.parent)
    assert all(processes.alive(process) for process in running.values())

    assert main(['down', '--root', str(path.parent)]) == 0

    assert not path.exists()
    assert not any(processes.alive(process) for process in running.values())
    assert str(path.parent) in capsys.readouterr().out


def test_another_checkouts_template_stays_until_it_was_unused_for_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))

    def made(digit: str) -> Path:
        monkeypatch.setattr(templates, '_fingerprint', lambda: digit * templates.DIGITS)
        with templates.template(VARIANTS['sqlite'], lambda directory: None) as one:
            return one.directory

    first, second = made('a'), made('b')
    assert first.is_dir()
    os.utime(first, (0, 0))
    made('c')
    assert (first.is_dir(), second.is_dir()) == (False, True)


def test_labs_of_one_name_in_two_places_are_two_labs(lab: Lab) -> None:
    """Two demos at the same time, for example: each has a `lab` in a directory of its own."""
    one, two = (replace(lab.record, root=Path(place, 'lab')) for place in ('/srv/one', '/srv/two'))
    assert one.file != two.file


def test_up_status_state_and_down_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = tmp_path / 'state.json'

    assert main(['up', '--harmless', '3', '--plugins', 'crash-url', '--shell']) == 0
    facts = dict(line.split('=', 1) for line in capsys.readouterr().out.splitlines())
    mine = ['--root', str(Path(facts['LAB_PATH']).parent)]
    assert main(['status']) == 0
    assert f'{facts["LAB_URL"]}  running' in capsys.readouterr().out
    assert main(['get', '/', *mine]) == 0
    assert 'answers 200, 4 plugins left their mark' in capsys.readouterr().out
    assert main(['state', '--save', str(saved), *mine]) == 0
    assert main(['state', '--against', str(saved), *mine]) == 0
    assert main(['down', *mine]) == 0
    assert main(['get', '/', *mine]) == 1


def test_a_directory_the_site_user_cannot_reach_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip('only root builds labs for another user')
    tmp_path.chmod(0o700)
    with pytest.raises(LabError, match='cannot reach'):
        Lab.start(root=tmp_path / 'lab')


def test_a_package_that_is_not_the_pinned_one_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / 'package.tgz'
    archive.write_bytes(b'something else')

    with pytest.raises(LabError, match='is not the package pinned here'):
        bundle.check(archive)
