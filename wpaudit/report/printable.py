"""The one place where text from a host becomes safe to show."""

from __future__ import annotations

import re
import unicodedata

LIMIT = 1000
_CUT = '…'

# C0, DEL and C1 controls, which start every terminal escape sequence (ECMA-48); line and paragraph separators; what
# reorders or hides text (UAX #9 and the invisible format characters); lone surrogates. The joiners U+200C and U+200D
# stay: Persian, Indic scripts and emoji are written with them.
_SUSPICIOUS = re.compile(r'[^\x20-\x7e]')
_ALLOWED = frozenset('\u200c\u200d')
_HIDDEN = frozenset({'Cc', 'Cf', 'Cs', 'Zl', 'Zp'})


def printable(text: str, limit: int = LIMIT) -> str:
    """Return ``text`` on one line, with everything that could act on a terminal or deceive a reader spelled out.

    Bytes that were not UTF-8 appear as ``\\xNN``. At most ``limit`` characters; idempotent.
    """
    safe = _SUSPICIOUS.sub(_spelled, text[:limit + 1])
    return safe if len(safe) <= limit else safe[:limit - 1] + _CUT


def _spelled(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    if character in _ALLOWED or unicodedata.category(character) not in _HIDDEN:
        return character
    if 0xDC80 <= code <= 0xDCFF:  # noqa: PLR2004 - surrogateescape (PEP 383) puts bytes there
        return f'\\x{code - 0xDC00:02x}'
    if code <= 0xFF:  # noqa: PLR2004
        return {'\n': '\\n', '\r': '\\r', '\t': '\\t'}.get(character, f'\\x{code:02x}')
    return f'\\u{code:04x}' if code <= 0xFFFF else f'\\U{code:08x}'  # noqa: PLR2004
