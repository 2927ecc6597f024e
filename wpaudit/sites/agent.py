"""Talk to the agent: one PHP process on the host, one JSON line a question, one a answer.

The protocol is documented in ``docs/architecture.md``; the other end is ``php/agent.php``.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from collections.abc import Mapping
from contextlib import suppress

from wpaudit.errors import CommandTimeout
from wpaudit.errors import ConnectionLost
from wpaudit.errors import ModeUnavailable
from wpaudit.errors import NotRestored
from wpaudit.errors import ShellError
from wpaudit.errors import SiteBusy
from wpaudit.errors import SiteError
from wpaudit.errors import Unfinished
from wpaudit.errors import UsageError
from wpaudit.errors import WpauditError
from wpaudit.ports import Process
from wpaudit.ports import Shell
from wpaudit.sites.launch import GRACE
from wpaudit.sites.launch import LaunchOptions
from wpaudit.sites.launch import agent_source
from wpaudit.sites.launch import ended
from wpaudit.sites.launch import launch
from wpaudit.sites.said import Said
from wpaudit.sites.said import parsed

PROTOCOL = (1, 1)       # oldest and newest protocol this client speaks
PATIENCE = 30           # seconds of silence after which the agent puts everything back
BEAT = 5.0              # seconds between signs of life
ANSWER_SECONDS = 30.0
START_SECONDS = 60.0
NOISE_BYTES = 16 << 20  # what other code may print between two answers
LINE_BYTES = 100        # what a line costs besides its length: many short ones take long to read


class Agent:
    """The running agent. Thread-safe: one question is under way at a time."""

    def __init__(
        self, shell: Shell, options: LaunchOptions, *, bare: bool = False,
        started: Callable[[Process], None] = lambda process: None,
    ) -> None:
        """Start it and agree on a protocol. Raises SiteError, with nothing changed on the host.

        A ``bare`` one leaves WordPress alone until ``load``, so that it runs where WordPress cannot.
        """
        self._bare = bare
        self._sentinel = f'@{secrets.token_hex(8)}:'
        self._lock = threading.Lock()
        self._number = 0
        self.round_trips = 0
        self.launched = launch(shell, options, started)
        self._process = self.launched.process
        self._quiet = threading.Event()
        try:
            hello = self._greet()
            self.pid = hello.whole('pid', least=1)
            self.clock = hello.number('time') - time.time()  # how far the host's clock is ahead, seconds
        except BaseException:
            self._process.end(grace=GRACE)
            raise
        self._beating = threading.Thread(target=self._beat, name='wpaudit-heartbeat', daemon=True)
        self._beating.start()

    def _greet(self) -> Said:
        greeting = json.dumps({
            'sentinel': self._sentinel, 'patience': PATIENCE, 'protocol': PROTOCOL, 'bare': self._bare,
        })
        encoded = base64.b64encode(greeting.encode()).decode()
        text = f"{agent_source()}\nWpaudit_Agent::serve(json_decode(base64_decode('{encoded}'), true));".encode()
        with suppress(ConnectionLost):  # when it is gone already, what it printed says more
            self._process.send(b'%d\n%s' % (len(text), text))
        return self._answer(0, START_SECONDS, starting=True)

    def load(self) -> None:
        """Let a bare one load WordPress; others have. Raises SiteError as a start does, and is gone then."""
        with self._lock:
            if self._bare:
                self._asked('load', {}, START_SECONDS, starting=True)
                self._bare = False

    def ask(self, op: str, *, seconds: float = ANSWER_SECONDS, **fields: object) -> Said:
        """Return the result of one operation.

        Raises ConnectionLost when the agent is gone, CommandTimeout when it does not answer in time,
        or what its refusal means.
        """
        with self._lock:
            return self._asked(op, fields, seconds)

    def _asked(self, op: str, fields: Mapping[str, object], seconds: float, *, starting: bool = False) -> Said:
        self._number += 1
        self.round_trips += 1
        line = json.dumps({'id': self._number, 'op': op, **fields}) + '\n'
        self._process.send(line.encode())
        return self._answer(self._number, seconds, starting=starting)

    def _answer(self, number: int, seconds: float, *, starting: bool = False) -> Said:
        deadline = time.monotonic() + seconds
        noise: deque[str] = deque(maxlen=50)
        room = NOISE_BYTES
        while room > 0:
            try:
                line = self._process.receive(timeout=max(0.01, deadline - time.monotonic()))
            except CommandTimeout as error:
                hint = 'does `wp eval 1` hang there?'
                raise SiteError(f'WP-CLI did not answer within {seconds:.0f} s', hint=hint) from error
            if not line:
                if starting:
                    raise ended(self._process, ''.join(noise))
                raise ConnectionLost('the agent on the host ended')
            room -= len(line) + LINE_BYTES
            _, found, payload = line.decode('utf-8', 'replace').partition(self._sentinel)
            if not found:
                noise.append(line.decode('utf-8', 'replace'))
                continue
            answer = parsed(payload)
            if answer.whole('id') == number:
                return _result(answer)
        raise SiteError('other code on the host prints without end into the answers of the agent')

    def _beat(self) -> None:
        while not self._quiet.wait(BEAT):
            try:
                self.ask('ping')
            except WpauditError:
                return  # the next real question says so

    def close(self) -> None:
        """Send end of file: the agent puts back whatever is not yet put back, and leaves. Idempotent."""
        self._quiet.set()
        with suppress(ShellError):
            self._process.end()


def _result(answer: Said) -> Said:
    if answer.has('error'):
        error = answer.part('error')
        raise refusal(error.text('code'), error.text('message'))
    return answer.part('result')


REFUSALS: dict[str, Callable[[str], WpauditError]] = {
    'busy': lambda message: busy(parsed(message)),
    'unfinished': lambda message: unfinished(parsed(message)),
    'no-must-use': ModeUnavailable,
    'read-only': ModeUnavailable,
    'no-write': ModeUnavailable,
    'no-child': SiteError,
    'no-tls': SiteError,
    'no-user': lambda message: UsageError(message, hint='list them with: wp user list'),
    'foreign': lambda message: NotRestored(message, hint='only what wpaudit had switched off is switched on again'),
    'protocol': lambda message: SiteError(f'the agent and this wpaudit do not understand each other: {message}'),
}


def refusal(code: str, message: str) -> WpauditError:
    """Return the error that an agent's refusal means."""
    meaning = REFUSALS.get(code)
    return meaning(message) if meaning else SiteError(f'the agent on the host refused: {message}')


def busy(run: Said) -> SiteBusy:
    """Say that another run holds the site."""
    return SiteBusy(f'another wpaudit run holds this site: {_who(run)}', hint='wait until it has ended')


def unfinished(run: Said) -> Unfinished:
    """Say that an interrupted run is waiting to be finished."""
    return Unfinished(
        f'an earlier wpaudit run was interrupted and is not put back yet: {_who(run)}',
        hint='put it back with: wpaudit restore --host TARGET',
    )


def _who(run: Said) -> str:
    started = time.strftime('%Y-%m-%d %H:%M:%S UTC', time.gmtime(run.whole('started')))
    return f'{run.text("by") or "somebody"}, started {started}, {run.text("mode") or "starting"} mode'
