"""Firewall layers, one module or package each. A new one is listed here and nowhere else.

A layer is loaded when it is asked for: most runs never need one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wpaudit.ports import Ground
    from wpaudit.ports import Layer


def _htaccess(ground: Ground) -> Layer:
    from wpaudit.firewalls.htaccess import Htaccess

    return Htaccess(ground)


def _modsecurity(ground: Ground) -> Layer:
    from wpaudit.firewalls.modsecurity.layer import ModSecurity

    return ModSecurity(ground)


def _netfilter(ground: Ground) -> Layer:
    from wpaudit.firewalls.netfilter import NetfilterLayer

    return NetfilterLayer(ground)


# name -> factory; bisect and list walk this dictionary, so a layer needs no change anywhere else
FIREWALLS: dict[str, Callable[[Ground], Layer]] = {
    'htaccess': _htaccess,
    'modsecurity': _modsecurity,
    'netfilter': _netfilter,
}
