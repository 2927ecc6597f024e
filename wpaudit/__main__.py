"""``wpaudit`` and ``python -m wpaudit``."""

from __future__ import annotations

from wpaudit.cli import main
from wpaudit.edge import ended_at_once


def run() -> None:
    """Be the process: the entry point."""
    ended_at_once(main)


if __name__ == '__main__':
    run()
