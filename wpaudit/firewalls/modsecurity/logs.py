"""What the logs of a web server say about the requests of the last minutes: which rules stopped them, and where."""

from __future__ import annotations

import posixpath
import re
import secrets
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from datetime import datetime
from datetime import timedelta
from urllib.parse import unquote

from wpaudit.domain import Evidence
from wpaudit.domain import Gap
from wpaudit.firewalls.modsecurity.lines import Hit
from wpaudit.firewalls.modsecurity.lines import hits
from wpaudit.firewalls.modsecurity.lines import known
from wpaudit.firewalls.modsecurity.rules import Rule
from wpaudit.firewalls.modsecurity.scopes import Configuration
from wpaudit.firewalls.modsecurity.scopes import chain
from wpaudit.firewalls.modsecurity.seclang import Engine
from wpaudit.firewalls.reading import Garbled
from wpaudit.firewalls.reading import escaped
from wpaudit.ports import Shell

SOURCE = 'modsecurity'
DENIED, COUNTED = 1000.0, 100.0  # weights: it stopped the request, or added to the score that did
RECENT = timedelta(minutes=10)
MOST_LOGS = 10
TAIL = 2_000_000  # bytes of one log
SECONDS = 30.0
USUAL = {Engine.V3: ('/var/log/nginx/error.log',), Engine.V2: (
    '/var/log/apache2/error.log', '/var/log/httpd/error_log', '/usr/local/apache2/logs/error_log')}
_MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']
_MONTH = f'({"|".join(_MONTHS)})'
# nginx; Apache, and audit logs in JSON of version 3; audit logs of both
_NUMERIC = re.compile(r'^(\d{4})/(\d\d)/(\d\d) (\d\d):(\d\d):(\d\d) ')
_NAMED = re.compile(
    rf'(?:^\[|"time_stamp":")[A-Z][a-z]{{2}} {_MONTH} ([ 0-9]\d) (\d\d):(\d\d):(\d\d)(?:\.\d+)? (\d{{4}})')
_AUDIT = re.compile(rf'(?:^\[|"time":")(\d\d)/{_MONTH}/(\d{{4}}):(\d\d):(\d\d):(\d\d)')
_SCRIPT = r"""
IFS= read -r word
printf '%s now %s\n' "$word" "$(date +%Y%m%d%H%M%S)"
while IFS= read -r line; do
    path=$(printf '%b.' "$line")
    path=${path%.}
    state=absent
    [ ! -e "$path" ] || state=other
    [ ! -f "$path" ] || state=file
    [ "$state" != file ] || [ -r "$path" ] || state=unreadable
    printf '\n%s %s\n' "$word" "$state"
    [ "$state" != file ] || tail -c "$1" <"$path"
done
printf '\n%s end\n' "$word"
"""
ASKING = ('sh', '-c', _SCRIPT, 'wpaudit', str(TAIL))


@dataclass(frozen=True)
class Tails:
    """The ends of logs that could be read, the host's local time, and why others could not."""

    now: datetime
    texts: Mapping[str, str]
    gaps: tuple[Gap, ...]


def logs_of(configuration: Configuration, indices: Sequence[int]) -> tuple[tuple[str, ...], tuple[Gap, ...]]:
    """Return the logs in which these scopes' requests may be, and those that are no files to be read."""
    named: list[str] = []
    gaps = []
    for index in indices:
        outwards = [configuration.scopes[one] for one in chain(configuration, index)]
        decisive = next((one.logs for one in outwards if one.logs), ())
        named += decisive or USUAL[configuration.engine]
        said = {one.piece.name: one.piece.words[1] for scope in outwards[::-1] for one in scope.own
                if len(one.piece.words) > 1 and one.piece.name in ('secauditlog', 'secauditlogtype')}
        audit, kind = said.get('secauditlog', ''), said.get('secauditlogtype', 'serial').lower()
        if audit and kind == 'serial':
            named.append(audit)
        elif audit:
            gaps.append(Gap(audit, f'an audit log of the type {kind} is not read'))
    files = [path for each in dict.fromkeys(named) for path in _files(each, configuration.engine)]
    gaps += [Gap(one, 'is no file, so what it says of rules is not read') for one in files if not one.startswith('/')]
    return tuple(one for one in dict.fromkeys(files) if one.startswith('/'))[:MOST_LOGS], tuple(dict.fromkeys(gaps))


def _files(path: str, engine: Engine) -> Sequence[str]:
    """Return what a name may mean: a variable is the environment's, and the usual directory is tried for it."""
    if '${' not in path:
        return (path,)
    name = posixpath.basename(path)
    return tuple(posixpath.join(posixpath.dirname(one), name) for one in USUAL[engine]) if name else ()


def tails(shell: Shell, paths: Sequence[str]) -> Tails:
    """Read the ends of logs in one round trip. Raises Garbled."""
    word = secrets.token_hex(16)
    asked = '\n'.join([word, *(escaped(path) for path in paths), '']).encode('ascii')
    answer = shell.run(ASKING, timeout=SECONDS, stdin=asked).stdout
    head, *parts = answer.split(b'\n' + word.encode() + b' ')
    now = re.search(word + ' now ([0-9]{14})', head.decode('utf-8', 'replace'))
    if now is None or len(parts) != len(paths) + 1 or parts.pop() != b'end\n':
        raise Garbled('The host did not say what is in its logs.')
    texts, gaps = {}, []
    for path, part in zip(paths, parts, strict=True):
        state, _, data = part.partition(b'\n')
        if state == b'file':
            texts[path] = data.decode('utf-8', 'surrogateescape')
        elif state != b'absent':
            why = 'may not be read (--sudo opens it)' if state == b'unreadable' else 'is no plain file'
            gaps.append(Gap(path, f'{why}, so rules are searched without what it says'))
    return Tails(datetime.strptime(now[1], '%Y%m%d%H%M%S'), texts, tuple(gaps))


def recent(text: str, now: datetime) -> Iterator[str]:
    """Yield the lines that are not known to be old. Lines without a time belong to the one before them."""
    fresh = True
    for line in text.split('\n'):
        when = _time(line)
        if when is not None:
            fresh = abs(now - when) <= RECENT
        if fresh:
            yield line


def _time(line: str) -> datetime | None:
    head = line[:4096]
    try:
        if match := _NUMERIC.match(head):
            return datetime(*map(int, match.groups()))  # type: ignore[arg-type]
        if match := _NAMED.search(head):
            month, day, hour, minute, second, year = match.groups()
        elif match := _AUDIT.search(head):
            day, month, year, hour, minute, second = match.groups()
        else:
            return None
        return datetime(
            int(year), _MONTHS.index(month) + 1, int(day), int(hour), int(minute), int(second))
    except ValueError:
        return None


def accused(texts: Iterable[str], now: datetime, rules: Sequence[Rule], paths: Sequence[str]) -> tuple[Hit, ...]:
    """Return what the newest request to one of these paths has hit: of those that were stopped, if any was."""
    requests: dict[str, list[Hit]] = {}
    for text in texts:
        for hit in known(hits(recent(text, now)), rules):
            if hit.request:
                requests[hit.request] = [*requests.pop(hit.request, ()), hit]
    wanted = {unquote(path) for path in paths}
    found = [one for one in requests.values() if any(unquote(hit.uri) in wanted for hit in one)]
    stopped = [one for one in found if any(hit.denied for hit in one)]
    newest = (stopped or found or [[]])[-1]
    return tuple(dict.fromkeys(replace(hit, uri='') for hit in newest))


def evidence(found: Sequence[Hit], suspects: Sequence[int]) -> tuple[Evidence, ...]:
    """Return what the hits of one request say against suspects.

    The one that denied it is named alone. When that is the sum of a score, all that added to it are: each may be
    enough, so all of them are to be off together.
    """
    denying = [hit for hit in found if hit.denied and hit.rule in suspects]
    counting = list(dict.fromkeys(hit.rule for hit in found if hit.rule in suspects))
    if denying:
        hit = denying[-1]
        return (Evidence(SOURCE, f'rule {hit.rule} denied a request with {hit.status or "a closed connection"}'
                                 f'{_looking(hit)}', (str(hit.rule),), DENIED),)
    if not counting:
        return ()
    reason = f'{len(counting)} rules matched in the last request that was seen' if len(counting) > 1 else (
        f'rule {counting[0]} matched in the last request that was seen')
    return (Evidence(SOURCE, reason, tuple(str(one) for one in counting), COUNTED),)


def _looking(hit: Hit) -> str:
    return f', for {hit.variable}' if hit.variable else ''
