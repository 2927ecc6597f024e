"""What a host says, checked while it is read: the one border between its JSON and our data.

A host may be broken, half updated or hostile. Whatever it sends ends in values of the right kind or in a SiteError.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from enum import Enum
from typing import Any
from typing import TypeVar

from wpaudit.errors import SiteError

MOST = 1 << 53  # what JSON numbers hold exactly (RFC 8259, section 6)

Choice = TypeVar('Choice', bound=Enum)


class Said:
    """One JSON object of a host. Every reader raises SiteError when the key is missing or holds another kind."""

    def __init__(self, fields: object) -> None:
        if not isinstance(fields, dict):
            raise SiteError('the agent on the host sent an answer of the wrong shape')
        self._fields: Mapping[str, Any] = fields

    def _get(self, key: str, wanted: str, *kinds: type) -> Any:
        value = self._fields.get(key)
        # bool is an int to Python and is none to JSON
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise SiteError(f'the agent on the host sent an answer of the wrong shape: "{key}" is no {wanted}')
        return value

    def has(self, key: str) -> bool:
        """Tell whether there is such a key with a value that is not null."""
        return self._fields.get(key) is not None

    def flag(self, key: str) -> bool:
        """Return a truth value."""
        return bool(self._get(key, 'truth value', bool))

    def number(self, key: str) -> float:
        """Return a finite number."""
        value = self._get(key, 'number', int, float)
        if not math.isfinite(value) or abs(value) > MOST:
            raise SiteError(f'the agent on the host sent an answer of the wrong shape: "{key}" is out of range')
        return float(value)

    def numbers(self, key: str) -> tuple[float, ...]:
        """Return a list of finite numbers."""
        found = self._list(key, int, float)
        return tuple(Said({key: value}).number(key) for value in found)

    def whole(self, key: str, *, least: int = -MOST) -> int:
        """Return a whole number."""
        value = int(self.number(key))
        if value < least:
            raise SiteError(f'the agent on the host sent an answer of the wrong shape: "{key}" is out of range')
        return value

    def text(self, key: str) -> str:
        """Return a string that was sent as JSON text, or as ``{"b64": ...}`` where it is not UTF-8."""
        return text(self._get(key, 'text', str, dict))

    def raw(self, key: str) -> str:
        """Return a string that was sent as base64."""
        return raw_text(self._get(key, 'text', str))

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of ``text``."""
        return tuple(text(value) for value in self._list(key, str, dict))

    def raws(self, key: str) -> tuple[str, ...]:
        """Return a list of ``raw``."""
        return tuple(raw_text(value) for value in self._list(key, str))

    def named(self, key: str) -> dict[str, str]:
        """Return strings by name."""
        found = Said(self._get(key, 'object', dict))
        return {name: found.text(name) for name in found._fields}

    def choice(self, key: str, kinds: type[Choice]) -> Choice:
        """Return the member of ``kinds`` whose value was sent."""
        value = self._get(key, 'text', str)
        for kind in kinds:
            if kind.value == value:
                return kind
        raise SiteError(f'the agent on the host sent an answer of the wrong shape: "{key}" is no {kinds.__name__}')

    def part(self, key: str) -> Said:
        """Return an object within this one."""
        return Said(self._get(key, 'object', dict))

    def parts(self, key: str) -> tuple[Said, ...]:
        """Return a list of objects."""
        return tuple(Said(value) for value in self._list(key, dict))

    def plain(self, key: str) -> list[Any]:
        """Return a list of objects as they came, to be kept and not to be looked into."""
        return self._list(key, dict)

    def _list(self, key: str, *kinds: type) -> list[Any]:
        found: list[Any] = self._get(key, 'list', list)
        if not all(isinstance(value, kinds) for value in found):
            raise SiteError(f'the agent on the host sent an answer of the wrong shape: "{key}" has strange entries')
        return found


def parsed(payload: str) -> Said:
    """Read one JSON object."""
    try:
        fields = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise SiteError('the agent on the host sent an answer that is not JSON') from error
    return Said(fields)


def text(value: object) -> str:
    """Decode a string of the agent: JSON text, or ``{"b64": ...}`` for bytes that are not UTF-8."""
    if isinstance(value, dict):
        return raw_text(value.get('b64'))
    # JSON can spell half a surrogate pair, which no encoding takes.
    return value.encode('utf-8', 'backslashreplace').decode() if isinstance(value, str) else ''


def raw_text(value: object) -> str:
    """Decode base64 from the agent to a surrogateescape string."""
    try:
        return base64.b64decode(str(value or '')).decode('utf-8', 'surrogateescape')
    except ValueError:
        return ''


def encoded(value: str) -> str:
    """Encode a surrogateescape string as base64 for the agent."""
    return base64.b64encode(value.encode('utf-8', 'surrogateescape')).decode()
