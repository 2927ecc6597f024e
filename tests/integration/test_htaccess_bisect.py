"""`wpaudit bisect` over SSH on a site whose ``.htaccess`` is at fault: the rule named, the file put back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

import pytest

from fixtures.firewalls.visits import rule_text
from fixtures.lab import Lab
from fixtures.lab.traces import eventually
from fixtures.lab.traces import left_behind
from fixtures.plugins import HARMLESS

FEW = HARMLESS[:4]
SECONDS = 120
GATEWAY = '# BEGIN Host\nRewriteEngine On\nRewriteRule ^wp-json - [R=502,L]\n# END Host\n'
FRAGILE = """<?php
/* Plugin Name: Fragile */
if ( '404' === ( $_SERVER['REDIRECT_STATUS'] ?? '' ) ) {
    exit;
}
"""
CRASH = '<?php\n/* Plugin Name: Crash */\nposix_kill( getmypid(), 11 );\n'


def seen(path: Path) -> tuple[object, ...]:
    """Everything about a file but ctime."""
    stat = path.lstat()
    return stat.st_ino, stat.st_mode, stat.st_uid, stat.st_gid, stat.st_nlink, stat.st_mtime_ns, path.read_bytes()


@dataclass
class Site:
    """The site with rules of its own in front of WordPress's."""

    lab: Lab
    home: Path
    usual: str
    made: list[Path] = field(default_factory=list)

    @property
    def file(self) -> Path:
        return self.lab.path / '.htaccess'

    def put(self, rules: str) -> tuple[object, ...]:
        """Write rules before those of WordPress; return what the file is then."""
        self.file.write_text(rules + self.usual)
        return seen(self.file)

    def plugin(self, name: str, text: str) -> str:
        """Write a plugin and activate it between the others."""
        folder = self.lab.path / 'wp-content/plugins' / name
        folder.mkdir()
        (folder / f'{name}.php').write_text(text)
        self.lab.record.account.own_tree(folder)
        self.made.append(folder)
        self.lab.activate([*FEW[:2], f'{name}/{name}.php', *FEW[2:]])
        return f'{name}/{name}.php'

    def start(self, *options: str, verb: str = 'bisect') -> subprocess.Popen[str]:
        """Start wpaudit and do not wait."""
        known = ('--identity', str(self.lab.identity), '--known-hosts', str(self.lab.known_hosts))
        argv = [sys.executable, '-m', 'wpaudit', verb, '--host', self.lab.target, '--url', self.lab.url, *known]
        style = () if verb == 'restore' or '--format' in options else ('--format', 'json')
        environment = {**os.environ, 'XDG_STATE_HOME': str(self.home), 'NO_COLOR': '1'}
        return subprocess.Popen(
            [*argv, *style, *options], env=environment, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *options: str, verb: str = 'bisect') -> Run:
        """Run wpaudit to its end."""
        return ended(self.start(*options, verb=verb))


@dataclass(frozen=True)
class Run:
    """How one run ended, and what it said."""

    code: int
    out: str
    err: str
    report: dict[str, Any]

    @property
    def named(self) -> set[frozenset[str]]:
        return {frozenset(one['id'] for one in conflict) for conflict in self.report['conflicts']}


def ended(process: subprocess.Popen[str]) -> Run:
    try:
        out, err = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return Run(process.returncode, out, err, json.loads(out) if out.startswith('{') else {})


@pytest.fixture(scope='module')
def lab(lab_of: Callable[[str], Lab]) -> Iterator[Lab]:
    found = lab_of('apache')
    found.reset()
    found.activate(FEW)
    yield found
    found.reset()


@pytest.fixture
def site(lab: Lab, tmp_path: Path) -> Iterator[Site]:
    file = lab.path / '.htaccess'
    before = file.read_text()
    found = Site(lab, tmp_path / 'state', before)
    yield found
    lab.path.chmod(0o755)
    file.write_text(before)
    lab.activate(FEW)
    for folder in found.made:
        (folder / f'{folder.name}.php').unlink()
        folder.rmdir()


@contextmanager
def untouched(site: Site) -> Iterator[None]:
    """Fail unless the file is the same inode afterwards, and nothing of wpaudit is on the host."""
    before = seen(site.file)
    yield
    assert eventually(lambda: seen(site.file) == before)
    assert eventually(lambda: left_behind(site.lab) == []), left_behind(site.lab)


def line_of(site: Site, text: str) -> str:
    """Return the id of the rule that has this text in its line."""
    lines = site.file.read_text().splitlines()
    [number] = [number for number, line in enumerate(lines, 1) if text in line]
    return f'{site.file}:{number}'


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
