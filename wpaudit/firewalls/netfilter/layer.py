"""The layer: lists the rules of the packet filter that could stop the site, and switches them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from functools import partial
from urllib.parse import urlsplit

from wpaudit.domain import Evidence
from wpaudit.domain import Gap
from wpaudit.domain import Mode
from wpaudit.domain import Suspect
from wpaudit.errors import CommandTimeout
from wpaudit.errors import ModeUnavailable
from wpaudit.firewalls.acting import Acting
from wpaudit.firewalls.acting import rooted
from wpaudit.firewalls.netfilter import clues
from wpaudit.firewalls.netfilter.asking import repeatable
from wpaudit.firewalls.netfilter.asking import status
from wpaudit.firewalls.netfilter.guards import By
from wpaudit.firewalls.netfilter.guards import Guard
from wpaudit.firewalls.netfilter.guards import Who
from wpaudit.firewalls.netfilter.guards import guarded
from wpaudit.firewalls.netfilter.guards import own
from wpaudit.firewalls.netfilter.guards import ways
from wpaudit.firewalls.netfilter.matching import Packet
from wpaudit.firewalls.netfilter.nft_guards import uncounted
from wpaudit.firewalls.netfilter.nginx import ends_of
from wpaudit.firewalls.netfilter.prospect import Prospect
from wpaudit.firewalls.netfilter.prospect import Suspected
from wpaudit.firewalls.netfilter.prospect import prospect
from wpaudit.firewalls.netfilter.prospect import renewed
from wpaudit.firewalls.netfilter.reading import SECONDS
from wpaudit.firewalls.netfilter.reading import Account
from wpaudit.firewalls.netfilter.reading import Read
from wpaudit.firewalls.netfilter.reading import Reader
from wpaudit.firewalls.netfilter.reading import account_of
from wpaudit.firewalls.netfilter.reading import look_argv
from wpaudit.firewalls.netfilter.reading import opening
from wpaudit.firewalls.netfilter.remedy import remedies
from wpaudit.firewalls.netfilter.rules import NFT
from wpaudit.firewalls.netfilter.rules import Rule
from wpaudit.firewalls.netfilter.rules import Ruleset
from wpaudit.firewalls.netfilter.rules import hooks
from wpaudit.firewalls.netfilter.shadow import PORTS
from wpaudit.firewalls.netfilter.suspects import NAME
from wpaudit.firewalls.netfilter.suspects import RULES
from wpaudit.firewalls.netfilter.suspects import suspect_of
from wpaudit.firewalls.netfilter.suspects import suspected
from wpaudit.firewalls.netfilter.switching import Holding
from wpaudit.firewalls.netfilter.switching import NetfilterSwitcher
from wpaudit.firewalls.netfilter.switching import Way
from wpaudit.firewalls.netfilter.switching import answered
from wpaudit.firewalls.netfilter.switching import arm
from wpaudit.firewalls.netfilter.switching import keeping
from wpaudit.firewalls.netfilter.switching import shadowed
from wpaudit.firewalls.reading import Garbled
from wpaudit.firewalls.switching import recovered
from wpaudit.firewalls.switching import warded
from wpaudit.firewalls.warden import Done
from wpaudit.firewalls.warden import Warden
from wpaudit.ports import Dialing
from wpaudit.ports import Ground
from wpaudit.ports import Layer
from wpaudit.ports import Switcher
from wpaudit.signals import shielded

JUST_NOW = 60.0  # seconds within which the site has failed, since somebody asks why
ASKED = 3  # requests to the shadow that have to work before probes go another way
_SUDO = ('sudo', '-n')  # for a program by itself, as sudoers may name it


@dataclass(frozen=True)
class _Known:
    """What was read, and what could be done. ``ground`` is root's; None where the login may not act so, and ``why``."""

    read: Read
    suspects: tuple[Suspected, ...] = ()
    gaps: tuple[Gap, ...] = ()
    prospect: Prospect = field(default_factory=Prospect)
    ground: Ground | None = None
    why: str = ''


class NetfilterLayer:
    """``ports.Layer`` for nftables and every kind of iptables on one host. Rules are read once, and again to switch."""

    name = NAME

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._found: _Known | None = None

    def listing(self) -> tuple[tuple[Suspect, ...], tuple[Gap, ...]]:
        """List the rules that can be suspects and what could not be read. Changes nothing."""
        try:
            known = self._known()
        except (CommandTimeout, Garbled) as error:
            return (), (Gap(RULES, error.message),)
        stuck, live_only = known.prospect.stuck, known.prospect.live_only
        found = (
            replace(one, stuck=known.why or stuck.get(one.id, ''), live_only=live_only.get(one.id, ''))
            for one in (suspect_of(rule, at, known.read.ruleset.sets) for rule, at in known.suspects)
        )
        return tuple(found), (*known.gaps, *_told_by_address(known))

    def evidence(self) -> tuple[tuple[Evidence, ...], tuple[Gap, ...]]:
        """Say which rules could be what nginx complains of at the end of its error logs."""
        known = self._known()
        if known.ground is None or not known.suspects:
            return (), ()
        lines = ends_of(known.ground.shell, known.prospect.logs)
        account = known.read.account
        found = clues.evidence(lines, known.read.ruleset, local=account.local, ssh_ports=account.ssh_ports)
        return tuple(one for one in found if one.suspects), ()

    @contextmanager
    def switching(self, mode: Mode) -> Iterator[Switcher]:
        """Put the rules behind guards until the exit. Raises ModeUnavailable, with nothing changed."""
        known = self._known()
        ground = known.ground or rooted(self._ground)
        read = Reader(ground.shell).read_by(known.read.account)
        plans = known.prospect
        live = mode is Mode.LIVE
        shade = None if live or plans.shade is None else renewed(self._ground, ground.shell, plans.shade)
        guards = _guards(known, read, Who(everybody=True) if live else plans.who, live=live)
        if not guards:
            raise ModeUnavailable(f'no rule of the packet filter can be switched {mode.value}')
        with ExitStack() as stack:
            warden, make = stack.enter_context(
                warded(ground, NAME, lambda _directory: keeping(guards, read.ruleset.rules, shade)))
            way = Way()
            if shade is not None and isinstance(self._ground.shell, Dialing):
                client = next((str(one) for one in own(Who(addresses=plans.who.addresses))), '')
                way = stack.enter_context(
                    shadowed(warden, shade, self._ground.shell, address=plans.who.loopback, client=client))
                way = self._chosen(way, warden, known, direct=bool(client))
            with shielded():
                arm(warden, guards, read.ruleset.rules)
            yield NetfilterSwitcher(make(mode, lambda _off: (), parallel=False), Holding(warden, guards), way)

    def _chosen(self, way: Way, warden: Warden, known: _Known, *, direct: bool) -> Way:
        """Return the way through the shadow, unless it works: then what fails is in front of nginx."""
        requests = self._ground.requests
        if not direct or not all(map(repeatable, requests)):
            return way
        ask = [partial(status, replace(one, headers=(*one.headers, *way.fields), via=way.via)) for one in requests]
        if not all(answered(one, ASKED) for one in ask):
            return way
        logs = (f'{warden.directory}/shadow.log', *known.prospect.logs)
        lines = ends_of((known.ground or self._ground).shell, logs)
        return way if any(map(clues.failure_in, clues.recent(lines, JUST_NOW))) else Way()

    def _known(self) -> _Known:
        if self._found is None:
            # Who logs in from where is asked without sudo, which does not hand that on.
            account = account_of(self._ground.shell.run(look_argv(), timeout=SECONDS).stdout)
            try:
                ground = rooted(self._ground)
            except ModeUnavailable as error:
                self._found = self._only_read(account, error.message)
                return self._found
            read = Reader(ground.shell).read_by(account)
            suspects, gaps = suspected(read)
            plans = prospect(self._ground, ground.shell, read, suspects) if suspects else Prospect()
            self._found = _Known(read, suspects, gaps, plans, ground)
        return self._found

    def _only_read(self, account: Account, why: str) -> _Known:
        """Read what a login may that is not root: sudoers may allow to list the rules and nothing else."""
        if self._ground.sudo:
            read = Reader(Acting(self._ground.shell, _SUDO)).read_by(account)
            if read.ruleset.chains:
                return _Known(read, *suspected(read), why=why)
        line = opening(account)
        how = 'this line in sudoers opens them' if self._ground.sudo else 'use --sudo, with this line in sudoers'
        told = f'only root may read them; {how}: {line}'
        return _Known(Read(Ruleset(), (), account), gaps=(Gap(RULES, told),) if line else (), why=why)


def layer_of(ground: Ground) -> Layer:
    """Return the layer of one site."""
    return NetfilterLayer(ground)


def restored(ground: Ground) -> Done | None:
    """Put back what an interrupted run left of the packet filter; None when it left nothing."""
    return recovered(ground, NAME)


def advice(ground: Ground, rule: Suspect, path: str) -> tuple[str, ...]:
    """Return commands that let the site's own packets pass a rule, the gentlest first, then where it is kept."""
    layer = NetfilterLayer(ground)
    known = layer._known()
    found = next(((one, at) for one, at in known.suspects if one.id == rule.id), None)
    if found is None:
        return ()
    account = known.read.account
    lines = ends_of(known.ground.shell, known.prospect.logs) if known.ground else []
    packet = clues.packet_of(lines, found[0], found[1], known.read.ruleset.sets, account.local)
    return remedies(found[0], packet or _visit(ground, account.client), known.read.ruleset.sets)


def _visit(ground: Ground, client: str) -> Packet:
    url = urlsplit(ground.url)
    return Packet(saddr=client, dport=url.port or PORTS.get(url.scheme, 0))


def _told_by_address(known: _Known) -> Iterator[Gap]:
    """Say so where rules are off for an address that a proxy in front of the site would hide."""
    who = known.prospect.who
    mine = own(Who(addresses=who.addresses))
    if mine and any(By.SOURCE in ways(rule, at, who) for rule, at in known.suspects):
        yield Gap(
            'netfilter rules for incoming packets',
            f'are switched for {mine[0]} alone, as which sshd sees us; behind a proxy or CDN of the site they stay on, '
            'and --mode live is what switches them',
        )


def _guards(known: _Known, read: Read, who: Who, *, live: bool) -> tuple[Guard, ...]:
    """Return guards for the suspects as they stand now. What somebody has taken away since is off for everybody."""
    reached = hooks(read.ruleset)
    plans = known.prospect
    wanted = [
        rule for rule, _ in known.suspects
        if rule.id not in plans.stuck and (live or rule.id not in plans.live_only)
    ]
    found = [(rule, reached.get(rule.home, frozenset())) for rule in _standing(wanted, read.ruleset.rules)]
    guards, _ = guarded(found, secrets.token_hex(4), who)
    return tuple(
        guard if guard.rule.tool == NFT
        else replace(guard, spelling=plans.spelled.get((guard.rule.home, guard.rule.text), ''))
        for guard in guards
    )


def _standing(wanted: list[Rule], now: tuple[Rule, ...]) -> Iterator[Rule]:
    """Yield the rules that were listed as they are now, counters and all, under the ids that they were listed by.

    nft has handles; of iptables' rules only the text stays what it was when somebody else inserts one.
    """
    by_handle = {(rule.home, rule.place): rule for rule in now if rule.tool == NFT}
    taken: set[int] = set()
    for rule in wanted:
        if rule.tool == NFT:
            found = by_handle.get((rule.home, rule.place))
            if found is not None and uncounted(found.text) == uncounted(rule.text):
                yield found
            continue
        twins = (one for one in now if one.home == rule.home and one.text == rule.text and id(one) not in taken)
        found = min(twins, key=lambda one: abs(one.place - rule.place), default=None)
        if found is not None:
            taken.add(id(found))
            yield replace(found, listed=rule.id)
