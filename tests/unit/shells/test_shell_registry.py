from __future__ import annotations

import subprocess
import sys

import pytest

from wpaudit.errors import CannotStart
from wpaudit.shells import SHELLS
from wpaudit.shells import ShellOptions
from wpaudit.shells import open_shell
from wpaudit.shells.local import LocalShell
from wpaudit.shells.target import SCHEMES
from wpaudit.shells.target import parse_target


def test_every_opener_has_a_scheme() -> None:
    assert set(SHELLS) <= set(SCHEMES)


def test_local_is_this_machine() -> None:
    assert isinstance(open_shell(parse_target('local'), ShellOptions()), LocalShell)


@pytest.mark.parametrize('text', ['docker:php', 'docker-compose:php'])
def test_containers_are_not_supported_yet(text: str) -> None:
    with pytest.raises(CannotStart, match='not supported yet') as caught:
        open_shell(parse_target(text), ShellOptions())

    assert caught.value.hint


def test_nothing_heavy_is_imported_before_a_shell_is_opened() -> None:
    script = (
        'import sys, wpaudit.shells, wpaudit.shells.local\n'
        'print([name for name in ("paramiko", "yaml", "cryptography") if name in sys.modules])'
    )

    result = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=True)

    assert result.stdout == '[]\n'
