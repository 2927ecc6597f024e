"""``wpaudit doctor``: can this host be reached, read and switched? Changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from typing import Protocol

from wpaudit.domain import Answer
from wpaudit.domain import Check
from wpaudit.domain import Inventory
from wpaudit.errors import Unfinished
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
    firewalls: Callable[[Inventory], Sequence[Check]] = lambda inventory: (),
) -> tuple[Check, ...]:
    """Return one check a line, until the first that everything after it needs.

    ``fetch`` gets the page at a base URL, ``firewalls`` says what could be done with the host's rules.
    """
    checks: list[Check] = []
    try:
        inventory = site.inventory()
    except WpauditError as error:
        return (Check('host', False, f'{label}: {error.message}', error.hint),)
    facts = inventory.facts
    checks.append(Check('host', True, label))
    checks.append(Check('WordPress', True, f'{facts.wordpress} at {facts.path}, PHP {facts.php}, {facts.database}'))
    checks.extend(site.abilities())
    checks.append(_free(site))
    checks.append(_page(facts.url, fetch(facts.url)))
    checks.extend(firewalls(inventory))
    return tuple(checks)


def _free(site: Examined) -> Check:
    try:
        site.must_be_free()
    except Unfinished as error:
        return Check('other runs', False, error.message, error.hint)
    except WpauditError as error:
        return Check('other runs', False, error.message, error.hint)
    return Check('other runs', True, 'none')


def _page(url: str, answer: Answer) -> Check:
    if not answer.status:
        return Check('probe', False, f'{url}: {answer.detail}', 'give another --url, or pin its address with --resolve')
    return Check('probe', None, f'{url} answers {answer.status} in {answer.seconds:.2f} s')
