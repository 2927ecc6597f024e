"""Triage's opinion of a failure, formed in the background while the bisection goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from typing import TYPE_CHECKING
from typing import Protocol

from wpaudit.domain import Evidence
from wpaudit.domain import Suspect
from wpaudit.errors import WpauditError
from wpaudit.ports import Inside
from wpaudit.ports import Observation

if TYPE_CHECKING:
    from wpaudit.commands.glance import Glance
    from wpaudit.facts import Diagnosis


@dataclass(frozen=True)
class Looking:
    """What triage looks with: the requests of its own, by the site's base URL, and the view from the host."""

    glance: Callable[[str], Glance]
    inside: Callable[[], Inside]


class Opinion:
    """What the failure that ``seen`` shows looks like, with the host's logs of that time. Nobody has to wait for it."""

    def __init__(
        self, looking: Looking, glance: Glance, url: str, seen: Sequence[Observation], *, thorough: bool = False,
    ) -> None:
        """``thorough`` also looks at how the host is: worth the time where no plugin explains the failure."""
        self._formed: Diagnosis | None = None
        self._done = threading.Event()
        arguments = (looking, glance, url, tuple(seen), thorough)
        threading.Thread(target=self._form, args=arguments, name='wpaudit-opinion', daemon=True).start()

    def _form(
        self, looking: Looking, glance: Glance, url: str, seen: Sequence[Observation], thorough: bool,
    ) -> None:
        from wpaudit.commands.glance import shortened

        try:
            self._formed = shortened(url, seen, glance, inside=_opened(looking), thorough=thorough)
        finally:
            self._done.set()

    def get(self, seconds: float) -> Diagnosis | None:
        """Return it; None when it was not formed within this time, or there is none."""
        self._done.wait(seconds)
        return self._formed


class Asking(Protocol):
    """Asks triage about what was seen."""

    def __call__(self, seen: Sequence[Observation], *, thorough: bool = False) -> Opinion:
        """Begin to form an opinion."""


def _opened(looking: Looking) -> Inside | None:
    try:
        return looking.inside()
    except WpauditError:
        return None


def hints(diagnosis: Diagnosis | None, suspects: Sequence[Suspect]) -> tuple[Evidence, ...]:
    """Return the reasons that triage has to look at some of the suspects first."""
    if diagnosis is None:
        return ()
    from wpaudit.triage.hints import weights

    found = (replace(one, suspects=_meant(one, suspects)) for one in weights(diagnosis.clues))
    return tuple(one for one in found if one.suspects)


def _meant(evidence: Evidence, suspects: Sequence[Suspect]) -> tuple[str, ...]:
    return tuple(one.id for one in suspects if one.id.startswith(evidence.suspects))
