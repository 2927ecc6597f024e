"""What Apache writes to its error log about a refused request -> which kind of rule is the likelier. Pure.

These lines name the file that was asked for, never the rule. A visitor chooses that name, so a line is a reason to look
at some rules first and no more. The numbers are those of httpd 2.4's own messages (``APLOGNO``).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass

from wpaudit.domain import Evidence
from wpaudit.firewalls.apache.units import Sort
from wpaudit.firewalls.apache.units import Unit

LONGEST_LINE = 16 << 10  # Apache cuts its lines at 8 KiB
MOST_HINTS = 1_000
SOURCE = 'Apache error log'
WEIGHT = 4.0  # a kind of rule, not a rule
BROKEN = 'broken'

# number -> kinds of rule, and what the line means
_MEANINGS: dict[str, tuple[tuple[Sort, ...], str]] = {
    'AH01630': ((Sort.REQUIRE,), 'a Require line refused it'),
    'AH01797': ((Sort.DENY, Sort.SETENVIF), 'a Deny line refused it'),
    'AH00670': ((Sort.REWRITE,), 'rewrite rules are refused while Options has no FollowSymLinks'),
    'AH10410': ((Sort.REWRITE,), 'a rewrite rule made a query string that Apache refuses'),
    'AH10411': ((Sort.REWRITE,), 'a rewrite rule made a query string that Apache refuses'),
    'AH10508': ((Sort.REWRITE,), 'a rewrite rule made an address with a question mark that Apache refuses'),
    'AH00669': ((Sort.REWRITE,), 'a rewrite rule sends it on to another server without mod_proxy'),
    'AH10160': ((Sort.REWRITE,), 'a rewrite rule sends it on to another server without mod_proxy'),
    'AH00124': ((Sort.REWRITE,), 'rewrite rules went round in circles'),
    'AH02596': ((Sort.REWRITE,), 'rewrite rules went round in circles'),
}
# Only what stands at the beginning is Apache's: the rest of a line holds text of the visitor.
_HEAD = r'\A(?:\[[^\]]{1,100}\] ){1,6}'
_NUMBER = re.compile(_HEAD + r'(AH[0-9]{5}): ')
_FILE = re.compile(r'client denied by server configuration: (/.{0,4096}?)(?:, referer: .*)?\Z', re.DOTALL)
_CLIENT = re.compile(_HEAD + r'?\[client ([0-9A-Fa-f.:]{2,45}?)(?::[0-9]{1,5})?\]')
_REFUSED = re.compile(r'\A\[[^\]]{1,100}\] \[core:alert\] (?:\[[^\]]{1,100}\] ){1,4}(/[^:]{1,4096}): (.{1,500})')


@dataclass(frozen=True)
class Hint:
    """One line. ``sorts`` are the kinds of rule that it speaks against, empty when the file itself is broken."""

    number: str
    sorts: tuple[Sort, ...]
    reason: str
    path: str = ''    # the file that was asked for, or the configuration file that Apache refuses
    client: str = ''


def hints(lines: Iterable[str]) -> tuple[Hint, ...]:
    """Return what these lines say, each thing once, at most MOST_HINTS. Other lines are passed over."""
    found: dict[Hint, None] = {}
    for line in lines:
        one = _hint(line[:LONGEST_LINE].rstrip('\r\n'))
        if one is not None:
            found.setdefault(one)
        if len(found) >= MOST_HINTS:
            break
    return tuple(found)


def evidence(found: Iterable[Hint], units: Mapping[str, Sequence[Unit]]) -> tuple[Evidence, ...]:
    """Return what these hints say against the units of some files, by path of the file.

    A ``.htaccess`` is about files below its own directory only.
    """
    said: dict[tuple[str, ...], Evidence] = {}
    for hint in found:
        suspects = tuple(
            f'{path}:{unit.line}' for path, listed in units.items() for unit in listed
            if unit.sort in hint.sorts and _below(hint.path, path)
        )
        if suspects:
            said.setdefault(suspects, Evidence(SOURCE, f'{hint.number}: {hint.reason}', suspects, WEIGHT))
    return tuple(said.values())


def _hint(line: str) -> Hint | None:
    client = _CLIENT.search(line)
    address = client[1] if client else ''
    refused = _REFUSED.search(line)
    if refused and '.ht' in posixpath.basename(refused[1]):
        return Hint(BROKEN, (), refused[2].strip(), refused[1], address)
    number = _NUMBER.search(line)
    if number is None or number[1] not in _MEANINGS:
        return None
    sorts, reason = _MEANINGS[number[1]]
    file = _FILE.search(line)
    return Hint(number[1], sorts, reason, file[1] if file else '', address)


def _below(asked: str, path: str) -> bool:
    directory = posixpath.dirname(path).rstrip('/')
    named = posixpath.basename(path).startswith('.ht')
    return not asked or not named or asked == directory or asked.startswith(f'{directory}/')
