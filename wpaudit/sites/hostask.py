"""Typed questions to the agent's view of the host (``php/host*.php``). Everything it says is checked here."""

from __future__ import annotations

import base64
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass

from wpaudit.domain import Gap
from wpaudit.sites.agent import Agent
from wpaudit.sites.launch import joined
from wpaudit.sites.said import Said
from wpaudit.sites.said import encoded

FILE_BYTES = 1 << 19       # of one configuration file
CONFIG_BYTES = 4 << 20     # of all configuration together
TAIL_BYTES = 1 << 19       # of one log; an access log is searched on the host, which may read more of it
SEARCHED_BYTES = 8 << 20
TAILS_BYTES = 6 << 20      # of all logs together: an answer of the agent is one line, which the shells bound
SLOW = 30.0                # seconds for an answer, besides what the question itself may take


@dataclass(frozen=True)
class Process:
    """One process that could belong to a web server; ``line`` has its words, or its title as one word."""

    pid: int
    parent: int
    state: str
    owner: int
    line: tuple[str, ...]
    program: str = ''
    waits: str = ''

    @property
    def title(self) -> str:
        """Return the whole command line, as ``ps`` shows it."""
        return ' '.join(self.line)


@dataclass(frozen=True)
class About:
    """What the host says of itself in one answer."""

    time: float
    offsets: tuple[float, ...]
    load: str
    memory: str
    cpus: int
    limit: str
    used: str
    processes: tuple[Process, ...]
    hidden: bool
    docroot: str
    php: Mapping[str, str]
    site: Mapping[str, str]
    config_readable: bool


@dataclass(frozen=True)
class File:
    """One file that was asked for by ``pattern``: its text, or why there is none."""

    pattern: str
    path: str
    text: str = ''
    why: str = ''


@dataclass(frozen=True)
class Tail:
    """The end of one log. ``start`` is the offset of ``text`` in it; ``why`` says why there is none."""

    path: str
    size: int = 0
    inode: int = 0
    start: int = 0
    text: str = ''
    why: str = ''
    print: str = ''


@dataclass(frozen=True)
class Place:
    """From where to read a log: byte ``start`` of the file that had this inode, and ``print`` before byte ``known``."""

    path: str
    start: int = 0
    inode: int = 0
    known: int = 0
    print: str = ''
    words: tuple[str, ...] = ()  # only lines with one of these, where they are given


def about_from(said: Said) -> About:
    """Check the answer to ``host-about``."""
    php = {name: said.part('php').text(name) for name in ('version', 'error_log', 'memory_limit', 'disable_functions')}
    site = {name: said.part('site').text(name) for name in ('content', 'debug', 'debug_log', 'host')}
    return About(
        time=said.number('time'), offsets=said.numbers('offsets'), load=said.text('load'), memory=said.text('memory'),
        cpus=said.whole('cpus'), limit=said.text('limit'), used=said.text('used'),
        processes=tuple(_process(one) for one in said.parts('processes')), hidden=said.flag('hidden'),
        docroot=said.raw('docroot'), php={**php, 'temp': said.part('php').text('temp')}, site=site,
        config_readable=said.part('site').flag('readable'),
    )


def _process(said: Said) -> Process:
    # A program that writes its title over its command line leaves NUL bytes behind it.
    words = tuple(word for word in said.raw('line').split('\0') if word)
    return Process(
        said.whole('pid'), said.whole('parent'), said.text('state'), said.whole('owner'), words,
        said.raw('program'), said.text('waits').strip(),
    )


class HostAsk:
    """The agent with what triage needs of it, sent when the first question is asked."""

    def __init__(self, agent: Callable[[], Agent]) -> None:
        self._agent = agent
        self._extended: Agent | None = None
        self._left = CONFIG_BYTES

    def ask(self, op: str, *, seconds: float = SLOW, **fields: object) -> Said:
        """Ask; raises as ``Agent.ask`` does."""
        agent = self.agent
        return agent.ask(op, seconds=seconds, **fields)

    @property
    def agent(self) -> Agent:
        """The running agent, which knows our questions."""
        agent = self._agent()
        if agent is not self._extended:
            source = joined('host.php', 'host-logs.php', 'host-talk.php', 'host-child.php')
            agent.ask('extend', unless='Wpaudit_Host', source=base64.b64encode(source.encode()).decode())
            self._extended = agent
        return agent

    def ready(self) -> None:
        """Have everything in place, so that the next question takes no longer than its answer."""
        self.agent.ask('ping')

    def about(self) -> About:
        """Ask for the machine, its web servers' processes, and the site's own settings."""
        return about_from(self.ask('host-about', path=encoded(self.agent.launched.path)))

    def files(self, patterns: Iterable[str]) -> tuple[File, ...]:
        """Read the files that these paths and glob patterns mean, within what is left of our budget."""
        wanted = list(dict.fromkeys(patterns))
        if not wanted:
            return ()
        said = self.ask('host-files', patterns=[encoded(one) for one in wanted], each=FILE_BYTES, total=self._left)
        found = tuple(
            File(one.raw('pattern'), one.raw('path'), one.raw('text') if one.has('text') else '',
                 '' if one.has('text') else one.text('why'))
            for one in said.parts('files')
        )
        self._left = max(0, self._left - sum(len(one.text) for one in found))
        return found

    def real(self, paths: Iterable[str]) -> dict[str, str]:
        """Say where paths lead to, symbolic links followed."""
        wanted = list(dict.fromkeys(path for path in paths if path))[:200]
        said = self.ask('host-real', paths=[encoded(path) for path in wanted]) if wanted else None
        return dict(zip(wanted, said.raws('paths'), strict=False)) if said else {}

    def sizes(self, paths: Sequence[str]) -> tuple[Tail, ...]:
        """Say how long logs are, and read nothing."""
        return self._tails([Place(path) for path in paths], 0)[0] if paths else ()

    def tails(self, places: Sequence[Place]) -> tuple[tuple[Tail, ...], tuple[float, ...]]:
        """Read the ends of logs; also return what the host's local time may be ahead of UTC, in seconds."""
        return self._tails(places, min(TAIL_BYTES, TAILS_BYTES // max(1, len(places))))

    def _tails(self, places: Sequence[Place], most: int) -> tuple[tuple[Tail, ...], tuple[float, ...]]:
        logs = [
            {'path': encoded(one.path), 'from': one.start, 'inode': one.inode, 'known': one.known, 'print': one.print,
             'words': [encoded(word) for word in one.words], 'most': SEARCHED_BYTES if one.words and most else most}
            for one in places
        ]
        said = self.ask('host-tails', logs=logs)
        return tuple(_tail(one) for one in said.parts('logs')), said.numbers('offsets')


def _tail(said: Said) -> Tail:
    if said.has('why'):
        return Tail(said.raw('path'), why=said.text('why'))
    return Tail(
        said.raw('path'), said.whole('size'), said.whole('inode'), said.whole('start'), said.raw('text'),
        print=said.text('print'),
    )


def gap_of(file: File, what: str) -> Gap:
    """Say that a file could not be read, and who may read it."""
    return Gap(f'{what} {file.path}', file.why)
