"""Firewall layers, one module or package each. A new one is listed here and nowhere else.

A layer's module is loaded when it is asked for: most runs never need one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from typing import Protocol

if TYPE_CHECKING:
    from wpaudit.domain import Suspect
    from wpaudit.firewalls.warden import Done
    from wpaudit.ports import Ground
    from wpaudit.ports import Layer


class Firewall(Protocol):
    """What the module of a firewall offers."""

    def layer_of(self, ground: Ground) -> Layer:
        """Return the layer of one site."""

    def restored(self, ground: Ground) -> Done | None:
        """Put back what an interrupted run left; None when it left nothing. Raises SiteBusy or Unfinished."""

    def advice(self, ground: Ground, rule: Suspect, path: str) -> tuple[str, ...]:
        """Say what to change so that a path of the site passes a rule, the narrowest change first. Nobody has tried."""


def _htaccess() -> Firewall:
    from wpaudit.firewalls import htaccess

    return htaccess


def _modsecurity() -> Firewall:
    from wpaudit.firewalls.modsecurity import layer

    return layer


def _netfilter() -> Firewall:
    from wpaudit.firewalls.netfilter import layer

    return layer


# name -> module; list, doctor, bisect and restore walk this dictionary. Layers change a host in its order and put it
# back in the opposite one: where rules of Apache and of ModSecurity stand in one file, the former go around the latter.
FIREWALLS: dict[str, Callable[[], Firewall]] = {
    'modsecurity': _modsecurity,
    'htaccess': _htaccess,
    'netfilter': _netfilter,
}


def layers(ground: Ground) -> dict[str, Layer]:
    """Return every layer of one site by its name."""
    return {name: load().layer_of(ground) for name, load in FIREWALLS.items()}
