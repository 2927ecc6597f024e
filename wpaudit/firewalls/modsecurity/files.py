"""The files of a web server's configuration and all that they include: few round trips, bounded, loops noticed."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field

from wpaudit.domain import Gap
from wpaudit.firewalls.reading import HostFile
from wpaudit.firewalls.reading import State
from wpaudit.firewalls.reading import read_matching
from wpaudit.ports import Shell

DEEPEST = 12       # ModSecurity 3 stops at 15 and Apache at 128 (AP_MAX_INCLUDE_DEPTH); people need three
MOST_FILES = 4_000
MOST_BYTES = 60_000_000  # of all files of one server

# What a file includes: absolute paths or patterns, in its order.
Includes = Callable[[str, str], Sequence[str]]  # path, text


@dataclass
class Collected:
    """Files by path, and for each pattern that something included the paths it stood for."""

    files: dict[str, HostFile] = field(default_factory=dict)
    matching: dict[str, tuple[str, ...]] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)

    def text(self, path: str) -> str:
        """Return a file's text, ``''`` when there is none."""
        file = self.files.get(path)
        return file.text if file is not None and file.state is State.FILE else ''


def collect(shell: Shell, roots: Sequence[str], includes: Includes) -> Collected:
    """Read ``roots`` (paths or patterns) and what they include, level by level.

    Each level is one round trip. What could not be read is a gap; a pattern that matches nothing is none.
    """
    found = Collected()
    wanted = list(dict.fromkeys(roots))
    for _ in range(DEEPEST):
        if not wanted:
            return found
        new = _read(shell, wanted, found)
        if sum(len(file.data) for file in found.files.values()) > MOST_BYTES or len(found.files) > MOST_FILES:
            found.gaps.append(Gap(roots[0], 'its configuration is too large to be read to its end'))
            return found
        targets = [target for file in new for target in _targets(file, includes)]
        wanted = [target for target in dict.fromkeys(targets) if target not in found.matching]
    if wanted:
        found.gaps.append(Gap(roots[0], f'its files include one another more than {DEEPEST} levels deep'))
    return found


def _targets(file: HostFile, includes: Includes) -> Sequence[str]:
    if file.state is State.DIRECTORY:
        return (posixpath.join(file.path, '*'),)  # Apache reads all of an included directory
    return includes(file.path, file.text) if file.state is State.FILE else ()


def _read(shell: Shell, patterns: Sequence[str], found: Collected) -> list[HostFile]:
    new = []
    for pattern, files in read_matching(shell, patterns).items():
        there = [file for file in files if file.state is not State.ABSENT]
        found.matching[pattern] = tuple(file.path for file in there if file.state is not State.UNREADABLE)
        for file in there:
            if file.path not in found.files:
                found.files[file.path] = file
                found.gaps.extend(_gap(file))
                new.append(file)
    return new


def _gap(file: HostFile) -> Iterator[Gap]:
    if file.state is State.UNREADABLE:
        directory = shlex.quote(posixpath.dirname(file.path))
        yield Gap(file.path, f'may not be read; as root: setfacl -R -m u:USER:rX {directory}')
    elif file.state is State.SPECIAL:
        yield Gap(file.path, 'is no plain file, so it was not opened')
    elif file.state is State.SKIPPED:
        yield Gap(file.path, 'was left out: there is too much to read')
    elif file.cut:
        yield Gap(file.path, f'is larger than {len(file.data)} bytes; only its beginning was read')


class Splicer:
    """Walks files in the order in which a server reads them: an included file stands where it is included."""

    def __init__(self, collected: Collected) -> None:
        self._collected = collected
        self._left = MOST_FILES
        self._missed = False

    def files_at(self, target: str, within: Sequence[HostFile]) -> Iterator[HostFile]:
        """Yield the files that an include means, ``within`` being those that are open around it.

        A file that includes itself, by whatever name, is a gap the second time.
        """
        if target not in self._collected.matching and not self._missed:
            self._missed = True
            self._collected.gaps.append(Gap(target, 'is included, but was not read'))
        for path in self._plain(self._collected.matching.get(target, ()), len(within)):
            file = self._collected.files[path]
            if any(file.identity == outer.identity for outer in within):
                self._collected.gaps.append(Gap(path, f'includes itself, by way of {within[-1].path}'))
            elif self._left > 0:
                self._left -= 1
                yield file
            elif self._left == 0:
                self._left = -1
                self._collected.gaps.append(Gap(path, 'was left out: files are included too often'))

    def _plain(self, paths: Iterable[str], depth: int) -> Iterator[str]:
        for path in paths:
            state = self._collected.files[path].state
            if state is State.FILE:
                yield path
            elif state is State.DIRECTORY and depth < DEEPEST:
                inner = self._collected.matching.get(posixpath.join(path, '*'), ())
                yield from self._plain(inner, depth + 1)


def for_user(gaps: Iterable[Gap], user: str) -> tuple[Gap, ...]:
    """Return the gaps with the name of the login in their commands."""
    return tuple(Gap(gap.what, gap.why.replace('u:USER:', f'u:{user}:')) for gap in gaps)


def absolute(path: str, base: str) -> str:
    """Return ``path`` as meant from ``base``. It keeps its ``..``: what that means behind a link, the host knows."""
    return path if path.startswith('/') else posixpath.join(base, path)


def distinct(gaps: Iterable[Gap]) -> tuple[Gap, ...]:
    """Return each gap once."""
    return tuple(dict.fromkeys(gaps))


