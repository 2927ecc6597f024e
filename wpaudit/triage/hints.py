"""What triage saw that tells a search where to look first. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from wpaudit.domain import Evidence
from wpaudit.facts import Clue

# How much likelier than another a plugin is that a line names; the recorder, which watched it die, says 1000.
_NAMED = 20.0
# Whoever sets a status or is slow is the culprit more often than whoever a warning mentions in passing.
_WEIGHTS = {'php-fatal': 40.0, 'php-time-limit': 40.0, 'slow-frame': 40.0, 'plugin-slow': 40.0, 'plugin-headers': 40.0}


def weights(clues: Iterable[Clue]) -> tuple[Evidence, ...]:
    """Return the reasons to suspect plugins, one for each plugin and kind of clue, the strongest first.

    ``suspects`` holds the beginning of the suspects' ids: ``acme/``, or the whole id of a plugin of one file
    (``hello.php``).
    """
    best: dict[tuple[str, str], Evidence] = {}
    for clue in clues:
        if not clue.plugin:
            continue
        weight = 1.0 + (_WEIGHTS.get(clue.kind, _NAMED) - 1.0) * min(1.0, max(0.0, clue.strength))
        prefix = clue.plugin if clue.plugin.endswith('.php') else f'{clue.plugin}/'
        known = best.get((clue.plugin, clue.kind))
        if known is None or known.weight < weight:
            best[clue.plugin, clue.kind] = Evidence(clue.source, clue.reason, (prefix,), weight)
    return tuple(sorted(best.values(), key=lambda one: -one.weight))
