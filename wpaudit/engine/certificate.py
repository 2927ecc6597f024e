"""Turning observations into claims a person can check, one exact set each.

Nothing here is inferred: a claim is made only for a set that was probed as it is. What a conflict needs is in
``conflict_questions``, what a fix needs is its complement, and ``doubts`` asks of every accused suspect
whether it makes the difference while everything else is on.
"""

from __future__ import annotations

from collections.abc import Sequence

from wpaudit.domain import Claim
from wpaudit.domain import Outcome
from wpaudit.engine.contract import Finding
from wpaudit.engine.log import Log
from wpaudit.engine.model import Model
from wpaudit.engine.model import bits


def conflict_questions(model: Model, conflict: int) -> list[int]:
    """Return the sets that must pass for ``conflict`` to be minimal: it without each of its members."""
    return list(dict.fromkeys(conflict & ~model.down[i] for i in bits(model.tops(conflict))))


def certified(model: Model, log: Log, conflict: int) -> bool:
    """Tell whether ``conflict`` was seen to fail, and to pass without each member, confirmed."""
    if not model.closed(conflict) or log.seen(conflict, confirmed=True) is not Outcome.FAIL:
        return False
    without = conflict_questions(model, conflict)
    return all(log.seen(mask, confirmed=True) is Outcome.PASS for mask in without)


def spared(model: Model, off: int, suspect: int) -> int:
    """Return what is off when the fix ``off`` is applied without ``suspect`` (and its cycle)."""
    cycle = model.up[suspect] & model.down[suspect]
    return model.below(model.roots(off) & ~cycle)


def beyond_doubt(model: Model, log: Log, off: int) -> int:
    """Return the suspects of the fix ``off`` without which it was seen not to work; none if it does not."""
    if log.seen(model.everything & ~off) is not Outcome.PASS:
        return 0
    needed = 0
    for i in bits(model.roots(off)):
        if log.seen(model.everything & ~spared(model, off, i)) is Outcome.FAIL:
            needed |= 1 << i
    return needed


def doubts(model: Model, log: Log, offs: Sequence[int]) -> list[int]:
    """Return sets to switch off that must all still fail, so that each accused suspect matters.

    A suspect that fails only for want of something undeclared is found here: with everything else on it makes
    no difference. Known failures and small sets are preferred; one per suspect suffices.
    """
    chosen: dict[int, int] = {}
    for off in offs:
        for suspect in bits(model.roots(off)):
            rest = spared(model, off, suspect)
            seen = log.seen(model.everything & ~rest) is Outcome.FAIL
            if suspect not in chosen or (seen and log.seen(model.everything & ~chosen[suspect]) is None):
                chosen[suspect] = rest
    return list(dict.fromkeys(chosen.values()))


class Writer:
    """Writes the finding down."""

    def __init__(self, model: Model, log: Log) -> None:
        self._model = model
        self._log = log

    def finding(self, conflicts: Sequence[int], offs: Sequence[int], unresolved: str) -> Finding:
        """Return what was observed of these conflicts and fixes; complete when nothing is unresolved."""
        proven = [u for u in conflicts if certified(self._model, self._log, u)]
        whole = self._model.everything
        working = [off for off in offs if self._log.works(whole & ~off)]
        claims = [*self._baselines(), *(c for u in proven for c in self._conflict(u)), *self._fixes(working)]
        return Finding(
            conflicts=tuple(self._model.names(self._model.tops(u)) for u in proven),
            fixes=tuple(self._model.names(self._model.roots(off)) for off in working),
            certificate=tuple(dict.fromkeys(claims)),
            complete=not unresolved,
            unresolved=unresolved,
            learned=dict(self._model.learned),
        )

    def _baselines(self) -> list[Claim]:
        return [
            *self._off('everything on', 0, Outcome.FAIL),
            *self._on('everything off that can be switched off', self._model.base, Outcome.PASS),
        ]

    def _conflict(self, conflict: int) -> list[Claim]:
        tops = self._model.tops(conflict)
        held = self._list(conflict & ~tops)
        claims = self._on(f'only {self._list(tops)} on' + (f' ({held} had to stay on)' if held else ''),
                          conflict, Outcome.FAIL)
        for i in bits(tops):
            rest = conflict & ~self._model.down[i]
            if rest != self._model.base:
                text = f'the same without {self._list(self._model.down[i] & conflict)}'
                claims += self._on(text, rest, Outcome.PASS)
        return claims

    def _fixes(self, offs: Sequence[int]) -> list[Claim]:
        claims: list[Claim] = []
        for off in offs:
            roots = self._model.roots(off)
            taken = self._list(off & ~roots)
            also = f' (and with it {taken})' if taken else ''
            claims += self._off(f'{self._list(roots)} off{also}, everything else on', off, Outcome.PASS)
            for i in bits(roots):
                rest = spared(self._model, off, i)
                if rest:
                    claims += self._off(f'only {self._list(rest)} off', rest, Outcome.FAIL)
        return claims

    def _on(self, text: str, mask: int, outcome: Outcome) -> list[Claim]:
        if self._log.seen(mask) is not outcome:
            return []
        return [Claim(_sentence(text, outcome), outcome, True, on=self._model.names(mask))]

    def _off(self, text: str, off: int, outcome: Outcome) -> list[Claim]:
        if self._log.seen(self._model.everything & ~off) is not outcome:
            return []
        return [Claim(_sentence(text, outcome), outcome, True, off=self._model.names(off))]

    def _list(self, mask: int) -> str:
        *others, last = self._model.names(mask) or ('',)
        return f'{", ".join(others)} and {last}' if others else last


def _sentence(text: str, outcome: Outcome) -> str:
    return f'{text}: {"the site fails" if outcome is Outcome.FAIL else "the site works"}'
