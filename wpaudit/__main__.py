"""``wpaudit`` and ``python -m wpaudit``."""

from __future__ import annotations

import os
import signal

from wpaudit.signals import heeded


def run() -> None:
    """Be the process: the entry point."""
    # Loading takes a moment, and there is nothing to put back yet.
    for number in heeded():
        signal.signal(number, lambda got, _frame: os._exit(128 + got))
    from wpaudit.cli import main
    from wpaudit.edge import ended_at_once

    ended_at_once(main)


if __name__ == '__main__':
    run()
