"""From data to text. A format is a function of its module; rich is loaded only by the one that needs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Protocol

from wpaudit.domain import Check
from wpaudit.domain import Inventory
from wpaudit.domain import Report
from wpaudit.domain import Suspect
from wpaudit.report import json
from wpaudit.report import text
from wpaudit.report.page import colourful
from wpaudit.report.talk import Talk
from wpaudit.report.talk import progress

if TYPE_CHECKING:
    from wpaudit.facts import TriageReport

__all__ = [
    'DOCTOR_FORMATS', 'FORMATS', 'LIST_FORMATS', 'TRIAGE_FORMATS', 'Talk', 'colourful', 'json_text', 'progress',
]


class ReportFormat(Protocol):
    """Writes the report of a bisection. ``colour`` is for terminals, see ``colourful``."""

    def __call__(self, result: Report, /, *, verbose: bool = False, colour: bool = False) -> str:
        """Return the text, with a newline at its end."""


class ListFormat(Protocol):
    """Writes what is on a site."""

    def __call__(self, found: Inventory, rules: Sequence[Suspect] = (), /, *, colour: bool = False) -> str:
        """Return the text, with a newline at its end."""


class DoctorFormat(Protocol):
    """Writes what works on a host and what does not."""

    def __call__(self, checks: Sequence[Check], /, *, colour: bool = False) -> str:
        """Return the text, with a newline at its end."""


class TriageFormat(Protocol):
    """Writes what is the matter with a site. ``colour`` is for terminals, see ``colourful``."""

    def __call__(self, result: TriageReport, /, *, verbose: bool = False, colour: bool = False) -> str:
        """Return the text, with a newline at its end."""


def _triage_text(result: TriageReport, /, *, verbose: bool = False, colour: bool = False) -> str:
    from wpaudit.report.triage import report

    return report(result, verbose=verbose, colour=colour)


FORMATS: dict[str, ReportFormat] = {'text': text.report, 'json': json.report}
LIST_FORMATS: dict[str, ListFormat] = {'text': text.inventory, 'json': json.inventory}
DOCTOR_FORMATS: dict[str, DoctorFormat] = {'text': text.doctor, 'json': json.doctor}
TRIAGE_FORMATS: dict[str, TriageFormat] = {'text': _triage_text, 'json': json.triage}


def json_text(result: Report) -> str:
    """Return ``wpaudit.report/1``, for the record of a run."""
    return json.report(result)
