"""The lines of logs that mean something: ``signatures.json``, and what a line says by it. Pure.

Lines are hostile: visitors write parts of them. So every expression is bounded and has at most one gap that may be
tried in several lengths (the tests check it), a cheap text is looked for first, and what nginx and Apache quote from
the request is cut off before anything is looked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from functools import cached_property
from importlib import resources

LONGEST = 2048  # characters of a line that are looked at

_REQUEST = {'nginx': ', client: ', 'apache': ', referer: '}
_UPSTREAM = re.compile(r', upstream: "([^"]{1,200}+)"')
# A file of a plugin; the place of a fatal error comes after "in", what the message itself quotes comes before.
_PLUGIN_AT = re.compile(r' in /[^ \n]{0,300}?/(?:mu-)?plugins/([^/\s:\'"()]{1,100}+)')
_PLUGIN = re.compile(r'/wp-content/(?:mu-)?plugins/([^/\s:\'"()]{1,100}+)')


@dataclass(frozen=True)
class Signature:
    """One wording. ``to`` is ``php`` or ``proxy`` where the same words mean different things for php-fpm and a proxy.

    ``ours`` ones happen all day on every host, so that only lines about our own requests count. ``after`` finds one
    more name after the match. Expressions are compiled when a line ``has`` what they begin with: most never are.
    """

    id: str
    sources: tuple[str, ...]
    has: str
    expression: str
    clue: str
    meaning: str
    to: str = ''
    ours: bool = False
    plugin: bool = False
    after: str = ''

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The wording itself."""
        return re.compile(self.expression, re.MULTILINE)

    @cached_property
    def then(self) -> re.Pattern[str] | None:
        """What may come after it."""
        return re.compile(self.after) if self.after else None


@dataclass(frozen=True)
class Reading:
    """What one line says: by which signature, the words of it, and what it names."""

    signature: Signature
    words: str
    names: Mapping[str, str]
    plugin: str = ''


@cache
def signatures() -> tuple[Signature, ...]:
    """Read the signatures that the package brings along."""
    rows = json.loads(resources.files(__package__).joinpath('signatures.json').read_text(encoding='utf-8'))
    return tuple(
        Signature(
            id=row['id'], sources=tuple(row['sources']), has=row['has'], expression=row['pattern'],
            clue=row['clue'], meaning=row['meaning'], to=row.get('to', ''), ours=row.get('ours', False),
            plugin=row.get('plugin', False), after=row.get('then', ''))
        for row in rows
    )


def reading(source: str, text: str) -> Reading | None:
    """Return what a line of the log ``source`` says, by the first signature that fits; None when it says nothing."""
    text = text[:LONGEST]
    message = said_by_server(source, text)
    for signature in signatures():
        if source not in signature.sources or signature.has not in message:
            continue
        match = signature.pattern.search(message)
        if match and _fits(signature, text, message):
            return _read(signature, match, text, message)
    return None


def said_by_server(source: str, text: str) -> str:
    """Return ``text`` without what nginx or Apache quote from the request."""
    return text.split(_REQUEST[source], 1)[0] if source in _REQUEST else text


def plugin_of(text: str) -> str:
    """Return the directory of the plugin that a message names, ``''`` when it names none."""
    match = _PLUGIN_AT.search(text) or _PLUGIN.search(text)
    return match[1] if match else ''


def _read(signature: Signature, match: re.Match[str], text: str, message: str) -> Reading:
    names = {name: value.strip() for name, value in match.groupdict().items() if value}
    if signature.then and (more := signature.then.search(message, match.end())):
        names |= {name: value for name, value in more.groupdict().items() if value}
    asked = _UPSTREAM.search(text, len(message))
    if asked and 'upstream' not in names:
        names['upstream'] = asked[1]
    if 'seconds' in names:
        names['seconds'] += ' s'
    return Reading(signature, _words(match, message), names, plugin_of(message))


def _fits(signature: Signature, text: str, message: str) -> bool:
    """Is the server behind the right one? php-fpm unless nginx names another protocol."""
    if not signature.to:
        return True
    asked = _UPSTREAM.search(text, len(message))
    php = asked[1].startswith(('fastcgi://', 'unix:')) if asked else True
    return php is (signature.to == 'php')


def _words(match: re.Match[str], message: str) -> str:
    """Quote the line from where it matched."""
    return message[match.start():match.start() + 240].strip()
