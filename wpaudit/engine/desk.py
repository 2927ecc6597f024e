"""Where questions are asked: each exact set once, contradictions noticed at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Question:
    """One exact set. ``claim``: something in the finding may rest on it; ``sure``: and has to, as it is answered."""

    mask: int
    claim: bool = False
    sure: bool = False


class Desk:
    """Puts questions to the oracle and the answers into the log."""

    def __init__(self, model: Model, log: Log, oracle: Oracle) -> None:
        self._model = model
        self._log = log
        self._oracle = oracle

    @property
    def _thrifty(self) -> bool:
        """Whether a claim may wait for other answers to make it sure."""
        return self._model.sure_failures and self._model.enough > 0 and not self._log.doubted

    def fails(self, mask: int) -> bool:
        """Tell whether ``mask`` fails; asks only when the log does not know. If it does, a name will rest on it."""
        outcome = self._log.known(mask)
        if outcome is None:
            outcome = self.claimed([mask])[0]
        return outcome is Outcome.FAIL

    def confirmed(self, masks: Sequence[int]) -> list[Outcome]:
        """Return direct answers on which a claim may rest."""
        return self.ask([Question(mask, claim=True, sure=True) for mask in masks])

    def claimed(self, masks: Sequence[int]) -> list[Outcome]:
        """Return direct answers on which a claim will rest, made sure now where other answers cannot do so later."""
        return self.ask([self.claim(mask) for mask in masks])

    def claim(self, mask: int) -> Question:
        """Return the question whose answer a claim will rest on."""
        return Question(mask, claim=True, sure=not self._thrifty)

    def direct(self, masks: Sequence[int]) -> list[Outcome]:
        """Return direct answers that steer the search."""
        return self.ask([Question(mask) for mask in masks])

    def ask(self, questions: Sequence[Question]) -> list[Outcome]:
        """Answer by direct observation, asking in one batch what is not in the log.

        Raises Contradiction or Changed after everything was recorded.
        """
        steady = self.observe(questions)
        if not steady:
            raise Changed
        clash = self._log.contradiction()
        if clash:
            raise Contradiction(*clash)
        return [self._answer(one.mask) for one in questions]

    def observe(self, questions: Sequence[Question]) -> bool:
        """Do what ``ask`` does but raise nothing; return False when an answer changed.

        Once one did, every question is asked with ``confirm``: an unconfirmed PASS means little then.
        """
        wanted: dict[int, Query] = {}
        for one in questions:
            sure = one.sure or self._log.unsteady
            if self._log.seen(one.mask, confirmed=sure) is None:
                # Where one more passing answer makes it sure, one is asked for.
                repeated = sure and not (self._thrifty and self._log.backing(one.mask) + 1 >= self._model.enough)
                wanted[one.mask] = self._query(one, repeated or self._log.unsteady)
        if not wanted:
            return True
        answers = self._oracle(list(wanted.values()))
        results = [self._log.record(mask, outcome, confirmed=query.confirm)
                   for (mask, query), outcome in zip(wanted.items(), answers, strict=True)]
        return all(results)

    def look(self, mask: int) -> Outcome:
        """Return the answer for exactly ``mask`` while monotonicity is in doubt."""
        self.observe([Question(mask)])
        return self._answer(mask)

    def _answer(self, mask: int) -> Outcome:
        outcome = self._log.seen(mask)
        if outcome is None:  # pragma: no cover - ask() has just recorded it
            raise AssertionError(mask)
        return outcome

    def _query(self, question: Question, confirm: bool) -> Query:
        role = Role.CERTIFICATE if question.claim else Role.SEARCH
        return Query(frozenset(self._model.names(question.mask)), role, confirm)
