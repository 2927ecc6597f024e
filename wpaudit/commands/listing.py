"""``wpaudit list``: what is on the site, and what could not be read. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
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


def listing(
    site: Readable, layers: Callable[[Inventory], Mapping[str, Layer]],
) -> tuple[Inventory, tuple[Suspect, ...]]:
    """Return the site's inventory and the firewall rules of its host's ``layers``, gaps joined."""
    inventory = site.inventory()
    rules: list[Suspect] = []
    gaps: list[Gap] = list(inventory.gaps)
    for layer in layers(inventory).values():
        found, missing = layer.listing()
        rules.extend(found)
        gaps.extend(missing)
    return replace(inventory, gaps=tuple(dict.fromkeys(gaps))), tuple(rules)
