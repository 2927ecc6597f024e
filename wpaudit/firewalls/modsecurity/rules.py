"""Rules of ModSecurity out of SecLang's pieces: one rule is one id, with everything that is chained to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace

from wpaudit.firewalls.modsecurity.seclang import Engine
from wpaudit.firewalls.modsecurity.seclang import Piece

Actions = tuple[tuple[str, str], ...]

DISRUPTIVE = frozenset({'allow', 'block', 'deny', 'drop', 'pass', 'proxy', 'redirect'})
PHASES = {'request': 2, 'response': 4, 'logging': 5}
LARGEST_ID = 2**31 - 1  # ModSecurity 2 keeps ids in an int
_DEFAULT_PHASE = 2
RULE_DIRECTIVES = {'secrule': 2, 'secaction': 0, 'secrulescript': 1}  # and how many words stand before their actions
# name, and behind a colon a value that is quoted or goes up to the next comma
_ACTION = re.compile(r"([^:,]*)(?::[ \t\r\n]*(?:'((?:[^'\\]+|\\.)*)'?[^,]*|([^,]*)))?(?:,|\Z)", re.DOTALL)
_QUOTED = re.compile(r"\\(['\"\\])")
_RANGES = re.compile(r'(\d{1,20})(?:-(\d{1,20}))?')


@dataclass(frozen=True)
class Located:
    """One piece and the file it stands in, as the host calls it."""

    path: str
    piece: Piece


@dataclass(frozen=True)
class Rule:
    """One rule. ``id`` is 0 when it has none that the engine could know it by; texts are the host's own, unchecked.

    ``action`` is its own disruptive action, ``''`` when it has none; ``status`` 0 when it says none.
    """

    id: int
    path: str
    first: int
    last: int
    phase: int = _DEFAULT_PHASE
    msg: str = ''
    severity: str = ''
    tags: tuple[str, ...] = ()
    action: str = ''
    status: int = 0
    chained: int = 0  # how many more conditions must hold


@dataclass(frozen=True)
class Default:
    """What ``SecDefaultAction`` says for one phase."""

    action: str = 'pass'
    status: int = 0


@dataclass(frozen=True)
class Ruleset:
    """What one configuration of an engine comes to. ``removed`` are the ids that are loaded and then taken out."""

    engine: Engine
    rules: tuple[Rule, ...] = ()
    defaults: Mapping[int, Default] = field(default_factory=dict)
    removed: frozenset[int] = frozenset()
    removals: tuple[tuple[int, int], ...] = ()  # all that SecRuleRemoveById names, whether there is such a rule or not
    mode: str = ''  # the last SecRuleEngine in small letters; '' when none is set, which is off
    mode_at: str = ''


def actions_of(text: str) -> Actions:
    """Take a list of actions apart: names in small letters, values without their quotes."""
    found = []
    for match in _ACTION.finditer(text):
        name = match[1].strip(' \t\r\n"').lower()
        value = _QUOTED.sub(r'\1', match[2]) if match[2] is not None else (match[3] or '').strip(' \t\r\n')
        if name:
            found.append((name, value))
    return tuple(found)


def ruleset(located: Sequence[Located], engine: Engine) -> Ruleset:
    """Return what these pieces come to, in the order in which the engine reads them."""
    rules = dict(_rules(located))
    defaults: dict[int, Default] = {}
    removed: set[int] = set()
    removals: list[tuple[int, int]] = []
    mode, mode_at = '', ''
    for at, one in enumerate(located):
        name, words = one.piece.name, one.piece.words[1:]
        if name == 'secdefaultaction' and words:
            phase, default = _default(actions_of(words[0]))
            defaults[phase] = default
        elif name == 'secruleremovebyid':
            ranges = _ranges(words)
            removals += ranges
            # ModSecurity 2 takes out what it has read so far, 3 keeps the id in mind (rules_exceptions.cc)
            so_far = [rule for start, rule in rules.items() if engine is Engine.V3 or start < at]
            removed |= {rule.id for rule in so_far if _within(rule.id, ranges)}
        elif name == 'secruleupdateactionbyid' and len(words) > 1:
            rules = {start: _updated(rule, words[0], words[1]) for start, rule in rules.items()}
        elif name == 'secruleengine' and words:
            mode, mode_at = words[0].lower(), f'{one.path}:{one.piece.first}'
    return Ruleset(engine, tuple(rules.values()), defaults, frozenset(removed), tuple(removals), mode, mode_at)


def _rules(located: Sequence[Located]) -> Iterator[tuple[int, Rule]]:
    """Yield each rule and where in ``located`` it begins."""
    head: Rule | None = None
    start = 0
    for at, one in enumerate(located):
        found = _actions(one.piece)
        if found is None:
            continue
        if head is None:
            head, start = _rule(one, found), at
        else:
            head = replace(head, chained=head.chained + 1, last=one.piece.last if one.path == head.path else head.last)
        if not any(name == 'chain' for name, _ in found):
            yield start, head
            head = None
    if head is not None:
        yield start, head


def _actions(piece: Piece) -> Actions | None:
    """Return the actions of a piece that is a rule, None for any other."""
    before = RULE_DIRECTIVES.get(piece.name)
    if before is None or len(piece.words) <= before:
        return None
    return actions_of(piece.words[before + 1]) if len(piece.words) > before + 1 else ()


def _rule(one: Located, actions: Actions) -> Rule:
    values = dict(actions)
    number = values.get('id', '')
    disruptive = [name for name, _ in actions if name in DISRUPTIVE]
    return Rule(
        id=_id(number), path=one.path, first=one.piece.first, last=one.piece.last, phase=_phase(values),
        msg=values.get('msg', ''), severity=values.get('severity', ''),
        tags=tuple(value for name, value in actions if name == 'tag'),
        action=disruptive[-1] if disruptive else '', status=_status(values),
    )


def _id(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 11 and int(text) <= LARGEST_ID else 0  # noqa: PLR2004 - digits of 2**31


def _phase(values: Mapping[str, str]) -> int:
    text = values.get('phase', '').lower()
    if text in PHASES:
        return PHASES[text]
    return int(text) if text in {'1', '2', '3', '4', '5'} else _DEFAULT_PHASE


def _status(values: Mapping[str, str]) -> int:
    text = values.get('status', '')
    return int(text) if text.isascii() and text.isdigit() and len(text) == 3 else 0  # noqa: PLR2004 - an HTTP status


def _default(actions: Actions) -> tuple[int, Default]:
    values = dict(actions)
    disruptive = [name for name, _ in actions if name in DISRUPTIVE]
    return _phase(values), Default(disruptive[-1] if disruptive else 'pass', _status(values))


def _ranges(words: Sequence[str]) -> list[tuple[int, int]]:
    """Return what ``SecRuleRemoveById`` with these words means: ids and ranges between blanks or commas."""
    return [(int(low), int(high or low)) for word in words for low, high in _RANGES.findall(word)]


def _within(number: int, ranges: Sequence[tuple[int, int]]) -> bool:
    return any(low <= number <= high for low, high in ranges)


def _updated(rule: Rule, which: str, text: str) -> Rule:
    if which != str(rule.id):
        return rule
    actions = actions_of(text)
    disruptive = [name for name, _ in actions if name in DISRUPTIVE]
    return replace(
        rule, action=disruptive[-1] if disruptive else rule.action, status=_status(dict(actions)) or rule.status,
    )
