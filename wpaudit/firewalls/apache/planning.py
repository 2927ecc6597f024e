"""Which rules of a site's files can be switched together, and the texts that make it so. Pure."""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace

from wpaudit.domain import Gap
from wpaudit.firewalls.apache import redirects
from wpaudit.firewalls.apache.reader import read
from wpaudit.firewalls.apache.swap import Change
from wpaudit.firewalls.apache.units import TOO_MANY
from wpaudit.firewalls.apache.units import Key
from wpaudit.firewalls.apache.units import LiveKey
from wpaudit.firewalls.apache.units import Sort
from wpaudit.firewalls.apache.units import Unit
from wpaudit.firewalls.apache.wrapper import Around
from wpaudit.firewalls.apache.wrapper import numbered
from wpaudit.firewalls.apache.wrapper import wrapped

MOST_NUMBERS = 1_300  # in one header field of at most 8,190 bytes (LimitRequestFieldSize)
ANY_KEY = Key('0' * 16, '0' * 14)  # for asking what could be switched
_SPLIT = 'a file above or below it has lists of its own, and cannot be replaced'
_LISTS = (Sort.DENY, Sort.SETENVIF)


@dataclass(frozen=True)
class RuleFile:
    """One file with rules. ``server``: a vhost file, whose changes count only after a graceful reload."""

    path: str
    text: str
    server: bool = False
    units: tuple[Unit, ...] = ()
    stuck: str = ''  # why it cannot be replaced for a while


@dataclass(frozen=True)
class Planned:
    """What a run would put in place: new texts, numbers for the header by rule, and why some rules have none."""

    changes: tuple[Change, ...]
    numbers: Mapping[str, int]
    refused: Mapping[str, str]


def planned(files: Sequence[RuleFile], key: Key) -> Planned:
    """Wrap all files that can be replaced, together."""
    movable = [file for file in files if not file.stuck]
    if any(_needed(file, movable) for file in files if file.stuck):
        movable = [replace(file, units=tuple(one for one in file.units if one.sort not in _LISTS)) for file in movable]
    changes: list[Change] = []
    numbers: dict[str, int] = {}
    refused = {f'{file.path}:{unit.line}': _SPLIT for file in files if not file.stuck for unit in file.units}
    for file in movable:
        own = numbered(file.units[:MOST_NUMBERS - len(numbers)], len(numbers) + 1)
        done = wrapped(file.text, own, key, around(movable, file, beside=files))
        why = dict.fromkeys((unit.line for unit in file.units), TOO_MANY) | {one.line: one.why for one in done.refusals}
        refused |= {f'{file.path}:{line}': why[line] for line in why if line not in done.able}
        numbers |= {f'{file.path}:{line}': own[line] for line in own if line in done.able}
        if done.text != file.text:
            changes.append(Change(file.path, file.text, done.text))
    return Planned(tuple(changes), numbers, {rule: why for rule, why in refused.items() if rule not in numbers})


def live(files: Sequence[RuleFile], off: Collection[str], expires: str) -> dict[str, str]:
    """Return the texts in which exactly these rules are off for everybody until ``expires``, by path."""
    chosen = [
        replace(file, units=tuple(one for one in file.units if f'{file.path}:{one.line}' in off)) for file in files
    ]
    return {one.path: one.new for one in planned(chosen, LiveKey(expires=expires)).changes}


def _needed(file: RuleFile, movable: Sequence[RuleFile]) -> bool:
    """Tell whether a file that stays would have to be wrapped as well, for its lists to count for the tester."""
    along = around([*movable, file], file)
    return along.denies and wrapped(file.text, {}, ANY_KEY, replace(along, redirects=False)).text != file.text


def around(files: Sequence[RuleFile], file: RuleFile, *, beside: Sequence[RuleFile] = ()) -> Around:
    """Say what wrapping one of these files has to know of the others, and of those ``beside`` that are not wrapped.

    A run that wraps one file has to wrap them all, those without units too: ``Allow`` and ``Deny`` of a directory are
    those of its own file, and would not be any more where a file above says them again for the tester.
    """
    others = [one for one in files if one.path != file.path]
    return Around(
        server=file.server,
        denies=any(unit.sort is Sort.DENY for one in others for unit in one.units),
        redirects=any(
            redirects.in_directories(read(one.text), server=one.server)
            for one in (*others, *beside) if one.path != file.path
        ),
    )


def unswitchable(files: Sequence[RuleFile]) -> Iterator[Gap]:
    """Say which units could not be off for a single request, by reason."""
    for file in files:
        refusals = wrapped(file.text, numbered(file.units), ANY_KEY, around(files, file)).refusals
        for why in dict.fromkeys(one.why for one in refusals):
            lines = ', '.join(str(one.line) for one in refusals if one.why == why)
            yield Gap(f'{file.path}:{lines}', f'cannot be off for one request alone: {why}')
