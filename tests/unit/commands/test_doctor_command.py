"""``wpaudit doctor``: every check has its line, and a failure is told where it belongs."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence

import pytest

from fixtures.site import FACTS
from fixtures.site import FakeSite
from fixtures.site import fails_with
from wpaudit.commands.doctor import doctor
from wpaudit.domain import Answer
from wpaudit.domain import Check
from wpaudit.domain import Inventory
from wpaudit.errors import CannotStart
from wpaudit.errors import ShellError
from wpaudit.errors import SiteError
from wpaudit.errors import Unfinished
from wpaudit.errors import WpauditError


class Patient(FakeSite):
    """A site that may be broken."""

    ill: WpauditError | None = None

    def inventory(self) -> Inventory:
        if self.ill:
            raise self.ill
        return super().inventory()

    def abilities(self) -> Sequence[Check]:
        return (Check('isolated mode', True, '/mu-plugins'),)


def found(
    *, url: str = '', journal: Callable[[], None] = lambda: None, ill: WpauditError | None = None,
    answer: Answer | None = None, held: WpauditError | None = None,
) -> dict[str, Check]:
    site = Patient((), fails_with(), held=held)
    site.ill = ill
    checks = doctor(
        'deploy@shop', site, lambda at: answer or Answer(at, 502, {}, seconds=0.1, detail=''),
        lambda inventory: [Check('firewalls', None, 'none')], url=url, journal=journal)
    return {one.name: one for one in checks}


def test_all_is_well() -> None:
    checks = found()
    assert list(checks) == [
        'this machine', 'host', 'WordPress', 'isolated mode', 'other runs', 'probe', 'firewalls']
    assert not any(one.ok is False for one in checks.values())
    assert FACTS.url in checks['probe'].detail


def test_the_page_that_was_asked_for_is_the_one_that_is_told() -> None:
    assert found(url='http://other.test')['probe'].detail.startswith('http://other.test answers 502')


def test_a_page_that_cannot_be_had() -> None:
    check = found(answer=Answer('http://site.test', 0, {}, error='dns', detail='does not resolve'))['probe']
    assert (check.ok, '--resolve' in check.hint) == (False, True)


@pytest.mark.parametrize(('error', 'last'), [
    (ShellError('refused the login', hint='which key?'), 'host'),
    (SiteError('WordPress cannot reach its database', hint='is it up?'), 'WordPress'),
])
def test_a_failure_is_told_where_it_belongs(error: WpauditError, last: str) -> None:
    checks = found(ill=error)
    assert list(checks)[-1] == last
    assert [name for name, one in checks.items() if one.ok is False] == [last]
    assert error.message in checks[last].detail
    assert checks[last].hint == error.hint


def test_a_run_that_waits_to_be_finished() -> None:
    assert found(held=Unfinished('interrupted', hint='wpaudit restore'))['other runs'].hint == 'wpaudit restore'


def test_a_machine_that_keeps_no_journal() -> None:
    def full() -> None:
        raise CannotStart('the journal cannot be written', hint='XDG_STATE_HOME')

    assert found(journal=full)['this machine'].ok is False
