"""What the matches of an nftables rule say for certain, out of its JSON (libnftables-json(5))."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from wpaudit.firewalls.netfilter.matching import ports
from wpaudit.firewalls.netfilter.rules import Matches

_DEEPEST = 8
_MATCHING = frozenset({'match', 'vmap', 'limit', 'quota', 'ct count', 'meter', 'set', 'xt'})
_PROTOCOLS = {'ipv6-icmp': 'icmpv6', '6': 'tcp', '17': 'udp', '1': 'icmp', '58': 'icmpv6'}
_TRANSPORTS = frozenset({'tcp', 'udp', 'sctp', 'dccp', 'icmp', 'icmpv6', 'igmp', 'esp', 'ah'})


def matches_of(statements: Sequence[Any]) -> Matches:
    """Read all matches of a rule, the certain ones."""
    found = Matches()
    for part in statements:
        match = part.get('match') if isinstance(part, dict) else None
        if isinstance(match, dict):
            found = _with(found, match)
        elif not isinstance(part, dict) or _MATCHING & part.keys():
            found = replace(found, exact=False)
    return found


def _with(found: Matches, match: dict[str, Any]) -> Matches:
    protocol, subject = _subject(match.get('left'))
    if protocol:
        found = _narrowed(found, {'protocols': frozenset({protocol})})
    right = match.get('right')
    reader = _READERS.get(subject)
    if match.get('op') not in ('==', 'in') or reader is None or not _flat(right):
        return replace(found, exact=False)
    fields = reader(scalars(right))
    return replace(found, exact=False) if None in fields.values() else _narrowed(found, fields)


def _narrowed(found: Matches, fields: dict[str, Any]) -> Matches:
    """Add what another match says. Two about the same thing are not worked out: the first one stays, inexactly."""
    for name, value in fields.items():
        now = getattr(found, name)
        if name == 'protocols' and now is not None:
            found = replace(found, protocols=now & value)
        elif now is not None:
            found = replace(found, exact=False)
        else:
            found = replace(found, **{name: value})
    return found


def _subject(left: object) -> tuple[str, str]:
    """Return the transport protocol that a match implies, and what it looks at."""
    if not isinstance(left, dict):
        return '', ''
    for kind in ('payload', 'meta', 'ct'):
        inner = left.get(kind)
        if isinstance(inner, dict):
            protocol, name = str(inner.get('protocol', '')), str(inner.get('field', inner.get('key', '')))
            return (protocol if protocol in _TRANSPORTS else ''), f'{kind} {_group(protocol)}{name}'
    inner = left.get('&')
    return (_subject(inner[0])[0] if isinstance(inner, list) and inner else ''), ''


def _group(protocol: str) -> str:
    if protocol in {'tcp', 'udp', 'th', 'sctp', 'dccp'}:
        return 'port '
    return f'{protocol} ' if protocol else ''


def _flat(value: object) -> bool:
    """Tell whether a right side is made of values, lists, sets, ranges and prefixes only."""
    if isinstance(value, list):
        return all(_flat(one) for one in value)
    if not isinstance(value, dict):
        return isinstance(value, (str, int))
    return len(value) == 1 and next(iter(value)) in {'set', 'range', 'prefix', 'elem'}


def scalars(value: object, depth: int = 0) -> list[str]:
    """Return the values of a JSON expression as texts: ``80``, ``8000-8010``, ``10.0.0.0/8``, ``@name``."""
    if depth > _DEEPEST:
        return ['?']
    if isinstance(value, list):
        return [word for one in value for word in scalars(one, depth + 1)]
    if isinstance(value, dict):
        return list(_compound(value, depth))
    return [str(value)]


def _compound(value: dict[str, Any], depth: int) -> Iterator[str]:
    for kind, inner in value.items():
        if kind == 'prefix' and isinstance(inner, dict):
            yield f'{inner.get("addr")}/{inner.get("len")}'
        elif kind == 'range':
            yield '-'.join(scalars(inner, depth + 1))
        elif kind == 'concat':
            yield ' . '.join(scalars(inner, depth + 1))
        elif kind == 'elem' and isinstance(inner, dict):
            yield from scalars(inner.get('val'), depth + 1)
        elif kind == 'set':
            yield from scalars(inner, depth + 1)
        else:
            yield '?'


def protocol_name(word: str) -> str:
    """Return the one name that a protocol goes by here."""
    return _PROTOCOLS.get(word.lower(), word.lower())


def _names(field: str) -> Callable[[list[str]], dict[str, Any]]:
    return lambda words: {field: tuple(words)}


def _plain(field: str) -> Callable[[list[str]], dict[str, Any]]:
    """Read words where a set cannot be looked into."""
    return lambda words: {field: None if any(word.startswith('@') for word in words) else tuple(words)}


def _protocols(words: list[str]) -> dict[str, Any]:
    return {'protocols': None if any(word[:1] == '@' for word in words) else frozenset(map(protocol_name, words))}


_READERS: dict[str, Callable[[list[str]], dict[str, Any]]] = {
    'payload port dport': lambda words: {'dports': ports(words)},
    'payload port sport': lambda words: {'sports': ports(words)},
    'payload ip saddr': _names('saddr'),
    'payload ip daddr': _names('daddr'),
    'payload ip6 saddr': _names('saddr'),
    'payload ip6 daddr': _names('daddr'),
    'payload ip protocol': _protocols,
    'payload ip6 nexthdr': _protocols,
    'meta l4proto': _protocols,
    'meta iifname': _plain('iif'),
    'meta iif': _plain('iif'),
    'meta oifname': _plain('oif'),
    'meta oif': _plain('oif'),
    'ct state': lambda words: {'states': frozenset(words)},
}
