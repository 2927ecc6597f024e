"""Which web servers run on a host, and where their configuration is."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace

from wpaudit.firewalls.modsecurity.seclang import Engine
from wpaudit.firewalls.reading import State
from wpaudit.firewalls.reading import read_files
from wpaudit.ports import Shell

SECONDS = 30.0
MOST = 200  # web servers looked at
# One grep for all processes; then, of the web servers, those that no process of the same name has started: a busy
# Apache has hundreds of children, which say what their parent says.
FIND = ('sh', '-c', """
grep -lsE '^(nginx|apache2|httpd|httpd-prefork|httpd-worker|httpd-event)$' /proc/[0-9]*/comm | while read -r file; do
    read -r name <"$file" && read -r pid called state parent rest <"${file%comm}stat" || continue
    read -r above <"/proc/$parent/comm" || above=
    [ "$name" = "$above" ] || echo "$file"
done 2>/dev/null
:
""")
USUAL = {
    Engine.V3: ('/etc/nginx/nginx.conf', '/usr/local/nginx/conf/nginx.conf', '/usr/local/etc/nginx/nginx.conf',
                '/opt/nginx/conf/nginx.conf'),
    Engine.V2: ('/etc/apache2/apache2.conf', '/etc/httpd/conf/httpd.conf', '/usr/local/apache2/conf/httpd.conf',
                '/etc/apache2/httpd.conf'),
}
_COMM = re.compile(r'/proc/[0-9]{1,10}/comm')
_TITLE = re.compile(r'nginx: (master|worker|cache)[a-z -]* process ?')


@dataclass(frozen=True)
class WebServer:
    """One configuration that is in use. ``root`` is what relative paths begin at, ``''`` when that is not said."""

    engine: Engine
    path: str
    root: str = ''


@dataclass(frozen=True)
class Master:
    """One process that runs a web server: its pid, its user's, its command line as the kernel has it, with NULs."""

    pid: int
    user: int
    line: str
    server: WebServer


def web_servers(shell: Shell) -> tuple[WebServer, ...]:
    """Return the web servers that run; where processes cannot be seen, those whose usual configuration is there.

    It is read from command lines: ``-f`` and ``-d`` of Apache, ``-c`` and ``-p`` of nginx.
    """
    found = [one.server for one in masters(shell)]
    if not found:
        found = [WebServer(engine, path) for engine, path in _usual(shell, tuple(USUAL)).items()]
    return tuple(dict.fromkeys(one for one in found if one.path))


def masters(shell: Shell) -> tuple[Master, ...]:
    """Return the processes that read a configuration and start others; with the usual one where they name none."""
    output = shell.run(FIND, timeout=SECONDS).stdout.decode('ascii', 'replace')
    paths = [line.removesuffix('comm') + 'cmdline' for line in output.splitlines() if _COMM.fullmatch(line)]
    files = read_files(shell, sorted(paths)[:MOST]).values()
    found = [Master(_pid(file.path), file.user, line, server) for file in files
             for line in [file.data.decode('utf-8', 'surrogateescape')] for server in _server(line)]
    usual = _usual(shell, tuple(dict.fromkeys(one.server.engine for one in found if not one.server.path)))
    return tuple(
        one if one.server.path else replace(one, server=replace(one.server, path=usual.get(one.server.engine, '')))
        for one in found
    )


def _usual(shell: Shell, engines: Sequence[Engine]) -> dict[Engine, str]:
    """Return the usual configurations that are there."""
    files = read_files(shell, [path for engine in engines for path in USUAL[engine]]) if engines else {}
    found = {engine: [path for path in USUAL[engine] if files[path].state is not State.ABSENT] for engine in engines}
    return {engine: paths[0] for engine, paths in found.items() if paths}


def _pid(path: str) -> int:
    return int(path.split('/')[2])


def _server(line: str) -> Iterator[WebServer]:
    """Yield what one command line says; nothing for a process that merely has such a name."""
    title = _TITLE.match(line)
    if title:
        if title[1] == 'master':
            words = line[title.end():].replace('\0', ' ').split()
            yield _chosen(Engine.V3, words, '-c', '-p')
        return
    words = line.rstrip('\0').split('\0')
    if words and posixpath.basename(words[0]).startswith(('apache2', 'httpd')):
        yield _chosen(Engine.V2, words, '-f', '-d')


def _chosen(engine: Engine, words: Sequence[str], file: str, root: str) -> WebServer:
    path, base = _option(words, file), _option(words, root)
    if path and not path.startswith('/'):
        path = posixpath.join(base, path) if base.startswith('/') else ''
    return WebServer(engine, path, base)


def _option(words: Sequence[str], name: str) -> str:
    """Return an option's value, whether it is a word of its own or not."""
    for index, word in enumerate(words):
        if word == name:
            return words[index + 1] if index + 1 < len(words) else ''
        if word.startswith(name):
            return word.removeprefix(name)
    return ''
