"""Which nginx run on a host in our network, out of ``sh/nginx.sh``; and the ends of their error logs."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from wpaudit.firewalls.netfilter.clues import recent
from wpaudit.nginx_syntax import Directive
from wpaudit.nginx_syntax import every
from wpaudit.ports import Shell

SECONDS = 60.0
LOG_BYTES = 200_000  # of the end of each log
MOST_LOGS = 8
_USUAL_LOG = '/var/log/nginx/error.log'
_VERSION = re.compile(r'nginx version: \S*?/(\d+)\.(\d+)\.(\d+)')
_SAYS_LOG = (1, 19, 5)  # the first with the option -e
_TAIL = 'for file do [ -f "$file" ] && tail -c "$0" -- "$file" && echo; done; date "+%Y/%m/%d %H:%M:%S"'


@dataclass(frozen=True)
class Nginx:
    """One nginx. ``group`` and ``gid`` are those of its workers; ``built`` is what ``nginx -V`` says."""

    exe: str
    config: str
    prefix: str
    group: str
    gid: int
    built: str

    @property
    def base(self) -> str:
        """The directory that includes and certificates are relative to."""
        return posixpath.dirname(self.config)

    @property
    def realip(self) -> bool:
        """Whether it can be told a visitor's address."""
        return '--with-http_realip_module' in self.built

    def command(self, directory: str) -> str:
        """Return the command line of a second one, whose configuration is in ``directory``."""
        version = _VERSION.search(self.built)
        log = version is not None and tuple(int(one) for one in version.groups()) >= _SAYS_LOG
        words = [self.exe, '-c', f'{directory}/shadow.conf', '-p', self.prefix]
        return shlex.join([*words, *(['-e', f'{directory}/shadow.log'] if log else [])])


@dataclass(frozen=True)
class Running:
    """All of them, and the accounts (name, uid) that no process uses."""

    masters: tuple[Nginx, ...] = ()
    accounts: tuple[tuple[str, int], ...] = ()


def running(shell: Shell) -> Running:
    """Ask the host, as root where workers are another account's."""
    script = resources.files('wpaudit.firewalls').joinpath('sh', 'nginx.sh').read_text(encoding='utf-8')
    said = shell.run(('sh', '-c', script, 'wpaudit'), timeout=SECONDS).stdout.decode('utf-8', 'surrogateescape')
    return running_of(said)


def running_of(said: str) -> Running:
    """Read what ``sh/nginx.sh`` said. Lines that are out of place are left out."""
    titles: dict[str, str] = {}
    facts: dict[tuple[str, str], str] = {}
    accounts: list[tuple[str, int]] = []
    for line in said.split('\n'):
        word, _, rest = line.partition(' ')
        key, _, value = rest.partition(' ')
        if word == 'master':
            titles[key] = value
        elif word in {'exe', 'built'}:
            facts[word, key] = value
        elif word == 'worker':
            facts.setdefault((word, key), value)
        elif word == 'account' and value.isdecimal():
            accounts.append((key, int(value)))
    masters = (
        _master(title, facts.get(('exe', pid), ''), facts.get(('built', pid), ''), facts.get(('worker', pid), ''))
        for pid, title in titles.items()
    )
    return Running(tuple(one for one in masters if one is not None), tuple(accounts))


def _master(title: str, exe: str, built: str, worker: str) -> Nginx | None:
    words = title.split()
    prefix = _option(words, '-p') or _built_with(built, 'prefix') or '/'
    config = _option(words, '-c') or _built_with(built, 'conf-path') or 'conf/nginx.conf'
    config = posixpath.join(prefix, config)
    gid, _, group = worker.partition(' ')
    if not exe.startswith('/') or not config.startswith('/') or not gid.isdecimal() or not group:
        return None
    return Nginx(exe, config, prefix, group, int(gid), built)


def _option(words: Sequence[str], name: str) -> str:
    at = next((at for at, word in enumerate(words[:-1]) if word == name), None)
    return '' if at is None else words[at + 1]


def _built_with(built: str, name: str) -> str:
    found = re.search(rf'--{name}=(\S+)', built)
    return found[1].strip("'\"") if found else ''


def error_logs(trees: Iterable[tuple[Nginx, Sequence[Directive]]]) -> tuple[str, ...]:
    """Return the error logs that configurations name, most of all those of everything."""
    paths = [path for nginx, tree in trees for path in _logs(nginx, tree)]
    return tuple(dict.fromkeys([*paths, _USUAL_LOG]))[:MOST_LOGS]


def _logs(nginx: Nginx, tree: Sequence[Directive]) -> Iterator[str]:
    for one in every(tree):
        if one.name == 'error_log' and one.args and not re.match(r'stderr|syslog:|memory:|/dev/|.*\$', one.args[0]):
            yield posixpath.join(nginx.prefix, one.args[0])


def ends_of(shell: Shell, paths: Sequence[str]) -> list[str]:
    """Return the latest lines of these files, those that may be read; the last one is the time of the host."""
    said = shell.run(('sh', '-c', _TAIL, str(LOG_BYTES), *paths), timeout=SECONDS).stdout if paths else b''
    return recent(said.decode('utf-8', 'surrogateescape').split('\n'))
