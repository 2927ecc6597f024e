"""``wpaudit triage``: look at a site from outside, from its host and from elsewhere; changes nothing.

What the looks mean is for ``wpaudit.triage`` to say; here they are made, spaced and bounded.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from functools import partial
from urllib.parse import urlsplit

from wpaudit.commands import looks
from wpaudit.commands.begun import Begun
from wpaudit.commands.costs import Measured
from wpaudit.commands.looks import Ask
from wpaudit.commands.pace import HANGS
from wpaudit.commands.pace import Limits
from wpaudit.commands.pace import Pace
from wpaudit.commands.pace import Turns
from wpaudit.commands.reach import Reach
from wpaudit.commands.reach import reach
from wpaudit.commands.trial import together
from wpaudit.domain import Answer
from wpaudit.domain import Cost
from wpaudit.domain import Gap
from wpaudit.domain import Stage
from wpaudit.errors import WpauditError
from wpaudit.facts import HostState
from wpaudit.facts import LogLine
from wpaudit.facts import Look
from wpaudit.facts import Purpose
from wpaudit.facts import Resolution
from wpaudit.facts import Seen
from wpaudit.ports import Inside
from wpaudit.ports import Listener
from wpaudit.ports import Outside
from wpaudit.triage.diagnosis import UNREAD_HOST
from wpaudit.triage.faults import fails

REFRESHES = 10           # a fault of every third request stays hidden in 2 % of the runs
STRAINED_REFRESHES = 4   # of a site that has too much to do
HANGING_REFRESHES = 2    # when one found no end: each of them keeps a PHP process busy for longer than we wait
UNREACHED_REFRESHES = 3  # when no address takes a connection: more would say the same
THROWS = 2               # more looks of a kind, where the first may have been luck
SPACING = 0.6            # seconds between the starts of two of them
REFRESHING = 5.0         # seconds in which they are begun, but for as many as a strained site gets
SIDE_BY_SIDE = 2         # refreshes at once: an answer that comes late does not hold the next one up
INSIDE_SECONDS = 4.0     # for WordPress inside PHP: whether it works is the question, not how slow it is
LEFT_SECONDS = 4.0       # that it leaves for the looks from the host that come after it
UNREACHED_SECONDS = 3.0  # for a look at what takes no connection
MOST_MOVES = 3           # to another host, as when example.org sends everybody to www.example.org
SOONER = 1.0             # seconds before our first look from which lines of logs are read

FROM_HOST = {  # in this order: where php-fpm lets its caller wait, its web server would do no more than wait for it
    Purpose.FASTCGI: 'the request straight to php-fpm',
    Purpose.HOST_LOOPBACK: "the request to the host's own web server",
    Purpose.HOST_PUBLIC: "the request from the host to the site's public name",
}
INSIDE = 'the request inside PHP'
COSTS = 'what plugins cost'
COSTED = (
    'what the page costs each plugin is as PHP of the command line makes it, without OPcache and most headers, with '
    'outgoing requests held back; through the web server --costs measures it, which changes the host for that request'
)
NO_HOST = (
    'not given: with --host TARGET triage also asks its web server, php-fpm and WordPress directly, and reads its '
    'logs, memory, disks and php-fpm pools'
)


@dataclass(frozen=True)
class Question:
    """What to look at. ``site`` is its base URL, ``page`` the URL asked for; times in seconds."""

    site: str
    page: str
    headers: tuple[tuple[str, str], ...] = ()
    cookies: tuple[tuple[str, str], ...] = ()
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Vantage:
    """Another place to look from. ``open`` raises WpauditError when it cannot be used."""

    label: str
    purpose: Purpose
    open: Callable[[], AbstractContextManager[Outside]]


@dataclass(frozen=True)
class Hosted:
    """The site's host. ``open`` connects, and raises WpauditError when that is not possible.

    ``measure`` records what one request costs each plugin, and looks as a user; it is the only thing here that changes
    the host, for those requests, and is None unless asked for.
    """

    label: str
    open: Callable[[], Inside]
    measure: Callable[[], Measured] | None = None


def triage(
    question: Question, outside: Outside, listener: Listener, *, vantages: Sequence[Vantage] = (),
    hosted: Hosted | None = None,
) -> Seen:
    """Make all looks and return what was seen. Raises NotRestored when ``hosted.measure`` does."""
    return _Run(question, outside, listener, vantages, hosted).conduct()


class _Run:
    """One triage of one site."""

    def __init__(
        self, question: Question, outside: Outside, listener: Listener, vantages: Sequence[Vantage],
        hosted: Hosted | None,
    ) -> None:
        self._question = question
        self._outside = outside
        self._listener = listener
        self._vantages = vantages
        self._hosted = hosted
        self._pace = Pace(question.limits, listener)
        self._site = question.site
        self._page = looks.page_request(question.page, question.headers)
        self._began = time.time()
        self._first: Look | None = None
        self._reach = Reach(Resolution(''))
        self._inside: Inside | None = None
        self._insides = self._page.url  # the page that was asked for inside PHP
        self._state: HostState | None = None
        self._lines: tuple[LogLine, ...] = ()
        self._costs: tuple[Cost, ...] = ()   # measured through the web server
        self._costed: tuple[Cost, ...] = ()  # as PHP of the command line has it
        self._asks: list[Ask] = []
        self._gaps: list[Gap] = []
        self._notes: list[str] = []
        self._turns = Turns(SPACING)  # of the refreshes
        self._meanwhile = False  # the other looks from here were made while the first one waited for its answer
        self._settled = threading.Event()  # which page is looked at: the first answer is there, or too late

    def conduct(self) -> Seen:
        self._listener.stage(Stage.LOOK)
        together([self._outwards, self._inwards], parallel=2)
        self._once_more()
        if self._hosted is not None and self._hosted.measure is not None:
            self._listener.stage(Stage.MEASURE)
            found = self._hosted.measure()
            self._costs = found.costs
            self._gaps += found.gaps
            self._pace.looks.extend(found.looks)
        self._read_logs()
        return self._seen()

    def _outwards(self) -> None:
        """Make the looks from here and from elsewhere."""
        try:
            self._from_outside()
            if self._pace.strain and not self._meanwhile:
                self._static()  # it takes no time: nothing that does should come before it
        finally:
            self._settled.set()
        if not self._meanwhile:
            refreshing = [self._refresh] * SIDE_BY_SIDE
            together([*refreshing, self._from_elsewhere, *self._once_each()], parallel=3)

    def _inwards(self) -> None:
        """Make the looks from the host, most of them when it is known of which page."""
        self._the_host()
        self._settled.wait()
        self._from_host()

    def _seen(self) -> Seen:
        made = looks.telling(self._pace.looks)
        self._notes += looks.untold(self._pace.looks, made)
        return Seen(
            url=self._page.url, looks=tuple(sorted(made, key=lambda look: look.at)), effort=self._pace.effort(),
            resolutions=(self._reach.resolution,), handshakes=self._reach.handshakes, lines=self._lines,
            host=self._state, costs=self._costs or self._costed, gaps=(*self._reach.gaps, *self._gaps),
            notes=(*self._reach.notes, *self._notes, *self._pace.notes(),
                   *([COSTED] if self._costed and not self._costs else [])),
        )

    # -- from here --------------------------------------------------------------------------------

    def _from_outside(self) -> None:
        """Find the addresses, connect to them, and ask for the page once; go along when it is at another host."""
        for move in range(MOST_MOVES + 1):
            self._reach = reach(self._outside, self._page.url)
            self._pace.out_of_reach = not self._reach.addresses
            if self._pace.out_of_reach:
                return
            self._turns = Turns(SPACING)
            self._turns.next()
            self._first = first = self._asked_first()
            if first is None:
                return
            self._follow(first.answer)
            target = looks.moved_to(self._page.url, first.answer)
            if not target or move == MOST_MOVES or self._question.headers or self._question.cookies:
                return  # what the user wants to be sent is for the host that was named
            self._notes.append(f'{self._page.url} sends visitors on to {target}, which was looked at')
            self._pace.forget(lambda look: look.purpose is not Purpose.INSIDE)
            self._page = replace(self._page, url=target)
            self._site = looks.at_host_of(target, self._site)

    def _asked_first(self) -> Look | None:
        """Ask for the page; when it lets us wait, look at the rest meanwhile, since its answer may never come."""
        self._first, self._meanwhile = None, False
        first = Begun(partial(self._ask, Ask(Purpose.REFRESH, self._page, needed=True), late=True))
        if not first.done(HANGS):
            self._meanwhile = True
            self._pace.hangs()
            self._settled.set()
            together([self._from_elsewhere, self._in_turn], parallel=2)
        look = first.result()
        self._pace.settled()
        return look

    def _in_turn(self) -> None:
        """Make the looks from here one after the other, the quick and telling ones first."""
        for look in self._once_each():
            look()
        if not self._pace.waited:  # else it would do no more than keep one more PHP process busy
            self._refresh()

    def _follow(self, first: Answer) -> None:
        """Ask for what the page leads to on its own host from now on: one request a look."""
        before, after = self._page.url, first.url
        if not first.status or first.error or after == before:
            return
        self._notes.append(f'{before} leads to {after}, which the other looks asked for')
        self._page = replace(self._page, url=after)
        if urlsplit(before)[:2] != urlsplit(after)[:2]:  # http to https: other connections, with other certificates
            self._site = looks.at_host_of(after, self._site)
            self._reach = reach(self._outside, after)

    def _refresh(self) -> None:
        """Ask for the same page again and again, with time in between."""
        number, start = self._turns.next()
        while number < (UNREACHED_REFRESHES if self._pace.out_of_reach else REFRESHES):
            time.sleep(max(0.0, start - time.monotonic()))
            # Of a site that answers late, the other looks tell more than a fourth time limit.
            most = HANGING_REFRESHES if self._pace.waited else STRAINED_REFRESHES
            needed = number < most and (self._meanwhile or self._pace.early())
            if number >= STRAINED_REFRESHES and time.monotonic() > self._turns.began + REFRESHING:
                return
            if self._ask(Ask(Purpose.REFRESH, self._page, needed=needed)) is None:
                return
            number, start = self._turns.next()

    def _once_each(self) -> list[Callable[[], object]]:
        """Return the looks from here that are made once, the telling ones first; none when nothing can be reached."""
        reached = self._reach.addresses
        if not reached:
            return []
        several = [Ask(Purpose.ADDRESS, self._page, address) for address in reached if len(self._reach.handshakes) > 1]
        cookies = looks.with_cookies(
            self._page, self._question.cookies, self._first.answer if self._first else None)
        asks = [*cookies, looks.fresh(self._page), *map(looks.marked, several), *looks.devices(self._page)]
        if any(one.alpn == 'h2' for one in self._reach.handshakes):
            asks.append(looks.marked(Ask(Purpose.HTTP2, self._page)))
        self._asks = asks
        return [self._static, *(partial(self._ask, ask) for ask in asks)]

    def _static(self) -> None:
        """Ask for a file of WordPress; where it may lie is a guess when the site is in a folder."""
        if any(look.purpose is Purpose.STATIC for look in self._pace.looks):
            return
        for ask in looks.statics(self._site, self._page):
            look = self._ask(ask)
            if look is None or _found(look.answer):
                return

    def _ask(self, ask: Ask, outside: Outside | None = None, *, late: bool = False) -> Look | None:
        from_where = outside or self._outside
        return self._pace.make(
            lambda timeout: from_where.look(
                ask.purpose, ask.request, address=ask.address, marker=ask.marker, timeout=timeout),
            needed=ask.needed, most=UNREACHED_SECONDS if self._pace.out_of_reach and outside is None else math.inf,
            late=late or outside is not None,
        )

    def _once_more(self) -> None:
        """Make those looks again that may have come out as they did by luck."""
        if self._pace.strain:
            return
        if len(looks.plain(self._pace.looks)) > 1:
            for purpose in (Purpose.HOST_LOOPBACK, Purpose.FASTCGI) * THROWS:
                if any(look.purpose is purpose for look in self._pace.looks):
                    self._ask_inside(purpose)
        for _ in range(THROWS):
            asks = looks.doubtful(self._asks, self._pace.looks)[:self._pace.room()]
            together([partial(self._ask, looks.marked(ask)) for ask in asks], parallel=4)

    # -- from elsewhere -----------------------------------------------------------------------------

    def _from_elsewhere(self) -> None:
        for vantage in self._vantages:
            try:
                with vantage.open() as outside:
                    self._from_vantage(vantage, outside)
            except WpauditError as error:
                self._gaps.append(Gap(vantage.label, error.message))

    def _from_vantage(self, vantage: Vantage, outside: Outside) -> None:
        ask = looks.marked(Ask(vantage.purpose, self._page, needed=True))
        look = self._ask(ask, outside)
        # What differs from here is worth a second request: it may be the luck of an unsteady fault.
        if look is not None and fails(look) != (self._first is None or fails(self._first)):
            self._ask(looks.marked(ask), outside)

    # -- from the host ------------------------------------------------------------------------------

    def _the_host(self) -> None:
        """Connect to the host, and say how it is."""
        if self._hosted is None:
            self._gaps.append(Gap('the host', NO_HOST))
            return
        try:
            self._inside = self._hosted.open()
            self._state, gaps = self._inside.state()
            self._gaps += gaps
        except WpauditError as error:
            self._inside = None
            hint = f'; {error.hint}' if error.hint else ''
            self._gaps.append(Gap(f'{UNREAD_HOST}{self._hosted.label}', error.message.rstrip('.') + hint))
        self._ask_inside(Purpose.INSIDE)  # asks no server, so it need not wait for the first answer

    def _from_host(self) -> None:
        for purpose in FROM_HOST:
            self._ask_inside(purpose)
        if self._page.url != self._insides:  # it led elsewhere
            self._pace.forget(lambda look: look.purpose is Purpose.INSIDE)
            self._ask_inside(Purpose.INSIDE)
        self._ask_costs()

    def _ask_costs(self) -> None:
        """Ask what a page that works costs each plugin."""
        if self._inside is None or self._first is None or fails(self._first) or self._pace.strain:
            return
        try:
            self._costed = self._inside.costs(self._page, timeout=INSIDE_SECONDS)
        except WpauditError as error:
            self._gaps.append(Gap(COSTS, error.message))

    def _ask_inside(self, purpose: Purpose) -> None:
        if self._inside is None:
            return
        inside, ask = self._inside, looks.marked(Ask(purpose, self._page))
        self._insides = self._page.url if purpose is Purpose.INSIDE else self._insides
        try:
            self._pace.make(
                lambda timeout: inside.look(purpose, ask.request, marker=ask.marker, timeout=timeout),
                needed=not self._spare(purpose), most=self._seconds_for(purpose), aside=purpose is Purpose.INSIDE,
                late=True)
        except WpauditError as error:
            self._gaps.append(Gap(FROM_HOST.get(purpose, INSIDE), error.message))

    def _spare(self, purpose: Purpose) -> bool:
        """Tell whether a strained site can be spared this look: others have said what it would say."""
        made = [look for look in self._pace.looks if fails(look)]
        # Where the host's own web server fails it is not just us, whatever the public name says; and that one waits
        # for php-fpm where php-fpm lets its caller wait.
        php = any(look.purpose is Purpose.FASTCGI and look.answer.error == 'timeout' for look in made)
        page = self._meanwhile or any(look.purpose is Purpose.REFRESH and _waited(look.answer) for look in made)
        broken = any(look.purpose is Purpose.HOST_LOOPBACK for look in made)
        return (php and page and purpose in FROM_HOST) or (broken and purpose is Purpose.HOST_PUBLIC)

    def _seconds_for(self, purpose: Purpose) -> float:
        if purpose is Purpose.INSIDE:
            return max(UNREACHED_SECONDS / 2, min(INSIDE_SECONDS, self._pace.waiting_left() - LEFT_SECONDS))
        return UNREACHED_SECONDS if self._pace.out_of_reach else math.inf

    def _read_logs(self) -> None:
        if self._inside is None:
            return
        self._listener.stage(Stage.LOGS)
        markers = [look.marker for look in self._pace.looks if look.marker]
        try:
            self._lines, gaps = self._inside.lines(self._began - SOONER, markers)
            self._gaps += gaps
        except WpauditError as error:
            self._gaps.append(Gap("the host's logs", error.message))


def _waited(answer: Answer) -> bool:
    return answer.error == 'timeout' or answer.status == 504  # noqa: PLR2004 - RFC 9110, section 15.6.5


def _found(answer: Answer) -> bool:
    return not answer.error and 200 <= answer.status < 300  # noqa: PLR2004 - RFC 9110, section 15.3


