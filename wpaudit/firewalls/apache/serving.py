"""What an Apache makes of one site: which files it reads for it, and whether ``.htaccess`` counts at all."""

from __future__ import annotations

import posixpath
import re
import urllib.parse
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from fnmatch import fnmatchcase

from wpaudit.domain import Gap
from wpaudit.firewalls.apache.reader import Directive
from wpaudit.firewalls.apache.reader import Document
from wpaudit.firewalls.apache.reader import Section
from wpaudit.firewalls.apache.reader import read
from wpaudit.firewalls.apache.reader import words
from wpaudit.firewalls.modsecurity.files import Collected
from wpaudit.firewalls.modsecurity.files import Splicer
from wpaudit.firewalls.modsecurity.files import absolute
from wpaudit.firewalls.modsecurity.files import collect
from wpaudit.firewalls.reading import HostFile
from wpaudit.firewalls.reading import read_files
from wpaudit.ports import Shell

USUAL_NAME = '.htaccess'
_INCLUDES = ('include', 'includeoptional')
_VARIABLE = re.compile(r'\$\{([^}:]*)\}')
_STATUS = (('/server-status',), ('/server-info',), ('/balancer-manager',))
_EXPORT = re.compile(r'^[ \t]*export[ \t]+([A-Za-z_]\w*)=(\S+)', re.MULTILINE)
DEFAULT_LOG = 'logs/error_log'
LAST = 1_000  # deeper than any directory


@dataclass(frozen=True)
class Line:
    """One directive of the configuration, with the sections around it in all files."""

    path: str
    directive: Directive
    sections: tuple[tuple[str, Section], ...]  # with the file in which each was opened

    @property
    def host(self) -> tuple[str, int] | None:
        """The virtual host it stands in: file and line."""
        return next(((path, one.first) for path, one in self.sections if one.name == 'virtualhost'), None)

    @property
    def directories(self) -> tuple[Section, ...]:
        """The <Directory> sections around it."""
        return tuple(one for _, one in self.sections if one.name in ('directory', 'directorymatch'))


@dataclass(frozen=True)
class Serving:
    """One Apache's configuration as far as one site is concerned. ``roots`` are its document roots."""

    lines: tuple[Line, ...]
    documents: dict[str, Document]
    texts: dict[str, str]
    gaps: tuple[Gap, ...]
    hosts: frozenset[tuple[str, int]] = frozenset()  # the virtual hosts that are this site's
    here: bool = False                               # whether it says that it serves the site
    path: str = ''                                   # of the main configuration
    reals: Mapping[str, str] = field(default_factory=dict)  # where the path of a file leads
    logs: tuple[str, ...] = ()                       # the error logs of the site: paths, or what is no file

    def concerns(self, line: Line) -> bool:
        """Tell whether a line counts for this site's requests."""
        return line.host is None or line.host in self.hosts

    def about(self, line: Line, site: Sequence[str]) -> bool:
        """Tell whether a line is about the site's own files: not about the whole disk, other sites, or status pages."""
        if any(one.name == 'location' and words(one.args)[:1] in _STATUS for _, one in line.sections):
            return False
        if not line.directories:
            return True
        own = ''.join(words(line.directories[-1].args)[:1]).rstrip('/')
        return any(_depth(line.directories[-1], one) > 1 or own.startswith(f'{one}/') for one in site)

    def names(self) -> tuple[str, ...]:
        """Return the names of files that Apache reads in each directory."""
        found = [line for line in self.lines if line.directive.name == 'accessfilename' and self.concerns(line)]
        return words(found[-1].directive.args) if found else (USUAL_NAME,)

    def overrides(self, directory: str) -> bool:
        """Tell whether a ``.htaccess`` in this directory may say anything (AllowOverride, AllowOverrideList)."""
        found: dict[str, tuple[int, int, bool]] = {}
        for number, line in enumerate(self.lines):
            name = line.directive.name
            if name not in ('allowoverride', 'allowoverridelist') or not line.directories or not self.concerns(line):
                continue
            said = [word.lower() for word in words(line.directive.args)]
            if said == ['none'] and _is_expression(line.directories[-1]):
                continue  # of some directories, and nobody runs a host's expressions to find out which
            depth = _depth(line.directories[-1], directory)
            if depth and (depth, number) >= found.get(name, (0, 0, False))[:2]:
                found[name] = depth, number, said != ['none']
        return any(allowed for _, _, allowed in found.values())


@dataclass
class _Walk:
    """Goes through the files in Apache's order."""

    root: str
    documents: dict[str, Document] = field(default_factory=dict)
    defined: dict[str, str] = field(default_factory=dict)

    def document(self, path: str, text: str) -> Document:
        if path not in self.documents:
            self.documents[path] = read(text)
        return self.documents[path]

    def targets(self, path: str, text: str) -> list[str]:
        return [target for one in self.document(path, text).directives for target in self.noted(one)]

    def noted(self, directive: Directive) -> Sequence[str]:
        said = words(directive.args)
        if directive.name == 'serverroot' and said:
            self.root = self.filled(said[0])
        elif directive.name == 'define' and len(said) > 1:
            self.defined.setdefault(said[0], self.filled(said[1]))
        elif directive.name in _INCLUDES and said:
            return (absolute(self.filled(said[0]), self.root),)
        return ()

    def filled(self, word: str) -> str:
        return _VARIABLE.sub(lambda match: self.defined.get(match[1], match[0]), word)

    def lines(
        self, splicer: Splicer, file: HostFile, within: tuple[HostFile, ...], around: tuple[tuple[str, Section], ...],
    ) -> Iterator[Line]:
        for one in self.document(file.path, file.text).directives:
            own = ((file.path, replace(each, args=self.filled(each.args))) for each in one.sections)
            sections = (*around, *own)
            yield Line(file.path, one, sections)
            for target in self.noted(one):
                for inner in splicer.files_at(target, (*within, file)):
                    yield from self.lines(splicer, inner, (*within, file), sections)


def serving(shell: Shell, path: str, root: str, site: Sequence[str], url: str) -> Serving:
    """Read the configuration at ``path``; ``site`` are the names of the site's directory, links and all.

    ``root`` is ServerRoot unless the configuration says another, or ``''``.
    """
    walk = _Walk(root or posixpath.dirname(path), defined=_exported(shell, posixpath.dirname(path)))
    collected = collect(shell, [path], walk.targets)
    splicer = Splicer(collected)
    lines = tuple(line for file in splicer.files_at(path, ()) for line in walk.lines(splicer, file, (), ()))
    hosts, here = _hosts(lines, walk, site, urllib.parse.urlsplit(url))
    reals = {one: collected.files[one].real for one in walk.documents if not collected.files[one].cut}
    found = Serving(
        lines, walk.documents, _texts(collected, walk), (*collected.gaps, *_problems(walk)), hosts, here, path, reals)
    return replace(found, logs=tuple(_logs(found, walk)))


def _logs(one: Serving, walk: _Walk) -> Iterator[str]:
    """Yield the error logs of the site's virtual hosts, and of the server: that of lines outside of any."""
    found = [line for line in one.lines if line.directive.name == 'errorlog' and one.concerns(line)]
    said = dict.fromkeys(walk.filled(''.join(words(line.directive.args)[:1])) for line in found[::-1])
    for target in said or (DEFAULT_LOG,):
        yield target if target.startswith(('|', 'syslog')) or '${' in target else absolute(target, walk.root)


def _exported(shell: Shell, directory: str) -> dict[str, str]:
    """Return what Debian's ``envvars`` sets, with SUFFIX empty as on hosts with one Apache."""
    path = posixpath.join(directory, 'envvars')
    found = _EXPORT.findall(read_files(shell, [path])[path].text)
    return {name: re.sub(r'\$\{?SUFFIX\}?', '', value.strip('"\'')) for name, value in found}


def _texts(collected: Collected, walk: _Walk) -> dict[str, str]:
    return {path: collected.text(path) for path in walk.documents}


def _problems(walk: _Walk) -> Iterator[Gap]:
    for path, document in walk.documents.items():
        for problem in document.problems:
            yield Gap(path, f'not read to its end: {problem}')


def _hosts(
    lines: Sequence[Line], walk: _Walk, site: Sequence[str], url: urllib.parse.SplitResult,
) -> tuple[frozenset[tuple[str, int]], bool]:
    """Return the virtual hosts whose document root holds the site, or which the URL names.

    A name alone is not enough, since many servers may bear it: it has to be one at the URL's port.
    """
    found = set()
    here = False
    listening = {_port(word) for line in lines if line.directive.name == 'listen'
                 for word in words(line.directive.args)[:1]}
    for line in lines:
        said = words(line.directive.args)
        if line.directive.name == 'documentroot' and said:
            fits = any(_shares(one, walk.filled(said[0])) for one in site)
        elif line.directive.name in ('servername', 'serveralias'):
            named = any(_means(pattern.lower(), (url.hostname or '').lower()) for pattern in said)
            fits = named and _asked_port(url) in (_own_ports(line) or listening)
        else:
            continue
        here = here or fits
        if fits and line.host is not None:
            found.add(line.host)
    return frozenset(found), here


def _asked_port(url: urllib.parse.SplitResult) -> int:
    with suppress(ValueError):
        return url.port or (443 if url.scheme == 'https' else 80)
    return 0


def _own_ports(line: Line) -> set[int]:
    """Return the ports of the virtual host that a line stands in; none where it does not say any."""
    host = next((one for _, one in line.sections if one.name == 'virtualhost'), None)
    return {_port(word) for word in words(host.args if host else '')} - {0}


def _port(word: str) -> int:
    """Return the port of ``80``, ``*:80``, ``[::]:80``; 0 where there is none."""
    number = re.search(r'(?:^|:)([0-9]{1,5})$', word)
    return int(number[1]) if number else 0


def _shares(site: str, root: str) -> bool:
    site, root = posixpath.normpath(site), posixpath.normpath(root)
    return site == root or site.startswith(f'{root}/') or root.startswith(f'{site}/')


def _means(pattern: str, name: str) -> bool:
    bare = re.sub(r'^[a-z]+://|:[0-9]+$', '', pattern)
    return bool(name) and fnmatchcase(name, bare)


def _depth(section: Section, directory: str) -> int:
    """Return how deep a <Directory> is that means ``directory`` or one above it; 0 for another."""
    if _is_expression(section):
        return LAST  # it may mean the directory, and comes after plain names
    wanted = posixpath.normpath(''.join(words(section.args)[:1]) or '?')
    above = [directory]
    while above[-1] not in ('/', ''):
        above.append(posixpath.dirname(above[-1]))
    return wanted.rstrip('/').count('/') + 1 if any(fnmatchcase(one, wanted) for one in above) else 0


def _is_expression(section: Section) -> bool:
    return section.name == 'directorymatch' or words(section.args)[:1] == ('~',)
