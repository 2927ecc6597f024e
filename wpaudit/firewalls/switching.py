"""What the switches of all firewall layers have in common: a warden that keeps the harness, and steps of one probe."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import closing
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import replace

from wpaudit.domain import Answer
from wpaudit.domain import Exemption
from wpaudit.domain import Mode
from wpaudit.domain import Request
from wpaudit.domain import Restoration
from wpaudit.errors import NotRestored
from wpaudit.errors import Unfinished
from wpaudit.firewalls.acting import may_root
from wpaudit.firewalls.acting import rooted
from wpaudit.firewalls.warden import Done
from wpaudit.firewalls.warden import Keeping
from wpaudit.firewalls.warden import Warden
from wpaudit.firewalls.warden import kept
from wpaudit.firewalls.warden import recover
from wpaudit.ports import Ground
from wpaudit.ports import Observation

ASK_SECONDS = 30.0
Fields = tuple[tuple[str, str], ...]  # header fields


@dataclass(frozen=True)
class RuleStep:
    """One probe's set of rules, as fields of its request; none where the rules are switched for an address."""

    fields: Fields = ()

    def prepare(self, request: Request) -> Request:
        """Return the request with the fields."""
        return replace(request, headers=(*request.headers, *self.fields))

    def mark(self, request: Request, answer: Answer) -> None:
        """Leave no mark: whom a rule stops never reaches PHP."""

    def recording(self, seen: Observation) -> None:
        """Record nothing."""


Exempting = Callable[[frozenset[str]], tuple[Exemption, ...]]


def _none(rules: frozenset[str]) -> tuple[Exemption, ...]:
    return ()


class RuleSwitcher:
    """The switcher of one layer. ``hold`` makes exactly ``off`` be off and returns the fields a probe needs for it."""

    records = False
    certain = False

    def __init__(
        self, mode: Mode, hold: Callable[[frozenset[str]], Fields], *, parallel: bool, exempting: Exempting = _none,
    ) -> None:
        self.mode = mode
        self.parallel = parallel
        self._hold = hold
        self._exempting = exempting
        self._restoration = Restoration(verified=False, message='the firewall has not been put back yet')
        self._since: float | None = None  # when it began to be otherwise for everybody
        self._changed_seconds = 0.0

    @contextmanager
    def switched(self, off: frozenset[str], *, theme: bool = False, record: bool = False) -> Iterator[RuleStep]:
        """Hold exactly ``off`` off; a firewall has neither theme nor recorder."""
        if off and self._since is None and self.mode is Mode.LIVE:
            self._since = time.monotonic()
        fields = self._hold(off)
        if not off:
            self._as_ever()
        yield RuleStep(fields)

    def exemptions(self, rules: frozenset[str]) -> tuple[Exemption, ...]:
        """Return what the layer knows to be narrower than to switch these rules off."""
        return self._exempting(rules)

    def restoration(self) -> Restoration:
        """Return how the layer was left."""
        return self._restoration

    def settle(self, restoration: Restoration) -> None:
        """Note how the layer was left."""
        self._as_ever()
        self._restoration = replace(restoration, changed_seconds=self._changed_seconds)

    def _as_ever(self) -> None:
        if self._since is not None:
            self._changed_seconds += time.monotonic() - self._since
        self._since = None


def kept_in(ground: Ground, name: str) -> str:
    """Return the warden's directory of one layer."""
    return f'{ground.keep}-{name}'


def recovered(ground: Ground, name: str) -> Done | None:
    """Put back what an interrupted run of one layer left, as the login or as root; None when it left nothing.

    Raises SiteBusy, or Unfinished where only root could.
    """
    directory = kept_in(ground, name)
    done = recover(ground.shell, directory=directory)
    if done is not None or ground.shell.run(['test', '-e', directory], timeout=ASK_SECONDS).status:
        return done
    why = may_root(ground)
    if why:
        raise Unfinished(f'a run of another user has left {directory} on the host, and {why}', hint='use --sudo')
    return recover(rooted(ground).shell, directory=directory)


@contextmanager
def warded(ground: Ground, name: str, keeping: Callable[[str], Keeping]) -> Iterator[tuple[Warden, RuleSwitcherMaker]]:
    """Hold a warden that keeps what ``keeping`` (of its directory) says; put all back at exit, and say so.

    Yields the warden and a function that makes the layer's switcher, which is told at the end how the layer was left.
    Raises NotRestored when that is not as it was.
    """
    made: list[RuleSwitcher] = []

    def make(
        mode: Mode, hold: Callable[[frozenset[str]], Fields], *, parallel: bool, exempting: Exempting = _none,
    ) -> RuleSwitcher:
        made.append(RuleSwitcher(mode, hold, parallel=parallel, exempting=exempting))
        return made[-1]

    directory = kept_in(ground, name)
    with closing(Warden(ground.shell, by=ground.by, directory=directory)) as warden:
        way_back = keeping(directory)
        digest = hashlib.sha256(way_back.undo.encode('utf-8', 'surrogateescape')).hexdigest()[:16]
        back = Restoration(verified=True, before=digest, after=digest)

        def settle_well() -> None:
            _settle(made, replace(back, message=' and '.join(warden.told.split('\n'))))

        passing: BaseException | None = None
        try:
            with kept(warden, way_back):
                try:
                    yield warden, make
                except BaseException as error:
                    passing = error
                    raise
        except NotRestored as error:
            # One of the body's own, another layer's or the site's, says nothing about this layer.
            if error is not passing:
                _settle(made, Restoration(
                    verified=False, before=digest, left_behind=(directory,), message=error.message, advice=error.hint))
            else:
                settle_well()
            raise
        except BaseException:  # passed on: all is back all the same
            settle_well()
            raise
        settle_well()


def _settle(made: Sequence[RuleSwitcher], restoration: Restoration) -> None:
    for switcher in made:
        switcher.settle(restoration)


RuleSwitcherMaker = Callable[..., RuleSwitcher]
