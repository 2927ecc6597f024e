"""What the flight recorder left of one probe, read from its file. Pure.

The file is described in ``php/recorder.php``. A host may send anything, so whatever cannot be read counts as not
there, and all text is cut and made printable ASCII.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from itertools import pairwise
from itertools import takewhile
from typing import Any

from wpaudit.domain import Cost

FIRST_LINE = 'wpaudit-recording 1'

MOST_FRAMES = 64
MOST_OWNERS = 400
MOST_PARTS = 8
LONGEST = 300      # characters of one text
PLACE = 210        # ... and of a place in the code
RUNNING = '+'
SLOT_MARKS = (RUNNING, '-')  # of a frame that runs, and of one that is over
PLUGIN_PATH = re.compile(r'/plugins/([^/\s:()]+)')
OWNED = {'m': 'must-use plugin', 't': 'theme', 'o': 'file'}


@dataclass(frozen=True)
class Owner:
    """Whose code it is: suspects (several where they share a directory), or else a name."""

    suspects: tuple[str, ...] = ()
    name: str = ''

    def __str__(self) -> str:
        """Say it as a person would."""
        if self.suspects:
            names = dict.fromkeys(slug(suspect) for suspect in self.suspects)
            return ' or '.join(names if len(names) == len(self.suspects) else self.suspects)
        return self.name or 'WordPress itself'


@dataclass(frozen=True)
class Frame:
    """A callback with its hook, or a plugin's file being included (hook ``include``). ``since`` is in seconds."""

    owner: Owner
    hook: str = ''
    callback: str = ''
    since: float = 0.0
    output: bool = False  # whether output had been sent before it began
    place: str = ''       # where the callback stands: ``acme/inc/file.php:10-20``

    def __str__(self) -> str:
        """Name it as ``owner @ hook``."""
        return f'{self.owner} @ {self.hook}' if self.hook else str(self.owner)


@dataclass(frozen=True)
class Part:
    """One request as recorded. ``frames`` were running when the recording stopped, the outermost first.

    ``how`` it ended is ``returned``, ``exit``, ``fatal``, or ``''``: it never came to the end. ``done`` tells that
    all shutdown functions were run. ``headers`` is in bytes, ``seconds`` until the costs were last written down.
    """

    frames: tuple[Frame, ...] = ()
    how: str = ''
    done: bool = False
    ended: bool = True                # whether PHP had stopped working on it when this was read
    left: Frame = Frame(Owner())      # the frame that exit or a fatal error left
    called: tuple[Frame, ...] = ()    # what ran in the innermost, or the left, frame last, and what ran in that last
    error: str = ''
    mentioned: tuple[Owner, ...] = () # whose files the message of the fatal error names
    where: str = ''                   # file and line of the fatal error
    place: str = ''                   # the same, below the directory of plugins
    at_fault: Owner = Owner()         # whose file that is
    seconds: float = 0.0
    headers: int = 0
    sent: bool = False
    last: Frame = Frame(Owner())      # the frame that ended last
    codes: tuple[tuple[Frame, int], ...] = ()
    redirects: tuple[tuple[Frame, str], ...] = ()
    costs: Mapping[Owner, Cost] = field(default_factory=dict)


def slug(suspect: str) -> str:
    """Shorten a plugin's file to the name people know."""
    return suspect.split('/', 1)[0].removesuffix('.php')


# -- reading the file -----------------------------------------------------------------------------

def parsed(text: str, suspects: Sequence[str], *, ended: bool = True) -> Part | None:
    """Read one request's file, without its padding; None when it is none.

    ``suspects`` are in the run's order. ``ended`` is False when PHP was still at work when the file was read.
    """
    lines = text.split('\n')
    if lines[0] != FIRST_LINE:
        return None
    reader = _Reader(suspects)
    slots = list(takewhile(lambda line: line[:1] in SLOT_MARKS, lines[1:MOST_FRAMES + 1]))
    running = len(list(takewhile(lambda line: line.startswith(RUNNING), slots)))
    frames = [reader.frame_line(line) for line in slots]
    said = next((line[2:] for line in lines[1:] if line.startswith('= ')), '')
    part = reader.part(tuple(frames[:running]), said)
    return replace(part, called=_called(frames, running, part.left), ended=ended)


def _called(frames: Sequence[Frame], running: int, left: Frame) -> tuple[Frame, ...]:
    """Return what ran last in the innermost frame: crossed out beneath it, and begun after it."""
    inner = running - 1
    if not running:
        inner = max((n for n, one in enumerate(frames) if replace(one, since=0.0, output=False) == left), default=-1)
    if inner < 0:
        return ()
    pairs = pairwise(frames[inner:])
    return tuple(later for _, later in takewhile(lambda pair: pair[0].since <= pair[1].since, pairs))


class _Reader:
    """Turns what the file says into data of the right kind."""

    def __init__(self, suspects: Sequence[str]) -> None:
        self._suspects = suspects

    def part(self, frames: tuple[Frame, ...], said: str) -> Part:
        sums = _object(said)
        end = _mapping(sums.get('end'))
        costs = {}
        for name, row in list(_mapping(sums.get('sums')).items())[:MOST_OWNERS]:
            owner = self.owner(name)
            costs[owner] = _cost(owner, _list(row), _mapping(_mapping(sums.get('hosts')).get(name)))
        return Part(
            frames=frames, how=_text(end.get('how'), 10), left=self.frame(end.get('frame')),
            error=_text(end.get('error')), mentioned=self._mentioned(_text(end.get('error'))),
            where=_text(end.get('line'), 80), place=_text(end.get('place'), PLACE),
            at_fault=self.owner(end.get('file')),
            done=sums.get('done') is True, sent=sums.get('sent') is True, last=self.frame(sums.get('last')),
            seconds=_number(sums.get('seconds')), headers=int(_number(sums.get('headers'))), costs=costs,
            codes=tuple((self.frame(row[1]), int(_number(row[2]))) for row in _rows(sums.get('codes'), 3)),
            redirects=tuple((self.frame(row[1]), _text(row[3], 120)) for row in _rows(sums.get('redirects'), 4)),
        )

    def frame_line(self, line: str) -> Frame:
        """Read ``+SECONDS OUTPUT OWNER<TAB>HOOK<TAB>CALLBACK<TAB>PLACE``, the place being there or not."""
        numbers, _, label = line[1:].strip().partition(' ')
        output, _, label = label.partition(' ')
        return self.frame(label.split('\t'), since=_number(_float(numbers)), output=output == '1')

    def frame(self, said: object, *, since: float = 0.0, output: bool = False) -> Frame:
        parts = [*_list(said), '', '', '', ''][:4]
        owner, hook, callback = [_text(one, 100) for one in parts[:3]]
        return Frame(self.owner(owner), hook, callback, since, output, _text(parts[3], PLACE))

    def _mentioned(self, text: str) -> tuple[Owner, ...]:
        """Return the owners of plugins' files that a message names by their paths."""
        found = {tuple(one for one in self._suspects if one == name or one.startswith(f'{name}/'))
                 for name in PLUGIN_PATH.findall(text)}
        return tuple(Owner(suspects) for suspects in sorted(found) if suspects)

    def owner(self, said: object) -> Owner:
        name = _text(said, 100)
        kind, _, rest = name.partition(':')
        if kind in OWNED and rest:
            return Owner(name=f'{OWNED[kind]} {rest}')
        numbers = [part[1:] for part in name.split(',') if part.startswith('p') and part[1:].isdecimal()]
        places = [int(number) for number in numbers if len(number) < 6]  # noqa: PLR2004 - more suspects nobody has
        return Owner(suspects=tuple(self._suspects[place] for place in places if place < len(self._suspects)))


def _cost(owner: Owner, row: Sequence[object], hosts: Mapping[str, object]) -> Cost:
    calls, seconds, memory, headers, queries, query_seconds, requests, request_seconds = [
        _number(one) for one in [*row, *[0] * 8][:8]
    ]
    return Cost(
        name=str(owner), suspects=owner.suspects, calls=int(calls), seconds=seconds, memory=int(memory),
        header_bytes=int(headers), queries=int(queries), query_seconds=query_seconds, requests=int(requests),
        request_seconds=request_seconds,
        hosts={_text(host, 80): _number(value) for host, value in list(hosts.items())[:5]},
    )


def _object(said: str) -> Mapping[str, Any]:
    try:
        return _mapping(json.loads(said)) if said else {}
    except (ValueError, RecursionError):
        return {}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _rows(value: object, width: int) -> list[list[Any]]:
    return [row for row in _list(value)[:MOST_PARTS] if isinstance(row, list) and len(row) >= width]


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12:  # noqa: PLR2004 - nor NaN
        return 0.0
    return float(value)


def _text(value: object, most: int = LONGEST) -> str:
    if not isinstance(value, str):
        return ''
    return ''.join(char if ' ' <= char <= '~' else '?' for char in value[:most]).strip()
