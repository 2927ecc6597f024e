"""The flight recorder on a real site: one probe names the moment of the failure, and nothing it watches changes."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import AbstractContextManager
from contextlib import nullcontext
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

import pytest

from fixtures.lab import Lab
from fixtures.plugins import FAULTS
from fixtures.plugins import Symptom
from fixtures.plugins import folder_of
from fixtures.plugins.moments import MOMENTS
from fixtures.scenarios.arranging import edited
from wpaudit.domain import Answer
from wpaudit.domain import Mode
from wpaudit.domain import Recording
from wpaudit.domain import Request
from wpaudit.journal import FileJournal
from wpaudit.ports import Observation
from wpaudit.ports import Switcher
from wpaudit.probes.http import HttpFetcher
from wpaudit.probes.judge import Expectation
from wpaudit.probes.prober import HttpProber
from wpaudit.shells import ShellOptions
from wpaudit.shells import open_shell
from wpaudit.shells.target import parse_target
from wpaudit.sites.launch import LaunchOptions
from wpaudit.sites.wpcli import WpCliSite

Unchanged = Callable[[Lab], AbstractContextManager[None]]
SECONDS = 150
AFTER_BASELINE = ('recorder', 'search', 'certificate')
KNOWN = {**FAULTS, **MOMENTS}


@dataclass(frozen=True)
class Run:
    """How one run of wpaudit ended."""

    code: int
    err: str
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def named(self) -> set[frozenset[str]]:
        """The conflicts, as sets of ids."""
        return {frozenset(one['id'] for one in conflict) for conflict in self.report['conflicts']}

    @property
    def made(self) -> list[dict[str, Any]]:
        """The probes after the baseline."""
        return [one for one in self.report['probes'] if one['role'] in AFTER_BASELINE]

    @property
    def hints(self) -> list[dict[str, Any]]:
        """What the recorder had to say."""
        return [one for one in self.report['evidence'] if one['source'] == 'recorder']


@pytest.fixture
def wpaudit(tmp_path: Path) -> Callable[..., Run]:
    """Run `wpaudit bisect` as a person does."""

    def run(site: Lab, *options: str) -> Run:
        argv = [
            sys.executable, '-m', 'wpaudit', 'bisect', '--host', site.target, '--url', site.url, '--format', 'json',
            '--identity', str(site.identity), '--known-hosts', str(site.known_hosts), *options,
        ]
        environment = {**os.environ, 'XDG_STATE_HOME': str(tmp_path), 'NO_COLOR': '1'}
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)
        return Run(done.returncode, done.stderr, json.loads(done.stdout) if done.stdout.startswith('{') else {})

    return run


def breaking(site: Lab, *names: str) -> None:
    """Put plugins with faults among the others."""
    active = site.active()
    for place, file in enumerate(file for name in names for file in KNOWN[name].files):
        site.install(folder_of(file))
        active.insert(5 + 9 * place, file)
    site.activate(active)


def limited(site: Lab, limit: str) -> AbstractContextManager[None]:
    """Give php-fpm another time limit for a while."""
    return edited(site, 'php-fpm.conf', ('request_terminate_timeout = 3s', f'request_terminate_timeout = {limit}'))


def asked(name: str) -> tuple[str, ...]:
    """What a person who sees the fault adds to the command."""
    fault = KNOWN[name]
    also = {Symptom.FATAL: ('--fail-on', '500'), Symptom.EMPTY: ('--expect-text', '</html>')}.get(fault.symptom, ())
    if name == 'redirect-loop':
        also = ('--fail-on', 'redirect-loop')
    return ('--probe', fault.path, *also)


# -- one probe names it -------------------------------------------------------------------------------

HINTS = {
    'crash-include': 'died in crash-include @ include',
    'crash-worker': 'died in crash-worker @ init',
    'crash-template': 'died in crash-template @ template_redirect',
    'crash-shortcode': 'died in crash-shortcode @ [crash_shortcode]',
    'crash-rest': 'died in crash-rest @ REST /wp/v2/types',
    'crash-shutdown': 'died in crash-shutdown @ shutdown function of init',
    'crash-late': 'died in crash-late @ wp_body_open after output had begun',
    'slow': r'slow took \d\.\d of \d\.\d s and was still running @ template_redirect',
    'slow-request': r'slow-request waited for 127.0.0.1 \(\d\.\d of \d\.\d s\)',
    'memory-hog': 'ran out of memory in memory-hog (memory-hog.php:16: Allowed memory size of',
    'fatal': 'ended by a PHP fatal error in fatal (fatal.php:14: Uncaught Error',
    'big-header': r'big-header added 12\d\d\d of 1\d\d\d\d bytes of response headers',
    'answers-502': 'answers-502 @ template_redirect set the status 502',
    'exit-at-load': 'exit-at-load @ include ended the request (exit)',
    'dies': 'dies @ template_redirect ended the request (exit)',
    'redirect-loop': 'redirect-loop @ template_redirect redirected to 127.0.0.1/',
}


@pytest.mark.parametrize('name', HINTS)
def test_a_single_culprit_takes_three_probes_beside_the_recorded_one(
    wpaudit: Callable[..., Run], site: Lab, unchanged: Unchanged, name: str,
) -> None:
    breaking(site, name)
    with limited(site, '2s') if KNOWN[name].symptom is Symptom.TIMEOUT else nullcontext(), unchanged(site):
        run = wpaudit(site, *asked(name))
    assert run.code == 1, run.err
    assert run.named == {frozenset(KNOWN[name].files)}
    assert [one['role'] for one in run.made] == ['recorder', 'certificate', 'certificate', 'certificate']
    [hint] = run.hints
    assert hint['suspects'] == list(KNOWN[name].files)
    assert HINTS[name] in hint['reason'] or re.search(HINTS[name], hint['reason'])
    firsts: dict[tuple[str, ...], int] = {}
    for one in run.made[1:]:
        firsts.setdefault(tuple(one['off']), one['n'])
    alone, without = firsts.values()  # asked at once: which of them ends first is up to the fault
    assert hint['fate'] == f'certified by probes {alone} and {without}'


def test_the_time_limit_of_php_itself_names_what_was_running(
    wpaudit: Callable[..., Run], site: Lab, unchanged: Unchanged,
) -> None:
    breaking(site, 'time-limit')
    # A second of computing may take long on a busy machine, so php-fpm has to be patient.
    with limited(site, '60s'), unchanged(site):
        run = wpaudit(site, '--fail-on', '500', '--timeout', '60')
    assert run.named == {frozenset(['time-limit/time-limit.php'])}, run.err
    [hint] = run.hints
    assert "reached PHP's time limit in time-limit @ template_redirect (time-limit.php:" in hint['reason']
    assert 'Maximum execution time of 1 second exceeded' in hint['reason']
    assert hint['fate'].startswith('certified by probes ')


@pytest.mark.parametrize('site', ['apache', 'mariadb', 'multisite'], indirect=True)
def test_it_names_on_every_variant(wpaudit: Callable[..., Run], site: Lab, unchanged: Unchanged) -> None:
    breaking(site, 'crash-shortcode')
    with unchanged(site):
        run = wpaudit(site, *asked('crash-shortcode'))
    assert run.named == {frozenset(KNOWN['crash-shortcode'].files)}, run.err
    assert len(run.made) == 4
    assert 'crash-shortcode @ [crash_shortcode]' in run.hints[0]['reason']


@pytest.mark.parametrize('site', ['multisite'], indirect=True)
def test_network_plugins_are_seen_while_they_are_included(wpaudit: Callable[..., Run], site: Lab) -> None:
    file = site.install('crash-include')
    site.activate([*site.active(network=True), file], network=True)
    run = wpaudit(site)
    assert run.named == {frozenset([file])}, run.err
    assert [hint['reason'] for hint in run.hints] == ['died in crash-include @ include']


def test_it_works_in_live_mode_too(wpaudit: Callable[..., Run], site: Lab, unchanged: Unchanged) -> None:
    breaking(site, 'crash-template')
    with unchanged(site):
        run = wpaudit(site, '--mode', 'live')
    assert run.named == {frozenset(KNOWN['crash-template'].files)}, run.err
    assert len(run.made) == 4


def test_a_command_that_judges_is_recorded_too(wpaudit: Callable[..., Run], site: Lab, unchanged: Unchanged) -> None:
    breaking(site, 'crash-template')
    fetch = 'curl -fsS -o /dev/null -H "$WPAUDIT_HEADER" "$WPAUDIT_URL/$page"'
    with unchanged(site):
        run = wpaudit(site, '--run', f'for page in "?s=a" wp-login.php; do {fetch} || exit 1; done')
    assert run.named == {frozenset(KNOWN['crash-template'].files)}, run.err
    assert [hint['reason'] for hint in run.hints] == ['died in crash-template @ template_redirect']
    assert len(run.made) <= 5


def test_of_a_pair_it_names_the_one_that_died_and_whom_that_had_called(
    wpaudit: Callable[..., Run], site: Lab, unchanged: Unchanged,
) -> None:
    breaking(site, 'crash-pair')
    with unchanged(site):
        run = wpaudit(site)
    assert run.named == {frozenset(KNOWN['crash-pair'].files)}, run.err
    died, called = run.hints
    assert {*died['suspects'], *called['suspects']} == set(KNOWN['crash-pair'].files)
    assert called['reason'].startswith('the last to run in it was crash-pair-')
    assert all(hint['fate'].startswith('certified by probes ') for hint in run.hints)
    assert len({tuple(one['off']) for one in run.made}) <= 4 + math.log2(len(site.active()))
    plain = wpaudit(site, '--no-recorder')
    assert plain.named == run.named
    assert not plain.hints
    assert all(one['role'] != 'recorder' for one in plain.report['probes'])


HALVES = {
    'half-constant': 'what failed in half-constant-a asks for HALF_CONSTANT_LEVEL, which half-constant-b defines',
    'half-class': 'the file in which half-class-a failed asks for Half_Class\\Registry, which half-class-b defines',
    'half-hook': 'what failed in half-hook-a runs or looks at the hook half_hook_layers, to which half-hook-b adds '
                 'something',
    'half-active': 'what failed in half-active-a names the file half-active-b/half-active-b.php',
    'half-guard': 'half-guard-b asks for half_guard_in_time of half-guard-a',
}


@pytest.mark.parametrize('name', HALVES)
def test_the_half_of_a_pair_that_the_recorder_does_not_see_is_found_by_the_code(
    wpaudit: Callable[..., Run], site: Lab, unchanged: Unchanged, name: str,
) -> None:
    breaking(site, name)
    with unchanged(site):
        run = wpaudit(site)
    assert run.named == {frozenset(KNOWN[name].files)}, run.err
    [died] = run.hints
    assert died['suspects'] == [KNOWN[name].files[0]]
    assert died['where'].startswith(f'{name}-a/')
    [told, *_] = [one for one in run.report['evidence'] if one['source'] == 'source code']
    assert (told['reason'], told['suspects']) == (HALVES[name], [KNOWN[name].files[1]])
    assert told['fate'].startswith('certified by probes ')
    after = [one for one in run.made if one['role'] != 'recorder']
    assert len(after) <= 4 + math.log2(len(site.active()))
    assert len({tuple(one['off']) for one in after}) == 5


def test_files_that_nobody_should_read_are_not_read_to_their_end(wpaudit: Callable[..., Run], site: Lab) -> None:
    breaking(site, 'half-constant')
    for file in KNOWN['half-constant'].files:
        # Not in the uppermost directory, where WordPress itself looks into every file.
        folder = site.path / 'wp-content/plugins' / Path(file).parent / 'lib'
        folder.mkdir()
        os.mkfifo(folder / 'endless.php')
        (folder / 'away').symlink_to('/')
        (folder / 'loop').symlink_to(folder)
        (folder / 'gone.php').symlink_to('/nowhere')
        (folder / 'large.php').write_bytes(b"<?php '" + b'x' * (40 << 20))
        (folder / 'binary.php').write_bytes(bytes(range(256)) * 4000)
        (folder / 'comments.php').write_text('<?php ' + '/*' * 200_000)
        (folder / 'quotes.php').write_text('<?php ' + '\'"' * 200_000)
        (folder / 'minified.php').write_text('<?php ' + 'class A{function b(){return new C;}}' * 20_000)
        (folder / 'many').mkdir()
        for number in range(3000):
            (folder / f'many/{number}.php').touch()
    began = time.monotonic()
    run = wpaudit(site)
    assert time.monotonic() - began < 60
    assert run.named == {frozenset(KNOWN['half-constant'].files)}, run.err
    [told, *_] = [one for one in run.report['evidence'] if one['source'] == 'source code']
    assert told['reason'] == HALVES['half-constant']
    assert not [gap for gap in run.report['gaps'] if gap['what'].startswith('code of')]


def test_code_that_speaks_of_others_leads_astray_and_to_no_wrong_name(
    wpaudit: Callable[..., Run], site: Lab, unchanged: Unchanged,
) -> None:
    breaking(site, 'half-hidden')
    with unchanged(site):
        run = wpaudit(site)
    assert run.named == {frozenset(KNOWN['half-hidden'].files)}, run.err
    told = [one for one in run.report['evidence'] if one['source'] == 'source code']
    assert {suspect for one in told for suspect in one['suspects']} >= {
        'h05-shop-core/shop.php', 'h13-related-posts/related.php', 'h19-team/index.php'}
    assert {one['fate'] for one in told} == {'not borne out by the probes'}


# -- plugins that fool it -----------------------------------------------------------------------------


def test_work_handed_to_an_innocent_plugin_is_traced_by_the_probes(
    wpaudit: Callable[..., Run], site: Lab, unchanged: Unchanged,
) -> None:
    breaking(site, 'hands-over')
    with unchanged(site):
        run = wpaudit(site)
    assert run.named == {frozenset(['hands-over/hands-over.php'])}, run.err
    assert run.hints[0]['suspects'] == ['task-runner/task-runner.php']
    assert run.hints[0]['fate'] == 'not borne out by the probes'


def test_a_plugin_that_spares_the_recorded_probe_is_found_without_it(
    wpaudit: Callable[..., Run], site: Lab, unchanged: Unchanged,
) -> None:
    breaking(site, 'shy')
    with unchanged(site):
        run = wpaudit(site)
    assert run.named == {frozenset(['shy/shy.php'])}, run.err
    assert not run.hints
    [gap] = [gap for gap in run.report['gaps'] if gap['what'] == 'flight recorder']
    assert 'dropped' in gap['why']
    assert 'the flight recorder' in run.err


# -- it changes nothing -------------------------------------------------------------------------------


@pytest.fixture
def switcher(site: Lab, tmp_path: Path) -> Iterator[Callable[[], AbstractContextManager[Switcher]]]:
    """Switch a site as wpaudit does."""
    opened: list[WpCliSite] = []

    def make() -> AbstractContextManager[Switcher]:
        target = parse_target(site.target)
        shell = ShellOptions(identity=site.identity, known_hosts=site.known_hosts)
        one = WpCliSite(
            lambda: open_shell(target, shell), LaunchOptions(path=target.path or '', url=site.url),
            journal=FileJournal('recorder', tmp_path),
        )
        opened.append(one)
        return one.switching(Mode.ISOLATED)

    yield make
    for one in opened:
        one.close()


def probed(
    switched: Switcher, site: Lab, path: str, *, record: bool, off: frozenset[str] = frozenset(),
) -> tuple[Observation, Recording | None]:
    """Probe one page."""
    fetcher = HttpFetcher()
    prober = HttpProber(fetcher, [Request(site.url + path)], Expectation(), timeout=20)
    with switched.switched(off, record=record) as step:
        seen = prober.observe(step)
        recording = step.recording(seen)
    fetcher.close()
    return seen, recording


def page(answer: Answer) -> str:
    """What a visitor gets, without what is new in every answer."""
    return re.sub(r'[0-9a-f]{10}(?=["&/])|\d\d:\d\d:\d\d', '', answer.body)


PAGES = ('/', '/shop/', '/about/', '/?s=news', '/wp-json/wp/v2/posts', '/feed/', '/no-such-page/', '/wp-login.php')


def test_pages_are_the_same_with_and_without_it(
    site: Lab, switcher: Callable[[], AbstractContextManager[Switcher]], unchanged: Unchanged,
) -> None:
    breaking(site, 'hook-zoo')
    site.get('/')
    with unchanged(site), switcher() as switched:
        for path in PAGES:
            plain, none = probed(switched, site, path, record=False)
            seen, recording = probed(switched, site, path, record=True)
            assert none is None
            assert recording is not None, path
            assert (seen.status, page(seen.answers[0])) == (plain.status, page(plain.answers[0])), path
            headers = [sorted(set(one.answers[0].headers) - {'x-wpaudit-mark'}) for one in (plain, seen)]
            assert headers[0] == headers[1]


def test_hooks_do_what_they_do_without_it(
    site: Lab, switcher: Callable[[], AbstractContextManager[Switcher]],
) -> None:
    breaking(site, 'hook-zoo')
    with switcher() as switched:
        plain, _ = probed(switched, site, '/', record=False)
        seen, _ = probed(switched, site, '/', record=True)
    zoos = [dict(re.findall(r'<!-- zoo ([a-z ]+): (.*?) -->', one.answers[0].body)) for one in (plain, seen)]
    assert zoos[0] == zoos[1]
    said = {name: json.loads(value) for name, value in zoos[1].items()}
    assert said['kinds'] == 'A FUNCTION STATIC METHOD INVOKED MAGIC METHOD'
    assert said['generator'] == ['g', 'g again']
    assert said['has'] == [7, 12, True]
    assert said['removed'] == [True, False]
    assert said['left'] == 'twice function'
    assert said['last'] == [True, False]
    assert said['once'] == [1, 0, False]
    assert said['references'] == [['before', 'added', 'second'], 2, 'two']
    assert said['arguments'] == [1, 2]
    assert said['late'][0] == ['early', 'later zoo_late 1', 'last']
    assert said['thrown'] == ['from below', 'hook-zoo.php']
    assert said['error'] is None


def test_costs_are_added_up_for_each_plugin(
    site: Lab, switcher: Callable[[], AbstractContextManager[Switcher]],
) -> None:
    breaking(site, 'hook-zoo')
    with switcher() as switched:
        _, recording = probed(switched, site, '/', record=True)
    assert recording is not None
    assert recording.evidence == ()
    costs = {cost.suspects: cost for cost in recording.costs if cost.suspects}
    assert set(costs) >= {(file,) for file in site.active() if not file.startswith('h11-gallery')}
    assert costs['hook-zoo/hook-zoo.php',].calls > 30
    assert all(cost.seconds > 0 and cost.calls > 0 for cost in costs.values())
    own = sum(cost.seconds for cost in recording.costs)
    assert costs['hook-zoo/hook-zoo.php',].seconds < own
    assert costs['h10-security-headers/headers.php',].header_bytes > 0
    assert sum(cost.queries for cost in recording.costs) > 5
    core = next(cost for cost in recording.costs if cost.name == 'WordPress itself')
    assert core.seconds > 0


def test_a_probe_of_wp_cron_runs_no_event_and_loses_none(
    site: Lab, switcher: Callable[[], AbstractContextManager[Switcher]], unchanged: Unchanged,
) -> None:
    breaking(site, 'scheduled')
    config = site.path / 'wp-config.php'
    # As where the system's cron asks for wp-cron.php; otherwise any page view might.
    config.write_text(config.read_text().replace('<?php', "<?php\ndefine( 'DISABLE_WP_CRON', true );", 1))
    planned = site.wp('cron', 'event', 'schedule', 'scheduled_event', '2020-01-01 00:00:00')
    assert planned.returncode == 0, planned.stderr
    ran = site.path / 'wp-content/uploads/scheduled.txt'
    fetcher = HttpFetcher()
    with unchanged(site), switcher() as switched:
        [marks] = site.path.glob('wp-content/.wpaudit/marks-*')
        with switched.switched(frozenset(), record=True) as step:
            answer = fetcher.fetch(step.prepare(Request(site.url + '/wp-cron.php?doing_wp_cron')), timeout=20)
            assert (answer.status, answer.body) == (200, '')  # sent before WordPress is loaded, whatever comes then
            until(lambda: any('ended' in mark.read_text() for mark in marks.glob('[!-]' * 24)))
        assert not ran.exists()
    fetcher.close()
    site.get('/wp-cron.php?doing_wp_cron')
    until(ran.exists)


# -- events that are asked for ------------------------------------------------------------------------


def planned(site: Lab, *events: str) -> object:
    """Let events be due, and let nobody but a probe run them; return what is planned."""
    config = site.path / 'wp-config.php'
    config.write_text(config.read_text().replace('<?php', "<?php\ndefine( 'DISABLE_WP_CRON', true );", 1))
    for event in events:
        done = site.wp('cron', 'event', 'schedule', event, '2020-01-01 00:00:00', 'hourly')
        assert done.returncode == 0, done.stderr
    return events_of(site)


def events_of(site: Lab) -> object:
    """Return all that is planned."""
    listed = site.wp('option', 'get', 'cron', '--format=json')
    assert listed.returncode == 0, listed.stderr
    return json.loads(listed.stdout)


@pytest.mark.parametrize('site', ['sqlite', 'mariadb', 'apache'], indirect=True)
def test_an_event_that_crashes_is_named_when_events_are_asked_for(
    wpaudit: Callable[..., Run], site: Lab, unchanged: Unchanged,
) -> None:
    breaking(site, 'cron-crash', 'cron-writer')
    before = planned(site, 'cron_writer_event', 'cron_crash_event')
    with unchanged(site):
        assert wpaudit(site).code == 0  # a visitor sees nothing of it
        run = wpaudit(site, '--cron')
    assert run.code == 1, run.err
    assert run.named == {frozenset(['cron-crash/cron-crash.php'])}
    assert [hint['reason'] for hint in run.hints] == ['died in cron-crash @ cron_crash_event']
    assert run.report['restore']['verified'] is True
    assert run.report['cause'] is None
    assert len(run.made) == 4
    assert events_of(site) == before
    assert site.wp('option', 'get', 'cron_writer_ran').returncode != 0


def test_events_that_work_are_told_of_and_are_due_still(
    wpaudit: Callable[..., Run], site: Lab, unchanged: Unchanged,
) -> None:
    breaking(site, 'cron-writer')
    before = planned(site, 'cron_writer_event')
    with unchanged(site):
        run = wpaudit(site, '--cron')
    assert run.code == 0, run.err
    assert re.search(r'\([1-9]\d* events of WP-Cron were due and ran\)', run.report['message'])
    assert events_of(site) == before


def test_events_are_refused_in_live_mode_by_wpaudit_and_by_the_host(
    wpaudit: Callable[..., Run], site: Lab, tmp_path: Path,
) -> None:
    breaking(site, 'cron-crash')
    planned(site, 'cron_crash_event')
    run = wpaudit(site, '--cron', '--mode', 'live')
    assert run.code == 2
    assert '--cron works in isolated mode only' in run.err
    target = parse_target(site.target)
    shell = ShellOptions(identity=site.identity, known_hosts=site.known_hosts)
    one = WpCliSite(
        lambda: open_shell(target, shell), LaunchOptions(path=target.path or '', url=site.url),
        journal=FileJournal('events', tmp_path),
    )
    one.run_events()
    with one.switching(Mode.LIVE) as switched:
        assert probed(switched, site, '/', record=False)[0].status == 200
    one.close()


def test_no_other_request_runs_events_meanwhile(site: Lab, tmp_path: Path) -> None:
    breaking(site, 'cron-crash')
    before = planned(site, 'cron_crash_event')
    target = parse_target(site.target)
    shell = ShellOptions(identity=site.identity, known_hosts=site.known_hosts)
    one = WpCliSite(
        lambda: open_shell(target, shell), LaunchOptions(path=target.path or '', url=site.url),
        journal=FileJournal('events', tmp_path),
    )
    with one.switching(Mode.ISOLATED) as plain:
        with plain.switched(frozenset()) as step:
            signed = step.prepare(Request(site.url + '/')).headers[-1][1]
        fields = signed.split(';')
        forged = ';'.join([*fields[:4], 'c', fields[5]])
        fetcher = HttpFetcher()
        for header in (signed, forged):
            answer = fetcher.fetch(Request(site.url + '/', headers=(('X-Wpaudit', header),)), timeout=20)
            assert (answer.status, '</html>' in answer.body) == (200, True)
        fetcher.close()
    one.close()
    assert events_of(site) == before


def until(happened: Callable[[], bool]) -> None:
    """Wait for something that happens after an answer."""
    deadline = time.monotonic() + SECONDS
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_visitors_and_plain_probes_never_load_it(
    site: Lab, switcher: Callable[[], AbstractContextManager[Switcher]],
) -> None:
    with switcher() as switched:
        directory = site.path / 'wp-content/.wpaudit'
        [recorder] = directory.glob('recorder-*.php')
        assert 'Wpaudit_Recorder___TOKEN__' not in recorder.read_text()
        recorder.write_text('<?php exit( "loaded" );')
        assert site.get('/')[0] == 200
        assert probed(switched, site, '/', record=False)[0].status == 200
        assert not list(directory.glob('marks-*/*-rec*'))
