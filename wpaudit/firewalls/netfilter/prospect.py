"""What could be switched on a host, and how: found out without changing anything."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from urllib.parse import urlsplit

from wpaudit.errors import ModeUnavailable
from wpaudit.firewalls.forwarding import refusal
from wpaudit.firewalls.netfilter import iptables_guards
from wpaudit.firewalls.netfilter import nft_guards
from wpaudit.firewalls.netfilter.guards import INCOMING
from wpaudit.firewalls.netfilter.guards import By
from wpaudit.firewalls.netfilter.guards import Guard
from wpaudit.firewalls.netfilter.guards import Who
from wpaudit.firewalls.netfilter.guards import guarded
from wpaudit.firewalls.netfilter.guards import own
from wpaudit.firewalls.netfilter.guards import ways
from wpaudit.firewalls.netfilter.matching import Packet
from wpaudit.firewalls.netfilter.matching import may_match
from wpaudit.firewalls.netfilter.nginx import Nginx
from wpaudit.firewalls.netfilter.nginx import error_logs
from wpaudit.firewalls.netfilter.nginx import running
from wpaudit.firewalls.netfilter.nginx_text import Unreadable
from wpaudit.firewalls.netfilter.nginx_text import unfolded
from wpaudit.firewalls.netfilter.reading import Read
from wpaudit.firewalls.netfilter.rules import NFT
from wpaudit.firewalls.netfilter.rules import Rule
from wpaudit.firewalls.netfilter.shadow import Outline
from wpaudit.firewalls.netfilter.shadow import Peer
from wpaudit.firewalls.netfilter.shadow import outlined
from wpaudit.firewalls.reading import State
from wpaudit.firewalls.reading import read_files
from wpaudit.nginx_syntax import Directive
from wpaudit.ports import Ground
from wpaudit.ports import Shell

SECONDS = 60.0
PATH = 'PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; export PATH\n'
_OWNER = 'iptables knows who sends a packet only where it goes out, and this chain is passed elsewhere too'
_ADDRESS = 'the requests of this run come from an address of loopback, which others have too'
_SHADOW = 'what the host sends for visitors can be told from what it sends for probes with a second nginx only, '
_NO_IPSET = 'the host has no ipset, by whose sets rules of iptables are switched; install it'
_ODD = 'iptables does not find it by the text that it writes for it'

Suspected = tuple[Rule, frozenset[str]]  # a rule and the hooks it is reached by


@dataclass(frozen=True)
class Shade:
    """A shadow that could be started: a copy of which nginx, and under which account (name, uid).

    ``anywhere`` tells that none listens to the very address that the site's URL seems to mean.
    """

    nginx: Nginx
    outline: Outline
    account: tuple[str, int]
    anywhere: bool = False


@dataclass(frozen=True)
class Prospect:
    """How rules could be switched. ``stuck`` and ``live_only`` say by id why one cannot be, or not for one request.

    ``who`` are the probes of an isolated run; ``spelled`` are the texts by which iptables finds rules.
    """

    who: Who = field(default_factory=Who)
    shade: Shade | None = None
    stuck: Mapping[str, str] = field(default_factory=dict)
    live_only: Mapping[str, str] = field(default_factory=dict)
    spelled: Mapping[tuple[tuple[str, str, str, str], str], str] = field(default_factory=dict)
    logs: tuple[str, ...] = ()


def prospect(ground: Ground, root: Shell, read: Read, suspects: Sequence[Suspected]) -> Prospect:
    """Look at the host as root. Raises ShellError only when the host itself cannot be reached."""
    every, _ = guarded(suspects, secrets.token_hex(4), Who(everybody=True))
    found, left = spelled(root, every)
    stuck = dict.fromkeys((guard.rule.id for guard in left), _ODD)
    if 'ipset' not in read.account.tools:
        stuck |= {guard.rule.id: _NO_IPSET for guard in found if guard.rule.tool != NFT}
    stuck |= _refused(root, [guard for guard in found if guard.rule.tool == NFT])
    shade, why, logs = _shade(ground, root) if suspects else (None, '', ())
    who = Who(addresses=(read.account.client,) if read.account.client else (), demux=read.account.demux)
    if shade is not None:
        bound = any(peer.bound for peer in shade.outline.peers)
        who = replace(who, uid=shade.account[1], loopback=_loopback() if bound else '')
    peers = shade.outline.peers if shade else ()
    live_only = {
        rule.id: reason for rule, at in suspects
        if (reason := _live_only(rule, at, who, why) or _shared(rule, at, who, peers, read))
    }
    return Prospect(
        who, shade, stuck, live_only,
        {(guard.rule.home, guard.rule.text): guard.text for guard in found if guard.rule.tool != NFT}, logs,
    )


def spelled(root: Shell, guards: Sequence[Guard]) -> tuple[tuple[Guard, ...], tuple[Guard, ...]]:
    """Return the guards with texts by which their tools find the rules, and those that have none."""
    lines = [PATH]
    choices = {n: iptables_guards.spellings(one.rule) for n, one in enumerate(guards) if one.rule.tool != NFT}
    for number, texts in choices.items():
        tried = [f'{shlex.join(check.argv)} && echo {number} {at}' for at, (_, check) in enumerate(texts)]
        lines.append(' || '.join(f'{{ {one}; }}' for one in tried) + '\n')
    if not choices:
        return tuple(guards), ()
    script = ''.join(lines).encode('utf-8', 'surrogateescape')
    said = root.run(('sh', '-s'), timeout=SECONDS, stdin=script).stdout.decode('ascii', 'replace')
    chosen = {int(words[0]): int(words[1]) for line in said.splitlines()
              if len(words := line.split()) == 2 and all(word.isdecimal() for word in words)}  # noqa: PLR2004 - a pair
    found = [
        guard if number not in choices else replace(guard, spelling=choices[number][chosen[number]][0])
        for number, guard in enumerate(guards) if number not in choices or number in chosen
    ]
    return tuple(found), tuple(guard for number, guard in enumerate(guards) if number in choices.keys() - chosen.keys())


def _refused(root: Shell, guards: Sequence[Guard]) -> dict[str, str]:
    """Say by id which nft rules cannot be put behind guards and back, and why; they are found by halves."""
    if not guards:
        return {}
    trial = nft_guards.rehearsal(guards)
    argv = ('sh', '-c', f'{PATH}exec "$@"', 'wpaudit', *trial.argv)
    done = root.run(argv, timeout=SECONDS, stdin=trial.stdin)
    if done.status == 0:
        return {}
    if len(guards) == 1:
        said = done.stderr.decode('utf-8', 'replace').strip().partition('\n')[0][:200]
        return {guards[0].rule.id: f'nft does not take its text back as it writes it, or not from us: {said}'}
    half = len(guards) // 2
    return _refused(root, guards[:half]) | _refused(root, guards[half:])


def _live_only(rule: Rule, at: frozenset[str], who: Who, why: str) -> str:
    """Say why a rule can be switched for everybody only, '' when it can be for the probes alone."""
    how = ways(rule, at, who)
    if at & {'output', 'postrouting'} and By.UID not in how:
        return why or _OWNER
    return _ADDRESS if By.UID not in how and not own(who) else ''


def _shared(rule: Rule, at: frozenset[str], who: Who, peers: Sequence[Peer], read: Read) -> str:
    """Say so where a rule may meet incoming packets of an upstream that nothing tells from those for visitors."""
    for peer in peers if at & INCOMING else ():
        here = peer.loopback or peer.address in read.account.local
        by_uid = By.UID in ways(rule, at, who) and not here  # an answer of another machine has a socket by then
        if peer.path or peer.bound or by_uid:
            continue
        packets = [Packet(saddr=peer.address, sport=peer.port)]
        packets += [Packet(daddr=peer.address, dport=peer.port)] if here else []
        if any(may_match(rule.matches, packet, read.ruleset.sets, rule) for packet in packets):
            return f'it may stop what goes to and from {peer.sentence}, where nothing tells a probe from visitors'
    return ''


def _shade(ground: Ground, root: Shell) -> tuple[Shade | None, str, tuple[str, ...]]:
    """Return the shadow that could be, or why there is none; and the error logs of the host's nginx."""
    urls = [request.url for request in ground.requests]
    found = running(root)
    reason = 'and no nginx is seen to run there'
    trees: list[tuple[Nginx, tuple[Directive, ...]]] = []
    for nginx in found.masters:
        try:
            trees.append((nginx, unfolded(root, nginx.config)))
        except Unreadable as error:
            reason = f'and of {nginx.config} there can be none: {error}'
    logs = error_logs(trees)
    if not ground.requests:
        return None, f'{_SHADOW}and a command of your own (--run) goes to the site by itself', logs
    for anywhere in (False, True):
        for nginx, tree in trees:
            try:
                outline = outlined(tree, urls, anywhere=anywhere)
            except Unreadable as error:
                reason = f'and of {nginx.config} there can be none: {error}'
                continue
            reason = _obstacle(ground, root, nginx, outline, urls)
            if not reason and found.accounts:
                return Shade(nginx, outline, secrets.choice(found.accounts), anywhere), '', logs
            return None, _SHADOW + (reason or 'and every account of the system has processes'), logs
    return None, _SHADOW + reason, logs


def renewed(ground: Ground, root: Shell, shade: Shade) -> Shade:
    """Return the shadow of the configuration as it is now: another layer may have put something in.

    Raises ModeUnavailable.
    """
    urls = [request.url for request in ground.requests]
    try:
        outline = outlined(unfolded(root, shade.nginx.config), urls, anywhere=shade.anywhere)
        return replace(shade, outline=outline)
    except Unreadable as error:
        raise ModeUnavailable(f'{shade.nginx.config} has changed meanwhile: {error}') from error


def _obstacle(ground: Ground, root: Shell, nginx: Nginx, outline: Outline, urls: Sequence[str]) -> str:
    if len({urlsplit(url).hostname for url in urls}) > 1:
        return 'and the probes ask several hosts'
    sockets = [peer.path for peer in outline.peers if peer.path]
    for path, file in read_files(root, sockets).items() if sockets else ():
        group = file.group == nginx.gid and file.mode & 0o060 == 0o060  # noqa: PLR2004 - what connect(2) asks for
        if file.state is not State.SPECIAL or not (group or file.mode & 0o006 == 0o006):  # noqa: PLR2004
            return f'and only its owner may open {path}'
    refused = refusal(ground.shell)
    return f'and it could not be asked: {refused}' if refused else ''


def _loopback() -> str:
    return '127.{}.{}.{}'.format(*(2 + secrets.randbelow(250) for _ in range(3)))
