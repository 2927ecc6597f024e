"""Change files of a web server's configuration for as long as a run lasts: tested, reloaded gracefully, put back.

What both layers do whose rules stand in what a server reads when it starts or is told to (``sh/reconfigure.sh``)::

    change = Change(servers=paths of main configurations, edits=(Edit(file.real, file.text, new text), ...),
                    additions=(Addition(beside(file.real, word) + '/name', text), ...), word=word)
    with reconfigured(ground, LAYER, change) as (warden, make):
        yield make(mode, hold, parallel=True)

Everything is done by the user who runs the servers, root as a rule: through ``entitled``. The files come back as the
same inodes; how often a server was reloaded is the message of the ``Restoration``.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
import secrets
import shlex
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field
from importlib import resources

from wpaudit.errors import ModeUnavailable
from wpaudit.firewalls.acting import may_root
from wpaudit.firewalls.acting import rooted
from wpaudit.firewalls.modsecurity.running import Master
from wpaudit.firewalls.modsecurity.running import masters
from wpaudit.firewalls.modsecurity.seclang import Engine
from wpaudit.firewalls.reading import State
from wpaudit.firewalls.reading import escaped
from wpaudit.firewalls.reading import read_files
from wpaudit.firewalls.switching import RuleSwitcherMaker
from wpaudit.firewalls.switching import warded
from wpaudit.firewalls.warden import Keeping
from wpaudit.firewalls.warden import Warden
from wpaudit.ports import Ground
from wpaudit.ports import Shell
from wpaudit.signals import shielded

SECONDS = 300.0  # for a test and a reload of every server
ASK_SECONDS = 30.0
ORDERS = ('hold', 'add', 'commit', 'renew', 'read')
_WORD = re.compile('[0-9a-f]{16}')
_RUN = secrets.token_hex(4)
_NAME = re.compile('[A-Za-z_][A-Za-z0-9_]*')
_NGINX_OPTION = re.compile(r'\s-(?=[cegp])')


@dataclass(frozen=True)
class Edit:
    """One file, by its real path (``HostFile.real``), the text that was read, and the one to be read instead."""

    path: str
    old: str
    new: str


@dataclass(frozen=True)
class Addition:
    """A file of ours. It stands in a directory of ours beside an edited file (``beside``), which is gone afterwards."""

    path: str
    text: str


@dataclass(frozen=True)
class Change:
    """What is to be changed. ``servers`` are the main configurations of all servers that read the files."""

    servers: tuple[str, ...]
    edits: tuple[Edit, ...]
    additions: tuple[Addition, ...] = ()
    word: str = ''  # from ``new_word``
    patience: int = 60  # seconds that a server may take to read its configuration


def new_word() -> str:
    """Return 16 hexadecimal digits, new for each change. They begin alike for all changes of one run."""
    return _RUN + secrets.token_hex(4)


def merged(old: str, new: str, current: str) -> str:
    """Return ``new`` with the lines that ``current`` has besides those of ``old``: another layer's, put in meanwhile.

    Both have all lines of ``old`` in their order. Raises ModeUnavailable when ``current`` has lost some of them.
    """
    if current == old:
        return new
    base = old.splitlines(keepends=True)
    ours, theirs = _added(base, new), _added(base, current)
    if ours is None or theirs is None:
        raise ModeUnavailable('somebody changed the configuration of the web server since it was read')
    lines = [line for before in zip(theirs, ours, [[one] for one in base] + [[]], strict=True) for part in before
             for line in part]
    return ''.join(lines)


def _added(base: Sequence[str], text: str) -> list[list[str]] | None:
    """Return the lines that stand before each line of ``base``, and behind the last; None when one is missing."""
    found: list[list[str]] = [[]]
    for line in text.splitlines(keepends=True):
        if len(found) <= len(base) and line == base[len(found) - 1]:
            found.append([])
        else:
            found[-1].append(line)
    return found if len(found) > len(base) else None


def beside(path: str, word: str) -> str:
    """Return the directory of ours beside a file. Wildcards of nginx, Apache and ModSecurity pass over its name."""
    return posixpath.join(posixpath.dirname(path), f'.wpaudit-{word}')


@contextmanager
def reconfigured(ground: Ground, name: str, change: Change) -> Iterator[tuple[Warden, RuleSwitcherMaker]]:
    """Hold a change in place: all of it, tested and read by every server, or nothing.

    Raises ModeUnavailable, with every file as it was, when that may not be done or a server would not take it.
    """
    if not change.edits or not _WORD.fullmatch(change.word):
        raise ValueError('there is nothing to change, or no word for the run')
    chosen = _chosen(reader(ground), change.servers)
    ground = entitled(ground, chosen)
    # A child may be taken for a master while it begins; it bears the same words.
    starts = tuple(dict.fromkeys(_start(ground.shell, one) for one in chosen))
    with warded(ground, name, lambda _directory: _keeping(change, starts)) as (warden, make):
        with shielded():
            _apply(warden, change)
        yield warden, make


def renew(warden: Warden, additions: Sequence[Addition]) -> None:
    """Replace the text of files of ours, and let the servers read it. Raises ModeUnavailable, with all put back."""
    for one in additions:
        _done(warden, 'renew', f'{_line(one.path)}{_digest(one.text)}\n{one.text}')
    _done(warden, 'read', '')


def reader(ground: Ground) -> Shell:
    """Return the shell that sees most: root's, where sudo is allowed and works."""
    return rooted(ground).shell if ground.sudo and not may_root(ground) else ground.shell


def obstacle(ground: Ground, paths: Sequence[str]) -> str:
    """Say why the servers with these main configurations cannot be reconfigured by this login, '' when they can."""
    try:
        entitled(ground, _chosen(reader(ground), paths))
    except ModeUnavailable as error:
        return error.message
    return ''


def entitled(ground: Ground, servers: Sequence[Master]) -> Ground:
    """Return the ground of the user who runs these servers. Raises ModeUnavailable for a login that may not be it."""
    users = {one.user for one in servers}
    login = ground.shell.run(['id', '-u'], timeout=ASK_SECONDS).stdout.decode('ascii', 'replace').strip()
    if users == {_number(login)}:
        return ground
    if users != {0}:
        raise ModeUnavailable(
            f'{_named(servers)} runs as user {", ".join(map(str, sorted(users)))} and the login is user {login}: '
            'log in as the user who runs the web server',
        )
    return rooted(ground)


def _chosen(shell: Shell, paths: Sequence[str]) -> tuple[Master, ...]:
    running = masters(shell)
    for path in paths:
        if not any(one.server.path == path for one in running):
            raise ModeUnavailable(f'no web server is seen to run with {path}, so none could be told of a change')
    return tuple(one for one in running if one.server.path in paths)


# -- how a server is asked to test its configuration ------------------------------------------------

@dataclass(frozen=True)
class _Start:
    """How a master was started: what its process is called, its command line, and a script that tests."""

    comm: str
    line: str
    test: str = field(repr=False)  # may hold secrets of the server's environment


def _start(shell: Shell, master: Master) -> _Start:
    paths = {name: f'/proc/{master.pid}/{name}' for name in ('comm', 'cmdline', 'environ')}
    files = read_files(shell, list(paths.values()))
    comm, line = files[paths['comm']].text.strip(), files[paths['cmdline']].text
    if line != master.line or files[paths['environ']].state is not State.FILE:
        raise ModeUnavailable(f'the web server with {master.server.path} was started anew meanwhile, or is another\'s')
    nginx = master.server.engine is Engine.V3
    options, paths_in = (_nginx_options(line), ('-c', '-p')) if nginx else (_apache_options(line), ('-f', '-d'))
    pairs = zip(options[::2], options[1::2], strict=True)
    if any(name in paths_in and not value.startswith('/') for name, value in pairs):
        raise ModeUnavailable(f'{comm} was started with a path that says too little: {line.replace(chr(0), " ")}')
    # nginx writes its title over its environment, which it needs for nothing here
    environment = {} if nginx else _environment(files[paths['environ']].text)
    flags = ('-t', '-q') if nginx else ('-t',)
    exports = ''.join(f'export {name}={shlex.quote(value)}\n' for name, value in environment.items())
    return _Start(comm, line, f'cd "/proc/$1/cwd"\n{exports}exec "/proc/$1/exe" {shlex.join((*flags, *options))}\n')


def _nginx_options(line: str) -> tuple[str, ...]:
    """Return the options in the title of nginx's master, where all words are joined by blanks."""
    _, *parts = _NGINX_OPTION.split(line.replace('\0', ' '))
    return tuple(word for part in parts for word in (f'-{part[0]}', part[1:].strip()))


def _apache_options(line: str) -> tuple[str, ...]:
    """Return the options that say what Apache is to be: all but what to do, and not to go to the background."""
    found = []
    words = iter(line.rstrip('\0').split('\0')[1:])
    for word in words:
        name, value = word[:2], word[2:]
        if name in ('-k', '-d', '-f', '-C', '-c', '-D', '-e', '-E'):
            value = value or next(words, '')
            if name not in ('-k', '-E') and (name, value) != ('-D', 'FOREGROUND'):
                found += [name, value]
    return tuple(found)


def _environment(text: str) -> dict[str, str]:
    pairs = (one.partition('=') for one in text.split('\0'))
    return {name: value for name, _, value in pairs if _NAME.fullmatch(name)}


# -- the warden's part ------------------------------------------------------------------------------

def _keeping(change: Change, starts: Sequence[_Start]) -> Keeping:
    digests = ''.join(f'# {_digest(one.old)}\n' for one in change.edits)
    text = resources.files('wpaudit.firewalls').joinpath('sh', 'reconfigure.sh').read_text(encoding='utf-8')
    scripts = [('reconfigure', text), ('patience', str(change.patience))]
    scripts += [(word, f'exec sh "${{0%/*}}/reconfigure" {word}\n') for word in ORDERS]
    for number, one in enumerate(starts):
        scripts += [(f'comm-{number}', one.comm), (f'cmdline-{number}', one.line), (f'test-{number}', one.test)]
    return Keeping(undo=f'{digests}exec sh "${{0%/*}}/reconfigure" back </dev/null\n', scripts=tuple(scripts))


def _apply(warden: Warden, change: Change) -> None:
    for number, one in enumerate(change.edits):
        head = f'{number}\n{_line(one.path)}{change.word}\n{_digest(one.old)}\n{_digest(one.new)}\n'
        _done(warden, 'hold', head + one.new)
    for each in change.additions:
        _done(warden, 'add', f'{_line(each.path)}{_digest(each.text)}\n{each.text}')
    _done(warden, 'commit', '')


def _done(warden: Warden, name: str, text: str) -> None:
    done = warden.act(name, text, seconds=SECONDS)
    if done.status:
        said = ' '.join(done.text[-900:].split())
        raise ModeUnavailable(f'the configuration of the web server was not changed: {said}')


def _line(path: str) -> str:
    """Write a path as one word and line for ``printf %b``."""
    return escaped(path).replace(' ', '\\0040') + '\n'


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode('utf-8', 'surrogateescape')).hexdigest()


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else -1


def _named(servers: Sequence[Master]) -> str:
    return ' and '.join(dict.fromkeys('nginx' if one.server.engine is Engine.V3 else 'Apache' for one in servers))
