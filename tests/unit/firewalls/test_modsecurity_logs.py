"""Ends of logs -> what the newest request has hit: on recorded logs, and on what a host may say instead."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from fixtures.firewalls import modsecurity
from fixtures.shells import Script
from fixtures.shells import ScriptedShell
from wpaudit.firewalls.modsecurity.lines import Hit
from wpaudit.firewalls.modsecurity.logs import ASKING
from wpaudit.firewalls.modsecurity.logs import COUNTED
from wpaudit.firewalls.modsecurity.logs import DENIED
from wpaudit.firewalls.modsecurity.logs import accused
from wpaudit.firewalls.modsecurity.logs import evidence
from wpaudit.firewalls.modsecurity.logs import logs_of
from wpaudit.firewalls.modsecurity.logs import recent
from wpaudit.firewalls.modsecurity.logs import tails
from wpaudit.firewalls.modsecurity.rules import Located
from wpaudit.firewalls.modsecurity.rules import Rule
from wpaudit.firewalls.modsecurity.scopes import Configuration
from wpaudit.firewalls.modsecurity.scopes import Scope
from wpaudit.firewalls.modsecurity.seclang import Engine
from wpaudit.firewalls.modsecurity.seclang import pieces
from wpaudit.firewalls.reading import Garbled

RECORDED = Path(modsecurity.__file__).parent / 'recorded'
CRS = '/usr/share/modsecurity-crs/rules/'
RULES = (
    Rule(942100, f'{CRS}REQUEST-942-APPLICATION-ATTACK-SQLI.conf', 46, 66),
    Rule(920350, f'{CRS}REQUEST-920-PROTOCOL-ENFORCEMENT.conf', 719, 736),
    Rule(949110, f'{CRS}REQUEST-949-BLOCKING-EVALUATION.conf', 81, 94),
)
THEN = datetime(2026, 11, 23, 3, 37)


# What Apache writes of a message into its audit log names no path; its error log has the same.
@pytest.mark.parametrize('name', ['nginx-error.log', 'nginx-audit.log', 'nginx-audit.json', 'apache-error.log'])
def test_recorded_logs(name: str) -> None:
    text = (RECORDED / name).read_text(encoding='utf-8')
    found = accused([text], THEN, RULES, ['/'])
    assert {hit.rule for hit in found} == {942100, 920350, 949110}
    [only] = evidence(found, [942100, 920350])
    assert set(only.suspects) == {'942100', '920350'}
    assert only.weight == COUNTED
    assert accused([text], THEN, RULES, ['/other']) == ()
    assert accused([text], THEN.replace(hour=4), RULES, ['/']) == ()


def line(request: str, rule: int = 7, *, path: str = '/', denied: bool = False) -> str:
    said = 'Access denied with code 502' if denied else 'Warning.'
    return (f"2026/11/23 03:36:31 [error] 1#1: *3 ModSecurity: {said} Matched against variable `ARGS:a' [file \"/w\"] "
            f'[line "1"] [id "{rule}"] [uri "{path}"] [unique_id "{request}"]')


def test_the_newest_request_that_was_stopped_counts() -> None:
    rules = [Rule(7, '/w', 1, 1), Rule(8, '/w', 1, 1)]
    text = '\n'.join([line('a', 7, denied=True), line('b', 8, denied=True), line('c', 7), line('d', 7, path='/other')])
    assert [hit.rule for hit in accused([text], THEN, rules, ['/'])] == [8]
    assert [hit.rule for hit in accused([line('c', 7)], THEN, rules, ['/'])] == [7]


def test_a_rule_that_denied_is_named_alone() -> None:
    found = (Hit(8, '/w', 1), Hit(7, '/w', 1, status=502, denied=True, variable='ARGS:a'))
    [only] = evidence(found, [7, 8])
    assert (only.suspects, only.weight) == (('7',), DENIED)
    assert only.reason == 'rule 7 denied a request with 502, for ARGS:a'
    assert evidence(found, [9]) == ()
    [counted] = evidence(found, [8])
    assert counted.suspects == ('8',)


def test_lines_without_a_time_belong_to_those_before() -> None:
    text = ('[22/Nov/2026:03:36:31 +0000] old\nits rest\n[23/Nov/2026:03:36:31 +0000] new\nits rest\n'
            '2026/13/45 99:99:99 [error] is no time')
    assert list(recent(text, THEN)) == text.split('\n')[2:]


def test_which_logs() -> None:
    text = 'SecAuditLog /var/log/audit.log\nSecRule A "x" "id:1"\n'
    own = tuple(Located('f', one) for one in pieces(text, Engine.V3) if one.words)
    inner = Scope(0, own, logs=('/var/log/site.log', 'stderr'))
    scopes = (Scope(logs=('/var/log/main.log',)), inner, Scope(0))
    configuration = Configuration(Engine.V3, '/m', scopes)
    files, gaps = logs_of(configuration, [1])
    assert files == ('/var/log/site.log', '/var/log/audit.log')
    assert [gap.what for gap in gaps] == ['stderr']
    assert logs_of(configuration, [2])[0] == ('/var/log/main.log',)
    assert logs_of(Configuration(Engine.V3, '/m', (Scope(),)), [0])[0] == ('/var/log/nginx/error.log',)
    variable = Configuration(Engine.V2, '/m', (Scope(logs=('${APACHE_LOG_DIR}/shop.log',)),))
    assert '/var/log/apache2/shop.log' in logs_of(variable, [0])[0]
    parts = Located('f', pieces('SecAuditLogType Concurrent\n', Engine.V3)[0])
    apart = Configuration(Engine.V3, '/m', (Scope(own=(*own, parts)),))
    assert [gap.what for gap in logs_of(apart, [0])[1]] == ['/var/log/audit.log']


@pytest.mark.parametrize('said', [b'', b'something else', b'now 20261123033700\n'])
def test_a_host_that_answers_something_else(said: bytes) -> None:
    with pytest.raises(Garbled):
        tails(ScriptedShell({ASKING: Script(stdout=said)}), ['/var/log/x'])
