"""What was seen, sorted by what the rules ask for. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median

from wpaudit.facts import HostState
from wpaudit.facts import Look
from wpaudit.facts import Pool
from wpaudit.facts import Purpose
from wpaudit.facts import Rate
from wpaudit.facts import Seen
from wpaudit.facts import State
from wpaudit.triage import rate as rates
from wpaudit.triage.faults import ELSEWHERE
from wpaudit.triage.faults import PAGES
from wpaudit.triage.faults import Fault
from wpaudit.triage.faults import fails
from wpaudit.triage.faults import fault
from wpaudit.triage.fields import cached
from wpaudit.triage.fields import cdn

HERE = 'here'
_ENOUGH = 0.05  # good looks count in full when a site that fails as often would show so many in a row so seldom
_LEAST_SHARE = 0.05
_NO_CONTACT = frozenset({'dns', 'refused', 'timeout', 'tls'})


@dataclass(frozen=True)
class Scene:
    """``Seen`` with the questions that several rules ask of it."""

    seen: Seen

    @cached_property
    def plain(self) -> tuple[Look, ...]:
        """The looks whose failures are counted: plain refreshes from here, or the next best that there is."""
        for chosen in (self.of(Purpose.REFRESH), self._outside(HERE), self._outside(), self.seen.looks):
            if chosen:
                return chosen
        return ()

    @cached_property
    def failing(self) -> tuple[Look, ...]:
        """The failing ones; when none of the plain ones fails, the other pages that do."""
        bad = tuple(look for look in self.plain if fails(look))
        special = {Fault.NONE, Fault.BLOCKED}
        return bad or tuple(look for look in self._outside(HERE) if fault(look.answer) not in special)

    @cached_property
    def served(self) -> tuple[Look, ...]:
        """The plain looks that no cache answered, as far as that shows."""
        return tuple(look for look in self.plain if not cached(look.answer))

    @cached_property
    def rate(self) -> Rate:
        """How often the plain looks fail."""
        return rates.rate(self.plain)

    @cached_property
    def state(self) -> State:
        """Whether the site fails. Failing for some visitors only is failing sometimes."""
        plain = rates.state(self.plain)
        return State.SOMETIMES if plain is State.HEALTHY and self.failing else plain

    def of(self, *purposes: Purpose, vantage: str = '') -> tuple[Look, ...]:
        """Return the looks of these purposes, from one vantage if asked."""
        return tuple(
            look for look in self.seen.looks
            if look.purpose in purposes and (not vantage or look.vantage == vantage)
        )

    def works(self, *purposes: Purpose) -> bool:
        """Were there such looks, and all of them good?"""
        return works(self.of(*purposes))

    def fails(self, *purposes: Purpose) -> bool:
        """Were there such looks, and one of them bad?"""
        return any(map(fails, self.of(*purposes)))

    def trust(self, good: Sequence[Look]) -> float:
        """Return how much it says (0..1) that these looks went well where the plain ones fail at their rate."""
        share = self.rate.value
        if not good or share <= 0.0:
            return 0.0
        if share >= 1.0:
            return 1.0
        return min(1.0, len(good) * math.log(1 - max(share, _LEAST_SHARE)) / math.log(_ENOUGH))

    def elsewhere(self) -> tuple[Look, ...]:
        """Return the looks that came to the site from other networks than ours.

        What a host sends to its own address never leaves it, so that counts only where nothing of ours arrives.
        """
        return tuple(
            look for look in self.seen.looks
            if (look.purpose in ELSEWHERE or (look.purpose in PAGES and look.vantage not in {HERE, 'host'}))
            and (look.purpose is not Purpose.HOST_PUBLIC or self.unreached or cdn(look.answer))
        )

    @cached_property
    def unreached(self) -> bool:
        """Did nothing that we sent get as far as a web server?"""
        bad = [look.answer for look in self.failing]
        connected = any(not (one.tcp_error or one.tls_error) for one in self.seen.handshakes if one.vantage == HERE)
        return bool(bad) and not connected and all(one.error in _NO_CONTACT for one in bad)

    @property
    def host(self) -> HostState | None:
        """How the host is."""
        return self.seen.host

    def pools(self) -> tuple[Pool, ...]:
        """Return the pools of the site; all of them when it is not known which serves it."""
        pools = self.host.pools if self.host else ()
        return tuple(pool for pool in pools if pool.serves_site) or (pools if len(pools) == 1 else ())

    @cached_property
    def php_hangs(self) -> bool:
        """Does php-fpm let its caller wait as well? Then a web server that does so is waiting for it."""
        looks = self.of(Purpose.FASTCGI)
        return bool(looks) and all(look.answer.error == 'timeout' for look in looks)

    def _outside(self, vantage: str = '') -> tuple[Look, ...]:
        return tuple(
            look for look in self.seen.looks
            if look.purpose in PAGES and (not vantage or look.vantage == vantage)
        )


def works(looks: Sequence[Look]) -> bool:
    """Were there looks, and all of them good?"""
    return bool(looks) and not any(map(fails, looks))


def seconds(looks: Sequence[Look]) -> float:
    """Return the typical time of ``looks``, 0 for none."""
    return median(look.answer.seconds for look in looks) if looks else 0.0
