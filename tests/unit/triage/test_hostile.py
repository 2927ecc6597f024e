"""Whatever a site, its host and its logs say: triage answers, and says nothing that is not so."""

from __future__ import annotations

import json
import math

import pytest
import triage_worlds as w
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from wpaudit import report
from wpaudit.domain import Answer
from wpaudit.domain import Cost
from wpaudit.facts import Disk
from wpaudit.facts import Handshake
from wpaudit.facts import HostState
from wpaudit.facts import LogLine
from wpaudit.facts import Look
from wpaudit.facts import Pool
from wpaudit.facts import Purpose
from wpaudit.facts import Resolution
from wpaudit.facts import Seen
from wpaudit.facts import State
from wpaudit.facts import TriageReport
from wpaudit.triage.diagnosis import diagnose
from wpaudit.triage.diagnosis import exit_code
from wpaudit.triage.fields import cached
from wpaudit.triage.fields import cdn
from wpaudit.triage.hints import weights
from wpaudit.triage.host import seconds
from wpaudit.triage.host import size

TEXT = st.text(st.characters(codec=None), max_size=60)
NUMBER = st.floats(0, 1e9)
ERRORS = st.sampled_from(['', '', '', 'dns', 'refused', 'reset', 'timeout', 'tls', 'redirect-loop', 'protocol', 'odd'])
FIELDS = st.sampled_from([
    'age', 'x-cache', 'cf-cache-status', 'x-cache-status', 'x-varnish', 'x-litespeed-cache', 'cache-status', 'cf-ray',
    'server', 'x-powered-by', 'link', 'x-other'])
BODIES = TEXT | st.sampled_from([w.CRITICAL, w.FATAL, w.NO_DATABASE, w.WORDFENCE, w.CLOUDFLARE, w.MAINTENANCE])
ANSWERS = st.builds(
    Answer, TEXT, status=st.sampled_from([0, 200, 301, 403, 404, 429, 500, 502, 503, 504, 520, 525, 999]),
    headers=st.dictionaries(FIELDS, TEXT, max_size=4), body=BODIES, size=st.integers(0, 9999), truncated=st.booleans(),
    error=ERRORS, detail=TEXT, seconds=NUMBER)
LOOKS = st.builds(
    Look, st.sampled_from(Purpose), ANSWERS, NUMBER, st.sampled_from(['here', 'host', 'via x']), TEXT,
    st.sampled_from(['', 'm1', 'm2']), TEXT, st.sampled_from([None, True, False]))
LINES = st.builds(
    LogLine, st.sampled_from(['nginx', 'apache', 'php-fpm', 'php', 'wordpress', 'kernel', 'access', 'odd']),
    st.one_of(TEXT, st.sampled_from([w.SEGV, w.RESET, w.BIG, w.OOM, w.TERMINATED, w.MODSECURITY, w.FATAL_LINE])), TEXT,
    NUMBER, st.sampled_from(['marker', 'connection', 'time']), st.sampled_from(['', 'm1', 'm2']))
POOLS = st.builds(
    Pool, TEXT, TEXT, TEXT, st.integers(-1, 9), NUMBER, st.integers(-1, 9), st.integers(-1, 9), st.integers(-1, 9),
    st.integers(-1, 9), st.sampled_from(['', 'missing', 'refused', 'denied', 'full', 'answers', 'odd']), st.booleans())
HOSTS = st.builds(
    HostState, NUMBER, st.floats(-1, 99), st.integers(-1, 9), st.integers(-1, 99), st.integers(-1, 99),
    st.integers(-1, 99), st.tuples(st.builds(Disk, TEXT, st.integers(0, 9), st.integers(0, 9), st.integers(-1, 9))),
    st.lists(POOLS, max_size=3).map(tuple),
    st.dictionaries(st.sampled_from(['nginx fastcgi_buffer_size', 'x fastcgi_read_timeout', 'Timeout']), TEXT),
    TEXT, st.dictionaries(TEXT, TEXT, max_size=2))
COSTS = st.builds(
    Cost, TEXT, st.tuples(TEXT), seconds=NUMBER, memory=st.integers(0, 1 << 40), header_bytes=st.integers(0))
SEENS = st.builds(
    Seen, TEXT, st.lists(LOOKS, max_size=8).map(tuple),
    st.lists(st.builds(Resolution, TEXT, st.sampled_from(['here', 'x']), st.tuples(TEXT), st.just(()), TEXT, NUMBER),
             max_size=2).map(tuple),
    st.lists(st.builds(
        Handshake, TEXT, st.integers(0, 65535), st.sampled_from(['here', 'x']),
        st.sampled_from(['', 'refused', 'timeout', 'odd']), NUMBER, TEXT, NUMBER), max_size=3).map(tuple),
    st.lists(LINES, max_size=5).map(tuple), st.none() | HOSTS, st.lists(COSTS, max_size=2).map(tuple))


@settings(max_examples=60, deadline=None)
@given(SEENS)
def test_everything_has_a_diagnosis(seen: Seen) -> None:
    found = diagnose(seen)
    causes = (found.cause, *found.others)
    assert all(0 <= one.probability <= 1 for one in causes)
    assert sum(one.probability for one in causes) <= 1 + 1e-9
    assert len({one.kind for one in causes}) == len(causes)
    assert exit_code(found) in {0, 1, 6}
    assert sum(hop.outcome == 'failed' for hop in found.hops) <= 1
    assert {hop.outcome for hop in found.hops} <= {'ok', 'failed', 'unknown', 'skipped'}
    assert all(math.isfinite(one.weight) and one.weight >= 1 for one in weights(found.clues))
    if found.state is State.HEALTHY:
        assert not any(hop.outcome == 'failed' for hop in found.hops)
    result = TriageReport('triage', '0', '', '', seen.url, found, exit_code(found))
    shown = report.TRIAGE_FORMATS['text'](result, verbose=True)
    assert not set(shown) & {'\x1b', '\x07', '\r', '\x00'}
    shown.encode('utf-8')
    json.loads(report.TRIAGE_FORMATS['json'](result), parse_constant=pytest.fail)


@given(st.dictionaries(FIELDS, st.text(max_size=3000), max_size=5))
def test_any_fields_can_be_read(fields: dict[str, str]) -> None:
    answer = Answer(w.URL, 200, fields)
    cached(answer)
    cdn(answer)


@given(TEXT)
def test_any_setting_can_be_read(text: str) -> None:
    assert size(text) >= 0
    assert seconds(text) >= 0
