"""The timer that puts all rules back when nobody else does: a detached ``sh`` on the host.

It is the third line of defence. The run itself puts back; when the run dies, the kernel's timeouts make every rule
hold again for everybody within seconds; what is left then are chains and sets that do nothing, and those the timer
takes away. Each rule is put back by itself, and only where the jump to its guard still stands in its place. Counters
are those of the time of arming.

Files in ``directory`` (made for this, of root, mode 0700): ``restore.sh``; ``armed``, without which the timer ends and
does nothing; ``beat``, which the run touches to start the time anew.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from collections.abc import Sequence

from wpaudit.firewalls.netfilter import iptables_guards
from wpaudit.firewalls.netfilter import nft_guards
from wpaudit.firewalls.netfilter.guards import Command
from wpaudit.firewalls.netfilter.guards import Guard
from wpaudit.firewalls.netfilter.guards import bounded
from wpaudit.firewalls.netfilter.rules import NFT

_HEAD = '''#!/bin/sh
# Puts back the firewall rules that a run of wpaudit has moved behind guards. May be run at any time and again.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
put_back_nft() { # FAMILY TABLE CHAIN HANDLE JUMP; transaction on stdin
    nft -a list chain "$1" "$2" "$3" 2>/dev/null | sed 's/^[[:blank:]]*//' | grep -Fqx -- "$5 # handle $4" && nft -f -
}
put_back_iptables() { # TOOL TABLE CHAIN RULE; transaction on stdin, with N for the number of the rule
    number=$("$1-save" -t "$2" 2>/dev/null | grep -- "^-A $3 " | grep -nFx -- "-A $3 $4" | cut -d: -f1)
    case $number in
        ''|*[!0-9]*) return 1 ;;
    esac
    sed "s/^\\(\\[[0-9:]*\\] -I [^ ]* \\)N /\\1$number /" | "$1-restore" --noflush --counters --wait 5
}
'''
_START = '''
cd "$1" || exit 4
: >armed || exit 4
setsid sh -c '
    cd "$1" || exit
    left=$2
    while [ "$left" -gt 0 ] && [ -e armed ]; do
        sleep 1
        left=$((left - 1))
        if [ -e beat ]; then rm -f beat; left=$2; fi
    done
    [ -e armed ] && sh ./restore.sh && rm -f armed
' wpaudit-timer "$1" "$2" </dev/null >/dev/null 2>&1 &
echo "$!"
'''


def script(guards: Sequence[Guard]) -> bytes:
    """Return the text of ``restore.sh`` for these guards."""
    lines = [_HEAD, *(line for guard in guards for line in _block(guard)), ':\n']
    return ''.join(lines).encode('utf-8', 'surrogateescape')


def start(directory: str, guards: Sequence[Guard], seconds: float) -> tuple[Command, ...]:
    """Lay the script down, run it once (nothing is armed: it must change nothing and end well), and start the timer.

    The last command writes the timer's process id. Before anything is armed, ``alive`` must succeed.
    """
    lasting = bounded(seconds)
    return (
        Command(('mkdir', '-m', '700', '--', directory)),
        Command(('sh', '-c', 'umask 077; cat >"$1/restore.sh"', 'wpaudit', directory), script(guards)),
        Command(('sh', f'{directory}/restore.sh')),
        Command(('sh', '-c', _START, 'wpaudit', directory, str(lasting))),
    )


def alive(directory: str, pid: int) -> Command:
    """Ask whether the timer runs and would do something."""
    return Command(('sh', '-c', 'kill -0 "$2" && [ -e "$1/armed" ]', 'wpaudit', directory, str(pid)))


def beat(directory: str) -> Command:
    """Start the time anew."""
    return Command(('touch', '--', f'{directory}/beat'))


def end(directory: str) -> tuple[Command, ...]:
    """Let the timer end within a second, and take its files away."""
    return Command(('rm', '-f', '--', f'{directory}/armed')), Command(('rm', '-rf', '--', directory))


def _block(guard: Guard) -> Iterator[str]:
    rule = guard.rule
    end_mark = f'END-{guard.name}'
    if rule.tool == NFT:
        place = rule.family, rule.table, rule.chain, str(rule.place), nft_guards.jump(guard)
        yield f'put_back_nft {shlex.join(place)} <<\'{end_mark}\'\n'
        lines = nft_guards.restored(guard, rule.text)
    else:
        where = rule.tool, rule.table, rule.chain, iptables_guards.jump(guard)
        yield f'put_back_iptables {shlex.join(where)} <<\'{end_mark}\'\n'
        lines = [f'*{rule.table}', *iptables_guards.restored(guard, 'N', rule), 'COMMIT']
    yield from (f'{line}\n' for line in lines)
    yield f'{end_mark}\n'
    for name in () if rule.tool == NFT else iptables_guards.set_names(guard):
        yield f'ipset destroy {shlex.quote(name)} 2>/dev/null\n'
