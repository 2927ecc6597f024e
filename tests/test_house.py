"""What is written down about the house holds: arrows, who may import what, documented commands and exit codes."""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from wpaudit import errors
from wpaudit.cli import main
from wpaudit.commands.verdict import EXIT_CODES
from wpaudit.edge import BUG

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / 'wpaudit'
README = (ROOT / 'README.md').read_text(encoding='utf-8')

# Each may import rooms with a lower number, and itself.
RANKS = {
    '__main__': 7, 'cli': 6, 'cli_options': 5.5, 'cli_output': 5.5, 'app_triage': 5.5, 'app': 5, 'app_layers': 4.5,
    'edge': 5,
    'commands': 4, 'shells': 4, 'sites': 4, 'firewalls': 4, 'probes': 4, 'report': 4, 'journal': 4,
    'engine': 3, 'triage': 3, 'ports': 2, 'signals': 2, 'facts': 1.5,
    'domain': 1, 'errors': 1, 'intervals': 1, 'nginx_syntax': 1, '': 0,
}
ADAPTERS = {'shells', 'sites', 'firewalls', 'probes', 'report', 'journal'}
IMPURE = {'os', 'sys', 'socket', 'subprocess', 'threading', 'time', 'pathlib'}
ONLY_IN = {
    'paramiko': ('shells/',),
    'urllib3': ('probes/',),
    'certifi': ('probes/',),
    'click': ('cli.py', 'cli_options.py', 'cli_output.py', 'edge.py'),
    'h2': ('probes/',),
    'crossplane': ('nginx_syntax.py',),
    'rich': ('report/',),
    'yaml': ('shells/',),
}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob('*.py')):
        yield str(path.relative_to(PACKAGE)), ast.parse(path.read_text(encoding='utf-8'))


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f'{node.module}.{alias.name}' for alias in node.names)


def room(dotted: str) -> str:
    parts = dotted.split('.')
    return parts[1] if len(parts) > 1 and parts[1] in RANKS else ''


@pytest.mark.parametrize(('name', 'tree'), list(modules()))
def test_arrows_point_down(name: str, tree: ast.Module) -> None:
    here = name.split('/', 1)[0].removesuffix('.py')
    here = '' if here == '__init__' else here
    for target in imported(tree):
        if target.split('.')[0] != 'wpaudit':
            continue
        there = room(target)
        assert there == here or RANKS[there] < RANKS[here], f'{name} imports {target}'


@pytest.mark.parametrize(('name', 'tree'), list(modules()))
def test_the_engine_is_pure_and_libraries_stay_in_their_rooms(name: str, tree: ast.Module) -> None:
    for target in imported(tree):
        top = target.split('.')[0]
        assert top not in ONLY_IN or name.startswith(ONLY_IN[top]), f'{name} imports {target}'
        if name.startswith(('engine/', 'triage/')):
            assert top not in IMPURE, f'{name} imports {target}'


@pytest.mark.parametrize(('name', 'tree'), list(modules()))
def test_broad_excepts_are_few_and_explained(name: str, tree: ast.Module) -> None:
    lines = (PACKAGE / name).read_text(encoding='utf-8').splitlines()
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and isinstance(node.type, ast.Name):
            broad = node.type.id in {'Exception', 'BaseException'}
            reraises = any(isinstance(one, ast.Raise) for one in ast.walk(node))
            assert not broad or reraises or '#' in lines[node.lineno - 1], f'{name}:{node.lineno}'


@pytest.mark.parametrize('name', sorted(main.commands))
def test_every_command_is_documented_and_has_help_with_examples(name: str) -> None:
    command = main.commands[name]
    assert f'`wpaudit {name}' in README
    assert command.help
    assert f'wpaudit {name}' in (command.epilog or '')
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.name not in {'help'}:
            assert parameter.opts


def test_every_exit_code_is_documented() -> None:
    found = {int(code) for row in re.findall(r'^\| ([\d /]+) \|', README, re.MULTILINE) for code in row.split('/')}
    used = {
        value.exit_code for value in vars(errors).values() if isinstance(value, type) and hasattr(value, 'exit_code')
    }
    assert found >= used | set(EXIT_CODES.values()) | {BUG, 130, 143}


def test_every_dependency_has_its_reason() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / 'setup.cfg')
    table = README.split('## Dependencies', 1)[1]
    for line in config['options']['install_requires'].split():
        name = re.split(r'[<>=]', line)[0]
        assert name in table, name


def test_nothing_names_a_package_registry() -> None:
    registries = re.compile('registry[.]npm|pypi[.]org|deb[.]debian|files[.]pythonhosted')
    listed = subprocess.run(['git', 'ls-files', '-z'], cwd=ROOT, capture_output=True, check=True, timeout=30)
    for name in listed.stdout.decode().split('\0'):
        path = ROOT / name
        if path.is_file():
            assert not registries.search(path.read_bytes().decode('utf-8', 'replace')), name
