"""What a web server's configuration comes to: scopes with rules of their own, one within another."""

from __future__ import annotations

import posixpath
import urllib.parse
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from enum import StrEnum
from functools import cached_property

from wpaudit.firewalls.modsecurity.rules import RULE_DIRECTIVES
from wpaudit.firewalls.modsecurity.rules import Located
from wpaudit.firewalls.modsecurity.rules import Rule
from wpaudit.firewalls.modsecurity.rules import Ruleset
from wpaudit.firewalls.modsecurity.rules import ruleset
from wpaudit.firewalls.modsecurity.seclang import Engine
from wpaudit.firewalls.modsecurity.suspicion import suspects
from wpaudit.firewalls.reading import HostFile


class Form(StrEnum):
    """How a file is made to include another: as SecLang and Apache do, or as nginx takes a rule file."""

    INCLUDE = 'Include'
    NGINX = 'modsecurity_rules_file'


@dataclass(frozen=True)
class Place:
    """Where one line has to be put so that the harness is read before every other rule of its scope."""

    path: str
    line: int  # the new line goes before this one
    form: Form = Form.INCLUDE

    def text(self, harness: str) -> str:
        """Return the line; ``harness`` is the path of the harness, of which neither server takes blanks or quotes."""
        if not harness.startswith('/') or not all(one.isalnum() or one in '/._-' for one in harness):
            raise ValueError('no server could be told of a file with that name')
        return f'{self.form} {harness}{";" if self.form is Form.NGINX else ""}\n'


@dataclass(frozen=True)
class Hosts:
    """For which requests a virtual host is: its names, ports and document roots; empty ones exclude nothing."""

    names: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    roots: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scope:
    """One context with its own directives. ``outer`` is the index of the scope around it, -1 for the outermost."""

    outer: int = -1
    own: tuple[Located, ...] = ()
    on: bool = True          # nginx: whether `modsecurity` is on here
    places: tuple[Place, ...] = ()
    hosts: Hosts | None = None  # of a virtual host
    logs: tuple[str, ...] = ()  # error logs that are named here


@dataclass(frozen=True)
class Configuration:
    """One server's configuration."""

    engine: Engine
    path: str
    scopes: tuple[Scope, ...] = ()
    files: Mapping[str, HostFile] = field(default_factory=dict)  # those in which there are places


@dataclass(frozen=True)
class Found:
    """The rules of one scope with what it inherits. ``enforced`` is False where the engine only watches or is off."""

    rules: Ruleset
    enforced: bool
    mode: str
    mode_at: str

    @cached_property
    def suspects(self) -> tuple[Rule, ...]:
        """The rules that may block here."""
        return suspects(self.rules) if self.enforced else ()


def concerned(configuration: Configuration, path: str, url: str) -> tuple[int, ...]:
    """Return the indices of the scopes that may see this site's requests; none when the server is about other sites.

    A virtual host is this site's when its document root holds WordPress or its name is the URL's. When there is none,
    those on the URL's port are: behind a proxy names and roots say nothing.
    """
    scopes = configuration.scopes
    virtual = {index: scope.hosts for index, scope in enumerate(scopes) if scope.hosts is not None}
    chosen = {index for index, hosts in virtual.items() if _is_for(hosts, path, url)}
    chosen = chosen or {index for index, hosts in virtual.items() if _port(url) in hosts.ports}
    return tuple(index for index in range(len(scopes)) if chosen & set(chain(configuration, index)))


def found_in(configuration: Configuration, index: int) -> Found:
    """Return what the engine has loaded for a request in one scope, in its order.

    ModSecurity 2 takes over the rules of the scope around before its own (``merge_directory_configs``), 3 behind
    them (``RulesSet::merge``).
    """
    outwards = [configuration.scopes[one] for one in chain(configuration, index)]
    ordered = outwards[::-1] if configuration.engine is Engine.V2 else outwards
    rules = ruleset([one for scope in ordered for one in scope.own], configuration.engine)
    modes = (ruleset(scope.own, configuration.engine) for scope in outwards)
    decisive = next((one for one in modes if one.mode), Ruleset(configuration.engine))
    on = outwards[0].on and decisive.mode == 'on'
    return Found(rules, on, decisive.mode, decisive.mode_at)


def places(configuration: Configuration, indices: Sequence[int]) -> tuple[Place, ...]:
    """Return every place where a harness has to stand for these scopes. Each needs ids of its own."""
    every = dict.fromkeys(one for index in indices for one in chain(configuration, index))
    return tuple(dict.fromkeys(place for one in every for place in configuration.scopes[one].places))


def ends(configuration: Configuration, indices: Sequence[int]) -> tuple[Place, ...]:
    """Return for every scope with rules the place behind its last one: ModSecurity 2 removes what it has read."""
    every = dict.fromkeys(one for index in indices for one in chain(configuration, index))
    owned = ([each for each in configuration.scopes[one].own if each.piece.name in RULE_DIRECTIVES] for one in every)
    return tuple(dict.fromkeys(Place(own[-1].path, own[-1].piece.last + 1) for own in owned if own))


def chain(configuration: Configuration, index: int) -> list[int]:
    """Return the indices from a scope outwards."""
    found = []
    while index >= 0:
        found.append(index)
        index = configuration.scopes[index].outer
    return found


def _is_for(hosts: Hosts, path: str, url: str) -> bool:
    own = path.rstrip('/')
    roots = [posixpath.normpath(root) for root in hosts.roots if root.startswith('/')]
    if own and any(own == root or own.startswith(f'{root}/') or root.startswith(f'{own}/') for root in roots):
        return True
    name = (urllib.parse.urlsplit(url).hostname or '').lower()
    # Addresses and the local machine are what many servers on one host call themselves.
    if not name or name == 'localhost' or ':' in name or name.replace('.', '').isdigit():
        return False
    return any(_names(pattern.lower(), name) for pattern in hosts.names)


def _names(pattern: str, name: str) -> bool:
    """Tell whether ``server_name`` or ``ServerAlias`` means a name. Regular expressions of nginx are not run."""
    if pattern.startswith(('*.', '.')):
        bare = pattern.removeprefix('*').removeprefix('.')
        return name.endswith(f'.{bare}') or (name == bare and not pattern.startswith('*'))
    return pattern.rpartition(':')[0] == name or pattern == name


def _port(url: str) -> int:
    try:
        parts = urllib.parse.urlsplit(url)
        return parts.port or (443 if parts.scheme == 'https' else 80)
    except ValueError:
        return 0
