"""From what a run found to the report: the verdict in one sentence, what it rests on, what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from typing import TYPE_CHECKING

from wpaudit.commands.steadiness import Steadiness
from wpaudit.commands.trial import Trial
from wpaudit.domain import Claim
from wpaudit.domain import Evidence
from wpaudit.domain import Exemption
from wpaudit.domain import Gap
from wpaudit.domain import Inventory
from wpaudit.domain import Kind
from wpaudit.domain import Mode
from wpaudit.domain import Outcome
from wpaudit.domain import Rate
from wpaudit.domain import Restoration
from wpaudit.domain import Role
from wpaudit.domain import Suspect
from wpaudit.domain import Verdict
from wpaudit.engine import Finding
from wpaudit.errors import Inconclusive
from wpaudit.errors import NotRestored
from wpaudit.errors import WpauditError
from wpaudit.intervals import wilson

if TYPE_CHECKING:
    from wpaudit.facts import Diagnosis

TRACED = ('recorder', 'source code')  # evidence of which is told what became of it
EXIT_CODES: Mapping[Verdict, int] = {
    Verdict.HEALTHY: 0,
    Verdict.CULPRIT: 1,
    Verdict.NOT_A_SUSPECT: 3,
    Verdict.ERROR: 4,
    Verdict.INCONCLUSIVE: 6,
}


@dataclass(frozen=True)
class Findings:
    """What a run has found so far. Completed step by step, so that nothing is lost when it must stop."""

    inventory: Inventory
    trial: Trial
    dry_run: bool = False
    verdict: Verdict = Verdict.INCONCLUSIVE
    message: str = ''
    hint: str = ''
    note: str = ''
    suspects: tuple[Suspect, ...] = ()
    conflicts: tuple[tuple[Suspect, ...], ...] = ()
    fixes: tuple[tuple[Suspect, ...], ...] = ()
    certificate: tuple[Claim, ...] = ()
    suspicion: tuple[str, ...] = ()
    exemptions: tuple[Exemption, ...] = ()  # from rules of the first fix; probes have shown that they are enough
    learned: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    complete: bool = False
    evidence: tuple[Evidence, ...] = ()
    gaps: tuple[Gap, ...] = ()
    mode: Mode | None = None
    mode_reason: str = ''
    restoration: Restoration | None = None
    steadiness: Steadiness | None = None
    ended: bool = False  # whether PHP came to its end in each failing probe, so that what is behind it may have a part
    diagnosis: Diagnosis | None = None  # what triage says of the failure

    @property
    def exit_code(self) -> int:
        """The documented exit code; a dry run that could start is 0."""
        if self.restoration is not None and not self.restoration.verified:
            return NotRestored.exit_code
        return 0 if self.dry_run else EXIT_CODES[self.verdict]

    def undecided(self, error: Inconclusive) -> Findings:
        """Return these findings as far as they got when ``error`` kept the question from being answered."""
        return replace(self, verdict=Verdict.INCONCLUSIVE, message=error.message, hint=error.hint)

    def broken_off(self, error: BaseException) -> Findings:
        """Return these findings as far as they got when ``error`` ended the run."""
        message = error.message if isinstance(error, WpauditError) else 'the run was interrupted'
        return replace(self, verdict=Verdict.INCONCLUSIVE, message=message, hint=getattr(error, 'hint', ''))

    def with_finding(
        self, finding: Finding, verdict: Verdict, message: str, suspicion: Sequence[str] = (), hint: str = '',
    ) -> Findings:
        """Return these findings with what the search found; an empty message is made from the conflicts."""
        known = {one.id: one for one in self.suspects}

        def named(sets: Sequence[Sequence[str]]) -> tuple[tuple[Suspect, ...], ...]:
            return tuple(tuple(known[item] for item in items) for items in sets)

        conflicts = named(finding.conflicts)
        fates = tuple(replace(one, fate=self._fate(one, finding)) for one in self.evidence)
        text = message or finding.unresolved
        if verdict is Verdict.CULPRIT:
            text = _sentence(conflicts) + (f' ({finding.unresolved})' if finding.unresolved else '')
        return replace(
            self, verdict=verdict, message=text or 'the search ended without a certain answer', hint=hint,
            conflicts=conflicts, fixes=named(finding.fixes), certificate=finding.certificate,
            suspicion=tuple(suspicion), complete=finding.complete, evidence=fates,
            learned={one: tuple(sorted(needs)) for one, needs in finding.learned.items()},
        )

    def _fate(self, evidence: Evidence, finding: Finding) -> str:
        """Say what became of a hint at single suspects, and by which probes."""
        if evidence.source not in TRACED or not evidence.suspects or not finding.conflicts:
            return ''
        conflict = next((set(one) for one in finding.conflicts if set(one) & set(evidence.suspects)), None)
        if conflict is None:
            return 'not borne out by the probes'
        proving: dict[tuple[str, ...], str] = {}  # the first probe of each set
        for one in self.trial.records:
            if one.role is Role.CERTIFICATE and (one.outcome is Outcome.FAIL) is conflict.isdisjoint(one.off):
                proving.setdefault(one.off, str(one.n))
        *others, last = proving.values() or ('of the baseline',)
        return f'certified by probes {", ".join(others)} and {last}' if others else f'certified by probe {last}'

    def with_theme(self, plugins: frozenset[str], with_plugins: Outcome) -> Findings:
        """Return these findings with the active theme named, as the theme probes showed it."""
        theme = active_theme(self.inventory)
        off = (*sorted(plugins), theme.id)
        claims = (
            Claim('all plugins off, the active theme on: FAILS', Outcome.FAIL, observed=True, off=off[:-1]),
            Claim('all plugins off, a default theme instead: PASSES', Outcome.PASS, observed=True, off=off),
            Claim(f'all plugins on, a default theme: {with_plugins}', with_plugins, observed=True, off=(theme.id,)),
        )
        also = '' if with_plugins is Outcome.PASS else ', and with a default theme the plugins fail too'
        return replace(
            self, verdict=Verdict.CULPRIT, message=f'the theme {_label(theme)} makes the site fail{also}',
            conflicts=((theme,),), fixes=((theme,),) if not also else (), certificate=claims, complete=not also,
            suspects=(*self.suspects, theme),
        )


def active_theme(inventory: Inventory) -> Suspect:
    """Return the active theme as a suspect."""
    for part in inventory.components:
        if part.kind is Kind.THEME and part.status == 'active':
            return Suspect(part.id, Kind.THEME, part.name, part.version, 'theme', part.where)
    return Suspect('theme', Kind.THEME, 'the active theme', layer='theme')


def _sentence(conflicts: Sequence[Sequence[Suspect]]) -> str:
    parts = [_conflict(conflict) for conflict in conflicts]
    if len(parts) == 1:
        return f'{parts[0]} make{"s" if len(conflicts[0]) == 1 else ""} the site fail' + (
            '' if len(conflicts[0]) == 1 else ' when on together')
    return f'the site fails for {len(parts)} separate reasons: {"; ".join(parts)}'


def _conflict(conflict: Sequence[Suspect]) -> str:
    if len(conflict) == 1:
        return f'the {_kind(conflict[0])} {_label(conflict[0])}'
    if all(_kind(one) == 'plugin' for one in conflict):
        return f'the plugins {" and ".join(_label(one) for one in conflict)}'
    return ' and '.join(f'the {_kind(one)} {_label(one)}' for one in conflict)


def _kind(suspect: Suspect) -> str:
    return 'plugin' if suspect.kind in (Kind.PLUGIN, Kind.NETWORK_PLUGIN) else suspect.kind.value


def _label(suspect: Suspect) -> str:
    version = f' {suspect.version}' if suspect.version else ''
    return f'{suspect.name or suspect.id}{version} ({suspect.id})' if suspect.name else f'{suspect.id}{version}'


def confidence(findings: Findings) -> float:
    """Return how sure the names are: 0.99 when certified and complete, less when something was left open.

    Direct probes of a steady failure prove a conflict; what remains is that a fault of 30 % or more passed the
    baseline for steady, which five failures in a row leave at most at 1 %. Of an unsteady failure every claim that
    something passes may be luck, each with at most the chance that was allowed for (the union bound).
    """
    if findings.verdict is not Verdict.CULPRIT or not findings.conflicts:
        return 0.0
    observed = [claim.observed for claim in findings.certificate]
    share = sum(observed) / len(observed) if observed else 0.0
    return round(_luck(findings) * share * (1.0 if findings.complete else 0.9), 4)


def rate(findings: Findings) -> Rate | None:
    """Return the share of failing requests with everything on; None when it was not asked."""
    steadiness = findings.steadiness
    if steadiness is None:
        return None
    low, high = wilson(steadiness.failed, steadiness.made)
    return Rate(round(steadiness.failed / steadiness.made, 4), round(low, 4), round(high, 4), steadiness.made)


def _luck(findings: Findings) -> float:
    """Return the chance that no claim of the certificate is owed to luck."""
    if findings.steadiness is None or findings.steadiness.steady:
        return 0.99
    passing = sum(claim.outcome is Outcome.PASS for claim in findings.certificate)
    return min(0.99, max(0.0, 1.0 - passing * findings.steadiness.luck(findings.trial.patience)))


def probe_counts(findings: Findings) -> dict[str, float]:
    """Count probes by role, and their own time in seconds."""
    records = findings.trial.records
    counts = {f'probes_{role.value}': float(sum(one.role is role for one in records)) for role in Role}
    return {'probes': float(len(records)), 'probe_seconds': round(findings.trial.seconds, 4), **counts}
