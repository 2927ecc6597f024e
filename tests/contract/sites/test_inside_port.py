"""The contract of ``ports.Inside``, held by the real view from a host and by the fake alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.lab import Lab
from fixtures.lab.traces import eventually
from fixtures.looking import FakeInside
from fixtures.looking import always
from wpaudit.domain import Cost
from wpaudit.domain import Gap
from wpaudit.domain import Request
from wpaudit.errors import WpauditError
from wpaudit.facts import LogLine
from wpaudit.facts import Purpose
from wpaudit.journal import FileJournal
from wpaudit.ports import Inside
from wpaudit.shells import ShellOptions
from wpaudit.shells import open_shell
from wpaudit.shells.target import parse_target
from wpaudit.sites.launch import LaunchOptions
from wpaudit.sites.wpcli import WpCliSite

LOOKS = (Purpose.HOST_PUBLIC, Purpose.HOST_LOOPBACK, Purpose.FASTCGI, Purpose.INSIDE)
MARKER = 'wpaudit-look=c0ffee'


@dataclass
class World:
    """A healthy site and its host."""

    inside: Inside
    url: str

    @property
    def request(self) -> Request:
        """The page with a marker."""
        return Request(f'{self.url}/?{MARKER}')


@pytest.fixture
def fake() -> World:
    """The fake."""
    line = LogLine('access', f'GET /?{MARKER} 200', '/l/access', time.time(), 'marker', MARKER)
    costs = (Cost('acme', ('acme/acme.php',), calls=2, seconds=0.2), Cost('WordPress itself', seconds=0.1))
    return World(FakeInside(always(200, body='<p>hello</p>'), logged=(line,), costing=costs), 'http://site.test')


@pytest.fixture
def real(lab_of: Callable[[str], Lab], tmp_path: Path) -> Iterator[World]:
    """A real host over real SSH."""
    lab = lab_of('sqlite')
    lab.reset()
    target = parse_target(lab.target)
    shell = ShellOptions(identity=lab.identity, known_hosts=lab.known_hosts)
    site = WpCliSite(
        lambda: open_shell(target, shell), LaunchOptions(path=target.path or '', url=lab.url),
        journal=FileJournal('inside', tmp_path),
    )
    yield World(site.inside(), lab.url)
    site.close()


@pytest.fixture(params=['fake', 'real'])
def world(request: pytest.FixtureRequest) -> World:
    """Every adapter in turn."""
    found: World = request.getfixturevalue(request.param)
    return found


def test_the_state_can_be_asked_for_again(world: World) -> None:
    for _ in range(2):
        state, gaps = world.inside.state()
        assert state.load >= 0
        assert state.processors > 0
        assert all(isinstance(gap, Gap) and gap.what and gap.why for gap in gaps)


@pytest.mark.parametrize('purpose', LOOKS)
def test_a_look_at_a_healthy_site(world: World, purpose: Purpose) -> None:
    before = time.time()
    look = world.inside.look(purpose, world.request, marker=MARKER, timeout=30)
    assert (look.purpose, look.vantage, look.marker) == (purpose, 'host', MARKER)
    assert (look.answer.status, look.answer.error, look.answer.truncated) == (200, '', False)
    assert look.answer.url == world.request.url
    assert look.answer.body
    assert all(name == name.lower() for name in look.answer.headers)
    assert before - 2 <= look.at <= time.time() + 2
    assert 0 < look.answer.seconds < 60


def test_the_costs_of_a_page_the_dearest_first(world: World) -> None:
    costs = world.inside.costs(world.request, timeout=30)
    assert [one.seconds for one in costs] == sorted((one.seconds for one in costs), reverse=True)
    assert sum(one.calls for one in costs) > 0
    assert any(one.suspects for one in costs)
    assert all(one.seconds >= 0 and one.memory >= 0 and one.queries >= 0 and one.name for one in costs)


def test_a_look_from_elsewhere_is_refused(world: World) -> None:
    with pytest.raises((WpauditError, ValueError)):
        world.inside.look(Purpose.REFRESH, world.request, timeout=5)


def test_lines_are_about_what_was_asked(world: World) -> None:
    since = time.time()
    world.inside.look(Purpose.HOST_LOOPBACK, world.request, marker=MARKER, timeout=30)
    # nginx writes its line when the answer is sent; one of another test may be of the same second
    assert eventually(lambda: any(line.source == 'access' for line in world.inside.lines(since, [MARKER])[0]))
    lines, gaps = world.inside.lines(since, [MARKER])
    access = {(line.matched, line.marker) for line in lines if line.source == 'access'}
    assert access == {('marker', MARKER)}
    assert all(line.marker in {'', MARKER} for line in lines)
    assert all(isinstance(gap, Gap) for gap in gaps)
    others, _ = world.inside.lines(since, ['wpaudit-look=of-somebody-else'])
    assert [line for line in others if line.source == 'access'] == []
