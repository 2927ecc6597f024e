"""What a run costs on a real site, beside what people do today.

    python -m benchmarks.site [--plugins 30] [--runs 5] [--variant sqlite]

Builds the lab, puts a plugin that kills PHP workers in the middle of the list, and in one sitting measures
  * `wpaudit bisect`, isolated and live, as whole processes over SSH, and
  * the usual loop over one SSH login: `wp plugin deactivate X; curl; wp plugin activate X`, one plugin after the other.
Prints ratios: the seconds belong to this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fixtures.lab import VARIANTS
from fixtures.lab import Lab

CRASHER = 'crash-worker'
SEARCHING = ('search', 'certificate')
KINDS = (('isolated',), ('isolated', '--no-triage'), ('live',))

LOOP = """
cd {path}
for file in {files}; do
    wp plugin deactivate "$file" >/dev/null 2>&1
    code=$(curl -s -o /dev/null -w '%{{http_code}}' {url}/)
    if [ "$code" = 200 ]; then echo "culprit $file"; break; fi
    wp plugin activate "$file" >/dev/null 2>&1
done
"""


def main() -> None:
    """Measure and print."""
    options = _options()
    with Lab.start(options.variant, harmless=min(36, options.plugins - 1)) as lab:
        files = _activate(lab, options.plugins)
        lab.get('/')
        place = files.index(_crasher(files)) + 1
        print(f'{len(files)} plugins, the culprit at place {place}, {options.runs} runs each\n')
        loops = [_loop(lab, files) for _ in range(max(1, options.runs // 2))]
        lab.activate(files)  # the loop leaves the culprit off and the order changed
        # By turns, since a machine has better and worse minutes.
        made = [[_bisect(lab, *how) for how in KINDS] for _ in range(options.runs)]
    isolated, bare, live = zip(*made, strict=True)
    _isolated('isolated', isolated, loops)
    _isolated('isolated, without looking what kind of failure it is (--no-triage)', bare, loops)
    _live(live)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--plugins', type=int, default=30, help='active plugins, the culprit among them')
    parser.add_argument('--runs', type=int, default=5)
    parser.add_argument('--variant', choices=sorted(VARIANTS), default='sqlite')
    return parser.parse_args()


def _activate(lab: Lab, count: int) -> list[str]:
    harmless = lab.active()[: count - 1]
    middle = len(harmless) // 2
    files = [*harmless[:middle], lab.install(CRASHER), *harmless[middle:]]
    lab.activate(files)
    return files


def _crasher(files: Sequence[str]) -> str:
    return next(file for file in files if file.startswith(CRASHER))


def _loop(lab: Lab, files: Sequence[str]) -> float:
    lab.activate(files)
    names = ' '.join(shlex.quote(file.removesuffix('.php')) for file in files)
    script = LOOP.format(path=shlex.quote(str(lab.path)), files=names, url=lab.url)
    argv = [
        'ssh', '-F', 'none', '-T', '-i', str(lab.identity), '-p', str(lab.ssh_port), '-o', 'IdentitiesOnly=yes',
        '-o', f'UserKnownHostsFile={lab.known_hosts}', f'{lab.user}@127.0.0.1', script,
    ]
    started = time.monotonic()
    done = subprocess.run(argv, capture_output=True, text=True, timeout=600, check=True)
    if CRASHER not in done.stdout:
        raise SystemExit(f'the loop did not find the culprit: {done.stdout}{done.stderr}')
    return time.monotonic() - started


def _bisect(lab: Lab, mode: str, *more: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as state:
        argv = [
            sys.executable, '-m', 'wpaudit', 'bisect', '--host', lab.target, '--url', lab.url, '--mode', mode,
            '--quiet', '--identity', str(lab.identity), '--known-hosts', str(lab.known_hosts), '--format', 'json',
            *more,
        ]
        started = time.monotonic()
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=600, check=False,
            env={**os.environ, 'XDG_STATE_HOME': str(Path(state))},
        )
        seconds = time.monotonic() - started
    report: dict[str, Any] = json.loads(done.stdout)
    if done.returncode != 1 or not report['conflicts'][0][0]['id'].startswith(CRASHER):
        raise SystemExit(f'wpaudit did not find the culprit: {done.stderr}')
    changed = report['restore']['changed_seconds']
    return {**report['costs'], 'wall': seconds, 'changed': changed, 'probed': report['probes']}


def _median(runs: Sequence[dict[str, Any]], key: str) -> float:
    return statistics.median(float(run[key]) for run in runs)


def _isolated(title: str, runs: Sequence[dict[str, Any]], loops: Sequence[float]) -> None:
    needed = [run['connect_seconds'] + run['agent_start_seconds'] + run['probe_seconds'] for run in runs]
    own = statistics.median(run['wall'] / need for run, need in zip(runs, needed, strict=True))
    loop = statistics.median(loops)
    wall = _median(runs, 'wall')
    print(title)
    print(f'  one-by-one loop / wpaudit              {loop / wall:6.1f} x     (goal: at least 10)')
    print(f'  {loop:.1f} s / {wall:.2f} s')
    print(f'  wpaudit / (connect + start + probes)   {own:6.2f} x     (goal: at most 1.5)')
    for part in ('connect', 'agent_start', 'probe'):
        print(f'  {part} {_median(runs, f"{part}_seconds"):.2f} s')
    _counts(runs)


def _live(runs: Sequence[dict[str, Any]]) -> None:
    switched = [[one for one in run['probed'] if one['role'] in SEARCHING or one['off']] for run in runs]
    probing = [sum(one['seconds'] for one in made) for made in switched]
    ratio = statistics.median(run['changed'] / time for run, time in zip(runs, probing, strict=True))
    own = statistics.median(
        (run['changed'] - time) / len(made) for run, time, made in zip(runs, probing, switched, strict=True))
    print('live')
    print(f'  changed state / probes made in it      {ratio:6.2f} x     (goal: at most 1.2)')
    print(f'  own time per switch                    {own * 1000:6.0f} ms    (goal: at most 100)')
    _counts(runs)


def _counts(runs: Sequence[dict[str, Any]]) -> None:
    print(f'  WP-CLI starts {_median(runs, "wp_cli_starts"):.0f}, round trips {_median(runs, "round_trips"):.0f}, '
          f'probes {_median(runs, "probes"):.0f} of which search and certificate '
          f'{_median(runs, "probes_search") + _median(runs, "probes_certificate"):.0f}')


if __name__ == '__main__':
    main()
