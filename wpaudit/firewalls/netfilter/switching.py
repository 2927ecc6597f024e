"""The switch of packet filter rules: armed once through the warden, then elements of sets that end by themselves.

Isolated, a probe goes one of two ways. *Through the shadow*, when what the shadow gets from the site's upstreams shows
the failure; then rules at output, and those for answers of upstreams, are off for its uid alone. *Straight to the site*
as visitors do, when there is no shadow, or it works while the site does not; then rules are off for our address.
"""

from __future__ import annotations

import secrets
import shlex
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import ExitStack
from contextlib import contextmanager
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import replace
from importlib import resources

from wpaudit.domain import Exemption
from wpaudit.domain import Mode
from wpaudit.domain import Request
from wpaudit.domain import Restoration
from wpaudit.errors import Inconclusive
from wpaudit.errors import ModeUnavailable
from wpaudit.errors import WpauditError
from wpaudit.firewalls.forwarding import forwarded
from wpaudit.firewalls.netfilter import iptables_guards
from wpaudit.firewalls.netfilter import nft_guards
from wpaudit.firewalls.netfilter.guards import Command
from wpaudit.firewalls.netfilter.guards import Guard
from wpaudit.firewalls.netfilter.nginx_text import written
from wpaudit.firewalls.netfilter.prospect import PATH
from wpaudit.firewalls.netfilter.prospect import Shade
from wpaudit.firewalls.netfilter.rules import NFT
from wpaudit.firewalls.netfilter.rules import Rule
from wpaudit.firewalls.netfilter.shadow import CLIENT
from wpaudit.firewalls.netfilter.shadow import PORTS
from wpaudit.firewalls.netfilter.shadow import SECRET
from wpaudit.firewalls.netfilter.shadow import Place
from wpaudit.firewalls.netfilter.shadow import configuration
from wpaudit.firewalls.netfilter.undo import UNTOLD
from wpaudit.firewalls.netfilter.undo import undo
from wpaudit.firewalls.switching import RuleStep
from wpaudit.firewalls.switching import RuleSwitcher
from wpaudit.firewalls.warden import Keeping
from wpaudit.firewalls.warden import Warden
from wpaudit.ports import Dialing

HOLD_SECONDS = 60  # after which every rule holds again for everybody, if nobody renews it
RENEWED = 20.0     # seconds between renewals
ATTEMPTS = 5       # at ports that others may have just taken
_RUN = f'{PATH}IFS= read -r line && eval "exec $line"\n'
_SAID = 400        # characters of a tool's complaint that are told


@dataclass(frozen=True)
class Way:
    """How probes go: the fields and places that a request gets. Without places it goes straight to the site."""

    fields: tuple[tuple[str, str], ...] = ()
    via: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class NetfilterStep(RuleStep):
    """One probe's set of rules: they are off for as long as the step is held."""

    via: tuple[tuple[str, str], ...] = ()

    def prepare(self, request: Request) -> Request:
        """Return the request as it goes its way."""
        return replace(super().prepare(request), via=self.via)


def keeping(guards: Sequence[Guard], rules: Sequence[Rule], shade: Shade | None) -> Keeping:
    """Return what the warden keeps for these guards; ``rules`` are all that were read a moment ago."""
    shadow = resources.files('wpaudit.firewalls').joinpath('sh', 'shadow.sh').read_text(encoding='utf-8')
    return Keeping(
        undo=undo(guards, rules, shadow=None if shade is None else shade.account[1]),
        scripts=(('run', _RUN), ('shadow', PATH + shadow), (UNTOLD, '')),
    )


def arm(warden: Warden, guards: Sequence[Guard], rules: Sequence[Rule]) -> None:
    """Put the rules behind their guards, all of them on. Raises ModeUnavailable where a tool refuses."""
    native, others = _by_kind(guards)
    for command in (*nft_guards.arm(native), *iptables_guards.arm(others, rules)):
        said = _ran(warden, command)
        if said is not None:
            raise ModeUnavailable(f'the rules of the packet filter could not be prepared: {said}')


class Holding:
    """Holds rules off through the warden."""

    def __init__(self, warden: Warden, guards: Sequence[Guard]) -> None:
        self._warden = warden
        self._native, self._others = _by_kind(guards)

    def hold(self, off: frozenset[str], *, again: bool = False) -> None:
        """Make exactly ``off`` be off for HOLD_SECONDS. Raises Inconclusive when guards are gone."""
        commands = (
            *nft_guards.off(self._native, off, HOLD_SECONDS),
            *iptables_guards.off(self._others, off, HOLD_SECONDS, again=again),
        )
        for command in commands:
            said = _ran(self._warden, command)
            if said is not None:
                raise Inconclusive(
                    f'somebody else changed the packet filter during the run: {said}',
                    hint='run again when nobody else works on it',
                )


class NetfilterSwitcher:
    """``ports.Switcher`` over ``Holding``. One set at a time: the sets are the kernel's."""

    records = False
    certain = False
    parallel = False

    def __init__(self, inner: RuleSwitcher, holding: Holding, way: Way) -> None:
        self.mode = inner.mode
        self._inner = inner
        self._holding = holding
        self._way = way
        self._changed = 0.0

    @contextmanager
    def switched(self, off: frozenset[str], *, theme: bool = False, record: bool = False) -> Iterator[NetfilterStep]:
        """Hold exactly ``off`` off, for as long as the context is open."""
        self._holding.hold(off)
        began, over = time.monotonic(), threading.Event()
        renewing = threading.Thread(target=self._renew, args=(off, over), name='wpaudit-holding', daemon=True)
        if off:
            renewing.start()
        try:
            yield NetfilterStep(self._way.fields, self._way.via)
        finally:
            over.set()
            if off and self.mode is Mode.LIVE:  # on again for everybody as soon as may be
                with suppress(WpauditError):  # the next probe says so, or the way back
                    self._holding.hold(frozenset())
                self._changed += time.monotonic() - began

    def exemptions(self, rules: frozenset[str]) -> tuple[Exemption, ...]:
        """Know of none."""
        return ()

    def restoration(self) -> Restoration:
        """Return how the layer was left."""
        return replace(self._inner.restoration(), changed_seconds=round(self._changed, 3))

    def _renew(self, off: frozenset[str], over: threading.Event) -> None:
        while not over.wait(RENEWED):
            try:
                self._holding.hold(off, again=True)
            except WpauditError:
                return  # the next probe says so


@contextmanager
def shadowed(warden: Warden, shade: Shade, shell: Dialing, *, address: str, client: str) -> Iterator[Way]:
    """Start the shadow, hold a way to it, and say which; the way back ends it. Raises ModeUnavailable."""
    secret = secrets.token_hex(16)
    ports = _started(warden, shade, secret, address)
    fields = [(SECRET, secret), *([(CLIENT, client)] if client else [])]
    with ExitStack() as stack:
        via = [(scheme, stack.enter_context(forwarded(shell, '127.0.0.1', port))) for scheme, port in ports.items()]
        yield Way(tuple(fields), tuple(via))


def _started(warden: Warden, shade: Shade, secret: str, address: str) -> dict[str, int]:
    said = ''
    for _ in range(ATTEMPTS):
        first = 20_000 + 2 * secrets.randbelow(6_000)  # below Linux's range for outgoing connections
        ports = {scheme: first + number for number, scheme in enumerate(PORTS) if scheme in shade.outline.servers}
        place = Place(
            warden.directory, shade.nginx.base, shade.account[0], shade.nginx.group, ports, secret, address,
            shade.nginx.realip,
        )
        text = written(configuration(shade.outline, place))
        done = warden.act('shadow', f'{shade.nginx.command(warden.directory)}\n{text}')
        if done.status == 0:
            return ports
        said = done.text.strip()[-_SAID:]
        if 'Address already in use' not in said:
            break
    raise ModeUnavailable(f'a second nginx does not start from a copy of the configuration: {said}')


def _by_kind(guards: Sequence[Guard]) -> tuple[list[Guard], list[Guard]]:
    native = [guard for guard in guards if guard.rule.tool == NFT]
    return native, [guard for guard in guards if guard.rule.tool != NFT]


def _ran(warden: Warden, command: Command) -> str | None:
    """Run a command as root; what it complained of, or None."""
    stdin = command.stdin.decode('utf-8', 'surrogateescape')
    done = warden.act('run', f'{shlex.join(command.argv)}\n{stdin}')
    return None if done.status == 0 else ' '.join(done.text.split())[-_SAID:] or f'{command.argv[0]} failed'


def answered(ask: Callable[[], int], times: int) -> bool:
    """Tell whether every one of so many requests is answered without a failure of a server."""
    with suppress(OSError):
        return all(0 < ask() < 500 for _ in range(times))  # noqa: PLR2004 - RFC 9110, section 15.6
    return False
