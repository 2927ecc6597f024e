"""When a line of a log was written, whatever server wrote it. Pure.

Most logs carry local time without a zone: ``offsets`` are what local time may be ahead of UTC (two values around a
change of summer time), and the one that brings a line closest to the time looked for is taken.
"""

from __future__ import annotations

import re
from calendar import timegm
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from datetime import timedelta
from zoneinfo import ZoneInfo
from zoneinfo import ZoneInfoNotFoundError

MONTHS = {name: at for at, name in enumerate(
    ('Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'), start=1)}
DAY = 86400
_UTC_EPOCH = datetime(1970, 1, 1)


@dataclass(frozen=True)
class Clock:
    """What is needed to read times: the host's offsets, when it booted, and when about we are."""

    offsets: Sequence[float] = (0.0,)
    booted: float = 0.0
    now: float = 0.0


_WALL = r'(?P<H>\d\d):(?P<M>\d\d):(?P<S>\d\d)'
NGINX = re.compile(r'(?P<Y>\d{4})/(?P<m>\d\d)/(?P<d>\d\d) ' + _WALL + r'(?P<f>) ')
PHP = re.compile(
    r'\[(?P<d>\d\d)-(?P<b>[A-Z][a-z]{2})-(?P<Y>\d{4}) ' + _WALL + r'(?P<f>\.\d{1,6})?(?: (?P<zone>[\w/+:.-]+))?\]')
APACHE = re.compile(
    r'\[[A-Z][a-z]{2} (?P<b>[A-Z][a-z]{2}) (?P<d>\d\d) ' + _WALL + r'(?P<f>\.\d{1,6})? (?P<Y>\d{4})\]')
ACCESS = re.compile(
    r'\[(?P<d>\d\d)/(?P<b>[A-Z][a-z]{2})/(?P<Y>\d{4}):' + _WALL + r'(?P<f>) (?P<zone>[+-]\d{4})\]')
ISO = re.compile(
    r'(?P<Y>\d{4})-(?P<m>\d\d)-(?P<d>\d\d)[T ]' + _WALL + r'(?P<f>[.,]\d{1,9})?(?P<zone>Z|[+-]\d\d:?\d\d)?')
SYSLOG = re.compile(r'(?P<b>[A-Z][a-z]{2}) (?P<d>[ \d]\d) ' + _WALL + r'(?P<f>) ')
BOOT = re.compile(r'(?:<\d+>)?\[ *(?P<up>\d{1,10}\.\d{1,9})\] ')
UNIX = re.compile(r'(?P<unix>\d{9,10}\.\d{1,9}) ')

# Which forms the lines of a source may have. A time further in than this is part of somebody's message.
FORMS: dict[str, tuple[re.Pattern[str], ...]] = {
    'nginx': (NGINX,), 'php-fpm': (PHP,), 'php': (PHP, APACHE, NGINX), 'wordpress': (PHP,), 'apache': (APACHE,),
    'access': (ACCESS, ISO), 'kernel': (BOOT, UNIX, ISO, SYSLOG),
}
FURTHEST = {'access': 400}


def time_of(source: str, line: str, clock: Clock, near: float) -> float:
    """Return when a line was written, on the host's clock; 0 when it carries no time that can be read."""
    for form in FORMS[source]:
        found = form.search(line, 0, FURTHEST.get(source, 0) + 80)
        if found and found.start() <= FURTHEST.get(source, 0):
            return _read(found, clock, near)
    return 0.0


def _read(found: re.Match[str], clock: Clock, near: float) -> float:
    part = found.groupdict()
    if part.get('unix'):
        return float(part['unix'])
    if part.get('up'):
        return clock.booted + float(part['up']) if clock.booted else 0.0
    month = MONTHS.get(part['b'], 0) if part.get('b') else int(part['m'])
    fraction = float('0' + part['f'].replace(',', '.')) if part.get('f') else 0.0
    times = [int(part[name]) for name in ('H', 'M', 'S')]
    if not 1 <= month <= 12 or not 1 <= int(part['d']) <= 31 or times[0] > 23 or times[1] > 59:  # noqa: PLR2004 - calendar
        return 0.0
    years = [int(part['Y'])] if part.get('Y') else _years(near)
    wall = [timegm((year, month, int(part['d']), *times, 0, 0, 0)) + fraction for year in years]
    offsets = _zone(part.get('zone') or '', clock)
    return min((one - offset(one) for one in wall for offset in offsets), key=lambda at: abs(at - near))


def _years(near: float) -> list[int]:
    """Return the years that syslog's lines, which have none, may be of."""
    about = 1970 + int(near / (365.2425 * DAY))
    return [about - 1, about, about + 1]


def _zone(name: str, clock: Clock) -> list[Callable[[float], float]]:
    if not name:
        return [_fixed(offset) for offset in clock.offsets] or [_fixed(0)]
    if name in {'Z', 'UTC', 'GMT'}:
        return [_fixed(0)]
    digits = re.fullmatch(r'(?:UTC|GMT)?([+-])(\d\d):?(\d\d)', name)
    if digits:
        sign = -1 if digits[1] == '-' else 1
        return [_fixed(sign * (int(digits[2]) * 3600 + int(digits[3]) * 60))]
    try:
        zone = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return [_fixed(offset) for offset in clock.offsets]
    return [_within(zone, fold) for fold in (0, 1)]


def _fixed(offset: float) -> Callable[[float], float]:
    return lambda _: offset


def _within(zone: ZoneInfo, fold: int) -> Callable[[float], float]:
    def offset(wall: float) -> float:
        from_wall = _UTC_EPOCH + timedelta(seconds=wall)
        found = from_wall.replace(tzinfo=zone, fold=fold).utcoffset()
        return found.total_seconds() if found else 0.0

    return offset
