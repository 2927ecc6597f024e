"""What one request costs each plugin: recorded with the must-use plugin on the host, put back and verified."""

from __future__ import annotations

import time

from wpaudit.commands.run import restored
from wpaudit.commands.trial import Budget
from wpaudit.commands.trial import Trial
from wpaudit.domain import Cost
from wpaudit.domain import Gap
from wpaudit.domain import Mode
from wpaudit.domain import Outcome
from wpaudit.errors import NotRestored
from wpaudit.errors import WpauditError
from wpaudit.ports import Listener
from wpaudit.ports import Prober
from wpaudit.ports import Site
from wpaudit.ports import Switcher

COSTS = 'what plugins cost'


def measured(
    site: Site, prober: Prober, listener: Listener, *, seconds: float,
) -> tuple[tuple[Cost, ...], tuple[Gap, ...]]:
    """Record one request with everything on; return the costs, or why there are none.

    Raises NotRestored when the host could not be verified as it was.
    """
    trial = Trial(prober, listener, Budget(probes=1, deadline=time.monotonic() + seconds))
    switcher: Switcher | None = None
    try:
        with restored(site.switching(Mode.ISOLATED), listener) as switcher:
            found = _recorded(trial, switcher)
    except NotRestored:
        raise
    except WpauditError as error:
        found = (), (Gap(COSTS, f'{error.message}{f"; {error.hint}" if error.hint else ""}'),)
    if switcher is not None:
        restoration = switcher.restoration()
        if not restoration.verified:
            raise NotRestored(
                f'the original state is NOT verified as restored: {restoration.message}', hint=restoration.advice)
    return found


def _recorded(trial: Trial, switcher: Switcher) -> tuple[tuple[Cost, ...], tuple[Gap, ...]]:
    if not switcher.records:
        return (), (Gap(COSTS, 'the flight recorder does not work on this host'),)
    done = trial.recorded(switcher)
    said = done.seen.evidence or done.seen.outcome
    if done.recording is None or not done.recording.costs:
        return (), (Gap(COSTS, f'nothing was recorded ({said})'),)
    if done.seen.outcome is not Outcome.PASS:
        return done.recording.costs, (Gap(COSTS, f'only up to the failure of that request ({said})'),)
    return done.recording.costs, ()
