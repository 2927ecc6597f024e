"""The words of wpaudit as frozen data: what every other module talks about and no module owns.

Strings that come from a host may hold bytes that are not UTF-8. They are carried as Python's
``surrogateescape`` strings, so that nothing is lost, and made printable only in ``report``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from enum import Enum
from enum import StrEnum


class Outcome(StrEnum):
    """What one probe says about one exact set of suspects."""

    FAIL = 'FAIL'            # the failure asked about
    PASS = 'PASS'            # noqa: S105 - the site works
    OTHER = 'OTHER'          # a different failure: evidence for neither
    UNREACHED = 'UNREACHED'  # never got to the switch (cache, proxy, firewall, network)


class Kind(StrEnum):
    """What a suspect is; the word printed before its name."""

    PLUGIN = 'plugin'
    NETWORK_PLUGIN = 'network-plugin'
    MUST_USE = 'must-use'
    DROPIN = 'drop-in'
    THEME = 'theme'
    RULE = 'rule'


class Mode(StrEnum):
    """The two ways to switch: for the probe's own request only, or for everybody."""

    ISOLATED = 'isolated'
    LIVE = 'live'


class Role(StrEnum):
    """Why a probe was made."""

    CANARY = 'canary'
    BASELINE = 'baseline'
    RECORDER = 'recorder'
    SEARCH = 'search'
    CERTIFICATE = 'certificate'


class Verdict(StrEnum):
    """How a run ended; ``outcome`` of the report."""

    HEALTHY = 'healthy'
    CULPRIT = 'culprit'
    NOT_A_SUSPECT = 'not-a-suspect'
    INCONCLUSIVE = 'inconclusive'
    ERROR = 'error'


@dataclass(frozen=True)
class Gap:
    """Something that could not be read or done, with the reason: never a silent hole."""

    what: str
    why: str


@dataclass(frozen=True)
class Suspect:
    """One thing that can be switched.

    ``id`` is what the layer keys it by: a plugin's file as WordPress does
    (``acme/acme.php``), a theme's directory, a rule's id.
    """

    id: str
    kind: Kind
    name: str = ''
    version: str = ''
    layer: str = 'plugins'
    where: str = ''
    requires: tuple[str, ...] = ()  # ids of suspects that must be on when this one is
    stuck: str = ''  # why it can only be listed, not switched
    live_only: str = ''  # why it can be switched for everybody only, not for single requests
    details: tuple[tuple[str, str], ...] = ()  # what else a listing tells of it, by name


@dataclass(frozen=True)
class Exemption:
    """A change that lets a request pass one rule and leaves the rule where it is: narrower than to switch it off.

    ``id`` may be off in a probe in the rule's place, which tells whether it is enough; it is the rule's own where the
    probes ask for nothing else than what is exempted. ``lines`` are what a person has to write, and where.
    """

    id: str
    rule: str    # id of the suspect
    effect: str  # "rule 942100 no longer looks at ARGS:q in requests to /search"
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Component:
    """One plugin, must-use plugin, drop-in or theme as ``wpaudit list`` shows it.

    ``status`` is ``active``, ``network``, ``inactive``, ``must-use``, ``drop-in`` or ``missing``
    (named in ``active_plugins`` but not on disk). ``update`` is the version the site already
    knows of, or ``''``: no update check is ever triggered.
    """

    id: str
    kind: Kind
    status: str
    name: str = ''
    version: str = ''
    requires_wordpress: str = ''
    requires_php: str = ''
    requires_plugins: tuple[str, ...] = ()
    update: str = ''
    where: str = ''
    modified: int = 0  # mtime of the main file, seconds since the epoch, 0 when unknown
    problems: tuple[str, ...] = ()  # unmet requirements, one sentence each


@dataclass(frozen=True)
class SiteFacts:
    """What a site says about itself."""

    wordpress: str
    php: str
    server: str
    multisite: bool
    url: str
    path: str
    user: str = ''
    database: str = ''
    object_cache: bool = False


@dataclass(frozen=True)
class Inventory:
    """Everything on a site that could be a suspect, and what could not be read."""

    facts: SiteFacts
    components: tuple[Component, ...]
    gaps: tuple[Gap, ...] = ()


@dataclass(frozen=True)
class Check:
    """One line of ``wpaudit doctor``. ``ok`` is None where the answer is neither good nor bad."""

    name: str
    ok: bool | None
    detail: str
    hint: str = ''


@dataclass(frozen=True)
class Request:
    """One HTTP request to send as a probe.

    ``via`` says by scheme where to connect (``127.0.0.1:8081``) instead of what the URL says, which stays what is asked
    for; a redirect to a scheme that is not among them is not followed. The way there is trusted: certificates are not
    verified on it.
    """

    url: str
    method: str = 'GET'
    headers: tuple[tuple[str, str], ...] = ()
    cookies: tuple[tuple[str, str], ...] = ()
    body: bytes = b''
    via: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Answer:
    """What came back: an HTTP answer, or the reason there was none.

    ``status`` is 0 when no HTTP answer arrived; ``error`` is then one of ``dns``, ``refused``,
    ``reset``, ``timeout``, ``tls``, ``redirect-loop``, ``too-large``, ``protocol``. ``truncated`` means
    that the body ended before its framing said it would (RFC 9112, section 8). ``body`` is
    bounded and decoded; ``seconds`` is wall time of this request.
    """

    url: str
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)  # lower-case names
    body: str = ''
    size: int = 0
    truncated: bool = False
    error: str = ''
    detail: str = ''  # the sentence a person reads
    seconds: float = 0.0


@dataclass(frozen=True)
class Mark:
    """What the must-use plugin noted about one probe on the host.

    ``seen`` is False when the request never reached WordPress. ``stage`` is how far PHP got:
    ``started``, ``loaded`` (all plugins were included), ``ended`` (shutdown functions ran too) or ``left``
    (PHP was made to exit while plugins were being included).
    """

    seen: bool = False
    stage: str = ''
    off: int = 0  # how many suspects were off in that request, as WordPress saw it
    detail: str = ''


@dataclass(frozen=True)
class Evidence:
    """A reason to look at some suspects first; changes the order of probes, never the verdict.

    ``fate`` is what became of it, where that can be told: ``certified by probes 9 and 10``. ``where`` is the place in
    the suspect's code that failed, where that is known: ``acme/inc/file.php:10-20``.
    """

    source: str
    reason: str
    suspects: tuple[str, ...]
    weight: float
    fate: str = ''
    where: str = ''


@dataclass(frozen=True)
class Cost:
    """What one plugin (must-use plugin, theme, or core with what is not anybody's) cost in one recorded request.

    ``seconds`` are its own, without those of what it called in others; ``memory`` is by how many bytes the peak grew
    while it was running, ``hosts`` the seconds spent waiting for each host.
    """

    name: str
    suspects: tuple[str, ...] = ()
    calls: int = 0
    seconds: float = 0.0
    memory: int = 0
    header_bytes: int = 0
    queries: int = 0
    query_seconds: float = 0.0
    requests: int = 0
    request_seconds: float = 0.0
    hosts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Recording:
    """What the flight recorder says of one probe: reasons for its failure, should it have failed, and costs."""

    evidence: tuple[Evidence, ...] = ()
    costs: tuple[Cost, ...] = ()


@dataclass(frozen=True)
class ProbeRecord:
    """One probe as the report lists it. ``off`` are the ids switched off."""

    n: int
    role: Role
    off: tuple[str, ...]
    outcome: Outcome
    status: int
    seconds: float
    evidence: str = ''


@dataclass(frozen=True)
class Claim:
    """One line of a certificate.

    Exactly one of ``on`` and ``off`` is not None: ``on`` says "only these on", ``off`` says "all on
    but these". ``observed`` is False only for what follows from monotonicity.
    """

    claim: str
    outcome: Outcome
    observed: bool
    on: tuple[str, ...] | None = None
    off: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Restoration:
    """How the site was left. ``before`` and ``after`` are digests of the raw state."""

    verified: bool
    before: str = ''
    after: str = ''
    left_behind: tuple[str, ...] = ()
    changed_seconds: float = 0.0  # time the site's visitors saw a changed state (live mode)
    message: str = ''
    advice: str = ''  # what to type when not verified


@dataclass(frozen=True)
class Rate:
    """The share of failing requests, with a 95 % interval (Wilson 1927)."""

    value: float
    low: float
    high: float
    n: int
    pattern: str = ''  # one sentence about bursts, a period, or the time it took; '' when there is nothing to say


class Category(StrEnum):
    """The four causes that every hosting article gives for a 502, and the honest fifth."""

    SERVER_OVERLOAD = 'server-overload'
    FIREWALL = 'firewall'
    NETWORK = 'network'
    INVALID_RESPONSE = 'invalid-response'
    UNKNOWN = 'unknown'


@dataclass(frozen=True)
class Cause:
    """One possible cause. ``kind`` is one of those of the JSON report; supports and contradicts are clues' reasons."""

    category: Category
    kind: str
    probability: float
    sentence: str       # "a php-fpm worker crashed (SIGSEGV)"
    advice: str         # what to do next, in one line
    bisect_helps: bool
    supports: tuple[str, ...] = ()
    contradicts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """The result of ``wpaudit bisect``; every output format is made from this."""

    command: str
    version: str
    started: str   # RFC 3339, UTC
    finished: str
    target_host: str
    target_path: str
    target_url: str
    outcome: Verdict
    exit_code: int
    message: str  # the verdict in one sentence
    site: SiteFacts | None = None
    mode: Mode | None = None
    mode_reason: str = ''
    conflicts: tuple[tuple[Suspect, ...], ...] = ()
    fixes: tuple[tuple[Suspect, ...], ...] = ()
    confidence: float = 0.0
    certificate: tuple[Claim, ...] = ()
    probes: tuple[ProbeRecord, ...] = ()
    suspects: tuple[Suspect, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    exemptions: tuple[Exemption, ...] = ()  # from rules of the first fix; probes have shown that they are enough
    learned: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # undeclared dependencies that showed
    gaps: tuple[Gap, ...] = ()
    restore: Restoration | None = None
    advice: tuple[str, ...] = ()  # what to do next, exact commands among them
    record: str = ''              # where the journal/log of the run is kept
    costs: Mapping[str, float] = field(default_factory=dict)  # counted: wp starts, round trips, seconds
    cause: Cause | None = None  # what triage says of the failure; None when it was not asked, or saw none
    rate: Rate | None = None  # of failing requests with everything on; None when none were judged


class Stage(Enum):
    """Where a run is, for progress display."""

    CONNECT = 'connecting'
    INSPECT = 'reading the site'
    BASELINE = 'proving the question'
    SEARCH = 'searching'
    CERTIFY = 'proving the answer'
    RESTORE = 'restoring'
    LOOK = 'looking at the site'
    MEASURE = 'recording one request'
    LOGS = "reading the host's logs"
