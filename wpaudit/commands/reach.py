"""The way to a URL's host: what its name means, and which of its addresses take a connection."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from wpaudit.commands.trial import together
from wpaudit.domain import Gap
from wpaudit.facts import Handshake
from wpaudit.facts import Resolution
from wpaudit.ports import Outside

MOST_ADDRESSES = 4


@dataclass(frozen=True)
class Reach:
    """What was found on the way to one host, as parts of ``Seen``."""

    resolution: Resolution
    handshakes: tuple[Handshake, ...] = ()
    notes: tuple[str, ...] = ()
    gaps: tuple[Gap, ...] = ()

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses that took a connection."""
        return tuple(one.address for one in self.handshakes if not (one.tcp_error or one.tls_error))


def reach(outside: Outside, url: str) -> Reach:
    """Resolve the name of ``url`` and connect to its addresses, to at most four of them."""
    parts = urlsplit(url)
    name, secure = parts.hostname or '', parts.scheme == 'https'
    port = parts.port or (443 if secure else 80)
    resolution = outside.resolve(name)
    chosen, left = _some(resolution)
    notes = (f'{name} has {len(chosen) + left} addresses; {len(chosen)} of them were looked at',) if left else ()
    connect = partial(outside.connect, port=port, tls_name=name if secure else '')
    found = tuple(together([partial(connect, address) for address in chosen], parallel=MOST_ADDRESSES))
    ipv6 = [one for one in found if ':' in one.address]
    if ipv6 and len(ipv6) < len(found) and all(one.tcp_error == 'unreachable' for one in ipv6):
        # Nothing is known about the site when this machine itself has no way to any such address.
        kept = tuple(one for one in found if one not in ipv6)
        return Reach(resolution, kept, notes, (Gap('the IPv6 addresses', 'this machine has no way to them'),))
    return Reach(resolution, found, notes)


def _some(found: Resolution) -> tuple[list[str], int]:
    """Return at most four addresses, of both families if there are both, and how many are left."""
    room = max(MOST_ADDRESSES - len(found.ipv6), MOST_ADDRESSES // 2)
    chosen = [*found.ipv4[:room], *found.ipv6][:MOST_ADDRESSES]
    return chosen, len(found.ipv4) + len(found.ipv6) - len(chosen)
