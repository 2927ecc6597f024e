"""nginx's configuration as far as ModSecurity 3 is concerned: scopes out of blocks with ``modsecurity_rules*``."""

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
from wpaudit.firewalls.modsecurity.rules import Located
from wpaudit.firewalls.modsecurity.scopes import Configuration
from wpaudit.firewalls.modsecurity.scopes import Form
from wpaudit.firewalls.modsecurity.scopes import Hosts
from wpaudit.firewalls.modsecurity.scopes import Place
from wpaudit.firewalls.modsecurity.scopes import Scope
from wpaudit.firewalls.modsecurity.seclang import Engine
from wpaudit.firewalls.modsecurity.seclang import pieces
from wpaudit.firewalls.reading import HostFile
from wpaudit.nginx_syntax import Directive
from wpaudit.nginx_syntax import every
from wpaudit.nginx_syntax import parsed
from wpaudit.ports import Shell

_PORT = re.compile(r'(?:.*:)?(\d{1,5})\Z')
_DEEPEST = 50       # blocks within blocks


def nginx_configuration(shell: Shell, path: str) -> tuple[Configuration, tuple[Gap, ...]]:
    """Read the configuration at ``path``. When ModSecurity is nowhere on, its scopes hold no rules.

    The module opens rule files from the directory in which nginx was started, whatever its prefix is: a service starts
    in ``/``.
    """
    parser = _Parser()
    base = posixpath.dirname(path)
    collected = collect(shell, [path], lambda _file, text: [absolute(one, base) for one in parser.included(text)])
    walk = _Walk(collected, parser, base)
    walk.file(path)
    if not any(draft.on for draft in walk.drafts):
        bare = tuple(replace(draft.scope(Collected(), on=False), own=(), places=()) for draft in walk.drafts)
        return Configuration(Engine.V3, path, bare), tuple(gap for gap in collected.gaps if gap.what == path)
    rules = collect(shell, walk.rule_files, _included_rules)
    scopes = tuple(draft.scope(rules, on=walk.on(draft)) for draft in walk.drafts)
    seen = {gap.what for gap in rules.gaps}
    absent = [Gap(one, 'is not there') for one in walk.rule_files if not rules.matching.get(one) and one not in seen]
    found = Configuration(Engine.V3, path, scopes, {**collected.files, **rules.files})
    return found, (*collected.gaps, *parser.gaps, *walk.gaps, *rules.gaps, *absent)


class _Parser:
    """crossplane, fed with text instead of files; each text is parsed once."""

    def __init__(self) -> None:
        self.gaps: list[Gap] = []

    def statements(self, text: str, path: str = '') -> tuple[Directive, ...]:
        """Return the directives of one file. What nginx would not read either is a gap."""
        read = parsed(text)
        missing = [Gap(path, f'{error}; what comes behind is not read') for error in read.errors if path]
        self.gaps += [gap for gap in missing if gap not in self.gaps]
        return read.directives

    def included(self, text: str) -> list[str]:
        """Return the patterns of ``include``, wherever in the file."""
        found = every(self.statements(text))
        return [one.args[0] for one in found if one.name == 'include' and one.args]


@dataclass
class _Draft:
    """A block: server-wide, `http`, a `server`, a `location`."""

    outer: int
    on: bool | None = None  # None: as in the block around it
    server: bool = False
    parts: list[tuple[str, Located | None]] = field(default_factory=list)  # rule files, and rules that stand right here
    places: list[Place] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)
    roots: list[str] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)

    def scope(self, rules: Collected, *, on: bool) -> Scope:
        """Return the scope, now that its rule files were read."""
        splicer = Splicer(rules)
        own: list[Located] = []
        for path, inline in self.parts:
            own += [inline] if inline is not None else _located(splicer, path, rules)
        hosts = Hosts(tuple(self.names), tuple(self.ports), tuple(self.roots)) if self.server else None
        return Scope(self.outer, tuple(own), on, tuple(self.places), hosts, tuple(self.logs))


class _Walk:
    """Goes through the blocks in nginx's order."""

    def __init__(self, collected: Collected, parser: _Parser, base: str) -> None:
        self.gaps: list[Gap] = []
        self.drafts = [_Draft(-1)]
        self._collected = collected
        self._parser = parser
        self._base = base
        self._splicer = Splicer(collected)

    @property
    def rule_files(self) -> list[str]:
        """The files that hold rules, in order."""
        return list(dict.fromkeys(path for draft in self.drafts for path, inline in draft.parts if inline is None))

    def file(self, path: str) -> None:
        """Walk the main file."""
        for file in self._splicer.files_at(path, ()):
            self._block(file, self._parser.statements(file.text, file.path), (file,), 0)

    def on(self, draft: _Draft) -> bool:
        """Tell whether ModSecurity is on in a block; off unless somebody says so."""
        while draft.on is None and draft.outer >= 0:
            draft = self.drafts[draft.outer]
        return bool(draft.on)

    def _block(self, file: HostFile, statements: Sequence[Directive], within: tuple[HostFile, ...], at: int) -> None:
        for one in statements:
            words = one.args
            if one.name == 'include' and words:
                for inner in self._splicer.files_at(absolute(words[0], self._base), within):
                    self._block(inner, self._parser.statements(inner.text, inner.path), (*within, inner), at)
            elif one.block:
                self.drafts.append(_Draft(at, server=one.name == 'server'))
                self._block(file, one.block, within, len(self.drafts) - 1)
            elif words:
                self._directive(file.path, one, self.drafts[at], at)

    def _directive(self, path: str, statement: Directive, draft: _Draft, at: int) -> None:
        name, words, line = statement.name, statement.args, statement.line
        if name == 'modsecurity':
            draft.on = words[0].lower() == 'on'
        elif name == 'error_log':
            draft.logs.append(absolute(words[0], self._base))
        elif name == 'modsecurity_rules_file':
            rules = absolute(words[0], '/')
            draft.parts.append((rules, None))
            _put(draft, Place(rules, 1))
        elif name == 'modsecurity_rules':
            inline = [Located(path, piece) for piece in pieces(words[0], Engine.V3, first=line) if piece.words]
            draft.parts += [(path, one) for one in inline]
            _put(draft, Place(path, line, Form.NGINX))
        elif name == 'modsecurity_rules_remote':
            self.gaps.append(Gap(f'{path}:{line}', f'rules come from {words[-1]}; they are not on the host to be read'))
        else:
            self._host(name, words, at)

    def _host(self, name: str, words: Sequence[str], at: int) -> None:
        while at > 0 and not self.drafts[at].server:
            at = self.drafts[at].outer
        draft = self.drafts[at]
        if name == 'server_name':
            draft.names += words
        elif name == 'root':
            draft.roots.append(words[0])
        elif name == 'listen':
            match = _PORT.match(words[0])
            draft.ports.append(int(match[1]) if match else 80)


def _put(draft: _Draft, place: Place) -> None:
    if not draft.places:
        draft.places.append(place)


def _located(splicer: Splicer, target: str, rules: Collected, within: tuple[HostFile, ...] = ()) -> Iterator[Located]:
    """Yield the pieces of a rule file, those of included files where they are included."""
    for file in splicer.files_at(target, within):
        for piece in pieces(file.text, Engine.V3):
            for inner in _targets(file.path, piece.name, piece.words):
                yield from _located(splicer, inner, rules, (*within, file))
            if piece.broken:
                why = 'a quote does not end there; nginx would not start with it'
                rules.gaps.append(Gap(f'{file.path}:{piece.first}', why))
            if piece.words:
                yield Located(file.path, piece)


def _included_rules(path: str, text: str) -> list[str]:
    return [target for piece in pieces(text, Engine.V3) for target in _targets(path, piece.name, piece.words)]


def _targets(path: str, name: str, words: Sequence[str]) -> Sequence[str]:
    if name == 'include' and len(words) > 1:
        return (absolute(words[1], posixpath.dirname(path)),)
    return ()
