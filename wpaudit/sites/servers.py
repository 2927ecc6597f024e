"""What a web server's configuration says about one site, whichever server it is; and which part of it is our site's."""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import field
from ipaddress import ip_address

from wpaudit.domain import Gap


@dataclass(frozen=True)
class Listen:
    """Where a server listens; ``address`` is '' for all of them."""

    address: str
    port: int
    tls: bool = False
    default: bool = False
    proxied: bool = False  # expects the PROXY protocol, which only a load balancer in front of it speaks

    @property
    def reachable(self) -> str:
        """Return ``address:port`` as a client on the same host connects to it."""
        address = self.address if self.address not in {'', '*', '0.0.0.0', '::'} else '127.0.0.1'  # noqa: S104 - compared
        return f'[{address}]:{self.port}' if ':' in address else f'{address}:{self.port}'


@dataclass(frozen=True)
class LogFile:
    """One log that a configuration names. ``source`` is that of ``facts.LogLine``."""

    source: str
    path: str
    asked: bool = True  # named by a configuration or a person: not being readable is a gap


@dataclass(frozen=True)
class Vhost:
    """One server block or virtual host. ``php`` and ``proxies`` are ``unix:/path`` or ``host:port``."""

    server: str
    names: tuple[str, ...] = ()
    listens: tuple[Listen, ...] = ()
    root: str = ''
    php: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()
    logs: tuple[LogFile, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    where: str = ''


@dataclass(frozen=True)
class Found:
    """What reading configurations gave."""

    vhosts: tuple[Vhost, ...] = ()
    gaps: tuple[Gap, ...] = ()


@dataclass(frozen=True)
class Wanted:
    """The site that is looked for. ``docroots`` are the ways its directory can be written."""

    docroots: tuple[str, ...]
    name: str = ''
    port: int = 0


def chosen(vhosts: Iterable[Vhost], wanted: Wanted) -> Vhost | None:
    """Return the virtual host that serves the site, or None when no one can be told to."""
    ranked = [(fit(one, wanted), -at, one) for at, one in enumerate(vhosts)]
    best = max(ranked, default=None, key=lambda entry: entry[:2])
    return best[2] if best and best[0] >= CLEAR else None


ROOT = 8     # the directory is the site's
ABOVE = 6    # WordPress lives below the directory
NAME = 5     # it goes by the site's name
WILD = 4
PORT = 2     # it listens where the site is asked for
DEFAULT = 1
CLEAR = 4    # less would be a guess


def fit(vhost: Vhost, wanted: Wanted) -> int:
    """Say how well a virtual host fits the site; below CLEAR it does not."""
    root, name = _root_fit(vhost.root, wanted.docroots), _name_fit(vhost.names, wanted.name)
    there = any(one.port == wanted.port for one in vhost.listens)
    if not root and not there and _is_address(wanted.name):
        return 0  # many servers on one host have an address for their name; only the port tells them apart
    score = root + name
    if score and wanted.port:
        score += PORT * there
    if score and any(one.default for one in vhost.listens):
        score += DEFAULT
    return score + bool(score and (vhost.php or vhost.proxies))


def _is_address(name: str) -> bool:
    with suppress(ValueError):
        return bool(ip_address(name))
    return name == 'localhost'


def _root_fit(root: str, docroots: Sequence[str]) -> int:
    plain = root.rstrip('/')
    if not plain:
        return 0
    if any(one.rstrip('/') == plain for one in docroots):
        return ROOT
    return ABOVE if any(one.startswith(plain + '/') for one in docroots) else 0


def _name_fit(names: Sequence[str], name: str) -> int:
    name = name.lower()
    if not name:
        return 0
    best = 0
    for one in names:
        pattern = one.lower()
        if pattern == name or (pattern.startswith('.') and (name == pattern[1:] or name.endswith(pattern))):
            best = max(best, NAME)
        elif '*' in pattern and re.fullmatch(re.escape(pattern).replace(r'\*', '.+'), name):
            best = max(best, WILD)
    return best


def address(word: str) -> str:
    """Return ``unix:/path`` or ``host:port`` for what nginx, Apache or php-fpm write."""
    word = word.strip().strip('"\'')
    path = word.removeprefix('unix:')
    if path.startswith('/'):
        path = re.sub(r'/{2,}', '/', path.rstrip('/'))
        return 'unix:' + re.sub(r'^/var/run/', '/run/', path)
    if word.isdigit():
        return f'127.0.0.1:{word}'
    host, colon, port = word.rpartition(':')
    if not colon or not port.isdigit():
        return f'{word}:80' if word else ''
    host = {'*': '127.0.0.1', '0.0.0.0': '127.0.0.1', '[::]': '127.0.0.1', 'localhost': '127.0.0.1'}.get(host, host)  # noqa: S104 - compared
    return f'{host}:{port}'


def stream_of(place: str) -> str:
    """Return an ``address`` as PHP's stream functions want it."""
    return f'unix://{place.removeprefix("unix:")}' if place.startswith('unix:') else f'tcp://{place}'


def joined_once(logs: Iterable[LogFile]) -> list[LogFile]:
    """Return each log once, as it was named first."""
    return list({log.path: log for log in reversed(list(logs))}.values())[::-1]
