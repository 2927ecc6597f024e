"""`wpaudit bisect` over SSH on a site whose ``.htaccess`` is at fault: the rule named, the file put back."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path

import pytest

from fixtures.firewalls.ruled import FEW
from fixtures.firewalls.ruled import GATEWAY
from fixtures.firewalls.ruled import Site
from fixtures.firewalls.ruled import ended
from fixtures.firewalls.ruled import line_of
from fixtures.firewalls.ruled import seen
from fixtures.firewalls.ruled import site_of
from fixtures.firewalls.ruled import untouched
from fixtures.firewalls.visits import rule_text
from fixtures.lab import Lab
from fixtures.lab.traces import eventually
from fixtures.lab.traces import left_behind

FRAGILE = """<?php
/* Plugin Name: Fragile */
if ( '404' === ( $_SERVER['REDIRECT_STATUS'] ?? '' ) ) {
    exit;
}
"""
CRASH = '<?php\n/* Plugin Name: Crash */\nposix_kill( getmypid(), 11 );\n'


@pytest.fixture(scope='module')
def lab(lab_of: Callable[[str], Lab]) -> Iterator[Lab]:
    found = lab_of('apache')
    found.reset()
    found.activate(FEW)
    yield found
    found.reset()


@pytest.fixture
def site(lab: Lab, tmp_path: Path) -> Iterator[Site]:
    with site_of(lab, tmp_path / 'state') as found:
        yield found


RULES = [
    pytest.param(GATEWAY, '^wp-json', ('--probe', '/wp-json/'), id='rewrite-502'),
    pytest.param(
        '<RequireAll>\nRequire all granted\nRequire not ip 127.0.0.0/8\nRequire not ip 192.0.2.0/24\n</RequireAll>\n',
        '127.0.0.0/8', ('--fail-on', '403'), id='require-not-ip'),
    pytest.param(rule_text('firewall-6g'), 'etc/passwd', ('--probe', '/?q=etc/passwd', '--fail-on', '403'), id='6g'),
    pytest.param('Redirect 502 /checkout\nRedirect 410 /old\n', '502 /checkout', ('--probe', '/checkout/'),
                 id='redirect-502'),
]


@pytest.mark.parametrize(('rules', 'culprit', 'options'), RULES)
def test_the_rule_is_named_and_the_file_is_as_it_was(
    site: Site, rules: str, culprit: str, options: Sequence[str],
) -> None:
    site.put(rules)
    with untouched(site):
        run = site.run(*options)
    assert run.code == 1, run.err + run.out
    named = line_of(site, culprit)
    assert run.named == {frozenset([named])}
    assert [{one['id'] for one in fix} for fix in run.report['fixes']] == [{named}]
    assert run.report['mode'] == 'isolated'
    assert run.report['restore']['verified']
    assert named in run.report['message']
    assert str(site.file) in '\n'.join(run.report['advice'])
    [gap] = [one for one in run.report['gaps'] if one['what'] == 'firewall rules']
    assert 'those of htaccess were switched' in gap['why']


def test_the_text_names_the_rule_and_says_what_to_change(site: Site) -> None:
    site.put(GATEWAY)
    with untouched(site):
        run = site.run('--probe', '/wp-json/', '--format', 'text')
    assert run.code == 1, run.err
    words = ' '.join(run.out.split())
    assert f'The rule RewriteRule ^wp-json - [R=502,L] ({site.file}:3) makes the site fail.' in words
    assert f'in {site.file}: put before line 3: RewriteCond %{{REQUEST_URI}} !^/wp\\-json/$' in words
    assert 'wp plugin deactivate' not in words


def test_a_plugin_and_a_rule_both_at_fault(site: Site) -> None:
    site.put('RewriteEngine On\nRewriteRule ^$ - [R=503,L]\n')
    plugin = site.plugin('crash', CRASH)
    with untouched(site):
        run = site.run('--suspects', 'all')
    assert run.code == 1, run.err + run.out
    assert run.named == {frozenset([plugin]), frozenset([f'{site.file}:2'])}


def test_a_plugin_and_a_rule_that_only_fail_together(site: Site) -> None:
    """The rule answers 404 through WordPress, and only then does the plugin crash PHP."""
    site.put('ErrorDocument 404 /index.php\nRewriteEngine On\nRewriteRule ^old - [R=404,L]\n')
    plugin = site.plugin('fragile', FRAGILE)
    with untouched(site):
        asked = ('--expect-text', '</html>', '--expect-status', '200,404')
        run = site.run('--suspects', 'all', '--probe', '/old/', *asked)
    assert run.code == 1, run.err + run.out
    assert run.named == {frozenset([plugin, f'{site.file}:3'])}
    assert f'the plugin Fragile ({plugin}) and the rule RewriteRule' in run.report['message']


def test_a_plugin_alone_is_named_without_a_look_at_rules(site: Site) -> None:
    site.put(GATEWAY)
    plugin = site.plugin('crash', CRASH)
    with untouched(site):
        run = site.run()
    assert (run.code, run.named) == (1, {frozenset([plugin])}), run.err
    [gap] = [one for one in run.report['gaps'] if one['what'] == 'firewall rules']
    assert 'none of them was switched' in gap['why']


def test_a_kept_rule_stays_on_and_only_the_one_named_is_switched(site: Site) -> None:
    site.put(GATEWAY + 'Redirect 410 /gone\n')
    with untouched(site):
        kept = site.run('--probe', '/wp-json/', '--keep', f'{site.file}:3')
        only = site.run('--probe', '/wp-json/', '--suspect', f'{site.file}:3')
    assert (kept.code, kept.report['outcome']) == (3, 'not-a-suspect'), kept.err
    assert (only.code, only.named) == (1, {frozenset([f'{site.file}:3'])}), only.err
    assert all(set(one['off']) <= {f'{site.file}:3'} for one in only.report['probes'])


def test_a_rule_that_cannot_be_switched_is_told_and_not_blamed(site: Site) -> None:
    before = site.put(GATEWAY)
    site.lab.path.chmod(0o555)
    run = site.run('--probe', '/wp-json/', '--suspects', 'rules')  # there is one more, below wp-content
    assert run.code == 3, run.err
    assert 'every switchable firewall rule' in run.report['message']
    assert any('the directory is not writable' in gap['why'] for gap in run.report['gaps'])
    assert seen(site.file) == before


def wait_for(process: subprocess.Popen[str], line: str) -> None:
    """Wait until a run with --verbose says this on stderr."""
    assert process.stderr is not None
    said = ''
    while not said.endswith('\n') or not said.splitlines()[-1].startswith(f'wpaudit: {line}'):
        text = process.stderr.readline()
        assert text, f'wpaudit ended without saying {line!r}: {said}'
        said += text


def swapped(site: Site, process: subprocess.Popen[str], before: tuple[object, ...]) -> None:
    """Wait until a run with --verbose searches, and its text is in place."""
    wait_for(process, 'searching')
    assert seen(site.file) != before


@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGINT])
def test_whoever_ends_it_in_the_middle_the_host_is_as_it_was(site: Site, number: signal.Signals) -> None:
    before = site.put(rule_text('firewall-6g'))
    options = ('--probe', '/?q=etc/passwd', '--fail-on', '403', '--suspects', 'rules', '--verbose')
    with untouched(site):
        process = site.start(*options)
        swapped(site, process, before)
        process.send_signal(number)
        run = ended(process)
        assert run.code == (-number if number is signal.SIGKILL else 128 + number), run.err
    assert site.run(verb='restore').code == 0


def test_a_file_edited_meanwhile_is_left_to_its_editor_and_both_are_told(site: Site) -> None:
    before = site.put(rule_text('firewall-6g'))
    process = site.start('--probe', '/?q=etc/passwd', '--fail-on', '403', '--suspects', 'rules', '--verbose')
    swapped(site, process, before)
    with site.file.open('a') as handle:
        handle.write('# theirs\n')
    theirs = seen(site.file)
    run = ended(process)
    [kept] = site.lab.path.glob('.htaccess-wpaudit-*')
    assert run.code == 5, run.err + run.out
    assert seen(site.file) == theirs
    told = ' '.join(run.err.split())
    assert str(site.file) in told
    assert str(kept) in told
    assert kept.read_bytes() == before[-1]
    again = site.run(verb='restore')
    assert again.code == 5
    assert str(kept) in again.err
    kept.rename(site.file)  # they chose the old one
    assert site.run(verb='restore').code == 0
    assert seen(site.file) == before
    assert eventually(lambda: left_behind(site.lab) == [])


def test_visitors_notice_nothing(site: Site) -> None:
    site.put(rule_text('firewall-6g'))
    statuses: set[tuple[int, int]] = set()
    over = threading.Event()

    def come() -> None:
        while not over.is_set():
            statuses.add((site.lab.get('/')[0], site.lab.get('/?q=etc/passwd')[0]))

    visitor = threading.Thread(target=come)
    visitor.start()
    try:
        with untouched(site):
            run = site.run('--probe', '/?q=etc/passwd', '--fail-on', '403')
    finally:
        over.set()
        visitor.join()
    assert run.code == 1, run.err
    assert statuses == {(200, 403)}
