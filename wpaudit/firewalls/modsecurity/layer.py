"""ModSecurity as a layer: its rules as suspects."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager

from wpaudit.domain import Evidence
from wpaudit.domain import Gap
from wpaudit.domain import Kind
from wpaudit.domain import Mode
from wpaudit.domain import Suspect
from wpaudit.errors import CommandTimeout
from wpaudit.errors import ModeUnavailable
from wpaudit.firewalls.modsecurity.apache import apache_configuration
from wpaudit.firewalls.modsecurity.apache import server_root
from wpaudit.firewalls.modsecurity.files import distinct
from wpaudit.firewalls.modsecurity.files import for_user
from wpaudit.firewalls.modsecurity.nginx import nginx_configuration
from wpaudit.firewalls.modsecurity.rules import Rule
from wpaudit.firewalls.modsecurity.running import WebServer
from wpaudit.firewalls.modsecurity.running import web_servers
from wpaudit.firewalls.modsecurity.scopes import Configuration
from wpaudit.firewalls.modsecurity.scopes import Found
from wpaudit.firewalls.modsecurity.scopes import concerned
from wpaudit.firewalls.modsecurity.scopes import found_in
from wpaudit.firewalls.modsecurity.seclang import Engine
from wpaudit.firewalls.reading import Garbled
from wpaudit.ports import Ground
from wpaudit.ports import Shell
from wpaudit.ports import Switcher

LAYER = 'modsecurity'
LONGEST_NAME = 300  # characters of a message


class ModSecurity:
    """``ports.Layer`` for the rules that the host's nginx and Apache have loaded for one site."""

    name = LAYER

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def listing(self) -> tuple[tuple[Suspect, ...], tuple[Gap, ...]]:
        """List the rules that may block a request to this site, each id once, and what could not be read."""
        shell = self._ground.shell
        try:
            configurations, gaps = read(shell)
            if any('u:USER:' in gap.why for gap in gaps):
                gaps = for_user(gaps, _login(shell))
        except (CommandTimeout, Garbled) as error:
            return (), (Gap('rules of ModSecurity', error.message),)
        found = tuple(self._found(configurations))
        return suspects(found), (*gaps, *_idle(found))

    def evidence(self) -> tuple[tuple[Evidence, ...], tuple[Gap, ...]]:
        """Know of no log that would name one of these rules."""
        return (), ()

    def switching(self, mode: Mode) -> AbstractContextManager[Switcher]:
        """Refuse: what a harness has to say is known (``harness``), but nobody puts it on a host and takes it away."""
        raise ModeUnavailable(f'rules of ModSecurity cannot be switched {mode}: wpaudit only lists them')

    def _found(self, configurations: tuple[Configuration, ...]) -> Iterator[Found]:
        """Yield what is loaded for this site; where no server is said to be this site's, for all of them."""
        path, url = self._ground.path, self._ground.url
        chosen = [(one, index) for one in configurations for index in concerned(one, path, url)]
        every = [(one, index) for one in configurations for index in range(len(one.scopes))]
        for configuration, index in chosen or every:
            yield found_in(configuration, index)


def read(shell: Shell) -> tuple[tuple[Configuration, ...], tuple[Gap, ...]]:
    """Return the configurations of the web servers that run on a host, and what could not be read of them."""
    configurations: list[Configuration] = []
    gaps: list[Gap] = []
    for server in web_servers(shell):
        configuration, missing = _read_one(shell, server)
        configurations.append(configuration)
        gaps += missing
    return tuple(configurations), distinct(gaps)


def _read_one(shell: Shell, server: WebServer) -> tuple[Configuration, tuple[Gap, ...]]:
    if server.engine is Engine.V2:
        return apache_configuration(shell, server.path, server.root or server_root(server.path))
    return nginx_configuration(shell, server.path)


def suspects(found: tuple[Found, ...]) -> tuple[Suspect, ...]:
    """Return the rules as suspects. One that several servers or hosts load is one suspect: ids are what is switched."""
    rules: dict[int, Rule] = {}
    for one in found:
        for rule in one.suspects:
            rules.setdefault(rule.id, rule)
    return tuple(
        Suspect(str(rule.id), Kind.RULE, rule.msg[:LONGEST_NAME], layer=LAYER, where=f'{rule.path}:{rule.first}')
        for rule in rules.values()
    )


def _idle(found: tuple[Found, ...]) -> tuple[Gap, ...]:
    """Say where rules are loaded that cannot block anything."""
    if any(one.enforced for one in found):
        return ()
    return distinct(
        Gap('rules of ModSecurity', f'they block nothing, so none is listed: {_why(one)}')
        for one in found if one.rules.rules
    )


def _why(one: Found) -> str:
    if one.mode == 'on':
        return 'nginx has `modsecurity off` where they are'
    return f'SecRuleEngine is {one.mode} in {one.mode_at}' if one.mode_at else 'SecRuleEngine is nowhere on'


def _login(shell: Shell) -> str:
    name = shell.run(['id', '-un'], timeout=30).stdout.decode('utf-8', 'replace').strip()
    return name if name.replace('-', '').replace('_', '').replace('.', '').isalnum() else 'USER'
