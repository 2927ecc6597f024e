"""What to paste so that a rule lets one's own requests pass: the narrowest exception first."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from wpaudit.firewalls.modsecurity.rules import LARGEST_ID

# Both are put between quotes, where blanks, quotes, backslashes and %{macros} would have a meaning of their own.
_PATH = re.compile(r'/[A-Za-z0-9/_.~@=+-]{0,1000}')
_VARIABLE = re.compile(r'(?:ARGS|ARGS_GET|ARGS_POST|REQUEST_COOKIES|REQUEST_HEADERS|FILES):[A-Za-z0-9_.-]{1,200}')


class Stands(StrEnum):
    """Where an exception has to stand."""

    BEFORE = 'before the rule'
    AFTER = 'after the rule'


@dataclass(frozen=True)
class Remedy:
    """One exception: what it lets pass, the line to paste, and where."""

    effect: str
    text: str
    stands: Stands


def is_plain(variable: str) -> bool:
    """Tell whether an exception can be written for what matched."""
    return _VARIABLE.fullmatch(variable) is not None


def remedies(rule: int, *, path: str, variable: str, own_id: int) -> tuple[Remedy, ...]:
    """Return exceptions from ``rule`` for requests to ``path`` (without its query), narrowest first.

    ``variable`` is what matched (``Hit.variable``), ``own_id`` an id that no rule has. What cannot be written without
    doubt is left out: a path or a variable with other characters than plain ones. ValueError for ids out of range.
    """
    if not (0 < rule <= LARGEST_ID and 0 < own_id <= LARGEST_ID) or rule == own_id:
        raise ValueError('an id is out of range')
    found = []
    if _PATH.fullmatch(path):
        condition = f'SecRule REQUEST_FILENAME "@streq {path}" "id:{own_id},phase:1,t:none,pass,nolog'
        if _VARIABLE.fullmatch(variable):
            found.append(Remedy(
                f'rule {rule} no longer looks at {variable} in requests to {path}',
                f'{condition},ctl:ruleRemoveTargetById={rule};{variable}"', Stands.BEFORE,
            ))
        found.append(Remedy(
            f'rule {rule} no longer looks at requests to {path}',
            f'{condition},ctl:ruleRemoveById={rule}"', Stands.BEFORE,
        ))
    found.append(Remedy(f'rule {rule} is off for the whole site', f'SecRuleRemoveById {rule}', Stands.AFTER))
    return tuple(found)
