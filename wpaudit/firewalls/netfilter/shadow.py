"""The shadow: a copy of the running nginx on a port of loopback, whose workers have a uid that nobody else has.

What it sends to the site's upstreams can so be told from what the live nginx sends for visitors, and the live one is
neither touched nor reloaded. It is rewritten from the configuration as the host has it: the server blocks that would
answer the probes, their ``listen`` replaced; logs, temporary files and caches in the run's own directory. It answers
those who know a secret, and tells the visitor's address as the live one would see it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from urllib.parse import urlsplit

from wpaudit.firewalls.netfilter.answering import HIGHEST_PORT
from wpaudit.firewalls.netfilter.answering import answering
from wpaudit.firewalls.netfilter.matching import parsed
from wpaudit.firewalls.netfilter.nginx_text import Unreadable
from wpaudit.nginx_syntax import Directive
from wpaudit.nginx_syntax import every

SECRET, CLIENT = 'X-Wpaudit-Shadow', 'X-Wpaudit-Client'
PORTS: Mapping[str, int] = {'http': 80, 'https': 443}
_TEMPS = ('client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi')
_LEFT_OUT = frozenset({
    'access_log', 'error_log', 'listen', 'pid', 'user', 'daemon', 'master_process', 'worker_processes', 'lock_file',
    'worker_cpu_affinity', 'working_directory', 'stream', 'mail', 'set_real_ip_from', 'real_ip_header',
    'real_ip_recursive', 'use', 'accept_mutex', 'ssl_verify_client', *(f'{kind}_temp_path' for kind in _TEMPS),
})
_DATA = frozenset({'map', 'geo', 'types', 'split_clients', 'upstream'})  # blocks whose names are no directives
# What PHP and proxies are told of the port is that of the live one.
_SERVER_PORT, _LIVE_PORT = re.compile(r'\$server_port\b|\$\{server_port\}'), '$wpaudit_port'
_CACHES = re.compile(r'(?:proxy|fastcgi|uwsgi|scgi)_cache_path')
_PASSES = re.compile(r'(proxy|fastcgi|uwsgi|scgi|grpc|memcached)_pass')
_BESIDE_MAIN = re.compile(  # files that are relative to the directory of the main file (conf_prefix)
    r'.*_?certificate(?:_key)?|.*_password_file|.*_crl|ssl_dhparam|ssl_session_ticket_key|auth_basic_user_file|'
    r'geoip_(?:country|city|org)|ssl_stapling_file')
_CODE = re.compile(r'.*_by_lua.*|lua_.*|passenger_.*|perl.*|js_.*|init_by.*|unit.*')


@dataclass(frozen=True)
class Peer:
    """Where nginx passes requests on to. ``bound``: by connections from the shadow's own address of loopback.

    ``address`` is '' where only a name is known. A socket file has a ``path`` and no address.
    """

    address: str = ''
    port: int = 0
    path: str = ''
    bound: bool = False

    @property
    def loopback(self) -> bool:
        """Whether it is on this machine."""
        found = parsed(self.address)
        return found is not None and found.is_loopback

    @property
    def sentence(self) -> str:
        """What a person calls it."""
        return self.path or f'{self.address or "an upstream"}:{self.port}'


@dataclass(frozen=True)
class Outline:
    """What a shadow would be: the tree that is kept, who answers which scheme, and where requests go on to.

    ``servers`` and ``ports``, those of the live nginx, are by scheme.
    """

    tree: tuple[Directive, ...]
    servers: Mapping[str, tuple[Directive, ...]]
    ports: Mapping[str, int]
    peers: tuple[Peer, ...]


@dataclass(frozen=True)
class Place:
    """Where and as whom a shadow runs. ``ports`` by scheme; ``address`` is the source of connections to loopback."""

    directory: str
    base: str     # the directory of the live nginx's main file
    account: str
    group: str
    ports: Mapping[str, int]
    secret: str
    address: str
    realip: bool  # whether nginx has its module


def outlined(tree: Sequence[Directive], urls: Sequence[str], *, anywhere: bool = False) -> Outline:
    """Choose what of a configuration answers these URLs, ``anywhere`` as in ``answering``.

    Raises Unreadable with why there can be no shadow.
    """
    code = next((one.name for one in every(tree) if _CODE.fullmatch(one.name)), '')
    if code:
        raise Unreadable(f'it runs code of its own ({code}), which a second nginx would run too')
    blocks = [inner for one in tree if one.name == 'http' for inner in one.block or ()]
    servers = [one for one in blocks if one.name == 'server']
    host = urlsplit(urls[0]).hostname or '' if urls else ''
    asked = {urlsplit(url).scheme: urlsplit(url).port or PORTS[urlsplit(url).scheme] for url in urls}
    ports = {**PORTS, **asked}
    chosen = {
        scheme: found for scheme, port in ports.items()
        if (found := answering(servers, host, port, tls=scheme == 'https', anywhere=anywhere))
    }
    missing = next((scheme for scheme in asked if scheme not in chosen), '')
    if missing or not asked:
        raise Unreadable(f'it does not listen to {missing} on port {asked.get(missing, 0)}')
    kept = {id(one) for found in chosen.values() for one in found}
    upstreams = {one.args[0]: one for one in blocks if one.name == 'upstream' and one.args}
    binds = any(re.fullmatch(r'\w+_bind', one.name) for one in every(tree))
    passes = [
        (one, _targets(one, upstreams)) for server in servers if id(server) in kept for one in every(server.block or ())
        if _PASSES.fullmatch(one.name) and one.args
    ]
    peers = [
        replace(peer, bound=_all_v4_loopback(peers) and not binds) for _, peers in passes for peer in peers
    ]
    return Outline(tuple(tree), chosen, ports, tuple(dict.fromkeys(peers)))


def configuration(outline: Outline, place: Place) -> tuple[Directive, ...]:
    """Return the shadow's configuration."""
    return (
        Directive('daemon', ('on',)), Directive('worker_processes', ('1',)),
        Directive('user', (place.account, place.group)), Directive('pid', (f'{place.directory}/shadow.pid',)),
        Directive('error_log', (f'{place.directory}/shadow.log',)),
        *_Rewriting(outline, place).block(outline.tree, ()),
    )


class _Rewriting:
    """Copies a tree. ``way`` are the names of the blocks around."""

    def __init__(self, outline: Outline, place: Place) -> None:
        self._place = place
        self._outline = outline
        self._schemes: dict[int, list[str]] = {}
        for scheme, servers in outline.servers.items():
            for one in servers:
                self._schemes.setdefault(id(one), []).append(scheme)
        self._defaults: set[str] = set()
        self._caches = 0
        self._bound = any(peer.bound for peer in outline.peers)
        blocks = [inner for one in outline.tree if one.name == 'http' for inner in one.block or ()]
        self._upstreams = {one.args[0]: one for one in blocks if one.name == 'upstream' and one.args}

    def block(self, block: Iterable[Directive], way: tuple[str, ...]) -> Iterator[Directive]:
        """Yield the copies of a block's directives."""
        for one in block:
            if one.name == 'server' and way == ('http',):
                if id(one) in self._schemes:
                    yield self._server(one)
            elif one.name == 'http' and not way:
                yield Directive('http', (), (*self._own(), *self.block(one.block or (), ('http',))))
            elif one.name not in _LEFT_OUT or (way[-1:] and way[-1] in _DATA):
                yield self._copy(one, way)

    def _copy(self, one: Directive, way: tuple[str, ...]) -> Directive:
        args = tuple(_SERVER_PORT.sub(_LIVE_PORT, word) for word in one.args)
        if _CACHES.fullmatch(one.name):
            self._caches += 1
            args = (f'{self._place.directory}/cache-{self._caches}', *args[1:])
        elif _BESIDE_MAIN.fullmatch(one.name) and args and re.match(r'[^/$]', args[0]) and not _no_file(args[0]):
            args = (posixpath.join(self._place.base, args[0]), *args[1:])
        if one.block is None:
            return Directive(one.name, args)
        inner = tuple(self.block(one.block, (*way, one.name)))
        return Directive(one.name, args, (*self._binding(one), *inner) if one.name == 'location' else inner)

    def _own(self) -> Iterator[Directive]:
        yield Directive('access_log', ('off',))
        for kind in _TEMPS:
            yield Directive(f'{kind}_temp_path', (f'{self._place.directory}/temp-{kind}',))
        if self._place.realip:
            yield Directive('set_real_ip_from', ('127.0.0.1',))
            yield Directive('real_ip_header', (CLIENT,))
        ports = self._outline.ports
        yield Directive('map', ('$https', _LIVE_PORT), (
            Directive('default', (str(ports['http']),)), Directive('on', (str(ports['https']),))))

    def _server(self, one: Directive) -> Directive:
        listens = tuple(self._listen(scheme) for scheme in self._schemes[id(one)])
        variable = f'$http_{SECRET.lower().replace("-", "_")}'
        refused = Directive('if', (variable, '!=', self._place.secret), (Directive('return', ('403',)),))
        inner = tuple(self.block(one.block or (), ('http', 'server')))
        return Directive('server', (), (*listens, refused, *self._binding(one), *inner))

    def _listen(self, scheme: str) -> Directive:
        default = () if scheme in self._defaults else ('default_server',)
        self._defaults.add(scheme)
        tls = ('ssl',) if scheme == 'https' else ()
        return Directive('listen', (f'127.0.0.1:{self._place.ports[scheme]}', *tls, *default))

    def _binding(self, one: Directive) -> Iterator[Directive]:
        """Give connections to loopback an address of their own; what is in inner locations has its own say."""
        if not self._bound:
            return
        for kind, targets in _passes_of(one, self._upstreams):
            yield Directive(f'{kind}_bind', (self._place.address if _all_v4_loopback(targets) else 'off',))


def _passes_of(one: Directive, upstreams: Mapping[str, Directive]) -> Iterator[tuple[str, list[Peer]]]:
    """Yield each kind of passing on that happens in a block itself, with all it leads to."""
    found: dict[str, list[Peer]] = {}
    for each in _outside_locations(one.block or ()):
        match = _PASSES.fullmatch(each.name)
        if match and each.args:
            found.setdefault(match[1], []).extend(_targets(each, upstreams))
    yield from found.items()


def _outside_locations(block: Iterable[Directive]) -> Iterator[Directive]:
    for one in block:
        yield one
        if one.name != 'location':
            yield from _outside_locations(one.block or ())


def _no_file(word: str) -> bool:
    return word in {'off', 'on'} or word.startswith(('data:', 'engine:', 'store:'))


def _targets(one: Directive, upstreams: Mapping[str, Directive]) -> list[Peer]:
    """Return where a ``*_pass`` leads; a peer without anything known where a variable says it."""
    scheme, found, rest = one.args[0].partition('://')
    target, usual = (rest, PORTS.get(scheme, 80)) if found else (one.args[0], 80)
    if target.startswith('unix:'):
        return [Peer(path=target.split(':')[1])]
    name = target.partition('/')[0]
    if name in upstreams:
        servers = [each.args[0] for each in upstreams[name].inner('server') if each.args and 'down' not in each.args]
        return [peer for each in servers for peer in _peers(each, 80)]
    return _peers(name, usual)


def _peers(text: str, usual: int) -> list[Peer]:
    if text.startswith('unix:'):
        return [Peer(path=text.removeprefix('unix:'))]
    host, colon, port = text.rpartition(':')
    if not colon or port.endswith(']'):
        host, port = text, str(usual)
    host = host.strip('[]')
    number = int(port) if port.isdecimal() and int(port) <= HIGHEST_PORT else 0
    # nginx asks for every address of a name; this one means the same everywhere
    return [Peer(one, number) for one in (('127.0.0.1', '::1') if host == 'localhost' else (str(parsed(host) or ''),))]


def _all_v4_loopback(peers: Sequence[Peer]) -> bool:
    return bool(peers) and all(peer.loopback and '.' in peer.address for peer in peers)
