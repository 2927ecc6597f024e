"""Behind a certificate that names rules: the narrowest exemption from each that a probe shows to be enough."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence

from wpaudit.commands.trial import CONFIRMATIONS
from wpaudit.commands.trial import Trial
from wpaudit.domain import Exemption
from wpaudit.domain import Kind
from wpaudit.domain import Outcome
from wpaudit.domain import Role
from wpaudit.domain import Suspect
from wpaudit.errors import Inconclusive
from wpaudit.ports import Switcher

MOST = 8  # rules of a fix; behind more of them stands a score, and one would rather look at the request


class Exempting:
    """Tries exemptions in the place of the rules of one fix. ``theme``: with the theme replaced, as in the search."""

    def __init__(
        self, trial: Trial, switcher: Switcher, fix: Sequence[Suspect], *, parallel: int, theme: bool = False,
    ) -> None:
        self._trial = trial
        self._switcher = switcher
        self._fix = frozenset(one.id for one in fix)
        self._rules = tuple(one.id for one in fix if one.kind is Kind.RULE)
        self._parallel = parallel
        self._theme = theme

    def proven(self) -> tuple[Exemption, ...]:
        """Return one exemption for each rule that has one; together they do what the fix does. () is no news."""
        if not 0 < len(self._rules) <= MOST:
            return ()
        offered: dict[str, list[Exemption]] = {}
        for one in self._switcher.exemptions(frozenset(self._rules)):
            offered.setdefault(one.rule, []).append(one)
        try:
            return self._narrowest(offered)
        except Inconclusive:  # the budget is spent, say: what is named is named all the same
            return ()

    def _narrowest(self, offered: Mapping[str, Sequence[Exemption]]) -> tuple[Exemption, ...]:
        first = {rule: found[0] for rule, found in offered.items()}
        if not first:
            return ()
        if self._enough(first):
            return tuple(first.values())
        chosen: dict[str, Exemption] = {}
        for rule, found in offered.items():
            left = found if len(offered) > 1 else found[1:]  # that of a single rule was just tried
            one = next((one for one in left if self._enough({rule: one})), None)
            if one is not None:
                chosen[rule] = one
        return tuple(chosen.values()) if len(chosen) < 2 or self._enough(chosen) else ()  # noqa: PLR2004 - one was tried

    def _enough(self, chosen: Mapping[str, Exemption]) -> bool:
        off = (self._fix - chosen.keys()) | {one.id for one in chosen.values()}
        seen = self._trial.steady(
            self._switcher, off, Role.CERTIFICATE, times=CONFIRMATIONS, parallel=self._parallel, theme=self._theme)
        return seen.outcome is Outcome.PASS
