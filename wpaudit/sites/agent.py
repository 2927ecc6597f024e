"""Talk to the agent: one PHP process on the host, one JSON line a question, one a answer.

The protocol is documented in ``docs/architecture.md``; the other end is ``php/agent.php``.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from collections.abc import Callable
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

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
from wpaudit.ports import Shell
from wpaudit.sites.launch import LaunchOptions
from wpaudit.sites.launch import agent_source
from wpaudit.sites.launch import ended
from wpaudit.sites.launch import launch

PROTOCOL = (1, 1)       # oldest and newest protocol this client speaks
PATIENCE = 30           # seconds of silence after which the agent puts everything back
BEAT = 5.0              # seconds between signs of life
ANSWER_SECONDS = 30.0
START_SECONDS = 60.0
NOISE_BYTES = 16 << 20  # what other code may print between two answers


class Agent:
    """The running agent. Thread-safe: one question is under way at a time."""

    def __init__(self, shell: Shell, options: LaunchOptions) -> None:
        """Start it and agree on a protocol. Raises SiteError, with nothing changed on the host."""
        self._sentinel = f'@{secrets.token_hex(8)}:'
        self._lock = threading.Lock()
        self._number = 0
        self.round_trips = 0
        self.launched = launch(shell, options)
        self._process = self.launched.process
        self._quiet = threading.Event()
        try:
            hello = self._greet()
        except BaseException:
            self._process.end()
            raise
        self.pid = int(hello['pid'])
        self.clock = float(hello['time']) - time.time()  # how far the host's clock is ahead, seconds
        self._beating = threading.Thread(target=self._beat, name='wpaudit-heartbeat', daemon=True)
        self._beating.start()

    def _greet(self) -> dict[str, Any]:
        greeting = json.dumps({'sentinel': self._sentinel, 'patience': PATIENCE, 'protocol': PROTOCOL})
        encoded = base64.b64encode(greeting.encode()).decode()
        text = f"{agent_source()}\nWpaudit_Agent::serve(json_decode(base64_decode('{encoded}'), true));".encode()
        with suppress(ConnectionLost):  # when it is gone already, what it printed says more
            self._process.send(b'%d\n%s' % (len(text), text))
        return self._answer(0, START_SECONDS, starting=True)

    def ask(self, op: str, *, seconds: float = ANSWER_SECONDS, **fields: object) -> dict[str, Any]:
        """Return the result of one operation.

        Raises ConnectionLost when the agent is gone, CommandTimeout when it does not answer in time,
        or what its refusal means.
        """
        with self._lock:
            self._number += 1
            self.round_trips += 1
            line = json.dumps({'id': self._number, 'op': op, **fields}) + '\n'
            self._process.send(line.encode())
            return self._answer(self._number, seconds)

    def _answer(self, number: int, seconds: float, *, starting: bool = False) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        noise: list[str] = []
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
            room -= len(line)
            _, found, payload = line.decode('utf-8', 'replace').partition(self._sentinel)
            if not found:
                noise = [*noise[-50:], line.decode('utf-8', 'replace')]
                continue
            answer = _parsed(payload)
            if answer.get('id') == number:
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


def _parsed(payload: str) -> dict[str, Any]:
    try:
        answer = json.loads(payload)
    except ValueError as error:
        raise SiteError('the agent on the host sent an answer that is not JSON') from error
    if not isinstance(answer, dict):
        raise SiteError('the agent on the host sent an answer of the wrong shape')
    return answer


def _result(answer: Mapping[str, Any]) -> dict[str, Any]:
    error = answer.get('error')
    if error is not None:
        raise refusal(text(error.get('code')), text(error.get('message')))
    result = answer.get('result')
    if not isinstance(result, dict):
        raise SiteError('the agent on the host sent an answer without a result')
    return result


REFUSALS: dict[str, Callable[[str], WpauditError]] = {
    'busy': lambda message: busy(json.loads(message)),
    'unfinished': lambda message: unfinished(json.loads(message)),
    'no-must-use': ModeUnavailable,
    'read-only': ModeUnavailable,
    'no-write': ModeUnavailable,
    'no-user': lambda message: UsageError(message, hint='list them with: wp user list'),
    'foreign': lambda message: NotRestored(message, hint='only what wpaudit had switched off is switched on again'),
    'protocol': lambda message: SiteError(f'the agent and this wpaudit do not understand each other: {message}'),
}


def refusal(code: str, message: str) -> WpauditError:
    """Return the error that an agent's refusal means."""
    meaning = REFUSALS.get(code)
    return meaning(message) if meaning else SiteError(f'the agent on the host refused: {message}')


def busy(run: Mapping[str, Any]) -> SiteBusy:
    """Say that another run holds the site."""
    return SiteBusy(f'another wpaudit run holds this site: {_who(run)}', hint='wait until it has ended')


def unfinished(run: Mapping[str, Any]) -> Unfinished:
    """Say that an interrupted run is waiting to be finished."""
    return Unfinished(
        f'an earlier wpaudit run was interrupted and is not put back yet: {_who(run)}',
        hint='put it back with: wpaudit restore --host TARGET',
    )


def _who(run: Mapping[str, Any]) -> str:
    started = time.strftime('%Y-%m-%d %H:%M:%S UTC', time.gmtime(int(run.get('started') or 0)))
    return f'{text(run.get("by")) or "somebody"}, started {started}, {text(run.get("mode")) or "starting"} mode'


def text(value: object) -> str:
    """Decode a string of the agent: JSON text, or ``{"b64": ...}`` for bytes that are not UTF-8."""
    if isinstance(value, dict):
        return raw_text(value.get('b64'))
    return value if isinstance(value, str) else ''


def raw_text(value: object) -> str:
    """Decode base64 from the agent to a surrogateescape string."""
    try:
        return base64.b64decode(str(value or '')).decode('utf-8', 'surrogateescape')
    except ValueError:
        return ''


def encoded(value: str) -> str:
    """Encode a surrogateescape string as base64 for the agent."""
    return base64.b64encode(value.encode('utf-8', 'surrogateescape')).decode()
