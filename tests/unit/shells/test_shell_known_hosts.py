from __future__ import annotations

import base64
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from wpaudit.errors import HostKeyError
from wpaudit.shells.known_hosts import HostKeys
from wpaudit.shells.known_hosts import hashed_name

BLOB = b'\0\0\0\x0bssh-ed25519\0\0\0\x20' + b'k' * 32
OTHER = b'\0\0\0\x0bssh-ed25519\0\0\0\x20' + b'o' * 32
TYPE = 'ssh-ed25519'


def line(names: str, blob: bytes = BLOB, marker: str = '') -> str:
    return f'{marker}{names} {TYPE} {base64.b64encode(blob).decode()} a comment\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / 'known_hosts'


@pytest.mark.parametrize(('names', 'host', 'port'), [
    ('shop.example', 'shop.example', 22), ('shop.example,192.0.2.1', '192.0.2.1', 22),
    ('SHOP.example', 'Shop.Example', 22), ('shop.exampl?', 'shop.example', 22),
    ('[shop.example]:2222', 'shop.example', 2222), ('*.example', 'shop.example', 22),
    ('[*.example]:2222', 'shop.example', 2222), ('*,!bad.example', 'shop.example', 22),
    (hashed_name('shop.example'), 'shop.example', 22), (hashed_name('[shop.example]:2222'), 'shop.example', 2222),
    ('shop.example', 'shop.example', 2222), ('2001:db8::1', '2001:db8::1', 22),
], ids=lambda _: '')  # hashed names have a new salt every time: no names for tests
def test_a_known_key_is_trusted(file: Path, names: str, host: str, port: int) -> None:
    file.write_text('# comment\n\n@cert-authority * ' + line('x') + 'damaged line\nx ssh-rsa !!!\n' + line(names))

    HostKeys(host, port, (file,)).check(TYPE, BLOB)


@pytest.mark.parametrize('names', [
    'other.example', 'shop.example.org', 'xshop.example', '[shop.example]:2222', '*,!shop.example',
    '|1|x|y', '|1|', '|1||', hashed_name('other.example'), '[s]hop.example', 'shop?example.',
], ids=lambda _: '')
def test_other_names_do_not_match(file: Path, names: str) -> None:
    file.write_text(line(names))

    with pytest.raises(HostKeyError, match='unknown'):
        HostKeys('shop.example', 22, (file,)).check(TYPE, BLOB)


def test_a_changed_key_is_refused_and_not_written_over(file: Path) -> None:
    file.write_text(line('shop.example', OTHER))

    with pytest.raises(HostKeyError, match='CHANGED'):
        HostKeys('shop.example', 22, (file,), accept_new=True).check(TYPE, BLOB)
    assert file.read_text() == line('shop.example', OTHER)


def test_a_key_of_another_type_counts_as_changed(file: Path) -> None:
    file.write_text(line('shop.example').replace(TYPE, 'ssh-rsa'))

    with pytest.raises(HostKeyError, match='CHANGED'):
        HostKeys('shop.example', 22, (file,), accept_new=True).check('ecdsa-sha2-nistp256', OTHER)


def test_a_changed_key_on_an_odd_port_is_not_excused_by_the_usual_port(file: Path) -> None:
    file.write_text(line('[shop.example]:2222', OTHER) + line('shop.example'))

    with pytest.raises(HostKeyError, match='CHANGED'):
        HostKeys('shop.example', 2222, (file,)).check(TYPE, BLOB)


def test_a_revoked_key_is_refused_wherever_it_is_listed(file: Path, tmp_path: Path) -> None:
    system = tmp_path / 'system'
    file.write_text(line('shop.example'))
    system.write_text(line('*', marker='@revoked '))

    with pytest.raises(HostKeyError, match='revoked'):
        HostKeys('shop.example', 22, (file,), (system,), accept_new=True).check(TYPE, BLOB)


def test_the_system_file_counts(file: Path, tmp_path: Path) -> None:
    system = tmp_path / 'system'
    system.write_text(line('shop.example'))

    HostKeys('shop.example', 22, (file,), (system,)).check(TYPE, BLOB)


def test_a_new_key_goes_on_a_line_of_its_own(file: Path) -> None:
    file.write_text(line('a.example').rstrip('\n'))

    HostKeys('shop.example', 2222, (file,), accept_new=True).check(TYPE, BLOB)

    assert file.read_text().splitlines() == [
        line('a.example').rstrip('\n'), f'[shop.example]:2222 {TYPE} {base64.b64encode(BLOB).decode()}',
    ]


def test_a_new_key_may_be_noted_hashed(file: Path) -> None:
    HostKeys('shop.example', 22, (file,), accept_new=True, hashed=True).check(TYPE, BLOB)

    assert file.read_text().startswith('|1|')
    HostKeys('shop.example', 22, (file,)).check(TYPE, BLOB)


def test_a_new_key_may_be_thrown_away() -> None:
    HostKeys('shop.example', 22, (Path('/dev/null'),), accept_new=True).check(TYPE, BLOB)


def test_a_file_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(HostKeyError, match='Cannot note the new host key'):
        HostKeys('shop.example', 22, (tmp_path,), accept_new=True).check(TYPE, BLOB)


def test_behind_a_proxy_ssh_keyscan_is_not_recommended(file: Path) -> None:
    with pytest.raises(HostKeyError) as caught:
        HostKeys('shop.example', 22, (file,), scannable=False).check(TYPE, BLOB)

    assert 'ssh-keyscan' not in caught.value.hint
    assert '--accept-new-host-key' in caught.value.hint


@pytest.mark.skipif(not shutil.which('ssh-keygen'), reason='needs ssh-keygen')
def test_ssh_keygen_finds_what_was_noted(file: Path) -> None:
    HostKeys('shop.example', 2222, (file,), accept_new=True, hashed=True).check(TYPE, BLOB)

    found = subprocess.run(['ssh-keygen', '-F', '[shop.example]:2222', '-f', file], capture_output=True, check=False)

    assert found.returncode == 0


def test_a_long_file_is_read_quickly(file: Path) -> None:
    file.write_text(''.join(line(hashed_name(f'host{n}.example')) for n in range(3000)))
    started = time.monotonic()

    HostKeys('host2999.example', 22, (file,)).check(TYPE, BLOB)

    assert time.monotonic() - started < 1
