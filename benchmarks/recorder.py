"""What the flight recorder costs the one request that it watches, and what it saves the search.

    python -m benchmarks.recorder [--plugins 50] [--runs 40] [--path /] [--variant sqlite]
    python -m benchmarks.recorder --search [--plugins 30 64 256] [--fault crash-pair half-class]

Builds the lab and sends signed requests with everything on, a plain one and a recorded one in turn, so that both see
the same machine; prints the ratio of the medians, since the milliseconds belong to this machine. With `--search` it
counts the probes after the baseline that `wpaudit bisect` makes with and without the recorder.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fixtures.lab import VARIANTS
from fixtures.lab import Lab
from fixtures.plugins import FAULTS
from fixtures.plugins import HARMLESS
from fixtures.plugins import Symptom
from fixtures.plugins import folder_of
from fixtures.plugins.moments import MOMENTS
from wpaudit.domain import Mode
from wpaudit.domain import Recording
from wpaudit.domain import Request
from wpaudit.journal import FileJournal
from wpaudit.ports import Switcher
from wpaudit.probes.http import HttpFetcher
from wpaudit.probes.judge import Expectation
from wpaudit.probes.prober import HttpProber
from wpaudit.shells import ShellOptions
from wpaudit.shells import open_shell
from wpaudit.shells.target import parse_target
from wpaudit.sites.launch import LaunchOptions
from wpaudit.sites.wpcli import WpCliSite

GOAL = 2.0
SHOWN = 8
KNOWN = {**FAULTS, **MOMENTS}
# What is said of the flight recorder in docs/architecture.md, a fault for each moment and each kind of failure.
FAULTS_TRIED = {
    'crash-worker': 'crash at init',
    'crash-template': 'crash at template_redirect',
    'crash-shortcode': 'crash in a shortcode',
    'crash-rest': 'crash in a REST callback',
    'crash-include': 'crash at include time',
    'crash-shutdown': 'crash in a shutdown function',
    'slow': 'time limit of php-fpm',
    'memory-hog': 'memory limit',
    'big-header': 'too big header',
    'crash-late': 'truncated output',
    'crash-pair': 'conflict of a pair',
    'half-constant': 'pair, one asks for a constant',
    'half-class': 'pair, one asks for a class',
    'half-hook': 'pair, one looks at a hook',
    'half-active': 'pair, one looks at the list',
    'half-guard': 'pair, one unhooks a callback',
    'half-hidden': 'pair, and nothing tells',
}
FAIL_ON = {Symptom.FATAL: ('--fail-on', '500')}
UNSTEADY = 'intermittent'
UNSTEADY_RUNS = 5
AFTER_BASELINE = ('search', 'certificate')  # the recorded probe is one of those that show the failure to be there


class Unnamed(Exception):
    """The run ended without a name, and said so."""


def main() -> None:
    """Measure and print."""
    options = _options()
    if options.search:
        _searches(options)
    else:
        _requests(options)


def _requests(options: argparse.Namespace) -> None:
    [plugins] = options.plugins or [50]
    real = min(plugins, len(HARMLESS))
    with Lab.start(options.variant, harmless=real) as lab, tempfile.TemporaryDirectory() as state:
        lab.activate([*lab.active(), *_fillers(lab, plugins - real)])
        site = _site(lab, Path(state))
        with site.switching(Mode.ISOLATED) as switcher:
            plain, recorded, last = _measure(lab, switcher, options.path, options.runs)
        site.close()
    ratio = statistics.median(recorded) / statistics.median(plain)
    print(f'{plugins} plugins, {options.path}, {options.runs} requests of each kind in turn')
    print(f'plain {_spread(plain)}, recorded {_spread(recorded)}: ratio {ratio:.2f} (goal: at most {GOAL:.1f})')
    print('\ndearest of one recorded request:')
    for cost in last.costs[:SHOWN]:
        print(f'  {cost.seconds * 1e3:7.2f} ms {cost.calls:6} calls {cost.queries:4} queries  {cost.name}')


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--plugins', type=int, nargs='+', help='active plugins; several numbers with --search only')
    parser.add_argument('--search', action='store_true', help='count probes instead')
    parser.add_argument('--fault', choices=[*FAULTS_TRIED, UNSTEADY], nargs='+', help='with --search: only these')
    parser.add_argument('--runs', type=int, default=40)
    parser.add_argument('--path', default='/')
    parser.add_argument('--variant', choices=sorted(VARIANTS), default='sqlite')
    return parser.parse_args()


def _searches(options: argparse.Namespace) -> None:
    with Lab.start(options.variant, harmless=24) as lab:
        harmless = lab.active()
        for count in options.plugins or (30, 64, 256):
            for fault, what in _chosen(options.fault):
                files = [lab.install(folder_of(file)) for file in KNOWN[fault].files]
                lab.activate([*harmless, *files, *_fillers(lab, count - len(harmless) - len(files))])
                made = {record: _probes(lab, fault, record=record) for record in (True, False)}
                said = f'{count:4} plugins, {what:30} {made[True]} with it, {made[False]} without'
                print(said, flush=True)
            if not options.fault or UNSTEADY in options.fault:
                _unsteady(lab, harmless, count)


def _chosen(faults: Sequence[str] | None) -> list[tuple[str, str]]:
    return [(fault, what) for fault, what in FAULTS_TRIED.items() if not faults or fault in faults]


def _unsteady(lab: Lab, harmless: list[str], count: int) -> None:
    """Count for a crash in 30 % of the requests: medians of several runs, since each run meets another luck."""
    files = [lab.install(folder_of(file)) for file in KNOWN[UNSTEADY].files]
    lab.activate([*harmless, *files, *_fillers(lab, count - len(harmless) - len(files))])
    made: dict[bool, list[int]] = {True: [], False: []}
    while min(map(len, made.values())) < UNSTEADY_RUNS:
        for record, counts in made.items():
            try:
                counts.append(_probes(lab, UNSTEADY, record=record).probes)
            except Unnamed:  # a lucky streak: the run says that it cannot tell
                continue
    median = {record: statistics.median(counts) for record, counts in made.items()}
    print(f'{count:4} plugins, {"crash in 30 % of requests":30} {median[True]:3.0f} probes with it, '
          f'{median[False]:3.0f} without (medians of {UNSTEADY_RUNS})', flush=True)


def _fillers(lab: Lab, count: int) -> list[str]:
    """Put plugins on the site that do next to nothing."""
    names = [f'filler-{number:03}' for number in range(max(0, count))]
    for name in names:
        folder = lab.path / 'wp-content/plugins' / name
        folder.mkdir(exist_ok=True)
        text = f"<?php\n/* Plugin Name: {name} */\nadd_action( 'init', static function () {{ return 1; }} );\n"
        (folder / f'{name}.php').write_text(text)
        lab.record.account.own_tree(folder)
    return [f'{name}/{name}.php' for name in names]


@dataclass(frozen=True)
class Made:
    """The probes after the baseline, and how many sets they were about."""

    probes: int
    sets: int

    def __str__(self) -> str:
        return f'{self.probes:3} probes of {self.sets:2} sets'


def _probes(lab: Lab, fault: str, *, record: bool) -> Made:
    with tempfile.TemporaryDirectory() as state:
        argv = [
            sys.executable, '-m', 'wpaudit', 'bisect', '--host', lab.target, '--url', lab.url, '--quiet',
            '--format', 'json', '--identity', str(lab.identity), '--known-hosts', str(lab.known_hosts),
            '--probe', KNOWN[fault].path, '--recorder' if record else '--no-recorder',
            *FAIL_ON.get(KNOWN[fault].symptom, ()),
        ]
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=600, check=False, env={**os.environ, 'XDG_STATE_HOME': state},
        )
    if not done.stdout.startswith('{'):
        raise SystemExit(f'{fault}: wpaudit ended with {done.returncode}: {done.stderr}')
    report = json.loads(done.stdout)
    named = {one['id'] for conflict in report['conflicts'] for one in conflict}
    if done.returncode in {0, 6} and not named:
        raise Unnamed(fault)
    if named != {file for conflict in KNOWN[fault].culprits for file in conflict}:
        raise SystemExit(f'{fault}: wpaudit named {sorted(named)}: {done.stderr}')
    made = [tuple(one['off']) for one in report['probes'] if one['role'] in AFTER_BASELINE]
    return Made(len(made), len(set(made)))


def _site(lab: Lab, state: Path) -> WpCliSite:
    target = parse_target(lab.target)
    shell = ShellOptions(identity=lab.identity, known_hosts=lab.known_hosts)
    return WpCliSite(
        lambda: open_shell(target, shell), LaunchOptions(path=target.path or '', url=lab.url),
        journal=FileJournal('benchmark', state),
    )


def _measure(lab: Lab, switcher: Switcher, path: str, runs: int) -> tuple[list[float], list[float], Recording]:
    fetcher = HttpFetcher()
    prober = HttpProber(fetcher, [Request(lab.url + path)], Expectation(), timeout=30)
    seconds: dict[bool, list[float]] = {False: [], True: []}
    last = Recording()
    for number in range(runs + 3):
        for record in (False, True):
            with switcher.switched(frozenset(), record=record) as step:
                seen = prober.observe(step)
                last = step.recording(seen) or last
            if number >= 3:  # noqa: PLR2004 - the first ones fill caches
                seconds[record].append(seen.seconds)
    fetcher.close()
    return seconds[False], seconds[True], last


def _spread(values: list[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f'{middle * 1e3:.1f} ms ({low * 1e3:.1f} to {high * 1e3:.1f})'


if __name__ == '__main__':
    main()
