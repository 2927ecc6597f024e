"""Which web servers run on a host, and where their configuration is."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass

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


def web_servers(shell: Shell) -> tuple[WebServer, ...]:
    """Return the web servers that run; where processes cannot be seen, those whose usual configuration is there.

    It is read from command lines: ``-f`` and ``-d`` of Apache, ``-c`` and ``-p`` of nginx.
    """
    output = shell.run(FIND, timeout=SECONDS).stdout.decode('ascii', 'replace')
    found = [line.removesuffix('comm') + 'cmdline' for line in output.splitlines() if _COMM.fullmatch(line)]
    lines = read_files(shell, sorted(found)[:MOST]).values()
    servers = [one for file in lines for one in _server(file.data.decode('utf-8', 'surrogateescape'))]
    unknown = [one for one in dict.fromkeys(servers) if not one.path]
    missing = unknown if servers else [WebServer(engine, '') for engine in USUAL]
    usual = read_files(shell, [path for one in missing for path in USUAL[one.engine]]) if missing else {}
    there = [
        WebServer(one.engine, path, one.root) for one in missing
        for path in [next((path for path in USUAL[one.engine] if usual[path].state is not State.ABSENT), '')] if path
    ]
    return tuple(dict.fromkeys([*(one for one in servers if one.path), *there]))


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
