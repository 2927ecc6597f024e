"""From what was seen to a diagnosis. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import replace

from wpaudit.facts import Category
from wpaudit.facts import Cause
from wpaudit.facts import Clue
from wpaudit.facts import Diagnosis
from wpaudit.facts import Seen
from wpaudit.facts import State
from wpaudit.triage import model
from wpaudit.triage.clues import clues
from wpaudit.triage.clues import compared
from wpaudit.triage.endless import endless
from wpaudit.triage.faults import maintenance
from wpaudit.triage.hops import hops
from wpaudit.triage.maker import Maker
from wpaudit.triage.maker import maker
from wpaudit.triage.scene import Scene

HEALTHY, NAMED, UNCLEAR = 0, 1, 6  # exit codes, as everywhere in wpaudit

_OTHERS = 5           # causes shown beside the first
_LEAST = 0.01         # and not those that are less likely than this
_GUESSES = 3          # causes named when it is not clear which
_SURE = 0.5
_MADE_BY_PHP = frozenset({'application-502', 'wordpress-fatal', 'database-down'})
UNREAD_HOST = 'the host '  # so begins the gap for a host that was given
_READ_IT = 'run this again when what keeps the host from being read (below) is put right: its logs name the cause'
_LOOKED_INSIDE = 'run this again while the site fails; wpaudit bisect tells whether a plugin has to do with it'


def diagnose(seen: Seen) -> Diagnosis:
    """Say whether the site fails, where, why, and what to do."""
    scene = Scene(seen)
    different = compared(scene)
    found = clues(scene, different)
    cause, others = _causes(scene, found)
    return Diagnosis(
        state=scene.state, rate=scene.rate, hops=hops(scene, model.table().kinds[cause.kind].place),
        made_by=_made_by(scene, cause), cause=cause, others=others, clues=found,
        differences=tuple(dict.fromkeys(one.sentence for one in different if one.shown)),
        gaps=seen.gaps, notes=(*seen.notes, *_notes(scene), *endless(scene)), costs=seen.costs,
        just_me=scene.state is not State.HEALTHY and any(_here_only(one) for one in found), effort=seen.effort,
    )


def exit_code(diagnosis: Diagnosis) -> int:
    """Return 0 when nothing fails, 1 when the cause is named, 6 when it is not clear."""
    if diagnosis.state is State.HEALTHY:
        return HEALTHY
    return UNCLEAR if diagnosis.cause.kind == model.UNKNOWN else NAMED


def _causes(scene: Scene, found: Sequence[Clue]) -> tuple[Cause, tuple[Cause, ...]]:
    """Return the cause, and what else it may be. A cause is named when it is likelier than all others together."""
    if scene.state is State.HEALTHY:
        return Cause(Category.UNKNOWN, model.UNKNOWN, 1.0, 'nothing fails', '', bisect_helps=False), ()
    ranked = model.ranked(found)
    unknown = next(one for one in ranked if one.kind == model.UNKNOWN)
    named = ranked[0] if ranked[0] is not unknown and ranked[0].probability >= model.table().named_from else None
    others = tuple(one for one in ranked if one not in (named, unknown) and one.probability >= _LEAST)[:_OTHERS]
    return (named or _undecided(scene, unknown, ranked), others)


def _undecided(scene: Scene, unknown: Cause, ranked: Sequence[Cause]) -> Cause:
    """Say which causes are about as likely: to name one of them would be a guess."""
    likely = [one for one in ranked if one is not unknown and one.probability >= unknown.probability / 2][:_GUESSES]
    sentence = f'it may be that {", or that ".join(one.sentence for one in likely)}' if likely else unknown.sentence
    helps = sum(one.probability for one in ranked if one.bisect_helps)
    return replace(
        unknown, sentence=sentence, bisect_helps=helps >= model.table().named_from,
        advice=_next(scene, unknown))


def _next(scene: Scene, unknown: Cause) -> str:
    if scene.host is not None:
        return _LOOKED_INSIDE
    return _READ_IT if any(gap.what.startswith(UNREAD_HOST) for gap in scene.seen.gaps) else unknown.advice


def _made_by(scene: Scene, cause: Cause) -> str:
    """Name who made most of the failing pages; a page that bears no name may be known by its cause."""
    makers = Counter(maker(look.answer) for look in scene.failing if look.answer.status)
    known = [one for one, _ in makers.most_common() if one is not Maker.OTHER]
    if known:
        return known[0].value
    return Maker.PHP.value if cause.kind in _MADE_BY_PHP else ''


def _here_only(clue: Clue) -> bool:
    return clue.kind == 'here-only' and clue.strength >= _SURE


def _notes(scene: Scene) -> Iterator[str]:
    """Say what is wrong without being a failure of this kind."""
    answers = [look.answer for look in scene.plain]
    for holds, sentence in (
        (maintenance, 'the site is in maintenance mode: WordPress updates itself, or an update was interrupted '
                      '(then delete the file .maintenance)'),
        (lambda one: one.status == 404, 'the page does not exist (404)'),  # noqa: PLR2004 - RFC 9110
        (lambda one: one.status in {401, 407}, 'the page asks for a password (401)'),
        (lambda one: one.error == 'redirect-loop', 'the page redirects in a circle'),
        (lambda one: one.error == 'too-large', 'the answer is larger than what is read'),
    ):
        count = sum(1 for one in answers if holds(one))
        if count:
            yield sentence if count == len(answers) else f'{sentence}; {count} of {len(answers)} times'
