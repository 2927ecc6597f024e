"""Read nginx's configuration: which server block serves the site, where its PHP goes, its logs and limits.

Sources: https://nginx.org/en/docs/dirindex.html; ``nginx -h`` for its options. Relative includes are
relative to the directory of the main file, other paths to the prefix (src/core/ngx_file.c, ngx_get_full_name).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field

from wpaudit.domain import Gap
from wpaudit.nginx_syntax import Directive
from wpaudit.nginx_syntax import parsed
from wpaudit.sites.configs import Fetched
from wpaudit.sites.configs import Files
from wpaudit.sites.configs import joined_path
from wpaudit.sites.hostask import Process
from wpaudit.sites.servers import Found
from wpaudit.sites.servers import Listen
from wpaudit.sites.servers import LogFile
from wpaudit.sites.servers import Vhost
from wpaudit.sites.servers import address

USUAL = ('/etc/nginx/nginx.conf', '/usr/local/nginx/conf/nginx.conf', '/usr/local/etc/nginx/nginx.conf')
Block = tuple[Directive, ...]
DIRECTIVES = 100_000  # of one configuration, includes unfolded

# What decides about 502s and their look-alikes; shown by these names.
SETTINGS = frozenset(
    [f'{kind}_{name}' for kind in ('fastcgi', 'proxy') for name in (
        'buffer_size', 'buffers', 'busy_buffers_size', 'buffering', 'cache', 'connect_timeout', 'intercept_errors',
        'next_upstream', 'read_timeout', 'send_timeout', 'max_temp_file_size')]
    + ['fastcgi_keep_conn', 'proxy_http_version', 'large_client_header_buffers', 'client_max_body_size', 'limit_req',
       'limit_conn', 'limit_req_status', 'limit_conn_status', 'resolver', 'error_page', 'modsecurity']
)


@dataclass(frozen=True)
class Instance:
    """One nginx that runs, or could: its main file, prefix and ``-e`` log."""

    config: str
    prefix: str
    error_log: str = ''


def instances(processes: Iterable[Process]) -> tuple[Instance, ...]:
    """Say which configurations the running masters use; the title is ``nginx: master process ARGV``."""
    found = []
    for process in processes:
        if 'nginx: master process' not in process.title:
            continue
        words = process.title.partition('master process')[2].split()
        prefix = _option(words, '-p') or _built_prefix(words)
        config = joined_path(prefix, _option(words, '-c')) if _option(words, '-c') else ''
        log = _option(words, '-e')
        log = '' if log in {'', 'stderr'} else joined_path(prefix, log)
        paths = [config] if config else [one for one in USUAL if one.startswith(prefix)] or USUAL
        found += [Instance(path, prefix, log) for path in paths]
    return tuple(dict.fromkeys(found))


def _built_prefix(words: list[str]) -> str:
    program = words[0] if words else ''
    return '/usr/local/nginx' if program.startswith('/usr/local/nginx') else '/etc/nginx'


def _option(words: list[str], name: str) -> str:
    for at, word in enumerate(words):
        if word == name and at + 1 < len(words):
            return words[at + 1]
        if word.startswith(name) and len(word) > len(name):
            return word[len(name):]
    return ''


def read(files: Files, found: Iterable[Instance], *, running: bool) -> Found:
    """Read these configurations. ``running`` is False for usual places nobody is known to use."""
    vhosts: list[Vhost] = []
    gaps: list[Gap] = []
    for instance in found:
        config = Config(instance)
        config.fetch(files, quiet=not running)
        vhosts += config.vhosts()
        gaps += config.gaps
    return Found(tuple(vhosts), tuple(gaps))


@dataclass(frozen=True)
class Scope:
    """What a block inherits: the last word of each directive, and variables that ``set`` gave a fixed value."""

    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)

    def within(self, block: Iterable[Directive]) -> Scope:
        """Return the scope inside a block."""
        values, variables = dict(self.values), dict(self.variables)
        for one in block:
            if one.block is None and one.name == 'set' and len(one.args) == 2:  # noqa: PLR2004 - set $name value
                variables[one.args[0]] = one.args[1]
            elif one.block is None:
                values[one.name] = one.args
        return Scope(values, variables)

    def first(self, name: str) -> str:
        """Return the first argument of a directive, ``''`` without one."""
        found = self.values.get(name, ())
        return found[0] if found else ''

    def plain(self, text: str) -> str:
        """Return ``text`` with the variables that are known."""
        for name, value in self.variables.items():
            text = text.replace(name, value)
        return text


class Config:
    """One nginx configuration, read as far as it may be."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._fetched = Fetched()
        self._parsed: dict[str, tuple[Directive, ...]] = {}
        self._room = DIRECTIVES
        self.gaps = self._fetched.gaps

    def fetch(self, files: Files, *, quiet: bool) -> None:
        """Get the files and parse each."""
        self._fetched.fetch(files, [self._instance.config], self._included, what='nginx:', quiet=quiet)

    def _included(self, path: str, text: str) -> Iterator[str]:
        read = parsed(text)
        if read.errors and not read.directives:
            self.gaps.append(Gap(f'nginx: {path}', read.errors[0]))
            return
        self._parsed[path] = read.directives
        yield from self._patterns(read.directives)

    def _patterns(self, block: Iterable[Directive]) -> Iterator[str]:
        for one in block:
            if one.name == 'include' and one.args:
                yield self._include(one)
            yield from self._patterns(one.block or ())

    def _include(self, one: Directive) -> str:
        return joined_path(posixpath.dirname(self._instance.config), one.args[0])

    def _unfolded(self, block: Iterable[Directive], way: tuple[str, ...]) -> tuple[Directive, ...]:
        """Replace includes by what they include; a file within itself, which nginx would refuse, is left out."""
        whole: list[Directive] = []
        for one in block:
            self._room -= 1
            if self._room < 0:
                break
            if one.name == 'include' and one.args and one.block is None:
                for path in self._fetched.paths.get(self._include(one), ()):
                    if path in way:
                        self.gaps.append(Gap(f'nginx: {path}', 'includes itself'))
                    else:
                        whole += self._unfolded(self._parsed.get(path, ()), (*way, path))
            elif one.block is not None:
                whole.append(Directive(one.name, one.args, self._unfolded(one.block, way)))
            else:
                whole.append(one)
        return tuple(whole)

    def vhosts(self) -> Iterator[Vhost]:
        """List the server blocks."""
        root = self._instance.config
        tree = self._unfolded(self._parsed.get(root, ()), (root,))
        if self._room < 0:
            self.gaps.append(Gap(f'nginx: {root}', f'has more than {DIRECTIVES} directives; the rest was not read'))
        main = Scope().within(tree)
        for http in (one for one in tree if one.name == 'http'):
            scope = main.within(http.block or ())
            named = (one for one in http.block or () if one.name == 'upstream' and one.args)
            upstreams = {one.args[0]: one.block or () for one in named}
            for server in (one for one in http.block or () if one.name == 'server'):
                yield self._vhost(server.block or (), scope, upstreams)

    def _vhost(self, block: Block, outer: Scope, upstreams: Mapping[str, Block]) -> Vhost:
        scope = outer.within(block)
        passes = list(_passes(block, scope))
        main = next((inner for kind, _, inner in passes if kind == 'fastcgi_pass'), None) or next(
            (inner for _, _, inner in passes), scope)
        php = [one for kind, target, inner in passes if kind == 'fastcgi_pass'
               for one in _targets(inner.plain(target), upstreams)]
        proxies = [one for kind, target, inner in passes if kind == 'proxy_pass'
                   for one in _targets(_authority(inner.plain(target)), upstreams)]
        names = tuple(name for one in block if one.name == 'server_name' for name in one.args)
        listens = tuple(_listen(one) for one in block if one.name == 'listen' and one.args)
        return Vhost(
            'nginx', names, tuple(one for one in listens if one) or (Listen('', 80),),
            joined_path(self._instance.prefix, scope.plain(scope.first('root'))) if scope.first('root') else '',
            tuple(dict.fromkeys(php)), tuple(dict.fromkeys(proxies)), tuple(self._logs(scope, main)),
            {f'nginx {name}': ' '.join(args) for name, args in main.values.items() if name in SETTINGS},
            self._instance.config,
        )

    def _logs(self, *scopes: Scope) -> Iterator[LogFile]:
        for scope in scopes:
            for name, source in (('error_log', 'nginx'), ('access_log', 'access')):
                path = scope.plain(scope.first(name))
                if path and path not in {'off', 'stderr'} and not re.match(r'syslog:|memory:|.*\$', path):
                    yield LogFile(source, joined_path(self._instance.prefix, path))
        if self._instance.error_log:
            yield LogFile('nginx', self._instance.error_log)
        elif not scopes[0].first('error_log'):
            yield LogFile('nginx', '/var/log/nginx/error.log', asked=False)
        if not scopes[0].first('access_log'):
            yield LogFile('access', '/var/log/nginx/access.log', asked=False)


def _passes(block: Iterable[Directive], scope: Scope) -> Iterator[tuple[str, str, Scope]]:
    """Find every fastcgi_pass and proxy_pass of a server, with what holds where it stands."""
    for one in block:
        if one.block is not None:
            yield from _passes(one.block, scope.within(one.block))
        elif one.name in {'fastcgi_pass', 'proxy_pass'} and one.args:
            yield one.name, one.args[0], scope


def _targets(target: str, upstreams: Mapping[str, tuple[Directive, ...]]) -> Iterator[str]:
    if target in upstreams:
        for one in upstreams[target]:
            if one.name == 'server' and one.args and 'down' not in one.args:
                yield address(one.args[0])
    elif target and '$' not in target:
        yield address(target)


def _authority(url: str) -> str:
    """Return the name of an upstream, or ``host:port``, of ``proxy_pass http://...``."""
    scheme, _, rest = url.partition('://')
    if rest.startswith('unix:'):
        return rest.split(':', 2)[0] + ':' + rest.split(':', 2)[1]
    host = rest.split('/', 1)[0]
    return f'{host}:443' if scheme == 'https' and ':' not in host and '.' in host else host


def _listen(one: Directive) -> Listen | None:
    place, options = one.args[0], one.args[1:]
    if place.startswith('unix:'):
        return None
    host, colon, port = place.rpartition(':')
    if not colon or place.endswith(']'):
        host, port = ('', place) if place.isdigit() else (place, '80')
    if not port.isdigit() or not 0 < int(port) < 1 << 16:
        return None
    tls = 'ssl' in options or 'quic' in options
    default = 'default_server' in options or 'default' in options
    return Listen(host.strip('[]'), int(port), tls, default, 'proxy_protocol' in options)
