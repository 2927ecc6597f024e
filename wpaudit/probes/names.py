"""Host names to addresses: pinned ones, then the system's resolver, bounded in time."""

from __future__ import annotations

import ipaddress
import queue
import socket
import threading
from collections.abc import Mapping

Found = tuple[str, ...]


class Names:
    """Finds the addresses of a host.

    What was found stays found for the life of this object: with round-robin DNS the probes of one run would
    otherwise reach different machines, and their answers could not be compared. Failures are not kept.
    """

    def __init__(self, pinned: Mapping[str, Found]) -> None:
        self._pinned = {host.lower(): found for host, found in pinned.items()}
        self._known = dict(self._pinned)

    def pinned(self, host: str) -> Found:
        """Return the addresses that ``host`` was pinned to, none when it was not."""
        return self._pinned.get(host.lower(), ())

    def only(self, host: str, address: str) -> Names:
        """Return names of which ``host`` means nothing but ``address``."""
        return Names({**self._pinned, host: (address,)})

    def addresses(self, host: str, *, timeout: float) -> Found:
        """Return at least one address; raises socket.gaierror or TimeoutError."""
        known = self._known.get(host.lower())
        if known is None:
            known = _looked_up(host, timeout)
            self._known[host.lower()] = known
        return known


def is_address(host: str) -> bool:
    """Is that an IP address rather than a name?"""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _looked_up(host: str, timeout: float) -> Found:
    # getaddrinfo has no time limit of its own and cannot be interrupted. A daemon thread can be left behind
    # and does not hold up the end of the program.
    answers: queue.SimpleQueue[Found | OSError | UnicodeError] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            answers.put(tuple(dict.fromkeys(str(address[0]) for *_, address in found)))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=look_up, name=f'resolve {host}', daemon=True).start()
    try:
        answer = answers.get(timeout=max(timeout, 0.001))
    except queue.Empty:
        raise TimeoutError(f'no answer from the name servers about {host}') from None
    if isinstance(answer, UnicodeError):  # a label that is empty or too long: no name at all
        raise socket.gaierror(socket.EAI_NONAME, 'not a host name')
    if isinstance(answer, OSError):
        raise answer
    return answer
