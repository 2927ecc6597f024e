"""Find every minimal conflict, prove it, and learn from what does not fit.

The loop is the duality of minimal conflicts and minimal fixes (MARCO: Liffiton, Previti, Malik and
Marques-Silva 2016): switch off one suspect of every conflict found so far, in each minimal way; where the
site still fails there is another conflict, and when it passes in all those ways there is none.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence

from wpaudit.domain import Outcome
from wpaudit.engine.certificate import Writer
from wpaudit.engine.certificate import beyond_doubt
from wpaudit.engine.certificate import certified
from wpaudit.engine.certificate import conflict_questions
from wpaudit.engine.certificate import doubts
from wpaudit.engine.contract import Finding
from wpaudit.engine.contract import Oracle
from wpaudit.engine.contract import Problem
from wpaudit.engine.desk import Contradiction
from wpaudit.engine.desk import Desk
from wpaudit.engine.desk import Foreign
from wpaudit.engine.desk import Question
from wpaudit.engine.desk import Surprise
from wpaudit.engine.desk import Unresolved
from wpaudit.engine.hitting import MAX_FIXES
from wpaudit.engine.hitting import minimal
from wpaudit.engine.hitting import ways_off
from wpaudit.engine.log import Log
from wpaudit.engine.model import Model
from wpaudit.engine.repair import Repairer
from wpaudit.engine.repair import comparable
from wpaudit.engine.repair import passes
from wpaudit.engine.shrink import KARY_FROM
from wpaudit.engine.shrink import Shrinker

MAX_REPAIRS = 12   # dependencies learned; more would be guessing
MAX_RESTARTS = 60  # ... and answers that changed
STOPPED = 'The search was stopped before it could prove that nothing else is involved.'


class Search:
    """One search. When the oracle raises, ``best`` and ``suspicion`` still tell what is known.

    ``known`` holds the two baselines (everything on, everything off) and may hold more; what is in it is
    never asked again.

    Guarantee: search answers choose the way, but every conflict and every fix of the finding rests on direct
    answers asked with ``confirm``. With an oracle that raises when repetitions disagree and whose confirmed
    PASS is wrong with probability at most d, a name is wrong with probability at most d times the number of
    PASS claims. An unsteady FAIL can be missed by the search only by ending in a contradiction, in an
    incomplete finding, or in a confirmed wrong PASS.
    """

    def __init__(self, problem: Problem, oracle: Oracle, *, known: Mapping[frozenset[str], Outcome]) -> None:
        self._model = Model(problem)
        self._log = Log(self._model)
        for ids, outcome in known.items():
            # "Everything off" may come without what is pinned, which cannot be off.
            self._log.record(self._model.mask(ids) or self._model.base, outcome, confirmed=True)
        self._desk = Desk(self._model, self._log, oracle)
        self._shrinker = Shrinker(self._model, self._log, self._desk, problem.parallel, problem.partners)
        self._repairer = Repairer(self._model, self._log, self._desk)
        self._width = problem.parallel if problem.parallel >= KARY_FROM else 1
        self._conflicts: list[int] = []
        self._restarts = 0
        self._repairs = 0

    def run(self) -> Finding:
        """Search to the end. Whatever the oracle raises passes through unchanged."""
        try:
            self._baselines()
            while True:
                try:
                    return self._attempt()
                except Surprise as surprise:
                    self._restarts += 1
                    self._repair(surprise)
        except Unresolved as reason:
            return self._partial(str(reason))

    def best(self) -> Finding:
        """Return the conflicts and fixes proven so far, as an incomplete finding.

        That a conflict fails for its own sake, and not for want of something undeclared, is checked at the
        end of a search only; the claims are true as they stand.
        """
        return self._partial(STOPPED)

    def suspicion(self) -> tuple[str, ...]:
        """Return the smallest set known to hold a member of a conflict not yet proven; empty when none is left."""
        return self._model.names(self._log.suspicion(self._proven()))

    def probes_left(self) -> int:
        """Estimate, on the high side, how many probes are still to come when one more conflict is to be found."""
        return halvings(len(self.suspicion())) + 2

    def _proven(self) -> list[int]:
        return [u for u in self._conflicts if certified(self._model, self._log, u)]

    def _partial(self, reason: str) -> Finding:
        """Return what is proven; more strictly when this site has surprised, hence is not plainly monotone.

        A suspect that fails only for want of something undeclared looks like a culprit until it is seen to
        make no difference with everything else on.
        """
        proven = self._proven()
        offs = ways_off(self._model, proven)[0] if proven else []
        if self._restarts:
            needed = {off: beyond_doubt(self._model, self._log, off) for off in offs}
            sure = functools.reduce(int.__or__, needed.values(), 0)
            proven = [u for u in proven if self._model.tops(u) & ~sure == 0 and not self._log.passes_around(u)]
            offs = [off for off in offs if needed[off] == self._model.roots(off)]
        return Writer(self._model, self._log).finding(proven, offs, reason)

    def _baselines(self) -> None:
        on, off = self._desk.confirmed([self._model.everything, self._model.base])
        if on is not Outcome.FAIL:
            raise Unresolved('The failure does not occur with every suspect on.')
        if off is not Outcome.PASS:
            raise Unresolved('The failure does not go away with every suspect off.')

    def _attempt(self) -> Finding:
        """Go from nothing to a complete finding, with all that the log holds for free."""
        self._conflicts = self._proven()
        while True:
            offs, whole = ways_off(self._model, self._conflicts)
            failing = self._still_failing(offs)
            if failing is None:
                break
            self._add(self._shrinker.conflict_in(failing, found=len(self._conflicts)))
        self._settle_doubts(offs)
        self._settle_claims(offs)
        limit = f'The fixes were verified, but there are more than {MAX_FIXES}; not all were looked at.'
        return Writer(self._model, self._log).finding(self._conflicts, offs, '' if whole else limit)

    def _still_failing(self, offs: Sequence[int]) -> int | None:
        """Return a set that fails although each conflict found has a member off; None when all pass."""
        masks = [self._model.everything & ~off for off in offs]
        for mask in masks:
            if self._log.known(mask) is Outcome.FAIL:
                return mask
        left = [mask for mask in masks if not self._log.works(mask)]
        # Several fixes back one another; a single one has nothing around it.
        asked = self._desk.claimed if len(masks) > 1 else self._desk.confirmed
        for start in range(0, len(left), self._width):
            batch = left[start:start + self._width]
            for mask, outcome in zip(batch, asked(batch), strict=True):
                if outcome is Outcome.FAIL:
                    return mask
                if outcome is not Outcome.PASS:
                    raise Foreign(mask)
        return None

    def _add(self, conflict: int) -> None:
        """Prove ``conflict`` minimal and keep it, or the smaller one inside that its proof reveals."""
        while True:
            without = conflict_questions(self._model, conflict)
            outcomes = self._desk.claimed([conflict, *without, *self._next_complements(conflict)])
            answers = dict(zip(without, outcomes[1:], strict=False))
            smaller = next((mask for mask, outcome in answers.items() if outcome is Outcome.FAIL), None)
            if smaller is None:
                break
            conflict = self._shrinker.conflict_in(smaller, found=len(self._conflicts))
        for mask in (conflict, *without):
            if not comparable(self._desk.claimed([mask])[0]):
                raise Foreign(mask)
        self._conflicts = minimal([*self._conflicts, conflict])

    def _next_complements(self, conflict: int) -> list[int]:
        """Return what will be asked next anyway, for sites that answer several probes at once."""
        if self._width == 1:
            return []
        offs, _ = ways_off(self._model, [*self._conflicts, conflict])
        return [self._model.everything & ~off for off in offs[:self._width]]

    def _settle_doubts(self, offs: Sequence[int]) -> None:
        """Make sure that every accused suspect makes a difference with everything else on."""
        masks = [self._model.everything & ~off for off in doubts(self._model, self._log, offs)]
        for mask, outcome in zip(masks, self._desk.direct(masks), strict=True):
            if not comparable(outcome):
                raise Foreign(mask)

    def _settle_claims(self, offs: Sequence[int]) -> None:
        """Ask again what nothing else has made sure by now."""
        for conflict in self._conflicts:
            self._desk.confirmed([conflict, *conflict_questions(self._model, conflict)])
        masks = [self._model.everything & ~off for off in offs]
        self._desk.confirmed([mask for mask in masks if not self._log.works(mask)])

    def _repair(self, surprise: Surprise) -> None:
        """Ask again what surprised; what still does is explained by a dependency."""
        if self._restarts > MAX_RESTARTS:
            raise Unresolved('The same sets of suspects keep giving different answers.')
        self._log.doubted = True
        if isinstance(surprise, Contradiction):
            self._desk.observe([Question(mask, claim=True, sure=True) for mask in (surprise.failing, surprise.passing)])
            if self._log.contradiction() == (surprise.failing, surprise.passing):
                self._explain(surprise.failing, passes)
        elif isinstance(surprise, Foreign):
            self._desk.observe([Question(surprise.mask, claim=True, sure=True)])
            if not comparable(self._desk.look(surprise.mask)):
                self._explain(surprise.mask, comparable)

    def _explain(self, bad: int, good: Callable[[Outcome], bool]) -> None:
        if self._repairs == MAX_REPAIRS:
            raise Unresolved(f'The answers still contradict one another after {MAX_REPAIRS} explanations.')
        self._repairs += 1
        self._repairer.explain(bad, good)


def search(problem: Problem, oracle: Oracle, *, known: Mapping[frozenset[str], Outcome]) -> Finding:
    """Find the minimal conflicts and fixes of ``problem`` with as few probes as the structure allows."""
    return Search(problem, oracle, known=known).run()


def halvings(count: int) -> int:
    """Return how often ``count`` candidates must be halved until one is left."""
    return math.ceil(math.log2(count)) if count > 1 else 0


def probes_left(problem: Problem) -> int:
    """Estimate, on the high side, how many probes a single culprit takes: for progress before the first one."""
    return halvings(len(problem.items)) + 3
