"""Apache's configuration as far as ModSecurity 2 is concerned: scopes out of files that include one another."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace

from wpaudit.domain import Gap
from wpaudit.firewalls.modsecurity.files import Collected
from wpaudit.firewalls.modsecurity.files import Splicer
from wpaudit.firewalls.modsecurity.files import absolute
from wpaudit.firewalls.modsecurity.files import collect
from wpaudit.firewalls.modsecurity.rules import RULE_DIRECTIVES
from wpaudit.firewalls.modsecurity.rules import Located
from wpaudit.firewalls.modsecurity.scopes import Configuration
from wpaudit.firewalls.modsecurity.scopes import Hosts
from wpaudit.firewalls.modsecurity.scopes import Place
from wpaudit.firewalls.modsecurity.scopes import Scope
from wpaudit.firewalls.modsecurity.seclang import Engine
from wpaudit.firewalls.modsecurity.seclang import Piece
from wpaudit.firewalls.modsecurity.seclang import pieces
from wpaudit.firewalls.reading import HostFile
from wpaudit.ports import Shell

_INCLUDES = frozenset({'include', 'includeoptional'})
# Sections that make no context of their own. Whether their conditions hold is not asked: what may be loaded counts.
_CONDITIONS = frozenset({'<ifmodule', '<ifdefine', '<ifversion', '<iffile', '<ifdirective', '<ifsection', '<macro'})
_WITHOUT_MODSECURITY = re.compile(r'!(?:security2_module|mod_security2\.c)\Z')
_VARIABLE = re.compile(r'\$\{([^}]*)\}')
_PORT = re.compile(r'(?:.*:)?(\d{1,5})\Z')
_MOST_SCOPES = 5_000


def apache_configuration(shell: Shell, path: str, root: str) -> tuple[Configuration, tuple[Gap, ...]]:
    """Read the configuration at ``path``; ``root`` is ServerRoot unless the configuration says another.

    When the module is not loaded, its scopes hold no rules.
    """
    base = _Base(root)
    collected = collect(shell, [path], lambda _file, text: base.targets(text))
    walk = _Walk(collected, _Base(root))  # anew: what is defined late in the first pass is not yet known early in it
    walk.file(path)
    scopes = walk.scopes()
    if walk.loaded:
        return Configuration(Engine.V2, path, scopes, collected.files), (*collected.gaps, *walk.gaps)
    bare = tuple(replace(scope, own=(), places=(), on=False) for scope in scopes)
    return Configuration(Engine.V2, path, bare), tuple(gap for gap in collected.gaps if gap.what == path)


class _Base:
    """What paths are relative to, and variables: both may be set by the very files that use them."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._defined: dict[str, str] = {}

    def targets(self, text: str) -> list[str]:
        """Return what a file includes, noting what it defines."""
        return [target for piece in pieces(text, Engine.V2) for target in self.noted(piece)]

    def noted(self, piece: Piece) -> Sequence[str]:
        """Return what a piece includes; take note of what it defines."""
        words = piece.words[1:]
        if piece.name == 'serverroot' and words:
            self._root = self.filled(words[0])
        elif piece.name == 'define' and len(words) > 1:
            self._defined.setdefault(words[0], self.filled(words[1]))
        elif piece.name in _INCLUDES and words:
            return (absolute(self.filled(words[0]), self._root),)
        return ()

    def below_root(self, path: str) -> str:
        """Return the path of a log: programs (``|...``) and ``syslog:`` stay as they are."""
        return path if path.startswith(('|', '$', 'syslog')) else absolute(path, self._root)

    def filled(self, word: str) -> str:
        """Put variables in their places; unknown ones stay as they are, as in Apache."""
        return _VARIABLE.sub(lambda match: self._defined.get(match[1], match[0]), word)


@dataclass(frozen=True)
class _Including:
    """An ``Include`` whose files are being walked: its scope, and whether ModSecurity was loaded before it."""

    path: str
    line: int
    scope: int
    loaded: bool


@dataclass
class _Draft:
    outer: int
    opened: tuple[str, int]  # where its section begins
    server: bool             # the main server or a virtual host: what ModSecurity's first phase sees
    own: list[Located] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)
    roots: list[str] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)


class _Walk:
    """Goes through the files in Apache's order with the stack of open sections."""

    def __init__(self, collected: Collected, base: _Base) -> None:
        self.loaded = False
        self.gaps: list[Gap] = []
        self._collected = collected
        self._base = base
        self._splicer = Splicer(collected)
        self._drafts = [_Draft(-1, ('', 0), server=True)]
        self._stack = [0]      # drafts of the open sections; conditions repeat the one around them
        self._ignored = 0      # depth within sections for servers without ModSecurity
        self._including: list[_Including] = []

    def file(self, path: str) -> None:
        """Walk the main file."""
        for file in self._splicer.files_at(path, ()):
            self._pieces(file, (file,))

    def _pieces(self, file: HostFile, within: tuple[HostFile, ...]) -> None:
        for piece in pieces(file.text, Engine.V2):
            for target in self._base.noted(piece):
                self._including.append(_Including(file.path, piece.first, self._stack[-1], self.loaded))
                for inner in self._splicer.files_at(target, within):
                    self._pieces(inner, (*within, inner))
                self._including.pop()
            if piece.words:
                self._piece(file.path, piece)

    def _piece(self, path: str, piece: Piece) -> None:
        name = piece.name
        if name.startswith('</'):
            self._close()
        elif name.startswith('<'):
            self._open(path, piece)
        elif self._ignored:
            return
        elif name.startswith('sec'):
            self._own(path, piece)
        elif name == 'loadmodule' and piece.words[1:2] == ('security2_module',):
            self.loaded = True
        else:
            self._host(name, piece.words[1:])

    def _open(self, path: str, piece: Piece) -> None:
        words = [word.rstrip('>') for word in piece.words]
        name = words[0].lower()
        if self._ignored or (name == '<ifmodule' and any(_WITHOUT_MODSECURITY.match(word) for word in words[1:])):
            self._ignored += 1
        elif name in _CONDITIONS or len(self._drafts) >= _MOST_SCOPES:
            self._stack.append(self._stack[-1])
        else:
            self._drafts.append(_Draft(self._stack[-1], (path, piece.first), server=name == '<virtualhost'))
            self._stack.append(len(self._drafts) - 1)
            if name == '<virtualhost':
                self._drafts[-1].ports += _ports(words[1:])

    def _close(self) -> None:
        if self._ignored:
            self._ignored -= 1
        elif len(self._stack) > 1:
            self._stack.pop()

    def _own(self, path: str, piece: Piece) -> None:
        draft = self._drafts[self._stack[-1]]
        draft.own.append(Located(path, piece))
        if piece.broken:
            why = 'a quote does not end there; what follows is taken as Apache takes it'
            self.gaps.append(Gap(f'{path}:{piece.first}', why))
        if piece.name in RULE_DIRECTIVES:
            self._place(path, piece.first)

    def _place(self, path: str, line: int) -> None:
        """The first phase runs before Apache knows locations and directories, so a harness stands outside of them.

        And outside of included files, which may be other sites' too, or a package's: in the file that opens the scope.
        """
        index = self._stack[-1]
        while not self._drafts[index].server:
            path, line = self._drafts[index].opened
            index = self._drafts[index].outer
        if not self._drafts[index].places:
            outer = next((one for one in self._including if one.scope == index and one.loaded), None)
            self._drafts[index].places.append(Place(outer.path, outer.line) if outer else Place(path, line))

    def _host(self, name: str, words: Sequence[str]) -> None:
        index = self._stack[-1]
        while not self._drafts[index].server:
            index = self._drafts[index].outer
        draft = self._drafts[index]
        filled = [self._base.filled(word) for word in words]
        if name == 'servername':
            draft.names += [word.rpartition('//')[2] for word in filled[:1]]
        elif name == 'serveralias':
            draft.names += filled
        elif name == 'documentroot':
            draft.roots += filled[:1]
        elif name == 'errorlog' and filled:
            draft.logs.append(self._base.below_root(filled[0]))
        elif name == 'listen':
            draft.ports += _ports(filled[:1])

    def scopes(self) -> tuple[Scope, ...]:
        """Return what was found. The main server counts as a virtual host when there is no other."""
        several = any(draft.server for draft in self._drafts[1:])
        return tuple(
            Scope(
                draft.outer, tuple(draft.own), places=tuple(draft.places), logs=tuple(draft.logs),
                hosts=self._hosts(draft) if draft.server and not (several and draft.outer < 0) else None,
            )
            for draft in self._drafts
        )

    def _hosts(self, draft: _Draft) -> Hosts:
        roots = draft.roots or self._drafts[0].roots  # a virtual host without a document root has that of the server
        return Hosts(tuple(draft.names), tuple(draft.ports), tuple(roots))


def _ports(words: Sequence[str]) -> Iterator[int]:
    for word in words:
        match = _PORT.match(word)
        if match:
            yield int(match[1])


def server_root(path: str) -> str:
    """Return the usual ServerRoot of a configuration: Debian's own directory, the one above ``conf`` elsewhere."""
    directory = posixpath.dirname(path)
    return posixpath.dirname(directory) if posixpath.basename(directory) == 'conf' else directory
