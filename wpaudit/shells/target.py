"""The ``--host`` grammar: WP-CLI's ``[scheme:][user@]host-or-container[:port][/path]``, and its aliases."""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from os import environ
from os.path import expanduser
from pathlib import Path
from typing import Any

from wpaudit.errors import UsageError

SCHEMES = ('ssh', 'local', 'docker', 'docker-compose')
MAX_CONFIG_BYTES = 1 << 20
MAX_PORT = 65535

_GRAMMAR = '[scheme:][user@]host-or-container[:port][/path]'
_SCHEME = re.compile(r'(ssh|local|docker-compose|docker):(.*)', re.DOTALL)
_REST = re.compile(r"""
    (?:(?P<user>[^@:/\[\]]*)@)?
    (?P<host>\[[^\]]*\]|[^@:/~\[\]]*)
    (?::(?P<port>[^/~]*))?
    (?P<path>[/~].*)?
    """, re.VERBOSE | re.DOTALL)
# A user or host name may end up in a ProxyCommand's %r and %h, which a shell reads.
_USER = re.compile(r'[\w.+=%][\w.+=%-]*')
_HOST = re.compile(r'[\w.][\w.-]*')
_ADDRESS = re.compile(r'[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%[\w.-]+)?')
_ALIAS = re.compile(r'@[\w.-]+')
_ALIAS_KEYS = ('ssh', 'path', 'url', 'user', 'http', 'proxyjump', 'key')
# WP-CLI's own documentation writes these without the quotes that YAML asks for.
_BARE_KEY = re.compile(r'^(@[\w.-]+)(?=\s*:(?:\s|$))', re.MULTILINE)
_BARE_ITEM = re.compile(r'^(\s+-\s+|-\s+)(@[\w.-]+)(?=\s*(?:#.*)?$)', re.MULTILINE)


@dataclass(frozen=True)
class Target:
    """Where a site lives. What was not written is None (``host`` is empty for scheme ``local``).

    ``path`` begins with ``/`` or ``~``; nobody has expanded the ``~``, which means the home on the host.
    """

    scheme: str = 'ssh'
    user: str | None = None
    host: str = ''
    port: int | None = None
    path: str | None = None

    def __str__(self) -> str:
        """Write it so that ``parse_target`` reads the same target."""
        path = self.path or ''
        if self.scheme == 'local':
            return f'local:{path}' if path else 'local'
        user = f'{self.user}@' if self.user is not None else ''
        port = f':{self.port}' if self.port is not None else ''
        return f'{self.scheme}:{user}{bracketed(self.host)}{port}{path}'


@dataclass(frozen=True)
class Alias:
    """One ``@alias`` of a WP-CLI configuration file. ``target`` is None when it only has ``http``.

    ``user`` is the WordPress user; the login on the host is in ``target``. A ``path`` beside ``ssh`` is
    already in ``target`` unless ``ssh`` names one itself.
    """

    name: str
    source: Path
    target: Target | None
    path: str | None = None
    url: str | None = None
    user: str | None = None
    http: str | None = None
    proxyjump: str | None = None
    key: str | None = None


def bracketed(host: str) -> str:
    """Return ``host`` as it is written before a port: an IPv6 address in brackets."""
    return f'[{host}]' if ':' in host else host


def parse_target(text: str) -> Target:
    """Read a TARGET; a UsageError says what is wrong with it. ``@aliases`` are read by ``parse_alias``."""
    if any(ord(character) < ord(' ') or character == '\x7f' for character in text):
        raise _bad(text, 'it contains a control character')
    if text == 'local':
        return Target('local')
    scheme, rest = 'ssh', text
    if (prefixed := _SCHEME.fullmatch(text)) is not None:
        scheme, rest = prefixed.groups()
    return _local(text, rest) if scheme == 'local' else _remote(text, scheme, rest)


def _local(text: str, path: str) -> Target:
    if path and path[0] not in '/~':
        raise _bad(text, 'after "local:" comes a path that begins with / or ~')
    return Target('local', path=path or None)


def _remote(text: str, scheme: str, rest: str) -> Target:
    parts = _REST.fullmatch(rest)
    if parts is None:
        raise _bad(text, f'it is not {_GRAMMAR}')
    user, host, port = parts['user'], parts['host'], parts['port']
    if user is not None and _USER.fullmatch(user) is None:
        raise _bad(text, f'"{user}" is not a login name')
    if port and port[0].isalpha() and host.isidentifier() and user is None and scheme == 'ssh':
        raise _bad(text, f'the scheme "{host}" is not one of {", ".join(SCHEMES)}')
    return Target(scheme, user, _host(text, host), _port(text, scheme, port), parts['path'])


def _host(text: str, host: str) -> str:
    if not host:
        raise _bad(text, 'the host is missing')
    if host.startswith('['):
        if _ADDRESS.fullmatch(host[1:-1]) is None:
            raise _bad(text, f'{host} is not an IPv6 address')
        return host[1:-1]
    if host.startswith('-'):
        raise _bad(text, 'a host cannot begin with "-"')
    if _HOST.fullmatch(host) is None:
        raise _bad(text, f'"{host}" is not a host name')
    return host


def _port(text: str, scheme: str, port: str | None) -> int | None:
    if not port:  # WP-CLI reads "host:/path" as a host without a port
        return None
    if scheme != 'ssh':
        raise _bad(text, 'a container has no port')
    if re.fullmatch('[0-9]{1,5}', port) is None or not 0 < int(port) <= MAX_PORT:
        raise _bad(text, f'"{port}" is not a port')
    return int(port)


def _bad(text: str, reason: str) -> UsageError:
    message = f'Cannot read the host "{text}": {reason}.'
    return UsageError(
        message if message.isprintable() else ascii(message)[1:-1],
        hint='Write it as for WP-CLI: deploy@shop.example:2222/var/www/shop, local:/var/www/shop or @alias.',
    )


# -- aliases ------------------------------------------------------------------------------------

def parse_alias(name: str, *, directory: Path | None = None) -> Alias:
    """Find ``@name`` in the nearest ``wp-cli.local.yml`` or ``wp-cli.yml`` upward, then in ~/.wp-cli."""
    if _ALIAS.fullmatch(name) is None:
        raise UsageError(f'"{ascii(name)[1:-1]}" is not an alias.', hint='An alias is written like @staging.')
    known: dict[str, Path] = {}
    for source in _config_files(directory or Path.cwd()):
        aliases = {key: value for key, value in _read(source).items() if _ALIAS.fullmatch(str(key))}
        if name in aliases:
            return _alias(name, source, aliases[name])
        known |= {str(key): source for key in aliases if str(key) not in known}
    listed = ', '.join(sorted(known)) if known else 'none'
    raise UsageError(
        f'There is no alias {name}; known aliases: {listed}.',
        hint='Aliases are read from wp-cli.local.yml, wp-cli.yml and ~/.wp-cli/config.yml, as WP-CLI does.',
    )


def _config_files(directory: Path) -> Iterator[Path]:
    for place in (directory, *directory.resolve().parents):
        found = [path for name in ('wp-cli.local.yml', 'wp-cli.yml') if (path := place / name).is_file()]
        if found:
            yield from found
            break
    configured = environ.get('WP_CLI_CONFIG_PATH')
    own = Path(configured) if configured else Path(expanduser('~/.wp-cli/config.yml'))
    if own.is_file():
        yield own


def _read(source: Path) -> Mapping[Any, Any]:
    import yaml

    try:
        with source.open('rb') as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
        if len(data) > MAX_CONFIG_BYTES:
            raise UsageError(f'{source} is larger than {MAX_CONFIG_BYTES} bytes, so it is not read.')
        text = _BARE_ITEM.sub(r'\1"\2"', _BARE_KEY.sub(r'"\1"', data.decode()))
        content = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError, ValueError) as error:
        reason = ' '.join(str(error).split())
        raise UsageError(f'Cannot read aliases from {source}: {reason}.') from error
    return content if isinstance(content, Mapping) else {}


def _alias(name: str, source: Path, value: object) -> Alias:
    if isinstance(value, list):
        raise UsageError(f'{name} is a group of aliases; wpaudit looks at one site, so name one of them.')
    if not isinstance(value, Mapping):
        raise UsageError(f'The alias {name} in {source} has no keys.')
    words: dict[str, str | None] = dict.fromkeys(_ALIAS_KEYS)
    for key in _ALIAS_KEYS:
        word = value.get(key)
        if word is not None and not isinstance(word, str):
            raise UsageError(f'The key "{key}" of the alias {name} in {source} is not a text.')
        words[key] = word or None
    ssh, key_file = words.pop('ssh'), words.pop('key')
    return Alias(
        name=name, source=source, target=_alias_target(name, source, ssh, words['path'], words['http']),
        key=expanduser(key_file) if key_file else None, **words,
    )


def _alias_target(
    name: str, source: Path, ssh: str | None, path: str | None, http: str | None,
) -> Target | None:
    if ssh is not None:
        target = parse_target(ssh)
        if target.path is not None or path is None:
            return target
        return Target(target.scheme, target.user, target.host, target.port, path)
    if path is not None:
        # WP-CLI reads a local path relative to the file that names it.
        absolute = path if path.startswith('~') else str(source.parent.resolve() / path)
        return Target('local', path=absolute)
    if http is None:
        raise UsageError(f'The alias {name} in {source} has none of ssh, path and http.')
    return None
