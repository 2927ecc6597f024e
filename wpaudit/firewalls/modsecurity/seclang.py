"""SecLang as its two engines read it: text -> pieces that still say where they stood.

ModSecurity 2 lets Apache read its files (``ap_cfg_getline`` and ``ap_getword_conf`` of server/util.c), libmodsecurity 3
has a scanner of its own (src/parser/seclang-scanner.ll). They agree on well-kept files and differ at the edges:

===========================  =======================================  ============================================
\\                           ModSecurity 2 (Apache)                   ModSecurity 3
===========================  =======================================  ============================================
comment that ends in ``\\``  goes on in the next line                 only if it is a commented SecRule or SecAction
operator or message in "…"   ends with the line                       may hold newlines
quotes that do not end       the rest of the line is taken            taken for actions, an error elsewhere
===========================  =======================================  ============================================

Joined in their order, the pieces of a text are that text, byte for byte.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

MOST_SPANS = 8  # how often a directive goes on because of a quote that is still open

_SPACE = ' \t\r\n\v\f'  # C's isspace(); Python's knows more
_WORD = re.compile(
    r'[ \t\r\n\v\f]*(?:"((?:[^"\\]+|\\.|\\\Z)*)("|\Z)|\'((?:[^\'\\]+|\\.|\\\Z)*)(\'|\Z)|([^ \t\r\n\v\f]+))', re.DOTALL,
)
_COMMENTED_RULE = re.compile(r'#[ \t]*Sec(?:Rule|Action)\b', re.IGNORECASE)
_CONTINUED = re.compile(r'\\\r?\n\Z')
_SINGLE_QUOTE = re.compile(r"(?<!\\)'")
_ESCAPED = {'"': re.compile(r'\\(["\\])'), "'": re.compile(r"\\(['\\])")}


class Engine(StrEnum):
    """Which ModSecurity reads a file."""

    V2 = '2'
    V3 = '3'


@dataclass(frozen=True)
class Piece:
    """One directive with its continuation lines; or one comment or blank line, whose ``words`` are empty.

    ``words`` are the directive's name and its arguments without their quotes. ``broken`` says that a quote has no end.
    """

    raw: str
    first: int  # line, from 1
    words: tuple[str, ...] = ()
    broken: bool = False

    @property
    def name(self) -> str:
        """The directive in small letters: neither engine minds its case."""
        return self.words[0].lower() if self.words else ''

    @property
    def last(self) -> int:
        """The last line."""
        return self.first + self.raw.removesuffix('\n').count('\n')


def pieces(text: str, engine: Engine, *, first: int = 1) -> tuple[Piece, ...]:
    """Take a text apart. Never raises; ``''.join`` of their ``raw`` is ``text`` again."""
    lines = _lines(text)
    found: list[Piece] = []
    at = 0
    while at < len(lines):
        count = _comment_lines(lines, at, engine)
        if count:
            found.append(Piece(''.join(lines[at:at + count]), first + at))
        else:
            piece, count = _directive(lines, at, engine, first + at)
            found.append(piece)
        at += count
    return tuple(found)


def _lines(text: str) -> list[str]:
    """Split after newlines and nowhere else, as no method of str does."""
    lines = [f'{line}\n' for line in text.split('\n')]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines


def _comment_lines(lines: list[str], at: int, engine: Engine) -> int:
    """Return how many lines the comment or blank line at ``at`` takes; 0 when there is a directive."""
    start = lines[at].lstrip(_SPACE)
    if not start:
        return 1
    if not start.startswith('#'):
        return 0
    return _joined(lines, at) if engine is Engine.V2 or _COMMENTED_RULE.match(start) else 1


def _joined(lines: list[str], at: int) -> int:
    """Return how many lines are one because of the backslashes at their ends."""
    count = 1
    while at + count < len(lines) and _CONTINUED.search(lines[at + count - 1]):
        count += 1
    return count


def _directive(lines: list[str], at: int, engine: Engine, number: int) -> tuple[Piece, int]:
    count = _joined(lines, at)
    words, open_word = split_words(_logical(lines[at:at + count]))
    for _ in range(MOST_SPANS):
        if engine is Engine.V2 or open_word is None or not _may_span(words, open_word):
            break
        more = _lines_to_quote(lines, at + count)
        if not more:
            break
        count += more
        words, open_word = split_words(_logical(lines[at:at + count]))
    return Piece(''.join(lines[at:at + count]), number, words, open_word is not None), count


def _lines_to_quote(lines: list[str], at: int) -> int:
    """Return how many more lines there are up to one that may close a quote; all of them when none does."""
    ahead = next((index for index in range(at, len(lines)) if '"' in lines[index] or "'" in lines[index]), len(lines))
    return ahead - at + (_joined(lines, ahead) if ahead < len(lines) else 0)


def _may_span(words: tuple[str, ...], open_word: int) -> bool:
    """Tell whether an open quote goes on in the next line: within actions, only a message's single quotes do."""
    if words[0].lower() == 'secrule' and open_word == 2:  # noqa: PLR2004 - variables, then the operator
        return True
    return len(_SINGLE_QUOTE.findall(words[open_word])) % 2 == 1


def _logical(lines: list[str]) -> str:
    return ''.join(_CONTINUED.sub('', line) for line in lines)


def split_words(text: str) -> tuple[tuple[str, ...], int | None]:
    """Return the words of a logical line, and the index of the one whose quote does not end."""
    words: list[str] = []
    for match in _WORD.finditer(text.rstrip(_SPACE)):
        double, double_end, single, single_end, bare = match.groups()
        if bare is not None:
            words.append(bare)
            continue
        quote, inner, end = ('"', double, double_end) if double is not None else ("'", single, single_end)
        if not end:
            return (*words, inner), len(words)
        words.append(_ESCAPED[quote].sub(r'\1', inner))
    return tuple(words), None
