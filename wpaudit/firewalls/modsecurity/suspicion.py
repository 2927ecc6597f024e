"""Which rules of ModSecurity may be what makes a site fail, and which only work behind the scenes."""

from __future__ import annotations

from dataclasses import dataclass

from wpaudit.firewalls.modsecurity.rules import Default
from wpaudit.firewalls.modsecurity.rules import Rule
from wpaudit.firewalls.modsecurity.rules import Ruleset
from wpaudit.firewalls.modsecurity.seclang import Engine

# The Core Rule Set's own machinery: the set-up that people edit, and the files 901, 949, 959 and 980. They add up and
# judge what other rules have found; without them nothing else works either.
MACHINERY = ((900_000, 901_999), (949_000, 949_999), (959_000, 959_999), (980_000, 980_999))
BLOCKING = frozenset({'block', 'deny', 'drop', 'proxy', 'redirect'})


@dataclass(frozen=True)
class Standing:
    """Whether a rule is a suspect, and why or why not: what follows the word "it"."""

    suspect: bool
    reason: str


def standing(rule: Rule, within: Ruleset) -> Standing:
    """Judge one rule of a rule set by what it says itself.

    ``block`` is a suspect whatever ``SecDefaultAction`` makes of it: with anomaly scores it passes, and blocks together
    with others.
    """
    innocent = _innocence(rule, within)
    if innocent:
        return Standing(False, innocent)
    if rule.action:
        return Standing(rule.action in BLOCKING, f'says {rule.action}')
    # Only ModSecurity 2 gives a rule without an action that of SecDefaultAction (msre_actionset_merge); 3 lets it pass.
    inherited = within.defaults.get(rule.phase, Default()).action if within.engine is Engine.V2 else 'pass'
    return Standing(inherited in BLOCKING, f'has no action of its own, and {inherited} is what it inherits')


def _innocence(rule: Rule, within: Ruleset) -> str:
    """Say why a rule is none whatever it does, '' when nothing speaks for it."""
    if not rule.id:
        return 'has no id, so nothing can switch it'
    if any(low <= rule.id <= high for low, high in MACHINERY):
        return 'adds up what other rules of the Core Rule Set have found'
    if rule.id in within.removed:
        return 'is taken out by SecRuleRemoveById'
    return ''


def suspects(within: Ruleset) -> tuple[Rule, ...]:
    """Return the suspects of a rule set, in its order."""
    return tuple(rule for rule in within.rules if standing(rule, within).suspect)
