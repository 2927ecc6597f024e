"""Which rules of a site's files can be switched together, and the texts that make it so. Pure."""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from functools import lru_cache

from wpaudit.domain import Gap
from wpaudit.firewalls.apache import redirects
from wpaudit.firewalls.apache.reader import read
from wpaudit.firewalls.apache.removing import LISTS
from wpaudit.firewalls.apache.removing import REMOVABLE
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
OVER = '0' * 14  # a time that has passed
ANY_KEY = Key('0' * 16, OVER)  # for asking what could be switched
_SPLIT = 'a file above or below it has lists of its own, and cannot be replaced'


@dataclass(frozen=True)
class RuleFile:
    """One file with rules. ``server``: a vhost file, whose changes count only after a graceful reload.

    Of such a file ``real`` is where links lead, and ``servers`` are the main configurations of those that read it.
    """

    path: str
    text: str
    server: bool = False
    units: tuple[Unit, ...] = ()
    stuck: str = ''  # why it cannot be replaced for a while
    real: str = ''
    servers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Planned:
    """What a run would put in place: new texts, numbers for the header by rule, and why some rules have none."""

    changes: tuple[Change, ...]
    numbers: Mapping[str, int]
    refused: Mapping[str, str]


def planned(files: Sequence[RuleFile], key: Key, *, gone: Collection[Sort] = ()) -> Planned:
    """Wrap all files that can be replaced, together. Lines of the sorts ``gone`` are taken out for everybody."""
    movable = [file for file in files if not file.stuck]
    if not LISTS & frozenset(gone) and any(_needed(file, movable) for file in files if file.stuck):
        movable = [_without(file, LISTS) for file in movable]
    changes: list[Change] = []
    numbers: dict[str, int] = {}
    refused = {f'{file.path}:{unit.line}': _SPLIT for file in files if not file.stuck for unit in file.units}
    wrapping = [_without(file, gone) for file in movable]
    for file, whole in zip(wrapping, movable, strict=True):
        own = numbered(file.units[:MOST_NUMBERS - len(numbers)], len(numbers) + 1)
        out = {unit.line: 0 for unit in whole.units if unit.sort in gone}
        done = wrapped(file.text, own, key, around(wrapping, file, beside=files), gone=out)
        why = dict.fromkeys((unit.line for unit in file.units), TOO_MANY) | {one.line: one.why for one in done.refusals}
        refused |= {f'{file.path}:{line}': why[line] for line in why if line not in done.able}
        numbers |= {f'{file.path}:{line}': number for line, number in (own | out).items() if line in done.able}
        if done.text != file.text:
            changes.append(Change(file.path, file.text, done.text))
    return Planned(tuple(changes), numbers, {rule: why for rule, why in refused.items() if rule not in numbers})


def live(files: Sequence[RuleFile], off: Collection[str], expires: str) -> dict[str, str]:
    """Return the texts in which exactly these rules are off for everybody until ``expires``, by path.

    Lists and redirects that no expression can switch are taken out, and then all of their family: the <If> of others
    would say them again.
    """
    chosen = [
        replace(file, units=tuple(one for one in file.units if f'{file.path}:{one.line}' in off)) for file in files
    ]
    key = LiveKey(expires=expires)
    found = planned(chosen, key)
    sorts = {one.sort for file in chosen for one in file.units if f'{file.path}:{one.line}' in found.refused}
    gone = {each for sort in sorts for each in (LISTS if sort in LISTS else {sort})} & REMOVABLE
    return {one.path: one.new for one in (planned(chosen, key, gone=gone) if gone else found).changes}


def live_files(files: Sequence[RuleFile]) -> tuple[Change, ...]:
    """Return all files that ``live`` may change, with texts that mean what the old ones do.

    They hold all that can be wrapped, its time over; lines that would be taken out are there.
    """
    over = LiveKey(expires=OVER)
    same = {one.path: one for one in planned(files, over).changes}
    touched = {one.path: Change(one.path, one.old, one.old) for one in planned(files, over, gone=REMOVABLE).changes}
    return tuple((touched | same).values())


def refusals(files: Sequence[RuleFile]) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Say by rule why it cannot be off for a single request, and why it cannot be for everybody either."""
    ever = planned(files, LiveKey(expires=OVER), gone=REMOVABLE).refused
    return planned(files, ANY_KEY).refused, ever


def _without(file: RuleFile, sorts: Collection[Sort]) -> RuleFile:
    return replace(file, units=tuple(one for one in file.units if one.sort not in sorts))


def _needed(file: RuleFile, movable: Sequence[RuleFile]) -> bool:
    """Tell whether a file that stays would have to be wrapped as well, for its lists to count for the tester."""
    along = around([*movable, file], file)
    return along.denies and wrapped(file.text, {}, ANY_KEY, replace(along, redirects=False)).text != file.text


def around(files: Sequence[RuleFile], file: RuleFile, *, beside: Sequence[RuleFile] = ()) -> Around:
    """Say what wrapping one of these files has to know of the others, and of those ``beside`` that are not wrapped.

    A run that wraps one file has to wrap them all, those without units too: ``Allow`` and ``Deny`` of a directory are
    those of its own file, and would not be any more where a file above says them again for the tester.
    """
    return Around(
        server=file.server,
        denies=any(unit.sort is Sort.DENY for one in files if one.path != file.path for unit in one.units),
        redirects=any(
            _redirects(one.text, server=one.server) for one in (*files, *beside) if one.path != file.path
        ),
    )


@lru_cache(maxsize=1_000)
def _redirects(text: str, *, server: bool) -> bool:
    """Tell whether a text holds redirects of any kind: asked of each file about all others."""
    return redirects.in_directories(read(text), server=server)


def unswitchable(files: Sequence[RuleFile]) -> Iterator[Gap]:
    """Say which units could not be off for a single request, by reason."""
    for file in files:
        refusals = wrapped(file.text, numbered(file.units), ANY_KEY, around(files, file)).refusals
        for why in dict.fromkeys(one.why for one in refusals):
            lines = ', '.join(str(one.line) for one in refusals if one.why == why)
            yield Gap(f'{file.path}:{lines}', f'cannot be off for one request alone: {why}')
