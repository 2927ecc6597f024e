"""Reports as runs make them, with a host that means harm in its strings."""

from __future__ import annotations

from dataclasses import replace

from wpaudit.domain import Check
from wpaudit.domain import Claim
from wpaudit.domain import Component
from wpaudit.domain import Evidence
from wpaudit.domain import Exemption
from wpaudit.domain import Gap
from wpaudit.domain import Inventory
from wpaudit.domain import Kind
from wpaudit.domain import Mode
from wpaudit.domain import Outcome
from wpaudit.domain import ProbeRecord
from wpaudit.domain import Report
from wpaudit.domain import Restoration
from wpaudit.domain import Role
from wpaudit.domain import SiteFacts
from wpaudit.domain import Suspect
from wpaudit.domain import Verdict

HOSTILE = 'Evil\x1b[31m [bold]x[/bold] \x1b]0;t\x07\u202egpj.exe\udcff\r\n:smile:'

FACTS = SiteFacts('6.8.1', '8.2.7', 'nginx/1.22.1', False, 'https://shop.example', '/srv/www', 'www-data', 'MariaDB')
ACME = Suspect('acme/acme.php', Kind.PLUGIN, 'Acme Slider', '2.3')
FORMS = Suspect('forms/forms.php', Kind.PLUGIN, HOSTILE, '1.0')

CLAIMS = (
    Claim('everything on: the site fails', Outcome.FAIL, True, off=()),
    Claim('everything off that can be switched off: the site works', Outcome.PASS, True, on=()),
    Claim('only acme/acme.php on: the site fails', Outcome.FAIL, True, on=('acme/acme.php',)),
    Claim('acme/acme.php off, everything else on: the site works', Outcome.PASS, True, off=('acme/acme.php',)),
    Claim('only forms/forms.php off: the site fails', Outcome.FAIL, False, off=('forms/forms.php',)),
)

CULPRIT = Report(
    command='bisect', version='0.1.0', started='2026-01-02T03:04:05Z', finished='2026-01-02T03:04:09Z',
    target_host='deploy@shop.example', target_path='/srv/www', target_url='https://shop.example',
    outcome=Verdict.CULPRIT, exit_code=1, message='the plugin Acme Slider 2.3 (acme/acme.php) makes the site fail',
    site=FACTS, mode=Mode.ISOLATED, conflicts=((ACME,),), fixes=((ACME,),), confidence=0.99, certificate=CLAIMS,
    probes=(
        ProbeRecord(1, Role.BASELINE, (), Outcome.FAIL, 502, 0.0412, 'HTTP 502 from nginx: a status that counts'),
        ProbeRecord(2, Role.SEARCH, ('acme/acme.php',), Outcome.PASS, 200, 0.12, 'HTTP 200'),
        ProbeRecord(3, Role.SEARCH, tuple(f'p{n}/p{n}.php' for n in range(9)), Outcome.UNREACHED, 0, 30.0, HOSTILE),
    ),
    suspects=(ACME, FORMS),
    evidence=(Evidence('php-fpm log', HOSTILE, ('forms/forms.php',), 0.5),
              Evidence('error.log', 'child exited on signal 11', ('acme/acme.php',), 2.0),
              Evidence('recorder', 'died in acme @ init', ('acme/acme.php',), 1000.0, 'certified by probes 3 and 4')),
    gaps=(Gap('firewall rules', 'not read by this version'),),
    restore=Restoration(True, 'sha256:aa', 'sha256:aa', (), 0.0),
    exemptions=(Exemption('942100;ARGS:q', '942100', 'rule 942100 no longer looks at ARGS:q', (HOSTILE,)),),
    advice=('wp plugin deactivate acme/acme --path=/srv/www --skip-plugins --skip-themes', 'then tell its authors'),
    record='/home/me/.local/state/wpaudit/runs/1.json', costs={'total_seconds': 4.25, 'probes': 3.0},
)

BROKEN = replace(
    CULPRIT, exit_code=5, outcome=Verdict.ERROR, message='the original state is NOT verified as restored',
    conflicts=(), fixes=(), certificate=(), evidence=(), gaps=(), mode=Mode.LIVE,
    mode_reason='the canary never arrived',
    restore=Restoration(False, 'sha256:aa', 'sha256:bb', ('/srv/www/wp-content/mu-plugins/!wpaudit.php',), 12.34,
                        'somebody activated forms/forms.php', 'wpaudit restore --host deploy@shop.example'),
    advice=(), confidence=0.0,
)

HEALTHY = Report(
    command='bisect', version='0.1.0', started='', finished='', target_host='@shop', target_path='', target_url='',
    outcome=Verdict.HEALTHY, exit_code=0, message='the site does not fail; there is nothing to explain',
)

INVENTORY = Inventory(
    FACTS,
    (
        Component('acme/acme.php', Kind.PLUGIN, 'active', 'Acme Slider', '2.3', update='2.4'),
        Component('forms/forms.php', Kind.PLUGIN, 'inactive', HOSTILE, '1.0',
                  problems=('needs PHP 8.4, this is 8.2.7',)),
        Component('寿司/寿司.php', Kind.NETWORK_PLUGIN, 'network', '寿司 ภาษา', '1'),
        Component('object-cache.php', Kind.DROPIN, 'drop-in'),
    ),
    (Gap('wp-content/mu-plugins/x.php', 'permission denied'),),
)
RULES = (Suspect('942100', Kind.RULE, 'SQL injection', layer='modsecurity', where='/etc/modsecurity/crs.conf:12'),)

CHECKS = (
    Check('host', True, 'deploy@shop.example'),
    Check('mu-plugins', False, f'not writable {HOSTILE}', 'run as its owner: --run-as www-data'),
    Check('probe', None, 'https://shop.example answers 502 in 0.04 s', 'unused'),
)
