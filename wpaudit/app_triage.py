"""The composition of ``wpaudit triage``, beside that of the other verbs in ``app``."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import AbstractContextManager
from contextlib import ExitStack
from contextlib import closing
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path

from wpaudit import __version__
from wpaudit.app import Asked
from wpaudit.app import Place
from wpaudit.app import Remote
from wpaudit.app import located
from wpaudit.app import opened
from wpaudit.app import prober_for
from wpaudit.app import rfc3339
from wpaudit.commands.costs import Measured
from wpaudit.commands.costs import Wish
from wpaudit.commands.costs import measured
from wpaudit.commands.looks import Ask
from wpaudit.commands.looks import marked
from wpaudit.commands.looks import page_request
from wpaudit.commands.pace import Limits
from wpaudit.commands.triage import Hosted
from wpaudit.commands.triage import Question
from wpaudit.commands.triage import Vantage
from wpaudit.commands.triage import triage
from wpaudit.domain import Request
from wpaudit.errors import CannotStart
from wpaudit.errors import UsageError
from wpaudit.errors import WpauditError
from wpaudit.facts import Look
from wpaudit.facts import Purpose
from wpaudit.facts import TriageReport
from wpaudit.journal import FileJournal
from wpaudit.ports import Listener
from wpaudit.ports import Outside
from wpaudit.probes.parsing import probe_url
from wpaudit.probes.parsing import site_url
from wpaudit.shells import open_tunnels
from wpaudit.sites.wpcli import WpCliSite
from wpaudit.triage.diagnosis import diagnose
from wpaudit.triage.diagnosis import exit_code

TIMEOUT = 30.0    # seconds for one request ...
MAX_TIME = 120.0  # ... and for the whole, where only the other one was named


@dataclass(frozen=True)
class Wanted:
    """What to look at and from where, besides the site and its host. Times in seconds."""

    probe: str = ''
    headers: tuple[tuple[str, str], ...] = ()
    cookies: tuple[tuple[str, str], ...] = ()
    resolve: tuple[tuple[str, str], ...] = ()  # a host may be named several times, and has several addresses then
    verify: bool | Path = True
    timeout: float | None = None  # of one request; with neither of the two, all answers together get Limits.waiting
    max_time: float | None = None
    via: tuple[str, ...] = ()
    proxy: str = ''
    logs: tuple[str, ...] = ()
    costs: bool = False
    as_user: str = ''

    @property
    def changes(self) -> bool:
        """Whether the must-use plugin has to be put on the host for it."""
        return self.costs or bool(self.as_user)

    @property
    def limits(self) -> Limits:
        """How long may be waited for."""
        if self.timeout is None and self.max_time is None:
            return Limits()
        return Limits(timeout=self.timeout or TIMEOUT, seconds=self.max_time or MAX_TIME, waiting=math.inf)

    @property
    def pinned(self) -> dict[str, tuple[str, ...]]:
        """The addresses of each host that ``resolve`` names."""
        found: dict[str, list[str]] = defaultdict(list)
        for host, address in self.resolve:
            found[host].append(address)
        return {host: tuple(addresses) for host, addresses in found.items()}


def run_triage(remote: Remote, wanted: Wanted, listener: Listener) -> TriageReport:
    """Run ``wpaudit triage`` and return its report."""
    started = rfc3339()
    if not (remote.host or remote.url):
        raise UsageError('there is nothing to look at', hint='give --url URL, or --host TARGET, or both')
    if wanted.changes and not remote.host:
        option = '--costs' if wanted.costs else '--as-user'
        raise UsageError(f'{option} needs --host: it is done there', hint='add --host TARGET')
    place = located(remote) if remote.host else None
    vantages = _vantages(remote, wanted)
    with ExitStack() as line:
        site = line.enter_context(_opened(place, wanted)) if place else None
        question = _question(_url(remote, place, site), wanted)
        outside = line.enter_context(_outside(wanted))
        hosted = None
        if place and site:
            if wanted.as_user:
                _must_be_a_user(site, wanted.as_user)
            measure = _measuring(site, question, wanted, outside, listener) if wanted.changes else None
            hosted = Hosted(place.label, site.inside, measure)
        seen = triage(question, outside, listener, vantages=vantages, hosted=hosted)
    found = diagnose(seen)
    return TriageReport(
        command='triage', version=__version__, started=started, finished=rfc3339(), url=seen.url, diagnosis=found,
        exit_code=exit_code(found), target_host=place.label if place else '',
        target_path=place.launch.path if place else '',
    )


# -- the site ---------------------------------------------------------------------------------------

@contextmanager
def _opened(place: Place, wanted: Wanted) -> Iterator[WpCliSite]:
    journal = FileJournal(str(place.target) + place.launch.path)
    if wanted.changes:
        journal.must_be_writable()
    with opened(place, journal, seconds=wanted.limits.seconds, logs=wanted.logs) as (site, _connection):
        yield site


def _url(remote: Remote, place: Place | None, site: WpCliSite | None) -> str:
    """Return the URL as it was typed, or as the alias or the site itself has it."""
    if remote.url:
        return remote.url if '://' in remote.url else f'https://{remote.url}'
    if place is not None and place.url:
        return place.url
    if site is None:
        raise RuntimeError('without a URL there is a host')
    try:
        return site.inventory().facts.url
    except WpauditError as error:
        raise CannotStart(
            f'the site does not tell its URL: {error.message}',
            hint=f'{error.hint or "is the host right?"}; or give --url',
        ) from error


def _question(url: str, wanted: Wanted) -> Question:
    base = site_url(url).geturl()
    return Question(
        site=base, page=probe_url(base, wanted.probe or url), headers=wanted.headers, cookies=wanted.cookies,
        limits=wanted.limits,
    )


def _must_be_a_user(site: WpCliSite, login: str) -> None:
    """Raise UsageError for somebody the site does not know, before anything is looked at.

    Where the site cannot tell, triage goes on: that may be the very failure.
    """
    try:
        site.log_in(login)
    except UsageError:
        raise
    except WpauditError:
        return


def _measuring(
    site: WpCliSite, question: Question, wanted: Wanted, outside: Outside, listener: Listener,
) -> Callable[[], Measured]:
    """Return what makes the requests that need the must-use plugin."""
    page = page_request(question.page, question.headers)
    timeout = min(question.limits.timeout, question.limits.waiting)

    def look(request: Request) -> Look:
        ask = marked(Ask(Purpose.LOGGED_IN, request))
        return outside.look(ask.purpose, ask.request, marker=ask.marker, timeout=timeout)

    def measure() -> Measured:
        from wpaudit.probes.http import HttpFetcher

        asked = Asked(probes=(question.page,), headers=page.headers, cookies=wanted.cookies, timeout=timeout)
        with closing(HttpFetcher(resolve=wanted.pinned, verify=wanted.verify)) as fetcher:
            prober = prober_for(asked, lambda: fetcher, question.site) if wanted.costs else None
            wish = Wish(page, prober, wanted.as_user, look if wanted.as_user else None, question.limits.seconds)
            return measured(site, wish, listener)

    return measure


# -- where to look from -----------------------------------------------------------------------------

@contextmanager
def _outside(wanted: Wanted) -> Iterator[Outside]:
    from wpaudit.probes.outside import CONNECT_SECONDS
    from wpaudit.probes.outside import NetworkOutside

    with closing(NetworkOutside(
        resolve=wanted.pinned, verify=wanted.verify, connect_seconds=min(wanted.limits.timeout, CONNECT_SECONDS),
    )) as outside:
        yield outside


def _vantages(remote: Remote, wanted: Wanted) -> Sequence[Vantage]:
    """Return the other places to look from; raises UsageError for what is none."""
    found = [_via(located(replace(remote, host=host, path='', url='')), wanted) for host in wanted.via]
    return [*found, _proxy(wanted)] if wanted.proxy else found


def _via(place: Place, wanted: Wanted) -> Vantage:
    label = f'via {place.label}'

    @contextmanager
    def connected() -> Iterator[Outside]:
        from wpaudit.probes.outside import NetworkOutside
        from wpaudit.probes.wire import Route

        with open_tunnels(place.target, place.shell) as dial, closing(NetworkOutside(
            vantage=label, resolve=wanted.pinned, verify=wanted.verify, route=Route(dial=dial),
        )) as outside:
            yield outside

    return Vantage(label, Purpose.VIA, connected)


def _proxy(wanted: Wanted) -> Vantage:
    from wpaudit.probes.outside import NetworkOutside
    from wpaudit.probes.outside import parse_proxy
    from wpaudit.probes.outside import proxy_label
    from wpaudit.probes.wire import Route

    proxy = parse_proxy(wanted.proxy)
    label = proxy_label(proxy)

    def connected() -> AbstractContextManager[Outside]:
        return closing(NetworkOutside(vantage=label, verify=wanted.verify, route=Route(proxy=proxy)))

    return Vantage(label, Purpose.PROXY, connected)
