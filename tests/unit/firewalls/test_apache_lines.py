"""What Apache logs about refused requests, in lines of httpd 2.4.71."""

from __future__ import annotations

from fixtures.firewalls.visits import rule_text
from wpaudit.domain import Evidence
from wpaudit.firewalls.apache.lines import BROKEN
from wpaudit.firewalls.apache.lines import MOST_HINTS
from wpaudit.firewalls.apache.lines import SOURCE
from wpaudit.firewalls.apache.lines import WEIGHT
from wpaudit.firewalls.apache.lines import Hint
from wpaudit.firewalls.apache.lines import evidence
from wpaudit.firewalls.apache.lines import hints
from wpaudit.firewalls.apache.reader import read
from wpaudit.firewalls.apache.units import Sort
from wpaudit.firewalls.apache.wrapper import units

HEAD = '[Mon Nov 23 03:16:19.739296 2026]'
REFUSED = 'client denied by server configuration:'
REQUIRE = f'{HEAD} [authz_core:error] [pid 2:tid 9] [client 10.0.0.1:56566] AH01630: {REFUSED} /srv/www/page.html\n'
DENY = f'{HEAD} [access_compat:error] [pid 2] [client ::1:0] AH01797: {REFUSED} /srv/www/a b, referer: http://x/\n'
LOOP = f'{HEAD} [core:error] [pid 1:tid 2] [client 10.0.0.1:5] AH00124: Request exceeded the limit of 10 redirects'
ALERT = f'{HEAD} [core:alert] [pid 1:tid 2] [client 10.0.0.1:5] /srv/www/.htaccess: RewriteRule: bad flag delimiters'


def test_lines_that_say_something() -> None:
    assert hints([REQUIRE, DENY, LOOP, ALERT]) == (
        Hint('AH01630', (Sort.REQUIRE,), 'a Require line refused it', '/srv/www/page.html', '10.0.0.1'),
        Hint('AH01797', (Sort.DENY, Sort.SETENVIF), 'a Deny line refused it', '/srv/www/a b', '::1'),
        Hint('AH00124', (Sort.REWRITE,), 'rewrite rules went round in circles', '', '10.0.0.1'),
        Hint(BROKEN, (), 'RewriteRule: bad flag delimiters', '/srv/www/.htaccess', '10.0.0.1'),
    )


def test_other_lines_and_repetitions_say_nothing() -> None:
    other = [
        '', 'noise', f'{HEAD} [core:notice] [pid 1] AH00094: Command line', 'AH01630: client denied',
        f'{HEAD} [authz_core:error] [client 10.0.0.1:1] AH01631: user x: authorization failure for "/": ',
        '\x1b[31m\udcff' * 99,
        # what a visitor sends stands behind what Apache says
        f'{HEAD} [core:info] [client 10.0.0.1:1] AH00128: File does not exist: /a] AH01630: {REFUSED} /srv/www/b',
        f'{HEAD} [x:error] [client 10.0.0.1:1] AH00001: [core:alert] [pid 1] /srv/www/.htaccess: nonsense',
        '[core:alert] ] /' * 2_000, f'{HEAD} ' + '[core:alert] ' * 2_000, ', referer: ' * 2_000,
    ]
    assert hints(other) == ()
    assert len(hints([REQUIRE] * 50)) == 1
    assert len(hints(REQUIRE.replace('page', f'page{number}') for number in range(MOST_HINTS * 2))) == MOST_HINTS


def test_evidence_is_about_files_above_the_one_that_was_asked_for() -> None:
    listed = {
        '/srv/www/.htaccess': units(read(rule_text('deny-files') + 'RewriteRule ^ - [F]\n')),
        '/srv/www/sub/.htaccess': units(read('Deny from all\n')),
        '/etc/apache2/sites/shop.conf': units(read('<Location />\nRequire all denied\n</Location>\n')),
    }
    suspects = tuple(f'/srv/www/.htaccess:{line}' for line in (2, 3, 6, 10))
    assert evidence(hints([DENY]), listed) == (Evidence(SOURCE, 'AH01797: a Deny line refused it', suspects, WEIGHT),)
    [required] = evidence(hints([REQUIRE]), listed)
    assert required.suspects == ('/etc/apache2/sites/shop.conf:2',)
    [looping] = evidence(hints([LOOP]), listed)
    assert looping.suspects == ('/srv/www/.htaccess:13',)
    assert evidence(hints([ALERT]), listed) == ()
