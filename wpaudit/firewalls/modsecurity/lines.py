"""What ModSecurity writes about a request -> the rules that matched, and where in the request.

Reads error logs of nginx (version 3) and Apache (version 2), and audit logs, serial or JSON. A line holds text of the
request, and a visitor may have sent text that looks like ModSecurity's own; nothing in a line tells them apart for
certain. So a hit is a reason to look at a rule first and no more, and ``known`` drops what fits no rule that is loaded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import replace
from typing import Any

from wpaudit.firewalls.modsecurity.rules import LARGEST_ID
from wpaudit.firewalls.modsecurity.rules import Rule

LONGEST_LINE = 256 << 10  # nginx cuts its lines at 2 KiB; a JSON audit entry is one line and may hold bodies
MOST_HITS = 2_000
_LONGEST_REQUEST = 64
_DENIED = re.compile(r'Access denied with (?:code (\d{3})|redirection|connection close)')
# nearest to each other, so that a pair of them is about one rule; bounded, since both engines cut long texts
_RULE = re.compile(r'\[file "((?:[^"\\]|\\.){0,4096})"\] \[line "(\d{1,9})"\] \[id "(\d{1,10})"\]')
_VARIABLES = (
    re.compile(r"against variable `([A-Z_]{2,40}(?::[^\s`'\"]{1,200})?)'"),
    re.compile(r' found within ([A-Z_]{2,40}(?::[^\s:"]{1,200})?): '),
    re.compile(r' at ([A-Z_]{2,40}(?::[^\s"]{1,200}?)?)\. \['),
)
_URI = re.compile(r'\[uri "([^"\s]{1,2000})"\]')
_UNIQUE = re.compile(r'\[unique_id "([A-Za-z0-9@_.-]{1,64})"\]')


@dataclass(frozen=True)
class Hit:
    """One rule that matched. ``status`` is what it answered, 0 for one that only counted.

    Audit logs of version 3 in JSON do not say which of the rules denied.
    ``variable`` is the part of the request as rules call it (``ARGS:search``), ``''`` when the line does not say.
    """

    rule: int
    path: str
    line: int
    status: int = 0
    denied: bool = False
    variable: str = ''
    request: str = ''  # ModSecurity's unique_id, the same for all lines about one request
    uri: str = ''      # path of the request, as the line has it


def hits(lines: Iterable[str]) -> tuple[Hit, ...]:
    """Return what these lines say, each hit once, at most MOST_HITS. Lines of other kinds are passed over."""
    found: dict[Hit, None] = {}
    for line in lines:
        for hit in _hits(line[:LONGEST_LINE]):
            found.setdefault(hit)
            if len(found) >= MOST_HITS:
                return tuple(found)
    return tuple(found)


def known(found: Iterable[Hit], rules: Iterable[Rule]) -> tuple[Hit, ...]:
    """Return the hits that name a loaded rule together with the file and a line where it stands."""
    places: dict[int, list[Rule]] = {}
    for rule in rules:
        places.setdefault(rule.id, []).append(rule)
    return tuple(
        hit for hit in found
        if any(rule.path == hit.path and rule.first <= hit.line <= rule.last for rule in places.get(hit.rule, ()))
    )


def _hits(line: str) -> Iterator[Hit]:
    if line.startswith('{'):
        yield from _json_hits(line)
    elif '[id "' in line:
        yield from _text_hits(line)


def _text_hits(text: str) -> Iterator[Hit]:
    denied = _DENIED.search(text)
    variable = next((match[1] for pattern in _VARIABLES if (match := pattern.search(text))), '')
    unique = _UNIQUE.search(text)
    uris = _URI.findall(text)  # the last one is the engine's own
    for path, line, number in _RULE.findall(text):
        if 0 < int(number) <= LARGEST_ID:
            yield Hit(
                int(number), path, int(line), int(denied[1] or 0) if denied else 0, denied is not None, variable,
                unique[1] if unique else '', uris[-1] if uris else '',
            )


def _json_hits(line: str) -> Iterator[Hit]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return
    if not isinstance(entry, dict):
        return
    transaction = _part(entry, 'transaction')
    for message in _list(transaction, 'messages'):  # version 3
        details = _part(message, 'details') if isinstance(message, dict) else {}
        number, at = str(details.get('ruleId', '')), str(details.get('lineNumber', ''))
        if _is_number(number) and _is_number(at) and 0 < int(number) <= LARGEST_ID:
            text = f'{details.get("match", "")} {details.get("data", "")}'
            variable = next((found[1] for pattern in _VARIABLES if (found := pattern.search(text))), '')
            yield Hit(
                int(number), str(details.get('file', '')), int(at), variable=variable,
                request=str(transaction.get('unique_id', ''))[:_LONGEST_REQUEST],
                uri=str(_part(transaction, 'request').get('uri', '')).partition('?')[0],
            )
    for message in _list(_part(entry, 'audit_data'), 'messages'):  # version 2
        if isinstance(message, str):
            request = str(transaction.get('transaction_id', ''))[:_LONGEST_REQUEST]
            yield from (replace(hit, request=hit.request or request) for hit in _text_hits(message))


def _part(entry: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = entry.get(key)
    return found if isinstance(found, dict) else {}


def _list(entry: Mapping[str, Any], key: str) -> list[Any]:
    found = entry.get(key)
    return found if isinstance(found, list) else []


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 11  # noqa: PLR2004 - digits of 2**31
