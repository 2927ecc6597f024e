"""What ordinary visitors see, before anything is switched or signed."""

from __future__ import annotations

import time
from collections.abc import Sequence

from wpaudit.commands.trial import Trial
from wpaudit.domain import Outcome
from wpaudit.errors import CannotStart
from wpaudit.errors import Unsteady
from wpaudit.ports import Observation

VISITS = 2  # made while the agent starts, so they cost no time
# A site that passes is visited this often before it counts as healthy, within VISITING seconds: a failure that shows
# in 30 % of the requests is missed in 3 % of the runs.
HEALTHY_VISITS = 10
VISITING = 5.0


def visits(trial: Trial) -> list[Observation]:
    """Probe as a visitor, one after the other; more often while the site seems healthy."""
    until = time.monotonic() + VISITING
    seen = [trial.visitor() for _ in range(VISITS)]
    while all(one.outcome is Outcome.PASS for one in seen):
        if len(seen) > VISITS and (len(seen) >= HEALTHY_VISITS or time.monotonic() > until):
            break
        seen.append(trial.visitor())
    return seen


def healthy(seen: Sequence[Observation]) -> bool:
    """Whether visitors see a site that works. Raises what keeps the question from being asked."""
    outcomes = {one.outcome for one in seen}
    if outcomes == {Outcome.PASS}:
        return True
    if Outcome.UNREACHED in outcomes:
        unreached = next(one for one in seen if one.outcome is Outcome.UNREACHED)
        raise CannotStart(f'the site cannot be probed from here: {unreached.evidence}', hint=_reach_hint(unreached))
    if Outcome.FAIL not in outcomes:
        other = next(one for one in seen if one.outcome is Outcome.OTHER)
        code = f' {other.status}' if other.status else ' CODE'
        raise CannotStart(
            f'the site does not work, but not in the way asked about: {other.evidence}',
            hint=f'ask about this failure with --fail-on{code}',
        )
    if Outcome.OTHER in outcomes:
        failed = sum(one.outcome is Outcome.FAIL for one in seen)
        raise Unsteady(
            f'the site fails in several ways: {failed} of {len(seen)} ordinary requests in the one asked about',
            hint='ask about both with --fail-on, or probe a page that fails in one way (--probe)',
        )
    return False


def _reach_hint(seen: Observation) -> str:
    errors = {answer.error for answer in seen.answers}
    if 'dns' in errors:
        return 'is the name right? --resolve HOST:ADDRESS pins it to an address'
    if 'tls' in errors:
        return 'is the certificate right for this name?'
    return 'is the --url right? --resolve HOST:ADDRESS goes straight to a server'
