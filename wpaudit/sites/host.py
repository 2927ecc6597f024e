"""The view from the site's host (``ports.Inside``), through the agent. Nothing on the host changes.

What is said here is put together from bounded answers: ``hostask`` asks, ``nginx``, ``apache`` and ``fpm`` read
configurations for ``hostsetup``, ``hostlooks`` makes requests, ``hostlogs`` and ``loglines`` find lines about them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import replace

from wpaudit.domain import Cost
from wpaudit.domain import Gap
from wpaudit.domain import Request
from wpaudit.errors import SiteError
from wpaudit.facts import Disk
from wpaudit.facts import HostState
from wpaudit.facts import LogLine
from wpaudit.facts import Look
from wpaudit.facts import Pool
from wpaudit.facts import Purpose
from wpaudit.sites import fpm
from wpaudit.sites import hostlogs
from wpaudit.sites import hostlooks
from wpaudit.sites import hostsetup
from wpaudit.sites import loglines
from wpaudit.sites.agent import Agent
from wpaudit.sites.hostask import About
from wpaudit.sites.hostask import HostAsk
from wpaudit.sites.hostlooks import Sent
from wpaudit.sites.hostsetup import Setup
from wpaudit.sites.loglines import Own
from wpaudit.sites.pulse import disks
from wpaudit.sites.pulse import memory
from wpaudit.sites.pulse import pulses
from wpaudit.sites.pulse import reached
from wpaudit.sites.servers import LogFile

TEMP = '/tmp'  # noqa: S108 - the host's, looked at for its free space
DATABASES = ('/var/lib/mysql', '/var/lib/mariadb', '/var/db/mysql')


class HostView:
    """One site's host. Asks for the agent at first use; safe to use from one thread at a time."""

    def __init__(self, agent: Callable[[], Agent], *, url: str = '', logs: Sequence[str] = ()) -> None:
        """``url`` tells which virtual host is the site's, beside its directory; ``logs`` are more logs to read."""
        self._ask = HostAsk(agent)
        self._url = url
        self._extra = tuple(logs)
        self._logs = hostlogs.Logs(self._ask)
        self._setup: Setup | None = None
        self._noted = 0.0
        self._own: list[Own] = []
        self._clocks: list[tuple[float, float]] = []  # (seconds it took to ask, by how much the host's clock was ahead)

    # -- state ----------------------------------------------------------------------------------

    def state(self) -> tuple[HostState, tuple[Gap, ...]]:
        """Say how the host is now. The configuration is read once, load and queues every time."""
        first = self._setup is None
        setup = self._known()
        about = setup.about if first else self._about()
        targets = [one for vhost in setup.mine for one in vhost.php]
        beats = pulses(self._ask, setup.sections, targets)
        found = tuple(fpm.pools(setup.sections, about.processes, beats, targets))
        total, available, swap = memory(about)
        upstreams = reached(self._ask, [one for vhost in setup.mine for one in vhost.proxies])
        load = about.load.split()
        state = HostState(
            clock=self._clock(), load=float(load[0]) if load and re.fullmatch(r'\d+\.\d+', load[0]) else -1.0,
            processors=about.cpus or -1, memory=total, memory_available=available, swap_free=swap,
            disks=self._disks(setup), pools=_site_first(found), settings=setup.settings(), server=setup.server,
            upstreams=upstreams,
        )
        return state, (*setup.gaps, *_lacking(state, about))

    def _known(self) -> Setup:
        if self._setup is None:
            self._setup = hostsetup.found(self._ask, self._about(), self._url)
            self._logs.note(self._log_files(self._setup))
            self._noted = time.time()
        return self._setup

    def _about(self) -> About:
        self._ask.ready()
        before = time.time()
        about = self._ask.about()
        after = time.time()
        # The host's clock was read somewhere in between; the quickest answer says it most exactly.
        self._clocks.append((after - before, about.time - (before + after) / 2))
        return about

    def _disks(self, setup: Setup) -> tuple[Disk, ...]:
        about = setup.about
        logs = [log.path.rpartition('/')[0] for vhost in setup.mine for log in vhost.logs]
        database = about.site['host'].partition(':')[2].rpartition('/')[0]
        places = [
            about.docroot, about.site['content'] or f'{about.docroot}/wp-content', about.php['temp'] or TEMP, *logs,
            '/var/log', *DATABASES, database,
        ]
        return disks(self._ask, [one for one in dict.fromkeys(places) if one])

    # -- looks ----------------------------------------------------------------------------------

    def look(self, purpose: Purpose, request: Request, *, marker: str = '', timeout: float) -> Look:
        """Make one request from the host; see ``ports.Inside.look``."""
        looks: Mapping[Purpose, Callable[[Request, float], Sent]] = {
            Purpose.HOST_PUBLIC: self._public, Purpose.HOST_LOOPBACK: self._loopback, Purpose.FASTCGI: self._fastcgi,
            Purpose.INSIDE: self._inside,
        }
        if purpose not in looks:
            raise SiteError(f'the host offers no look of the kind {purpose.value}')
        sent = looks[purpose](request, timeout)
        if purpose is not Purpose.INSIDE:
            self._own.append(Own(hostlooks.probe_path(request.url), sent.at, sent.at + sent.answer.seconds))
        return Look(
            purpose, sent.answer, sent.at - self._clock(), vantage='host', address=sent.address, marker=marker,
            http_version=sent.http_version, database=sent.database,
        )

    def _clock(self) -> float:
        """Return by how much the host's clock is ahead of ours."""
        if not self._clocks:
            self._about()
        return min(self._clocks)[1]

    def _public(self, request: Request, timeout: float) -> Sent:
        parts = hostlooks.split(request.url)
        host = parts.hostname or ''
        address = f'[{host}]' if ':' in host else host
        return hostlooks.over_http(
            self._ask, request, f'{address}:{hostlooks.port_of(parts)}', tls=parts.scheme == 'https', verify=True,
            timeout=timeout)

    def _loopback(self, request: Request, timeout: float) -> Sent:
        parts = hostlooks.split(request.url)
        mine = self._known().mine
        listens = [one for vhost in mine[:1] for one in vhost.listens if not one.proxied]
        if not mine:
            raise SiteError('which server block serves the site could not be read from the web server’s configuration')
        tls = parts.scheme == 'https'
        fitting = [one for one in listens if one.tls == tls] or listens
        place = next((one for one in fitting if one.port == hostlooks.port_of(parts)), fitting[0] if fitting else None)
        if place is None:
            raise SiteError('the server block of the site listens on no TCP port that a client could use')
        # As `curl --resolve`, without a look at the certificate: behind a CDN it is often a private one.
        return hostlooks.over_http(self._ask, request, place.reachable, tls=place.tls, verify=False, timeout=timeout)

    def _fastcgi(self, request: Request, timeout: float) -> Sent:
        setup = self._known()
        if not setup.php:
            raise SiteError('where the web server sends PHP could not be read from its configuration')
        return hostlooks.over_fastcgi(
            self._ask, request, setup.php, docroot=setup.docroot, root=setup.root, timeout=timeout)

    def _inside(self, request: Request, timeout: float) -> Sent:
        return hostlooks.inside(self._ask, request, self._place(), timeout=timeout)

    def costs(self, request: Request, *, timeout: float) -> tuple[Cost, ...]:
        """Record what a page costs each plugin; see ``ports.Inside.costs``."""
        return hostlooks.costs(self._ask, request, self._place(), timeout=timeout)

    def _place(self) -> hostlooks.Place:
        """Say where WordPress is, and which settings of its pool PHP of the command line has to have too."""
        setup = self._known()
        settings = setup.settings().items()
        carried = {name.removeprefix('php '): value for name, value in settings if name.startswith('php ')}
        docroot = setup.about.docroot
        return hostlooks.Place(docroot, setup.root if docroot == setup.docroot else '', carried)

    # -- lines ----------------------------------------------------------------------------------

    def lines(
        self, since: float, markers: Sequence[str], *, kernel: bool = True,
    ) -> tuple[tuple[LogLine, ...], tuple[Gap, ...]]:
        """Return the lines about us; one round trip for the logs, one for the kernel's."""
        setup = self._known()
        lead = self._clock()
        early = since < self._noted
        texts, clock, gaps = self._logs.fresh(since=since + lead, early=early, markers=markers, kernel=kernel)
        if not kernel:
            clock = replace(clock, now=time.time() + lead)
        asked = loglines.Asked(
            since + lead, clock.now, tuple(markers), clock, tuple(self._own),
            frozenset(one.name for one in setup.serving))
        return loglines.chosen(texts, asked), tuple(gaps)

    def _log_files(self, setup: Setup) -> tuple[LogFile, ...]:
        return hostlogs.known(setup.about, setup.logs(), setup.telling, self._extra)


def _site_first(pools: Sequence[Pool]) -> tuple[Pool, ...]:
    return tuple(sorted(pools, key=lambda one: not one.serves_site))


def _lacking(state: HostState, about: About) -> list[Gap]:
    gaps = []
    if state.load < 0:
        gaps.append(Gap('load', '/proc/loadavg cannot be read'))
    if state.memory < 0:
        gaps.append(Gap('memory', '/proc/meminfo cannot be read'))
    if about.hidden:
        gaps.append(Gap('processes', 'those of others are hidden (/proc is mounted with hidepid); root may see them'))
    if not about.config_readable:
        gaps.append(Gap('wp-config.php', 'cannot be read by this login'))
    return gaps
