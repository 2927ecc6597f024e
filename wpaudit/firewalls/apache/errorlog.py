"""The last minutes of Apache's error logs, as far as they may be read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from wpaudit.domain import Gap
from wpaudit.errors import CommandTimeout
from wpaudit.errors import ModeUnavailable
from wpaudit.firewalls.acting import rooted
from wpaudit.ports import Ground
from wpaudit.ports import Shell

SECONDS = 30.0
MOST_BYTES = 512 << 10  # of the end of one log
MOST_LOGS = 4
RECENT = 600.0  # seconds
# The host's time as Apache writes it, and the end of a log. Only sh has to be allowed to whoever may use sudo.
TAIL = ('sh', '-c', """
LC_ALL=C; export LC_ALL
[ -e "$2" ] || exit 3
[ -f "$2" ] && [ -r "$2" ] || exit 4
env -u TZ date +%Y%m%d%H%M%S && exec tail -c "$1" -- "$2"
""", 'wpaudit', str(MOST_BYTES))
_ABSENT = 3
_STAMP = re.compile(r'\[[A-Z][a-z]{2} ([A-Z][a-z]{2}) ([ 0-9]?[0-9]) ([0-9:]{8})(?:\.[0-9]{1,9})? ([0-9]{4})\]')
_MONTHS = 'JanFebMarAprMayJunJulAugSepOctNovDec'


def recent(ground: Ground, logs: Sequence[str]) -> tuple[tuple[str, ...], tuple[Gap, ...]]:
    """Return the lines of the last ten minutes, oldest first in each log, and which logs could not be read."""
    lines: list[str] = []
    gaps: list[Gap] = []
    for path in logs[:MOST_LOGS]:
        if not path.startswith('/'):
            gaps.append(Gap(f'Apache error log {path}', 'is no file'))
            continue
        found, why = _tail(ground, path)
        lines += found
        gaps += [Gap(path, why)] if why else []
    return tuple(lines), tuple(gaps)


def _tail(ground: Ground, path: str) -> tuple[list[str], str]:
    try:
        status, output = _read(ground.shell, path)
        if status not in (0, _ABSENT):
            try:
                shell = rooted(ground).shell
            except ModeUnavailable as error:
                return [], f'may not be read, and would say which kind of rule refused a request: {error.message}'
            status, output = _read(shell, path)
    except CommandTimeout as error:
        return [], error.message
    if status:
        return [], '' if status == _ABSENT else 'is no file that could be read'
    now, _, rest = output.decode('utf-8', 'surrogateescape').partition('\n')
    return _of_the_last_minutes(rest.split('\n'), now), ''


def _read(shell: Shell, path: str) -> tuple[int, bytes]:
    done = shell.run((*TAIL, path), timeout=SECONDS)
    return done.status, done.stdout


def _of_the_last_minutes(lines: Sequence[str], now: str) -> list[str]:
    with suppress(ValueError):
        end = datetime.strptime(now, '%Y%m%d%H%M%S')
        return [line for line in lines if -RECENT <= (_written(line, end) - end).total_seconds() <= RECENT]
    return []


def _written(line: str, end: datetime) -> datetime:
    """Return when a line was written; one that does not say so belongs to no time."""
    stamp = _STAMP.match(line)
    if stamp is None or _MONTHS.find(stamp[1]) % 3:
        return datetime.min
    month = _MONTHS.find(stamp[1]) // 3 + 1
    with suppress(ValueError):
        hour, minute, second = (int(one) for one in stamp[3].split(':'))
        return datetime(int(stamp[4]), month, int(stamp[2]), hour, minute, second, tzinfo=end.tzinfo)
    return datetime.min
