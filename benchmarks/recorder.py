"""What the flight recorder costs the one request that it watches.

    python -m benchmarks.recorder [--plugins 36] [--runs 40] [--path /] [--variant sqlite]

Builds the lab and sends signed requests with everything on, a plain one and a recorded one in turn, so that both see
the same machine. Prints the ratio of the medians: the milliseconds belong to this machine.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from fixtures.lab import VARIANTS
from fixtures.lab import Lab
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


def main() -> None:
    """Measure and print."""
    options = _options()
    with Lab.start(options.variant, harmless=options.plugins) as lab, tempfile.TemporaryDirectory() as state:
        site = _site(lab, Path(state))
        with site.switching(Mode.ISOLATED) as switcher:
            plain, recorded, last = _measure(lab, switcher, options.path, options.runs)
        site.close()
    ratio = statistics.median(recorded) / statistics.median(plain)
    print(f'{options.plugins} plugins, {options.path}, {options.runs} requests of each kind in turn')
    print(f'plain {_spread(plain)}, recorded {_spread(recorded)}: ratio {ratio:.2f} (goal: at most {GOAL:.1f})')
    print('\ndearest of one recorded request:')
    for cost in last.costs[:SHOWN]:
        print(f'  {cost.seconds * 1e3:7.2f} ms {cost.calls:6} calls {cost.queries:4} queries  {cost.name}')


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--plugins', type=int, default=36, help='active plugins')
    parser.add_argument('--runs', type=int, default=40)
    parser.add_argument('--path', default='/')
    parser.add_argument('--variant', choices=sorted(VARIANTS), default='sqlite')
    return parser.parse_args()


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
