"""JSON for programs. Keys are only ever added; their order is that of this file.

Output is ASCII (RFC 8259, section 8.1 permits escapes for all else), so nothing in it can act on a terminal. Bytes of
a host that are not UTF-8 become ``\\xNN``: lone surrogates are valid for Python's parser and few others.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING
from typing import Any

from wpaudit import __version__
from wpaudit.domain import Cause
from wpaudit.domain import Check
from wpaudit.domain import Claim
from wpaudit.domain import Component
from wpaudit.domain import Cost
from wpaudit.domain import Gap
from wpaudit.domain import Inventory
from wpaudit.domain import Rate
from wpaudit.domain import Report
from wpaudit.domain import Restoration
from wpaudit.domain import SiteFacts
from wpaudit.domain import Suspect

if TYPE_CHECKING:
    from wpaudit.facts import Clue
    from wpaudit.facts import TriageReport

_SURROGATE = re.compile('[\ud800-\udfff]')


def report(result: Report, *, verbose: bool = False, colour: bool = False) -> str:
    """Write ``wpaudit.report/1``. It is always complete, so the options change nothing."""
    return _written({
        'schema': 'wpaudit.report/1', 'command': result.command, 'version': result.version,
        'started': result.started, 'finished': result.finished,
        'target': {'host': result.target_host, 'path': result.target_path, 'url': result.target_url},
        'site': _site(result.site), 'mode': result.mode, 'mode_reason': result.mode_reason,
        'outcome': result.outcome, 'message': result.message,
        'cause': None if result.cause is None else _cause(result.cause), 'rate': _rate(result.rate),
        'conflicts': [_suspects(conflict) for conflict in result.conflicts],
        'fixes': [_suspects(fix) for fix in result.fixes],
        'exemptions': [
            {'id': one.id, 'rule': one.rule, 'effect': one.effect, 'lines': one.lines} for one in result.exemptions
        ],
        'confidence': result.confidence,
        'certificate': [_claim(claim) for claim in result.certificate],
        'probes': [
            {'n': one.n, 'role': one.role, 'off': one.off, 'outcome': one.outcome, 'status': one.status,
             'seconds': one.seconds, 'evidence': one.evidence}
            for one in result.probes
        ],
        'suspects': _suspects(result.suspects),
        'evidence': [
            {'source': one.source, 'reason': one.reason, 'suspects': one.suspects, 'weight': one.weight,
             'fate': one.fate, 'where': one.where}
            for one in result.evidence
        ],
        'learned': {one: sorted(needs) for one, needs in sorted(result.learned.items())},
        'gaps': _gaps(result.gaps), 'restore': _restoration(result.restore), 'advice': result.advice,
        'costs': dict(sorted(result.costs.items())), 'record': result.record, 'exit_code': result.exit_code,
    })


def inventory(found: Inventory, rules: Sequence[Suspect] = (), *, colour: bool = False) -> str:
    """Write ``wpaudit.list/1``."""
    return _written({
        'schema': 'wpaudit.list/1', 'version': __version__, 'site': _site(found.facts),
        'components': [_component(one) for one in found.components], 'rules': _rules(rules),
        'gaps': _gaps(found.gaps),
    })


def doctor(checks: Sequence[Check], *, colour: bool = False) -> str:
    """Write ``wpaudit.doctor/1``."""
    return _written({
        'schema': 'wpaudit.doctor/1', 'version': __version__,
        'checks': [{'name': one.name, 'ok': one.ok, 'detail': one.detail, 'hint': one.hint} for one in checks],
    })


def triage(result: TriageReport, *, verbose: bool = False, colour: bool = False) -> str:
    """Write ``wpaudit.triage/1``. It is always complete, so the options change nothing."""
    found = result.diagnosis
    return _written({
        'schema': 'wpaudit.triage/1', 'command': result.command, 'version': result.version,
        'started': result.started, 'finished': result.finished,
        'target': {'host': result.target_host, 'path': result.target_path, 'url': result.url}, 'url': result.url,
        'state': found.state,
        'rate': _rate(found.rate),
        'hops': [
            {'name': one.name, 'address': one.address, 'outcome': one.outcome, 'seconds': one.seconds,
             'detail': one.detail}
            for one in found.hops
        ],
        'made_by': found.made_by, 'just_me': found.just_me,
        'cause': None if found.state == 'healthy' else _cause(found.cause),
        'others': [_cause(one) for one in found.others],
        'evidence': [_clue(one) for one in found.clues],
        'differences': found.differences, 'costs': [_cost(one) for one in found.costs],
        'gaps': _gaps(found.gaps), 'notes': found.notes,
        'effort': asdict(found.effort) if found.effort else None, 'exit_code': result.exit_code,
    })


def _cause(one: Cause) -> dict[str, Any]:
    return {
        'category': one.category, 'kind': one.kind, 'probability': one.probability, 'sentence': one.sentence,
        'advice': one.advice, 'bisect_helps': one.bisect_helps, 'supports': one.supports,
        'contradicts': one.contradicts,
    }


def _clue(one: Clue) -> dict[str, Any]:
    return {
        'kind': one.kind, 'source': one.source, 'reason': one.reason, 'plugin': one.plugin, 'strength': one.strength,
        'names': dict(sorted(one.names.items())),
    }


def _cost(one: Cost) -> dict[str, Any]:
    return {
        'name': one.name, 'suspects': one.suspects, 'calls': one.calls, 'seconds': one.seconds, 'memory': one.memory,
        'header_bytes': one.header_bytes, 'queries': one.queries, 'query_seconds': one.query_seconds,
        'requests': one.requests, 'request_seconds': one.request_seconds, 'hosts': dict(sorted(one.hosts.items())),
    }


def _site(facts: SiteFacts | None) -> dict[str, Any] | None:
    if facts is None:
        return None
    return {
        'wordpress': facts.wordpress, 'php': facts.php, 'server': facts.server, 'multisite': facts.multisite,
        'url': facts.url, 'path': facts.path, 'user': facts.user, 'database': facts.database,
        'object_cache': facts.object_cache,
    }


def _rate(rate: Rate | None) -> dict[str, Any] | None:
    if rate is None:
        return None
    return {'value': rate.value, 'low': rate.low, 'high': rate.high, 'n': rate.n, 'pattern': rate.pattern}


def _suspects(suspects: Sequence[Suspect]) -> list[dict[str, Any]]:
    return [
        {'kind': one.kind, 'id': one.id, 'name': one.name, 'version': one.version, 'layer': one.layer,
         'where': one.where}
        for one in suspects
    ]


def _rules(rules: Sequence[Suspect]) -> list[dict[str, Any]]:
    return [
        {**known, 'stuck': one.stuck, 'live_only': one.live_only, 'details': dict(one.details)}
        for one, known in zip(rules, _suspects(rules), strict=True)
    ]


def _component(one: Component) -> dict[str, Any]:
    return {
        'id': one.id, 'kind': one.kind, 'status': one.status, 'name': one.name, 'version': one.version,
        'update': one.update, 'requires_wordpress': one.requires_wordpress, 'requires_php': one.requires_php,
        'requires_plugins': one.requires_plugins, 'where': one.where, 'modified': one.modified,
        'problems': one.problems,
    }


def _claim(claim: Claim) -> dict[str, Any]:
    asked = {'on': claim.on} if claim.on is not None else {'off': claim.off}
    return {**asked, 'outcome': claim.outcome, 'claim': claim.claim, 'observed': claim.observed}


def _gaps(gaps: Sequence[Gap]) -> list[dict[str, str]]:
    return [{'what': one.what, 'why': one.why} for one in gaps]


def _restoration(one: Restoration | None) -> dict[str, Any] | None:
    if one is None:
        return None
    return {
        'verified': one.verified, 'before': one.before, 'after': one.after, 'left_behind': one.left_behind,
        'changed_seconds': one.changed_seconds, 'message': one.message, 'advice': one.advice,
    }


def _written(value: dict[str, Any]) -> str:
    return json.dumps(_plain(value), indent=2, ensure_ascii=True, allow_nan=False) + '\n'


def _plain(value: Any) -> Any:
    """Return ``value`` with nothing in it that a strict parser would refuse."""
    if isinstance(value, str):
        return _SURROGATE.sub(_spelled, value)
    if isinstance(value, dict):
        return {_plain(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _spelled(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f'\\x{code - 0xDC00:02x}' if 0xDC80 <= code <= 0xDCFF else f'\\u{code:04x}'  # noqa: PLR2004 - PEP 383
