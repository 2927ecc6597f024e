"""Firewall layers, one module or package each. A new one is listed here and nowhere else.

A layer is loaded when it is asked for: most runs never need one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wpaudit.domain import Suspect
    from wpaudit.firewalls.warden import Done
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


def _htaccess_recovered(ground: Ground) -> Done | None:
    from wpaudit.firewalls.htaccess import restored

    return restored(ground)


def _htaccess_advice(ground: Ground, rule: Suspect, path: str) -> tuple[str, ...]:
    from wpaudit.firewalls.htaccess import advice

    return advice(ground, rule, path)


def _modsecurity_recovered(ground: Ground) -> Done | None:
    from wpaudit.firewalls.modsecurity.layer import restored

    return restored(ground)


def _modsecurity_advice(ground: Ground, rule: Suspect, path: str) -> tuple[str, ...]:
    from wpaudit.firewalls.modsecurity.layer import advice

    return advice(ground, rule, path)


def _netfilter_recovered(ground: Ground) -> Done | None:
    from wpaudit.firewalls.netfilter.layer import restored

    return restored(ground)


def _netfilter_advice(ground: Ground, rule: Suspect, path: str) -> tuple[str, ...]:
    from wpaudit.firewalls.netfilter.layer import advice

    return advice(ground, rule, path)


@dataclass(frozen=True)
class Switchable:
    """What there is besides the layer itself for one whose rules can be switched.

    ``recover`` puts back what an interrupted run left (None: nothing), ``advice`` says what to change so that a path of
    the site passes a rule, the narrowest change first.
    """

    recover: Callable[[Ground], Done | None]
    advice: Callable[[Ground, Suspect, str], tuple[str, ...]]


# name -> factory; bisect and list walk this dictionary, so a layer needs no change anywhere else. In this order they
# change a host, and they put it back in the opposite one: Apache's rules go around what ModSecurity has put in.
FIREWALLS: dict[str, Callable[[Ground], Layer]] = {
    'modsecurity': _modsecurity,
    'htaccess': _htaccess,
    'netfilter': _netfilter,
}

# the layers among them that bisect may switch
SWITCHABLE: dict[str, Switchable] = {
    'netfilter': Switchable(_netfilter_recovered, _netfilter_advice),
    'modsecurity': Switchable(_modsecurity_recovered, _modsecurity_advice),
    'htaccess': Switchable(_htaccess_recovered, _htaccess_advice),
}
