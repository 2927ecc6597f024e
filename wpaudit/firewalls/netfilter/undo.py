"""The way back as one script for the host: see ``sh/unguard.sh``, which this fills in."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Sequence
from importlib import resources

from wpaudit.firewalls.netfilter import iptables_guards
from wpaudit.firewalls.netfilter import nft_guards
from wpaudit.firewalls.netfilter.guards import Guard
from wpaudit.firewalls.netfilter.rules import NFT
from wpaudit.firewalls.netfilter.rules import Rule

UNTOLD = 'untold'  # the file that is there until somebody was told what others have changed
_SPECIAL = re.compile(r'[][\\.*^$/]')  # of a basic regular expression, and its delimiter


def undo(guards: Sequence[Guard], rules: Sequence[Rule], *, shadow: int | None = None) -> str:
    """Return the script for these guards. ``rules`` are all that were read, ``shadow`` the uid of the second nginx."""
    counts = Counter((rule.home, nft_guards.uncounted(rule.text)) for rule in rules)
    calls = [_call(guard, counts[guard.rule.home, nft_guards.uncounted(guard.rule.text)]) for guard in guards]
    first = [] if shadow is None else [f'[ "$step" != back ] || end_shadow {shadow}']
    head, mark, tail = _script().rpartition('\nstep=back\n')
    return '\n'.join([f'{head}\n', 'every() {', *(f'    {call}' for call in (*first, *calls, ':')), '}', mark + tail])


def _call(guard: Guard, count: int) -> str:
    rule = guard.rule
    if rule.tool == NFT:
        words: list[str] = [
            'nft_rule', rule.family, rule.table, rule.chain, str(rule.place), guard.name, rule.text, str(count),
            '\n'.join(nft_guards.returns(guard)), ' '.join(nft_guards.sets(guard)),
        ]
    else:
        words = [
            'iptables_rule', rule.tool, rule.table, rule.chain, _SPECIAL.sub(r'\\\g<0>', rule.chain), guard.name,
            rule.text, str(count), '\n'.join(iptables_guards.returns(guard)), ' '.join(iptables_guards.sets(guard)),
            guard.text, rule.id,
        ]
    return shlex.join(words)


def _script() -> str:
    return resources.files('wpaudit.firewalls').joinpath('sh', 'unguard.sh').read_text(encoding='utf-8')
