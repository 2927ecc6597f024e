"""What nginx says of a failed connection to an upstream, and which rules could have made it fail that way.

A hint for the order of a search and nothing more: a dead process, a full queue or a broken route say the same words.
The numbers are those of errno(3) on Linux, as nginx writes them (ngx_log_error_core()).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from datetime import timedelta

from wpaudit.domain import Evidence
from wpaudit.firewalls.netfilter.matching import Packet
from wpaudit.firewalls.netfilter.matching import may_match
from wpaudit.firewalls.netfilter.matching import parsed
from wpaudit.firewalls.netfilter.rules import NamedSet
from wpaudit.firewalls.netfilter.rules import Rule
from wpaudit.firewalls.netfilter.rules import Ruleset
from wpaudit.firewalls.netfilter.rules import hooks
from wpaudit.firewalls.netfilter.suspicion import SSH_PORT
from wpaudit.firewalls.netfilter.suspicion import judged

LONGEST_LINE = 4096
RECENT = 300.0  # seconds before now that count of a log
_SURE, _VAGUE = 4.0, 1.5  # how much likelier than a plain suspect
_REFUSED, _NO_ROUTE, _TIMED_OUT, _RESET = 111, 113, 110, 104
_ERRNO = re.compile(r'(?:connect|recv|send|readv|writev)\(\) failed \((\d{1,3}): |upstream timed out \((\d{1,3}): ')
_UPSTREAM = re.compile(r', upstream: "[a-z]{1,8}://(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):(\d{1,5})')
_TIME = re.compile(r'\d{4}/\d\d/\d\d \d\d:\d\d:\d\d')  # ngx_time_update(), in the host's own zone
_KINDS: Mapping[int, tuple[str, ...]] = {
    _REFUSED: ('reject',),            # reject with tcp reset or port-unreachable
    _NO_ROUTE: ('reject',),           # reject with admin- or host-prohibited
    _TIMED_OUT: ('drop', 'tarpit', 'steal'),
    _RESET: ('reject',),              # reject with tcp reset, once data flows
}
_WORDS = {_REFUSED: 'refused', _NO_ROUTE: 'no route', _TIMED_OUT: 'timed out', _RESET: 'reset'}
_ON_THE_WAY = {'output': 'to', 'postrouting': 'to', 'input': 'local', 'prerouting': 'local', 'ingress': 'local'}


@dataclass(frozen=True)
class Failure:
    """A failed connection to an upstream, as one line of nginx's error log tells it."""

    errno: int
    address: str
    port: int

    @property
    def sentence(self) -> str:
        """What happened, for people."""
        where = f'[{self.address}]:{self.port}' if ':' in self.address else f'{self.address}:{self.port}'
        return f'nginx: connection to {where} {_WORDS[self.errno]} ({self.errno})'


@dataclass(frozen=True)
class Hint:
    """A rule that could have made a connection fail that way. ``exact``: all of its matches are known to fit."""

    rule: Rule
    failure: Failure
    exact: bool


def recent(lines: Iterable[str], seconds: float = RECENT) -> list[str]:
    """Return the lines of an error log that are no older than so many seconds before the last one."""
    dated = [(_moment(line), line) for line in lines]
    most = timedelta(seconds=seconds)
    last = max((moment for moment, _ in dated if moment is not None), default=None)
    return [line for moment, line in dated if moment is not None and last is not None and last - moment <= most]


def _moment(line: str) -> datetime | None:
    found = _TIME.match(line)
    try:
        return datetime.strptime(found[0], '%Y/%m/%d %H:%M:%S') if found else None
    except ValueError:
        return None


def failure_in(line: str) -> Failure | None:
    """Read one line of nginx's error log; None when it tells of no failed connection to an address."""
    line = line[:LONGEST_LINE]
    failed, upstream = _ERRNO.search(line), _UPSTREAM.search(line)
    if failed is None or upstream is None:
        return None
    errno = int(failed[1] or failed[2])
    address = parsed(upstream[1] or upstream[2])
    if errno not in _KINDS or address is None:
        return None
    return Failure(errno, str(address), int(upstream[3]))


def hints(
    failure: Failure, ruleset: Ruleset, *, local: frozenset[str] = frozenset(),
    ssh_ports: frozenset[int] = frozenset({SSH_PORT}),
) -> tuple[Hint, ...]:
    """Return the suspects that could be behind a failure, those that fit exactly and meet fewer packets first.

    ``local`` are the host's own addresses: rules for incoming packets matter when the upstream is one of them (or
    loopback), else only the answers of the upstream come in.
    """
    reached = hooks(ruleset)
    found = []
    for rule in ruleset.rules:
        at = reached.get(rule.home, frozenset())
        kinds = {one.kind for one in rule.verdicts}
        if not kinds & set(_KINDS[failure.errno]) or not judged(rule, at, ssh_ports).suspect:
            continue
        if any(may_match(rule.matches, packet, ruleset.sets, rule) for packet in _packets(failure, at, local)):
            found.append(Hint(rule, failure, rule.matches.exact))
    return tuple(sorted(found, key=lambda hint: (not hint.exact, -_narrow(hint.rule))))


def evidence(
    lines: Iterable[str], ruleset: Ruleset, *, local: frozenset[str] = frozenset(),
    ssh_ports: frozenset[int] = frozenset({SSH_PORT}),
) -> tuple[Evidence, ...]:
    """Return what an error log of nginx says against rules: one piece for each upstream that failed in one way."""
    failures = dict.fromkeys(found for line in lines if (found := failure_in(line)) is not None)
    return tuple(_piece(failure, hints(failure, ruleset, local=local, ssh_ports=ssh_ports)) for failure in failures)


def packet_of(
    lines: Iterable[str], rule: Rule, at: frozenset[str], sets: Sequence[NamedSet], local: frozenset[str],
) -> Packet | None:
    """Return the packet that a rule may have stopped, by the last failure that it fits; None without one."""
    for failure in dict.fromkeys(found for line in list(lines)[::-1] if (found := failure_in(line)) is not None):
        if {one.kind for one in rule.verdicts} & set(_KINDS[failure.errno]):
            fitting = (one for one in _packets(failure, at, local) if may_match(rule.matches, one, sets, rule))
            packet = next(fitting, None)
            if packet is not None:
                return packet
    return None


def _piece(failure: Failure, found: Sequence[Hint]) -> Evidence:
    exact = [hint for hint in found if hint.exact]
    named = exact or found
    what = 'these rules do that' if exact else 'these rules may do that' if named else 'no rule of this host does that'
    weight = _SURE if exact else _VAGUE
    return Evidence('nginx', f'{failure.sentence}; {what}', tuple(hint.rule.id for hint in named), weight)


def _packets(failure: Failure, at: frozenset[str], local: frozenset[str]) -> Sequence[Packet]:
    """Return the packets of the connection that pass the hooks ``at`` of this host."""
    to_upstream = Packet(daddr=failure.address, dport=failure.port)
    answer = Packet(saddr=failure.address, sport=failure.port)
    own = failure.address in local or failure.address.startswith('127.') or failure.address == '::1'
    ways = {_ON_THE_WAY.get(hook, '') for hook in at}
    return [
        *([to_upstream] if 'to' in ways or ('local' in ways and own) else []),
        *([answer] if 'local' in ways or ('to' in ways and own) else []),
    ]


def _narrow(rule: Rule) -> int:
    """Count what a rule asks for: one that asks for an address and a port is rather meant for an upstream."""
    matches = rule.matches
    return sum(one is not None for one in (matches.daddr, matches.saddr, matches.dports, matches.sports))
