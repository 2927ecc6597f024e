"""``wpaudit doctor``: can this host be reached, read and switched? Changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from typing import Protocol

from wpaudit.domain import Answer
from wpaudit.domain import Check
from wpaudit.domain import Inventory
from wpaudit.errors import ShellError
from wpaudit.errors import WpauditError


class Examined(Protocol):
    """A site that can be asked what would work on it."""

    def inventory(self) -> Inventory:
        """List everything."""

    def must_be_free(self) -> None:
        """Raise when another run holds the site."""

    def abilities(self) -> Sequence[Check]:
        """Say what could be done."""


def doctor(
    label: str, site: Examined, fetch: Callable[[str], Answer],
    firewalls: Callable[[Inventory], Sequence[Check]] = lambda inventory: (), *, url: str = '',
    journal: Callable[[], None] = lambda: None,
) -> tuple[Check, ...]:
    """Return one check a line, until the first that everything after it needs.

    ``fetch`` gets the page at a base URL: ``url``, or else the site's own. ``firewalls`` says what could be done with
    the host's rules, ``journal`` raises when this machine cannot keep the record of a run.
    """
    checks = [_kept(journal)]
    try:
        inventory = site.inventory()
    except ShellError as error:
        return *checks, Check('host', False, f'{label}: {error.message}', error.hint)
    except WpauditError as error:
        return *checks, Check('host', True, label), Check('WordPress', False, error.message, error.hint)
    facts = inventory.facts
    checks.append(Check('host', True, label))
    checks.append(Check('WordPress', True, f'{facts.wordpress} at {facts.path}, PHP {facts.php}, {facts.database}'))
    checks.extend(site.abilities())
    checks.append(_free(site))
    checks.append(_page(url or facts.url, fetch(url or facts.url)))
    checks.extend(firewalls(inventory))
    return tuple(checks)


def _kept(journal: Callable[[], None]) -> Check:
    try:
        journal()
    except WpauditError as error:
        return Check('this machine', False, error.message, error.hint)
    return Check('this machine', True, 'can keep the journal of a run')


def _free(site: Examined) -> Check:
    try:
        site.must_be_free()
    except WpauditError as error:
        return Check('other runs', False, error.message, error.hint)
    return Check('other runs', True, 'none')


def _page(url: str, answer: Answer) -> Check:
    if not answer.status:
        return Check('probe', False, f'{url}: {answer.detail}', 'give another --url, or pin its address with --resolve')
    return Check('probe', None, f'{url} answers {answer.status} in {answer.seconds:.2f} s')
