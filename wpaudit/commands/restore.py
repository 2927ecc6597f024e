"""``wpaudit restore``: finish what an interrupted run left, from the journal on the host or the one here."""

from __future__ import annotations

from collections.abc import Mapping
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


def restore(site: Recoverable, journal: Journal, entry: Mapping[str, object] | None) -> Restoration | None:
    """Put the site back and verify it. None: neither the host nor this machine has anything open.

    Raises NotRestored when the state could not be verified.
    """
    done = site.recover()
    if done is None and entry is not None:
        done = _from_here(site, entry)
    if done is None:
        return None
    if not done.verified:
        raise NotRestored(f'the original state is NOT verified as restored: {done.message}', hint=done.advice)
    journal.closed()
    return done


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
