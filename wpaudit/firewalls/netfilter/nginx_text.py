"""nginx's configuration as a tree, read by crossplane and written again so that nginx reads the same.

crossplane would follow includes on *our* machine, so it gets each text alone, out of a temporary directory. It leaves
backslashes in arguments as they stand in the file, but for those before the quote that encloses them; so does
``written``.
"""

from __future__ import annotations

import posixpath
import re
import tempfile
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wpaudit.firewalls.modsecurity.files import Splicer
from wpaudit.firewalls.modsecurity.files import absolute
from wpaudit.firewalls.modsecurity.files import collect
from wpaudit.firewalls.reading import HostFile
from wpaudit.ports import Shell

_PRIVATE = 0xE000  # private use area of Unicode: where bytes wait while crossplane, which drops them, reads the text
_DEEPEST = 60
_PLAIN = re.compile(r'(?:[^\s;{}"\'\\$]|\\.|\$(?:\w|\{\w+\}|(?=[^\w{])))+', re.DOTALL)
_QUOTES = re.compile(r'\\.|"', re.DOTALL)


class Unreadable(Exception):
    """The configuration cannot be read as a whole; the text is a sentence."""


@dataclass(frozen=True)
class Directive:
    """One directive; ``block`` is None where it ends in a semicolon."""

    name: str
    args: tuple[str, ...] = ()
    block: tuple[Directive, ...] | None = None

    def inner(self, name: str) -> Iterator[Directive]:
        """Yield the directives of this name that stand right in its block."""
        return (one for one in self.block or () if one.name == name)


def every(block: Iterable[Directive]) -> Iterator[Directive]:
    """Yield all directives, those in blocks too."""
    for one in block:
        yield one
        yield from every(one.block or ())


def parse(text: str) -> tuple[Directive, ...]:
    """Read one file without what it includes. Raises Unreadable."""
    import crossplane  # type: ignore[import-untyped] # has no types; only hosts with nginx need it

    if _depth(text) > _DEEPEST:
        raise Unreadable(f'it has more than {_DEEPEST} blocks within blocks')
    with tempfile.TemporaryDirectory(prefix='wpaudit-') as directory:
        file = Path(directory) / 'nginx.conf'
        file.write_text(_hidden(text), encoding='utf-8')
        try:
            found = crossplane.parse(str(file), single=True, check_ctx=False, check_args=False)['config'][0]
        except (ValueError, RecursionError, RuntimeError, StopIteration, IndexError) as error:
            raise Unreadable(f'it cannot be parsed: {type(error).__name__}') from error
    for wrong in found['errors']:
        raise Unreadable(f'it cannot be parsed: {wrong["error"].partition(" in ")[0]} in line {wrong["line"]}')
    return tuple(_directive(one) for one in found['parsed'])


def unfolded(shell: Shell, path: str) -> tuple[Directive, ...]:
    """Read the configuration at ``path`` with every include replaced by what it includes. Raises Unreadable."""
    whole = _Whole(shell, path)
    tree = tuple(whole.spliced(path, ()))
    for gap in whole.collected.gaps:
        raise Unreadable(f'{gap.what}: {gap.why}')
    if not tree:
        raise Unreadable(f'{path} is empty or not there')
    return tree


class _Whole:
    """All files of one configuration."""

    def __init__(self, shell: Shell, path: str) -> None:
        self._base = posixpath.dirname(path)
        self._parsed: dict[str, tuple[Directive, ...]] = {}
        self.collected = collect(shell, [path], self._includes)
        self._splicer = Splicer(self.collected)

    def _includes(self, path: str, text: str) -> list[str]:
        try:
            self._parsed[path] = parse(text)
        except Unreadable as error:
            raise Unreadable(f'{path}: {error}') from error
        includes = (one for one in every(self._parsed[path]) if one.name == 'include' and one.args)
        return [absolute(one.args[0], self._base) for one in includes]

    def spliced(self, path: str, within: tuple[HostFile, ...]) -> Iterator[Directive]:
        """Yield what a file, or all that match a pattern, hold."""
        for file in self._splicer.files_at(path, within):
            yield from self._block(self._parsed.get(file.path, ()), (*within, file))

    def _block(self, block: Sequence[Directive], within: tuple[HostFile, ...]) -> Iterator[Directive]:
        for one in block:
            if one.name == 'include' and one.args and one.block is None:
                yield from self.spliced(absolute(one.args[0], self._base), within)
            elif one.block is not None:
                yield Directive(one.name, one.args, tuple(self._block(one.block, within)))
            else:
                yield one


def written(block: Sequence[Directive], depth: int = 0) -> str:
    """Write a tree as nginx reads it."""
    return ''.join(f'{"  " * depth}{_line(one, depth)}\n' for one in block)


def _line(one: Directive, depth: int) -> str:
    words = [_quoted(word) for word in one.args]
    if one.name == 'if':
        words = [f'({" ".join(words)})']
    head = ' '.join([_quoted(one.name), *words])
    return f'{head};' if one.block is None else f'{head} {{\n{written(one.block, depth + 1)}{"  " * depth}}}'


def _quoted(word: str) -> str:
    if _PLAIN.fullmatch(word):
        return word
    return '"' + _QUOTES.sub(lambda found: found[0] if len(found[0]) > 1 else '\\"', word) + '"'


def _directive(one: dict[str, Any]) -> Directive:
    block = tuple(_directive(inner) for inner in one['block']) if 'block' in one else None
    return Directive(_shown(str(one['directive'])), tuple(_shown(str(word)) for word in one['args']), block)


def _hidden(text: str) -> str:
    return ''.join(chr(_PRIVATE + ord(one) - 0xDC00) if '\udc80' <= one <= '\udcff' else one for one in text)


def _shown(text: str) -> str:
    return ''.join(chr(ord(one) - _PRIVATE + 0xDC00) if '\ue080' <= one <= '\ue0ff' else one for one in text)


def _depth(text: str) -> int:
    """Return an upper bound of the depth; braces in strings and comments count, which real files have few of."""
    deepest = depth = 0
    for sign in text:
        if sign == '{':
            depth += 1
            deepest = max(deepest, depth)
        elif sign == '}':
            depth = max(0, depth - 1)
    return deepest
