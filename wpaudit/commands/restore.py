"""``wpaudit restore``: finish what an interrupted run left, from the journal on the host or the one here."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from wpaudit.domain import Restoration
from wpaudit.errors import NotRestored
from wpaudit.ports import Journal


class Recoverable(Protocol):
    """A site that can be put back."""

    def recover(self) -> Restoration | None:
        """Finish an interrupted run; None when the host has no journal."""

    def digest(self) -> str:
        """Return the digest of the state that a run snapshots."""


def restore(
    site: Recoverable, journal: Journal, entry: Mapping[str, object] | None,
    layers: Mapping[str, Callable[[], Restoration | None]] | None = None,
) -> Restoration | None:
    """Put the firewalls and the site back and verify it. None: neither the host nor this machine has anything open.

    ``layers`` are the firewalls, each with what puts it back. All are tried, whatever becomes of one. Raises
    NotRestored when the state could not be verified.
    """
    found = [one for one in (recover() for recover in (layers or {}).values()) if one is not None]
    done = site.recover()
    if done is None and entry is not None:
        done = _from_here(site, entry)
    if done is not None and done.verified:
        journal.closed()
    parts = [one for one in (done, *found) if one is not None]
    if not parts:
        return None
    for one in parts:
        if not one.verified:
            raise NotRestored(f'the original state is NOT verified as restored: {one.message}', hint=one.advice)
    return replace(parts[0], message='; '.join(one.message for one in parts if one.message))


def _from_here(site: Recoverable, entry: Mapping[str, object]) -> Restoration:
    """The host has put itself back (agent, watchdog); compare with the snapshot kept here."""
    before, after = str(entry.get('digest', '')), site.digest()
    if before == after:
        return Restoration(verified=True, before=before, after=after, message='the host had put itself back')
    return Restoration(
        verified=False, before=before, after=after,
        message='nothing of wpaudit is on the host any more, but its plugin list is not the one of before the run',
        advice=f'compare {entry.get("rows")} in the journal with: wp option get active_plugins --format=json',
    )
