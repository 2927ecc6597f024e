"""nftables: ``nft -j -a list ruleset`` and ``nft -a list ruleset`` -> rules.

The JSON says what there is (libnftables-json(5)); the text is what makes a rule again, which JSON does not for all
kinds. A rule's comment may hold anything that fits in 128 bytes, line breaks and quotes among them, since only the
``nft`` program refuses them: such a text would make another rule, or more than one, and is never put back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from wpaudit.errors import SiteError
from wpaudit.firewalls.netfilter.matching import ports
from wpaudit.firewalls.netfilter.nft_matches import matches_of
from wpaudit.firewalls.netfilter.nft_matches import scalars
from wpaudit.firewalls.netfilter.rules import NFT
from wpaudit.firewalls.netfilter.rules import Chain
from wpaudit.firewalls.netfilter.rules import Element
from wpaudit.firewalls.netfilter.rules import NamedSet
from wpaudit.firewalls.netfilter.rules import Ports
from wpaudit.firewalls.netfilter.rules import Rule
from wpaudit.firewalls.netfilter.rules import Ruleset
from wpaudit.firewalls.netfilter.rules import Verdict

MOST_ELEMENTS = 10_000
_TABLE = re.compile(r'table (\S+) (\S+) \{')
_CHAIN = re.compile(r'\tchain (\S+) \{')
_HANDLE = re.compile(r'(.*) # handle (\d+)')
_PLAIN_NAME = re.compile(r'[A-Za-z_][A-Za-z0-9_./-]*')
_UNSAFE = re.compile(r'[\x00-\x1f\x7f"\\$]')
_TARGETED = ('jump', 'goto')
_VERDICTS = frozenset({
    'accept', 'drop', 'reject', 'queue', 'return', 'continue', 'masquerade', 'snat', 'dnat', 'redirect', 'tproxy',
    'synproxy', 'fwd', 'dup', 'notrack', 'xt',
})

TextKey = tuple[str, str, str, int]  # family, table, chain, handle
MapOf = Callable[[str], list[Any]]   # name of a verdict map -> what it may answer


def ruleset(listed: bytes, text: bytes) -> Ruleset:
    """Join both listings. Raises SiteError when the first one is not what nft writes."""
    objects = _objects(listed)
    texts = texts_of(text.decode('utf-8', 'surrogateescape'))
    maps = {_key(one, 'name'): _pairs(one.get('elem')) for one in _of(objects, 'map')}
    return Ruleset(
        tuple(_rule(one, texts, maps) for one in _of(objects, 'rule')),
        tuple(_chain(one) for one in _of(objects, 'chain')),
        tuple(_named_set(one) for one in _of(objects, 'set')),
    )


def texts_of(text: str) -> dict[TextKey, list[str]]:
    """Take ``nft -a list ruleset`` apart: the texts of each handle. Where a comment imitates a rule, there are two."""
    found: dict[TextKey, list[str]] = {}
    family = table = chain = ''
    for line in text.split('\n'):
        if head := _TABLE.match(line):
            family, table, chain = head[1], head[2], ''
        elif head := _CHAIN.match(line):
            chain = head[1]
        elif match := _HANDLE.fullmatch(line):
            found.setdefault((family, table, chain, int(match[2])), []).append(match[1].strip('\t'))
    return found


def _objects(listed: bytes) -> list[Mapping[str, Any]]:
    try:
        found = json.loads(listed.decode('utf-8', 'surrogateescape'))
    except (ValueError, RecursionError) as error:
        raise SiteError('nft wrote a list of rules that is not JSON') from error
    objects = found.get('nftables') if isinstance(found, dict) else None
    if not isinstance(objects, list) or not all(isinstance(one, dict) for one in objects):
        raise SiteError('nft wrote a list of rules of the wrong shape')
    return objects


def _of(objects: Sequence[Mapping[str, Any]], kind: str) -> Iterator[Mapping[str, Any]]:
    return (one[kind] for one in objects if isinstance(one.get(kind), dict))


def _said(one: Mapping[str, Any], key: str) -> str:
    value = one.get(key, '')
    # JSON can spell half a surrogate pair; what came in as raw bytes stays as it is
    return value if isinstance(value, str) else ''


def _whole(one: Mapping[str, Any], key: str) -> int:
    value = one.get(key, 0)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


def _key(one: Mapping[str, Any], last: str) -> tuple[str, str, str]:
    return _said(one, 'family'), _said(one, 'table'), _said(one, last)


def _pairs(elements: object) -> list[Any]:
    return [one[1] for one in elements if isinstance(one, list) and len(one) > 1] if isinstance(elements, list) else []


def _chain(one: Mapping[str, Any]) -> Chain:
    family, table, name = _key(one, 'name')
    return Chain(NFT, family, table, name, hook=_said(one, 'hook'), policy=_said(one, 'policy'))


def _named_set(one: Mapping[str, Any]) -> NamedSet:
    family, table, name = _key(one, 'name')
    elements = one.get('elem')
    listed = elements if isinstance(elements, list) else []
    kind = one.get('type')
    return NamedSet(
        NFT, family, table, name, kind if isinstance(kind, str) else ' . '.join(scalars(kind)),
        tuple(_element(value) for value in listed[:MOST_ELEMENTS]), whole=len(listed) <= MOST_ELEMENTS,
    )


def _element(value: object) -> Element:
    inner = value.get('elem') if isinstance(value, dict) else None
    if not isinstance(inner, dict):
        return Element(' . '.join(scalars(value)))
    return Element(
        ' . '.join(scalars(inner.get('val'))), timeout=_whole(inner, 'timeout'), expires=_whole(inner, 'expires'),
        comment=_said(inner, 'comment'),
    )


def _rule(
    one: Mapping[str, Any], texts: Mapping[TextKey, list[str]], maps: Mapping[tuple[str, str, str], list[Any]],
) -> Rule:
    family, table, chain = _key(one, 'chain')
    handle = _whole(one, 'handle')
    listed = one.get('expr')
    statements = listed if isinstance(listed, list) else []
    said = texts.get((family, table, chain, handle), [])
    counter = next((_counted(part) for part in statements if isinstance(part, dict) and 'counter' in part), (0, 0))
    return Rule(
        NFT, family, table, chain, handle, said[0] if said else '',
        verdicts=tuple(dict.fromkeys(_verdicts(statements, lambda name: maps.get((family, table, name), [])))),
        matches=matches_of(statements), comment=_said(one, 'comment'),
        packets=counter[0], octets=counter[1], flaw=_flaw(one, said),
    )


def _counted(part: Mapping[str, Any]) -> tuple[int, int]:
    counter = part['counter']
    return (_whole(counter, 'packets'), _whole(counter, 'bytes')) if isinstance(counter, dict) else (0, 0)


def _flaw(one: Mapping[str, Any], said: Sequence[str]) -> str:
    """Say why this rule's text could not be put back, ``''`` when it can."""
    parts = _list(one.get('expr'))
    names = [_said(one, key) for key in ('table', 'chain')]
    flaws = (
        (not said, 'its text could not be read'),
        (len(said) > 1, 'its text cannot be told from that of another rule'),
        (any(isinstance(part, str) for part in parts), 'it holds a chain without a name'),
        (any(isinstance(part, dict) and 'xt' in part for part in parts), 'it is one of iptables, which is not there'),
        (not all(map(_PLAIN_NAME.fullmatch, names)), 'its table or chain has a name that nft does not take'),
        (any(map(_unsafe, [*_texts(one), *map(_bare, said)])), 'nft would not read its text back as it is'),
    )
    return next((why for wrong, why in flaws if wrong), '')


def _unsafe(text: str) -> bool:
    return _UNSAFE.search(text) is not None


def _bare(text: str) -> str:
    """Return what of a text stands outside of quotes, with a mark for the end of a command made unsafe."""
    return re.sub(r'"[^"]*"', '', text).replace(';', '"')


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts(value: object) -> Iterator[str]:
    """Every text in a JSON value. The depth is bounded: what nests deeper was refused by the JSON reader."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)


def _verdicts(statements: Sequence[Any], map_of: MapOf) -> Iterator[Verdict]:
    for part in statements:
        if not isinstance(part, dict):
            yield Verdict('anonymous')
            continue
        for kind, value in part.items():
            inside = value if isinstance(value, dict) else {}
            if kind == 'vmap':
                yield Verdict('vmap')
                yield from _verdicts(_mapped(inside.get('data'), map_of), map_of)
            elif kind in _TARGETED:
                yield Verdict(kind, _said(inside, 'target'))
            elif kind in _VERDICTS:
                yield Verdict(kind, ports=_ports(inside))


def _mapped(data: object, map_of: MapOf) -> list[Any]:
    """Return what a verdict map may answer. A map holds no maps."""
    found = map_of(data[1:]) if isinstance(data, str) else _pairs(data.get('set') if isinstance(data, dict) else None)
    return [one for one in found if isinstance(one, dict) and 'vmap' not in one]


def _ports(value: Mapping[str, Any]) -> Ports:
    """Return the ports that a packet is sent on to."""
    return ports(scalars(value['port'])) or () if 'port' in value else ()
