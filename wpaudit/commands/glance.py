"""A shortened triage for the start of a bisection: a handful of looks beside what it does anyway."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from urllib.parse import urlsplit

from wpaudit.commands import looks
from wpaudit.commands.looks import Ask
from wpaudit.domain import Request
from wpaudit.errors import WpauditError
from wpaudit.facts import Diagnosis
from wpaudit.facts import Look
from wpaudit.facts import Purpose
from wpaudit.facts import Resolution
from wpaudit.facts import Seen
from wpaudit.ports import Inside
from wpaudit.ports import Observation
from wpaudit.ports import Outside
from wpaudit.triage.faults import fails

MOST_REQUESTS = 3
LOOK_SECONDS = 10.0
PATIENCE = 0.3
SOONER = 1.0  # seconds before our first look from which lines of logs are read


class Glance:
    """At most three requests in the background, one after the other, and the addresses of the name.

    Nobody waits for them: what has not come by the time it is asked for is left out.
    """

    def __init__(self, outside: Outside, site: str, request: Request) -> None:
        """``site`` is the base URL, ``request`` the first one that the bisection probes with."""
        self.began = time.time()
        self.resolution: Resolution | None = None
        self.looks: list[Look] = []
        self._outside = outside
        # The file first: no page that hangs should hold it up.
        self._asks = [looks.statics(site, request)[0], looks.fresh(request)]
        self._request = request
        self._done = threading.Event()
        self._left = False
        threading.Thread(target=self._run, name='wpaudit-glance', daemon=True).start()

    def wait(self, seconds: float) -> None:
        """Wait until all is seen, but no longer than ``seconds``; nothing more is asked for afterwards."""
        self._done.wait(seconds)
        self._left = True

    def _run(self) -> None:
        with suppress(WpauditError):  # a request that cannot be sent as given fails in the bisection, with its sentence
            resolution = self._outside.resolve(urlsplit(self._request.url).hostname or '')
            self.resolution = resolution
            for ask in [*self._asks, *self._second(resolution)][:MOST_REQUESTS]:
                if self._left:
                    break
                self.looks.append(self._outside.look(
                    ask.purpose, ask.request, address=ask.address, marker=ask.marker, timeout=LOOK_SECONDS))
        self._done.set()

    def _second(self, found: Resolution) -> list[Ask]:
        """Ask another address than the one that was asked so far, when there is one."""
        addresses = (*found.ipv4, *found.ipv6)
        return [looks.marked(Ask(Purpose.ADDRESS, self._request, one)) for one in addresses[-1:] if len(addresses) > 1]


def shortened(
    url: str, visits: Sequence[Observation], glance: Glance, *, inside: Inside | None = None,
    patience: float = PATIENCE, thorough: bool = True,
) -> Diagnosis | None:
    """Say what the failure that ``visits`` saw looks like; None when they saw none, or no HTTP answers at all.

    Waits up to ``patience`` seconds for the glance. ``inside`` adds the lines of the host's logs since its beginning,
    and ``thorough`` how the host is, which takes longer.
    """
    from wpaudit.triage.diagnosis import diagnose

    refreshed = [
        Look(Purpose.REFRESH, one.answers[-1], glance.began + n / 1000) for n, one in enumerate(visits) if one.answers
    ]
    if not any(fails(look) for look in refreshed):
        return None
    glance.wait(patience)
    made = tuple(glance.looks)
    seen = Seen(
        url=url, looks=(*refreshed, *made), resolutions=(glance.resolution,) if glance.resolution else (),
        notes=('a shortened triage: `wpaudit triage` looks at more',),
    )
    return diagnose(seen if inside is None else _with_host(seen, inside, glance.began, thorough=thorough))


def _with_host(seen: Seen, inside: Inside, began: float, *, thorough: bool) -> Seen:
    try:
        state, unread = inside.state() if thorough else (None, ())
        markers = [look.marker for look in seen.looks if look.marker]
        lines, unseen = inside.lines(began - SOONER, markers, kernel=thorough)
    except WpauditError:  # the bisection goes on without
        return seen
    return replace(seen, host=state, lines=lines, gaps=(*unread, *unseen))
