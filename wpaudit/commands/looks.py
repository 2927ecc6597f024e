"""What triage asks for: one page, as different visitors ask for it, and what of it twice. Pure but for the markers."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from urllib.parse import urljoin
from urllib.parse import urlsplit

from wpaudit import __version__
from wpaudit.domain import Answer
from wpaudit.domain import Request
from wpaudit.facts import Look
from wpaudit.facts import Purpose
from wpaudit.triage.faults import fails

DESKTOP = 'Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0'
PHONE = (
    'Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) '
    'Version/18.5 Mobile/15E148 Safari/604.1'
)
SEARCH_ENGINE = 'Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)'
# What firewalls and caches take for a browser, and who reads the access log can tell from one.
VISITOR = f'{DESKTOP} wpaudit/{__version__}'

# A file that every WordPress has, and that no rule hides for what it says about the version.
STATIC = 'wp-includes/images/blank.gif'

_PAST_CACHES = (('Cache-Control', 'no-cache'), ('Pragma', 'no-cache'))
_MAX_COOKIES = 20
# A list of Set-Cookie fields is joined with commas, and dates have one too: a cookie begins with its name and "=".
_COOKIE = re.compile(r"(?:^|,\s*)([!#$%&'*+\-.^_`|~0-9A-Za-z]+)=([^;,\x00-\x20\x7f]*)(?=;|,|$)")


@dataclass(frozen=True)
class Ask:
    """One look to make. ``needed`` tells that it is made on a strained site too."""

    purpose: Purpose
    request: Request
    address: str = ''
    marker: str = ''
    needed: bool = False


def marked(ask: Ask) -> Ask:
    """Return ``ask`` with a new marker in the query: lines of logs can be told by it, and no cache knows it."""
    marker = secrets.token_hex(6)
    if ask.marker:
        request = replace(ask.request, url=ask.request.url.replace(f'wpaudit={ask.marker}', f'wpaudit={marker}'))
        return replace(ask, request=request, marker=marker)
    url, mark, part = ask.request.url.partition('#')
    joint = '&' if '?' in url else '?'
    request = replace(ask.request, url=f'{url}{joint}wpaudit={marker}{mark}{part}')
    return replace(ask, request=request, marker=marker)


def page_request(url: str, headers: tuple[tuple[str, str], ...]) -> Request:
    """Return the request of an ordinary visitor, with what the user wants to be sent."""
    request = Request(url, headers=headers)
    named = {name.lower() for name, _ in headers}
    return request if 'user-agent' in named else _with(request, ('User-Agent', VISITOR))


def fresh(page: Request) -> Ask:
    """Ask past every cache."""
    return marked(Ask(Purpose.FRESH, _with(page, *_PAST_CACHES), needed=True))


def statics(site: str, page: Request) -> list[Ask]:
    """Ask for a file that needs no PHP: of the site, and of its host when the site is in a folder."""
    base = site if site.endswith('/') else f'{site}/'
    urls = dict.fromkeys((urljoin(base, STATIC), urljoin(base, f'/{STATIC}')))
    return [marked(Ask(Purpose.STATIC, replace(page, url=url), needed=True)) for url in urls]


def devices(page: Request) -> list[Ask]:
    """Ask as other devices do."""
    agents = {
        Purpose.DESKTOP: DESKTOP, Purpose.PHONE: PHONE, Purpose.SEARCH_ENGINE: SEARCH_ENGINE, Purpose.NO_AGENT: '',
    }
    return [marked(Ask(purpose, _with(page, ('User-Agent', agent)))) for purpose, agent in agents.items()]


def with_cookies(page: Request, given: tuple[tuple[str, str], ...], first: Answer | None) -> list[Ask]:
    """Ask with the user's cookies, twice since they are what was asked about, or else with those the site has set."""
    if given:
        logged_in = any(name.startswith('wordpress_logged_in_') for name, _ in given)
        purpose = Purpose.LOGGED_IN if logged_in else Purpose.COOKIES
        return [marked(Ask(purpose, replace(page, cookies=given), needed=True)) for _ in range(2)]
    found = cookies_set(first) if first is not None else ()
    return [marked(Ask(Purpose.COOKIES, replace(page, cookies=found)))] if found else []


def doubtful(asks: Sequence[Ask], made: Sequence[Look]) -> list[Ask]:
    """Return the asks that may have come out as they did by luck: what went otherwise than the plain refreshes did.

    Where those are unsteady it is what went well, since one failure is proof enough. Where addresses differ it is all
    of them too.
    """
    def outcomes(ask: Ask) -> set[bool]:
        return {fails(look) for look in made if look.purpose is ask.purpose and ask.address in {'', look.address}}

    expected = plain(made)
    unlucky = {False} if len(expected) > 1 else {True, False} - expected
    found = [ask for ask in asks if expected and len(outcomes(ask)) == 1 and outcomes(ask) <= unlucky]
    addresses = [ask for ask in asks if ask.purpose is Purpose.ADDRESS]
    if len({outcome for ask in addresses for outcome in outcomes(ask)}) > 1:
        found += [ask for ask in addresses if ask not in found]
    return found


def telling(made: Sequence[Look]) -> list[Look]:
    """Return the looks without those that were given up sooner than the page was answered elsewhere.

    They would have had to wait longer to see what it does; where nothing was answered, all of them say so.
    """
    answered = (look.answer for look in made if _of_page(look) and look.answer.status and not look.answer.error)
    longest = max((answer.seconds for answer in answered), default=0.0)
    return [look for look in made if not (_of_page(look) and _given_up(look) and look.answer.seconds < longest)]


def untold(made: Sequence[Look], kept: Sequence[Look]) -> list[str]:
    """Say what ``telling`` has left out."""
    out = [look for look in made if look not in kept]
    if not out:
        return []
    waits = ', '.join(f'{look.purpose} after {look.answer.seconds:.1f} s' for look in out)
    return [f'given up sooner than the page takes, so that it says nothing: {waits}']


def _of_page(look: Look) -> bool:
    return look.purpose not in {Purpose.INSIDE, Purpose.STATIC}


def _given_up(look: Look) -> bool:
    return look.answer.error == 'timeout' and 'connecting' not in look.answer.detail


def plain(made: Sequence[Look]) -> set[bool]:
    """Return whether refreshes failed (True), went well (False), or both."""
    return {fails(look) for look in made if look.purpose is Purpose.REFRESH}


def cookies_set(answer: Answer) -> tuple[tuple[str, str], ...]:
    """Return the cookies that an answer sets, as a browser would send them back; at most twenty."""
    found = dict(_COOKIE.findall(answer.headers.get('set-cookie', '')[:65536]))
    return tuple(found.items())[:_MAX_COOKIES]


def moved_to(asked: str, answer: Answer) -> str:
    """Return where an answer sends visitors of ``asked`` when that is another host, else ''."""
    location = answer.headers.get('location', '') if answer.status // 100 == 3 else ''  # noqa: PLR2004 - RFC 9110, 15.4
    if answer.error or not location:
        return ''
    try:
        target, before = urlsplit(urljoin(answer.url or asked, location)), urlsplit(asked)
        elsewhere = target.hostname is not None and (target.hostname, target.port) != (before.hostname, before.port)
    except ValueError:  # not a URL
        return ''
    if target.scheme not in {'http', 'https'} or not elsewhere or '@' in target.netloc:
        return ''
    return target._replace(fragment='').geturl()


def at_host_of(target: str, url: str) -> str:
    """Return ``url`` as it is at the host of ``target``."""
    there = urlsplit(target)
    return urlsplit(url)._replace(scheme=there.scheme, netloc=there.netloc).geturl()


def _with(request: Request, *fields: tuple[str, str]) -> Request:
    """Return ``request`` with these fields instead of its own of the same names."""
    names = {name.lower() for name, _ in fields}
    kept = tuple(field for field in request.headers if field[0].lower() not in names)
    return replace(request, headers=(*kept, *fields))
