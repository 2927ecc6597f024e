"""With which other plugins one plugin's code has to do: who may be its partner, should it fail only with another one.

The agent reads the code (``php/sources.php``) and says which names of others stand in it; here is what that is worth.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass

from wpaudit.domain import Evidence
from wpaudit.sites.agent import Agent
from wpaudit.sites.launch import joined
from wpaudit.sites.recording import slug
from wpaudit.sites.said import Said
from wpaudit.sites.said import encoded

SOURCE = 'source code'
NEAR = (40.0, 150.0, 600.0)  # a name that stands elsewhere, in the file that failed, in the very function
LOOSE = 0.5        # of that, where the name is one that need not mean the other plugin
MOST_OTHERS = 3    # plugins with the same name: then it says nothing
MORE_NAMES = 0.1   # added for each further name
MOST_NAMES = 5
SHOWN = 8          # plugins that are told of
LONGEST = 80       # characters of a name
SECONDS = 10.0     # for an answer; the host takes two
PLACE = re.compile(r'(?P<file>[^\0]{1,200}):(?P<first>[0-9]{1,7})(?:-(?P<last>[0-9]{1,7}))?')

# What "how" means, with "{one}" for the plugin that was asked about, where it failed if that is known.
MEANINGS = {
    'defines': '{one} asks for {name}, which {other} defines',
    'fires': '{one} names the hook {name}, which {other} runs',
    'hooks': '{one} runs or looks at the hook {name}, to which {other} adds something',
    'stores': '{one} names the option {name}, which {other} writes',
    'file': '{one} names the file {name}',
    'slug': '{one} names {name}',
    'asks': '{other} asks for {name} of {one}',
    'shares': '{one} and {other} both define {name}',
}
BY_OTHERS = ('asks', 'shares')
LOOSELY = ('slug', *BY_OTHERS)
WHERE = ('the code of {}', 'the file in which {} failed', 'what failed in {}')


@dataclass(frozen=True)
class Place:
    """Where in a plugin's code something happened; no file when that is not known, line 0 when only the file is."""

    file: str = ''
    first: int = 0
    last: int = 0


@dataclass(frozen=True)
class Mention:
    """One name that two plugins have to do with. ``near`` counts from 0 to 2, ``others`` who else has it so."""

    other: str
    name: str
    how: str
    near: int
    others: int

    @property
    def weight(self) -> float:
        """How many times as likely it makes the other plugin."""
        loose = LOOSE if self.how in LOOSELY else 1.0
        return max(1.0, NEAR[self.near] * loose / self.others)


def placed(text: str) -> Place:
    """Read ``acme/inc/file.php:10-20`` as the flight recorder writes it."""
    found = PLACE.fullmatch(text)
    if found is None:
        return Place()
    first = int(found['first'])
    return Place(found['file'], first, int(found['last'] or first))


def partners(agent: Agent, suspects: Sequence[str], one: str, place: Place) -> tuple[Evidence, ...]:
    """Ask the agent which of the ``suspects`` has to do with ``one``, which failed at ``place``."""
    source = base64.b64encode(joined('sources.php').encode()).decode()
    agent.ask('extend', unless='Wpaudit_Sources', source=source)
    said = agent.ask(
        'mentions', seconds=SECONDS, plugin=suspects.index(one), plugins=[encoded(each) for each in suspects],
        file=encoded(place.file), first=place.first, last=place.last,
    )
    return evidence(one, mentions(said, suspects, one))


def mentions(said: Said, suspects: Sequence[str], one: str) -> tuple[Mention, ...]:
    """Read the agent's rows; what cannot be a mention of another suspect is left out."""
    found = []
    for row in said.parts('rows'):
        place, near, others = row.whole('plugin'), row.whole('near'), row.whole('others')
        name, how = _printable(row.text('name')), row.text('how')
        known = 0 <= place < len(suspects) and suspects[place] != one and how in MEANINGS
        if known and name and 0 <= near < len(NEAR) and 1 <= others <= MOST_OTHERS:
            found.append(Mention(suspects[place], name, how, near, others))
    return tuple(found)


def evidence(one: str, found: Sequence[Mention]) -> tuple[Evidence, ...]:
    """Return a reason for each plugin that has to do with ``one``, the best first."""
    reasons = [_reason(one, [each for each in found if each.other == other])
               for other in dict.fromkeys(each.other for each in found)]
    return tuple(sorted(reasons, key=lambda reason: -reason.weight)[:SHOWN])


def _reason(one: str, found: Sequence[Mention]) -> Evidence:
    """Tell of the name that says most; further ones make it a little likelier."""
    best = max(found, key=lambda each: each.weight)
    more = min(MOST_NAMES, len({each.name.lower() for each in found}) - 1)
    subject = '{}' if best.how in BY_OTHERS else WHERE[best.near]
    reason = MEANINGS[best.how].format(one=subject.format(slug(one)), name=best.name, other=slug(best.other))
    return Evidence(SOURCE, reason, (best.other,), round(best.weight * (1 + MORE_NAMES * more), 1))


def _printable(text: str) -> str:
    return ''.join(char if ' ' <= char <= '~' else '?' for char in text[:LONGEST]).strip()
