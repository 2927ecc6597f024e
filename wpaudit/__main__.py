"""``wpaudit`` and ``python -m wpaudit``."""

from __future__ import annotations

import os
import signal
import sys

from wpaudit.signals import heeded

SWITCH_SECONDS = 0.0005


def run() -> None:
    """Be the process: the entry point."""
    # Loading takes a moment, and there is nothing to put back yet.
    for number in heeded():
        signal.signal(number, lambda got, _frame: os._exit(128 + got))
    # Threads that talk to a host need the interpreter often and for a moment; others load modules meanwhile.
    sys.setswitchinterval(SWITCH_SECONDS)
    from wpaudit.cli import main
    from wpaudit.edge import ended_at_once

    ended_at_once(main)


if __name__ == '__main__':
    run()
