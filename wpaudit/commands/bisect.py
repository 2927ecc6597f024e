"""``wpaudit bisect``: prove the question, search, prove the answer; whatever happens, the site is put back.

What comes after the first look is in ``searching``, which is loaded while the host starts PHP.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from wpaudit.commands import visits
from wpaudit.commands.opinion import Looking
from wpaudit.commands.opinion import Opinion
from wpaudit.commands.options import Options
from wpaudit.commands.trial import Budget
from wpaudit.commands.trial import Trial
from wpaudit.commands.trial import together
from wpaudit.domain import Inventory
from wpaudit.domain import Mode
from wpaudit.domain import Stage
from wpaudit.errors import UsageError
from wpaudit.ports import Layer
from wpaudit.ports import Listener
from wpaudit.ports import Observation
from wpaudit.ports import Prober
from wpaudit.ports import Site

if TYPE_CHECKING:
    from wpaudit.commands.glance import Glance
    from wpaudit.commands.verdict import Findings

Layers = Callable[[Inventory], Sequence[Layer]]


def bisect(
    site: Site, prober_for: Callable[[str], Prober], options: Options, listener: Listener, *,
    layers: Layers = lambda inventory: (), looking: Looking | None = None,
) -> Findings:
    """Find the minimal conflicts among a site's plugins, and its firewalls' rules if need be, and prove them.

    ``prober_for`` makes the prober for a base URL, ``layers`` the firewalls of the host; ``looking`` lets triage say
    what kind of failure it is. Returns what is known also when the search could not be finished; raises WpauditError
    when it could not be started. A site that could not be verified as it was is told by ``Findings.restoration``.
    """
    options = _isolated(options) if options.cron else options
    budget = Budget(options.max_probes, time.monotonic() + options.max_time)

    def trial_for(url: str) -> Trial:
        return Trial(prober_for(url), listener, budget)

    inventory, trial, seen, glance = _first_look(site, trial_for, options, listener, looking)
    from wpaudit.commands.searching import First
    from wpaudit.commands.searching import searched

    site.must_be_free()  # also when it works: a run that was interrupted may have left the culprit off
    opinions = partial(Opinion, looking, glance, options.url or inventory.facts.url) if looking and glance else None
    return searched(site, First(inventory, trial, seen, opinions), options, listener, lambda: layers(inventory))


def _isolated(options: Options) -> Options:
    """Events are run for a request of wpaudit's own; in live mode WP-Cron is held off for everybody."""
    if options.mode is Mode.LIVE:
        raise UsageError('--cron works in isolated mode only', hint='leave --mode live out')
    return replace(options, mode=Mode.ISOLATED)


def _first_look(
    site: Site, trial_for: Callable[[str], Trial], options: Options, listener: Listener, looking: Looking | None,
) -> tuple[Inventory, Trial, list[Observation], Glance | None]:
    """Start the agent and, when the URL is known before it answers, probe as a visitor meanwhile."""
    listener.stage(Stage.CONNECT)
    site.connect()
    if not options.url:
        inventory = site.inventory()
        url = inventory.facts.url
        glance, trial = looking.glance(url) if looking else None, trial_for(url)
        return inventory, trial, [] if options.unseen else visits.visits(trial), glance
    # What there is to be loaded and asked for is so while the host starts PHP.
    found: list[Inventory] = []
    looks: list[tuple[Trial, list[Observation]]] = []
    glances: list[Glance] = []

    def look() -> None:
        trial = trial_for(options.url)
        looks.append((trial, [] if options.unseen else visits.visits(trial)))
        # Not beside them: both load urllib3, whose modules import one another, which two threads must not do at once.
        if looking:
            glances.append(looking.glance(options.url))

    together([lambda: found.append(site.inventory()), look, _load], parallel=3)
    return found[0], *looks[0], glances[0] if glances else None


def _load() -> None:
    """Load what will be needed: there is nothing else to do."""
    import wpaudit.commands.searching  # noqa: F401 - it is used where it is
