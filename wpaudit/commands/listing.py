"""``wpaudit list``: what is on the site, and what could not be read. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from wpaudit.domain import Gap
from wpaudit.domain import Inventory
from wpaudit.domain import Suspect
from wpaudit.ports import Layer


class Readable(Protocol):
    """A site that can be listed."""

    def inventory(self) -> Inventory:
        """List everything."""


def listing(site: Readable, layers: Mapping[str, Layer]) -> tuple[Inventory, tuple[Suspect, ...]]:
    """Return the site's inventory and the firewall rules of ``layers``, gaps joined."""
    inventory = site.inventory()
    rules: list[Suspect] = []
    gaps: list[Gap] = list(inventory.gaps)
    for layer in layers.values():
        found, missing = layer.listing()
        rules.extend(found)
        gaps.extend(missing)
    if not layers:
        gaps.append(Gap('firewall rules', 'this version of wpaudit reads no firewall; look at them on the host'))
    return replace(inventory, gaps=_distinct(gaps)), tuple(rules)


def _distinct(gaps: Sequence[Gap]) -> tuple[Gap, ...]:
    return tuple(dict.fromkeys(gaps))
