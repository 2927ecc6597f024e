"""Queues of sockets and memory, as the kernel's files and ss write them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wpaudit.sites.hostask import About
from wpaudit.sites.pulse import memory
from wpaudit.sites.pulse import queues_of
from wpaudit.sites.servers import Listen
from wpaudit.sites.servers import address

UNIX = 'u_str LISTEN 3      511    /run/php/php8.2-fpm.sock 12345      * 0   \nu_str ESTAB 0 0 * 1 * 2\n'
TCP = 'LISTEN 129    128        127.0.0.1:9000      0.0.0.0:*    \nLISTEN 0 511 0.0.0.0:80 0.0.0.0:*\n'
PROC = (
    '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n'
    '   0: 0100007F:2328 00000000:0000 0A 00000000:00000007 00:00000000 00000000  33 0 1 1\n'
    '   1: 0100007F:2329 0100007F:1111 01 00000000:00000009 00:00000000 00000000  33 0 1 1\n')
BARE = About(0, (0,), '', '', 0, '', '', (), False, '/w', {}, {}, True)


def test_queues() -> None:
    assert queues_of(UNIX, TCP, PROC) == {
        'unix:/run/php/php8.2-fpm.sock': (3, 511), '127.0.0.1:9000': (129, 128), '127.0.0.1:80': (0, 511)}
    assert queues_of('', '', PROC) == {'127.0.0.1:9000': (7, -1)}
    assert queues_of('LISTEN\nLISTEN a b c\n\0', 'LISTEN 1', 'x') == {}


MEMINFO = 'MemTotal:       4000 kB\nMemAvailable:   1000 kB\nSwapFree:  10 kB\n'


@pytest.mark.parametrize(('text', 'limit', 'used', 'expected'), [
    ('', '', '', (-1, -1, -1)),
    (MEMINFO, 'max', '100', (4096000, 1024000, 10240)),
    (MEMINFO, '2048000', '2000000', (2048000, 48000, 10240)),
    (MEMINFO, '999999999999', '1', (4096000, 1024000, 10240)),
    ('MemTotal: lots kB', 'x', 'y', (-1, -1, -1)),
])
def test_memory(text: str, limit: str, used: str, expected: tuple[int, int, int]) -> None:
    assert memory(replace(BARE, memory=text, limit=limit, used=used)) == expected


@pytest.mark.parametrize(('word', 'meant'), [
    ('/run/a.sock', 'unix:/run/a.sock'), ('unix:/var/run//a.sock', 'unix:/run/a.sock'), ('9000', '127.0.0.1:9000'),
    ('*:9000', '127.0.0.1:9000'), ('0.0.0.0:9000', '127.0.0.1:9000'), ('[::]:9000', '127.0.0.1:9000'),
    ('localhost:9000', '127.0.0.1:9000'), ('[::1]:9000', '[::1]:9000'), ('app', 'app:80'), ('', ''),
])
def test_one_socket_is_written_in_many_ways(word: str, meant: str) -> None:
    assert address(word) == meant


def test_a_listening_address_can_be_connected_to() -> None:
    assert [Listen(one, 80).reachable for one in ('', '*', '::', '192.0.2.1', '2001:db8::1')] == [
        '127.0.0.1:80', '127.0.0.1:80', '127.0.0.1:80', '192.0.2.1:80', '[2001:db8::1]:80']
