"""Everything that may go wrong as expected, with the exit code it ends in.

A message is one sentence that says what is wrong; ``hint`` says what to do about it. Both are turned
into text in ``edge`` and nowhere else. This module imports nothing of wpaudit.
"""

from __future__ import annotations


class WpauditError(Exception):
    """Base of every expected error."""

    exit_code = 4

    def __init__(self, message: str, *, hint: str = '') -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(WpauditError):
    """The command line asks for something impossible (exit 2)."""

    exit_code = 2


class CannotStart(WpauditError):
    """Host, login, WP-CLI or permissions: nothing was changed (exit 4)."""


class ShellError(CannotStart):
    """The host could not be reached, or the connection broke."""


class HostKeyError(ShellError):
    """The host's key is unknown or has changed."""


class AuthenticationError(ShellError):
    """The host refused the login."""


class CommandTimeout(ShellError):
    """A command on the host ran past its time limit; it was ended there too."""


class ConnectionLost(ShellError):
    """The connection to a running command broke."""


class SiteError(CannotStart):
    """WordPress or WP-CLI cannot be used on this host."""


class ModeUnavailable(CannotStart):
    """This host cannot be switched in the mode that was tried; nothing was changed."""


class NoOtherTheme(CannotStart):
    """There is no theme, or no way, to stand in for the active one."""


class Unreached(ModeUnavailable):
    """A probe never got to WordPress: something in front of it answers."""


class SiteBusy(CannotStart):
    """Another wpaudit run holds this site."""


class OutputLost(WpauditError):
    """The result could not be printed: the disk behind stdout is full, say (exit 4, lest it pass for success)."""


class Unfinished(WpauditError):
    """An earlier run was interrupted and its journal is still open (exit 5)."""

    exit_code = 5


class NotRestored(WpauditError):
    """The original state is NOT verified as restored (exit 5)."""

    exit_code = 5


class Inconclusive(WpauditError):
    """The question cannot be answered within the budget or steadily enough (exit 6)."""

    exit_code = 6


class BudgetSpent(Inconclusive):
    """``--max-probes`` or ``--max-time`` is used up."""


class Unsteady(Inconclusive):
    """The same set of suspects gave different outcomes."""


class Interrupted(BaseException):
    """A signal asked the run to end; restores like any other exit. ``exit_code`` is 128 + signal."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f'signal {signal_number}')
        self.exit_code = 128 + signal_number
