"""Where questions are asked: each exact set once, contradictions noticed at once."""

from __future__ import annotations

from collections.abc import Sequence

from wpaudit.domain import Outcome
from wpaudit.domain import Role
from wpaudit.engine.contract import Oracle
from wpaudit.engine.contract import Query
from wpaudit.engine.log import Log
from wpaudit.engine.model import Model


class Surprise(Exception):
    """An observation that the model cannot explain; the search learns from it and starts over."""


class Contradiction(Surprise):
    """``failing`` fails although ``passing``, a superset, passes."""

    def __init__(self, failing: int, passing: int) -> None:
        super().__init__(failing, passing)
        self.failing = failing
        self.passing = passing


class Foreign(Surprise):
    """An answer that matters is OTHER."""

    def __init__(self, mask: int) -> None:
        super().__init__(mask)
        self.mask = mask


class Changed(Surprise):
    """The same set was answered differently the second time, and the oracle did not mind."""


class Unresolved(Exception):
    """The observations do not support an answer; the message says why, in one sentence."""


class Desk:
    """Puts questions to the oracle and the answers into the log."""

    def __init__(self, model: Model, log: Log, oracle: Oracle) -> None:
        self._model = model
        self._log = log
        self._oracle = oracle

    def fails(self, mask: int) -> bool:
        """Tell whether ``mask`` fails; asks only when the log does not know.

        If it does fail, a name will rest on that answer, hence ``confirm``.
        """
        outcome = self._log.known(mask)
        if outcome is None:
            outcome = self.confirmed([mask])[0]
        return outcome is Outcome.FAIL

    def confirmed(self, masks: Sequence[int]) -> list[Outcome]:
        """Return direct answers on which a claim may rest."""
        return self.ask([(mask, True) for mask in masks])

    def direct(self, masks: Sequence[int]) -> list[Outcome]:
        """Return direct answers that steer the search."""
        return self.ask([(mask, False) for mask in masks])

    def ask(self, questions: Sequence[tuple[int, bool]]) -> list[Outcome]:
        """Answer (set, confirm) pairs by direct observation, asking in one batch what is not in the log.

        Raises Contradiction or Changed after everything was recorded.
        """
        steady = self.observe(questions)
        if not steady:
            raise Changed
        clash = self._log.contradiction()
        if clash:
            raise Contradiction(*clash)
        return [self._answer(mask) for mask, _ in questions]

    def observe(self, questions: Sequence[tuple[int, bool]]) -> bool:
        """Do what ``ask`` does but raise nothing; return False when an answer changed.

        Once one did, every question is asked with ``confirm``: an unconfirmed PASS means little then.
        """
        needed = {mask: sure or self._log.unsteady for mask, sure in questions}
        wanted = {mask: sure for mask, sure in needed.items() if self._log.seen(mask, confirmed=sure) is None}
        if not wanted:
            return True
        claims = {mask for mask, sure in questions if sure}
        answers = self._oracle([self._query(mask, mask in claims, sure) for mask, sure in wanted.items()])
        results = [self._log.record(mask, outcome, confirmed=sure)
                   for (mask, sure), outcome in zip(wanted.items(), answers, strict=True)]
        return all(results)

    def look(self, mask: int) -> Outcome:
        """Return the answer for exactly ``mask`` while monotonicity is in doubt."""
        self.observe([(mask, False)])
        return self._answer(mask)

    def _answer(self, mask: int) -> Outcome:
        outcome = self._log.seen(mask)
        if outcome is None:  # pragma: no cover - ask() has just recorded it
            raise AssertionError(mask)
        return outcome

    def _query(self, mask: int, claim: bool, confirm: bool) -> Query:
        role = Role.CERTIFICATE if claim else Role.SEARCH
        return Query(frozenset(self._model.names(mask)), role, confirm)
