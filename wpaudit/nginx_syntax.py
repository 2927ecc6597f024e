"""nginx's configuration syntax, read by crossplane (https://github.com/nginxinc/crossplane); only this module knows it.

crossplane reads files, and follows includes on the machine it runs on. A host's text must not make us open files of
ours: each is parsed alone (``single``), out of a temporary directory. Bytes that are not UTF-8 are carried as Python's
``surrogateescape`` strings. Backslashes in arguments stay as they stand in the file, but for those before the quote
that encloses them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from functools import lru_cache
from pathlib import Path
from typing import Any

DEEPEST = 60  # blocks within blocks; crossplane's parser calls itself for each
_PRIVATE = 0xE000  # private use area of Unicode: where bytes wait while crossplane, which drops them, reads the text


@dataclass(frozen=True)
class Directive:
    """One directive; ``block`` is None where it ends in a semicolon. Two are the same wherever they stand."""

    name: str
    args: tuple[str, ...] = ()
    block: tuple[Directive, ...] | None = None
    line: int = field(default=0, compare=False)  # in its file, from 1

    def inner(self, name: str) -> Iterator[Directive]:
        """Yield the directives of this name that stand right in its block."""
        return (one for one in self.block or () if one.name == name)


@dataclass(frozen=True)
class Parsed:
    """One file: what could be read of it, and what nginx would not read either, a sentence each."""

    directives: tuple[Directive, ...] = ()
    errors: tuple[str, ...] = ()


def every(block: Iterable[Directive]) -> Iterator[Directive]:
    """Yield all directives, those in blocks too."""
    for one in block:
        yield one
        yield from every(one.block or ())


@lru_cache(maxsize=64)  # mime.types and its like, which every configuration includes
def parsed(text: str) -> Parsed:
    """Read one file without what it includes; raises nothing for what it holds."""
    import crossplane  # type: ignore[import-untyped]  # has no types; only hosts with nginx need it

    if _depth(text) > DEEPEST:
        return Parsed(errors=(f'has more than {DEEPEST} blocks within blocks',))
    with tempfile.TemporaryDirectory(prefix='wpaudit-nginx-') as directory:
        path = Path(directory, 'nginx.conf')
        path.write_text(_hidden(text), encoding='utf-8', errors='replace')
        try:
            found = crossplane.parse(str(path), single=True, check_ctx=False, check_args=False)['config'][0]
        except (ValueError, RecursionError, RuntimeError, StopIteration, IndexError) as error:
            return Parsed(errors=(f'cannot be parsed: {type(error).__name__}',))
    errors = (f'{one["error"].partition(" in ")[0]} in line {one["line"]}' for one in found['errors'])
    return Parsed(_directives(found['parsed']), tuple(f'cannot be parsed: {error}' for error in errors))


def _directives(statements: Sequence[Mapping[str, Any]]) -> tuple[Directive, ...]:
    return tuple(
        Directive(_shown(str(one['directive'])), tuple(_shown(str(word)) for word in one['args']),
                  _directives(one['block']) if 'block' in one else None, one['line'])
        for one in statements
    )


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
