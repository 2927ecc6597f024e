"""The warden: one ``sh`` process on the host that keeps changes to the machine's own configuration, and undoes them.

It is to the machine what the agent is to the site, with the same order of things: the way back is on the host's disk
and synced, a second keeper watches, and only then is anything changed. End of file, silence, the death of the first
keeper, ``wpaudit restore``: each of them puts everything back. What to run is a layer's affair (``Keeping``); every
script is sent as a file, so nothing of size or from the site is on a command line.
"""

from __future__ import annotations

import base64
import binascii
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources

from wpaudit.errors import CommandTimeout
from wpaudit.errors import ConnectionLost
from wpaudit.errors import ModeUnavailable
from wpaudit.errors import NotRestored
from wpaudit.errors import ShellError
from wpaudit.errors import SiteBusy
from wpaudit.errors import Unfinished
from wpaudit.errors import WpauditError
from wpaudit.ports import Shell
from wpaudit.signals import shielded

DIRECTORY = '/var/tmp/wpaudit-firewall'  # noqa: S108 - made by mkdir(2), which follows nothing; survives a reboot
BEAT = 5.0        # seconds between signs of life
PATIENCE = 30     # seconds of silence after which the second keeper puts everything back
ORDER_SECONDS = 60.0
UNDO_SECONDS = 180.0
LINES = 1000      # what a login shell may print before the first answer

RESTORE = 'wpaudit restore --host TARGET'


@dataclass(frozen=True)
class Done:
    """How a script on the host ended; at most a megabyte of what it printed."""

    status: int
    output: bytes

    @property
    def text(self) -> str:
        """What it printed; bytes that are not UTF-8 are kept (surrogateescape)."""
        return self.output.decode('utf-8', 'surrogateescape')


@dataclass(frozen=True)
class Keeping:
    """What a layer wants kept: ``undo`` is its way back, the scripts are what it will run; all of them POSIX sh.

    ``undo`` must be safe to run at any time, also twice and also when nothing was changed yet, must verify what it did,
    and must end with status 0 only when everything is as it was before. A script takes one word.
    """

    undo: str
    scripts: tuple[tuple[str, str], ...]


class Warden:
    """The running keeper of one run. Thread-safe: one order is under way at a time."""

    def __init__(self, shell: Shell, *, by: str, directory: str = DIRECTORY, patience: int = PATIENCE) -> None:
        """Start it. Raises SiteBusy or Unfinished for another run on this machine, ModeUnavailable without tools."""
        self.directory = directory
        self._patience = patience
        self._word = secrets.token_hex(8)
        self._lock = threading.Lock()
        self._quiet = threading.Event()
        self._late = False  # an answer is still to come, and would be taken for that of the next order
        self.round_trips = 0
        self.told = ''  # what the way back said when all was well
        who = base64.b64encode(by.encode('utf-8', 'surrogateescape')).decode()
        self._process = shell.start(_argv(directory, self._word, who, 'open'))
        try:
            state, output = self._answer(ORDER_SECONDS)
            if state != 'open':
                raise _refusal(state, output, directory)
        except BaseException:
            self._process.end(grace=1.0)
            raise
        self._beating = threading.Thread(target=self._beat, name='wpaudit-warden', daemon=True)
        self._beating.start()

    def keep(self, keeping: Keeping) -> None:
        """Put the way back on disk and start the second keeper: from now on there is one, whatever happens."""
        for name, text in (*keeping.scripts, ('put-back', _text('put-back.sh')), ('guard', _text('guard.sh'))):
            self._put(name, text)
        self._put('undo', keeping.undo)  # last: with it the run can be undone, and has to be
        if self._order(f'watch {self._patience}').status:
            raise ShellError('the second keeper could not be started on the host, so nothing was changed')

    def act(self, name: str, text: str = '', *, seconds: float = ORDER_SECONDS) -> Done:
        """Run one of the kept scripts with ``text`` as its input."""
        return self._order(f'act {name}', text.encode('utf-8', 'surrogateescape'), seconds=seconds)

    def put_back(self) -> Done:
        """Run the way back. Status 0: all is as it was, and nothing of the run is left."""
        done = self._order('undo', seconds=UNDO_SECONDS)
        if done.status == 0:
            self._quiet.set()
            self.told = done.text.strip()
        return done

    def close(self) -> None:
        """Send end of file: what is not yet put back is put back now. Idempotent."""
        self._quiet.set()
        with suppress(ShellError):
            self._process.end()

    def _put(self, name: str, text: str) -> None:
        if self._order(f'put {name}', text.encode('utf-8', 'surrogateescape')).status:
            raise ShellError(f'{self.directory} on the host cannot be written; nothing was changed')

    def _order(self, order: str, data: bytes | None = None, *, seconds: float = ORDER_SECONDS) -> Done:
        lines = [order] if data is None else [order, base64.b64encode(data).decode()]
        with self._lock:
            if self._late:
                raise ConnectionLost('the warden on the host did not answer in time')
            self.round_trips += 1
            self._late = True
            self._process.send(''.join(f'{line}\n' for line in lines).encode())
            state, output = self._answer(seconds)
            self._late = False
        if not state.isdecimal():
            raise ShellError(f'the warden on the host said {state!r}')
        return Done(int(state), output)

    def _answer(self, seconds: float) -> tuple[str, bytes]:
        for _ in range(LINES):
            line = self._process.receive(timeout=seconds)
            if not line:
                raise ConnectionLost('the warden on the host ended')
            state = _parsed(line, self._word)
            if state is not None:
                return state
        raise ShellError('the login shell of the host prints without end')

    def _beat(self) -> None:
        while not self._quiet.wait(BEAT):
            try:
                self._order('beat')
            except WpauditError:
                return  # the next real order says so


def _parsed(line: bytes, word: str) -> tuple[str, bytes] | None:
    """Read ``@WORD STATUS OUTPUT``; None when the line is something else."""
    _, found, rest = line.decode('ascii', 'replace').strip().partition(f'@{word} ')
    if not found:
        return None
    state, _, output = rest.partition(' ')
    try:
        return state, base64.b64decode(output, validate=True)
    except binascii.Error as error:
        raise ShellError(f'the warden on the host said something that cannot be read: {error}') from error


@contextmanager
def kept(warden: Warden, keeping: Keeping) -> Iterator[None]:
    """Hold the way back open; take it at exit. Raises NotRestored when the machine is not as it was."""
    begun = False
    try:
        with shielded():
            warden.keep(keeping)
        begun = True
        yield
    finally:
        with shielded():
            _put_back(warden, begun=begun)


def _put_back(warden: Warden, *, begun: bool) -> None:
    try:
        done = warden.put_back()
    except (CommandTimeout, ConnectionLost, ShellError) as error:
        raise NotRestored(
            f'the connection to the host broke ({error}); it puts its configuration back by itself, but nobody has '
            'seen it', hint=RESTORE,
        ) from error
    if done.status:
        what = 'the configuration of the machine' if begun else 'what the run had put on the machine'
        raise NotRestored(f'{what} could not be put back: {done.text.strip()[-500:]}', hint=RESTORE)


def recover(shell: Shell, *, directory: str = DIRECTORY) -> Done | None:
    """Put back what an interrupted run left on the machine; None when it left nothing. Raises SiteBusy."""
    word = secrets.token_hex(8)
    result = shell.run(_argv(directory, word, '', 'recover'), timeout=UNDO_SECONDS)
    for line in result.stdout.splitlines():
        said = _parsed(line, word)
        if said is None:
            continue
        state, output = said
        if state == 'nothing':
            return None
        if not state.isdecimal():
            raise _refusal(state, output, directory)
        return Done(int(state), output)
    raise ShellError('the host did not say what it found')


def _argv(directory: str, word: str, who: str, mode: str) -> list[str]:
    return ['sh', '-c', _text('warden.sh'), 'wpaudit-warden', directory, word, who, mode, _text('put-back.sh')]


def _text(name: str) -> str:
    return resources.files('wpaudit.firewalls').joinpath('sh', name).read_text(encoding='utf-8')


def _refusal(state: str, output: bytes, directory: str) -> WpauditError:
    who = output.decode('utf-8', 'surrogateescape').strip() or 'somebody'
    if state == 'busy':
        return SiteBusy(f'another wpaudit run has the firewall of this machine: {who}', hint='wait until it has ended')
    if state == 'unfinished':
        return Unfinished(
            f'an earlier wpaudit run on the firewall of this machine was interrupted and is not put back: {who}',
            hint=f'put it back with: {RESTORE}',
        )
    if state == 'blocked':
        return ModeUnavailable(f'{directory} on the host cannot be made, or belongs to somebody else: {who}')
    if state == 'no-base64':
        return ModeUnavailable('the host has no base64, which comes with coreutils and busybox')
    return ShellError(f'the warden on the host said {state!r}')
