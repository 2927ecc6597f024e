"""What needs the must-use plugin on the host for a moment: what a request costs each plugin, and looks of a user.

Triage changes nothing unless it is asked for one of these; the site is put back and verified as after a bisection.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace

from wpaudit.commands.run import must_be_verified
from wpaudit.commands.run import restored
from wpaudit.commands.trial import Budget
from wpaudit.commands.trial import Trial
from wpaudit.domain import Cost
from wpaudit.domain import Gap
from wpaudit.domain import Mode
from wpaudit.domain import Outcome
from wpaudit.domain import Request
from wpaudit.errors import NotRestored
from wpaudit.errors import UsageError
from wpaudit.errors import WpauditError
from wpaudit.facts import Look
from wpaudit.ports import Listener
from wpaudit.ports import Prober
from wpaudit.ports import Site
from wpaudit.ports import Switcher

COSTS = 'what plugins cost'
LOGGED_IN = 'what users see who are logged in'
LOOKS = 2  # one may be the luck of an unsteady fault


@dataclass(frozen=True)
class Wish:
    """What is asked for. ``prober`` makes the request whose costs are recorded; ``look`` makes one look of a user."""

    page: Request
    prober: Prober | None = None
    user: str = ''
    look: Callable[[Request], Look] | None = None
    seconds: float = 120.0


@dataclass(frozen=True)
class Measured:
    """What came of it; ``gaps`` say why there is less than was asked for."""

    costs: tuple[Cost, ...] = ()
    looks: tuple[Look, ...] = ()
    gaps: tuple[Gap, ...] = ()


def measured(site: Site, wish: Wish, listener: Listener) -> Measured:
    """Put the must-use plugin there, make the requests with everything on, put the site back.

    Raises UsageError when there is no such user, NotRestored when the host could not be verified as it was.
    """
    switcher: Switcher | None = None
    found = Measured()
    try:
        if wish.user:
            site.log_in(wish.user)
        with restored(site.switching(Mode.ISOLATED), listener) as switcher:
            found = _made(switcher, wish, listener)
    except (NotRestored, UsageError):
        raise
    except WpauditError as error:
        what = COSTS if wish.prober else LOGGED_IN
        found = replace(found, gaps=(Gap(what, f'{error.message}{f"; {error.hint}" if error.hint else ""}'),))
    if switcher is not None:
        must_be_verified(switcher.restoration())
    return found


def _made(switcher: Switcher, wish: Wish, listener: Listener) -> Measured:
    found = Measured()
    if wish.prober is not None:
        trial = Trial(wish.prober, listener, Budget(probes=1, deadline=time.monotonic() + wish.seconds))
        found = _recorded(trial, switcher)
    if wish.look is None:
        return found
    looks = []
    for _ in range(LOOKS):
        with switcher.switched(frozenset()) as step:
            looks.append(wish.look(step.prepare(wish.page)))
    return replace(found, looks=tuple(looks))


def _recorded(trial: Trial, switcher: Switcher) -> Measured:
    if not switcher.records:
        return Measured(gaps=(Gap(COSTS, 'the flight recorder does not work on this host'),))
    done = trial.recorded(switcher)
    said = done.seen.evidence or done.seen.outcome
    if done.recording is None or not done.recording.costs:
        return Measured(gaps=(Gap(COSTS, f'nothing was recorded ({said})'),))
    partly = Gap(COSTS, f'only up to the failure of that request ({said})')
    return Measured(done.recording.costs, gaps=() if done.seen.outcome is Outcome.PASS else (partly,))
