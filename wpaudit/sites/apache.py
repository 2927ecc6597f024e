"""Read Apache's configuration: which virtual host serves the site, where its PHP goes, its logs and limits.

Conditions are judged by what the files themselves say (``LoadModule``, ``Define``) and the command line: this is
what may hold, not what a running server was asked.
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
from wpaudit.sites.apache_syntax import Line
from wpaudit.sites.apache_syntax import parse
from wpaudit.sites.configs import Fetched
from wpaudit.sites.configs import Files
from wpaudit.sites.configs import joined_path
from wpaudit.sites.hostask import Process
from wpaudit.sites.servers import Found
from wpaudit.sites.servers import Listen
from wpaudit.sites.servers import LogFile
from wpaudit.sites.servers import Vhost
from wpaudit.sites.servers import address

LINES = 100_000  # of one configuration, includes unfolded
USUAL = (
    ('/etc/apache2/apache2.conf', '/etc/apache2'), ('/etc/httpd/conf/httpd.conf', '/etc/httpd'),
    ('/usr/local/apache2/conf/httpd.conf', '/usr/local/apache2'), ('/usr/local/etc/apache24/httpd.conf', '/usr/local'),
)
ENVIRONMENT = ('/etc/apache2/envvars', '/etc/sysconfig/httpd')

SETTINGS = {name.lower(): name for name in (
    'ProxyTimeout', 'Timeout', 'LimitRequestFieldSize', 'LimitRequestFields', 'LimitRequestLine', 'MaxRequestWorkers',
    'ServerLimit', 'ThreadsPerChild', 'ProxyIOBufferSize', 'ProxyFCGIBackendType', 'KeepAliveTimeout', 'ErrorDocument',
    'SecRuleEngine', 'ResponseFieldSize', 'LimitRequestBody',
)}
_DISPATCH = re.compile(r'^(?:proxy:)?(?:(unix:[^|]+)\|)?(fcgi|https?|ajp|h2c?|balancer)://([^/\s$]*)')
_EXPORT = re.compile(r'^\s*(?:export\s+)?([A-Za-z_]\w*)=("[^"\n]*"|\'[^\'\n]*\'|[^\s#;]*)', re.MULTILINE)
_PROGRAM = re.compile(r'(?:^|/)(?:apache2|httpd|httpd\.worker|httpd\.event)$')

Block = tuple[Line, ...]


@dataclass(frozen=True)
class Instance:
    """One Apache that runs, or could."""

    config: str
    root: str
    defines: frozenset[str] = frozenset()


def instances(processes: Iterable[Process]) -> tuple[Instance, ...]:
    """Say which configurations the running servers use; children have the same command line as their parent."""
    programs = {one.pid: one for one in processes if one.line and _PROGRAM.search(one.line[0])}
    found = []
    for process in programs.values():
        if process.parent in programs:
            continue
        words = list(process.line[1:])
        defines = frozenset(words[at + 1] for at, word in enumerate(words[:-1]) if word == '-D')
        root, config = _after(words, '-d'), _after(words, '-f')
        for path, usual in USUAL:
            if not config or not (config.startswith('/') or root):
                config, root = (path, root or usual) if _likely(process, path) else (config, root)
        if config:
            found.append(Instance(joined_path(root or '/etc/apache2', config), root or '/etc/apache2', defines))
        else:
            found += [Instance(path, usual, defines) for path, usual in USUAL]
    return tuple(dict.fromkeys(found))


def _likely(process: Process, path: str) -> bool:
    return ('apache2' in process.line[0]) == path.startswith('/etc/apache2')


def _after(words: list[str], option: str) -> str:
    return next((words[at + 1] for at, word in enumerate(words[:-1]) if word == option), '')


@dataclass(frozen=True)
class Scope:
    """What holds in a section: the arguments of each directive's last line, and of all its lines."""

    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def within(self, block: Iterable[Line]) -> Scope:
        """Return what holds in a section inside."""
        own = {one.name: one.args for one in block if one.block is None}
        return Scope({**self.values, **own})

    def first(self, name: str) -> str:
        """Return a directive's first argument, or nothing."""
        found = self.values.get(name, ())
        return found[0] if found else ''


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


class Config:
    """One Apache configuration, read as far as it may be."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._root = instance.root
        self._fetched = Fetched()
        self._parsed: dict[str, tuple[Line, ...]] = {}
        self._variables: dict[str, str] = {}
        self._defines = set(instance.defines)
        self._modules: set[str] = set()
        self._room = LINES
        self.gaps = self._fetched.gaps

    def fetch(self, files: Files, *, quiet: bool) -> None:
        """Get the files and parse each."""
        if self._instance.config.startswith('/etc/'):
            for file in files.files(ENVIRONMENT):
                self._variables.update(_exports(file.text))
        self._fetched.fetch(files, [self._instance.config], self._included, what='Apache:', quiet=quiet)

    def _included(self, path: str, text: str) -> Iterator[str]:
        self._parsed[path] = parse(text)
        yield from self._patterns(self._parsed[path])

    def _patterns(self, block: Iterable[Line]) -> Iterator[str]:
        for one in block:
            if one.name == 'serverroot' and one.args:
                self._root = one.args[0]
            elif one.name == 'define' and one.args:
                self._defines.add(one.args[0])
                self._variables[one.args[0]] = one.args[1] if len(one.args) > 1 else ''
            elif one.name == 'loadmodule' and one.args:
                self._modules |= _names_of(one.args)
            elif one.name in {'include', 'includeoptional'} and one.args:
                yield self._include(one)
            yield from self._patterns(one.block or ())

    def _include(self, one: Line) -> str:
        path = joined_path(self._root, self._plain(one.args[0]))
        return f'{path}*' if path.endswith('/') else path

    def _plain(self, text: str) -> str:
        return re.sub(r'\$\{([A-Za-z_]\w*)\}', lambda found: self._variables.get(found[1], found[0]), text)

    def _unfolded(self, block: Iterable[Line], way: tuple[str, ...]) -> tuple[Line, ...]:
        whole: list[Line] = []
        for one in block:
            self._room -= 1
            if self._room < 0:
                break
            if one.name in {'include', 'includeoptional'} and one.args:
                for path in self._fetched.paths.get(self._include(one), ()):
                    if path in way:
                        self.gaps.append(Gap(f'Apache: {path}', 'includes itself'))
                    else:
                        whole += self._unfolded(self._parsed.get(path, ()), (*way, path))
            elif one.name in {'ifmodule', 'ifdefine', 'ifversion', 'iffile'}:
                if self._holds(one):
                    whole += self._unfolded(one.block or (), way)
            else:
                inner = None if one.block is None else self._unfolded(one.block, way)
                whole.append(Line(one.name, tuple(self._plain(arg) for arg in one.args), inner))
        return tuple(whole)

    def _holds(self, one: Line) -> bool:
        word = one.args[0] if one.args else ''
        if one.name == 'ifdefine':
            return (word.lstrip('!') in self._defines) != word.startswith('!')
        # A module that no LoadModule names may be built in; one that is asked to be away has not been seen.
        return one.name != 'ifmodule' or not (word.startswith('!') and word[1:] in self._modules)

    def vhosts(self) -> Iterator[Vhost]:
        """List the main server and the virtual hosts."""
        path = self._instance.config
        tree = self._unfolded(self._parsed.get(path, ()), (path,))
        if self._room < 0:
            self.gaps.append(Gap(f'Apache: {path}', f'has more than {LINES} lines; the rest was not read'))
        if not tree:
            return
        main = Scope().within(tree)
        listens = tuple(one for line in tree if line.name == 'listen' and line.args for one in _listens(line.args[:1]))
        yield self._vhost(tree, main, listens, tree)
        for one in tree:
            if one.name == 'virtualhost':
                block = one.block or ()
                yield self._vhost(block, main.within(block), tuple(_listens(one.args)), tree)

    def _vhost(self, block: Block, scope: Scope, listens: tuple[Listen, ...], tree: Block) -> Vhost:
        own = list(_dispatches(block))
        targets = own or list(_dispatches(tree))  # SetHandler of the main server holds in its virtual hosts too
        tls = scope.first('sslengine').lower() in {'on', 'optional'}
        names = [arg for one in block if one.name in {'servername', 'serveralias'} for arg in one.args]
        known = {name: args for name, args in scope.values.items() if name in SETTINGS}
        settings = {f'apache {SETTINGS[name]}': ' '.join(args) for name, args in known.items()}
        for one in _walk(block):
            if one.name in {'php_value', 'php_admin_value'} and len(one.args) == 2:  # noqa: PLR2004 - name and value
                settings[f'php {one.args[0]}'] = one.args[1]
        return Vhost(
            'apache', tuple(_server_name(name) for name in names),
            tuple(Listen(_bound(one, tree), one.port, tls or one.tls, one.default) for one in listens),
            joined_path(self._root, scope.first('documentroot')) if scope.first('documentroot') else '',
            tuple(dict.fromkeys(target for kind, target in targets if kind == 'fcgi')),
            tuple(dict.fromkeys(target for kind, target in own if kind != 'fcgi')),
            tuple(self._logs(block, scope)), settings, self._instance.config,
        )

    def _logs(self, block: Iterable[Line], scope: Scope) -> Iterator[LogFile]:
        places = [('apache', scope.first('errorlog') or 'logs/error_log')]
        places += [('access', one.args[0]) for one in block if one.name in {'customlog', 'transferlog'} and one.args]
        if len(places) == 1:
            places.append(('access', scope.first('customlog')))
        for source, path in places:
            if path.startswith(('|', 'syslog')) or '${' in path:
                self.gaps.append(Gap(f'Apache: {source} log', f'goes to {path[:200]}, which is no file'))
            elif path:
                yield LogFile(source, joined_path(self._root, path))


def _names_of(module: tuple[str, ...]) -> set[str]:
    """Return what IfModule may call a loaded module: its identifier, or the name of its source."""
    file = module[-1].rpartition('/')[2].removesuffix('.so')
    names = {module[0], f'{file}.c'}
    if module[0].startswith('php'):
        names |= {name for version in ('', '5', '7', '8') for name in (f'php{version}_module', f'mod_php{version}.c')}
    return names


def _exports(text: str) -> dict[str, str]:
    """Read Debian's envvars: ``export NAME=value``, with ``$SUFFIX`` empty as on hosts with one Apache."""
    found = {}
    for name, value in _EXPORT.findall(text):
        found[name] = re.sub(r'\$\{?SUFFIX\}?', '', value.strip('"\''))
    return found


def _walk(block: Iterable[Line]) -> Iterator[Line]:
    for one in block:
        yield one
        if one.block is not None and one.name != 'virtualhost':
            yield from _walk(one.block)


def _dispatches(block: Iterable[Line]) -> Iterator[tuple[str, str]]:
    """Find where requests are sent on: ('fcgi' or another scheme, address)."""
    for one in _walk(block):
        words: tuple[str, ...] = ()
        if one.name in {'sethandler', 'addhandler'}:
            words = one.args[:1]
        elif one.name in {'proxypass', 'proxypassmatch'}:
            words = tuple(arg for arg in one.args[:2] if '://' in arg or arg.startswith('unix:'))
        elif one.name == 'rewriterule' and len(one.args) > 2 and re.search(r'[\[,]P[\],]', one.args[2]):  # noqa: PLR2004 - flags
            words = one.args[1:2]
        for word in words:
            found = _DISPATCH.match(word)
            if found and found[1]:
                yield ('fcgi' if found[2] == 'fcgi' else 'http'), address(found[1])
            elif found and found[3] and found[2] != 'balancer' and '%{' not in found[3]:
                usual = {'https': ':443', 'fcgi': ':9000', 'ajp': ':8009'}.get(found[2], ':80')
                host = found[3] if re.search(r':\d+$', found[3]) else found[3] + usual
                yield ('fcgi' if found[2] == 'fcgi' else 'http'), address(host)


def _listens(places: Iterable[str]) -> Iterator[Listen]:
    for place in places:
        host, colon, port = place.rpartition(':')
        if not colon:
            host, port = ('', place) if place.isdigit() else (place, '80')
        number = int(port) if port.isdigit() else 80 if port in {'*', ''} else 0
        if 0 < number < 1 << 16:
            default = host in {'_default_', '*'}
            yield Listen('' if default else host.strip('[]'), number, number == 443)  # noqa: PLR2004 - https


def _bound(one: Listen, tree: Block) -> str:
    """Return the address that a virtual host can be reached at: one for all addresses goes by Listen."""
    named = [listen for line in tree if line.name == 'listen' for listen in _listens(line.args[:1])]
    places = [listen.address for listen in named if listen.port == one.port]
    return one.address if one.address or not places or '' in places else places[0]


def _server_name(name: str) -> str:
    name = name.partition('://')[2] or name
    return posixpath.basename(name.rstrip('/')).rpartition(':')[0] or name if re.search(r':\d+$', name) else name
