"""``--run``: real shells, judged by their exit codes."""

from __future__ import annotations

import os
import select
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from wpaudit.domain import Answer
from wpaudit.domain import Mark
from wpaudit.domain import Outcome
from wpaudit.domain import Request
from wpaudit.errors import Inconclusive
from wpaudit.errors import UsageError
from wpaudit.ports import Observation
from wpaudit.probes.command import CommandProber

URL = 'https://x.example'


class MarkedStep:
    """A step that signs, and whose mark is as told."""

    def __init__(self, mark: Mark | None) -> None:
        self._mark = mark

    def prepare(self, request: Request) -> Request:
        return replace(request, headers=(*request.headers, ('X-Wpaudit', 'v1;n')), cookies=(('a', 'b'), ('c', 'd')))

    def mark(self, request: Request, answer: Answer) -> Mark | None:
        assert dict(request.headers)['X-Wpaudit'] == 'v1;n'
        return self._mark


class WithRules(MarkedStep):
    """A step of a site and its firewalls."""

    def prepare(self, request: Request) -> Request:
        prepared = super().prepare(request)
        return replace(prepared, headers=(*prepared.headers, ('X-Off', ',3,')))


def observe(command: str, step: MarkedStep | None = None, *, timeout: float = 20) -> Observation:
    return CommandProber(command, URL, timeout=timeout).observe(step)


@pytest.mark.parametrize(('command', 'outcome'), [
    ('true', Outcome.PASS), ('exit 1', Outcome.FAIL), ('exit 124', Outcome.FAIL), ('exit 125', Outcome.OTHER),
])
def test_exit_codes(command: str, outcome: Outcome) -> None:
    assert observe(command).outcome is outcome


@pytest.mark.parametrize('command', ['exit 128', 'exit 255', 'kill -9 $$'])
def test_128_and_above_stops(command: str) -> None:
    with pytest.raises(Inconclusive, match='stops the search'):
        observe(command)


@pytest.mark.parametrize('command', ['no-such-program-here', '/etc/passwd', 'exit 127'])
def test_a_command_that_cannot_run_is_no_verdict(command: str) -> None:
    with pytest.raises(UsageError, match='found no program'):
        observe(command)


def test_what_the_command_is_told() -> None:
    told = 'echo "$WPAUDIT_URL|$WPAUDIT_HEADER|$WPAUDIT_COOKIE"; exit 3'
    assert f'{URL}|X-Wpaudit: v1;n|a=b; c=d' in observe(told, MarkedStep(Mark(True, 'ended'))).evidence
    assert f'{URL}||' in observe(told).evidence
    lines = observe('printf %s "$WPAUDIT_HEADER" | od -An -c | tr -d " \n"; exit 3', WithRules(Mark(True, 'ended')))
    assert r'v1;n\r\nX-Off:,3,' in lines.evidence


def test_a_command_that_does_not_send_the_header_reached_nothing() -> None:
    seen = observe('true', MarkedStep(Mark(False)))
    assert seen.outcome is Outcome.UNREACHED
    assert '$WPAUDIT_HEADER' in seen.evidence
    assert observe('true', MarkedStep(None)).outcome is Outcome.PASS


def test_time_is_limited_and_the_whole_group_ends(tmp_path: Path) -> None:
    fifo = tmp_path / 'fifo'
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        seen = observe(f'trap "" TERM; sleep 60 > {fifo} & wait', timeout=0.5)
        assert seen.outcome is Outcome.OTHER
        assert 'within 0.5 s' in seen.evidence
        assert select.select([reader], [], [], 10)[0]  # its last writer is gone
        assert os.read(reader, 1) == b''
    finally:
        os.close(reader)


def test_a_child_left_in_the_background_does_not_hold_the_probe() -> None:
    assert observe('sleep 60 & exit 0').seconds < 20


def test_output_is_bounded() -> None:
    seen = observe('yes | head -c 3000000; echo; echo the end; exit 1')
    assert seen.evidence == 'the command ended with 1: the end'


def test_many_at_once() -> None:
    outcomes: list[Outcome] = []
    threads = [threading.Thread(target=lambda: outcomes.append(observe('exit 1').outcome)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [Outcome.FAIL] * 6


def test_settling_changes_nothing() -> None:
    prober = CommandProber('exit 1', URL, timeout=5)
    prober.settle([])
    assert prober.observe(None).outcome is Outcome.FAIL
