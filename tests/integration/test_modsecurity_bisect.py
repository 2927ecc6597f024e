"""`wpaudit bisect` over SSH on a site behind ModSecurity: the rule named, the configuration put back and reloaded."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fixtures.firewalls.modsecurity import ENGINES
from fixtures.firewalls.modsecurity import Name
from fixtures.firewalls.modsecurity import Reply
from fixtures.firewalls.modsecurity import Server
from fixtures.firewalls.modsecurity import rule_files
from fixtures.firewalls.modsecurity.server import GIVEN
from fixtures.lab import Lab
from fixtures.lab.traces import eventually
from fixtures.lab.traces import left_behind
from fixtures.plugins import HARMLESS
from wpaudit.firewalls.modsecurity.layer import kept_as
from wpaudit.ports import Ground
from wpaudit.shells.local import LocalShell

FEW = HARMLESS[:4]
SECONDS = 120
SQL = '/?search=1+UNION+2'  # what rule 100001 stops
FRAGILE = """<?php
/* Plugin Name: Fragile */
if ( '404' === ( $_SERVER['REDIRECT_STATUS'] ?? '' ) ) {
    exit;
}
"""
FORM = 'application/x-www-form-urlencoded'
CRASH = '<?php\n/* Plugin Name: Crash */\nposix_kill( getmypid(), 11 );\n'
ATTACK = 'q=<script>alert(1)</script>&id=1%27+OR+%271%27%3D%271'
HOST_NAME = {'nginx': 'nginx', 'apache': 'apache2'}


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


@dataclass
class Site:
    """The lab's WordPress behind a server with rules."""

    lab: Lab
    server: Server
    home: Path
    made: list[Path] = field(default_factory=list)

    @property
    def host(self) -> str:
        """What WordPress takes for its own address."""
        return f'127.0.0.1:{self.lab.port}'

    def plugin(self, name: str, text: str) -> str:
        """Write a plugin and activate it between the others."""
        folder = self.lab.path / 'wp-content/plugins' / name
        folder.mkdir()
        (folder / f'{name}.php').write_text(text)
        self.lab.record.account.own_tree(folder)
        self.made.append(folder)
        self.lab.activate([*FEW[:2], f'{name}/{name}.php', *FEW[2:]])
        return f'{name}/{name}.php'

    def start(self, *options: str, verb: str = 'bisect', outer: bool = False) -> subprocess.Popen[str]:
        """Start wpaudit and do not wait."""
        port = self.server.outer if outer else self.server.port
        known = ('--identity', str(self.lab.identity), '--known-hosts', str(self.lab.known_hosts))
        argv = [sys.executable, '-m', 'wpaudit', verb, '--host', self.lab.target, *known]
        if verb == 'bisect':
            argv += ['--url', f'http://127.0.0.1:{port}', '--header', f'Host: {self.host}']
        style = () if verb == 'restore' or '--format' in options else ('--format', 'json')
        environment = {**os.environ, 'XDG_STATE_HOME': str(self.home), 'NO_COLOR': '1'}
        return subprocess.Popen(
            [*argv, *style, *options], env=environment, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *options: str, verb: str = 'bisect', outer: bool = False) -> Run:
        """Run wpaudit to its end."""
        return ended(self.start(*options, verb=verb, outer=outer))

    def get(self, path: str) -> int:
        return self.server.get(path, (('Host', self.host),)).status

    def seen(self) -> dict[str, tuple[object, ...]]:
        """Everything about the server's configuration but ctime."""
        found = [one for one in self.server.root.rglob('*') if one.suffix == '.conf' or one.name.startswith('.wpaudit')]
        return {str(one): (one.lstat().st_ino, one.lstat().st_mode, one.lstat().st_uid, one.lstat().st_mtime_ns,
                           one.read_bytes() if one.is_file() else b'') for one in found}


def ended(process: subprocess.Popen[str]) -> Run:
    try:
        out, err = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return Run(process.returncode, out, err, json.loads(out) if out.startswith('{') else {})


@contextmanager
def behind(name: Name, rules: str, lab: Lab, home: Path, **more: Any) -> Iterator[Site]:
    with Server(name, rules, docroot=lab.path, socket=lab.layout.run / 'fpm.sock', **more) as server:
        site = Site(lab, server, home)
        try:
            yield site
        finally:
            lab.activate(FEW)
            for folder in site.made:
                (folder / f'{folder.name}.php').unlink()
                folder.rmdir()


@pytest.fixture(scope='module')
def lab(lab_of: Callable[[str], Lab]) -> Iterator[Lab]:
    found = lab_of('sqlite')
    found.reset()
    found.activate(FEW)
    yield found
    found.reset()


@pytest.fixture(scope='module', params=ENGINES)
def shared(request: pytest.FixtureRequest, lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp('state')
    crashed = {'nginx': 502, 'apache': 503}[request.param]  # what a crash of PHP is there
    rule = f'SecRule ARGS:both "@streq 1" "id:100050,phase:2,deny,status:{crashed},log"\n'
    with behind(request.param, rule_files('plain', 'closing') + rule, lab, home) as site:
        yield site


@contextmanager
def untouched(site: Site) -> Iterator[None]:
    """Fail unless all files are the same inodes afterwards, and nothing of wpaudit is on the host."""
    before = site.seen()
    yield
    assert eventually(lambda: site.seen() == before)
    assert eventually(lambda: left_behind(site.lab) == []), left_behind(site.lab)
    assert site.server.check() == ''


def test_the_rule_is_named_and_the_configuration_is_as_it_was(shared: Site) -> None:
    with untouched(shared):
        run = shared.run('--probe', SQL)
    assert run.code == 1, run.err + run.out
    [[rule]] = run.report['conflicts']
    assert (rule['layer'], rule['id']) == ('modsecurity', '100001')
    assert rule['where'] == f'{shared.server.root}/{GIVEN}/plain.conf:2'
    assert [{one['id'] for one in fix} for fix in run.report['fixes']] == [{'100001'}]
    assert run.report['restore']['verified']
    assert f'{HOST_NAME[shared.server.name]} was reloaded twice, gracefully' in run.report['restore']['message']
    assert [(one['source'], one['suspects']) for one in run.report['evidence']][:1] == [('modsecurity', ['100001'])]
    [exemption] = run.report['exemptions']
    assert exemption['effect'] == 'rule 100001 no longer looks at ARGS:search in requests to /'
    assert 'ctl:ruleRemoveTargetById=100001;ARGS:search' in exemption['lines'][0]
    stands = f'in {shared.server.rules if shared.server.name == "nginx" else shared.server.configuration}, before line '
    assert exemption['lines'][0].startswith(stands)
    assert exemption['lines'][0] in run.report['advice']


def test_a_firewall_further_in_that_closes_the_connection(shared: Site) -> None:
    close, rule = ('444', '100031') if shared.server.name == 'nginx' else ('drop', '100030')
    with untouched(shared):
        run = shared.run('--probe', f'/?close={close}', outer=True)
    assert (run.code, run.named) == (1, {frozenset([rule])}), run.err + run.out
    assert {one['status'] for one in run.report['probes']} == {200, 502}


def test_whoever_ends_it_in_the_middle_the_server_is_as_it_was(shared: Site) -> None:
    noted = Path(f'/var/tmp/wpaudit-firewall-{kept_as(Ground(LocalShell(), str(shared.lab.path), ""))}/reloads')
    with untouched(shared):
        process = shared.start('--probe', SQL, '--suspects', 'rules', '--verbose')
        assert eventually(noted.exists, 60)
        process.kill()
        assert ended(process).code == -signal.SIGKILL
    assert eventually(lambda: not noted.parent.exists())
    assert shared.run(verb='restore').code == 0
    assert shared.get(SQL) == 502


def test_a_plugin_and_a_rule_both_at_fault(shared: Site) -> None:
    plugin = shared.plugin('crash', CRASH)
    with untouched(shared):
        run = shared.run('--suspects', 'all', '--probe', '/?both=1')
    assert run.code == 1, run.err + run.out
    assert run.named == {frozenset([plugin]), frozenset(['100050'])}


def test_a_plugin_and_a_rule_that_only_fail_together(lab: Lab, tmp_path: Path) -> None:
    """The rule answers 404 through WordPress, and only then does the plugin end PHP."""
    rule = 'SecRule ARGS:old "@streq 1" "id:200001,phase:2,deny,status:404,log"\nErrorDocument 404 /index.php\n'
    with behind('apache', rule, lab, tmp_path) as site:
        plugin = site.plugin('fragile', FRAGILE)
        with untouched(site):
            asked = ('--expect-text', '</html>', '--expect-status', '200,404')
            run = site.run('--suspects', 'all', '--probe', '/?old=1', *asked)
    assert run.code == 1, run.err + run.out
    assert run.named == {frozenset([plugin, '200001'])}


@pytest.mark.parametrize('name', ENGINES)
def test_the_core_rule_set_while_visitors_come(name: Name, lab: Lab, tmp_path: Path) -> None:
    """Each of several rules is enough for the score, so the fix is all of them."""
    request = tmp_path / 'request.txt'
    with behind(name, rule_files('crs'), lab, tmp_path) as site:
        request.write_text(
            f'POST / HTTP/1.1\nHost: 127.0.0.1:{site.server.port}\nContent-Type: {FORM}\n\n{ATTACK}')
        pages = ('/license.txt', '/license.txt?id=1%27+OR+%271%27%3D%271')
        with visitors(site, pages) as answers, untouched(site):
            run = site.run('--request', str(request), '--fail-on', '403', '--suspects', 'rules')
        said = 'SIGHUP) received' if name == 'nginx' else 'SIGUSR1 received'
        reloads = site.server.log.read_text(errors='replace').count(said)
    assert run.code == 1, run.err + run.out
    [fix] = run.report['fixes']
    together = {one['id'] for one in fix}
    assert len(together) > 2
    assert {int(one) // 1000 for one in together} == {941, 942}
    assert run.named == {frozenset([one]) for one in together}
    assert len(run.report['suspects']) > 200
    assert len(run.report['probes']) <= 60
    assert run.report['restore']['message'].endswith(', gracefully')
    assert reloads == 2
    assert {one.status for one in answers[pages[0]]} == {200}
    assert {one.status for one in answers[pages[1]]} == {403}
    assert [len(found) for found in answers.values()] == [1, 1]


@contextmanager
def visitors(site: Site, pages: Sequence[str]) -> Iterator[dict[str, set[Reply]]]:
    """Let fifty visitors a second come; yields the different answers they got, page by page."""
    answers: dict[str, set[Reply]] = {page: set() for page in pages}
    over = threading.Event()

    def come(page: str) -> None:
        due = time.monotonic()
        while not over.is_set():
            reply = site.server.get(page, (('Host', site.host),))
            # A worker that ends says that it will close the connection.
            answers[page].add(replace(reply, headers=tuple(one for one in reply.headers if one[0] != 'connection')))
            due += len(pages) / 50
            over.wait(max(0.0, due - time.monotonic()))

    threads = [threading.Thread(target=come, args=(page,)) for page in pages]
    for one in threads:
        one.start()
    try:
        yield answers
    finally:
        over.set()
        for one in threads:
            one.join()
