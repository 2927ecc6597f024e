"""How many requests an access log of the lab shows at the same time: what the bounds of triage are held to."""

from __future__ import annotations

import pytest

from fixtures.scenarios.running import most_at_once

NGINX = '127.0.0.1 - - [x] "GET / HTTP/1.1" 502 157 "-" "wpaudit" {:.3f} {:.3f}'
APACHE = '127.0.0.1 - - [x] "GET / HTTP/1.1" 503 157 "-" "wpaudit" {:.3f} {:.0f}ms'


@pytest.mark.parametrize(('spans', 'most'), [
    ([], 0),
    ([(10.0, 0.0)], 1),
    ([(10.0, 1.0), (11.0, 1.0)], 1),      # the second began when the first had ended
    ([(10.0, 1.0), (10.5, 1.0)], 2),
    ([(10.0, 5.0), (10.0, 4.0), (10.0, 0.5), (8.0, 1.0)], 3),
])
def test_requests_at_the_same_time(spans: list[tuple[float, float]], most: int) -> None:
    assert most_at_once([NGINX.format(end, took) for end, took in spans]) == most
    assert most_at_once([APACHE.format(end, took * 1000) for end, took in spans]) == most


def test_a_log_that_does_not_tell() -> None:
    assert most_at_once(['127.0.0.1 - - [x] "GET / HTTP/1.1" 502 157 "-" "wpaudit"'] * 9) == 0
