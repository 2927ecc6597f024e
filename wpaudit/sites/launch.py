"""Start the agent on a host: find WordPress, WP-CLI and the right user, and say precisely what is missing."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from wpaudit.errors import CommandTimeout
from wpaudit.errors import ConnectionLost
from wpaudit.errors import SiteError
from wpaudit.errors import UsageError
from wpaudit.ports import STDERR_TAIL_BYTES
from wpaudit.ports import Process
from wpaudit.ports import Shell

START_SECONDS = 60.0
GRACE = 1.0  # seconds to leave for one that has changed nothing yet
NOISE_LINES = 10_000  # what a login shell, PHP and must-use plugins may print before the agent answers

# Reads the agent's length and text from stdin: no file on the host, nothing of size on argv.
BOOTSTRAP = (
    '$n=(int)fgets(STDIN);$c="";'
    'while(strlen($c)<$n&&!feof(STDIN)){$c.=fread(STDIN,$n-strlen($c));}eval($c);'
)


@dataclass(frozen=True)
class LaunchOptions:
    """How to find and start WP-CLI. Empty values mean: look in the usual places."""

    path: str = ''
    wp: str = ''  # a command line, such as "php ~/wp-cli.phar"
    run_as: str = ''
    allow_root: bool = False
    url: str = ''  # chooses the blog in a network


@dataclass(frozen=True)
class Launched:
    """WP-CLI waiting for the agent's text, and how it was started."""

    process: Process
    path: str
    user: str
    become: tuple[str, ...]  # words that put a command under the right user; empty for the login itself
    wp: tuple[str, ...]


def php_text(name: str) -> str:
    """Return one of the texts that are sent to hosts."""
    return resources.files('wpaudit.sites').joinpath('php', name).read_text(encoding='utf-8')


def agent_source() -> str:
    """Return the agent as PHP without opening tags, ready for ``eval``."""
    return joined('agent.php', 'inventory.php', 'state.php')


def joined(*names: str) -> str:
    """Return several PHP texts as one without opening tags, ready for ``eval``."""
    return '\n'.join(php_text(name).removeprefix('<?php') for name in names)


def launch(
    shell: Shell, options: LaunchOptions, started: Callable[[Process], None] = lambda process: None,
) -> Launched:
    """Start WP-CLI under the owner of wp-config.php. Raises SiteError with what is missing; changes nothing.

    ``started`` is told of the process at once, so that another thread can end one that hangs.
    """
    try:
        words = shlex.split(options.wp)
    except ValueError as error:
        raise UsageError(f'--wp {options.wp} cannot be read: {error}', hint='quote it as for a shell') from error
    process = shell.start([
        'sh', '-c', php_text('start.sh'), 'wpaudit',
        options.path, options.run_as, 'root' if options.allow_root else '', options.url, BOOTSTRAP, *words,
    ])
    started(process)
    try:
        return _greeted(process, options)
    except BaseException:
        process.end(grace=GRACE)
        raise


def _greeted(process: Process, options: LaunchOptions) -> Launched:
    said: dict[str, list[str]] = {}
    for _ in range(NOISE_LINES):
        word, value = _said(process)
        if word == 'error':
            raise _missing(value, options)
        if word == 'ready':
            return _ready(process, said)
        said.setdefault(word, []).append(value)
    raise SiteError('the login shell of the host prints without end', hint='look at its .bashrc and .profile')


def _ready(process: Process, said: Mapping[str, Sequence[str]]) -> Launched:
    try:
        path, user, become = said['path'][0], said['user'][0], said['become'][0]
        words = tuple(said['wp'])
    except KeyError as error:
        raise SiteError(f'the host did not say which {error.args[0]} it found') from error
    return Launched(process, path, user, (*become.split(), user, '--') if become else (), words)


def _said(process: Process) -> tuple[str, str]:
    """Return the next ``@wpaudit WORD VALUE`` line; other lines count as word ``''``."""
    try:
        line = process.receive(timeout=START_SECONDS)
    except CommandTimeout as error:
        raise SiteError('the host did not start WP-CLI within 60 s', hint='is its login shell waiting?') from error
    if not line:
        raise ended(process, '')
    text = line.decode('utf-8', 'surrogateescape').rstrip('\n')
    if not text.startswith('@wpaudit '):
        return '', ''
    word, _, value = text.removeprefix('@wpaudit ').partition(' ')
    return word, value


def _missing(value: str, options: LaunchOptions) -> SiteError:
    word, _, detail = value.partition(' ')
    owner, _, me = detail.partition(' ')
    sentences = {
        'no-path': (f'there is no directory {detail} on the host', 'give the path of WordPress with --path'),
        'not-wordpress': (
            f'{detail} is not a WordPress directory (no wp-load.php in it)', 'give the path of WordPress with --path'),
        'no-wordpress': (
            f'no WordPress was found in {detail} or the usual places', 'give its path with --path or in the target'),
        'several': (
            f'several WordPress sites were found: {detail.replace(":", ", ")}', 'choose one with --path'),
        'no-config': (f'{detail} has no wp-config.php: WordPress is not set up there', 'is this the right --path?'),
        'no-php': (
            f'there is no php on the host (looked in {detail})',
            'install php-cli, or name it: --wp "/path/to/php wp.phar"'),
        'no-wp': (
            f'WP-CLI was not found on the host (looked for {options.wp or f"wp in {detail}"})',
            'install it (https://wp-cli.org), or name it: --wp "php ~/wp-cli.phar"'),
        'no-user': (f'there is no user {detail} on the host', 'is --run-as right?'),
        'not-owner': (
            f'wp-config.php belongs to {owner}, the login is {me}, and sudo -n does not lead there',
            f'log in as {owner}, or allow "{me} ALL=({owner}) NOPASSWD: ALL" in sudoers, or insist with --run-as {me}'),
        'root': (
            f'{detail} belongs to root, and WordPress code is never run as root by accident',
            'give the site an owner of its own, use --run-as USER, or insist with --allow-root'),
        'unreadable': (f'{detail} cannot be read by this login', 'use --run-as with the owner of the site'),
    }
    message, hint = sentences.get(word, (f'the host could not start WP-CLI: {value}', ''))
    return SiteError(message, hint=hint)


def ended(process: Process, printed: str) -> SiteError:
    """Say why WP-CLI ended before the agent answered, from what it printed."""
    try:
        status = process.wait(timeout=5)
    except (CommandTimeout, ConnectionLost):
        status = -1
    tail = process.stderr_tail()
    if len(tail) >= STDERR_TAIL_BYTES:  # it begins somewhere in a line
        tail = tail.partition(b'\n')[2] or tail
    text = printed + tail.decode('utf-8', 'replace')
    message, hint = diagnosis(text, status)
    return SiteError(message, hint=hint)


ANOTHER_PHP = 'name another: --wp "php8.2 /path/to/wp"'
BY_HAND = 'try there: wp eval 1 --skip-plugins --skip-themes'

# What WP-CLI 2.x and PHP 7.2-8.4 print, with what it means; the first that is found counts.
SIGNS = (
    ('Error establishing a database connection', 'WordPress cannot reach its database',
     'is the database server up, and are DB_HOST, DB_USER and DB_PASSWORD in wp-config.php right?'),
    ('Error: Site ', 'the network has no site with this --url', 'list them with: wp site list'),
    ('The site you have requested is not installed', 'WordPress is not installed in this database',
     'run the installer first, or check the table prefix'),
    ('YIKES!', 'WP-CLI refuses to run as root', 'use --run-as with the owner of the site'),
    ('must be run with PHP', 'the PHP of the command line is too old for WP-CLI', ANOTHER_PHP),
    ('requires a PHP version', 'the PHP of the command line is too old for WordPress', ANOTHER_PHP),
    ('is missing the MySQL extension', 'the PHP of the command line has no MySQL extension', 'install php-mysql'),
    ('Allowed memory size', 'PHP ran out of memory on the command line', 'raise memory_limit for it'),
    ('Out of memory', 'PHP ran out of memory on the command line', 'does the host have any left?'),
    ('This does not seem to be a WordPress installation', 'WP-CLI finds no WordPress at this path', 'check --path'),
)

# Whose file the first error names; the trace after it names many that have no part in it.
FILES = (
    ('/mu-plugins/', 'a must-use plugin breaks WordPress on the command line',
     'repair or move it; WP-CLI cannot skip must-use plugins'),
    ('/wp-content/', 'a drop-in breaks WordPress on the command line',
     'repair or move it; WP-CLI cannot skip drop-ins'),
    ('wp-config.php', 'wp-config.php breaks WordPress on the command line', 'repair the line named'),
    # WP-CLI evaluates it there
    ('/WP_CLI/Runner.php(', 'wp-config.php breaks WordPress on the command line', 'repair the line named'),
)


def diagnosis(text: str, status: int) -> tuple[str, str]:
    """Return (sentence, hint) for what a failed WP-CLI printed and its exit status."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if 'rror' in line or 'YIKES' in line] or lines[-1:]
    quoted = f': {telling[0][:300]}' if telling else ''
    for signs, where in ((SIGNS, text), (FILES, quoted)):
        for sign, message, hint in signs:
            if sign in where:
                return message + quoted, hint
    if status == 139:  # noqa: PLR2004 - 128 + SIGSEGV
        return 'PHP of the command line crashed (SIGSEGV) while WordPress started', BY_HAND
    return f'WP-CLI ended (status {status}) before the agent answered{quoted}', BY_HAND
