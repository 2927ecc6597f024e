"""The composition root: with ``app_triage``, the only module that knows concrete adapters."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from wpaudit import __version__
from wpaudit import firewalls
from wpaudit.app_layers import firewall_checks
from wpaudit.app_layers import ground_of
from wpaudit.app_layers import recoveries
from wpaudit.app_layers import rule_advice
from wpaudit.app_layers import rule_gaps
from wpaudit.commands.bisect import bisect
from wpaudit.commands.doctor import doctor
from wpaudit.commands.listing import listing
from wpaudit.commands.opinion import Looking
from wpaudit.commands.options import Options
from wpaudit.commands.restore import restore
from wpaudit.domain import Check
from wpaudit.domain import Gap
from wpaudit.domain import Inventory
from wpaudit.domain import Kind
from wpaudit.domain import Report
from wpaudit.domain import Request
from wpaudit.domain import Restoration
from wpaudit.domain import Suspect
from wpaudit.domain import Verdict
from wpaudit.errors import UsageError
from wpaudit.journal import FileJournal
from wpaudit.ports import Fetcher
from wpaudit.ports import Ground
from wpaudit.ports import Listener
from wpaudit.ports import Prober
from wpaudit.ports import Shell
from wpaudit.probes.judge import Expectation
from wpaudit.probes.parsing import probe_url
from wpaudit.probes.parsing import site_url
from wpaudit.report.advice import fix_commands
from wpaudit.shells import ShellOptions
from wpaudit.shells import open_shell
from wpaudit.shells.target import Target
from wpaudit.shells.target import parse_alias
from wpaudit.shells.target import parse_target
from wpaudit.sites.launch import LaunchOptions
from wpaudit.sites.wpcli import WpCliSite

if TYPE_CHECKING:
    from wpaudit.commands.glance import Glance
    from wpaudit.commands.verdict import Findings

LIKELY = 0.6  # a kind of failure that is told in the verdict


@dataclass(frozen=True)
class Remote:
    """Where the site is and how to get there, as the command line says it."""

    host: str
    path: str = ''
    url: str = ''
    identity: Path | None = None
    ssh_config: Path | None = None
    known_hosts: Path | None = None
    accept_new_host_key: bool = False
    wp: str = ''
    run_as: str = ''
    allow_root: bool = False
    sudo: bool = False  # firewalls may be read and changed with ``sudo -n``


@dataclass(frozen=True)
class Asked:
    """What to probe and what counts as failing."""

    probes: tuple[str, ...] = ('/',)
    pasted: tuple[Path, ...] = ()  # files that hold a whole request each
    headers: tuple[tuple[str, str], ...] = ()
    cookies: tuple[tuple[str, str], ...] = ()
    resolve: tuple[tuple[str, str], ...] = ()
    verify: bool | Path = True
    timeout: float = 30.0
    expectation: Expectation = field(default_factory=Expectation)
    run: str = ''


@dataclass(frozen=True)
class Place:
    """A remote with its alias looked up: where to connect, and as what."""

    label: str
    target: Target
    shell: ShellOptions
    launch: LaunchOptions
    url: str
    sudo: bool = False


def located(remote: Remote) -> Place:
    """Look up ``@alias`` or read TARGET. Raises UsageError."""
    url, proxyjump, key, alias_path = remote.url, None, None, ''
    if remote.host.startswith('@'):
        alias = parse_alias(remote.host)
        if alias.target is None:
            raise UsageError(f'the alias {remote.host} has no ssh key in {alias.source}', hint='add: ssh: user@host')
        target, url = alias.target, remote.url or alias.url or ''
        proxyjump, key, alias_path = alias.proxyjump, alias.key, alias.path or ''
    else:
        target = parse_target(remote.host)
    if url and '://' not in url:
        url = f'https://{url}'  # WP-CLI takes a bare name too
    if url:
        url = site_url(url).geturl().rstrip('/')
    identity = remote.identity or (Path(key).expanduser() if key else None)
    return Place(
        label=remote.host, target=target, url=url, sudo=remote.sudo,
        shell=ShellOptions(identity, remote.ssh_config, remote.known_hosts, remote.accept_new_host_key, proxyjump),
        launch=LaunchOptions(
            path=remote.path or target.path or alias_path, wp=remote.wp, run_as=remote.run_as,
            allow_root=remote.allow_root, url=url,
        ),
    )


class Connection:
    """Opens the shell to one place, and adds up how long that took."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.seconds = 0.0
        self.shell: Shell | None = None

    def __call__(self) -> Shell:
        """Connect."""
        started = time.monotonic()
        self.shell = open_shell(self._place.target, self._place.shell)
        self.seconds += time.monotonic() - started
        return self.shell


@contextmanager
def opened(
    place: Place, journal: FileJournal, *, seconds: float = 900, logs: Sequence[str] = (),
) -> Iterator[tuple[WpCliSite, Connection]]:
    """Hold a site open; connects at first use."""
    connection = Connection(place)
    site = WpCliSite(connection, place.launch, journal=journal, seconds=seconds, logs=logs)
    try:
        yield site, connection
    finally:
        site.close()


@contextmanager
def _fetching(asked: Asked) -> Iterator[Callable[[], Fetcher]]:
    """Hold a fetcher that is made at its first use: loading requests takes as long as starting Python."""
    made: list[Fetcher] = []

    def fetcher() -> Fetcher:
        if not made:
            from wpaudit.probes.http import HttpFetcher

            made.append(HttpFetcher(resolve=dict(asked.resolve), verify=asked.verify))
        return made[0]

    try:
        yield fetcher
    finally:
        for one in made:
            one.close()


def prober_for(asked: Asked, fetcher: Callable[[], Fetcher], url: str) -> Prober:
    """Return the prober for a site's base URL."""
    if asked.run:
        from wpaudit.probes.command import CommandProber

        return CommandProber(asked.run, url, timeout=asked.timeout)
    from wpaudit.probes.prober import HttpProber

    return HttpProber(fetcher(), requests_of(asked, url), asked.expectation, timeout=asked.timeout)


def requests_of(asked: Asked, url: str) -> list[Request]:
    """Return the requests of one probe on the site ``url``; raises UsageError."""
    from wpaudit.probes.pasted import request_file

    plain = [Request(probe_url(url, probe)) for probe in asked.probes]
    return [
        replace(one, headers=(*one.headers, *asked.headers), cookies=(*one.cookies, *asked.cookies))
        for one in (*plain, *(request_file(path, url) for path in asked.pasted))
    ]


# -- the verbs ------------------------------------------------------------------------------------

def run_bisect(
    remote: Remote, asked: Asked, options: Options, listener: Listener, *, logs: Sequence[str] = (),
    keep_record: Callable[[Report], str] | None = None,
) -> Report:
    """Run ``wpaudit bisect`` and return its report; ``keep_record`` turns it into the text kept on this machine."""
    clock = time.monotonic()
    started = rfc3339()
    place = located(remote)
    journal = FileJournal(str(place.target) + place.launch.path)
    journal.must_be_writable()
    with _fetching(asked) as fetcher, opened(place, journal, seconds=options.max_time, logs=logs) as (site, connection):
        ground = _Ground(site, connection, place, asked, seconds=options.max_time)
        findings = bisect(
            site, lambda url: prober_for(asked, fetcher, url), replace(options, url=place.url), listener,
            layers=lambda inventory: tuple(firewalls.layers(ground(inventory)).values()),
            looking=_looking(asked, site) if options.triage and not asked.run else None,
        )
        from wpaudit.commands.verdict import probe_counts  # by now it is loaded

        advice = _rule_advice(findings, ground, asked, place)
        costs = {**probe_counts(findings), **site.costs(), 'connect_seconds': round(connection.seconds, 4)}
    report = replace(
        _report(findings, place, advice), started=started, finished=rfc3339(),
        costs={**costs, 'total_seconds': round(time.monotonic() - clock, 4)},
    )
    return report if keep_record is None else _kept(report, journal, keep_record)


def _looking(asked: Asked, site: WpCliSite) -> Looking:
    def glance(url: str) -> Glance:
        from wpaudit.commands.glance import Glance
        from wpaudit.probes.outside import NetworkOutside

        threading.Thread(target=_loaded, name='wpaudit-loading', daemon=True).start()
        pinned = {host: (address,) for host, address in asked.resolve}
        return Glance(NetworkOutside(resolve=pinned, verify=asked.verify), url, requests_of(asked, url)[0])

    return Looking(glance, site.inside)


def _loaded() -> None:
    """Load what triage will need while there is nothing else to do: its tables are read at the first use."""
    import wpaudit.sites.host
    import wpaudit.triage.hints  # noqa: F401 - both are used where they are
    from wpaudit.facts import Seen
    from wpaudit.triage.diagnosis import diagnose

    diagnose(Seen(''))


def _kept(report: Report, journal: FileJournal, text_of: Callable[[Report], str]) -> Report:
    try:
        return replace(report, record=str(journal.record(text_of(report))))
    except OSError as error:
        return replace(report, gaps=(*report.gaps, Gap('record of this run', f'cannot be kept: {error.strerror}')))


class _Ground:
    """What the firewalls' layers stand on, while a site is open."""

    def __init__(
        self, site: WpCliSite, connection: Connection, place: Place, asked: Asked, *, seconds: float = 900,
    ) -> None:
        self._site = site
        self._connection = connection
        self._place = place
        self._asked = asked
        self._seconds = seconds

    def __call__(self, inventory: Inventory) -> Ground:
        """Return it."""
        become = self._site.agent.launched.become  # its start opens the connection
        if self._connection.shell is None:
            raise RuntimeError('a running agent has a shell')
        url = self._place.url or inventory.facts.url
        return ground_of(
            self._connection.shell, inventory, url, become=become, sudo=self._place.sudo, seconds=self._seconds,
            requests=() if self._asked.run else requests_of(self._asked, url),
        )


def _rule_advice(findings: Findings, ground: _Ground, asked: Asked, place: Place) -> Mapping[str, tuple[str, ...]]:
    if not any(one.kind is Kind.RULE for fix in findings.fixes[:1] for one in fix):
        return {}
    url = place.url or findings.inventory.facts.url
    return rule_advice(ground(findings.inventory), findings, url if asked.run else requests_of(asked, url)[0].url)


def _report(findings: Findings, place: Place, rules: Mapping[str, tuple[str, ...]]) -> Report:
    from wpaudit.commands.verdict import confidence
    from wpaudit.commands.verdict import rate

    facts = findings.inventory.facts
    server = next((record for record in findings.trial.server if record), '')
    fix = findings.fixes[0] if findings.fixes else ()
    others = [one for one in fix if not rules.get(one.id)]
    advice = fix_commands(others, facts.path, place.url or facts.url, facts.multisite)
    gaps = (*findings.inventory.gaps, *findings.gaps, *rule_gaps(findings))
    return Report(
        command='bisect', version=__version__, started='', finished='', target_host=place.label, target_path=facts.path,
        target_url=place.url or facts.url, outcome=findings.verdict, exit_code=findings.exit_code,
        message=_with_cause(findings), site=replace(facts, server=server), mode=findings.mode,
        mode_reason=findings.mode_reason, conflicts=findings.conflicts, fixes=findings.fixes,
        exemptions=findings.exemptions,
        confidence=confidence(findings), certificate=findings.certificate, probes=tuple(findings.trial.records),
        suspects=findings.suspects, evidence=findings.evidence, learned=findings.learned, gaps=gaps,
        restore=findings.restoration,
        advice=(*advice, *(line for lines in rules.values() for line in lines), *_more_advice(findings)),
        rate=rate(findings),
        cause=None if findings.diagnosis is None else findings.diagnosis.cause,
    )


def _with_cause(findings: Findings) -> str:
    """Return the verdict with what kind of failure it is, where triage is sure enough of that."""
    if findings.restoration is not None and not findings.restoration.verified:
        return f'{findings.message}; the original state is NOT verified as restored'
    cause = findings.diagnosis.cause if findings.diagnosis else None
    if cause is None or cause.kind == 'unknown' or cause.probability < LIKELY:
        return findings.message
    match findings.verdict:
        case Verdict.CULPRIT:
            return f'{findings.message}: {cause.sentence}'
        case Verdict.NOT_A_SUSPECT:
            return f'{findings.message}; it looks as if {cause.sentence}'
    return findings.message


def _more_advice(findings: Findings) -> tuple[str, ...]:
    lines = [line for line in (findings.note, findings.hint) if line]
    if findings.suspicion and findings.verdict is Verdict.INCONCLUSIVE:
        lines.append(f'the cause is among: {", ".join(findings.suspicion)}')
    lines += [f'{one} needs {" and ".join(needs)}, without saying so' for one, needs in findings.learned.items()]
    if findings.verdict is Verdict.NOT_A_SUSPECT:
        if findings.diagnosis is not None:
            lines.append(findings.diagnosis.cause.advice)
        apart = [part.id for part in findings.inventory.components if part.kind in (Kind.MUST_USE, Kind.DROPIN)]
        if apart:
            lines.append(f'not switched: must-use plugins and drop-ins ({", ".join(apart)})')
        lines.append('look at the logs of the web server and php-fpm for the time of the probes')
    return tuple(lines)


def run_list(remote: Remote) -> tuple[Inventory, tuple[Suspect, ...]]:
    """Run ``wpaudit list``."""
    place = located(remote)
    with opened(place, FileJournal(str(place.target) + place.launch.path)) as (site, connection):
        ground = _Ground(site, connection, place, Asked())
        return listing(site, lambda inventory: firewalls.layers(ground(inventory)))


def run_doctor(remote: Remote, asked: Asked) -> tuple[Check, ...]:
    """Run ``wpaudit doctor``."""
    place = located(remote)
    journal = FileJournal(str(place.target) + place.launch.path)
    with _fetching(asked) as fetcher, opened(place, journal) as (site, connection):
        ground = _Ground(site, connection, place, asked)
        return doctor(
            place.label, site, lambda url: fetcher().fetch(Request(url), timeout=asked.timeout),
            lambda inventory: firewall_checks(ground(inventory)), url=place.url, journal=journal.must_be_writable,
        )


def run_restore(remote: Remote) -> Restoration | None:
    """Run ``wpaudit restore``."""
    place = located(remote)
    journal = FileJournal(str(place.target) + place.launch.path)
    with opened(place, journal) as (site, connection):
        layers = recoveries(_Ground(site, connection, place, Asked())(site.inventory()))
        return restore(site, journal, journal.entry(), layers)


def rfc3339() -> str:
    """Return the present in UTC (RFC 3339)."""
    return time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())
