"""What a bisection was asked to do, and which suspects it may switch. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field

from wpaudit.domain import Kind
from wpaudit.domain import Mode
from wpaudit.domain import Suspect
from wpaudit.errors import UsageError


@dataclass(frozen=True)
class Options:
    """What the user asked for, besides where and what to probe. Times in seconds."""

    mode: Mode | None = None  # None: isolated where it works, else live
    url: str = ''
    keep: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    kinds: frozenset[Kind] = frozenset({Kind.PLUGIN, Kind.NETWORK_PLUGIN})
    rules_later: bool = True  # search firewall rules only where plugins do not explain the failure
    as_user: str = ''
    cron: bool = False  # probes run the events of WP-Cron that are due
    parallel: int = 2
    max_probes: int = 500
    max_time: float = 900.0
    dry_run: bool = False
    confidence: float = 0.99  # wanted of every claim that an unsteady failure could contradict
    triage: bool = True  # say what kind of failure it is, by a handful of requests more and the host's logs
    recorder: bool = True  # begin with a probe that the flight recorder watches, where there is one
    may_go_live: Callable[[str], bool] = field(default=lambda reason: False)

    @property
    def unseen(self) -> bool:
        """Tell whether ordinary visitors cannot see what is asked about."""
        return self.cron or bool(self.as_user)


def pins(suspects: Sequence[Suspect], options: Options) -> frozenset[str]:
    """Return the ids that stay on: --keep, all but --suspect, and kinds that were not asked for."""
    keep = {named(name, suspects, '--keep') for name in options.keep}
    if options.only:
        only = {named(name, suspects, '--suspect') for name in options.only}
        keep |= {one.id for one in suspects if one.id not in only}
    keep |= {one.id for one in suspects if one.kind not in options.kinds}
    return frozenset(keep)


def named(name: str, suspects: Sequence[Suspect], option: str) -> str:
    """Return the id that a user means by ``acme/acme.php``, ``acme/acme``, ``acme``, ``Acme Forms`` or ``acme forms``.

    What says it best counts: an id, then any other of its names as written, then one in other capitals.
    """
    def matching(known: Callable[[Suspect], Sequence[str]]) -> list[str]:
        return [one.id for one in suspects if name in known(one)]

    matches = matching(lambda one: [one.id]) or matching(_names)
    if not matches:
        small = name.casefold()
        matches = [one.id for one in suspects if small in [known.casefold() for known in _names(one)]]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UsageError(f'{option} {name} means several plugins: {", ".join(matches)}', hint='use the file, as listed')
    known = {known.casefold(): known for one in suspects for known in _names(one)}
    near = difflib.get_close_matches(name.casefold(), known, n=1)
    hint = f'did you mean {known[near[0]]}?' if near else 'see: wpaudit list'
    rules = ', and no rule that can be switched,' if any(one.kind is Kind.RULE for one in suspects) else ''
    raise UsageError(f'{option}: no active plugin{rules} is called {name}', hint=hint)


def _names(suspect: Suspect) -> list[str]:
    """Return what people call a suspect; a slug and a file are a plugin's."""
    names = [suspect.id, suspect.name]
    if suspect.kind is not Kind.RULE:
        file = suspect.id.removesuffix('.php')
        names += [file, file.split('/')[0]]
    return [one for one in names if one]


def closure(suspects: Sequence[Suspect], pinned: frozenset[str]) -> frozenset[str]:
    return closed_up(pinned, {one.id: frozenset(one.requires) for one in suspects})


def closed_up(ids: frozenset[str], requires: Mapping[str, frozenset[str]]) -> frozenset[str]:
    closed: set[str] = set()
    waiting = list(ids)
    while waiting:
        item = waiting.pop()
        if item not in closed:
            closed.add(item)
            waiting.extend(requires.get(item, ()))
    return frozenset(closed)
