"""The firewalls of a run, put together for ``app``: which are switched, what is told of them, how they are put back."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Callable
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from wpaudit.commands.layered import RULES
from wpaudit.domain import Check
from wpaudit.domain import Gap
from wpaudit.domain import Inventory
from wpaudit.domain import Kind
from wpaudit.domain import Request
from wpaudit.domain import Restoration
from wpaudit.domain import Suspect
from wpaudit.errors import ShellError
from wpaudit.firewalls import FIREWALLS
from wpaudit.firewalls import layers
from wpaudit.firewalls.acting import may_root
from wpaudit.ports import Ground
from wpaudit.ports import Shell

if TYPE_CHECKING:
    from wpaudit.commands.verdict import Findings

MOST_ADVICE = 3  # changes told for one rule; the narrowest come first


def ground_of(
    shell: Shell, inventory: Inventory, url: str, *, become: Sequence[str] = (), sudo: bool = False,
    requests: Sequence[Request] = (), seconds: float = 900.0,
) -> Ground:
    """Return what layers stand on, to be changed by the user of the words ``become``, or as root with ``sudo``."""
    return Ground(
        shell, inventory.facts.path, url or inventory.facts.url, become=tuple(become), sudo=sudo,
        requests=tuple(requests), by=_signature(), seconds=seconds,
    )


def firewall_checks(ground: Ground) -> tuple[Check, ...]:
    """Say of each firewall that is there how many rules can be read and switched, and what would open the others."""
    checks = [Check('sudo', not why, why or 'works', why) for why in [may_root(ground)]] if ground.sudo else []
    for name, layer in layers(ground).items():
        found, gaps = layer.listing()
        if found or gaps:
            checks.append(_firewall(name, found, gaps))
    return tuple(checks)


def _firewall(name: str, found: Sequence[Suspect], gaps: Sequence[Gap]) -> Check:
    switched = sum(not one.stuck for one in found)
    live = sum(bool(one.live_only) and not one.stuck for one in found)
    detail = f'{len(found)} rules, {switched - live} of them can be switched for single requests'
    detail += f', {live} for everybody only' if live else ''
    if not found:
        detail = 'no rule is listed'
    reasons = [*(one.stuck or one.live_only for one in found), *(f'{one.what}: {one.why}' for one in gaps)]
    return Check(name, None, detail, '; '.join(filter(None, dict.fromkeys(reasons))))


def rule_gaps(findings: Findings) -> tuple[Gap, ...]:
    """Say of which firewalls no rule was switched."""
    if any(gap.what == RULES for gap in findings.gaps):
        return ()
    rules = {one.layer for one in findings.suspects if one.kind is Kind.RULE} if findings.restoration else set()
    missing = [name for name in FIREWALLS if name not in rules]
    if not rules:
        return (Gap(RULES, 'none of them was switched; `wpaudit list` shows those of this host'),)
    if not missing:
        return ()
    switched = ', '.join(sorted(rules))
    return (Gap(RULES, f'those of {switched} were switched, those of {", ".join(missing)} were not; `wpaudit list` '
                       'shows those of this host'),)


def rule_advice(ground: Ground, findings: Findings, url: str) -> dict[str, tuple[str, ...]]:
    """Return what to change so that ``url`` passes the rules of the first fix, by rule."""
    path = urlsplit(url).path or '/'
    found = {
        one.rule: (f'{one.effect}, which probes have shown to be enough:', *one.lines) for one in findings.exemptions
    }
    for one in findings.fixes[0] if findings.fixes else ():
        if one.kind is Kind.RULE and one.layer in FIREWALLS and one.id not in found:
            with suppress(ShellError):  # the rule is named all the same
                found[one.id] = FIREWALLS[one.layer]().advice(ground, one, path)[:MOST_ADVICE]
    return found


def recoveries(ground: Ground) -> dict[str, Callable[[], Restoration | None]]:
    """Return by layer how to put back what an interrupted run left, what was changed last first."""
    return {name: partial(_recovered, name, ground) for name in reversed(FIREWALLS)}


def _recovered(name: str, ground: Ground) -> Restoration | None:
    done = FIREWALLS[name]().restored(ground)
    if done is None:
        return None
    said = done.text.strip()
    if done.status:
        return Restoration(verified=False, message=said or f'{name} could not be put back', advice='')
    return Restoration(verified=True, message=f'{name} was put back' + (f': {said}' if said else ''))


def _signature() -> str:
    with suppress(OSError, KeyError):
        return f'{getpass.getuser()}@{socket.gethostname()}'
    return socket.gethostname()
