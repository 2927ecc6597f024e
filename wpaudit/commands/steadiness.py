"""How reliably a failure shows, and what follows for the probes. Pure.

A set that fails once does fail. One that passes may have been lucky, so with an unsteady failure "it passes" needs many
passes in a row. How many depends on the share of failing requests, which is itself known only from those made.
The requests are taken as independent; that a failure does not simply stop is checked at the end of a run.
"""

from __future__ import annotations

from dataclasses import dataclass

from wpaudit.errors import Unsteady

LONGEST = 80  # passes in a row that a set may be asked for


@dataclass(frozen=True)
class Steadiness:
    """``failed`` of ``made`` requests with everything on failed; ``confidence`` is wanted of every claim."""

    failed: int
    made: int
    confidence: float

    @property
    def steady(self) -> bool:
        """Whether the failure has never been missed."""
        return self.failed == self.made

    def luck(self, passes: int) -> float:
        """Return the probability that a set which does fail passes ``passes`` times in a row.

        It is the mean of (1 - p)^passes over what is known of p: a beta distribution from Jeffreys' prior.
        """
        chance = 1.0
        for number in range(passes):
            chance *= (self.made - self.failed + 0.5 + number) / (self.made + 1.0 + number)
        return chance

    def passes(self) -> int:
        """Return how many passes in a row make "it passes" as sure as wanted. Raises Unsteady when too many."""
        for passes in range(1, LONGEST + 1):
            if self.luck(passes) <= 1 - self.confidence:
                return passes
        raise Unsteady(
            f'only {self.failed} of {self.made} requests failed, too few to tell a plugin that helps from luck',
            hint='probe a page that fails more often (--probe), or be content with less (--confidence 0.9)',
        )
