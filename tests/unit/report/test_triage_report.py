"""The triage report against golden files, and its keys."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import triage_samples as samples

from wpaudit import report
from wpaudit.domain import Cost
from wpaudit.facts import TriageReport
from wpaudit.report import triage

GOLDEN = Path(__file__).parent / 'golden'
KEYS = {
    'schema', 'command', 'version', 'started', 'finished', 'target', 'url', 'state', 'rate', 'hops', 'made_by',
    'just_me', 'cause', 'others', 'evidence', 'differences', 'costs', 'gaps', 'notes', 'effort', 'exit_code',
}

PAGES = {
    'triage.txt': lambda: report.TRIAGE_FORMATS['text'](samples.FAILING),
    'triage-verbose.txt': lambda: report.TRIAGE_FORMATS['text'](samples.FAILING, verbose=True),
    'triage-narrow.txt': lambda: triage.report(samples.FAILING, width=60),
    'triage-unclear.txt': lambda: report.TRIAGE_FORMATS['text'](samples.UNCLEAR),
    'triage-just-me.txt': lambda: report.TRIAGE_FORMATS['text'](samples.JUST_ME),
    'triage-healthy.txt': lambda: report.TRIAGE_FORMATS['text'](samples.HEALTHY),
    'triage.json': lambda: report.TRIAGE_FORMATS['json'](samples.FAILING),
    'triage-healthy.json': lambda: report.TRIAGE_FORMATS['json'](samples.HEALTHY),
}


@pytest.mark.parametrize('name', PAGES)
def test_golden(name: str) -> None:
    assert PAGES[name]() == (GOLDEN / name).read_text(encoding='utf-8')


@pytest.mark.parametrize('name', PAGES)
def test_nothing_of_a_host_acts_on_a_terminal(name: str) -> None:
    shown = PAGES[name]()
    assert not set(shown) & {'\x1b', '\x07', '\r', '\u202e', '\udcff'}
    shown.encode('utf-8')


def test_the_formats() -> None:
    assert set(report.TRIAGE_FORMATS) == {'text', 'json'}


@pytest.mark.parametrize('result', [samples.FAILING, samples.UNCLEAR, samples.JUST_ME, samples.HEALTHY])
def test_keys(result: TriageReport) -> None:
    value = json.loads(report.TRIAGE_FORMATS['json'](result))
    assert set(value) == KEYS
    assert value['schema'] == 'wpaudit.triage/1'
    assert set(value['rate']) >= {'value', 'low', 'high', 'n'}
    assert all(set(hop) >= {'name', 'address', 'outcome', 'seconds', 'detail'} for hop in value['hops'])
    if value['state'] == 'healthy':
        assert value['cause'] is None
    else:
        assert set(value['cause']) >= {'category', 'kind', 'probability', 'advice', 'bisect_helps'}


def test_the_verdict_stands_first_and_last() -> None:
    lines = PAGES['triage.txt']().splitlines()
    assert lines[0] == lines[-1]
    assert lines[0].startswith('The site fails sometimes: a PHP process crashes')


def test_only_the_dearest_plugins_are_shown_and_the_rest_is_added_up() -> None:
    shown = PAGES['triage.txt']()
    assert [name in shown for name in ('plugin-12', 'plugin-13', '7 more')] == [True, False, True]
    assert '###' in next(line for line in shown.splitlines() if line.strip().startswith('acme '))


@pytest.mark.parametrize('costs', [(), (Cost('x'),), (Cost('x', seconds=-1.0), Cost('y', seconds=float('inf')))])
def test_odd_costs(costs: tuple[Cost, ...]) -> None:
    found = replace(samples.FAILING, diagnosis=replace(samples.FAILING.diagnosis, costs=costs))
    assert triage.report(found)


def test_the_failing_hop_is_marked() -> None:
    marked = [line for line in PAGES['triage.txt']().splitlines() if line.strip().startswith('->')]
    assert len(marked) == 1
    assert 'php-fpm' in marked[0]


def test_colours_only_where_asked_for() -> None:
    assert '\x1b[' not in triage.report(samples.FAILING, width=80)
    assert '\x1b[' in triage.report(samples.FAILING, width=80, colour=True)
