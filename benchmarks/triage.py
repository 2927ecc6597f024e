"""What `wpaudit triage` takes on each failure of the lab: seconds, requests, and how many of them at a time.

    python -m benchmarks.triage [NAME ...] [--tries 2]

Makes the failures of `fixtures/scenarios` one after the other, each for real, and runs the command with its default
options. Prints what each run took and the cause it named, and marks what is over the bounds or wrong: then the exit
code is 1. Such a run is made again, since a busy machine is slow for reasons of its own: the better one counts.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from fixtures.lab import Lab
from fixtures.scenarios import SCENARIOS
from fixtures.scenarios import Scenario
from fixtures.scenarios.running import Run
from fixtures.scenarios.running import triage

SECONDS, REQUESTS, AT_ONCE = 15.0, 40, 4
# A look as --verbose tells it. That inside PHP asks no server.
LOOK = re.compile(r'^wpaudit: (?!inside )[a-z0-9-]+ \([^)]*\): .* in \d+\.\d\d s$', re.MULTILINE)


@dataclass(frozen=True)
class Row:
    """What one run came to."""

    scenario: Scenario
    run: Run

    @property
    def requests(self) -> int:
        """How many requests it made, straight to php-fpm among them; more than what the web server has noted."""
        return max(self.run.requests, len(LOOK.findall(self.run.err)))

    @property
    def found(self) -> str:
        """The cause it named, or the state of a site without one."""
        cause = self.run.report.get('cause')
        return str(cause['kind'] if cause else self.run.report.get('state', f'exit code {self.run.code}'))

    @property
    def problems(self) -> tuple[str, ...]:
        """What is not as it should be."""
        wanted, run = self.scenario.expected, self.run
        right = self.found in (wanted.kind or (wanted.state,)) and run.report.get('state') in wanted.states
        return tuple(said for said, holds in (
            (f'over {SECONDS:g} s', run.seconds > SECONDS), (f'over {REQUESTS} requests', self.requests > REQUESTS),
            (f'over {AT_ONCE} at once', run.at_once > AT_ONCE), ('wrong', not right),
        ) if holds)

    def __str__(self) -> str:
        took = f'{self.run.seconds:6.1f} s{self.requests:5} requests, {self.run.at_once or "-"} at once'
        expected = ' or '.join(self.scenario.expected.kind) or self.scenario.expected.state
        said = self.found if self.found == expected else f'{self.found} (expected: {expected})'
        marks = f'  <-- {", ".join(self.problems)}' if self.problems else ''
        return f'{self.scenario.name:28}{took}  {said}{marks}'


def main() -> int:
    """Run and print; return the exit code."""
    options = _options()
    rows = []
    with ExitStack() as ending:
        labs: dict[str, Lab] = {}
        home = Path(ending.enter_context(tempfile.TemporaryDirectory()))
        for scenario in _chosen(options.names):
            if scenario.variant not in labs:
                labs[scenario.variant] = ending.enter_context(Lab.start(scenario.variant))
            rows.append(_measured(scenario, labs[scenario.variant], home, options.tries))
            print(rows[-1], flush=True)
    bad = sum(bool(row.problems) for row in rows)
    slowest = max((row.run.seconds for row in rows), default=0.0)
    most = max((row.requests for row in rows), default=0)
    print(f'\n{len(rows)} scenarios, the slowest in {slowest:.1f} s, at most {most} requests; {bad} over or wrong')
    return 1 if bad else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('names', nargs='*', choices=[[], *SCENARIOS], metavar='NAME', help='all by default')
    parser.add_argument('--tries', type=int, default=2, help='runs of what is over the bounds')
    return parser.parse_args()


def _chosen(names: list[str]) -> Iterator[Scenario]:
    for name in names or SCENARIOS:
        if SCENARIOS[name].root_only and os.geteuid() != 0:
            print(f'{name:28}left out: {SCENARIOS[name].root_only}')
        else:
            yield SCENARIOS[name]


def _measured(scenario: Scenario, lab: Lab, home: Path, tries: int) -> Row:
    rows: list[Row] = []
    while len(rows) < tries and not (rows and not rows[-1].problems):
        with scenario.arranged(lab) as setting:
            rows.append(Row(scenario, triage(setting, home, '--verbose', host=scenario.from_host)))
    return min(rows, key=lambda row: (len(row.problems), row.run.seconds))


if __name__ == '__main__':
    sys.exit(main())
