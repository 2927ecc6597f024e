"""A WordPress site through WP-CLI on any shell: the agent reads it, and switches its plugins."""

from __future__ import annotations

import getpass
import re
import socket
import statistics
import time
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import AbstractContextManager
from contextlib import suppress
from dataclasses import replace

from packaging.version import InvalidVersion
from packaging.version import Version

from wpaudit.domain import Check
from wpaudit.domain import Component
from wpaudit.domain import Evidence
from wpaudit.domain import Gap
from wpaudit.domain import Inventory
from wpaudit.domain import Kind
from wpaudit.domain import Mode
from wpaudit.domain import Restoration
from wpaudit.domain import SiteFacts
from wpaudit.domain import Suspect
from wpaudit.errors import WpauditError
from wpaudit.ports import Inside
from wpaudit.ports import Journal
from wpaudit.ports import Process
from wpaudit.ports import Shell
from wpaudit.sites import sources
from wpaudit.sites.agent import Agent
from wpaudit.sites.agent import busy
from wpaudit.sites.agent import unfinished
from wpaudit.sites.launch import GRACE
from wpaudit.sites.launch import LaunchOptions
from wpaudit.sites.said import Said
from wpaudit.sites.said import encoded
from wpaudit.sites.switching import PluginSwitcher
from wpaudit.sites.switching import Setting
from wpaudit.sites.switching import restoration
from wpaudit.sites.switching import switched_site

LOG_WEIGHT = 50.0      # a log line that names a plugin's file in a failure
RECENT_WEIGHT = 4.0    # files changed within the last days, when most others were not
RECENT_SECONDS = 3 * 86400
LOGIN_SECONDS = 3600
ON = ('active', 'network')


class WpCliSite:
    """One site. Starts one agent at first use and keeps it."""

    def __init__(
        self, connect: Callable[[], Shell], options: LaunchOptions, *, journal: Journal,
        seconds: float = 900, logs: Sequence[str] = (),
    ) -> None:
        """``seconds`` is how long a run may last; the harness expires a little later by itself."""
        self._connect = connect
        self._options = options
        self._journal = journal
        self._seconds = seconds
        self._logs = tuple(logs)
        self._shell: Shell | None = None
        self._agent: Agent | None = None
        self._begun: list[Process] = []
        self._read: Said | None = None
        self._cookies: tuple[tuple[str, str], ...] = ()
        self._cron = False
        self._starts = 0
        self._retired_trips = 0
        self._start_seconds = 0.0
        self._digest = ''

    # -- the agent ------------------------------------------------------------------------------

    def connect(self) -> None:
        """Open the shell; the agent is started at first use."""
        self._shell = self._shell or self._connect()

    def _start(self, *, bare: bool = False) -> Agent:
        self.connect()
        if self._shell is None:
            raise RuntimeError('connect() opens the shell')
        self._starts += 1
        started = time.monotonic()
        self._agent = Agent(self._shell, self._options, bare=bare, started=self._begun.append)
        self._start_seconds += time.monotonic() - started
        return self._agent

    @property
    def agent(self) -> Agent:
        """The running agent, with WordPress loaded; started at first use."""
        agent = self._agent or self._start()
        try:
            agent.load()
        except WpauditError:
            agent.close()
            self._agent = None
            raise
        return agent

    def _bare(self) -> Agent:
        return self._agent or self._start(bare=True)

    def inside(self) -> Inside:
        """Look at the site from its host. WordPress is not loaded for it: where it cannot be, that is what is asked."""
        from wpaudit.sites.host import HostView

        return HostView(self._bare, url=self._options.url, logs=self._logs)

    def _again(self) -> Agent:
        self.close()
        return self._start()

    def close(self) -> None:
        """End the agent and the connection. Idempotent."""
        if self._agent:
            self._retired_trips += self._agent.round_trips
            self._agent.close()
            self._agent = None
        for process in self._begun:  # one that never became an agent has nothing to put back: no need to wait for it
            process.end(grace=GRACE)
        self._begun.clear()
        if self._shell:
            self._shell.close()
            self._shell = None

    def costs(self) -> Mapping[str, float]:
        """Count what users wait for."""
        trips = self._retired_trips + (self._agent.round_trips if self._agent else 0)
        seconds = round(self._start_seconds, 4)
        return {'wp_cli_starts': self._starts, 'round_trips': trips, 'agent_start_seconds': seconds}

    # -- reading --------------------------------------------------------------------------------

    def _everything(self) -> Said:
        if self._read is None:
            self._read = self.agent.ask('inventory')
        return self._read

    def inventory(self) -> Inventory:
        """List plugins, must-use plugins, drop-ins and themes."""
        read = self._everything()
        facts = _facts(read.part('facts'))
        components = [_component(row, facts) for row in read.parts('components')]
        on = {slug_of(part.id) for part in components if part.status in ON}
        return Inventory(facts, tuple(_lacking(part, on) for part in components))

    def must_be_free(self) -> None:
        """Raise SiteBusy or Unfinished when another run holds this site."""
        if self._everything().has('run'):
            run = self._everything().part('run')
            raise busy(run) if run.text('state') == 'busy' else unfinished(run)

    def suspects(self) -> tuple[Suspect, ...]:
        """List the plugins that WordPress includes, in its order."""
        inventory = self.inventory()
        known = {
            part.id: part for part in inventory.components
            if part.kind in (Kind.PLUGIN, Kind.NETWORK_PLUGIN) and part.status in ON
        }
        order = dict.fromkeys(self._everything().raws('order'))
        return tuple(_suspect(known[file], known) for file in order if file in known)

    def evidence(self) -> tuple[tuple[Evidence, ...], tuple[Gap, ...]]:
        """Read the logs' tails on the host and the files' ages."""
        answer = self.agent.ask('evidence', logs=[encoded(path) for path in self._logs])
        suspects = self.suspects()
        found = [*_from_logs(answer.parts('found'), suspects), *_from_ages(self.inventory(), suspects)]
        gaps = tuple(Gap(path, 'cannot be read by this login') for path in answer.texts('unreadable'))
        return tuple(found), gaps

    def partners(self, suspect: str, where: str) -> tuple[Evidence, ...]:
        """Let the agent read the plugins' code."""
        return sources.partners(self.agent, [one.id for one in self.suspects()], suspect, sources.placed(where))

    def abilities(self) -> tuple[Check, ...]:
        """Say what could be done on this host; nothing is tried out."""
        found = self.agent.ask('abilities')
        launched = self.agent.launched
        journal, isolated = found.text('journal'), found.flag('isolated')
        return (
            Check('WP-CLI', True, f'{" ".join(launched.wp)} as {launched.user}'),
            Check('journal', bool(journal), f'{journal}, {found.whole("free") >> 20} MiB free' if journal else
                  'neither wp-content nor the home directory can be written', '' if journal else
                  'run as the owner of the site (--run-as)'),
            Check('isolated mode', isolated and bool(journal), found.text('must_use') + (
                '' if isolated else ' cannot be written'), '' if isolated else
                'allow this login to write there, or use --mode live'),
            Check('live mode', bool(journal), '' if journal else 'needs a place for the journal'),
            Check('object cache', None, 'persistent; probes keep their writes to themselves'
                  if found.flag('object_cache') else 'none'),
            Check('default theme', None, found.text('theme') or 'none installed: the theme cannot be a suspect'),
        )

    # -- switching ------------------------------------------------------------------------------

    def log_in(self, login: str) -> None:
        """Make cookies of a session that lives in the must-use plugin only."""
        answer = self.agent.ask('login', user=login, lifetime=LOGIN_SECONDS)
        self._cookies = tuple(answer.named('cookies').items())

    def run_events(self) -> None:
        """Let later requests ask the must-use plugin for the events that are due."""
        self._cron = True

    def switching(self, mode: Mode) -> AbstractContextManager[PluginSwitcher]:
        """See ``switching.switched_site``."""
        agent = self.agent
        shell = self._shell
        if shell is None:
            raise RuntimeError('a running agent has a shell')
        setting = Setting(
            mode=mode, suspects=tuple(suspect.id for suspect in self.suspects()), cookies=self._cookies,
            seconds=self._seconds + 300, by=_signature(), path=agent.launched.path,
            cron=self._cron,
        )
        return switched_site(agent, shell, self._journal, setting, again=self._again)

    def recover(self) -> Restoration | None:
        """Finish an interrupted run."""
        done = self.agent.ask('recover', seconds=60)
        if done.flag('found'):
            return restoration(done)
        self._digest = done.text('digest')
        return None

    def digest(self) -> str:
        """Return the digest of the rows and must-use files, as a run's snapshot has it."""
        return self._digest


def _signature() -> str:
    with suppress(OSError, KeyError):
        return f'{getpass.getuser()}@{socket.gethostname()}'
    return socket.gethostname()


# -- what the agent says, as data -----------------------------------------------------------------

def _facts(read: Said) -> SiteFacts:
    return SiteFacts(
        wordpress=read.text('wordpress'), php=read.text('php'), server='', multisite=read.flag('multisite'),
        url=read.text('url'), path=read.text('path'), user=read.text('user'), database=read.text('database'),
        object_cache=read.flag('object_cache'),
    )


def _component(row: Said, facts: SiteFacts) -> Component:
    requires = tuple(slug.strip() for slug in row.text('plugins').split(',') if slug.strip())
    wordpress, php = row.text('wp'), row.text('php')
    return Component(
        id=row.raw('id'), kind=row.choice('kind', Kind), status=row.text('status'), name=row.text('name'),
        version=row.text('version'), requires_wordpress=wordpress, requires_php=php,
        requires_plugins=requires, update=row.text('update'), where=row.raw('where'),
        modified=row.whole('modified'), problems=_problems(wordpress, php, facts),
    )


def _lacking(part: Component, on: set[str]) -> Component:
    """Return the part with a problem for every plugin that it requires and that is not on."""
    lacking = [slug for slug in part.requires_plugins if slug not in on] if part.status in ON else []
    problems = tuple(f'asks for the plugin {slug}, which is not active' for slug in lacking)
    return replace(part, problems=(*part.problems, *problems)) if problems else part


def _problems(wordpress: str, php: str, facts: SiteFacts) -> tuple[str, ...]:
    asked = (('WordPress', wordpress, facts.wordpress), ('PHP', php, facts.php))
    return tuple(
        f'asks for {what} {wanted}, the site has {got}' for what, wanted, got in asked if wanted and older(got, wanted)
    )


def older(version: str, wanted: str) -> bool:
    """Whether ``version`` is older than ``wanted``; False when either cannot be read."""
    try:
        return Version(_plain(version)) < Version(_plain(wanted))
    except InvalidVersion:
        return False


def _plain(version: str) -> str:
    found = re.match(r'\d+(?:\.\d+)*', version.strip())
    return found.group() if found else version


def slug_of(file: str) -> str:
    """Return the slug WordPress derives from a plugin's file (``WP_Plugin_Dependencies::convert_to_slug``)."""
    return file.split('/', 1)[0] if '/' in file else file.removesuffix('.php')


def _suspect(part: Component, known: Mapping[str, Component]) -> Suspect:
    wanted = set(part.requires_plugins)
    requires = tuple(file for file in known if slug_of(file) in wanted and file != part.id)
    return Suspect(part.id, part.kind, part.name, part.version, 'plugins', part.where, requires)


def _from_logs(found: Sequence[Said], suspects: Sequence[Suspect]) -> list[Evidence]:
    evidence = []
    for hit in found:
        slug = hit.raw('slug')
        named = tuple(suspect.id for suspect in suspects if suspect.id.split('/', 1)[0] == slug)
        if named:
            reason = f'{hit.whole("count")} failing line(s), the last: {hit.text("line")}'
            evidence.append(Evidence(hit.text('log'), reason, named, LOG_WEIGHT))
    return evidence


def _from_ages(inventory: Inventory, suspects: Sequence[Suspect]) -> list[Evidence]:
    ages = {part.id: part.modified for part in inventory.components if part.modified}
    mine = {suspect.id: ages[suspect.id] for suspect in suspects if suspect.id in ages}
    if len(mine) < 4:  # noqa: PLR2004 - among so few, an age says nothing
        return []
    recent = tuple(
        file for file, modified in mine.items()
        if time.time() - modified < RECENT_SECONDS and modified > statistics.median(mine.values()) + 3600
    )
    if not recent or len(recent) > len(mine) / 4:
        return []
    return [Evidence('file times', 'changed within the last three days, unlike most others', recent, RECENT_WEIGHT)]
