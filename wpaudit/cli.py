"""The command line: options become values, results become text. No logic."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from wpaudit import __version__
from wpaudit import app
from wpaudit import report
from wpaudit.commands.bisect import Options
from wpaudit.domain import Kind
from wpaudit.domain import Mode
from wpaudit.domain import Report
from wpaudit.domain import Verdict
from wpaudit.edge import guarded
from wpaudit.edge import say
from wpaudit.errors import UsageError
from wpaudit.probes.judge import Expectation
from wpaudit.probes.judge import parse_fail_on
from wpaudit.probes.judge import parse_statuses
from wpaudit.probes.parsing import parse_cookie
from wpaudit.probes.parsing import parse_header
from wpaudit.probes.parsing import parse_resolve

KINDS: dict[str, frozenset[Kind]] = {
    'plugins': frozenset({Kind.PLUGIN, Kind.NETWORK_PLUGIN}),
    'site-plugins': frozenset({Kind.PLUGIN}),
    'network-plugins': frozenset({Kind.NETWORK_PLUGIN}),
}

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
    for option in reversed((
        click.option('--host', required=True, metavar='TARGET',
                     help='[ssh:|local:][user@]host[:port][/path], or @alias of wp-cli.yml.'),
        click.option('--path', default='', help='Directory of WordPress on the host.  [default: the usual places]'),
        click.option('--url', default='', help='URL of the site or the blog.  [default: what it says itself]'),
        click.option('--identity', type=EXISTING, help='Private key for SSH.'),
        click.option('--ssh-config', type=EXISTING, help='Instead of ~/.ssh/config.'),
        click.option('--known-hosts', type=WRITABLE, help='Instead of ~/.ssh/known_hosts.'),
        click.option('--accept-new-host-key', is_flag=True, help='Trust a host never seen before, and note its key.'),
        click.option('--wp', default='', metavar='CMD', help='How to start WP-CLI there, e.g. "php ~/wp-cli.phar".'),
        click.option('--run-as', default='', metavar='USER', help='Instead of the owner of wp-config.php.'),
        click.option('--allow-root', is_flag=True, help='Run WordPress code as root if the site belongs to root.'),
        click.option('--output', type=WRITABLE, help='Write the result to a file.'),
        click.option('--quiet', is_flag=True, help='No progress on stderr.'),
        click.option('--verbose', is_flag=True, help='Every probe, one line each.'),
    )):
        command = option(command)
    return command


def format_option(command: Command) -> Command:
    """Add --format with the formats that exist."""
    names = click.Choice(sorted(report.FORMATS))
    return click.option('--format', 'style', type=names, default='text', show_default=True)(command)


@click.group(context_settings={'help_option_names': ['-h', '--help'], 'max_content_width': 110})
@click.version_option(__version__, prog_name='wpaudit')
def main() -> None:
    """Find the WordPress plugin that makes a site fail, prove it, and leave the site exactly as it was.

    \b
    Exit codes: 0 healthy; 1 culprit named; 2 usage; 3 fails for another reason; 4 could not start;
    5 NOT verified as restored; 6 inconclusive; 70 a bug; 130/143 interrupted.
    """


def _remote(values: dict[str, Any]) -> app.Remote:
    names = app.Remote.__dataclass_fields__
    return app.Remote(**{name: values[name] for name in names})


def _colour(output: Path | None) -> bool:
    return output is None and report.colourful(sys.stdout)


def _emit(text: str, output: Path | None) -> None:
    """Print a result, or write it; what cannot be written is printed rather than lost."""
    if output is not None:
        try:
            _write(output, text if text.endswith('\n') else f'{text}\n')
            return
        except OSError as error:
            say(f'{output} cannot be written ({error.strerror}), so the result is printed')
    click.echo(text, nl=not text.endswith('\n'))


def _write(output: Path, text: str) -> None:
    output.write_text(text, encoding='utf-8', errors='backslashreplace')


def _check_writable(output: Path) -> None:
    """Raise UsageError now rather than after the run. A file that exists keeps what it has."""
    try:
        there = output.exists()
        if there and not output.is_file():
            return  # a pipe or a device; opening it may have a meaning
        with output.open('ab'):
            pass
        if not there:
            output.unlink()
    except OSError as error:
        raise UsageError(f'{output} cannot be written: {error.strerror}', hint='name another --output') from error


@contextmanager
def _guarded(command: str, values: dict[str, Any]) -> Iterator[None]:
    """Run one verb; an error of it ends in a sentence, and as JSON where that was asked for."""
    output, style = values['output'], values.get('style', '')
    with guarded(_error_report(command, _remote(values), output) if style == 'json' else None):
        if output is not None:
            _check_writable(output)
        yield


# -- bisect ---------------------------------------------------------------------------------------

@main.command(epilog="""\b
Examples:
  wpaudit bisect --host deploy@shop.example/var/www/shop
  wpaudit bisect --host @shop --probe /checkout/ --cookie 'cart=1'
  wpaudit bisect --host @shop --as-user admin --probe /wp-admin/ --keep woocommerce
  wpaudit bisect --host local:/var/www/html --fail-on 500,502 --format json | jq .conflicts
  wpaudit bisect --host @shop --run 'curl -fsS -H "$WPAUDIT_HEADER" "$WPAUDIT_URL/cart/" | grep -q Total'
""")
@remote_options
@format_option
@click.option('--probe', 'probes', multiple=True, metavar='URL', help='Request this; repeatable.  [default: /]')
@click.option('--header', 'headers', multiple=True, metavar='"NAME: VALUE"', help='Sent with every probe; repeatable.')
@click.option('--cookie', 'cookies', multiple=True, metavar='NAME=VALUE', help='Sent with every probe; repeatable.')
@click.option('--as-user', default='', metavar='LOGIN', help='Probe logged in as this user; no password needed.')
@click.option('--resolve', 'resolve', multiple=True, metavar='HOST:ADDRESS', help='Connect to ADDRESS for HOST.')
@click.option('--ca-file', type=EXISTING, help='Trust these certificates for the probes.')
@click.option('--insecure', is_flag=True, help='Do not check the TLS certificate of the site.')
@click.option('--timeout', type=Seconds(1, 600), default=30, show_default=True, help='Seconds.')
@click.option('--fail-on', default='', metavar='CODES', help='E.g. 502,5xx,truncated,reset,timeout.')
@click.option('--expect-status', default='', metavar='CODES', help='Any other status is the failure.')
@click.option('--expect-text', default=None, metavar='TEXT', help='A page without TEXT is the failure.')
@click.option('--run', default='', metavar='CMD', help='Judge by a command: 0 good, 1-124 bad, 125 neither.')
@click.option('--mode', type=click.Choice(['auto', 'isolated', 'live']), default='auto', show_default=True,
              help="Switch for the probes' own requests only, or for everybody.")
@click.option('--suspects', type=click.Choice(sorted(KINDS)), default='plugins', show_default=True)
@click.option('--keep', multiple=True, metavar='NAME', help='Never switch this one off; repeatable.')
@click.option('--suspect', 'only', multiple=True, metavar='NAME', help='Switch only this one; repeatable.')
@click.option('--log', 'logs', multiple=True, metavar='FILE', help='Log on the host to read; repeatable.')
@click.option('--parallel', type=click.IntRange(1, 32), default=2, show_default=True, help='Probes at once.')
@click.option('--max-probes', type=click.IntRange(1), default=500, show_default=True)
@click.option('--max-time', type=Seconds(1, A_WEEK), default=900, show_default=True, help='Seconds.')
@click.option('--recorder/--no-recorder', default=True, show_default=True,
              help='Let a flight recorder watch one failing probe, for a hint where to begin.')
@click.option('--dry-run', is_flag=True, help='Look and plan; switch nothing.')
@click.option('--yes', is_flag=True, help='Go live without asking when isolated does not work.')
def bisect(**values: Any) -> None:
    """Find which plugins make the site fail, prove it by direct probes, put everything back."""
    style, output = values['style'], values['output']
    with _guarded('bisect', values):
        asked = _asked(values)
        with report.progress(quiet=values['quiet'], verbose=values['verbose']) as listener:
            result = app.run_bisect(
                _remote(values), asked, _options(values, listener), listener, logs=values['logs'],
                keep_record=report.json_text,
            )
        _emit(report.FORMATS[style](result, verbose=values['verbose'], colour=_colour(output)), output)
        sys.exit(result.exit_code)


def _asked(values: dict[str, Any]) -> app.Asked:
    fields: dict[str, Any] = {'expect_text': values['expect_text'], 'signed_in': bool(values['as_user'])}
    if values['fail_on']:
        fields['fail_on'] = parse_fail_on(values['fail_on'])
    if values['expect_status']:
        fields['expect_status'] = parse_statuses(values['expect_status'])
    return app.Asked(
        probes=values['probes'] or ('/',), timeout=values['timeout'], run=values['run'],
        expectation=Expectation(**fields),
        headers=tuple(parse_header(text) for text in values['headers']),
        cookies=tuple(parse_cookie(text) for text in values['cookies']),
        resolve=tuple(parse_resolve(text) for text in values['resolve']),
        verify=values['ca_file'] or not values['insecure'],
    )


def _options(values: dict[str, Any], talk: report.Talk) -> Options:
    return Options(
        mode=None if values['mode'] == 'auto' else Mode(values['mode']), keep=values['keep'], only=values['only'],
        kinds=KINDS[values['suspects']], as_user=values['as_user'], parallel=values['parallel'],
        max_probes=values['max_probes'], max_time=values['max_time'], dry_run=values['dry_run'],
        recorder=values['recorder'],
        may_go_live=_consent(talk, yes=values['yes']),
    )


def _consent(talk: report.Talk, *, yes: bool) -> Callable[[str], bool]:
    """Switching for everybody needs a yes: given in advance, or by a person at a terminal."""
    def ask(reason: str) -> bool:
        if yes:
            return True
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            return False
        with talk.paused():
            say(f'isolated switching does not work here: {reason}')
            try:
                return click.confirm('Switch plugins for all visitors, for the time of the search?', err=True)
            except click.Abort:  # end of file
                return False

    return ask


def _error_report(command: str, remote: app.Remote, output: Path | None) -> Callable[[str, str, int], None]:
    def emit(message: str, hint: str, code: int) -> None:
        now = app.rfc3339()
        result = Report(
            command=command, version=__version__, started=now, finished=now, target_host=remote.host,
            target_path=remote.path, target_url=remote.url, outcome=Verdict.ERROR, exit_code=code, message=message,
            advice=(hint,) if hint else (),
        )
        _emit(report.json_text(result), output)

    return emit


# -- the other verbs ------------------------------------------------------------------------------

@main.command('list', epilog="""\b
Examples:
  wpaudit list --host deploy@shop.example
  wpaudit list --host @shop --format json | jq '.components[] | select(.update != "")'
""")
@remote_options
@format_option
def list_(**values: Any) -> None:
    """List plugins, must-use plugins, drop-ins, themes and firewall rules, and what could not be read."""
    with _guarded('list', values):
        inventory, rules = app.run_list(_remote(values))
        output = values['output']
        _emit(report.LIST_FORMATS[values['style']](inventory, rules, colour=_colour(output)), output)


@main.command(epilog="""\b
Examples:
  wpaudit doctor --host deploy@shop.example
""")
@remote_options
@format_option
def doctor(**values: Any) -> None:
    """Check that the host can be reached, read and switched. Changes nothing."""
    with _guarded('doctor', values):
        checks = app.run_doctor(_remote(values), app.Asked())
        output = values['output']
        _emit(report.DOCTOR_FORMATS[values['style']](checks, colour=_colour(output)), output)
        sys.exit(4 if any(check.ok is False for check in checks) else 0)


@main.command(epilog="""\b
Examples:
  wpaudit restore --host deploy@shop.example
""")
@remote_options
def restore(**values: Any) -> None:
    """Put back what an interrupted run left, and verify it."""
    with _guarded('restore', values):
        done = app.run_restore(_remote(values))
        if done is None:
            _emit('There is nothing to restore: no run is open on this site.', values['output'])
        else:
            _emit(f'Restored and verified. {done.message}'.strip(), values['output'])
