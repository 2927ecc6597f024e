"""Lines and tables through rich, which is loaded when the first page is made and not before."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Sequence
from typing import TextIO

from wpaudit.report.printable import printable

# For output that is no terminal: wide enough that nothing is folded, so that grep finds whole lines.
_UNFOLDED = 2000


def colourful(stream: TextIO) -> bool:
    """Does ``stream`` want colours? Not pipes, not dumb terminals, not when NO_COLOR is set (no-color.org)."""
    try:
        terminal = stream.isatty()
    except ValueError:  # closed
        return False
    return terminal and not os.environ.get('NO_COLOR') and os.environ.get('TERM', 'dumb') != 'dumb'


class Page:
    """Text for people, built line by line. Everything given to it is made printable here and is never markup."""

    def __init__(self, *, colour: bool, width: int = 0) -> None:
        """Fold at ``width``: 0 takes the terminal's for a colourful page and does not fold a plain one."""
        from rich.console import Console

        self._out = io.StringIO()
        self._fold = colour or width > 0
        self._console = Console(
            file=self._out, force_terminal=colour, no_color=not colour, color_system='standard' if colour else None,
            width=width or (shutil.get_terminal_size().columns if colour else _UNFOLDED),
            markup=False, emoji=False, highlight=False, legacy_windows=False, _environ={},
        )

    def line(self, text: str = '', style: str = '', *, indent: int = 0) -> None:
        """Add a paragraph; folded lines keep the indent."""
        from rich.padding import Padding
        from rich.text import Text

        content = Text(printable(text), style=style)
        if self._fold:
            self._console.print(Padding(content, (0, 0, 0, indent)))
        else:
            self._console.print(Text(' ' * indent) + content, soft_wrap=True)

    def exact(self, text: str, *, indent: int = 2) -> None:
        """Add a line to be copied: never folded, so that the clipboard gets it whole."""
        from rich.text import Text

        self._console.print(Text(' ' * indent + printable(text, 4000), style='bold'), soft_wrap=True)

    def table(self, head: Sequence[str], rows: Sequence[Sequence[tuple[str, str] | str]], *, indent: int = 2) -> None:
        """Add a table; a cell is text or (text, style)."""
        from rich.padding import Padding
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, show_header=bool(any(head)), header_style='dim')
        for title in head:
            table.add_column(title, overflow='fold')
        for row in rows:
            cells = [(cell, '') if isinstance(cell, str) else cell for cell in row]
            table.add_row(*(Text(printable(text), style=style) for text, style in cells))
        self._console.print(Padding(table, (0, 0, 0, indent), expand=False))

    def text(self) -> str:
        """Return the page."""
        return ''.join(f'{line.rstrip()}\n' for line in self._out.getvalue().splitlines())
