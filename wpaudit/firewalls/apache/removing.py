"""Lines taken out for everybody, where no expression can say for whom: between ``<IfDefine>`` of a name nobody defines.

For rules that cannot be off for one request. Unlike what ``LiveKey`` makes, it does not end by itself.
"""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Iterator

from wpaudit.firewalls.apache.denies import NOBODY
from wpaudit.firewalls.apache.reader import Document
from wpaudit.firewalls.apache.units import CLOSING
from wpaudit.firewalls.apache.units import OPENING
from wpaudit.firewalls.apache.units import Insertion
from wpaudit.firewalls.apache.units import Sort

# What loses nothing but itself when its line is gone: nothing counts these lines, or refers to what they matched.
LISTS = frozenset({Sort.DENY, Sort.SETENVIF})
REMOVABLE = frozenset({*LISTS, Sort.REDIRECT})
NAME = 'wpaudit-'  # of what nobody defines; ``sh/swap.sh`` turns it around to ask Apache about such a text


def removed(document: Document, lines: Collection[int], word: str) -> Iterator[Insertion]:
    """Take the directives at these lines out. ``word`` makes the name one of this run."""
    for one in document.directives:
        if one.first in lines:
            # a place without any line of its own would take over those of the place around it
            stays = (NOBODY,) if one.name == 'deny' else ()
            yield Insertion(one.first, (*stays, f'<IfDefine {NAME}{word}>'), OPENING)
            yield Insertion(one.last + 1, ('</IfDefine>',), CLOSING)
