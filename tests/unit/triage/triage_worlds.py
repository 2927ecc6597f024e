"""Sites as triage sees them: builders of looks, and pages as the servers write them."""

from __future__ import annotations

from dataclasses import replace

from wpaudit.domain import Answer
from wpaudit.facts import Disk
from wpaudit.facts import Handshake
from wpaudit.facts import HostState
from wpaudit.facts import LogLine
from wpaudit.facts import Look
from wpaudit.facts import Pool
from wpaudit.facts import Purpose
from wpaudit.facts import Resolution
from wpaudit.facts import Seen

URL = 'http://shop.example/'
NOW = 1_700_000_000.0
GIB = 1 << 30


def server_page(status: int, title: str, by: str = 'nginx/1.22.1') -> str:
    """nginx: ngx_http_special_response.c."""
    return (f'<html>\r\n<head><title>{status} {title}</title></head>\r\n<body>\r\n<center><h1>{status} {title}</h1>'
            f'</center>\r\n<hr><center>{by}</center>\r\n</body>\r\n</html>\r\n')


APACHE_503 = (
    '<!DOCTYPE HTML PUBLIC "-//IETF//DTD HTML 2.0//EN">\n<html><head>\n<title>503 Service Unavailable</title>\n'
    '</head><body>\n<h1>Service Unavailable</h1>\n<p>The server is temporarily unable to service your\nrequest '
    'due to maintenance downtime or capacity\nproblems. Please try again later.</p>\n<hr>\n<address>'
    'Apache/2.4.62 (Debian) Server at shop.example Port 80</address>\n</body></html>\n')
CRITICAL = (
    '<!DOCTYPE html><html lang="en-US"><head><title>WordPress &rsaquo; Error</title></head><body id="error-page">'
    '<div class="wp-die-message"><p>There has been a critical error on this website.</p></div></body></html>')
NO_DATABASE = (
    '<!DOCTYPE html><html lang="en-US"><head><title>Database Error</title></head><body id="error-page">'
    '<div class="wp-die-message"><h1>Error establishing a database connection</h1></div></body></html>')
MAINTENANCE = (
    '<html><body id="error-page"><h1>Briefly unavailable for scheduled maintenance. Check back in a minute.</h1>')
WORDFENCE = '<html><head><title>Your access to this site has been limited by the site owner</title></head></html>'
FATAL = '<br />\n<b>Fatal error</b>:  Uncaught Error: x in /srv/www/a.php:3 on line <b>3</b><br />'
CLOUDFLARE = '<html><title>shop.example | 502: Bad gateway</title><div id="cf-error-details"></div></html>'

GOOD = Answer(URL, 200, {'server': 'nginx', 'link': '<http://shop.example/wp-json/>; rel="https://api.w.org/"'},
              '<html></html>', 13, seconds=0.2)
IMAGE = Answer(URL, 200, {'server': 'nginx'}, 'GIF89a', 43, seconds=0.002)
BAD_502 = Answer(URL, 502, {'server': 'nginx'}, server_page(502, 'Bad Gateway'), 157, seconds=0.3)
BAD_503 = Answer(URL, 503, {'server': 'Apache'}, APACHE_503, 300, seconds=0.3)
BAD_504 = Answer(URL, 504, {'server': 'nginx'}, server_page(504, 'Gateway Time-out'), 167, seconds=60.02)
EDGE = {'server': 'cloudflare', 'cf-ray': '8f00000000000000-FRA'}


def instant(answer: Answer) -> Answer:
    return replace(answer, seconds=0.003)


def none(error: str, detail: str = '', seconds: float = 0.01) -> Answer:
    return Answer(URL, error=error, detail=detail or f'it is {error}', seconds=seconds)


def status(code: int, body: str = '', headers: dict[str, str] | None = None, seconds: float = 0.1) -> Answer:
    return Answer(URL, code, headers or {'server': 'nginx'}, body, len(body), seconds=seconds)


def look(
    purpose: Purpose, answer: Answer, n: int = 0, *, vantage: str = '', address: str = '', marker: str = '',
) -> Look:
    host = purpose in {Purpose.HOST_LOOPBACK, Purpose.HOST_PUBLIC, Purpose.FASTCGI, Purpose.INSIDE}
    return Look(purpose, answer, NOW + n, vantage or ('host' if host else 'here'), address, marker)


def refreshes(*answers: Answer, times: int = 10) -> tuple[Look, ...]:
    """Refresh `times` times, the answers in turn."""
    return tuple(look(Purpose.REFRESH, answers[n % len(answers)], n) for n in range(times))


def inside(answer: Answer, database: bool | None = True) -> Look:
    return replace(look(Purpose.INSIDE, answer), database=database)


def line(source: str, text: str, *, at: float = NOW + 0.2, matched: str = 'time', marker: str = '') -> LogLine:
    return LogLine(source, text, f'/var/log/{source}.log', at, matched, marker)


def reached(address: str = '203.0.113.7', *, tcp: str = '', tls: str = '', vantage: str = 'here') -> Handshake:
    return Handshake(address, 443, vantage, tcp_error=tcp, tcp_seconds=0.01, tls_error=tls, tls_seconds=0.02)


NAMED = Resolution('shop.example', 'here', ('203.0.113.7',), (), '', 0.01)
POOL = Pool('www', 'unix:/run/php/php8.2-fpm.sock', 'dynamic', 5, 0.0, 3, 1, 0, 511, 'answers', serves_site=True)
HOST = HostState(
    clock=0.0, load=0.2, processors=2, memory=4 * GIB, memory_available=2 * GIB, swap_free=GIB,
    disks=(Disk('/', 40 * GIB, 20 * GIB, 1_000_000),), pools=(POOL,), server='nginx')


def seen(*looks: Look, url: str = URL, **more: object) -> Seen:
    return replace(Seen(url, looks, resolutions=(NAMED,), handshakes=(reached(),)), **more)  # type: ignore[arg-type] # of a dataclass


# Lines as real servers wrote them, shortened in the middle.
def nginx(message: str, upstream: str = 'fastcgi://unix:/run/php/php8.2-fpm.sock:') -> str:
    return (f'2023/11/14 22:13:20 [error] 77#77: *12 {message}, client: 198.51.100.9, server: shop.example, '
            f'request: "GET /?wpaudit=abc HTTP/1.1", upstream: "{upstream}", host: "shop.example"')


FPM = '[14-Nov-2023 22:13:20] WARNING: [pool www] '
AT = '[Tue Nov 14 22:13:20.12 2023] '
SOCKET = 'unix:/run/php/php8.2-fpm.sock'
PROXY = 'http://127.0.0.1:8080/'
RESET = nginx('recv() failed (104: Connection reset by peer) while reading response header from upstream')
CUT = nginx('readv() failed (104: Connection reset by peer) while reading upstream')
BIG = nginx('upstream sent too big header while reading response header from upstream')
SLOW = nginx('upstream timed out (110: Connection timed out) while reading response header from upstream')
FATAL_LINE = nginx(
    'FastCGI sent in stderr: "PHP message: PHP Fatal error:  Uncaught Error: x in '
    '/srv/www/wp-content/plugins/acme/acme.php:12" while reading response header from upstream')
MODSECURITY = (
    '2023/11/14 22:13:20 [error] 7#7: *5 [client 1.2.3.4] ModSecurity: Access denied with code 403 (phase 2). Matched '
    '"Operator `Rx\' with parameter `x\'" [file "/etc/x.conf"] [line "3"] [id "942100"] [msg "SQL"], client: 1.2.3.4')
SEGV = f'{FPM}child 78 exited on signal 11 (SIGSEGV - core dumped) after 3.2 seconds from start'
SIGKILL = f'{FPM}child 78 exited on signal 9 (SIGKILL) after 3.2 seconds from start'
SIGTERM = f'{FPM}child 78 exited on signal 15 (SIGTERM) after 9.0 seconds from start'
TERMINATED = (
    f'{FPM}child 78, script \'/srv/www/index.php\' (request: "GET /index.php?a=b") execution timed out '
    '(3.703345 sec), terminating')
MAX_CHILDREN = f'{FPM}server reached pm.max_children setting (5), consider raising it'
SLOW_FRAME = '[0x00007f1c2d21a0d0] curl_exec() /srv/www/wp-content/plugins/acme/acme.php:12'
OOM = 'Memory cgroup out of memory: Killed process 78 (php-fpm8.2) total-vm:999kB, anon-rss:9kB, file-rss:0kB'
APACHE_BUSY = (
    f'{AT}[mpm_prefork:error] [pid 9] AH00161: server reached MaxRequestWorkers setting, consider raising the '
    'MaxRequestWorkers setting')
APACHE_REFUSED = (
    f'{AT}[proxy:error] [pid 9:tid 1] (111)Connection refused: AH02454: FCGI: attempt to connect to Unix domain socket '
    '/run/php/x.sock (localhost:8000) failed')
APACHE_RESET = (
    f'{AT}[proxy_fcgi:error] [pid 9:tid 1] (104)Connection reset by peer: [client 198.51.100.9:4711] AH01067: Failed '
    'to read FastCGI header')


def connecting(why: str, to: str = SOCKET) -> str:
    """A line of nginx about a connection that did not come about."""
    named = f' to {to}' if to.startswith('unix') else ''
    return nginx(f'connect(){named} failed ({why}) while connecting to upstream', f'fastcgi://{to}:' if named else to)
