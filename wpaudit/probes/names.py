"""Host names to addresses: pinned ones, then the system's resolver, bounded in time."""

from __future__ import annotations

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

    def __init__(self, pinned: Mapping[str, str]) -> None:
        self._known: dict[str, Found] = {host.lower(): (address,) for host, address in pinned.items()}

    def addresses(self, host: str, *, timeout: float) -> Found:
        """Return at least one address; raises socket.gaierror or TimeoutError."""
        known = self._known.get(host.lower())
        if known is None:
            known = _looked_up(host, timeout)
            self._known[host.lower()] = known
        return known


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
