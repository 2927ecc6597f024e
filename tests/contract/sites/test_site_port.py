"""The contract of ``ports.Site`` and ``ports.Switcher``, held by the real adapter and by the fake alike."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.lab import Lab
from fixtures.site import FakeProber
from fixtures.site import FakeSite
from fixtures.site import fails_with
from wpaudit.domain import Kind
from wpaudit.domain import Mode
from wpaudit.domain import Outcome
from wpaudit.domain import Request
from wpaudit.errors import UsageError
from wpaudit.journal import FileJournal
from wpaudit.ports import Prober
from wpaudit.ports import Site
from wpaudit.ports import Switcher
from wpaudit.probes.http import HttpFetcher
from wpaudit.probes.judge import Expectation
from wpaudit.probes.prober import HttpProber
from wpaudit.shells import ShellOptions
from wpaudit.shells import open_shell
from wpaudit.shells.target import parse_target
from wpaudit.sites.launch import LaunchOptions
from wpaudit.sites.wpcli import WpCliSite

CULPRIT = 'crash-worker/crash-worker.php'


@dataclass
class World:
    """A site that fails because of CULPRIT, how to probe it, and what everybody sees of it."""

    site: Site
    prober: Prober
    everybody: Callable[[], frozenset[str]]  # the plugins on for ordinary visitors


@pytest.fixture
def fake() -> World:
    """The fake."""
    site = FakeSite.of('a/a.php', CULPRIT, 'b/b.php', failing=fails_with([CULPRIT]))
    ids = frozenset(one.id for one in site.plugins)
    return World(site, FakeProber(site), lambda: ids - site.off)


@pytest.fixture
def real(lab_of: Callable[[str], Lab], tmp_path: Path) -> Iterator[World]:
    """A real WordPress over real SSH."""
    lab = lab_of('sqlite')
    lab.reset()
    lab.activate([*lab.active()[:4], lab.install('crash-worker')])
    target = parse_target(lab.target)
    shell = ShellOptions(identity=lab.identity, known_hosts=lab.known_hosts)
    site = WpCliSite(
        lambda: open_shell(target, shell), LaunchOptions(path=target.path or ''), journal=FileJournal('x', tmp_path),
    )
    fetcher = HttpFetcher()
    prober = HttpProber(fetcher, [Request(f'{lab.url}/')], Expectation(), timeout=20)
    yield World(site, prober, lambda: frozenset(lab.active()))
    site.close()
    fetcher.close()


@pytest.fixture(params=['fake', 'real'])
def world(request: pytest.FixtureRequest) -> World:
    """Every adapter in turn."""
    found: World = request.getfixturevalue(request.param)
    return found


def test_it_lists_its_suspects_and_a_theme(world: World) -> None:
    inventory = world.site.inventory()
    suspects = world.site.suspects()
    assert CULPRIT in [one.id for one in suspects]
    assert {one.id for one in suspects} <= {part.id for part in inventory.components}
    assert [part for part in inventory.components if part.kind is Kind.THEME and part.status == 'active']
    assert inventory.facts.url.startswith('http')


@pytest.mark.parametrize('mode', list(Mode))
def test_exactly_the_set_asked_for_is_off_in_a_probe(world: World, mode: Mode) -> None:
    everything = frozenset(one.id for one in world.site.suspects())
    sets = [(frozenset[str](), Outcome.FAIL), (everything, Outcome.PASS), (frozenset([CULPRIT]), Outcome.PASS),
            (everything - {CULPRIT}, Outcome.FAIL)]
    with world.site.switching(mode) as switcher:
        for off, outcome in sets:
            with switcher.switched(off) as step:
                seen = world.prober.observe(step)
            assert seen.outcome is outcome
            assert [mark.seen for mark in seen.marks if mark] == [True]
            assert [mark.off for mark in seen.marks if mark] == [len(off)]


def test_isolated_is_seen_by_nobody_else(world: World) -> None:
    before = world.everybody()
    with world.site.switching(Mode.ISOLATED) as switcher:
        assert switcher.parallel
        with switcher.switched(before), switcher.switched(frozenset()):
            assert world.everybody() == before
            assert world.prober.observe(None).outcome is Outcome.FAIL


def test_live_is_seen_by_everybody_and_one_at_a_time(world: World) -> None:
    before = world.everybody()
    with world.site.switching(Mode.LIVE) as switcher:
        assert not switcher.parallel
        with switcher.switched(frozenset([CULPRIT])):
            assert world.everybody() == before - {CULPRIT}
            assert world.prober.observe(None).outcome is Outcome.PASS
    assert world.everybody() == before


@pytest.mark.parametrize('mode', list(Mode))
def test_it_is_put_back_and_verified_also_after_an_error(world: World, mode: Mode) -> None:
    before = world.everybody()
    held: list[Switcher] = []

    def fall_over() -> None:
        with world.site.switching(mode) as switcher, switcher.switched(before):
            held.append(switcher)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fall_over()
    done = held[0].restoration()
    assert done.verified
    assert done.before == done.after
    assert world.everybody() == before


def test_nobody_logs_in_as_a_user_who_is_not_there(world: World) -> None:
    with pytest.raises(UsageError, match='no user'):
        world.site.log_in('nobody-at-all')


def test_there_is_nothing_to_recover_on_a_clean_site(world: World) -> None:
    world.site.connect()
    assert world.site.recover() is None
