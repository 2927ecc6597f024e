"""A site and the firewalls in front of it, searched as one: plugins and rules in the same probes.

A request that a rule stops never reaches PHP, so it leaves no mark there. While any rule is on, a failure without a
mark may therefore be a rule's; only with all rules off does it mean that the probe never arrived.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import ExitStack
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import replace

from wpaudit.domain import Answer
from wpaudit.domain import Evidence
from wpaudit.domain import Exemption
from wpaudit.domain import Gap
from wpaudit.domain import Inventory
from wpaudit.domain import Mark
from wpaudit.domain import Mode
from wpaudit.domain import Recording
from wpaudit.domain import Request
from wpaudit.domain import Restoration
from wpaudit.domain import Suspect
from wpaudit.ports import Layer
from wpaudit.ports import Observation
from wpaudit.ports import Site
from wpaudit.ports import Step
from wpaudit.ports import Switcher

RULES = 'firewall rules'
_SHOWN = 4  # ids listed before "and N more"


class Layered:
    """A ``Site`` whose suspects are its plugins and the rules of ``layers`` that can be switched in ``mode``."""

    def __init__(self, site: Site, layers: Sequence[Layer], mode: Mode = Mode.ISOLATED) -> None:
        self._site = site
        self._layers = layers
        self._mode = mode
        self._listed: list[tuple[Layer, tuple[Suspect, ...]]] | None = None
        self._gaps: list[Gap] = []
        self._others = False  # whether there are rules that cannot be switched

    def connect(self) -> None:
        """Open the connection."""
        self._site.connect()

    def inventory(self) -> Inventory:
        """List what is on the site; its firewalls are in ``suspects``."""
        return self._site.inventory()

    def must_be_free(self) -> None:
        """Raise when another run holds the site."""
        self._site.must_be_free()

    def suspects(self) -> tuple[Suspect, ...]:
        """List the plugins, then the rules, layer by layer and file by file: those next to each other go together."""
        rules = [rule for _, found in self._rules() for rule in found]
        return (*self._site.suspects(), *rules)

    def evidence(self) -> tuple[tuple[Evidence, ...], tuple[Gap, ...]]:
        """Return what speaks against some suspects: what the firewalls' logs say, then what the site's do."""
        found: list[Evidence] = []
        gaps: list[Gap] = []
        for layer, rules in self._rules():
            known = frozenset(_ids(rules))
            told, missing = layer.evidence() if rules else ((), ())
            meant = (replace(one, suspects=tuple(each for each in one.suspects if each in known)) for one in told)
            found += [one for one in meant if one.suspects]
            gaps += missing
        evidence, missing = self._site.evidence()
        return (*found, *evidence), (*gaps, *missing)

    def partners(self, suspect: str, where: str) -> tuple[Evidence, ...]:
        """Return what the site's code says; of a rule there is none."""
        plugins = frozenset(_ids(self._site.suspects()))
        return self._site.partners(suspect, where) if suspect in plugins else ()

    def gaps(self) -> tuple[Gap, ...]:
        """Return what could not be read of the firewalls, and which of their rules cannot be switched."""
        self._rules()
        return tuple(self._gaps)

    def log_in(self, login: str) -> None:
        """Let every later prepared request be that user's."""
        self._site.log_in(login)

    def run_events(self) -> None:
        """Let every later prepared request run the events that are due."""
        self._site.run_events()

    @contextmanager
    def switching(self, mode: Mode) -> Iterator[Switcher]:
        """Prepare the site and every layer that has rules; undo all of them at exit, the last one first."""
        with ExitStack() as stack:
            parts = [(stack.enter_context(self._site.switching(mode)), frozenset(_ids(self._site.suspects())))]
            for layer, rules in self._rules():
                if rules:
                    parts.append((stack.enter_context(layer.switching(mode)), frozenset(_ids(rules))))
            yield Together(parts, others_on=self._others)

    def recover(self) -> Restoration | None:
        """Put back what an interrupted run left on the site."""
        return self._site.recover()

    def _rules(self) -> list[tuple[Layer, tuple[Suspect, ...]]]:
        if self._listed is None:
            self._listed = []
            for layer in self._layers:
                found, gaps = layer.listing()
                able = tuple(one for one in found if not self._held(one))
                known = frozenset(_ids(able))
                self._listed.append((layer, tuple(
                    replace(one, requires=tuple(each for each in one.requires if each in known)) for one in able)))
                self._gaps += [*gaps, *self._left_out(found)]
                self._others = self._others or len(able) < len(found)
        return self._listed

    def _held(self, rule: Suspect) -> str:
        """Say why a rule cannot be switched in this mode, '' when it can."""
        if rule.stuck or self._mode is Mode.LIVE or not rule.live_only:
            return rule.stuck
        return f'{rule.live_only}; --mode live switches it for everybody'

    def _left_out(self, found: Sequence[Suspect]) -> Iterator[Gap]:
        """Say which rules are not among the suspects, by reason."""
        reasons = {one.id: self._held(one) for one in found}
        for why in dict.fromkeys(filter(None, reasons.values())):
            yield _stuck([one for one, reason in reasons.items() if reason == why], why)


def _stuck(ids: Sequence[str], why: str) -> Gap:
    more = f' and {len(ids) - _SHOWN} more' if len(ids) > _SHOWN else ''
    return Gap(', '.join(ids[:_SHOWN]) + more, f'not switched: {why}')


def _ids(suspects: Sequence[Suspect]) -> list[str]:
    return [one.id for one in suspects]


class Together:
    """Several switchers as one. The first is the site's: it leaves the marks and has the recorder."""

    def __init__(self, parts: Sequence[tuple[Switcher, frozenset[str]]], *, others_on: bool = False) -> None:
        """``others_on``: there are rules besides, which stay on."""
        self._parts = parts
        self._exempt: list[frozenset[str]] = [frozenset()] * len(parts)  # ids of exemptions, part by part
        self._others_on = others_on
        self._site = parts[0][0]
        self.mode = self._site.mode
        self.parallel = all(switcher.parallel for switcher, _ in parts)

    @property
    def records(self) -> bool:
        """Tell whether there is a flight recorder."""
        return self._site.records

    @property
    def certain(self) -> bool:
        """Tell whether only the fault makes a failure: a rate limit or a ban may make one too."""
        return len(self._parts) == 1 and self._site.certain

    @contextmanager
    def switched(self, off: frozenset[str], *, theme: bool = False, record: bool = False) -> Iterator[Step]:
        """Hold exactly ``off`` off, each layer its own."""
        with ExitStack() as stack:
            steps: list[Step] = []
            rules_on = self._others_on
            for number, (switcher, known) in enumerate(self._parts):
                mine = off & (known | self._exempt[number])
                rules_on = rules_on or (number > 0 and not known <= mine)
                steps.append(stack.enter_context(
                    switcher.switched(mine, theme=theme and number == 0, record=record and number == 0)))
            yield _Steps(steps, len(off - self._parts[0][1]), rules_on)

    def exemptions(self, rules: frozenset[str]) -> tuple[Exemption, ...]:
        """Return what every layer knows to be narrower than to switch its rules among these off."""
        found = [switcher.exemptions(rules & known) for switcher, known in self._parts]
        self._exempt = [
            before | {one.id for one in new} for before, new in zip(self._exempt, found, strict=True)]
        return tuple(one for new in found for one in new)

    def restoration(self) -> Restoration:
        """Return how all of it was left: verified when every part is."""
        done = [switcher.restoration() for switcher, _ in self._parts]
        worst = next((one for one in done if not one.verified), done[0])
        return replace(
            worst,
            before=' '.join(one.before for one in done if one.before),
            after=' '.join(one.after for one in done if one.after),
            left_behind=tuple(path for one in done for path in one.left_behind),
            changed_seconds=max(one.changed_seconds for one in done),
            message='; '.join(dict.fromkeys(one.message for one in done if one.message)),
        )


@dataclass(frozen=True)
class _Steps:
    """One probe's set, layer by layer."""

    steps: Sequence[Step]
    rules_off: int
    rules_on: bool  # whether any rule may still stop the request before PHP

    def prepare(self, request: Request) -> Request:
        """Return the request with what every layer adds."""
        for step in self.steps:
            request = step.prepare(request)
        return request

    def mark(self, request: Request, answer: Answer) -> Mark | None:
        """Return the site's mark, counting what is off in all layers; None where a rule may have been in between."""
        mark = self.steps[0].mark(request, answer)
        if mark is None or (not mark.seen and self.rules_on):
            return None
        return replace(mark, off=mark.off + self.rules_off)

    def recording(self, seen: Observation) -> Recording | None:
        """Return what the site's recorder has."""
        return self.steps[0].recording(seen)
