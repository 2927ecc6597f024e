"""Options that several verbs of the command line share."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from wpaudit import report

Command = Callable[..., None]
WRITABLE = click.Path(dir_okay=False, path_type=Path)
A_WEEK = 7 * 86400
EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)


class Seconds(click.FloatRange):
    """A number of seconds. ``nan`` lies within every range, so it is refused here."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read one."""
        seconds: float = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f'{value!r} is not a number of seconds.', param, ctx)
        return seconds


def remote_options(command: Command) -> Command:
    """Add what every verb that goes to a host takes."""
    return host_option(place_options(command), required=True)


def host_option(command: Command, *, required: bool = False) -> Command:
    """Add --host."""
    option = click.option(
        '--host', required=required, default=None if required else '', metavar='TARGET',
        help='[ssh:|local:][user@]host[:port][/path], or @alias of wp-cli.yml.',
    )
    return option(command)


def place_options(command: Command) -> Command:
    """Add where the site is on a host, how to get there, and where the result goes."""
    return _with(
        command,
        click.option('--path', default='', help='Directory of WordPress on the host.  [default: the usual places]'),
        click.option('--url', default='', help='URL of the site or the blog.  [default: what it says itself]'),
        click.option('--identity', type=EXISTING, help='Private key for SSH.'),
        click.option('--ssh-config', type=EXISTING, help='Instead of ~/.ssh/config.'),
        click.option('--known-hosts', type=WRITABLE, help='Instead of ~/.ssh/known_hosts.'),
        click.option('--accept-new-host-key', is_flag=True, help='Trust a host never seen before, and note its key.'),
        click.option('--wp', default='', metavar='CMD', help='How to start WP-CLI there, e.g. "php ~/wp-cli.phar".'),
        click.option('--run-as', default='', metavar='USER', help='Instead of the owner of wp-config.php.'),
        click.option('--allow-root', is_flag=True, help='Run WordPress code as root if the site belongs to root.'),
        click.option('--sudo', is_flag=True,
                     help='Read and switch firewalls with sudo -n where only root may; see: wpaudit doctor --sudo.'),
        click.option('--output', type=WRITABLE, help='Write the result to a file.'),
        click.option('--quiet', is_flag=True, help='No progress on stderr.'),
        click.option('--verbose', is_flag=True, help='Every probe, one line each.'),
    )


def request_options(command: Command) -> Command:
    """Add how requests reach the site, and how long each may take."""
    return _reaching(command, click.option(
        '--timeout', type=Seconds(1, 600), default=30, show_default=True, help='Seconds.'))


def look_options(command: Command) -> Command:
    """Add how requests reach the site, and how long each may take where the user wants them to take longer."""
    return _reaching(
        command,
        click.option('--timeout', type=Seconds(1, 600), help='Seconds for an answer.  [default: 11 for all together]'),
        click.option('--max-time', type=Seconds(5, 3600), help='Seconds for everything.  [default: 120]'),
    )


def _reaching(command: Command, *times: Callable[[Command], Command]) -> Command:
    return _with(
        command,
        click.option('--resolve', multiple=True, metavar='HOST:ADDRESS', help='Connect to ADDRESS for HOST.'),
        click.option('--ca-file', type=EXISTING, help='Trust these certificates for the site.'),
        click.option('--insecure', is_flag=True, help='Do not check the TLS certificate of the site.'),
        *times,
    )


def format_option(command: Command) -> Command:
    """Add --format with the formats that exist."""
    names = click.Choice(sorted(report.FORMATS))
    return click.option('--format', 'style', type=names, default='text', show_default=True)(command)


def _with(command: Command, *options: Callable[[Command], Command]) -> Command:
    """Return ``command`` with ``options`` in the order of its help."""
    for option in reversed(options):
        command = option(command)
    return command
