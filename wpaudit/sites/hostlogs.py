"""The logs of a host that could say something about one site: which they are, and what is new in them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import replace

from wpaudit.domain import Gap
from wpaudit.sites.fpm import Section
from wpaudit.sites.hostask import About
from wpaudit.sites.hostask import HostAsk
from wpaudit.sites.hostask import Place
from wpaudit.sites.hostask import Tail
from wpaudit.sites.loglines import LogText
from wpaudit.sites.logtimes import Clock
from wpaudit.sites.servers import LogFile
from wpaudit.sites.servers import joined_once

KERNEL_FILES = ('/var/log/kern.log', '/var/log/messages')
MOST = 60
ABSENT = 'does not exist'
EARLIER = 1 << 18  # bytes of a log from before it was noted
_NAMES = (
    ('access', 'access'), ('fpm', 'php-fpm'), ('nginx', 'nginx'), ('apache|httpd', 'apache'), ('debug', 'wordpress'))


def known(
    about: About, web: Iterable[LogFile], sections: Iterable[Section], extra: Iterable[str],
) -> tuple[LogFile, ...]:
    """List the logs by what the configurations name, then the usual places."""
    found = [LogFile(_source(path), path) for path in extra]
    found += web
    for section in sections:
        if section.error_log:
            found.append(LogFile('php-fpm', section.error_log))
        own = section.php().get('error_log', '')
        found.append(LogFile('php', own.replace('$pool', section.name)))
    found += _of_site(about)
    found += [LogFile('kernel', path, asked=False) for path in KERNEL_FILES]
    return tuple(joined_once(log for log in found if log.path.startswith('/')))[:MOST]


def _source(path: str) -> str:
    name = path.rsplit('/', 1)[-1] if not re.search('nginx|apache|httpd', path) else path
    return next((source for sign, source in _NAMES if re.search(sign, name)), 'php')


def _of_site(about: About) -> Iterator[LogFile]:
    content = about.site['content'] or f'{about.docroot}/wp-content'
    debug = about.site['debug_log']
    yield LogFile('php', about.php['error_log'])
    yield LogFile('wordpress', debug if debug.startswith('/') else f'{content}/debug.log', asked=bool(debug))
    yield LogFile('php', f'{about.docroot}/error_log', asked=False)


class Logs:
    """What is new in the logs since they were first looked at."""

    def __init__(self, ask: HostAsk) -> None:
        self._ask = ask
        self._logs: dict[str, LogFile] = {}
        self._places: dict[str, Place] = {}

    def note(self, logs: Iterable[LogFile]) -> None:
        """Remember how long each log is now; what comes later is new."""
        self._logs = {log.path: log for log in logs}
        # One that cannot be read, or is not there yet, is read from its beginning once it can be.
        sizes = self._ask.sizes(list(self._logs))
        self._places = {one.path: Place(one.path, one.size, one.inode, one.size, one.print) for one in sizes}

    def fresh(
        self, *, since: float, early: bool, markers: Sequence[str], kernel: bool,
    ) -> tuple[list[LogText], Clock, list[Gap]]:
        """Read what is new, and the kernel's log from ``since`` (the host's clock) on, if that is wanted.

        ``early`` reads some of what was there before too, for requests that were made before the logs were noted.
        """
        # Without markers an access log has nothing for us.
        pointless = {'access': not markers, 'kernel': not kernel}
        wanted = [path for path, log in self._logs.items() if not pointless.get(log.source, False)]
        tails, offsets = self._ask.tails([self._place(path, markers, early=early) for path in wanted])
        ours = [one for one in tails if one.path in self._logs]
        texts = [LogText(self._logs[one.path].source, one.path, one.text) for one in ours if one.text]
        gaps = [_gap(self._logs[one.path], one.why) for one in ours if one.why and one.why != ABSENT
                and self._logs[one.path].source != 'kernel']
        if not kernel:
            return texts, Clock(offsets), gaps
        told, booted, now, why = self._kernel(since)
        files = [one for one in ours if self._logs[one.path].source == 'kernel']
        if not told and why and all(one.why for one in files):
            gaps.append(Gap('kernel log', _forbidden(why, files)))
        return [*texts, *told], Clock(offsets, booted, now), gaps

    def _place(self, path: str, markers: Sequence[str], *, early: bool) -> Place:
        place = self._places.get(path, Place(path))
        start = max(0, place.start - EARLIER) if early else place.start
        return replace(place, start=start, words=tuple(markers) if self._logs[path].source == 'access' else ())

    def _kernel(self, since: float) -> tuple[list[LogText], float, float, list[str]]:
        said = self._ask.ask('host-kernel', since=max(0, since - 5))
        texts, why = [], []
        for name in ('journal', 'dmesg'):
            part = said.part(name)
            if part.whole('status') == 0:
                texts.append(LogText('kernel', name, part.raw('out')))
            elif part.text('err') and 'not found' not in part.text('err'):
                why.append(f'{name}: {part.text("err").strip()}')
        # Both tell the same story; the journal has times that need no guessing.
        return [one for one in texts if one.text][:1] or texts[:1], said.number('booted'), said.number('time'), why


def _gap(log: LogFile, why: str) -> Gap:
    name = {'nginx': 'nginx error log', 'apache': 'Apache error log', 'access': 'access log', 'php': 'PHP error log',
            'wordpress': 'WordPress debug log'}.get(log.source, f'{log.source} log')
    return Gap(f'{name} {log.path}', why)


def _forbidden(why: Sequence[str], files: Sequence[Tail]) -> str:
    closed = [f'{one.path} {one.why}' for one in files if one.why and one.why != ABSENT]
    return '; '.join([*why, *closed])[:600] + ' (group adm or systemd-journal may read it)'
