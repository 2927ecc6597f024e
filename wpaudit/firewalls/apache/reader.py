"""Read Apache configuration text as httpd does: logical lines, quoted words, sections. Pure.

After ``ap_cfg_getline`` and ``ap_getword_conf`` (server/util.c), ``ap_build_config_sub`` (server/config.c) and
``parseargline`` (modules/mappers/mod_rewrite.c) of httpd 2.4. Text holds bytes that are not UTF-8 as surrogateescape.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field

BIGGEST = 10_000_000  # characters of one file; httpd itself stops at a line of 16 MiB
SPACE = ' \t\n\v\f\r'  # isspace() in the C locale, which httpd runs in
DEEPEST = 60  # sections inside sections
_MARKER = re.compile(r'#[ \t]*(BEGIN|END)[ \t]+(.+)', re.DOTALL)
_QUOTES = ('"', "'")


@dataclass(frozen=True)
class Section:
    """An open section: ``name`` in lower case (``files``), its arguments, the line it starts at."""

    name: str
    args: str
    first: int


@dataclass(frozen=True)
class Directive:
    """One logical line. Lines count from 1; ``last`` is greater than ``first`` where lines were joined.

    ``name`` is in lower case. The line that opens a section has ``<files`` as its name, the closing one is none.
    """

    name: str
    args: str
    first: int
    last: int
    sections: tuple[Section, ...] = ()  # enclosing ones, outermost first
    owner: str = ''  # of the innermost `# BEGIN owner` ... `# END owner`
    word: str = ''   # the name as written

    @property
    def text(self) -> str:
        """The directive as one line."""
        return f'{self.word} {self.args}'.strip()


@dataclass(frozen=True)
class Document:
    """One file as read. ``problems`` are reasons why Apache refuses it, or why it is not read as Apache does."""

    lines: tuple[str, ...]  # physical lines with their newlines; joined they are the text again
    directives: tuple[Directive, ...] = ()
    ends: Mapping[int, int] = field(default_factory=dict)  # first line of a section -> its last line
    problems: tuple[str, ...] = ()
    open_end: bool = False  # the last line asks for another one: whatever is put behind it would be part of it


def read(text: str) -> Document:
    """Take a file apart. Never raises; what is wrong with it is among the ``problems``."""
    if len(text) > BIGGEST:
        return Document((), problems=(f'it is longer than {BIGGEST:,} bytes',))
    reading = _Reading(tuple(text.splitlines(keepends=True)) if _only_newlines(text) else tuple(_split(text)))
    return reading.document()


def _only_newlines(text: str) -> bool:
    """Tell whether str.splitlines() cuts only where httpd does: at line feeds."""
    return not re.search('[\r\v\f\x1c\x1d\x1e\x85\u2028\u2029]', text)


def _split(text: str) -> Iterator[str]:
    for line in re.finditer(r'[^\n]*\n|[^\n]+\Z', text):
        yield line[0]


class _Reading:
    """Walks over the lines of one file and keeps what is open."""

    def __init__(self, lines: tuple[str, ...]) -> None:
        self._lines = lines
        self._sections: list[Section] = []
        self._owners: list[str] = []
        self._found: list[Directive] = []
        self._ends: dict[int, int] = {}
        self._problems: list[str] = []
        self._open_end = False

    def document(self) -> Document:
        for first, last, logical in self._logical():
            if logical.startswith('#'):
                self._comment(logical)
            elif logical:
                self._directive(first, last, logical)
            if self._problems:
                break  # httpd stops here too
        if not self._problems:
            self._problems += [f'line {one.first}: <{one.name}> is not closed' for one in self._sections[-1:]]
        return Document(self._lines, tuple(self._found), self._ends, tuple(self._problems), self._open_end)

    def _logical(self) -> Iterator[tuple[int, int, str]]:
        """Yield first and last line and the trimmed text of each logical line."""
        parts: list[str] = []
        for number, line in enumerate(self._lines, start=1):
            if '\0' in line:
                self._problems.append(f'line {number}: a NUL byte hides the rest of the line from Apache')
                return
            body = line[:-1] if line.endswith('\n') else line
            body = body[:-1] if body.endswith('\r') and line.endswith('\n') else body
            goes_on = line.endswith('\n') and body.endswith('\\')
            parts.append(body[:-1] if goes_on else body)
            if not goes_on:
                yield number - len(parts) + 1, number, ''.join(parts).strip(SPACE)
                parts = []
        if parts:
            self._open_end = True
            yield len(self._lines) - len(parts) + 1, len(self._lines), ''.join(parts).strip(SPACE)
        elif self._lines and self._lines[-1].endswith('\\'):
            self._open_end = True  # it is no continuation now, and would be one with a newline behind it

    def _comment(self, logical: str) -> None:
        marker = _MARKER.fullmatch(logical)
        if marker is None:
            return
        owner = marker[2].strip(SPACE)
        if marker[1] == 'BEGIN':
            self._owners.append(owner)
        elif owner in self._owners:
            while self._owners.pop() != owner:
                pass

    def _directive(self, first: int, last: int, logical: str) -> None:
        word, args = word_conf(logical)
        name = word.lower()
        if name.startswith('</'):
            self._close(first, last, name, args)
        elif name.startswith('<'):
            self._open(first, last, word, args)
        elif name:
            self._found.append(self._made(word, args, first, last))
            if name in ('rewriterule', 'rewritecond') and not _rewrite_is_readable(args):
                self._problems.append(f'line {first}: Apache refuses the arguments of {word}')

    def _made(self, word: str, args: str, first: int, last: int) -> Directive:
        owner = self._owners[-1] if self._owners else ''
        return Directive(word.lower(), args, first, last, tuple(self._sections), owner, word)

    def _open(self, first: int, last: int, name: str, args: str) -> None:
        if name.endswith('>') and not args:
            name, args = name[:-1], '>'
        if '>' not in args:
            self._problems.append(f'line {first}: {name} has no ">"')
        elif name == '<' or len(self._sections) >= DEEPEST:
            self._problems.append(f'line {first}: sections that cannot be read')
        else:
            self._found.append(self._made(name, args[:args.rindex('>')].strip(SPACE), first, last))
            self._sections.append(Section(name[1:].lower(), self._found[-1].args, first))

    def _close(self, first: int, last: int, name: str, args: str) -> None:
        name = name[2:]
        wanted = self._sections[-1].name if self._sections else ''
        if not wanted or not name.endswith('>') or args or name[:-1] != wanted:
            self._problems.append(f'line {first}: </{name} does not close <{wanted}>' if wanted else
                                  f'line {first}: </{name} closes nothing')
            return
        self._ends[self._sections.pop().first] = last


# -- words -----------------------------------------------------------------------------------------

def word_conf(text: str) -> tuple[str, str]:
    """Return the first word and what follows it (``ap_getword_conf``). An open quote ends with the text."""
    text = text.lstrip(SPACE)
    if not text:
        return '', ''
    quote = text[0] if text[0] in _QUOTES else ''
    word, at = [], 1 if quote else 0
    while at < len(text) and (text[at] != quote if quote else text[at] not in SPACE):
        if text[at] == '\\' and at + 1 < len(text) and (text[at + 1] == '\\' or (quote and text[at + 1] == quote)):
            at += 1
        word.append(text[at])
        at += 1
    return ''.join(word), text[at + 1 if quote else at:].lstrip(SPACE)


def words(text: str) -> tuple[str, ...]:
    """Return all words of a directive's arguments."""
    found = []
    while text:
        word, text = word_conf(text)
        found.append(word)
    return tuple(found)


@dataclass(frozen=True)
class RewriteArgs:
    """The arguments of RewriteRule or RewriteCond: values, and ``written`` with their quotes. ``flags`` as written."""

    first: str
    second: str
    flags: str
    written: tuple[str, str]


def rewrite_args(text: str) -> RewriteArgs | None:
    """Split the arguments of a rewrite directive (``parseargline``); None where httpd refuses them.

    Other than in other directives a backslash protects only a space, and what follows the flags is ignored.
    """
    found, written = [], []
    for _ in range(3):
        text = text.lstrip(SPACE)
        quote = text[0] if text and text[0] in _QUOTES else ''
        at = start = 1 if quote else 0
        while at < len(text) and (text[at] != quote if quote else text[at] not in SPACE):
            at += 2 if text[at] == '\\' and at + 1 < len(text) and text[at + 1] in SPACE else 1
        found.append(text[start:at])
        written.append(text[:at + 1 if quote else at])
        text = text[at + 1:]
    if not written[0] or not written[1] or not _ended(written[0]):
        return None
    return RewriteArgs(found[0], found[1], found[2], (written[0], written[1]))


def _ended(written: str) -> bool:
    return written[0] not in _QUOTES or (len(written) > 1 and written[-1] == written[0])


def flags(text: str) -> tuple[tuple[str, str], ...] | None:
    """Return the flags of a rewrite directive, names in lower case; None where httpd refuses them."""
    if not text:
        return ()
    if len(text) < 2 or text[0] != '[' or text[-1] != ']':  # noqa: PLR2004 - the two brackets
        return None
    found = []
    for one in text[1:-1].split(','):
        name, _, value = one.strip(SPACE).partition('=')
        found.append((name.lower(), value))
    return tuple(found)


def _rewrite_is_readable(text: str) -> bool:
    args = rewrite_args(text)
    return args is not None and flags(args.flags) is not None
