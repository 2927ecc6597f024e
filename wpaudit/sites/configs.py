"""Fetch a configuration with all it includes from the host: layer by layer, each file once, bounded."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import field
from typing import Protocol

from wpaudit.domain import Gap
from wpaudit.sites.hostask import File

LAYERS = 10   # of includes within includes
FILES = 400   # of one configuration

Includes = Callable[[str, str], Iterable[str]]  # (path, text) -> patterns, absolute


class Files(Protocol):
    """Something that reads files by path or pattern: ``hostask.HostAsk``, or a fake."""

    def files(self, patterns: Iterable[str]) -> tuple[File, ...]:
        """Read them."""


@dataclass
class Fetched:
    """Files by path, and which paths a pattern means."""

    texts: dict[str, str] = field(default_factory=dict)
    paths: dict[str, list[str]] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)

    def fetch(self, files: Files, roots: Iterable[str], includes: Includes, *, what: str, quiet: bool = False) -> None:
        """Read ``roots`` and what they include. ``quiet``: a root that does not exist is no gap."""
        wanted = [one for one in dict.fromkeys(roots) if one not in self.paths]
        optional = set(wanted) if quiet else set()
        for _ in range(LAYERS):
            if not wanted:
                return
            fresh = self._layer(files, wanted, optional, what)
            more = [pattern for path in fresh for pattern in includes(path, self.texts[path])]
            wanted = [one for one in dict.fromkeys(more) if one not in self.paths]
        if wanted:
            self.gaps.append(Gap(f'{what} {wanted[0]}', f'is included more than {LAYERS} files deep'))

    def _layer(self, files: Files, wanted: list[str], optional: set[str], what: str) -> list[str]:
        fresh = []
        for pattern in wanted:
            self.paths.setdefault(pattern, [])
        for file in files.files(wanted):
            if file.pattern not in self.paths:
                continue  # nobody asked for it
            if file.why:
                if not (file.why == 'does not exist' and (file.pattern in optional or _magic(file.pattern))):
                    self.gaps.append(Gap(f'{what} {file.path}', file.why))
            elif len(self.texts) < FILES or file.path in self.texts:
                self.paths[file.pattern].append(file.path)
                if file.path not in self.texts:
                    self.texts[file.path] = file.text
                    fresh.append(file.path)
            else:
                self.gaps.append(Gap(f'{what} {file.path}', f'there are more than {FILES} files'))
                break
        return fresh


def _magic(pattern: str) -> bool:
    return any(sign in pattern for sign in '*?[')


def joined_path(base: str, path: str) -> str:
    """Return ``path`` below the directory ``base`` unless it is absolute."""
    return path if path.startswith('/') else f'{base.rstrip("/")}/{path}'
