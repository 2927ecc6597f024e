"""What is said of a page that we stopped waiting for: whoever else would have ended it, and when. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping

from wpaudit.facts import HostState
from wpaudit.triage.host import seconds
from wpaudit.triage.scene import Scene

_SERVERS = {
    'nginx': ('fastcgi_read_timeout', 'proxy_read_timeout'),
    'apache': ('ProxyTimeout', 'Timeout'),
}
_HEARTBEAT = 4 / 3  # php-fpm looks every third of its limit (fpm_process_ctl.c, fpm_pctl_heartbeat)
_DEFAULT = 60.0  # seconds: of each of them (ngx_http_fastcgi_module, ngx_http_proxy_module, Apache's core)


def endless(scene: Scene) -> Iterator[str]:
    """Say for how long the page was waited for in vain, and what would have ended it."""
    waits = [one.answer.seconds for one in scene.plain if one.answer.error == 'timeout']
    if not waits or scene.unreached:
        return
    waited = max(waits)
    if scene.host is None:
        more = 'what ends it is not known: --host TARGET reads the limits of the servers'
    else:
        more = _ending(scene, scene.host, waited)
    yield f'stopped waiting for the page after {waited:.0f} s; {more}; --timeout SECONDS waits longer'


def _ending(scene: Scene, host: HostState, waited: float) -> str:
    """Name the first limit that would strike."""
    limits = [*_of_server(host.server, host.settings), *_of_pools(scene)]
    later = sorted(one for one in limits if one[0] > waited)
    return later[0][1] if later else 'no limit of the web server or php-fpm that could be read would have ended it'


def _of_server(server: str, settings: Mapping[str, str]) -> Iterator[tuple[float, str]]:
    for name, words in _SERVERS.items():
        if name not in server:
            continue
        found = [(word, settings[f'{name} {word}']) for word in words if f'{name} {word}' in settings]
        limits = [(seconds(value), f'{word} {value}') for word, value in found] or [(_DEFAULT, 'its default')]
        limit, why = min(limits)
        title = name if name == 'nginx' else 'Apache'
        yield limit, f'{title} would give up after {limit:g} s with a 504 ({why})'


def _of_pools(scene: Scene) -> Iterator[tuple[float, str]]:
    for pool in scene.pools():
        if pool.terminate_timeout:
            limit = pool.terminate_timeout
            why = f'request_terminate_timeout of the pool {pool.name}'
            yield limit * _HEARTBEAT, f'php-fpm would end it after {limit:g} s or a little later ({why})'
