from __future__ import annotations

import subprocess
import sys

USE = """
import sys
from wpaudit.shells.ssh_library import load_paramiko
load_paramiko()
import wpaudit.shells.ssh
import paramiko
before = 'invoke.context' in sys.modules
text = 'Match exec "true"' + chr(10) + '  User bob' + chr(10)
print(before, paramiko.SSHConfig.from_text(text).lookup('x')['user'], 'invoke.context' in sys.modules)
"""


def test_match_exec_works_and_its_library_is_loaded_for_it_alone() -> None:
    done = subprocess.run([sys.executable, '-c', USE], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.split() == ['False', 'bob', 'True']
