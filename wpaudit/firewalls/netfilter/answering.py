"""Which server blocks of nginx answer for a host on a port (ngx_http_core_module: ``listen`` and ``server_name``)."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass

from wpaudit.firewalls.netfilter.matching import parsed
from wpaudit.nginx_syntax import Directive

HIGHEST_PORT = 65535


@dataclass(frozen=True)
class _Listen:
    """Where a server listens, whether it speaks TLS there, and whether it is the default one."""

    address: str
    port: int
    tls: bool
    default: bool


def answering(
    servers: Sequence[Directive], host: str, port: int, *, tls: bool, anywhere: bool = False,
) -> tuple[Directive, ...]:
    """Return the servers that answer ``host`` on a port: those with its name, else the default one.

    ``anywhere`` takes those too that listen to an address which ``host`` does not seem to mean: it may be translated.
    """
    there = [
        (one, listen) for one in servers for listen in _listens(one)
        if (listen.port, listen.tls) == (port, tls) and (anywhere or _leads(host, listen.address))
    ]
    names = {id(one): [word for each in one.inner('server_name') for word in each.args] for one, _ in there}
    named = [one for one, _ in there if any(_names(word, host) for word in names[id(one)])]
    default = next((one for one, listen in there if listen.default), there[0][0] if there else None)
    found = named or ([default] if default is not None else [])
    return tuple({id(one): one for one in found}.values())


def _listens(server: Directive) -> Iterator[_Listen]:
    everywhere = any(one.args == ('on',) for one in server.inner('ssl'))
    found = [one for one in server.inner('listen') if one.args] or [Directive('listen', ('80',))]
    for one in found:
        address, _, last = one.args[0].rpartition(':')
        if not last.isdecimal() or int(last) > HIGHEST_PORT:
            address, last = one.args[0], '80'
        if 'quic' not in one.args and not one.args[0].startswith('unix:'):
            default = 'default_server' in one.args or 'default' in one.args
            yield _Listen(address.strip('[]'), int(last), everywhere or 'ssl' in one.args, default)


def _leads(host: str, address: str) -> bool:
    """Tell whether who asks for ``host`` may come to ``address``: another nginx may listen to the same port elsewhere.

    The address of a name is not known here, but it is none of loopback.
    """
    here = parsed(address)
    if here is None or here.is_unspecified:
        return True
    if host == 'localhost':
        return here.is_loopback
    there = parsed(host)
    return here == there if there is not None else not here.is_loopback


def _names(word: str, host: str) -> bool:
    word, host = word.lower(), host.lower()
    if word.startswith('~'):
        return True  # left to nginx
    if word.startswith('.'):
        return host == word[1:] or host.endswith(word)
    if word.startswith('*.'):
        return host.endswith(word[1:])
    return host.startswith(word[:-1]) if word.endswith('.*') else host == word
