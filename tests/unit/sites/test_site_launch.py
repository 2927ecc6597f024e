"""How WP-CLI is started, and the sentence for everything that keeps it from starting."""

from __future__ import annotations

import shlex
import subprocess

import pytest

from fixtures.shells import Script
from fixtures.shells import ScriptedShell
from wpaudit.errors import SiteError
from wpaudit.errors import UsageError
from wpaudit.sites.launch import BOOTSTRAP
from wpaudit.sites.launch import LaunchOptions
from wpaudit.sites.launch import agent_source
from wpaudit.sites.launch import diagnosis
from wpaudit.sites.launch import launch
from wpaudit.sites.launch import php_text

DATABASE = 'WordPress cannot reach its database'
MUST_USE = 'a must-use plugin breaks WordPress on the command line'
DROP_IN = 'a drop-in breaks WordPress on the command line'
CONFIG = 'wp-config.php breaks WordPress on the command line'
RUNNER = 'phar:///opt/wp-cli.phar/vendor/wp-cli/wp-cli/php/WP_CLI/Runner.php(1334)'
TRACE = f'''
Stack trace:
#0 /srv/www/wp-content/mu-plugins/loader.php(3): no()
#1 {RUNNER} : eval()'d code(26): require_once()
#2 /srv/www/wp-config.php(12): x()
'''


@pytest.mark.parametrize(('text', 'status', 'sentence'), [
    ('Error: Error establishing a database connection.\n', 1, DATABASE),
    ('PHP Fatal error:  Uncaught Error in /srv/www/wp-content/mu-plugins/a.php:3', 255, MUST_USE),
    (f'PHP Fatal error:  Uncaught Error in /srv/www/wp-content/object-cache.php:3{TRACE}', 255, DROP_IN),
    (f"PHP Fatal error:  Uncaught Error in {RUNNER} : eval()'d code:17{TRACE}", 255, CONFIG),
    (f"PHP Parse error:  syntax error in {RUNNER} : eval()'d code on line 5", 255, CONFIG),
    ('PHP Fatal error:  Uncaught Error in /srv/www/wp-config.php:3', 255, CONFIG),
    ("Error: Site 'x.test/' not found. Verify `--url=<url>` matches an existing site.", 1, 'the network has no site'),
    ('Error: YIKES! It looks like you are running this as root.', 1, 'WP-CLI refuses to run as root'),
    ('PHP Fatal error:  Allowed memory size of 1 bytes exhausted', 255, 'PHP ran out of memory'),
    ('', 139, 'PHP of the command line crashed (SIGSEGV)'),
    ('', 3, 'WP-CLI ended (status 3) before the agent answered'),
    ('Closed for today.\n', 0, 'WP-CLI ended (status 0) before the agent answered: Closed for today.'),
    (f'PHP Fatal error:  Uncaught Error in /somewhere/else.php:3{TRACE}', 255, 'WP-CLI ended (status 255)'),
])
def test_what_wp_printed_becomes_a_sentence_and_a_hint(text: str, status: int, sentence: str) -> None:
    message, hint = diagnosis(text, status)
    assert message.startswith(sentence)
    assert hint
    assert '\n' not in message


def test_the_first_error_is_quoted_and_cut() -> None:
    message, _ = diagnosis('Notice: one\nError: ' + 'x' * 5000 + '\nError: two\n', 1)
    assert ': Error: xxx' in message
    assert len(message) < 400


def argv(options: LaunchOptions) -> tuple[str, ...]:
    root = 'root' if options.allow_root else ''
    words = shlex.split(options.wp)
    start = php_text('start.sh')
    return ('sh', '-c', start, 'wpaudit', options.path, options.run_as, root, options.url, BOOTSTRAP, *words)


def host(stdout: bytes, options: LaunchOptions = LaunchOptions()) -> ScriptedShell:
    return ScriptedShell({argv(options): Script(stdout=stdout)})


READY = b'@wpaudit wp wp\n@wpaudit path /srv/www\n@wpaudit user shop\n@wpaudit become \n@wpaudit ready\n'


def test_ready() -> None:
    options = LaunchOptions('/srv/www', wp='php "my wp.phar"', run_as='shop', url='https://shop.example')
    launched = launch(host(b'noise\n@noise ready\n' + READY, options), options)
    assert (launched.path, launched.user, launched.become, launched.wp) == ('/srv/www', 'shop', (), ('wp',))


def test_ready_as_somebody_else() -> None:
    ready = READY.replace(b'become ', b'become sudo -n -H -u')
    assert launch(host(ready), LaunchOptions()).become == ('sudo', '-n', '-H', '-u', 'shop', '--')


@pytest.mark.parametrize(('stdout', 'sentence'), [
    (b'@wpaudit ready\n', 'did not say which'),
    (READY.replace(b'@wpaudit path /srv/www\n', b''), 'did not say which path'),
    (b'@wpaudit error no-such-word x y\n', 'the host could not start WP-CLI: no-such-word x y'),
    (b'@wpaudit error\n', 'the host could not start WP-CLI'),
    (b'@wpaudit error no-path /a b\n', 'there is no directory /a b on the host'),
    (b'@wpaudit error several /a:/b\n', 'several WordPress sites were found: /a, /b'),
    (b'@wpaudit error not-owner shop me\n', 'wp-config.php belongs to shop, the login is me'),
    (b'@wpaudit error root /srv/www/wp-config.php\n', 'never run as root by accident'),
    (b'x\n' * 10_001 + READY, 'prints without end'),
    (b'waiting', 'did not start WP-CLI'),
])
def test_what_the_host_says_instead(stdout: bytes, sentence: str) -> None:
    shell = host(stdout)
    with pytest.raises(SiteError) as caught:
        launch(shell, LaunchOptions())
    assert sentence in str(caught.value)
    assert all(process.ended for process in shell.processes)


def test_a_command_that_cannot_be_split() -> None:
    with pytest.raises(UsageError, match='No closing quotation'):
        launch(host(READY), LaunchOptions(wp='php "unclosed'))


def test_what_is_sent_to_hosts_is_valid() -> None:
    assert subprocess.run(['sh', '-n'], input=php_text('start.sh'), text=True, check=False).returncode == 0
    assert subprocess.run(['sh', '-n'], input=php_text('watchdog.sh'), text=True, check=False).returncode == 0
    assert '<?php' not in agent_source()
