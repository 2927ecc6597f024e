"""Swapping a .htaccess and back with the agent's PHP: on real files, and under load on a real Apache."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures.firewalls.apache import Apache
from fixtures.firewalls.visits import Visit
from fixtures.firewalls.visits import rule_text
from fixtures.lab.account import site_account
from wpaudit.firewalls.apache.reader import read
from wpaudit.firewalls.apache.units import Key
from wpaudit.firewalls.apache.wrapper import numbered
from wpaudit.firewalls.apache.wrapper import units
from wpaudit.firewalls.apache.wrapper import wrapped

PHP = Path(__file__).parent.parent.parent / 'wpaudit' / 'sites' / 'php'
ACCOUNT = site_account()
KEY = Key('0123456789abcdef0123', '20991231235959')
OLD = b'# as it was \xff\nDeny from 10.0.0.1'
NEW = b'# wrapped\nDeny from 10.0.0.1\n'
# One call a line of input; $in is what the test sends, and what is returned is printed.
RUNNER = """
require $argv[1] . '/agent.php';
require $argv[1] . '/swap.php';
function there_and_back( $path, $text, $sha, $times ) {
    for ( $done = 0; $done < $times; $done++ ) {
        $record = Wpaudit_Swap::prepare( $path, $text, $sha, array(), "run$done" );
        Wpaudit_Swap::commit( $record );
        usleep( 3000 );
        if ( ! Wpaudit_Swap::back( $record )['verified'] ) {
            break;
        }
        usleep( 3000 );
    }
    return $done;
}
while ( $line = fgets( STDIN ) ) {
    list( $name, $arguments ) = json_decode( $line, true );
    foreach ( $arguments as $at => $one ) {
        $arguments[ $at ] = is_array( $one ) && isset( $one['b64'] ) ? base64_decode( $one['b64'] ) : $one;
    }
    try {
        $function = function_exists( $name ) ? $name : array( 'Wpaudit_Swap', $name );
        $result   = array( 'result' => call_user_func_array( $function, $arguments ) );
    } catch ( Wpaudit_Refusal $refusal ) {
        $result = array( 'refusal' => $refusal->code_word );
    }
    echo json_encode( $result ), "\\n";
}
"""


def php(*calls: tuple[str, list[Any]]) -> list[Any]:
    """Run Wpaudit_Swap's functions as the site user; a refusal is its code word."""
    lines = ''.join(json.dumps(call) + '\n' for call in calls)
    done = ACCOUNT.run(
        ['php', '-d', 'display_errors=stderr', '-r', RUNNER, '--', str(PHP)], env={'PATH': os.environ['PATH']},
        cwd=Path('/'), stdin=lines.encode(), timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, b'')
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(calls)
    return [answer.get('result', answer.get('refusal')) for answer in answers]


def raw(data: bytes) -> dict[str, str]:
    return {'b64': base64.b64encode(data).decode()}


def prepare(file: Path, run: str = 'a1', places: list[str] | None = None, *, old: bytes = OLD) -> tuple[str, list[Any]]:
    return 'prepare', [str(file), raw(NEW), hashlib.sha256(old).hexdigest(), places or [], run]


def seen(path: Path) -> tuple[object, ...]:
    """Everything about a file but the time of its last change of names (ctime), which nobody can put back."""
    stat = path.lstat()
    return stat.st_ino, stat.st_mode, stat.st_uid, stat.st_gid, stat.st_nlink, stat.st_mtime_ns, path.read_bytes()


@pytest.fixture
def file() -> Iterator[Path]:
    base = Path(tempfile.mkdtemp(prefix='wpaudit-swap-'))  # pytest's own directories are closed to the site user
    base.chmod(0o755)
    directory = base / 'www'
    directory.mkdir()
    found = directory / '.htaccess'
    found.write_bytes(OLD)
    found.chmod(0o640)
    os.utime(found, ns=(1_600_000_000_123_456_789, 1_600_000_000_123_456_789))
    ACCOUNT.own_tree(directory)
    yield found
    shutil.rmtree(base)


def test_there_and_back_leaves_the_same_inode(file: Path) -> None:
    before = seen(file)
    [record] = php(prepare(file))
    assert file.read_bytes() == OLD
    [made] = php(('commit', [record]))
    assert file.read_bytes() == NEW
    assert file.stat().st_ino == made['inode'] != before[0]
    assert (file.stat().st_mode, file.stat().st_uid, file.stat().st_gid) == before[1:4]
    assert php(('back', [record])) == [{'verified': True, 'foreign': False, 'written': False, 'left': []}]
    assert seen(file) == before
    assert os.listdir(file.parent) == ['.htaccess']
    assert php(('back', [record]))[0]['verified']  # once more does no harm
    assert seen(file) == before


@pytest.mark.parametrize('steps', [('prepare',), ('prepare', 'commit'), ('prepare', 'commit', 'back')])
def test_it_is_put_back_from_wherever_the_process_was_killed(file: Path, steps: tuple[str, ...]) -> None:
    before = seen(file)
    [record] = php(prepare(file))
    for step in steps[1:]:
        php((step, [record]))
    assert php(('back', [record]))[0]['verified']
    assert seen(file) == before
    assert os.listdir(file.parent) == ['.htaccess']


def test_the_second_name_goes_outside_of_the_docroot_where_it_can(file: Path) -> None:
    beside = file.parent.parent / f'{file.parent.name}-run'
    beside.mkdir()
    ACCOUNT.own_tree(beside)
    [record] = php(prepare(file, places=['/proc', str(beside)]))
    assert base64.b64decode(record['backup']).decode() == f'{beside}/.htaccess-wpaudit-a1'
    assert php(('commit', [record]), ('back', [record]))[1]['verified']
    assert os.listdir(beside) == []


def test_what_somebody_else_put_in_its_place_stays(file: Path) -> None:
    [record] = php(prepare(file))
    php(('commit', [record]))
    other = file.with_name('other')
    other.write_bytes(NEW)  # the same text in another file is somebody else's too
    ACCOUNT.own(other)
    other.rename(file)
    theirs = seen(file)
    [answer] = php(('back', [record]))
    assert (answer['verified'], answer['foreign']) == (False, True)
    assert seen(file) == theirs
    assert [base64.b64decode(one) for one in answer['left']] == [bytes(file.with_name('.htaccess-wpaudit-a1'))]


def test_what_somebody_wrote_into_the_new_file_stays(file: Path) -> None:
    [record] = php(prepare(file))
    php(('commit', [record]))
    with file.open('ab') as handle:  # as WordPress does
        handle.write(b'# BEGIN WordPress\n# END WordPress\n')
    theirs = seen(file)
    assert php(('back', [record]))[0]['foreign']
    assert seen(file) == theirs


def test_what_somebody_wrote_into_the_original_comes_back_with_it(file: Path) -> None:
    [record] = php(prepare(file))
    with file.open('r+b') as handle:
        php(('commit', [record]))
        handle.write(b'# their')
    [answer] = php(('back', [record]))
    assert (answer['verified'], answer['foreign'], answer['written']) == (False, False, True)
    assert file.read_bytes().startswith(b'# their')
    assert os.listdir(file.parent) == ['.htaccess']


def test_a_file_that_changed_meanwhile_is_not_replaced(file: Path) -> None:
    assert php(prepare(file, old=b'another text')) == ['foreign']
    [record] = php(prepare(file))
    file.write_bytes(OLD + b'\n')
    assert php(('commit', [record])) == ['foreign']
    assert file.read_bytes() == OLD + b'\n'
    assert php(('back', [record]))[0]['written']
    assert os.listdir(file.parent) == ['.htaccess']


def test_links_and_what_is_in_the_way_are_refused(file: Path) -> None:
    real = file.with_name('real')
    file.rename(real)
    file.symlink_to(real)
    assert php(prepare(file)) == ['no-file']
    file.unlink()
    assert php(prepare(file)) == ['no-file']
    real.rename(file)
    before = seen(file)
    trap = file.with_name('.htaccess-wpaudit-a1~')
    trap.symlink_to(real)  # which is not there, and would be written through
    assert php(prepare(file)) == ['no-write']
    assert trap.is_symlink()
    trap.unlink()
    kept = file.with_name('.htaccess-wpaudit-a1')
    kept.write_bytes(b'')
    assert php(prepare(file)) == ['no-write']
    assert kept.exists()
    assert not real.exists()
    assert seen(file) == before


def test_a_file_of_another_user_is_refused(file: Path) -> None:
    if ACCOUNT.uid == os.geteuid():
        pytest.skip('only root can make a file of another user')
    os.chown(file, 0, 0)
    file.chmod(0o644)
    before = seen(file)
    assert php(prepare(file)) == ['not-owner']
    assert seen(file) == before
    assert os.listdir(file.parent) == ['.htaccess']


def test_a_canary_tells_before_visitors_do() -> None:
    with Apache() as apache:
        place = str(apache.docroot)
        [fine, broken] = php(('canary', [place, raw(OLD), 'a1']), ('canary', [place, raw(b'Nonsense'), 'a2']))
        assert apache.get(f'/{fine["page"]}').status == 200
        assert apache.get(f'/{broken["page"]}').status == 500
        assert apache.get('/page.html').status == 200
        left = [('remove_canary', [str(apache.docroot), run]) for run in ('a1', 'a2', 'a1')]
        assert php(*left) == [True, True, True]
        assert not list(apache.docroot.glob('wpaudit*'))


def test_swapping_a_hundred_times_under_load_is_seen_by_nobody() -> None:
    text = rule_text('require-not')
    new = wrapped(text, numbered(units(read(text))), KEY).text.encode()
    digest = hashlib.sha256(text.encode()).hexdigest()
    visits = (Visit(), Visit(address='10.0.0.1'), Visit('xmlrpc.html'))
    with Apache() as apache:
        apache.site(apache.docroot, text.encode())
        file = apache.docroot / '.htaccess'
        expected = tuple(apache.get(f'/{one.path}', one.headers).status for one in visits)
        before, statuses, over = seen(file), [], threading.Event()

        def ask() -> None:
            while not over.is_set():
                statuses.append(tuple(apache.get(f'/{one.path}', one.headers).status for one in visits))

        asking = [threading.Thread(target=ask) for _ in range(2)]
        for thread in asking:
            thread.start()
        try:
            assert php(('there_and_back', [str(file), raw(new), digest, 100])) == [100]
        finally:
            over.set()
            for thread in asking:
                thread.join()
        assert set(statuses) == {expected} == {(200, 403, 403)}
        assert len(statuses) > 20
        assert seen(file) == before
