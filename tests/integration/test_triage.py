"""`wpaudit triage` as a person runs it, on real sites with real failures: the cause is named, nothing is changed.

A triage is mostly waiting, so that a site is not asked too fast. The scenarios therefore run side by side on labs of
their own, in lanes; a test waits for its own.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.lab import Lab
from fixtures.lab.traces import eventually
from fixtures.lab.traces import left_behind
from fixtures.scenarios import SCENARIOS
from fixtures.scenarios import Scenario
from fixtures.scenarios import Setting
from fixtures.scenarios.running import SECONDS
from fixtures.scenarios.running import Run
from fixtures.scenarios.running import triage
from fixtures.scenarios.running import visited
from wpaudit.domain import Answer

LANES = ('apache', 'mariadb', *['sqlite'] * 3)  # a run takes one second of computing in seven
MOST_REQUESTS = 40
MOST_AT_ONCE = 4
# Seconds for which answers may be waited for. What all of it takes depends on the machine: python -m benchmarks.triage.
MOST_WAITING = 15
# Looked at a second time from outside alone: less can be seen then, and nothing may be made up.
BLIND = tuple(replace(SCENARIOS[name], name=f'{name}-blind', from_host=False) for name in (
    'worker-crash', 'worker-crash-apache', 'worker-timeout', 'pool-static', 'socket-missing', 'header-too-big',
    'application-502', 'wordpress-fatal', 'database-down', 'upstream-down', 'proxy-reset', 'rule-502', 'cdn-origin-502',
    'endless', 'slow-504',
))
CASES = {scenario.name: scenario for scenario in (*SCENARIOS.values(), *BLIND)}
SURE = 0.8
# These cannot be compared with before: no database to read, no room on the disk.
RANDOM = frozenset({'sometimes'})  # fails by a throw of dice
LUCKY = 3
NOT_COMPARED = {'database-down', 'database-down-blind', 'disk-full'}


# -- lanes --------------------------------------------------------------------------------------------


class Lane(threading.Thread):
    """Works off the scenarios of one kind of site, one after the other on one lab."""

    def __init__(
        self, variant: str, work: list[tuple[Scenario, Future[Run]]], home: Path, starting: threading.Lock,
    ) -> None:
        super().__init__(name=f'lane {variant}', daemon=True)
        self._starting = starting
        self._variant = variant
        self._work = work
        self._home = home

    def run(self) -> None:
        """Take the next scenario until there is none."""
        while self._work:
            try:
                with self._new_site() as lab:
                    self._work_off(lab)
            except Exception as error:  # as below: a lane that dies would let tests wait for ever
                if self._work:
                    self._work.pop()[1].set_exception(error)

    @contextmanager
    def _new_site(self) -> Iterator[Lab]:
        with ExitStack() as ending:
            with self._starting:  # one after the other: a new site is slow while others start
                lab = ending.enter_context(Lab.start(self._variant))
            yield lab

    def _work_off(self, lab: Lab) -> None:
        while self._work:
            try:
                scenario, result = self._work.pop()
            except IndexError:  # another lane was quicker
                return
            try:
                result.set_result(self._triaged(scenario, lab))
            except BaseException as error:  # whatever it is, the test of this scenario shows it
                result.set_exception(error)
                return  # and the next one gets a lab that is not in the way of it

    def _triaged(self, scenario: Scenario, lab: Lab) -> Run:
        starts = {name: path.stat().st_size for name, path in lab.logs.items()}
        with scenario.arranged(lab) as setting:
            compared = scenario.name not in NOT_COMPARED
            before = setting.lab.state() if compared else None
            run = triage(setting, self._home / scenario.name, host=scenario.from_host)
            for _ in range(LUCKY if scenario.name in RANDOM else 0):
                if run.report.get('state') in scenario.expected.states:
                    break  # else ten requests in a row went well, as they do in one run of 35
                run = triage(setting, self._home / scenario.name, host=scenario.from_host)
            changes = before.diff(setting.lab.state()) if before else []
            if not eventually(lambda: left_behind(setting.lab) == []):
                changes += left_behind(setting.lab)
            unreal = list(_unreal(scenario, setting, starts if setting.lab is lab else {}))
        return replace(run, changes=changes, unreal=unreal)


def _unreal(scenario: Scenario, setting: Setting, starts: Mapping[str, int]) -> Iterator[str]:
    """Say in what the failure is not what the scenario promises: the answer a visitor gets, the lines of the logs."""
    answer = _visit(scenario, setting)
    if answer.status not in scenario.status or (answer.error, answer.truncated) != (scenario.error, scenario.truncated):
        yield f'a visitor gets {answer}'
    for log, text in scenario.logged.items():
        if not eventually(lambda: text in _since(setting.logs[log], starts.get(log, 0))):  # noqa: B023 - used at once
            yield f'{log} does not say {text!r}'
    for log, text in scenario.silent.items():
        if text in _since(setting.logs[log], starts.get(log, 0)):
            yield f'{log} says {text!r}'


def _visit(scenario: Scenario, setting: Setting) -> Answer:
    """Visit the page; again, when it went well and does so now and then, as where a worker becomes free."""
    patience = 3 if scenario.error == 'timeout' else 20
    for _ in range(10 if scenario.expected.or_state else 1):
        answer = visited(setting, patience=patience)
        if answer.status in scenario.status:
            break
    return answer


def _since(log: Path, start: int) -> str:
    with log.open(errors='replace') as file:
        file.seek(start)
        return file.read()


@pytest.fixture(scope='module')
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Run]]]:
    """The runs of all scenarios that were asked for."""
    chosen = {item.callspec.params['scenario'].name for item in request.session.items
              if 'runs' in getattr(item, 'fixturenames', ()) and hasattr(item, 'callspec')}
    results: dict[str, Future[Run]] = {name: Future() for name in CASES if name in chosen}
    work: dict[str, list[tuple[Scenario, Future[Run]]]] = {variant: [] for variant in LANES}
    for name in reversed(results):
        scenario = CASES[name]
        if not (scenario.root_only and os.geteuid() != 0):
            work[scenario.variant].append((scenario, results[name]))
    home = tmp_path_factory.mktemp('triage')
    starting = threading.Lock()
    lanes = [Lane(variant, work[variant], home, starting) for variant in LANES]
    for lane in lanes:
        lane.start()
    yield results
    for waiting in work.values():
        waiting.clear()
    for lane in lanes:
        lane.join(SECONDS)


# -- every scenario -----------------------------------------------------------------------------------


@pytest.mark.parametrize('scenario', SCENARIOS.values(), ids=lambda scenario: scenario.name)
def test_the_cause_is_found_and_nothing_is_changed(
    runs: dict[str, Future[Run]], scenario: Scenario, capsys: pytest.CaptureFixture[str],
) -> None:
    if scenario.root_only and os.geteuid() != 0:
        pytest.skip(scenario.root_only)
    run = runs[scenario.name].result(timeout=300)
    with capsys.disabled():
        print(f'\n{scenario.name}: {run.seconds:.1f} s, {run.requests} requests', end=' ')

    assert list(run.unreal) == []
    proves(run, scenario)
    assert list(run.changes) == []
    is_bounded(run)


@pytest.mark.parametrize('scenario', BLIND, ids=lambda scenario: scenario.name)
def test_from_outside_alone_nothing_is_made_up(runs: dict[str, Future[Run]], scenario: Scenario) -> None:
    run = runs[scenario.name].result(timeout=300)
    report, wanted = run.report, scenario.expected

    assert (report['state'] in wanted.states, report['made_by'] in (*wanted.made_by, '')) == (True, True), run.summary
    kind, chance = report['cause']['kind'], report['cause']['probability']
    assert kind in (*wanted.kind, 'unknown') or chance < SURE, run.summary
    assert any('--host' in gap['why'] for gap in report['gaps'])
    assert list(run.changes) == []
    is_bounded(run)


def is_bounded(run: Run) -> None:
    """Fail unless a run asked as little of the site as is promised, and would not have waited for longer."""
    effort = run.report['effort']
    assert max(run.requests, effort['requests']) <= MOST_REQUESTS, run.summary
    assert max(run.at_once, effort['at_once']) <= MOST_AT_ONCE, run.summary
    assert effort['allowed'] <= MOST_WAITING, run.summary


def proves(run: Run, scenario: Scenario) -> None:
    """Fail unless a report says what is true of a scenario."""
    wanted, report = scenario.expected, run.report
    assert report, run.summary
    assert report['schema'] == 'wpaudit.triage/1', run.summary
    assert report['state'] in wanted.states, run.summary
    assert report['exit_code'] == run.code == scenario.exit_code(report['cause']), run.summary
    said = '\n'.join([*report['notes'], *report['differences']])
    assert not [text for text in wanted.told if text not in said], (said, run.summary)
    if wanted.state == 'healthy':
        assert report['cause'] is None, run.summary
        return
    cause = report['cause']
    assert cause['kind'] in wanted.kind, run.summary
    assert not wanted.category or cause['category'] == wanted.category, run.summary
    assert wanted.bisect_helps in (None, cause['bisect_helps']), run.summary
    assert cause['advice'], run.summary
    failed = [hop['name'] for hop in report['hops'] if hop['outcome'] == 'failed']
    assert not wanted.hop or (failed and failed[0] in wanted.hop), (failed, run.summary)
    assert not wanted.made_by or report['made_by'] in wanted.made_by, (report['made_by'], run.summary)
    assert report.get('just_me', False) == wanted.just_me, run.summary
