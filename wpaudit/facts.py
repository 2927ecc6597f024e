"""What triage looks at and what it concludes, as frozen data.

Collectors fill ``Seen``; ``triage`` turns it into a ``Diagnosis`` without any I/O. Every text in here comes from a
possibly hostile site and is bounded where it is collected; it is made printable only in ``report``.
Times are seconds since the epoch on the clock of the machine that noted them; durations are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from enum import StrEnum

from wpaudit.domain import Answer
from wpaudit.domain import Category as Category  # noqa: PLC0414 - the words of triage that reports of bisect use too
from wpaudit.domain import Cause as Cause  # noqa: PLC0414
from wpaudit.domain import Cost
from wpaudit.domain import Gap
from wpaudit.domain import Rate as Rate  # noqa: PLC0414


class Place(StrEnum):
    """The stations of a request, in its order; one of them makes the failure."""

    DNS = 'dns'
    TCP = 'tcp'
    TLS = 'tls'
    CDN = 'cdn'
    WEB_SERVER = 'web-server'
    FPM = 'php-fpm'
    PHP = 'php'
    WORDPRESS = 'wordpress'
    DATABASE = 'database'


class Purpose(StrEnum):
    """Why triage made a request."""

    REFRESH = 'refresh'              # the plain page, as a visitor, again and again
    ADDRESS = 'address'              # the same from here to one address of the name
    FRESH = 'fresh'                  # past every cache: no-cache fields and a query nobody has asked for
    DESKTOP = 'desktop'
    PHONE = 'phone'
    SEARCH_ENGINE = 'search-engine'
    NO_AGENT = 'no-user-agent'
    HTTP2 = 'http2'
    COOKIES = 'cookies'              # with the cookies the site has just set, or those of --cookie
    LOGGED_IN = 'logged-in'
    STATIC = 'static'                # a file that the web server answers by itself, without PHP
    PROXY = 'proxy'                  # through --proxy
    VIA = 'via'                      # from --via, another host
    HOST_PUBLIC = 'host-public'      # from the site's host, to its own public name
    HOST_LOOPBACK = 'host-loopback'  # from the site's host, straight to its web server
    FASTCGI = 'fastcgi'              # straight to php-fpm, past the web server
    INSIDE = 'inside'                # WordPress's front controller, run by the agent's PHP


@dataclass(frozen=True)
class Look:
    """One request that triage made, and what came of it. ``vantage`` is where it came from: ``here``, ``host``, ..."""

    purpose: Purpose
    answer: Answer
    at: float
    vantage: str = 'here'
    address: str = ''        # the address connected to, where that was chosen or is known
    marker: str = ''         # what the URL carried, so that a line of a log can be told to be about this request
    http_version: str = ''   # '1.0', '1.1', '2' of the answer, '' when there was none
    database: bool | None = None  # of INSIDE: whether the database answered


@dataclass(frozen=True)
class Resolution:
    """What the site's name means at one vantage; ``error`` is the resolver's sentence when it means nothing."""

    name: str
    vantage: str = 'here'
    ipv4: tuple[str, ...] = ()
    ipv6: tuple[str, ...] = ()
    error: str = ''
    seconds: float = 0.0


@dataclass(frozen=True)
class Handshake:
    """One connection tried to one address: TCP, and TLS where the URL asks for it."""

    address: str
    port: int
    vantage: str = 'here'
    tcp_error: str = ''      # '', 'refused', 'timeout', 'unreachable', 'reset'
    tcp_seconds: float = 0.0
    tls_error: str = ''      # one sentence; '' where TLS worked or was not asked for
    tls_seconds: float = 0.0
    alpn: str = ''           # the protocol that TLS agreed on (RFC 7301): 'h2', 'http/1.1', ''


@dataclass(frozen=True)
class LogLine:
    """One line of a log on the host, within the time of triage's own requests.

    ``source`` is ``nginx``, ``apache``, ``php-fpm``, ``php``, ``wordpress``, ``kernel`` or ``access``; ``matched``
    says why it is about us: ``marker`` (it holds a marker of ours), ``connection``, or only ``time``.
    """

    source: str
    text: str
    path: str = ''
    at: float = 0.0  # on the host's clock; 0 when the line carries no time
    matched: str = 'time'
    marker: str = ''


@dataclass(frozen=True)
class Pool:
    """One php-fpm pool: its settings, and how busy it is. Numbers are -1 when unknown."""

    name: str
    listen: str
    manager: str = ''            # pm: static, dynamic, ondemand
    max_children: int = -1
    terminate_timeout: float = 0.0  # request_terminate_timeout; 0 is none
    workers: int = -1            # processes now
    busy: int = -1               # of them, at work (pm.status, or running in the process table)
    queue: int = -1              # connections waiting to be accepted
    queue_limit: int = -1
    socket: str = ''             # '', 'missing', 'refused', 'denied', 'full', 'answers'
    serves_site: bool = False    # whether the web server sends this site's PHP there


@dataclass(frozen=True)
class Disk:
    """Space where it matters; bytes and inodes."""

    path: str
    size: int
    free: int
    inodes_free: int = -1


@dataclass(frozen=True)
class HostState:
    """How the host is, at the time of the requests. ``settings`` holds those that matter, by their own names."""

    clock: float = 0.0           # how far the host's clock is ahead of ours
    load: float = -1.0           # of the last minute
    processors: int = -1
    memory: int = -1             # bytes
    memory_available: int = -1
    swap_free: int = -1
    disks: tuple[Disk, ...] = ()
    pools: tuple[Pool, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)  # 'nginx fastcgi_buffer_size': '4k', ...
    server: str = ''             # 'nginx', 'apache', 'nginx+apache', ''
    upstreams: Mapping[str, str] = field(default_factory=dict)  # where the web server sends on -> '', or why not there


@dataclass(frozen=True)
class Effort:
    """What triage asked of the site: requests in all and at once, and the seconds it would have waited at the most."""

    requests: int
    at_once: int
    allowed: float


@dataclass(frozen=True)
class Seen:
    """Everything that triage looked at."""

    url: str
    looks: tuple[Look, ...] = ()
    resolutions: tuple[Resolution, ...] = ()
    handshakes: tuple[Handshake, ...] = ()
    lines: tuple[LogLine, ...] = ()
    host: HostState | None = None
    costs: tuple[Cost, ...] = ()
    gaps: tuple[Gap, ...] = ()
    notes: tuple[str, ...] = ()  # what triage did otherwise than usual: "backed off: ..."
    effort: Effort | None = None


class State(StrEnum):
    """Whether the site fails."""

    HEALTHY = 'healthy'
    FAILING = 'failing'
    SOMETIMES = 'sometimes'


@dataclass(frozen=True)
class Hop:
    """One station of the path as drawn: ``ok``, ``failed``, ``unknown`` or ``skipped``."""

    name: Place
    address: str
    outcome: str
    seconds: float
    detail: str = ''


@dataclass(frozen=True)
class Clue:
    """One observation that speaks for or against causes. ``kind`` is its key in the model's table."""

    kind: str
    source: str   # 'refresh', 'nginx', 'php-fpm', 'kernel', 'host', ...
    reason: str   # one sentence, with the line or the figures it rests on
    plugin: str = ''  # the directory of a plugin that it names, for the search
    strength: float = 1.0  # 0..1: how much of its weight counts; a line that may be about another request counts less
    names: Mapping[str, str] = field(default_factory=dict)  # what it names, for the advice: pool, limit, rule, file


@dataclass(frozen=True)
class Diagnosis:
    """What triage concludes."""

    state: State
    rate: Rate
    hops: tuple[Hop, ...]
    made_by: str        # who made the failing page: 'nginx', 'Apache', 'Cloudflare', 'PHP', ...
    cause: Cause
    others: tuple[Cause, ...] = ()
    clues: tuple[Clue, ...] = ()
    differences: tuple[str, ...] = ()  # what differs between devices, addresses, caches, vantages; one sentence each
    gaps: tuple[Gap, ...] = ()
    notes: tuple[str, ...] = ()
    costs: tuple[Cost, ...] = ()
    just_me: bool = False  # others reach it, this machine does not
    effort: Effort | None = None


@dataclass(frozen=True)
class TriageReport:
    """The result of ``wpaudit triage``; every output format is made from this."""

    command: str
    version: str
    started: str   # RFC 3339, UTC
    finished: str
    url: str
    diagnosis: Diagnosis
    exit_code: int
    target_host: str = ''  # '' when only the URL was looked at
    target_path: str = ''
