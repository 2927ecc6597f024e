"""Clues from the lines of the host's logs. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import replace

from wpaudit.facts import Clue
from wpaudit.facts import LogLine
from wpaudit.facts import Look
from wpaudit.facts import Purpose
from wpaudit.triage.faults import PAGES
from wpaudit.triage.faults import fails
from wpaudit.triage.scene import HERE
from wpaudit.triage.scene import Scene
from wpaudit.triage.signatures import Reading
from wpaudit.triage.signatures import reading

MOST = 2000  # lines that are looked at
_AROUND = 3.0       # seconds between a failing request and a line about it: clocks, buffers, and a proxy that retries
_ABOUT_OTHERS = 0.5  # what a line counts that may be about another request: the site fails for others the same way
_SERVERS = frozenset({'nginx', 'apache'})
_DEATHS = frozenset({'worker-crashed', 'worker-killed', 'worker-terminated', 'worker-killed-slow'})
_STATUS = re.compile(r'" ([1-5]\d\d) (?:\d|-)')  # of the common log format and what extends it


def line_clues(scene: Scene) -> Iterator[Clue]:
    """Yield what the logs say, and what their silence says."""
    lines = scene.seen.lines[:MOST]
    by_marker = {look.marker: look for look in scene.seen.looks if look.marker}
    alike: dict[tuple[str, str, str], list[Clue]] = {}
    for line in lines:
        read = reading(line.source, line.text)
        strength = _strength(scene, line, by_marker.get(line.marker)) if read else 0.0
        if read and strength > 0 and not (read.signature.ours and line.matched == 'time'):
            alike.setdefault((read.signature.id, line.source, read.plugin), []).append(_clue(line, read, strength))
    found = [(_together(clues), len(clues)) for clues in alike.values()]
    yield from _weighed([one for one in found if not (one[0].kind == 'max-children' and _filled_by_us(scene))])
    yield from _access(scene, lines)


def _clue(line: LogLine, read: Reading, strength: float) -> Clue:
    where = line.path or line.source
    return Clue(
        read.signature.clue, line.source, f'{read.signature.meaning} ({where}: {read.words})',
        plugin=read.plugin, strength=strength, names=read.names)


def _together(alike: Sequence[Clue]) -> Clue:
    """Tell lines that say the same once, by the one that counts most."""
    best = max(alike, key=lambda clue: clue.strength)
    return replace(best, reason=f'{best.reason}, and {len(alike) - 1} more like it') if len(alike) > 1 else best


def _weighed(found: Sequence[tuple[Clue, int]]) -> Iterator[Clue]:
    """Let count how most processes died, and how a few others did as much less as they are fewer."""
    most = max((count for clue, count in found if clue.kind in _DEATHS), default=1)
    for clue, count in found:
        yield replace(clue, strength=clue.strength * count / most) if clue.kind in _DEATHS else clue


def _filled_by_us(scene: Scene) -> bool:
    """Was the pool idle before we asked, and do our own requests hang in it? Then they are what fills it."""
    idle = any(0 <= pool.busy <= pool.max_children // 2 for pool in scene.pools())
    asked = (look for look in scene.seen.looks if look.purpose is not Purpose.INSIDE)
    return idle and sum(look.answer.error == 'timeout' for look in asked) > 1


def _strength(scene: Scene, line: LogLine, look: Look | None) -> float:
    """Return how much a line counts: nothing when its request went well, part of it when it may be about another."""
    if look is not None:
        return 1.0 if fails(look) else 0.0
    if line.matched == 'connection' or not line.at:
        return 1.0
    ahead = scene.host.clock if scene.host else 0.0
    at = line.at - ahead
    spans = ((look.at, look.at + look.answer.seconds) for look in scene.seen.looks if fails(look))
    return 1.0 if any(begin - _AROUND <= at <= end + _AROUND for begin, end in spans) else _ABOUT_OTHERS


def _access(scene: Scene, lines: Sequence[LogLine]) -> Iterator[Clue]:
    """Compare what the web server noted with what came back. Only requests with a marker can be found again."""
    statuses = {line.marker: _status(line.text) for line in lines if line.source == 'access' and line.marker}
    bad = [look for look in scene.of(*PAGES, vantage=HERE) if look.marker and fails(look)]
    if not statuses or not bad:
        return
    arrived = [look for look in bad if look.marker in statuses]
    if arrived:
        yield Clue('arrived', 'access', f"{len(arrived)} of {len(bad)} failing requests are in the web server's log",
                   strength=len(arrived) / len(bad))
        yield from _answered(arrived, statuses)
        yield from _silence(scene, lines, arrived, statuses)
    else:
        yield Clue('never-arrived', 'access', "other requests are in the web server's log, the failing ones are not")


def _answered(arrived: Sequence[Look], statuses: dict[str, int]) -> Iterator[Clue]:
    well = [look for look in arrived if 200 <= statuses[look.marker] < 400 and look.answer.status >= 500]  # noqa: PLR2004
    if well:
        status = statuses[well[0].marker]
        yield Clue('served-well', 'access', f'the web server answered {status}, {well[0].answer.status} came here',
                   strength=len(well) / len(arrived))
    dropped = sum(1 for look in arrived if statuses[look.marker] == 444)  # noqa: PLR2004 - NGX_HTTP_CLOSE: `return 444`
    if dropped:
        yield Clue('status-444', 'access', 'the web server closes the connection on purpose (444 in its log)',
                   strength=dropped / len(arrived))


def _silence(
    scene: Scene, lines: Sequence[LogLine], arrived: Sequence[Look], statuses: dict[str, int],
) -> Iterator[Clue]:
    """A web server that makes a 502 says why in its error log; one that only passes it on is silent."""
    read = not any('log' in gap.what for gap in scene.seen.gaps)
    own = [look for look in arrived if statuses[look.marker] in {502, 503, 504}]
    told = any(line.source in _SERVERS and reading(line.source, line.text) for line in lines)
    if read and own and not told:
        yield Clue('no-error-line', 'access', 'the web server noted the status, and nothing about it in its error log')


def _status(text: str) -> int:
    match = _STATUS.search(text[:4096])
    return int(match[1]) if match else 0
