"""Text and JSON against golden files, and what must hold for every string of a host."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import report_samples as samples

from wpaudit import report
from wpaudit.domain import Claim
from wpaudit.domain import Outcome
from wpaudit.report import text
from wpaudit.report.page import colourful

GOLDEN = Path(__file__).parent / 'golden'

PAGES = {
    'culprit.txt': lambda: report.FORMATS['text'](samples.CULPRIT),
    'culprit-verbose.txt': lambda: report.FORMATS['text'](samples.CULPRIT, verbose=True),
    'culprit-narrow.txt': lambda: text.report(samples.CULPRIT, width=50),
    'broken.txt': lambda: report.FORMATS['text'](samples.BROKEN),
    'healthy.txt': lambda: report.FORMATS['text'](samples.HEALTHY),
    'list.txt': lambda: report.LIST_FORMATS['text'](samples.INVENTORY, samples.RULES),
    'doctor.txt': lambda: report.DOCTOR_FORMATS['text'](samples.CHECKS),
    'culprit.json': lambda: report.FORMATS['json'](samples.CULPRIT),
    'healthy.json': lambda: report.json_text(samples.HEALTHY),
    'list.json': lambda: report.LIST_FORMATS['json'](samples.INVENTORY, samples.RULES),
    'doctor.json': lambda: report.DOCTOR_FORMATS['json'](samples.CHECKS),
}


@pytest.mark.parametrize('name', PAGES)
def test_golden(name: str) -> None:
    assert PAGES[name]() == (GOLDEN / name).read_text(encoding='utf-8')


@pytest.mark.parametrize('name', PAGES)
def test_nothing_of_a_host_acts_on_a_terminal(name: str) -> None:
    shown = PAGES[name]()
    assert not set(shown) & {'\x1b', '\x07', '\r', '\u202e', '\udcff'}
    shown.encode('utf-8')


def test_markup_and_emoji_of_a_host_are_text() -> None:
    assert '[bold]x[/bold]' in PAGES['list.txt']()
    assert ':smile:' in PAGES['list.txt']()


def test_every_format_exists_for_every_verb() -> None:
    assert set(report.FORMATS) == set(report.LIST_FORMATS) == set(report.DOCTOR_FORMATS) == {'text', 'json'}


def test_the_verdict_stands_first_and_last() -> None:
    lines = PAGES['culprit.txt']().splitlines()
    assert lines[0] == lines[-1] == 'The plugin Acme Slider 2.3 (acme/acme.php) makes the site fail.'


def test_colours_only_where_asked_for() -> None:
    colourless, colours = text.report(samples.CULPRIT, width=80), text.report(samples.CULPRIT, width=80, colour=True)
    assert '\x1b[' not in colourless
    assert '\x1b[31mFAIL' in colours
    assert '\x1b]0' not in colours


def test_what_is_to_be_copied_is_never_folded() -> None:
    assert samples.CULPRIT.advice[0] in text.report(samples.CULPRIT, width=30)


def test_report_keys() -> None:
    value = json.loads(report.json_text(samples.CULPRIT))
    assert list(value)[:6] == ['schema', 'command', 'version', 'started', 'finished', 'target']
    assert value['schema'] == 'wpaudit.report/1'
    assert set(value['restore']) >= {'verified', 'before', 'after', 'left_behind'}
    assert value['certificate'][0] == {
        'off': [], 'outcome': 'FAIL', 'claim': 'everything on: the site fails', 'observed': True}
    assert value['certificate'][1]['on'] == []
    assert value['probes'][0]['role'] == 'baseline'
    assert value['conflicts'][0][0]['id'] == 'acme/acme.php'


def test_json_is_for_strict_parsers() -> None:
    odd = replace(samples.CULPRIT, confidence=float('nan'), message='\ud83d\udcff', costs={'\udc80': float('inf')})
    value = json.loads(report.json_text(odd), parse_constant=pytest.fail)
    assert (value['confidence'], value['message'], value['costs']) == (None, '\\ud83d\\xff', {'\\x80': None})


def test_a_long_certificate_is_told_in_three_lines() -> None:
    claims = [Claim(f'claim {n}', Outcome.PASS, True, on=(str(n),)) for n in range(30)]
    claims[20] = Claim('alone', Outcome.FAIL, True, on=('x',))
    claims[25] = Claim('without', Outcome.PASS, True, off=('x',))
    assert [one.claim for one in text.telling(claims)] == ['claim 0', 'alone', 'without']
    assert text.telling([]) == []
    assert text.telling(claims[:1]) == claims[:1]


def test_a_claim_that_was_not_observed_says_so() -> None:
    claim = Claim('only x off: the site fails', Outcome.FAIL, False, off=('x',))
    assert 'not probed itself' in text.report(replace(samples.CULPRIT, certificate=(claim,)))


class Terminal:
    def __init__(self, answer: bool) -> None:
        self.answer = answer

    def isatty(self) -> bool:
        return self.answer


@pytest.mark.parametrize(('terminal', 'environment', 'expected'), [
    (True, {'TERM': 'xterm'}, True), (True, {'TERM': 'xterm', 'NO_COLOR': ''}, True),
    (True, {'TERM': 'xterm', 'NO_COLOR': '1'}, False), (True, {'TERM': 'dumb'}, False), (True, {}, False),
    (False, {'TERM': 'xterm'}, False),
])
def test_who_gets_colours(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, environment: dict[str, str], expected: bool,
) -> None:
    for name in ('TERM', 'NO_COLOR'):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert colourful(Terminal(terminal)) is expected  # type: ignore[arg-type]


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = 'import sys, wpaudit.report; print(sorted({"rich", "requests", "urllib3"} & set(sys.modules)))'
    assert subprocess.check_output([sys.executable, '-c', code], text=True) == '[]\n'
