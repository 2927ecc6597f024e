"""Finding one small failing set inside a failing set.

The members are found one at a time. Suspects stand in a chain; the first prefix of it that fails (together
with the members found before) ends with a member. That place is found by a search that halves not the
chain but the probability of the place (Gilbert and Moore 1959), so that a suspect named by evidence is tried first.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from itertools import accumulate

from wpaudit.domain import Outcome
from wpaudit.engine.desk import Desk
from wpaudit.engine.desk import Foreign
from wpaudit.engine.desk import Question
from wpaudit.engine.log import Log
from wpaudit.engine.model import Model
from wpaudit.engine.model import bits

Partners = Callable[[str], Mapping[str, float]]

MORE_MEMBERS = 0.3    # prior chance of one more member of a conflict
MORE_CONFLICTS = 0.4  # prior chance of one more conflict
LAST_CANDIDATES = 3   # so few left: ask what the certificate needs anyway
NAMED_SHARE = 0.5     # of the probability: evidence names this suspect
MAX_BLIND = 2         # prefixes answered OTHER in one search before their reason is looked for
KARY_FROM = 3         # fewer probes at once: plain halving, which needs the fewest probes


def place_distribution(weights: Sequence[float], more_members: float, more_conflicts: float) -> list[float]:
    """Return P(the first failing prefix ends within the first j suspects) for j = 0, 1, ..., len(weights).

    All k missing members of a conflict lie in a prefix of mass W with probability W^k, and some of m conflicts
    lies in it with 1 - (1 - that)^m. With geometrically distributed k and m both sums have a closed form, which
    is the same however many members were found before.
    """
    total = sum(weights)
    result = []
    for prefix in accumulate(weights, initial=0.0):
        one = (1 - more_members) * (prefix / total) / (1 - more_members * (prefix / total))
        none = (1 - more_conflicts) * (1 - one) / (1 - more_conflicts * (1 - one))
        result.append(1 - none)
    return result


def cuts(places: Sequence[float], low: int, high: int, count: int, blind: set[int]) -> list[int]:
    """Choose up to ``count`` places strictly between ``low`` and ``high`` that split the probability evenly."""
    free = [j for j in range(low + 1, high) if j not in blind]
    if len(free) <= count:
        return free
    span = places[high] - places[low]
    chosen: set[int] = set()
    for part in range(1, count + 1):
        target = places[low] + span * part / (count + 1)
        chosen.add(min((j for j in free if j not in chosen), key=lambda j: abs(places[j] - target)))
    return sorted(chosen)


class Shrinker:
    """Finds a small failing set; ``parallel`` probes per round when that is 3 or more."""

    def __init__(self, model: Model, log: Log, desk: Desk, parallel: int, partners: Partners) -> None:
        self._model = model
        self._log = log
        self._desk = desk
        self._advice = Advice(model, partners)
        self._width = parallel if parallel >= KARY_FROM else 1
        self._paired = parallel > 1

    def conflict_in(self, failing: int, *, found: int) -> int:
        """Return a failing closed subset of ``failing``; ``found`` conflicts are known already.

        It is minimal when every answer was FAIL or PASS and monotone; certification checks that.
        """
        hunt = Hunt(self._model, self._log, self._desk, self._advice, failing, found=found, width=self._width)
        if not found and failing == self._model.everything:
            hunt.try_the_named(paired=self._paired)
        while not self._desk.fails(hunt.chosen):
            hunt.next_member()
        return hunt.chosen


class Advice:
    """Who may have a part in it with a suspect: asked once a suspect, and kept."""

    def __init__(self, model: Model, partners: Partners) -> None:
        self._model = model
        self._partners = partners
        self._asked = model.base

    def about(self, suspects: int) -> int:
        """Let the model know of the likely partners of ``suspects``; return those that are new."""
        new = suspects & ~self._asked
        self._asked |= suspects
        found = 0
        for i in bits(new):
            found |= self._model.weigh(self._partners(self._model.items[i]))
        return found


class Hunt:
    """One run through a failing set: the members ``chosen`` so far and the chain that holds the rest."""

    def __init__(
        self, model: Model, log: Log, desk: Desk, advice: Advice, failing: int, *, found: int, width: int,
    ) -> None:
        self._model = model
        self._log = log
        self._desk = desk
        self._advice = advice
        self._failing = failing
        self._found = found
        self._width = width
        self._unique: bool | None = None  # is a chosen suspect in every conflict inside ``failing``?
        self.chosen = model.base
        self._chain = self._ordered()

    def _ordered(self) -> list[int]:
        passing = self._log.passing_inside(self._failing)
        return self._model.ranked(passing & ~self._model.base) + self._model.ranked(self._failing & ~passing)

    def try_the_named(self, *, paired: bool) -> None:
        """Ask for the suspect that evidence names, alone; should it pass, ask with whom it may fail.

        ``paired``: two probes may be made at once. Then the site without it is asked for beside it, most probably the
        next question, which saves a round trip. Should the evidence be wrong, it costs one probe.
        """
        named = self._chain[0]
        if self._model.share[named] < NAMED_SHARE:
            return
        alone, rest = self._model.base | self._model.up[named], self._failing & ~self._model.below(1 << named)
        questions = [self._desk.claim(alone)]
        if paired and rest != self._model.base:
            questions.append(Question(rest, claim=True, sure=True))
        if self._desk.ask(questions)[0] is Outcome.PASS and self._log.known(rest) is not Outcome.FAIL:
            self._advice.about(1 << named)
            self._chain = self._ordered()

    def next_member(self) -> None:
        """Move one more suspect from the chain to ``chosen``, so that together they still fail."""
        if self.chosen != self._model.base:
            if self._unique is None and self._width == 1:
                self._unique = self._passes_without(self.chosen & ~self._model.base)
            self._ask_for_partners()
        low, high = self._narrowed()
        candidates = self._chain[low:high]
        member = candidates[0] if len(candidates) == 1 else self._last_of(candidates)
        # A candidate that was passed over most likely does not matter: in front it is in every prefix.
        rest = [i for i in candidates if i != member] + self._chain[:low]
        self.chosen |= self._model.up[member]
        self._chain = [i for i in rest if not self.chosen >> i & 1]

    def _ask_for_partners(self) -> None:
        """Put who is likely to belong to those that were chosen in front, where it is not settled who does."""
        low, high = self._bounds(self._prefixes())
        if high - low > 1:
            likely = self._advice.about(self._model.tops(self.chosen)) & self._model.mask_of(self._chain)
            self._chain = self._model.ranked(likely) + [i for i in self._chain if not likely >> i & 1]

    def _last_of(self, candidates: Sequence[int]) -> int:
        """Choose among the last candidates by probes that a certificate needs, whatever they say."""
        if self.chosen == self._model.base:
            for i in candidates:
                if self._desk.fails(self.chosen | self._model.up[i]):
                    return i
        return next((i for i in candidates[:-1] if self._passes_without(1 << i)), candidates[-1])

    def _passes_without(self, suspects: int) -> bool:
        mask = self._failing & ~self._model.below(suspects)
        return self._desk.claimed([mask])[0] is Outcome.PASS

    def _prefixes(self) -> list[int]:
        return list(accumulate((self._model.up[i] for i in self._chain), int.__or__, initial=self.chosen))

    def _narrowed(self) -> tuple[int, int]:
        """Return low < high: the first ``high`` of the chain make it fail, the first ``low`` do not.

        They are one apart, or so close that ``_last_of`` takes fewer probes.
        """
        prefixes = self._prefixes()
        places = self._places()
        low, high = self._bounds(prefixes)
        blind: set[int] = set()
        while high - low > 1 and not self._ends_early(high - low, blind):
            picks = cuts(places, low, high, self._width, blind)
            if not picks or len(blind) > MAX_BLIND * self._width:
                raise Foreign(prefixes[min(blind)])
            masks = self._with_singles([prefixes[j] for j in picks], self._chain[low:high])
            # The first prefix adds a single suspect: should it fail, a name will rest on that answer.
            questions = [self._desk.claim(mask) if mask == prefixes[1] else Question(mask) for mask in masks]
            self._desk.ask(questions)
            blind.update(j for j in picks if self._log.seen(prefixes[j]) not in (Outcome.FAIL, Outcome.PASS))
            low, high = self._bounds(prefixes)
            blind = {j for j in blind if low < j < high}
        return low, high

    def _ends_early(self, candidates: int, blind: set[int]) -> bool:
        """Tell whether so few are left that ``_last_of`` takes over.

        It pays where its guess is good: a single suspect after other conflicts were found, the more the
        surer; or another member of the only conflict.
        """
        if self._width > 1 or blind:
            return False
        if self.chosen == self._model.base:
            return self._found > 0 and candidates <= min(self._found + 1, LAST_CANDIDATES)
        return self._unique is True and candidates <= LAST_CANDIDATES

    def _places(self) -> list[float]:
        weights = [self._model.share[i] for i in self._chain]
        return place_distribution(weights, MORE_MEMBERS, 0.0 if self._unique else MORE_CONFLICTS)

    def _bounds(self, prefixes: Sequence[int]) -> tuple[int, int]:
        known = [self._log.known(prefix) for prefix in prefixes]
        high = next(j for j, outcome in enumerate(known) if outcome is Outcome.FAIL)
        low = max((j for j in range(high) if known[j] is Outcome.PASS), default=0)
        return low, high

    def _with_singles(self, masks: list[int], candidates: Sequence[int]) -> list[int]:
        """Add each remaining candidate alone when the round has room: one of them often is the answer."""
        if len(masks) + len(candidates) > self._width:
            return masks
        return masks + [self.chosen | self._model.up[i] for i in candidates]
