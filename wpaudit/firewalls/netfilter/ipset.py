"""ipset: ``ipset save`` -> sets with their entries."""

from __future__ import annotations

import shlex
from dataclasses import replace

from wpaudit.firewalls.netfilter.rules import Element
from wpaudit.firewalls.netfilter.rules import NamedSet

MOST_ELEMENTS = 10_000
_LEAST = 3  # words of a line: what to do, to which set, and a type or an entry


def sets(saved: bytes) -> tuple[NamedSet, ...]:
    """Read all sets. Lines that are none of ipset's are left out."""
    found: dict[str, NamedSet] = {}
    elements: dict[str, list[Element]] = {}
    for line in saved.decode('utf-8', 'surrogateescape').split('\n'):
        words = _words(line)
        if words[:1] == ['create'] and len(words) >= _LEAST:
            family = 'ip6' if _option(words, 'family') == 'inet6' else 'ip'
            found[words[1]] = NamedSet('ipset', family, '', words[1], words[2])
        elif words[:1] == ['add'] and len(words) >= _LEAST:
            elements.setdefault(words[1], []).append(_element(words))
    return tuple(_filled(one, elements.get(name, [])) for name, one in found.items())


def _filled(one: NamedSet, elements: list[Element]) -> NamedSet:
    return replace(one, elements=tuple(elements[:MOST_ELEMENTS]), whole=len(elements) <= MOST_ELEMENTS)


def _element(words: list[str]) -> Element:
    left = _option(words, 'timeout')
    expires = int(left) if left.isascii() and left.isdigit() else 0
    return Element(words[2], timeout=expires, expires=expires, comment=_option(words, 'comment'))


def _option(words: list[str], name: str) -> str:
    return words[words.index(name, 2) + 1] if name in words[2:-1] else ''


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:  # a comment with half a quote in it
        return []
