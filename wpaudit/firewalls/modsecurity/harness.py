"""SecLang that lets one request say which rules are off for it, while visitors keep all of them.

ModSecurity's language cannot compute the signature of the must-use plugin's header (it has no keyed hash, and macros
do not work in ``ctl:``), so the harness compares the SHA-1 of a random word that lives as long as the run. That means:

* Who sees a request of ours, or ModSecurity's audit log, can repeat its header until the harness expires. It buys them
  that the rules they name do not look at their request. So the word has 128 bits, is nowhere written on the host but in
  such logs (the harness has its hash), and the harness is there for the time of one search only.
* It expires by itself at a moment given in advance, on the host's clock: left behind, it does nothing.
* A request with another word, without one of the headers, or with one of them twice is treated as if there were no
  harness.

The same text serves ModSecurity 2 and 3. It holds numbers and words of our own, and nothing that a host says.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass

from wpaudit.firewalls.modsecurity.exceptions import is_plain
from wpaudit.firewalls.modsecurity.rules import LARGEST_ID

FIRST_ID = 9_700_000  # beyond the ranges that ModSecurity's handbook has given away (SecRule, "id")
LATEST = 1 << 33      # a time that cannot be meant; ModSecurity compares ints, so later ones never come
_CONTROLS = 5
_HEADER = re.compile(r'[A-Za-z][A-Za-z0-9-]{0,63}')
_WORD = re.compile(r'[0-9A-Za-z]{32,128}')
_SILENT = 'phase:1,t:none,pass,nolog,noauditlog'


@dataclass(frozen=True)
class Headers:
    """The names of the two request headers: the word that proves the right, and the rules that are to be off."""

    word: str = 'X-Wpaudit-Rules'
    off: str = 'X-Wpaudit-Off'


HEADERS = Headers()


@dataclass(frozen=True)
class Target:
    """One part of the request that a rule no longer looks at when ``number`` is among what is off."""

    number: int    # no id of a rule
    rule: int
    variable: str  # ``exceptions.is_plain``


def harness(
    rules: Sequence[int], word: str, expires: int, *, targets: Sequence[Target] = (), headers: Headers = HEADERS,
    first_id: int = FIRST_ID,
) -> str:
    """Return the harness for these rules and targets, with ids from ``first_id`` on (see ``free_ids``).

    It has to stand before the first rule of each scope (``scopes.places``). ``word`` is the run's secret, ``expires``
    seconds since the epoch. ValueError when a value is not what a harness may hold.
    """
    _check_words(word, headers)
    _check_numbers(rules, targets, expires, first_id)
    end = f'skipAfter:{_marker(first_id)}'
    digest = hashlib.sha1(word.encode('ascii'), usedforsecurity=False).hexdigest()
    controls = (
        f'SecRule TIME_EPOCH "@ge {expires}" "id:{first_id},{_SILENT},{end}"',
        # Without the header there is nothing for the comparison below to look at, and it would not skip.
        f'SecRule &REQUEST_HEADERS:{headers.word} "!@eq 1" "id:{first_id + 1},{_SILENT},{end}"',
        f'SecRule &REQUEST_HEADERS:{headers.off} "!@eq 1" "id:{first_id + 2},{_SILENT},{end}"',
        f'SecRule REQUEST_HEADERS:{headers.word} "!@streq {digest}" '
        f'"id:{first_id + 3},{_SILENT},t:sha1,t:hexEncode,{end}"',
        # Apache makes one header of two, with a comma and a blank between them.
        f'SecRule REQUEST_HEADERS:{headers.off} "!@rx ^[,0-9]+$" "id:{first_id + 4},{_SILENT},{end}"',
    )
    said = [(rule, f'ctl:ruleRemoveById={rule}') for rule in rules]
    said += [(one.number, f'ctl:ruleRemoveTargetById={one.rule};{one.variable}') for one in targets]
    switches = (
        f'SecRule REQUEST_HEADERS:{headers.off} "@contains ,{word_for}," '
        f'"id:{first_id + _CONTROLS + number},{_SILENT},{control}"'
        for number, (word_for, control) in enumerate(said)
    )
    return '\n'.join([*controls, *switches, f'SecMarker {_marker(first_id)}', ''])


def request_headers(off: Iterable[int], word: str, *, headers: Headers = HEADERS) -> tuple[tuple[str, str], ...]:
    """Return what a request has to send so that these rules are off for it; with none of them it changes nothing."""
    return (headers.word, word), (headers.off, ','.join(['', *(str(rule) for rule in off), '']))


def free_ids(
    count: int, taken: Iterable[int], ranges: Iterable[tuple[int, int]] = (), *, first: int = FIRST_ID,
) -> int:
    """Return the first id of ``harness`` for ``count`` rules that no rule has and no range takes out.

    ``taken`` are the ids of all rules of the host, ``ranges`` those of its ``SecRuleRemoveById``. ValueError when there
    is no such place, which no host in its senses brings about.
    """
    needed = count + _CONTROLS
    occupied = sorted([*((one, one) for one in taken), *ranges])
    start = first
    for low, high in occupied:
        if high >= start and low < start + needed:
            start = high + 1
    if start + needed - 1 > LARGEST_ID:
        raise ValueError('no ids are left for the harness')
    return start


def ids_needed(count: int) -> int:
    """Return how many ids in a row the harness for ``count`` rules takes."""
    return count + _CONTROLS


def _marker(first_id: int) -> str:
    return f'WPAUDIT-END-{first_id}'


def _check_words(word: str, headers: Headers) -> None:
    if not _WORD.fullmatch(word):
        raise ValueError('the word must have 32 to 128 letters and digits')
    if not _HEADER.fullmatch(headers.word) or not _HEADER.fullmatch(headers.off) or headers.word == headers.off:
        raise ValueError('these are no names of two headers')


def _check_numbers(rules: Sequence[int], targets: Sequence[Target], expires: int, first_id: int) -> None:
    if not 0 < expires < LATEST or not 0 < first_id <= LARGEST_ID - ids_needed(len(rules) + len(targets)):
        raise ValueError('a number is out of range')
    if not all(is_plain(one.variable) and 0 < one.rule <= LARGEST_ID for one in targets):
        raise ValueError('a target cannot be written')
    rules = [*rules, *(one.number for one in targets)]
    if len(set(rules)) != len(rules) or not all(0 < rule <= LARGEST_ID for rule in rules):
        raise ValueError('these are no ids of different rules')
