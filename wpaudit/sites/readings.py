"""What a recording means: the reasons to look at some suspects first, and what each of them costs. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace

from wpaudit.domain import Cost
from wpaudit.domain import Evidence
from wpaudit.sites.recording import Frame
from wpaudit.sites.recording import Owner
from wpaudit.sites.recording import Part

SOURCE = 'recorder'
NAMED = 1000.0     # it was running when the request died, or did what the failure is made of
BEHIND = 200.0     # it had called what was running, or was called by it last: of a conflict the likeliest partner
SLOW = 2.0         # seconds from which on time is a reason
SHARE = 0.5        # ... when one plugin took this much of it
HEADERS = 3500     # bytes; the smallest buffer for them in use, nginx's, has 4096 with FastCGI's own framing
HEADERS_BY_ONE = 1000
BAD_STATUS = 400


@dataclass(frozen=True)
class Seen:
    """What the client saw of the recorded probe: the last answer's status (0: unknown), error and seconds."""

    status: int = 0
    error: str = ''
    truncated: bool = False
    seconds: float = 0.0


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


def _evidence(owner: Owner, reason: str, weight: float = NAMED, where: str = '') -> Evidence:
    return Evidence(SOURCE, reason, owner.suspects, weight, where=where)


def _stack(frames: Sequence[Frame], reason: str) -> list[Evidence]:
    """Name the innermost frame of a plugin, and those that had called it."""
    found: list[Evidence] = []
    named: set[str] = set()
    for frame in reversed(frames):
        if not frame.owner.suspects or named.issuperset(frame.owner.suspects):
            continue
        named.update(frame.owner.suspects)
        text = f'{frame} had called it' if found else reason
        found.append(_evidence(frame.owner, text, BEHIND if found else NAMED, frame.place))
    return found or [Evidence(SOURCE, reason, (), 1.0)]


def _with_partners(part: Part, found: list[Evidence]) -> list[Evidence]:
    """Add whom the failure may take besides: who did something in that frame just before, whom the message names."""
    named = {suspect for one in found for suspect in one.suspects}
    reasons = [(frame.owner, f'the last to run in it was {frame}') for frame in part.called]
    reasons += [(owner, f'the message of the error names {owner}') for owner in part.mentioned]
    for owner, reason in reasons:
        if owner.suspects and named.isdisjoint(owner.suspects):
            found = [*found, _evidence(owner, reason, BEHIND)]
            named.update(owner.suspects)
    return found


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
        return _with_partners(part, _stack(part.frames, f'{how} {part.frames[-1]}{after}'))
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
    at_it = running if running and running.owner == owner else None
    place = at_it.place if at_it else ''
    waited = _waited(part.costs.get(owner), at_it)
    if waited:
        return [_evidence(owner, f'{owner} waited for {waited} ({share})', where=place)]
    where = f' and was still running @ {at_it.hook}' if at_it else ''
    return [_evidence(owner, f'{owner} took {share}{where}', where=place)]


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
    place = part.left.place if part.left.owner == owner and part.left.place else part.place
    found.append(_evidence(owner, f'{what} in {owner} ({part.where}: {part.error})', weight, place))
    if part.left.owner.suspects and part.left.owner != owner:
        found.append(_evidence(part.left.owner, f'{part.left} had called it', BEHIND))
    return found if short else _with_partners(part, found)


def _overtime(part: Part) -> list[Evidence]:
    """PHP's own limit may strike in any line that is reached just then: what was running says more than its file."""
    running = part.left if part.left.owner.suspects else replace(part.left, owner=part.at_fault, hook='')
    found = [_evidence(running.owner, f"reached PHP's time limit in {running} ({part.where}: {part.error})",
                       where=running.place)]
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
    return [_evidence(frame.owner, f'{frame} set the status {code}', where=frame.place) for frame, code in bad[-1:]]


def _left(part: Part) -> list[Evidence]:
    if part.how != 'exit' or not part.left.owner.suspects or part.redirects:
        return []  # to exit after a redirect is what WordPress asks for
    return [_evidence(part.left.owner, f'{part.left} ended the request (exit)', where=part.left.place)]


def _redirected(parts: Sequence[Part]) -> tuple[Evidence, ...]:
    found: dict[tuple[str, ...], Evidence] = {}
    for part in parts:
        for frame, target in part.redirects:
            if frame.owner.suspects:
                found[frame.owner.suspects] = _evidence(
                    frame.owner, f'{frame} redirected to {target}', where=frame.place)
    return tuple(found.values())


def costs(parts: Sequence[Part]) -> tuple[Cost, ...]:
    """Return what each owner cost in the last request, the dearest in time first."""
    found = parts[-1].costs.values() if parts else ()
    return tuple(sorted(found, key=lambda cost: (-cost.seconds, cost.name)))

