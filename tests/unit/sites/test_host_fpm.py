"""php-fpm's pools out of configuration files, the process table, and what their sockets said."""

from __future__ import annotations

import json

import pytest

from fixtures.config_files import ConfigFiles
from wpaudit.facts import Pool
from wpaudit.sites import fpm
from wpaudit.sites.fpm import Pulse
from wpaudit.sites.hostask import Process

DEBIAN = '/etc/php/8.2/fpm/php-fpm.conf'
SOCKET = 'unix:/run/php/php8.2-fpm.sock'
MASTER = Process(10, 1, 'S', 0, (f'php-fpm: master process ({DEBIAN})',), '/usr/sbin/php-fpm8.2')


def worker(pid: int, state: str = 'S', waits: str = '', pool: str = 'www', parent: int = 10) -> Process:
    return Process(pid, parent, state, 33, (f'php-fpm: pool {pool}',), waits=waits)


def read_pools(
    processes: list[Process], pulses: dict[str, Pulse] | None = None, serving: tuple[str, ...] = (SOCKET,),
) -> list[Pool]:
    files = ConfigFiles.recorded('debian-12')
    return list(fpm.pools(fpm.read(files, processes).sections, processes, pulses or {}, serving))


def test_debian_as_it_is_installed() -> None:
    (pool,) = read_pools([MASTER, worker(11), worker(12, 'R')], {SOCKET: Pulse('answers', '', 3, 511)})
    assert pool == Pool('www', SOCKET, 'dynamic', 5, 0.0, 2, 1, 3, 511, 'answers', serves_site=True)


def test_without_a_running_master_the_usual_places_are_read() -> None:
    (pool,) = read_pools([], {SOCKET: Pulse('refused')})
    assert (pool.socket, pool.workers, pool.busy) == ('refused', -1, -1)


def test_the_pool_of_a_master_that_runs_elsewhere() -> None:
    conf = (
        '[global]\nerror_log = /l/fpm.log\n[www]\nlisten = /run/$pool.sock ; as always\n'
        'pm=static\npm.max_children = 7\n'
        'request_terminate_timeout = 2m\nphp_admin_value[memory_limit] = 64M\n')
    words = ('/usr/sbin/php-fpm8.2', '--nodaemonize', '--fpm-config', '/x/f.conf')
    processes = [Process(20, 1, 'S', 0, words)]
    ini = 'memory_limit = 128M\nmax_execution_time=9\n'
    found = fpm.read(ConfigFiles({'/x/f.conf': conf, '/x/php.ini': ini}), processes)
    (section,) = found.sections
    assert (section.listen, section.error_log, section.master) == ('unix:/run/www.sock', '/l/fpm.log', 20)
    assert section.php() == {'memory_limit': '64M', 'max_execution_time': '9'}
    (pool,) = fpm.pools(found.sections, processes, {}, ())
    assert (pool.terminate_timeout, pool.max_children, pool.manager, pool.workers) == (120.0, 7, 'static', 0)


def test_a_pool_that_only_the_process_table_knows() -> None:
    found = read_pools([MASTER, worker(11), worker(12, pool='other')])
    assert [(pool.name, pool.workers, pool.listen) for pool in found] == [('www', 1, SOCKET), ('other', 1, '')]


def test_a_socket_that_no_configuration_has() -> None:
    found = read_pools([MASTER], {'unix:/run/gone.sock': Pulse('missing')}, ('unix:/run/gone.sock',))
    assert found[-1] == Pool('', 'unix:/run/gone.sock', socket='missing', serves_site=True)


@pytest.mark.parametrize(('states', 'busy'), [
    ([('S', 'inet_csk_accept'), ('S', 'do_sys_poll')], 1),
    ([('S', '__skb_wait_for_more_packets'), ('S', '__skb_wait_for_more_packets')], 0),
    ([('S', '0'), ('S', '0')], 0),
    ([('S', ''), ('R', ''), ('D', '')], 2),
    ([('R', '0'), ('S', 'hrtimer_nanosleep')], 2),
])
def test_how_many_are_at_work(states: list[tuple[str, str]], busy: int) -> None:
    staff = [worker(20 + at, state, waits) for at, (state, waits) in enumerate(states)]
    assert read_pools([MASTER, *staff])[0].busy == busy


def test_php_fpm_itself_knows_best() -> None:
    status = json.dumps({'active processes': 4, 'listen queue': 9, 'listen queue len': 128})
    (pool,) = read_pools([MASTER, worker(11)], {SOCKET: Pulse('answers', status)})
    assert (pool.busy, pool.queue, pool.queue_limit) == (3, 9, 128)


@pytest.mark.parametrize('status', ['', '{', '[]', '{"active processes": "x"}', '{"active processes": -1}', 'null'])
def test_a_status_that_is_none_changes_nothing(status: str) -> None:
    (pool,) = read_pools([MASTER, worker(11)], {SOCKET: Pulse('answers', status, 1, 2)})
    assert (pool.busy, pool.queue, pool.queue_limit) == (0, 1, 2)


def test_loops_and_closed_files() -> None:
    conf = '[global]\ninclude=/x/*.conf\n'
    closed = {'/x/z.conf': 'belongs to root:root with mode 0600'}
    files = ConfigFiles({'/x/f.conf': conf, '/x/b.conf': conf}, closed=closed)
    found = fpm.read(files, [Process(20, 1, 'S', 0, ('php-fpm: master process (/x/f.conf)',))])
    assert found.sections == []
    assert [gap.what for gap in found.gaps] == ['php-fpm: /x/z.conf']
    strange = ConfigFiles({'/x/f.conf': '\0[\n=\n[a\nlisten\n]=;\udcff\n'})
    assert fpm.read(strange, [Process(2, 1, 'S', 0, ('php-fpm', '-y', '/x/f.conf'))]).sections == []
