"""nginx's configuration syntax, read by crossplane (https://github.com/nginxinc/crossplane); only this module knows it.

crossplane reads files, and follows includes on the machine it runs on. A host's text must not make us open files of
ours: each is parsed alone (``single``), out of a temporary directory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import crossplane  # type: ignore[import-untyped]  # it comes without types; see Directive

DEEPEST = 60  # blocks within blocks; crossplane's parser calls itself for each


@dataclass(frozen=True)
class Directive:
    """One directive; ``block`` is None where it ends in a semicolon."""

    name: str
    args: tuple[str, ...]
    block: tuple[Directive, ...] | None = None


@lru_cache(maxsize=64)  # mime.types and its like, which every configuration includes
def parse(text: str) -> tuple[Directive, ...]:
    """Read one file without its includes. Raises ValueError with a sentence for what nginx would not read either."""
    if _depth(text) > DEEPEST:
        raise ValueError(f'has more than {DEEPEST} blocks within blocks')
    with tempfile.TemporaryDirectory(prefix='wpaudit-nginx-') as directory:
        path = Path(directory, 'nginx.conf')
        path.write_text(text, encoding='utf-8', errors='replace')
        try:
            read = crossplane.parse(str(path), single=True, check_ctx=False, check_args=False, catch_errors=True)
        except (ValueError, RecursionError, RuntimeError, StopIteration, IndexError) as error:
            raise ValueError(f'cannot be parsed: {error}') from error
    config = read['config'][0]
    if config['errors'] and not config['parsed']:
        raise ValueError(f'cannot be parsed: {str(config["errors"][0]["error"]).replace(str(path), "the file")}')
    return _directives(config['parsed'])


def _directives(parsed: Sequence[Mapping[str, Any]]) -> tuple[Directive, ...]:
    return tuple(
        Directive(str(one['directive']), tuple(str(word) for word in one['args']),
                  _directives(one['block']) if 'block' in one else None)
        for one in parsed
    )


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
