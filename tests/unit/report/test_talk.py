"""Progress: what it says where, and that it never gets in the way."""

from __future__ import annotations

import io
import threading

import pytest
import report_samples as samples

from wpaudit.domain import Answer
from wpaudit.domain import Outcome
from wpaudit.domain import ProbeRecord
from wpaudit.domain import Role
from wpaudit.domain import Stage
from wpaudit.facts import Look
from wpaudit.facts import Purpose
from wpaudit.ports import Listener
from wpaudit.report import progress
from wpaudit.report.talk import looked


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Broken(io.StringIO):
    def write(self, text: str, /) -> int:
        raise BrokenPipeError

    def isatty(self) -> bool:
        return True


def record(n: int, evidence: str = '') -> ProbeRecord:
    return ProbeRecord(n, Role.SEARCH, ('a/a.php',), Outcome.FAIL, 502, 0.5, evidence)


def tell(listener: Listener) -> None:
    listener.stage(Stage.SEARCH)
    listener.stage(Stage.SEARCH)
    for n in range(1, 12):
        listener.probe(record(n, samples.HOSTILE), left=5)
    listener.note(f'look: {samples.HOSTILE}')


def test_quiet_says_nothing() -> None:
    stream = io.StringIO()
    with progress(quiet=True, stream=stream) as listener:
        tell(listener)
        with listener.paused():
            pass
    assert stream.getvalue() == ''


def test_a_pipe_gets_lines() -> None:
    stream = io.StringIO()
    with progress(stream=stream) as listener:
        tell(listener)
    hostile = 'Evil\\x1b[31m [bold]x[/bold] \\x1b]0;t\\x07\\u202egpj.exe\\xff\\r\\n:smile:'
    assert stream.getvalue().splitlines() == [
        'wpaudit: searching',
        f'wpaudit: probe 10 (search, 1 off): FAIL in 0.50 s, about 5 left; {hostile}',
        f'wpaudit: note: look: {hostile}',
    ]


def test_verbose_gets_every_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('TERM', 'xterm')
    stream = Terminal()
    with progress(verbose=True, stream=stream) as listener:
        tell(listener)
    assert stream.getvalue().count('wpaudit: probe ') == 11


def test_a_terminal_gets_a_line_that_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('TERM', 'xterm')
    monkeypatch.delenv('NO_COLOR', raising=False)
    stream = Terminal()
    with progress(stream=stream) as listener:
        tell(listener)
        with listener.paused():
            stream.write('question?')
    shown = stream.getvalue()
    assert 'searching' in shown
    assert '11 probes, about 5 left' in shown
    assert 'wpaudit: look: Evil\\x1b[31m [bold]x[/bold]' in shown
    assert '\x1b]0' not in shown
    assert shown.endswith(('\x1b[?25h', '\x1b[2K'))  # cursor back, line gone


@pytest.mark.parametrize('verbose', [True, False])
def test_a_broken_stream_is_nobody_elses_problem(monkeypatch: pytest.MonkeyPatch, verbose: bool) -> None:
    monkeypatch.setenv('TERM', 'xterm')
    with progress(verbose=verbose, stream=Broken()) as listener:
        tell(listener)


def test_a_closed_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    stream.close()
    with progress(stream=stream) as listener:
        tell(listener)


def test_an_ascii_stream() -> None:
    raw = io.BytesIO()
    with progress(stream=io.TextIOWrapper(raw, 'ascii', write_through=True)) as listener:
        listener.note('寿司')
        assert raw.getvalue() == b'wpaudit: note: \\u5bff\\u53f8\n'


@pytest.mark.parametrize('terminal', [True, False])
def test_many_threads(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    monkeypatch.setenv('TERM', 'xterm')
    stream = Terminal() if terminal else io.StringIO()
    with progress(stream=stream) as listener:
        threads = [threading.Thread(target=tell, args=(listener,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if not terminal:
        assert all(line.startswith('wpaudit: ') for line in stream.getvalue().splitlines())
    else:
        assert '88 probes' in stream.getvalue()


# -- the looks of triage ------------------------------------------------------------------------------

@pytest.mark.parametrize(('answer', 'line'), [
    (Answer('', status=502, seconds=0.25), 'refresh (here 192.0.2.1): HTTP 502 in 0.25 s'),
    (Answer('', status=200, truncated=True), 'refresh (here 192.0.2.1): HTTP 200, cut off in 0.00 s'),
    (Answer('', error='dns', detail='no such name'), 'refresh (here 192.0.2.1): no such name in 0.00 s'),
    (Answer('', error='reset'), 'refresh (here 192.0.2.1): no answer (reset) in 0.00 s'),
])
def test_a_look_in_one_line(answer: Answer, line: str) -> None:
    assert looked(Look(Purpose.REFRESH, answer, 0.0, address='192.0.2.1')) == line


@pytest.mark.parametrize('verbose', [True, False])
def test_looks_are_told_when_all_is_to_be_told(verbose: bool) -> None:
    stream = io.StringIO()
    with progress(verbose=verbose, stream=stream) as talk:
        talk.look(Look(Purpose.PHONE, Answer('', status=200), 0.0))
    assert ('phone (here): HTTP 200' in stream.getvalue()) is verbose


def test_looks_are_counted_on_a_terminal() -> None:
    stream = Terminal()
    with progress(stream=stream) as talk:
        talk.stage(Stage.LOOK)
        for _ in range(2):
            talk.look(Look(Purpose.PHONE, Answer('', status=200), 0.0))
    assert 'looking at the site' in stream.getvalue()
