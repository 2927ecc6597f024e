"""nginx's configuration as one tree, and written again so that nginx reads the same."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from collections.abc import Sequence

from wpaudit.firewalls.modsecurity.files import Splicer
from wpaudit.firewalls.modsecurity.files import absolute
from wpaudit.firewalls.modsecurity.files import collect
from wpaudit.firewalls.reading import HostFile
from wpaudit.nginx_syntax import Directive
from wpaudit.nginx_syntax import every
from wpaudit.nginx_syntax import parsed
from wpaudit.ports import Shell

_PLAIN = re.compile(r'(?:[^\s;{}"\'\\$]|\\.|\$(?:\w|\{\w+\}|(?=[^\w{])))+', re.DOTALL)
_QUOTES = re.compile(r'\\.|"', re.DOTALL)


class Unreadable(Exception):
    """The configuration cannot be read as a whole; the text is a sentence."""


def parse(text: str) -> tuple[Directive, ...]:
    """Read one file without what it includes. Raises Unreadable."""
    read = parsed(text)
    if read.errors:
        raise Unreadable(f'it {read.errors[0]}')
    return read.directives


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
