"""What a person may type to apply a fix. Pure; wpaudit never runs these itself."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Iterator
from collections.abc import Sequence
from typing import assert_never

from wpaudit.domain import Kind
from wpaudit.domain import Suspect

_PROGRAMS = ('wp ', 'mv ')


def is_command(line: str) -> bool:
    """Tell a line of advice that can be typed from one that is to be read."""
    return line.startswith(_PROGRAMS)


def fix_commands(fix: Sequence[Suspect], path: str, url: str, multisite: bool) -> tuple[str, ...]:
    """Return what switches the suspects of ``fix`` off for good: commands, and sentences where there is none.

    ``path`` is the site's directory on the host. Plugins are named by file, so that a folder with two of them is no
    riddle, and WP-CLI skips all plugins: the one that crashes PHP would crash ``wp`` as well.
    """
    place = (f'--path={path}', '--skip-plugins', '--skip-themes')
    lines = list(_plugins(fix, Kind.PLUGIN, place, (f'--url={url}',) if multisite and url else ()))
    lines += _plugins(fix, Kind.NETWORK_PLUGIN, place, ('--network',))
    lines += [line for suspect in fix for line in _apart(suspect, path)]
    return tuple(lines)


def _plugins(fix: Sequence[Suspect], kind: Kind, place: Sequence[str], which: Sequence[str]) -> Iterator[str]:
    # "acme/acme" and WP-CLI adds ".php": every version takes that, the bare file only newer ones.
    names = [suspect.id.removesuffix('.php') for suspect in fix if suspect.kind is kind]
    if names:
        yield shlex.join(['wp', 'plugin', 'deactivate', *names, *place, *which])


def _apart(suspect: Suspect, path: str) -> Iterator[str]:
    match suspect.kind:
        case Kind.PLUGIN | Kind.NETWORK_PLUGIN:
            return
        case Kind.MUST_USE:
            yield _moved(suspect, posixpath.join(path, 'wp-content', 'mu-plugins'))
        case Kind.DROPIN:
            yield _moved(suspect, posixpath.join(path, 'wp-content'))
        case Kind.THEME:
            yield shlex.join(['wp', 'theme', 'list', f'--path={path}', '--skip-plugins', '--skip-themes'])
            yield f'activate another theme than {suspect.id}, with: wp theme activate NAME'
        case Kind.RULE:
            where = f' ({suspect.where})' if suspect.where else ''
            yield f'switch the rule {suspect.id}{where} off where it is configured'
        case _:
            assert_never(suspect.kind)


def _moved(suspect: Suspect, folder: str) -> str:
    file = suspect.where if suspect.where.startswith('/') else posixpath.join(folder, suspect.id)
    return shlex.join(['mv', '--', file, f'{file}.off'])
