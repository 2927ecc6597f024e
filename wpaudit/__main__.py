"""``python -m wpaudit``."""

from __future__ import annotations

from wpaudit.cli import main

if __name__ == '__main__':
    main()
