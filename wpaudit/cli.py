"""The command line: options become values, results become text. No logic."""

from __future__ import annotations

import sys
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import click

from wpaudit import __version__
from wpaudit import app
from wpaudit import report
from wpaudit.cli_options import A_WEEK
from wpaudit.cli_options import EXISTING
from wpaudit.cli_options import Seconds
from wpaudit.cli_options import format_option
from wpaudit.cli_options import host_option
from wpaudit.cli_options import look_options
from wpaudit.cli_options import place_options
from wpaudit.cli_options import remote_options
from wpaudit.cli_options import request_options
from wpaudit.cli_output import check_writable
from wpaudit.cli_output import colour
from wpaudit.cli_output import emit
from wpaudit.commands.options import Options
from wpaudit.domain import Kind
from wpaudit.domain import Mode
from wpaudit.domain import Report
from wpaudit.domain import Verdict
from wpaudit.edge import guarded
from wpaudit.edge import say
from wpaudit.probes.judge import Expectation
from wpaudit.probes.judge import parse_fail_on
from wpaudit.probes.judge import parse_statuses
from wpaudit.probes.parsing import parse_cookie
from wpaudit.probes.parsing import parse_header
from wpaudit.probes.parsing import parse_resolve

if TYPE_CHECKING:
    from wpaudit.app_triage import Wanted

PLUGINS = frozenset({Kind.PLUGIN, Kind.NETWORK_PLUGIN})
KINDS: dict[str, frozenset[Kind]] = {
    'auto': PLUGINS | {Kind.RULE},  # rules only where plugins do not explain the failure
    'all': PLUGINS | {Kind.RULE},
    'plugins': PLUGINS,
    'rules': frozenset({Kind.RULE}),
    'site-plugins': frozenset({Kind.PLUGIN}),
    'network-plugins': frozenset({Kind.NETWORK_PLUGIN}),
}


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


@contextmanager
def _guarded(command: str, values: dict[str, Any]) -> Iterator[None]:
    """Run one verb; an error of it ends in a sentence, and as JSON where that was asked for."""
    output, style = values['output'], values.get('style', '')
    with guarded(_error_report(command, _remote(values), output) if style == 'json' else None):
        if output is not None:
            check_writable(output)
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
@click.option('--request', 'pasted', multiple=True, type=EXISTING, metavar='FILE',
              help='Send the request in FILE: raw, or a curl command line as browsers copy it; repeatable.')
@click.option('--header', 'headers', multiple=True, metavar='"NAME: VALUE"', help='Sent with every probe; repeatable.')
@click.option('--cookie', 'cookies', multiple=True, metavar='NAME=VALUE', help='Sent with every probe; repeatable.')
@click.option('--as-user', default='', metavar='LOGIN', help='Probe logged in as this user; no password needed.')
@click.option('--cron', is_flag=True,
              help='Each probe runs the events of WP-Cron that are due, for a failure of which visitors see nothing. '
                   'Rows and mails are held back, and no event is used up; requests that events send and files that '
                   'they write are NOT held back, once a probe. Isolated mode only.')
@request_options
@click.option('--fail-on', default='', metavar='CODES', help='E.g. 502,5xx,truncated,reset,timeout.')
@click.option('--expect-status', default='', metavar='CODES', help='Any other status is the failure.')
@click.option('--expect-text', default=None, metavar='TEXT', help='A page without TEXT is the failure.')
@click.option('--run', default='', metavar='CMD', help='Judge by a command: 0 good, 1-124 bad, 125 neither.')
@click.option('--mode', type=click.Choice(['auto', 'isolated', 'live']), default='auto', show_default=True,
              help="Switch for the probes' own requests only, or for everybody.")
@click.option('--suspects', type=click.Choice(list(KINDS)), default='auto', show_default=True,
              help='auto: plugins, then firewall rules too where plugins do not explain it; all: both at once.')
@click.option('--keep', multiple=True, metavar='NAME', help='Never switch this one off; repeatable.')
@click.option('--suspect', 'only', multiple=True, metavar='NAME', help='Switch only this one; repeatable.')
@click.option('--log', 'logs', multiple=True, metavar='FILE', help='Log on the host to read; repeatable.')
@click.option('--parallel', type=click.IntRange(1, 32), default=2, show_default=True, help='Probes at once.')
@click.option('--confidence', type=click.FloatRange(0.5, 0.9999), default=0.99, show_default=True, metavar='P',
              help='Of an unsteady failure: how sure every "it passes" must be.')
@click.option('--max-probes', type=click.IntRange(1), default=500, show_default=True)
@click.option('--max-time', type=Seconds(1, A_WEEK), default=900, show_default=True, help='Seconds.')
@click.option('--recorder/--no-recorder', default=True, show_default=True,
              help='Let a flight recorder watch one failing probe, for a hint where to begin.')
@click.option('--triage/--no-triage', default=True, show_default=True,
              help='Say what kind of failure it is too, by a few requests more and the logs of the host.')
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
        emit(report.FORMATS[style](result, verbose=values['verbose'], colour=colour(output)), output)
        if result.restore is not None and not result.restore.verified:
            say(f'the original state is NOT verified as restored: {result.restore.message}', result.restore.advice)
        sys.exit(result.exit_code)


def _asked(values: dict[str, Any]) -> app.Asked:
    fields: dict[str, Any] = {'expect_text': values['expect_text'], 'signed_in': bool(values['as_user'])}
    if values['fail_on']:
        fields['fail_on'] = parse_fail_on(values['fail_on'])
    if values['expect_status']:
        fields['expect_status'] = parse_statuses(values['expect_status'])
    return app.Asked(
        probes=values['probes'] or (() if values['pasted'] else ('/',)), pasted=values['pasted'],
        run=values['run'],
        expectation=Expectation(**fields),
        headers=tuple(parse_header(text) for text in values['headers']),
        cookies=tuple(parse_cookie(text) for text in values['cookies']),
        **_reached(values),
    )


def _reached(values: dict[str, Any]) -> dict[str, Any]:
    """Return how requests reach the site."""
    return {
        'timeout': values['timeout'], 'resolve': tuple(parse_resolve(text) for text in values['resolve']),
        'verify': values['ca_file'] or not values['insecure'],
    }


def _options(values: dict[str, Any], talk: report.Talk) -> Options:
    return Options(
        mode=None if values['mode'] == 'auto' else Mode(values['mode']), keep=values['keep'], only=values['only'],
        kinds=KINDS[values['suspects']], rules_later=values['suspects'] == 'auto', as_user=values['as_user'],
        cron=values['cron'], parallel=values['parallel'],
        max_probes=values['max_probes'], max_time=values['max_time'], dry_run=values['dry_run'],
        recorder=values['recorder'], triage=values['triage'] and not values['cron'], confidence=values['confidence'],
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
    def print_error(message: str, hint: str, code: int) -> None:
        now = app.rfc3339()
        result = Report(
            command=command, version=__version__, started=now, finished=now, target_host=remote.host,
            target_path=remote.path, target_url=remote.url, outcome=Verdict.ERROR, exit_code=code, message=message,
            advice=(hint,) if hint else (),
        )
        emit(report.json_text(result), output)

    return print_error


# -- triage ---------------------------------------------------------------------------------------

@main.command(epilog="""\b
Examples:
  wpaudit triage --url https://shop.example/
  wpaudit triage --url https://shop.example/ --host deploy@shop.example/var/www/shop
  wpaudit triage --host @shop --probe /checkout/ --cookie 'cart=1' --format json | jq .cause
  wpaudit triage --url https://shop.example/ --via me@elsewhere.example --proxy http://proxy.example:3128
  wpaudit triage --url https://shop.example/ --resolve shop.example:192.0.2.7 --resolve shop.example:192.0.2.8
""")
@host_option
@place_options
@format_option
@click.option('--probe', default='', metavar='PATH-OR-URL', help='Look at this page.  [default: that of --url]')
@click.option('--header', 'headers', multiple=True, metavar='"NAME: VALUE"', help='Sent with every look; repeatable.')
@click.option('--cookie', 'cookies', multiple=True, metavar='NAME=VALUE',
              help='Look with these cookies too, for example those of a login; repeatable.')
@look_options
@click.option('--via', multiple=True, metavar='TARGET',
              help='Look from this host too, through its sshd; repeatable. Nothing is needed or put there.')
@click.option('--proxy', default='', metavar='URL', help='Look through this HTTP proxy too.')
@click.option('--log', 'logs', multiple=True, metavar='FILE', help='Log on the host to read; repeatable.')
@click.option('--costs', is_flag=True,
              help='Record what one request costs each plugin through the web server, with headers and outgoing '
                   'requests. For that request a must-use plugin is put on the host; it expires by itself, is removed, '
                   'and the site is verified to be as it was.')
@click.option('--as-user', default='', metavar='LOGIN',
              help='Look logged in as this user too, no password needed. For it a must-use plugin is put on the '
                   'host, as with --costs.')
def triage(**values: Any) -> None:
    """Say what kind of failure a site has and where it comes from. Changes nothing.

    Looks from outside: the page again and again, at each address, past caches, as other devices. With --host also
    from the host: its web server, php-fpm and WordPress directly, its logs, and what a page that works costs each
    plugin. At most 40 requests, fewer when the site seems overloaded.

    \b
    Exit codes: 0 healthy; 1 the cause is named; 6 it is not clear; 4 could not look; 2 usage; 70 a bug;
    130/143 interrupted; with --costs or --as-user also 5: the host is NOT verified as it was.
    """
    from wpaudit.app_triage import run_triage  # no other verb should wait for it

    style, output = values['style'], values['output']
    with _guarded('triage', values):
        with report.progress(quiet=values['quiet'], verbose=values['verbose']) as listener:
            result = run_triage(_remote(values), _wanted(values), listener)
        emit(report.TRIAGE_FORMATS[style](result, verbose=values['verbose'], colour=colour(output)), output)
        sys.exit(result.exit_code)


def _wanted(values: dict[str, Any]) -> Wanted:
    from wpaudit.app_triage import Wanted

    return Wanted(
        probe=values['probe'], max_time=values['max_time'], via=values['via'],
        proxy=values['proxy'], logs=values['logs'], costs=values['costs'],
        as_user=values['as_user'],
        headers=tuple(parse_header(text) for text in values['headers']),
        cookies=tuple(parse_cookie(text) for text in values['cookies']),
        **_reached(values),
    )


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
        emit(report.LIST_FORMATS[values['style']](inventory, rules, colour=colour(output)), output)


@main.command(epilog="""\b
Examples:
  wpaudit doctor --host deploy@shop.example
  wpaudit doctor --host @shop --resolve shop.example:192.0.2.7
""")
@remote_options
@format_option
@request_options
def doctor(**values: Any) -> None:
    """Check that the host can be reached, read and switched. Changes nothing."""
    with _guarded('doctor', values):
        checks = app.run_doctor(_remote(values), app.Asked(**_reached(values)))
        output = values['output']
        emit(report.DOCTOR_FORMATS[values['style']](checks, colour=colour(output)), output)
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
            emit('There is nothing to restore: no run is open on this site.', values['output'])
        else:
            emit(f'Restored and verified. {done.message}'.strip(), values['output'])
