"""The seams of wpaudit: what commands need from the outside world, as protocols.

An adapter implements one of these and imports nothing above ``ports``. The contract of each
protocol is tested once in ``tests/contract`` against every adapter and every fake.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Protocol
from typing import runtime_checkable

from wpaudit.domain import Answer
from wpaudit.domain import Cost
from wpaudit.domain import Evidence
from wpaudit.domain import Exemption
from wpaudit.domain import Gap
from wpaudit.domain import Inventory
from wpaudit.domain import Mark
from wpaudit.domain import Mode
from wpaudit.domain import Outcome
from wpaudit.domain import ProbeRecord
from wpaudit.domain import Recording
from wpaudit.domain import Request
from wpaudit.domain import Restoration
from wpaudit.domain import Stage
from wpaudit.domain import Suspect

if TYPE_CHECKING:
    import socket

    from wpaudit.facts import Handshake
    from wpaudit.facts import HostState
    from wpaudit.facts import LogLine
    from wpaudit.facts import Look
    from wpaudit.facts import Purpose
    from wpaudit.facts import Resolution

# -- shells -------------------------------------------------------------------------------------

STDERR_TAIL_BYTES = 64 << 10  # that are kept of what a process writes to stderr


@dataclass(frozen=True)
class CommandResult:
    """How a command on the host ended. ``status`` is its exit status, 128 + n for signal n."""

    argv: tuple[str, ...]
    status: int
    stdout: bytes
    stderr: bytes


class Process(Protocol):
    """A running command with open stdin; both its output streams are drained in the background."""

    def send(self, data: bytes) -> None:
        """Write all of ``data`` to its stdin. Raises ConnectionLost when it is gone."""

    def receive(self, *, timeout: float) -> bytes:
        """Return the next line of stdout with its newline; ``b''`` at end of file.

        A line longer than the shell's limit raises ConnectionLost, no line within ``timeout`` seconds
        CommandTimeout (the process is left running).
        """

    def close_stdin(self) -> None:
        """Send end of file."""

    def wait(self, *, timeout: float) -> int:
        """Return the exit status; CommandTimeout when still running after ``timeout`` seconds."""

    def stderr_tail(self) -> bytes:
        """Return the last bytes it wrote to stderr, at most STDERR_TAIL_BYTES."""

    def end(self, *, grace: float = 10.0) -> None:
        """Close stdin, give the process ``grace`` seconds to leave, then kill it on the host too. Idempotent."""


class Shell(Protocol):
    """A way to run commands on the site's host.

    Quoting happens inside and nowhere else: callers pass ``argv``. A non-zero exit is a result,
    a broken transport is a ShellError.
    """

    label: str  # what a person calls it: "deploy@shop.example:22", "this machine"

    def run(self, argv: Sequence[str], *, timeout: float, stdin: bytes = b'') -> CommandResult:
        """Run to the end; CommandTimeout after ``timeout`` seconds, with the remote process ended too."""

    def start(self, argv: Sequence[str]) -> Process:
        """Start a command and keep talking to it."""

    def close(self) -> None:
        """End what was started and still runs; close the connection. Idempotent."""


@runtime_checkable
class Dialing(Protocol):
    """What a shell can do besides, where it can: connect from its host."""

    def dial(self, host: str, port: int, seconds: float) -> socket.socket:
        """Connect to an address as the host would.

        Raises the OSError that a connection from there met, or ShellError when the host opens none for others.
        """


# -- probes -------------------------------------------------------------------------------------

class Fetcher(Protocol):
    """Sends one request and returns what came back; never raises for what a site does."""

    def fetch(self, request: Request, *, timeout: float) -> Answer:
        """Fetch ``request``. Safe to call from several threads at once."""

    def close(self) -> None:
        """Drop kept connections."""


@dataclass(frozen=True)
class Observation:
    """What one probe saw. ``answers`` and ``marks`` have one entry a request, in order."""

    outcome: Outcome
    status: int
    seconds: float
    evidence: str = ''
    answers: tuple[Answer, ...] = ()
    marks: tuple[Mark | None, ...] = ()


class Prober(Protocol):
    """Makes one probe: sends its requests and says what they mean."""

    def observe(self, step: Step | None) -> Observation:
        """Probe the site as ``step`` has it; None probes as an ordinary visitor. Thread-safe."""

    def settle(self, failing: Sequence[Observation]) -> None:
        """From now on only answers that look like these count as FAIL (the fingerprint)."""


# -- layers -------------------------------------------------------------------------------------

class Step(Protocol):
    """The site while an exact set of suspects is off, as one probe needs it."""

    def prepare(self, request: Request) -> Request:
        """Return ``request`` with what makes the host treat it as part of this probe."""

    def mark(self, request: Request, answer: Answer) -> Mark | None:
        """Return what the host noted about a prepared request; None when this layer leaves no marks."""

    def recording(self, seen: Observation) -> Recording | None:
        """Return what was recorded of the last prepared request, which ended as ``seen``; None without a record."""


class Switcher(Protocol):
    """Suspects that can be switched now: a layer after its harness is in place."""

    mode: Mode
    parallel: bool  # may several ``switched`` be open at once?

    @property
    def records(self) -> bool:
        """Tell whether there is a flight recorder."""

    @property
    def certain(self) -> bool:
        """Tell whether the host's marks show each failure to be the fault's own."""

    def switched(
        self, off: frozenset[str], *, theme: bool = False, record: bool = False,
    ) -> AbstractContextManager[Step]:
        """Hold exactly the suspects ``off`` off while the context is open.

        ``theme`` also replaces the active theme by a default one, ``record`` asks for the flight recorder. Raises
        NotRestored when the host's state is not what this run left there, NoOtherTheme when none can stand in.
        """

    def exemptions(self, rules: frozenset[str]) -> tuple[Exemption, ...]:
        """Return changes narrower than to switch these suspects off, for each the narrowest first.

        What was returned once may be in ``off`` of ``switched``. A layer that knows none returns none.
        """

    def restoration(self) -> Restoration:
        """Return how the site was left; meaningful after the layer's context was closed."""


class Site(Protocol):
    """One WordPress installation: reads it and switches its plugins."""

    def connect(self) -> None:
        """Open the connection, so that what follows can overlap with other work. Optional and idempotent."""

    def inventory(self) -> Inventory:
        """List everything. Changes nothing."""

    def must_be_free(self) -> None:
        """Raise SiteBusy or Unfinished when another run holds this site: it is not as its owner left it."""

    def suspects(self) -> tuple[Suspect, ...]:
        """List what this site can switch, in load order."""

    def evidence(self) -> tuple[tuple[Evidence, ...], tuple[Gap, ...]]:
        """Read bounded log tails and file times that speak against some suspects."""

    def partners(self, suspect: str, where: str) -> tuple[Evidence, ...]:
        """Say which other suspects the code of ``suspect`` has to do with, bounded; ``where`` as in ``Evidence``.

        Meant for one that fails only together with another. Changes nothing; may take seconds.
        """

    def log_in(self, login: str) -> None:
        """Let every later prepared request be that user's; raises UsageError when there is no such user."""

    def run_events(self) -> None:
        """Let every later prepared request run the events of WP-Cron that are due; in isolated mode only."""

    def switching(self, mode: Mode) -> AbstractContextManager[Switcher]:
        """Take the snapshot, write the journal, put the harness in place; undo and verify at exit.

        Raises ModeUnavailable, with nothing changed, when this host cannot switch that way.
        """

    def recover(self) -> Restoration | None:
        """Put back what an interrupted run left; None when there is nothing to put back."""


@dataclass(frozen=True)
class Ground:
    """What a firewall layer stands on: the shell to the host, and which site on it is asked about."""

    shell: Shell
    path: str  # ABSPATH, the directory of WordPress
    url: str
    become: tuple[str, ...] = ()  # words that put a command under the site's owner; empty when the login is
    sudo: bool = False      # ``sudo -n`` may be used for what only root may do
    requests: tuple[Request, ...] = ()  # what a probe sends
    by: str = ''            # who runs this, for others who find it running
    seconds: float = 900.0  # how long a run may last; what is put on the host expires a little later by itself
    keep: str = '/var/tmp/wpaudit-firewall'  # noqa: S108 - the warden's directory on the host, made by mkdir(2)


class Layer(Protocol):
    """A kind of suspect other than plugins: a firewall, with its own list and its own switch."""

    name: str

    def listing(self) -> tuple[tuple[Suspect, ...], tuple[Gap, ...]]:
        """List the rules and what could not be read; nothing at all when the firewall is absent."""

    def evidence(self) -> tuple[tuple[Evidence, ...], tuple[Gap, ...]]:
        """Read bounded log tails that speak against some rules. Meaningful after a request has failed."""

    def switching(self, mode: Mode) -> AbstractContextManager[Switcher]:
        """As ``Site.switching``, for this layer's suspects."""


# -- triage -------------------------------------------------------------------------------------

class Outside(Protocol):
    """Looks at a site over the network, without its host's help. Never raises for what a site or a network does."""

    vantage: str  # 'here', 'via user@host', 'proxy URL'

    def resolve(self, name: str) -> Resolution:
        """Ask what ``name`` means, IPv4 and IPv6."""

    def connect(self, address: str, port: int, *, tls_name: str = '') -> Handshake:
        """Open a TCP connection, and TLS on it when ``tls_name`` is given; close it."""

    def look(self, purpose: Purpose, request: Request, *, address: str = '', marker: str = '', timeout: float) -> Look:
        """Send ``request``, to ``address`` instead of what the name means if given. Thread-safe."""

    def close(self) -> None:
        """Drop what is open. Idempotent."""


class Inside(Protocol):
    """Looks at a site from its own host. Reads only, and bounded; what cannot be read is a gap, never a guess."""

    def state(self) -> tuple[HostState, tuple[Gap, ...]]:
        """Say how the host is now: load, memory, disks, php-fpm pools, settings that matter."""

    def look(self, purpose: Purpose, request: Request, *, marker: str = '', timeout: float) -> Look:
        """Send ``request`` from the host: HOST_PUBLIC, HOST_LOOPBACK, FASTCGI or INSIDE.

        What the site does is in the Look; raises SiteError when this host offers no such look: a gap, not an answer.
        """

    def costs(self, request: Request, *, timeout: float) -> tuple[Cost, ...]:
        """Let PHP of the command line make the page again, and return what it costs each plugin, the dearest first.

        As with INSIDE nothing is written and nothing goes out, so that an outgoing request takes no time here, and what
        PHP itself sends as a header does not count. Raises SiteError when the page does not come to its end.
        """

    def lines(
        self, since: float, markers: Sequence[str], *, kernel: bool = True,
    ) -> tuple[tuple[LogLine, ...], tuple[Gap, ...]]:
        """Return the lines of the host's logs from ``since`` (our clock) on; those about ``markers`` are so marked.

        Without ``kernel`` its log is not asked for, which takes as long as all others.
        """


class Journal(Protocol):
    """The durable record on this machine from which anyone can restore a site."""

    def opened(self, entry: Mapping[str, object]) -> None:
        """Write ``entry`` and fsync it, before the first change to the host."""

    def closed(self) -> None:
        """Forget the entry: the host was read back and is as it was."""


# -- talk ---------------------------------------------------------------------------------------

class Listener(Protocol):
    """Progress, told as it happens. Every method may be called from any thread and must not raise."""

    def stage(self, stage: Stage, detail: str = '') -> None:
        """A new stage begins."""

    def probe(self, record: ProbeRecord, *, left: int) -> None:
        """A probe was made; about ``left`` more are expected."""

    def look(self, look: Look) -> None:
        """Triage made a look."""

    def note(self, message: str) -> None:
        """Something a person should know; one sentence."""


class Silence:
    """The listener that says nothing."""

    def stage(self, stage: Stage, detail: str = '') -> None:
        """Say nothing."""

    def probe(self, record: ProbeRecord, *, left: int) -> None:
        """Say nothing."""

    def look(self, look: Look) -> None:
        """Say nothing."""

    def note(self, message: str) -> None:
        """Say nothing."""
