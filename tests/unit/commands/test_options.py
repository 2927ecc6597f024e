"""Which suspects are meant by a name."""

from __future__ import annotations

import pytest

from wpaudit.commands.options import Options
from wpaudit.commands.options import named
from wpaudit.commands.options import pins
from wpaudit.domain import Kind
from wpaudit.domain import Suspect
from wpaudit.errors import UsageError

RULES = (Suspect('/srv/.htaccess:3', Kind.RULE, 'Redirect 502 /a'), Suspect('942100', Kind.RULE, 'SQL injection'))
ACME = Suspect('acme/acme.php', Kind.PLUGIN, 'Acme')


def test_rules_are_named_by_their_ids() -> None:
    assert [named(one.id, (ACME, *RULES), '--keep') for one in RULES] == [one.id for one in RULES]
    everything = frozenset(Kind)
    assert pins((ACME, *RULES), Options(kinds=everything, only=('942100',))) == {'acme/acme.php', '/srv/.htaccess:3'}
    assert pins((ACME, *RULES), Options(kinds=everything, keep=('/srv/.htaccess:3',))) == {'/srv/.htaccess:3'}


def test_a_rule_that_cannot_be_switched_is_not_called_a_plugin() -> None:
    with pytest.raises(UsageError, match='no active plugin, and no rule that can be switched, is called 942999'):
        named('942999', (ACME, *RULES), '--suspect')
    with pytest.raises(UsageError, match='no active plugin is called 942999'):
        named('942999', (ACME,), '--suspect')
