"""Apache's configuration syntax: directives, sections, continued lines. By hand.

The libraries tried fail on Debian's own files. https://httpd.apache.org/docs/2.4/configuring.html
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

DEEPEST = 50      # sections within sections; real files have four
LONGEST = 16384   # characters of one line; httpd takes 8192 (MAX_STRING_LEN, include/httpd.h)


@dataclass(frozen=True)
class Line:
    """One directive, or a section with what is in it. Names are lower-case."""

    name: str
    args: tuple[str, ...]
    block: tuple[Line, ...] | None = None


def parse(text: str) -> tuple[Line, ...]:
    """Read one file without its includes; sections that are not closed end with the file."""
    stack: list[tuple[str, tuple[str, ...], list[Line]]] = [('', (), [])]
    for line in _logical(text):
        if line.startswith('</'):
            name = line[2:].rstrip('>').strip().lower()
            if any(one[0] == name for one in stack[1:]):
                while len(stack) > 1:
                    closed = stack.pop()
                    stack[-1][2].append(Line(closed[0], closed[1], tuple(closed[2])))
                    if closed[0] == name:
                        break
        elif line.startswith('<'):
            name, *args = _words(line[1:].rstrip().removesuffix('>')) or ['']
            if len(stack) < DEEPEST:
                stack.append((name.lower(), tuple(args), []))
        else:
            name, *args = _words(line)
            stack[-1][2].append(Line(name.lower(), tuple(args)))
    while len(stack) > 1:
        name, given, block = stack.pop()
        stack[-1][2].append(Line(name, given, tuple(block)))
    return tuple(stack[0][2])


def _logical(text: str) -> Iterator[str]:
    whole = ''
    for raw in text.splitlines():
        if raw.endswith('\\'):
            whole = (whole + raw[:-1])[:LONGEST]
            continue
        line = (whole + raw)[:LONGEST].strip()
        whole = ''
        if line and not line.startswith('#'):
            yield line
    if whole.strip() and not whole.strip().startswith('#'):
        yield whole.strip()


def _words(line: str) -> list[str]:
    try:
        lexer = shlex.shlex(line, posix=True, punctuation_chars=False)
        lexer.whitespace_split, lexer.commenters, lexer.escape = True, '', ''
        return list(lexer) or [line]
    except ValueError:
        return line.split()
