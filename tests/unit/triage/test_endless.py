"""What is said of a page that was waited for in vain."""

from __future__ import annotations

from dataclasses import replace

import pytest
import triage_worlds as w

from wpaudit.facts import HostState
from wpaudit.facts import Seen
from wpaudit.triage.diagnosis import diagnose

HANGS = w.none('timeout', 'no complete answer', seconds=10.9)


def told(seen: Seen) -> str:
    return '\n'.join(diagnose(seen).notes)


def hanging(host: HostState | None) -> Seen:
    return w.seen(*w.refreshes(HANGS, times=1), host=host)


@pytest.mark.parametrize(('host', 'words'), [
    (None, 'what ends it is not known: --host TARGET'),
    (replace(w.HOST, settings={'nginx fastcgi_read_timeout': '2m'}),
     'nginx would give up after 120 s with a 504 (fastcgi_read_timeout 2m)'),
    (w.HOST, 'nginx would give up after 60 s with a 504 (its default)'),
    (replace(w.HOST, server='apache', settings={'apache Timeout': '300', 'apache ProxyTimeout': '90'}),
     'Apache would give up after 90 s with a 504 (ProxyTimeout 90)'),
    (replace(w.HOST, pools=(replace(w.POOL, terminate_timeout=30.0),)),
     'php-fpm would end it after 30 s or a little later (request_terminate_timeout of the pool www)'),
    (replace(w.HOST, pools=(replace(w.POOL, terminate_timeout=10.0),)), 'php-fpm would end it after 10 s or a little'),
    # One that should have struck by now did not, so it is another one that counts.
    (replace(w.HOST, pools=(replace(w.POOL, terminate_timeout=5.0),)), 'nginx would give up after 60 s'),
    (replace(w.HOST, server=''), 'no limit of the web server or php-fpm that could be read'),
])
def test_what_would_have_ended_it_is_named(host: HostState | None, words: str) -> None:
    said = told(hanging(host))
    assert said.startswith(f'stopped waiting for the page after 11 s; {words}')
    assert said.endswith('; --timeout SECONDS waits longer')


def test_our_own_patience_is_no_limit_of_a_server() -> None:
    host = replace(
        w.HOST, pools=(replace(w.POOL, terminate_timeout=10.0),), settings={'nginx fastcgi_read_timeout': '10s'})
    found = diagnose(hanging(host))
    assert not {'limit-of-pool', 'limit-of-server', 'round-time'} & {clue.kind for clue in found.clues}
    assert found.rate.pattern == ''


def test_nothing_is_said_of_a_page_that_answers_or_of_a_server_that_takes_no_connection() -> None:
    assert told(w.seen(*w.refreshes(w.BAD_504))) == ''
    unreached = w.seen(*w.refreshes(w.none('timeout', 'connecting')), handshakes=(w.reached(tcp='timeout'),))
    assert told(unreached) == ''
