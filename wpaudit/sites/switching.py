"""Switch plugins on one site, isolated or live, and put everything back.

``switched_site`` is the only way in: snapshot and journal on the host, journal here, watchdog, harness;
at exit whatever happens: put back, read back, compare, and only then forget.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from typing import Any

from wpaudit.domain import Answer
from wpaudit.domain import Mark
from wpaudit.domain import Mode
from wpaudit.domain import Recording
from wpaudit.domain import Request
from wpaudit.domain import Restoration
from wpaudit.errors import ModeUnavailable
from wpaudit.errors import NoOtherTheme
from wpaudit.errors import NotRestored
from wpaudit.errors import ShellError
from wpaudit.errors import SiteError
from wpaudit.errors import WpauditError
from wpaudit.ports import Journal
from wpaudit.ports import Observation
from wpaudit.ports import Shell
from wpaudit.signals import shielded
from wpaudit.sites.agent import PATIENCE
from wpaudit.sites.agent import Agent
from wpaudit.sites.launch import agent_source
from wpaudit.sites.launch import php_text
from wpaudit.sites.readings import Seen
from wpaudit.sites.readings import costs
from wpaudit.sites.readings import readings
from wpaudit.sites.recording import parsed
from wpaudit.sites.said import Said
from wpaudit.sites.said import encoded

HEADER = 'X-Wpaudit'
MARK_HEADER = 'x-wpaudit-mark'
SIGNED_SECONDS = 300   # how long one signed request stays good
WATCHDOG_PATIENCE = 3 * PATIENCE
NUMBER = re.compile('[0-9]{1,9}')

RECOVERY = """<?php
if ( ! class_exists( 'WP_CLI', false ) ) {
	exit;
}
%s
Wpaudit_Agent::recover();
"""

# Detached and deaf to everything, so that it outlives the connection that started it.
BACKGROUND = 'if command -v setsid >/dev/null; then set -- setsid "$@"; fi; "$@" </dev/null >/dev/null 2>&1 &'


@dataclass(frozen=True)
class Key:
    """What one run signs with. ``suspects`` gives each id its bit; ``clock`` is the host's lead in seconds."""

    secret: bytes
    suspects: tuple[str, ...]
    clock: float

    def header(
        self, nonce: str, off: frozenset[str], *, theme: bool, record: bool = False, cron: bool = False,
    ) -> str:
        """Return the value of ``X-Wpaudit`` for one request: HMAC-SHA-256 (RFC 2104) over five fields."""
        expires = int(time.time() + self.clock) + SIGNED_SECONDS
        flags = 't' * theme + 'r' * record + 'c' * cron
        fields = f'v1;{nonce};{expires};{self.mask(off)};{flags}'
        return f'{fields};{hmac.new(self.secret, fields.encode(), hashlib.sha256).hexdigest()}'

    def mask(self, off: frozenset[str]) -> str:
        """Return one bit a suspect, most significant first, as base64url without padding (RFC 4648)."""
        bits = bytearray((len(self.suspects) + 7) // 8)
        for number, suspect in enumerate(self.suspects):
            if suspect in off:
                bits[number >> 3] |= 0x80 >> (number & 7)
        return base64.urlsafe_b64encode(bytes(bits)).decode().rstrip('=')

    def proves(self, nonce: str, value: str) -> int | None:
        """Return how many suspects were off, when the answer's mark header is genuine."""
        seen, _, proof = value.partition(';')
        signed = f'mark;{nonce};{seen}'.encode('utf-8', 'surrogateescape')
        expected = hmac.new(self.secret, signed, hashlib.sha256).hexdigest()[:32].encode()
        genuine = hmac.compare_digest(expected, proof.encode('utf-8', 'surrogateescape'))
        return int(seen) if genuine and NUMBER.fullmatch(seen) else None


@dataclass(frozen=True)
class SignedStep:
    """One probe's set, as headers. Marks are read from the answer, or else from the host."""

    agent: Agent
    key: Key
    off: frozenset[str]
    theme: bool
    cookies: tuple[tuple[str, str], ...]
    live: bool
    record: bool = False
    cron: bool = False  # run the events that are due
    recorded: list[str] = field(default_factory=list)  # nonces, in order

    def prepare(self, request: Request) -> Request:
        """Return the request signed; every call makes a nonce of its own."""
        nonce = secrets.token_hex(12)
        if self.record:
            self.recorded.append(nonce)
        flags = {'theme': self.theme, 'record': self.record, 'cron': self.cron}
        header = (HEADER, self.key.header(nonce, self.off, **flags))
        return replace(request, headers=(*request.headers, header), cookies=(*request.cookies, *self.cookies))

    def mark(self, request: Request, answer: Answer) -> Mark:
        """Return what PHP noted. A good answer carries its mark; only a bad one costs a round trip."""
        nonce = dict(request.headers)[HEADER].split(';')[1]
        off = self.key.proves(nonce, answer.headers.get(MARK_HEADER, ''))
        mark = Mark(seen=True, stage='loaded', off=off) if off is not None else self._noted(nonce)
        return replace(mark, off=len(self.off)) if self.live else mark  # the row itself says who is off

    def _noted(self, nonce: str) -> Mark:
        return parsed_mark(self.agent.ask('mark', nonce=nonce).text('text'))

    def recording(self, seen: Observation) -> Recording | None:
        """Read what the recorder left on the host of the last request: the one that failed, if any did."""
        if not self.recorded:
            return None
        said = self.agent.ask('recording', nonce=self.recorded[-1])
        read = (parsed(text, self.key.suspects, ended=said.flag('ended')) for text in said.raws('parts'))
        parts = [part for part in read if part is not None]
        return Recording(readings(parts, _last_seen(seen)), costs(parts)) if parts else None


@dataclass(frozen=True)
class BareStep:
    """A live probe on a host where no must-use plugin could be put: requests go out as they are."""

    def prepare(self, request: Request) -> Request:
        """Return the request as it is."""
        return request

    def mark(self, request: Request, answer: Answer) -> None:
        """Leave no mark."""

    def recording(self, seen: Observation) -> None:
        """Record nothing."""


def _last_seen(seen: Observation) -> Seen:
    if not seen.answers:
        return Seen(seconds=seen.seconds)
    answer = seen.answers[-1]
    return Seen(answer.status, answer.error, answer.truncated, answer.seconds)


def parsed_mark(noted: str) -> Mark:
    """Read the lines ``STAGE COUNT`` that one request left on the host."""
    lines = [line.split() for line in noted.splitlines()]
    noted_lines = [line for line in lines if len(line) == 2 and NUMBER.fullmatch(line[1])]  # noqa: PLR2004 - two words
    if not noted_lines:
        return Mark(seen=False)
    stages = {line[0] for line in noted_lines}
    stage = noted_lines[-1][0]
    if stage == 'ended' and 'loaded' not in stages:
        stage = 'left'  # exit while plugins were being included
    return Mark(seen=True, stage=stage, off=max(int(line[1]) for line in noted_lines))


class PluginSwitcher:
    """The switcher of one prepared site; made by ``switched_site``."""

    def __init__(
        self, agent: Agent, mode: Mode, key: Key, cookies: Sequence[tuple[str, str]], *, cron: bool = False,
    ) -> None:
        self.mode = mode
        self._cron = cron
        self.parallel = mode is Mode.ISOLATED
        self.armed = False
        self.theme = False  # whether one can stand in for the active one
        self._agent = agent
        self._key = key
        self._cookies = tuple(cookies)
        self._restoration: Restoration | None = None

    @property
    def records(self) -> bool:
        """Tell whether the must-use plugin, which the recorder needs, is there."""
        return self.armed

    @property
    def certain(self) -> bool:
        """Tell whether requests leave marks, by which a failure of PHP is told from any other."""
        return self.armed

    @contextmanager
    def switched(
        self, off: frozenset[str], *, theme: bool = False, record: bool = False,
    ) -> Iterator[SignedStep | BareStep]:
        """Hold exactly ``off`` off. Isolated: by header, nothing changes. Live: the rows are written and stay so."""
        if theme and not self.theme:
            raise NoOtherTheme('no other theme of WordPress\'s own is installed, to stand in for it')
        if theme and not self.armed:
            raise NoOtherTheme('that needs the must-use plugin, which cannot be put there')
        if self.mode is Mode.LIVE:
            self._agent.ask('switch', off=[encoded(suspect) for suspect in sorted(off)])
        if self.armed:
            live = self.mode is Mode.LIVE
            yield SignedStep(
                self._agent, self._key, off, theme, self._cookies, live=live, record=record, cron=self._cron)
        else:
            yield BareStep()

    def exemptions(self, rules: frozenset[str]) -> tuple[()]:
        """Know nothing narrower than to switch a plugin off."""
        return ()

    def restoration(self) -> Restoration:
        """Return how the site was left."""
        return self._restoration or Restoration(verified=False, message='the run has not been put back yet')

    def settle(self, restoration: Restoration) -> None:
        """Note how the site was left."""
        self._restoration = restoration


@dataclass(frozen=True)
class Setting:
    """What ``switched_site`` needs besides the agent. Times in seconds."""

    mode: Mode
    suspects: tuple[str, ...]
    cookies: tuple[tuple[str, str], ...]
    seconds: float
    by: str
    path: str
    cron: bool = False  # let each request run the events that are due


@contextmanager
def switched_site(
    agent: Agent, shell: Shell, journal: Journal, setting: Setting, *, again: Callable[[], Agent],
) -> Iterator[PluginSwitcher]:
    """Prepare the site for switching; put back, verify and tidy up at exit.

    ``again`` connects anew when the connection broke. Raises ModeUnavailable with nothing changed, NotRestored when
    it could not begin and what it had put on the host may still be there.
    """
    key = Key(secrets.token_bytes(32), setting.suspects, agent.clock)
    switcher = PluginSwitcher(agent, setting.mode, key, setting.cookies, cron=setting.cron)
    prepared: Prepared | None = None
    begun = False
    try:
        with shielded():
            prepared = _prepare(agent, key, setting)
            switcher.theme = prepared.theme
            journal.opened(_entry(prepared, setting))
            _watch(shell, agent, prepared, setting)
            switcher.armed = _arm(agent, setting.mode)
        begun = True
        yield switcher
    finally:
        if prepared is not None:
            with shielded():
                switcher.settle(_put_back(agent, prepared, again))
                done = switcher.restoration()
                if done.verified:
                    journal.closed()
                elif not begun:
                    raise NotRestored(f'the run could not begin, and was not undone: {done.message}', hint=done.advice)


@dataclass(frozen=True)
class Prepared:
    """Where the host keeps the run, and the snapshot it took."""

    directory: str
    must_use: str
    made: bool  # the directory of the must-use plugin is ours too
    rows: list[Any]
    digest: str
    theme: bool  # one is installed that can stand in for the active one


def _prepare(agent: Agent, key: Key, setting: Setting) -> Prepared:
    said = agent.ask(
        'prepare', mode=setting.mode.value, token=secrets.token_hex(6), secret=secrets.token_hex(12),
        key=base64.b64encode(key.secret).decode(), suspects=[encoded(suspect) for suspect in setting.suspects],
        lifetime=int(setting.seconds), by=setting.by, source=RECOVERY % agent_source(),
    )
    return Prepared(
        said.raw('dir'), said.raw('must_use'), said.flag('made'), said.plain('rows'), said.text('digest'),
        said.flag('theme'),
    )


def _entry(prepared: Prepared, setting: Setting) -> dict[str, object]:
    return {
        'mode': setting.mode.value, 'path': setting.path, 'by': setting.by, 'directory': prepared.directory,
        'must_use': prepared.must_use, 'rows': prepared.rows, 'digest': prepared.digest,
    }


def _watch(shell: Shell, agent: Agent, prepared: Prepared, setting: Setting) -> None:
    launched = agent.launched
    result = shell.run([
        *launched.become, 'sh', '-c', BACKGROUND, 'wpaudit', 'sh', '-c', php_text('watchdog.sh'), 'wpaudit-watchdog',
        prepared.directory, str(agent.pid), str(WATCHDOG_PATIENCE), prepared.must_use,
        'made' if prepared.made else 'kept', setting.mode.value, *launched.wp, f'--path={launched.path}',
    ], timeout=20)
    if result.status:
        raise SiteError('the watchdog could not be started on the host, so nothing was switched')


def _arm(agent: Agent, mode: Mode) -> bool:
    try:
        agent.ask('arm', template=encoded(php_text('isolate.php')), recorder=encoded(php_text('recorder.php')))
    except ModeUnavailable:
        if mode is Mode.ISOLATED:
            raise
        agent.ask('hold-cron')
        return False
    return True


def _put_back(agent: Agent, prepared: Prepared, again: Callable[[], Agent]) -> Restoration:
    try:
        return restoration(agent.ask('finish', seconds=60))
    except (ShellError, SiteError) as error:
        return _put_back_anew(str(error), prepared, again)


def _put_back_anew(reason: str, prepared: Prepared, again: Callable[[], Agent]) -> Restoration:
    """The connection broke: the agent or the watchdog puts back by itself. Look, finish, compare."""
    before = prepared.digest
    try:
        agent = again()
        try:
            found = agent.ask('recover', seconds=60)
        finally:
            agent.close()
        if found.flag('found'):
            return restoration(found)
        after = found.text('digest')
    except WpauditError as error:
        return Restoration(
            verified=False, before=before, left_behind=(prepared.directory, prepared.must_use),
            message=f'the connection broke ({reason}) and could not be made again ({error}); '
                    'the host puts itself back, but nobody has seen it',
            advice='wpaudit restore --host TARGET',
        )
    same = after == before
    return Restoration(
        verified=same, before=before, after=after,
        message='' if same else 'the connection broke; nothing of wpaudit is left, but the plugins are not as before',
        advice='' if same else 'compare the journal of the run with: wp option get active_plugins',
    )


def restoration(done: Said) -> Restoration:
    """Read the agent's account of putting back."""
    changes = done.parts('foreign')
    verified = done.flag('verified')
    message = ''
    if changes:
        message = (
            f'somebody else changed {", ".join(change.text("name") for change in changes)} during the run; wpaudit '
            'switched on again what it had switched off, and touched nothing else'
        )
    elif done.has('changed_by_others') and done.flag('changed_by_others') and verified:
        message = 'somebody else changed the plugin list during the run; wpaudit wrote nothing to it'
    elif not verified:
        message = 'the state read back differs from the snapshot'
    return Restoration(
        verified=verified, before=done.text('before'), after=done.text('after'),
        left_behind=done.texts('left'), changed_seconds=max(0.0, done.number('seconds')), message=message,
        advice='' if verified else _by_hand(changes),
    )


def _by_hand(changes: Sequence[Said]) -> str:
    """Say what to type to get the state of before, when wpaudit may not decide it."""
    if not changes:
        return 'wpaudit restore --host TARGET'
    return f'the value before the run was: {changes[0].raw("before")}'
