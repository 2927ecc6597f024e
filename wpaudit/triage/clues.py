"""From what was seen to clues, each one observation that speaks for or against causes. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from wpaudit.facts import Clue
from wpaudit.triage.answers import answer_clues
from wpaudit.triage.compare import Difference
from wpaudit.triage.compare import differences
from wpaudit.triage.host import host_clues
from wpaudit.triage.lines import line_clues
from wpaudit.triage.network import network_differences
from wpaudit.triage.scene import Scene


def compared(scene: Scene) -> tuple[Difference, ...]:
    """Return what differs between visitors, addresses, caches and vantages."""
    return (*network_differences(scene), *differences(scene))


def clues(scene: Scene, found: Sequence[Difference]) -> tuple[Clue, ...]:
    """Return all clues, those that ``found`` makes among them; of one kind there may be several."""
    made = [
        Clue(one.kind, one.source, one.sentence, strength=one.strength, names={'cache': one.cache} if one.cache else {})
        for one in found if one.kind and one.strength > 0
    ]
    return (*answer_clues(scene), *made, *line_clues(scene), *host_clues(scene))
