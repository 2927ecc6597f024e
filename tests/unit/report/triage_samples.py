"""Diagnoses as triage makes them, with a host that means harm in its strings."""

from __future__ import annotations

from report_samples import HOSTILE

from wpaudit.domain import Cost
from wpaudit.domain import Gap
from wpaudit.facts import Category
from wpaudit.facts import Cause
from wpaudit.facts import Clue
from wpaudit.facts import Diagnosis
from wpaudit.facts import Effort
from wpaudit.facts import Hop
from wpaudit.facts import Place
from wpaudit.facts import Rate
from wpaudit.facts import State
from wpaudit.facts import TriageReport

CRASH = Cause(
    Category.INVALID_RESPONSE, 'worker-crash', 0.997, 'a PHP process crashes while it makes the page (SIGSEGV)',
    'wpaudit bisect finds the plugin that makes it crash; then update it, PHP and its extensions', bisect_helps=True,
    supports=('a PHP process crashed (/var/log/php-fpm.log: [pool www] child 78 exited on signal 11)', HOSTILE),
    contradicts=('nothing was seen of it from elsewhere',),
)
SLOW = Cause(
    Category.SERVER_OVERLOAD, 'worker-timeout', 0.002, 'PHP takes longer than a time limit allows', 'look',
    bisect_helps=True)
HOPS = (
    Hop(Place.DNS, '203.0.113.7', 'ok', 0.011), Hop(Place.TCP, '203.0.113.7:443', 'ok', 0.02),
    Hop(Place.TLS, '203.0.113.7:443', 'ok', 0.03), Hop(Place.WEB_SERVER, 'nginx', 'ok', 0.002),
    Hop(Place.FPM, f'www {HOSTILE}', 'failed', 0.3, 'ended without a header'), Hop(Place.PHP, '', 'unknown', 0.0),
    Hop(Place.WORDPRESS, '', 'unknown', 0.0), Hop(Place.DATABASE, '', 'skipped', 0.0),
)
CLUES = (
    Clue('gateway-502', 'refresh', 'HTTP 502 from nginx'),
    Clue('worker-crashed', 'php-fpm', f'a PHP process crashed ({HOSTILE})', names={'pool': 'www', 'signal': 'SIGSEGV'}),
    Clue('php-fatal', 'nginx', 'a PHP fatal error', 'acme', 0.5),
)
COSTS = (
    Cost('acme', ('acme/acme.php',), 12, 2.51, 31 << 20, 2048, 40, 0.3, 3, 2.3,
         {'api.example': 2.0, HOSTILE: 0.2, 'c.example': 0.1}),
    Cost(HOSTILE, ('forms/forms.php',), 3, 0.02, 1 << 19),
    *(Cost(f'plugin-{n:02}', (f'plugin-{n:02}/x.php',), 1, 0.001 * (20 - n), 1 << 16, 10, 1) for n in range(20)),
)
FAILING = TriageReport(
    command='triage', version='0.1.0', started='2026-01-02T03:04:05Z', finished='2026-01-02T03:04:19Z',
    url='https://shop.example/', exit_code=1, target_host='deploy@shop.example', target_path='/srv/www',
    diagnosis=Diagnosis(
        State.SOMETIMES, Rate(0.3, 0.1078, 0.6032, 10, 'the failures come in bursts of up to 2 in a row'), HOPS,
        'nginx', CRASH, (SLOW,), CLUES, ('static files work, pages that PHP makes do not', HOSTILE),
        (Gap('log /var/log/nginx/error.log', 'permission denied'),), ('backed off: the site asked for time',), COSTS,
        effort=Effort(12, 1, 11.0)),
)
UNCLEAR = TriageReport(
    command='triage', version='0.1.0', started='', finished='', url='http://shop.example/', exit_code=6,
    diagnosis=Diagnosis(
        State.FAILING, Rate(1.0, 0.7225, 1.0, 10), HOPS[:2], '', Cause(
            Category.UNKNOWN, 'unknown', 0.2, 'it may be that all PHP workers are busy', 'run this again with --host',
            False),
        (SLOW,)),
)
JUST_ME = TriageReport(
    command='triage', version='0.1.0', started='', finished='', url='http://shop.example/', exit_code=1,
    diagnosis=Diagnosis(
        State.FAILING, Rate(1.0, 0.4385, 1.0, 3), (), '', Cause(
            Category.FIREWALL, 'ip-ban', 0.9, 'the address that the requests come from is banned', 'look', False),
        just_me=True),
)
HEALTHY = TriageReport(
    command='triage', version='0.1.0', started='', finished='', url='http://shop.example/', exit_code=0,
    diagnosis=Diagnosis(
        State.HEALTHY, Rate(0.0, 0.0, 0.2775, 10), HOPS[:2], '', Cause(
            Category.UNKNOWN, 'unknown', 1.0, 'nothing fails', '', False)),
)
