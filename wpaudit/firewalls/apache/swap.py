"""Put new texts in the place of files on a host, and the old files back: scripts for the warden (``sh/swap.sh``).

A hard link keeps the old file, ``rename`` puts the new one in its place and later the link back, so that inode, owner,
mode and times are what they were. Before a visitor meets the new text, a directory of ours with a page in it does.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
import secrets
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from urllib.parse import quote
from urllib.parse import urlsplit
from urllib.parse import urlunsplit

from wpaudit.errors import ModeUnavailable
from wpaudit.errors import NotRestored
from wpaudit.firewalls.reading import Garbled
from wpaudit.firewalls.reading import escaped
from wpaudit.firewalls.warden import RESTORE
from wpaudit.firewalls.warden import Keeping
from wpaudit.firewalls.warden import Warden
from wpaudit.ports import Shell

ASK_SECONDS = 30.0
SWAP_SECONDS = 180.0  # for all files together: two requests each, ten seconds at the most
REASONS = {
    'yes': '',
    'link': 'it is a link or no plain file, and what it leads to may be others\' too',
    'owner': 'it belongs to another user, and a file in its place would not',
    'directory': 'nothing can be put beside it: the directory is not writable',
}


ACTS = ('prepare', 'commit', 'try_out_all', 'stage', 'turn')
_THEIRS = 5  # status: somebody else was there


@dataclass(frozen=True)
class Change:
    """One file and its new text."""

    path: str
    old: str
    new: str


@dataclass(frozen=True)
class Prospect:
    """What a swap would meet: the host's local time (14 digits), and for each path why it cannot be replaced."""

    time: str
    reasons: Mapping[str, str]


def prospect(shell: Shell, paths: Sequence[str]) -> Prospect:
    """Ask the host, as the user who would do it. Changes nothing; raises Garbled."""
    lines = ''.join(f'{_word(path)}\n' for path in paths)
    result = shell.run(ASKING, timeout=ASK_SECONDS, stdin=lines.encode('ascii'))
    time, *said = result.stdout.decode('ascii', 'replace').split()[:len(paths) + 1] or ['']
    if not re.fullmatch('[0-9]{14}', time) or len(said) != len(paths) or not set(said) <= set(REASONS):
        raise Garbled('The host did not say which files could be replaced.')
    return Prospect(time, {path: REASONS[word] for path, word in zip(paths, said, strict=True)})


def keeping(changes: Sequence[Change]) -> Keeping:
    """Return the scripts of the swap. The way back needs none of the texts; their digests say which run it is."""
    digests = ''.join(f'# {_digest(one.old)}\n' for one in changes)
    return Keeping(
        undo=f'{digests}exec sh "${{0%/*}}/swap" back </dev/null\n',
        scripts=(
            ('swap', _text('swap.sh')),
            *((name, f'exec sh "${{0%/*}}/swap" {name}\n') for name in ACTS),
        ),
    )


def swap(warden: Warden, changes: Sequence[Change], *, root: str, url: str) -> None:
    """Replace all of these files, or none. Raises ModeUnavailable; whoever holds the warden then undoes what was begun.

    ``root`` is the directory that ``url`` shows.
    """
    _done(warden, 'commit', ''.join(_prepared(warden, changes, root=root, url=url)))


class Turning:
    """Files of one run whose texts change again and again, for everybody. Not thread-safe.

    ``changes`` say which files there may be; their new texts are what Apache is asked about first, and have to mean
    what the old ones do. The files stay as they are until ``to`` is called.
    """

    def __init__(self, warden: Warden, changes: Sequence[Change], *, root: str, url: str) -> None:
        """Prepare all of them. Raises ModeUnavailable, as ``swap`` does."""
        self._warden = warden
        self._old = {one.path: one.old for one in changes}
        self._now = dict(self._old)
        self._numbers = {one.path: number for number, one in enumerate(changes)}
        self._pages = _prepared(warden, changes, root=root, url=url)
        _done(warden, 'try_out_all', ''.join(self._pages))

    def to(self, texts: Mapping[str, str], expires: str) -> None:
        """Put these texts in place, by path, and the old ones where there is none; what is so already is not touched.

        ``expires`` is the time in them at which they are over. Raises ModeUnavailable when Apache does not like one of
        them, and NotRestored when somebody else changed a file.
        """
        wanted = {path: texts.get(path, old) for path, old in self._old.items()}
        changing = [path for path, text in wanted.items() if text != self._now[path]]
        for path in changing:
            text = '' if wanted[path] == self._old[path] else wanted[path]
            _done(self._warden, 'stage', '\n'.join([str(self._numbers[path]), _digest(wanted[path]), expires, text]))
        if changing:
            _done(self._warden, 'turn', ''.join(self._pages[self._numbers[path]] for path in changing))
        self._now = wanted


def _prepared(warden: Warden, changes: Sequence[Change], *, root: str, url: str) -> list[str]:
    """Put the new texts beside the old files; return for each the line that says where it can be tried."""
    word = secrets.token_hex(8)
    pages = []
    for number, one in enumerate(changes):
        head = [str(number), _word(one.path), word, _digest(one.old), _digest(one.new)]
        _done(warden, 'prepare', '\n'.join([*head, one.new]))
        folder = _folder(posixpath.dirname(one.path), root)
        pages.append(f'{number} {_page(url, root, folder, f"wpaudit-canary-{word}-{number}")} {_word(folder)}\n')
    return pages


def _done(warden: Warden, name: str, text: str) -> None:
    done = warden.act(name, text, seconds=SWAP_SECONDS)
    said = done.text.strip()[-500:]
    if done.status == _THEIRS:
        raise NotRestored(said, hint=RESTORE)
    if done.status:
        raise ModeUnavailable(f'rules of .htaccess files were not touched: {said}')


def _folder(directory: str, root: str) -> str:
    """Return where the page that tries a text is put: beside the file, or in the site for a file above it."""
    root = posixpath.normpath(root)
    return directory if directory == root or directory.startswith(f'{root.rstrip("/")}/') else root


def _page(url: str, root: str, folder: str, name: str) -> str:
    parts = urlsplit(url)
    below = posixpath.relpath(folder, posixpath.normpath(root))
    path = posixpath.normpath(posixpath.join(parts.path or '/', below, name, 'page.txt'))
    raw = path.lstrip('/').encode('utf-8', 'surrogateescape')
    return urlunsplit((parts.scheme, parts.netloc, '/' + quote(raw, safe="/%:@!$&'()*+,;=~"), '', ''))


def _word(path: str) -> str:
    """Write a path as one word for ``printf %b``."""
    return escaped(path).replace(' ', '\\0040')


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode('utf-8', 'surrogateescape')).hexdigest()


def _text(name: str) -> str:
    return resources.files('wpaudit.firewalls').joinpath('sh', name).read_text(encoding='utf-8')


ASKING = ('sh', '-c', _text('replaceable.sh'), 'wpaudit')
