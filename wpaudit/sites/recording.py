"""What the flight recorder left of one probe: from its file to the reasons to look at some suspects first. Pure.

The file is described in ``php/recorder.php``. A host may send anything, so whatever cannot be read counts as not
there, and all text is cut and made printable ASCII.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from typing import Any

from wpaudit.domain import Cost
from wpaudit.domain import Evidence

SOURCE = 'recorder'
NAMED = 1000.0     # it was running when the request died, or did what the failure is made of
BEHIND = 30.0      # it had called what was running
FIRST_LINE = 'wpaudit-recording 1'

MOST_FRAMES = 64
MOST_OWNERS = 400
MOST_PARTS = 8
LONGEST = 300      # characters of one text
SLOW = 2.0         # seconds from which on time is a reason
SHARE = 0.5        # ... when one plugin took this much of it
HEADERS = 3500     # bytes; the smallest buffer for them in use, nginx's, has 4096 with FastCGI's own framing
HEADERS_BY_ONE = 1000
BAD_STATUS = 400
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
    error: str = ''
    where: str = ''                   # file and line of the fatal error
    at_fault: Owner = Owner()         # whose file that is
    seconds: float = 0.0
    headers: int = 0
    sent: bool = False
    last: Frame = Frame(Owner())      # the frame that ended last
    codes: tuple[tuple[Frame, int], ...] = ()
    redirects: tuple[tuple[Frame, str], ...] = ()
    costs: Mapping[Owner, Cost] = field(default_factory=dict)


@dataclass(frozen=True)
class Seen:
    """What the client saw of the recorded probe: the last answer's status (0: unknown), error and seconds."""

    status: int = 0
    error: str = ''
    truncated: bool = False
    seconds: float = 0.0


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
    frames: list[Frame] = []
    for line in lines[1:MOST_FRAMES + 1]:
        if not line.startswith('+'):
            break
        frames.append(reader.frame_line(line))
    said = next((line[2:] for line in lines[1:] if line.startswith('= ')), '')
    return replace(reader.part(tuple(frames), said), ended=ended)


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
            error=_text(end.get('error')), where=_text(end.get('line'), 80), at_fault=self.owner(end.get('file')),
            done=sums.get('done') is True, sent=sums.get('sent') is True, last=self.frame(sums.get('last')),
            seconds=_number(sums.get('seconds')), headers=int(_number(sums.get('headers'))), costs=costs,
            codes=tuple((self.frame(row[1]), int(_number(row[2]))) for row in _rows(sums.get('codes'), 3)),
            redirects=tuple((self.frame(row[1]), _text(row[3], 120)) for row in _rows(sums.get('redirects'), 4)),
        )

    def frame_line(self, line: str) -> Frame:
        """Read ``+SECONDS OUTPUT OWNER<TAB>HOOK<TAB>CALLBACK``."""
        numbers, _, label = line[1:].strip().partition(' ')
        output, _, label = label.partition(' ')
        return self.frame(label.split('\t'), since=_number(_float(numbers)), output=output == '1')

    def frame(self, said: object, *, since: float = 0.0, output: bool = False) -> Frame:
        owner, hook, callback = [_text(one, 100) for one in [*_list(said), '', '', ''][:3]]
        return Frame(self.owner(owner), hook, callback, since, output)

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


# -- what it means --------------------------------------------------------------------------------

def readings(parts: Sequence[Part], seen: Seen) -> tuple[Evidence, ...]:
    """Return the reasons that a failing probe's recording gives, the strongest first.

    ``parts`` are the requests of the probe in order: a redirect that was followed makes another one, and a command
    may send several. The last one that says anything counts.
    """
    if seen.error == 'redirect-loop':
        return _redirected(parts)
    for part in reversed(parts):
        found = _fatal(part) or _stopped(part, seen) or _headers(part, seen) or _status(part) or _left(part)
        if found:
            return tuple(found)
    return ()


def _evidence(owner: Owner, reason: str, weight: float = NAMED) -> Evidence:
    return Evidence(SOURCE, reason, owner.suspects, weight)


def _stack(frames: Sequence[Frame], reason: str) -> list[Evidence]:
    """Name the innermost frame of a plugin, and those that had called it."""
    found: list[Evidence] = []
    named: set[str] = set()
    for frame in reversed(frames):
        if not frame.owner.suspects or named.issuperset(frame.owner.suspects):
            continue
        named.update(frame.owner.suspects)
        text = f'{frame} had called it' if found else reason
        found.append(_evidence(frame.owner, text, BEHIND if found else NAMED))
    return found or [Evidence(SOURCE, reason, (), 1.0)]


def _stopped(part: Part, seen: Seen) -> list[Evidence]:
    """Tell a process that was killed for its time from one that crashed, late maybe.

    A time limit may strike in any short call that the slow one makes, a crash strikes where it is.
    """
    slow, died = _slow(part, seen), _died(part)
    at_it = {frame.owner.suspects for frame in part.frames}
    if slow and died and died[0].suspects and slow[0].suspects not in at_it:
        return [*died, replace(slow[0], weight=BEHIND)]
    return slow or died


def _died(part: Part) -> list[Evidence]:
    """The process was gone before the end: whoever was running is the suspect."""
    if part.done or part.how == 'fatal':
        return []
    if part.frames:
        after = ' after output had begun' if part.frames[-1].output or part.sent else ''
        how = 'died in' if part.ended else 'was not over yet in'
        return _stack(part.frames, f'{how} {part.frames[-1]}{after}')
    if part.how:
        return []  # it came to its end, and only the last shutdown functions were skipped
    last = f'; the last to run before was {part.last}' if part.last.hook else ''
    return [Evidence(SOURCE, f'died while no callback of a plugin was running{last}', (), 1.0)]


def _slow(part: Part, seen: Seen) -> list[Evidence]:
    """One plugin took most of a long time; what is still running has taken all since the costs were written down."""
    running = part.frames[-1] if part.frames and not part.done else None
    total = max(seen.seconds, part.seconds)
    spent = {owner: cost.seconds for owner, cost in part.costs.items()}
    if running:
        begun = max(running.since, part.seconds)
        spent[running.owner] = spent.get(running.owner, 0.0) + max(0.0, total - begun)
    owner = max(spent, key=lambda one: spent[one], default=Owner())
    if total < SLOW or spent.get(owner, 0.0) < SHARE * total or not owner.suspects:
        return []
    share = f'{spent[owner]:.1f} of {total:.1f} s'
    waited = _waited(part.costs.get(owner), running if running and running.owner == owner else None)
    if waited:
        return [_evidence(owner, f'{owner} waited for {waited} ({share})')]
    where = f' and was still running @ {running.hook}' if running and running.owner == owner else ''
    return [_evidence(owner, f'{owner} took {share}{where}')]


def _waited(cost: Cost | None, running: Frame | None) -> str:
    """Return the host that most of the time went to, if so."""
    if running and running.hook.startswith('request to '):
        return running.hook.removeprefix('request to ')
    if cost is None or cost.request_seconds < SHARE * cost.seconds:
        return ''
    return max(cost.hosts, key=lambda host: cost.hosts[host], default='')


def _fatal(part: Part) -> list[Evidence]:
    if part.how != 'fatal':
        return []
    if 'Maximum execution time' in part.error:
        return _overtime(part)
    owner = part.at_fault if part.at_fault.suspects else part.left.owner
    short = 'Allowed memory size' in part.error
    found = _memory(part, owner) if short else []
    what = 'ran out of memory' if short else 'ended by a PHP fatal error'
    weight = BEHIND if found else NAMED
    found.append(_evidence(owner, f'{what} in {owner} ({part.where}: {part.error})', weight))
    if part.left.owner.suspects and part.left.owner != owner:
        found.append(_evidence(part.left.owner, f'{part.left} had called it', BEHIND))
    return found


def _overtime(part: Part) -> list[Evidence]:
    """PHP's own limit may strike in any line that is reached just then: what was running says more than its file."""
    running = part.left if part.left.owner.suspects else replace(part.left, owner=part.at_fault, hook='')
    found = [_evidence(running.owner, f"reached PHP's time limit in {running} ({part.where}: {part.error})")]
    slow = _slow(part, Seen())
    if not slow or slow[0].suspects == running.owner.suspects:
        return found
    return [*slow, replace(found[0], weight=BEHIND)]


def _memory(part: Part, owner: Owner) -> list[Evidence]:
    """Whoever asks for the last byte need not be who took the others."""
    total = sum(cost.memory for cost in part.costs.values())
    most, cost = max(part.costs.items(), key=lambda pair: pair[1].memory, default=(Owner(), Cost('')))
    if most == owner or not most.suspects or cost.memory < SHARE * total:
        return []
    return [_evidence(most, f'{most} took {cost.memory >> 20} of {total >> 20} MiB of memory')]


def _headers(part: Part, seen: Seen) -> list[Evidence]:
    """More header than a proxy's buffer takes; the request itself went well."""
    if part.headers < HEADERS or (seen.status and seen.status < BAD_STATUS):
        return []
    ranked = sorted(part.costs.items(), key=lambda pair: -pair[1].header_bytes)
    return [
        _evidence(owner, f'{owner} added {cost.header_bytes} of {part.headers} bytes of response headers',
                  NAMED if place == 0 else BEHIND)
        for place, (owner, cost) in enumerate(ranked)
        if owner.suspects and cost.header_bytes >= HEADERS_BY_ONE
    ]


def _status(part: Part) -> list[Evidence]:
    bad = [(frame, code) for frame, code in part.codes if code >= BAD_STATUS and frame.owner.suspects]
    return [_evidence(frame.owner, f'{frame} set the status {code}') for frame, code in bad[-1:]]


def _left(part: Part) -> list[Evidence]:
    if part.how != 'exit' or not part.left.owner.suspects or part.redirects:
        return []  # to exit after a redirect is what WordPress asks for
    return [_evidence(part.left.owner, f'{part.left} ended the request (exit)')]


def _redirected(parts: Sequence[Part]) -> tuple[Evidence, ...]:
    found: dict[tuple[str, ...], Evidence] = {}
    for part in parts:
        for frame, target in part.redirects:
            if frame.owner.suspects:
                found[frame.owner.suspects] = _evidence(frame.owner, f'{frame} redirected to {target}')
    return tuple(found.values())


def costs(parts: Sequence[Part]) -> tuple[Cost, ...]:
    """Return what each owner cost in the last request, the dearest in time first."""
    found = parts[-1].costs.values() if parts else ()
    return tuple(sorted(found, key=lambda cost: (-cost.seconds, cost.name)))

