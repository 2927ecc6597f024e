"""The whole command against a strict fake site: the verdict, and the state the site is left in."""

from __future__ import annotations

import itertools
import random
import statistics
from dataclasses import replace

import pytest

from fixtures.site import Failing
from fixtures.site import FakeProber
from fixtures.site import FakeSite
from fixtures.site import fails_with
from wpaudit.commands.bisect import bisect
from wpaudit.commands.options import Options
from wpaudit.commands.options import named
from wpaudit.commands.verdict import Findings
from wpaudit.commands.verdict import confidence
from wpaudit.domain import Evidence
from wpaudit.domain import Kind
from wpaudit.domain import Mode
from wpaudit.domain import Outcome
from wpaudit.domain import Recording
from wpaudit.domain import Role
from wpaudit.domain import Suspect
from wpaudit.domain import Verdict
from wpaudit.errors import CannotStart
from wpaudit.errors import Interrupted
from wpaudit.errors import ModeUnavailable
from wpaudit.errors import NotRestored
from wpaudit.errors import SiteError
from wpaudit.errors import Unfinished
from wpaudit.errors import UsageError
from wpaudit.ports import Silence

NAMES = tuple(f'p{number:02}/p{number:02}.php' for number in range(12))


def run(site: FakeSite, visitor: Outcome | None = None, **options: object) -> Findings:
    return bisect(site, lambda url: FakeProber(site, visitor), Options(**options), Silence())  # type: ignore[arg-type]


def ids(sets: object) -> set[frozenset[str]]:
    return {frozenset(one.id for one in part) for part in sets}  # type: ignore[attr-defined]


def untouched(site: FakeSite) -> None:
    assert site.off == frozenset()


@pytest.mark.parametrize('mode', list(Mode))
@pytest.mark.parametrize('culprit', NAMES)
def test_a_single_culprit_is_named_wherever_it_stands(culprit: str, mode: Mode) -> None:
    site = FakeSite.of(*NAMES, failing=fails_with([culprit]))
    found = run(site, mode=mode)
    assert found.verdict is Verdict.CULPRIT
    assert ids(found.conflicts) == {frozenset([culprit])}
    assert ids(found.fixes) == {frozenset([culprit])}
    assert found.exit_code == 1
    assert site.restored == 1
    untouched(site)


@pytest.mark.parametrize('size', [2, 3, 4])
def test_conflicts_of_any_size(size: int) -> None:
    for conflict in itertools.islice(itertools.combinations(NAMES, size), 0, 200, 17):
        found = run(FakeSite.of(*NAMES, failing=fails_with(conflict)))
        assert ids(found.conflicts) == {frozenset(conflict)}
        assert ids(found.fixes) == {frozenset([one]) for one in conflict}


def test_several_culprits_and_a_conflict_at_once() -> None:
    site = FakeSite.of(*NAMES, failing=fails_with([NAMES[1]], [NAMES[4], NAMES[9]]))
    found = run(site)
    assert ids(found.conflicts) == {frozenset([NAMES[1]]), frozenset([NAMES[4], NAMES[9]])}
    assert 'separate reasons' in found.message


def test_a_healthy_site_is_not_touched() -> None:
    site = FakeSite.of(*NAMES, failing=fails_with())
    found = run(site)
    assert (found.verdict, found.exit_code, site.switches, site.restored) == (Verdict.HEALTHY, 0, [], 0)


def test_a_site_that_works_because_another_run_was_interrupted_is_not_called_healthy() -> None:
    site = FakeSite.of(*NAMES, failing=fails_with(), held=Unfinished('an earlier run was interrupted'))
    with pytest.raises(Unfinished):
        run(site)
    assert site.switches == []


def test_a_failure_that_no_plugin_makes_ends_in_3() -> None:
    site = FakeSite.of(*NAMES, failing=lambda on: Outcome.FAIL)
    found = run(site)
    assert (found.verdict, found.exit_code) == (Verdict.NOT_A_SUSPECT, 3)
    untouched(site)


def test_the_theme_is_named_when_only_a_default_theme_helps() -> None:
    site = FakeSite.of(*NAMES, failing=lambda on: Outcome.FAIL, theme_failing=fails_with())
    found = run(site)
    assert (found.verdict, found.exit_code) == (Verdict.CULPRIT, 1)
    assert ids(found.conflicts) == {frozenset(['twentyx'])}


def test_a_theme_that_needs_plugins_is_searched_under_a_default_theme() -> None:
    def themed(on: frozenset[str]) -> Outcome:
        if NAMES[0] not in on:
            return Outcome.OTHER
        return fails_with([NAMES[3]])(on)

    site = FakeSite.of(*NAMES, failing=themed, theme_failing=fails_with([NAMES[3]]))
    found = run(site)
    assert ids(found.conflicts) == {frozenset([NAMES[3]])}
    assert 'default theme' in found.note


def test_no_plugins_at_all() -> None:
    found = run(FakeSite.of(failing=lambda on: Outcome.FAIL))
    assert (found.verdict, found.exit_code) == (Verdict.NOT_A_SUSPECT, 3)
    assert 'no plugin is active' in found.message
    assert 'nor the theme' in found.message


@pytest.mark.parametrize('mode', list(Mode))
def test_with_no_plugin_on_the_theme_is_tried_all_the_same(mode: Mode) -> None:
    found = run(FakeSite.of(failing=lambda on: Outcome.FAIL, theme_failing=fails_with()), mode=mode)
    assert ids(found.conflicts) == {frozenset(['twentyx'])}


def test_with_no_plugin_on_and_no_way_to_try_the_theme_that_is_said() -> None:
    found = run(FakeSite.of(failing=lambda on: Outcome.FAIL, modes=frozenset()))
    assert (found.verdict, found.exit_code) == (Verdict.NOT_A_SUSPECT, 3)
    assert 'no plugin is active' in found.message
    assert 'the theme could not be tried: isolated is not possible here' in found.message


@pytest.mark.parametrize('names', [NAMES, ()])
def test_a_theme_that_nothing_can_stand_in_for_is_not_called_innocent(names: tuple[str, ...]) -> None:
    site = FakeSite.of(*names, failing=lambda on: Outcome.FAIL, no_theme='no other theme is installed')
    found = run(site)
    assert (found.verdict, found.exit_code) == (Verdict.NOT_A_SUSPECT, 3)
    assert 'the theme could not be tried: no other theme is installed' in found.message
    assert 'nor the theme' not in found.message


def test_what_was_kept_on_is_not_called_innocent() -> None:
    site = FakeSite.of(*NAMES, failing=fails_with([NAMES[3]]))
    found = run(site, keep=(NAMES[3], NAMES[4]))
    assert found.verdict is Verdict.NOT_A_SUSPECT
    assert f'or one that was kept on ({NAMES[3]}, {NAMES[4]})' in found.message


def test_isolated_impossible_and_no_consent_refuses() -> None:
    site = FakeSite.of(*NAMES, failing=fails_with([NAMES[0]]), modes=frozenset({Mode.LIVE}))
    with pytest.raises(ModeUnavailable, match='not possible here') as caught:
        run(site)
    assert caught.value.exit_code == 4
    assert site.switches == []


def test_isolated_impossible_and_consent_goes_live_and_says_why() -> None:
    site = FakeSite.of(*NAMES, failing=fails_with([NAMES[0]]), modes=frozenset({Mode.LIVE}))
    found = run(site, may_go_live=lambda reason: True)
    assert found.mode is Mode.LIVE
    assert 'not possible here' in found.mode_reason
    untouched(site)


def test_a_failure_that_isolation_hides_is_no_verdict() -> None:
    site = FakeSite.of(*NAMES, failing=fails_with())
    with pytest.raises(ModeUnavailable, match='visitors see the failure'):
        run(site, visitor=Outcome.FAIL, mode=Mode.ISOLATED)
    untouched(site)


# -- failures that come and go ------------------------------------------------------------------------

def now_and_then(seed: int, rate: float, *conflicts: tuple[str, ...]) -> Failing:
    """Fail at this rate while all of a conflict are on."""
    dice = random.Random(seed)
    steadily = fails_with(*conflicts)
    return lambda on: Outcome.FAIL if steadily(on) is Outcome.FAIL and dice.random() < rate else Outcome.PASS


@pytest.mark.parametrize('recorder', [True, False])
@pytest.mark.parametrize('rate', [0.3, 0.5, 0.8])
@pytest.mark.parametrize('seed', range(12))
def test_an_unsteady_fault_is_named_or_nothing_is(seed: int, rate: float, recorder: bool) -> None:
    culprit = NAMES[seed % len(NAMES)]
    site = FakeSite.of(*NAMES, failing=now_and_then(seed, rate, (culprit,)), recording=recording(culprit))
    found = run(site, recorder=recorder, parallel=1)  # threads would throw the dice in another order each time
    untouched(site)
    if found.verdict is Verdict.CULPRIT:
        assert ids(found.conflicts) == {frozenset([culprit])}
        assert 0.95 < confidence(found) <= 0.99
    else:
        assert found.conflicts == ()


def test_an_unsteady_fault_is_mostly_named_and_the_recorder_halves_its_price() -> None:
    prices: dict[bool, list[int]] = {True: [], False: []}
    for seed, recorder in itertools.product(range(40), (True, False)):
        failing = now_and_then(seed, 0.3, (NAMES[5],))
        found = run(FakeSite.of(*NAMES, failing=failing, recording=recording(NAMES[5])), recorder=recorder, parallel=1)
        if found.verdict is Verdict.CULPRIT:
            made = [one for one in found.trial.records if one.role in (Role.SEARCH, Role.CERTIFICATE)]
            prices[recorder].append(len(made))
    assert min(len(one) for one in prices.values()) >= 35
    assert statistics.median(prices[True]) <= statistics.median(prices[False]) / 2


@pytest.mark.parametrize('seed', range(20))
def test_an_unsteady_conflict_never_names_an_innocent(seed: int) -> None:
    guilty = {NAMES[1], NAMES[8]}
    found = run(FakeSite.of(*NAMES, failing=now_and_then(seed, 0.4, (NAMES[1], NAMES[8]))), parallel=1)
    assert {one for conflict in ids(found.conflicts) for one in conflict} <= guilty


def test_an_unsteady_fault_of_the_site_itself_is_no_plugin() -> None:
    answers = itertools.cycle([Outcome.FAIL, Outcome.PASS])
    found = run(FakeSite.of(*NAMES, failing=lambda on: next(answers)))
    assert (found.verdict, found.exit_code, found.conflicts) == (Verdict.NOT_A_SUSPECT, 3, ())


def test_a_fault_too_seldom_to_prove_anything_is_exit_6() -> None:
    left = iter([Outcome.FAIL, Outcome.PASS])
    site = FakeSite.of(*NAMES, failing=lambda on: next(left, Outcome.PASS))
    found = run(site)
    assert (found.verdict, found.exit_code, found.conflicts) == (Verdict.INCONCLUSIVE, 6, ())
    assert 'none of' in found.message
    untouched(site)


def test_an_unsteady_fault_that_stops_meanwhile_names_nobody() -> None:
    failures = iter(range(9))
    dice = random.Random(3)

    def failing(on: frozenset[str]) -> Outcome:
        hit = NAMES[4] in on and dice.random() < 0.5 and next(failures, None) is not None
        return Outcome.FAIL if hit else Outcome.PASS

    found = run(FakeSite.of(*NAMES, failing=failing), parallel=1)
    assert (found.verdict, found.exit_code) == (Verdict.INCONCLUSIVE, 6)
    assert 'no longer' in found.message or found.conflicts == ()


def test_where_the_host_tells_nothing_of_a_request_an_unsteady_fault_is_refused() -> None:
    site = FakeSite.of(*NAMES, failing=now_and_then(1, 0.5, (NAMES[4],)), marks=False)
    found = run(site, mode=Mode.LIVE, parallel=1)
    assert (found.verdict, found.exit_code, found.conflicts) == (Verdict.INCONCLUSIVE, 6, ())
    assert 'does not tell' in found.message
    untouched(site)


def test_another_failure_than_asked_for_is_refused_with_the_option() -> None:
    site = FakeSite.of(*NAMES, failing=lambda on: Outcome.OTHER)
    with pytest.raises(CannotStart) as caught:
        run(site)
    assert '--fail-on 500' in caught.value.hint
    assert site.switches == []


@pytest.mark.parametrize(('status', 'hint'), [(404, '--expect-status 200,404'), (400, '--expect-status 200,400'),
                                              (500, '--keep NAME')])
def test_a_page_that_is_a_plugins_own_is_refused_with_the_option_for_it(status: int, hint: str) -> None:
    own = NAMES[4]  # without it the page is not there
    site = FakeSite.of(*NAMES, failing=lambda on: Outcome.FAIL if own in on else Outcome.OTHER)
    found = bisect(site, lambda url: FakeProber(site, other=status), Options(), Silence())
    assert found.verdict is Verdict.INCONCLUSIVE
    assert hint in found.hint


def test_a_site_that_cannot_be_reached_is_refused() -> None:
    with pytest.raises(CannotStart, match='cannot be probed'):
        run(FakeSite.of(*NAMES, failing=lambda on: Outcome.UNREACHED))


def test_the_budget_is_kept_and_the_best_knowledge_reported() -> None:
    site = FakeSite.of(*NAMES, failing=fails_with([NAMES[2], NAMES[7]]))
    found = run(site, max_probes=14)
    assert (found.verdict, found.exit_code) == (Verdict.INCONCLUSIVE, 6)
    assert len(found.trial.records) <= 14
    assert {NAMES[2], NAMES[7]} & set(found.suspicion)
    untouched(site)


def test_a_budget_too_small_for_the_baseline() -> None:
    site = FakeSite.of(*NAMES, failing=fails_with([NAMES[2]]))
    found = run(site, max_probes=3)
    assert (found.verdict, found.exit_code, found.conflicts) == (Verdict.INCONCLUSIVE, 6, ())
    assert '--max-probes' in found.hint
    assert found.restoration is not None
    assert found.restoration.verified
    untouched(site)


def test_kept_plugins_are_never_switched_off() -> None:
    site = FakeSite.of(*NAMES, failing=fails_with([NAMES[2], NAMES[7]]))
    found = run(site, keep=('p02', NAMES[5]))
    assert all(NAMES[2] not in off and NAMES[5] not in off for off in site.switches)
    assert ids(found.fixes) == {frozenset([NAMES[7]])}


def test_only_the_named_suspects_are_switched() -> None:
    site = FakeSite.of(*NAMES, failing=fails_with([NAMES[2]]))
    found = run(site, only=('p02', 'p03'))
    assert frozenset().union(*site.switches) <= {NAMES[2], NAMES[3]}
    assert ids(found.conflicts) == {frozenset([NAMES[2]])}


@pytest.mark.parametrize('name', [
    'acme/main.php', 'acme/main', 'Acme Forms', 'acme forms', 'ACME/main.php', 'hello', 'hello.php', 'HELLO',
])
def test_a_suspect_is_called_by_any_of_its_names(name: str) -> None:
    plugins = (
        Suspect('acme/main.php', Kind.PLUGIN, 'Acme Forms'), Suspect('acme/extra.php', Kind.PLUGIN, 'Extra'),
        Suspect('hello.php', Kind.PLUGIN, 'Greetings'), Suspect('/etc/x:1', Kind.RULE),
    )
    assert named(name, plugins, '--keep') == ('hello.php' if 'hello' in name.casefold() else 'acme/main.php')


@pytest.mark.parametrize(('name', 'said', 'hint'), [
    ('acme', 'several plugins: acme/main.php, acme/extra.php', 'use the file'),
    ('acme from', 'is called acme from', 'did you mean Acme Forms?'),
    ('', 'is called ', 'see: wpaudit list'),
])
def test_a_name_that_means_nobody_or_several_is_refused_with_help(name: str, said: str, hint: str) -> None:
    plugins = (
        Suspect('acme/main.php', Kind.PLUGIN, 'Acme Forms'), Suspect('acme/extra.php', Kind.PLUGIN, 'Extra'),
        Suspect('/etc/x:1', Kind.RULE), Suspect('none.php', Kind.PLUGIN, ''),
    )
    with pytest.raises(UsageError, match=said) as caught:
        named(name, plugins, '--keep')
    assert hint in caught.value.hint


@pytest.mark.parametrize(('name', 'hint'), [('p99', 'see: wpaudit list'), ('p0', 'did you mean')])
def test_an_unknown_name_is_usage(name: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        run(FakeSite.of(*NAMES, failing=fails_with([NAMES[2]])), keep=(name,))
    assert hint in caught.value.hint or 'did you mean' in caught.value.hint


def test_everything_pinned_is_usage() -> None:
    site = FakeSite.of(*NAMES, failing=fails_with([NAMES[2]]))
    with pytest.raises(UsageError, match='everything is pinned'):
        run(site, keep=NAMES)
    untouched(site)


def test_declared_dependencies_are_probed_as_closed_sets() -> None:
    site = FakeSite.of(*NAMES, failing=fails_with([NAMES[2]]))
    child = replace(site.plugins[6], requires=(NAMES[2],))
    site = replace(site, plugins=(*site.plugins[:6], child, *site.plugins[7:]))
    found = run(site)
    assert ids(found.conflicts) == {frozenset([NAMES[2]])}
    assert all(NAMES[6] in off for off in site.switches if NAMES[2] in off)


def test_an_undeclared_dependency_is_not_taken_for_a_culprit() -> None:
    def failing(on: frozenset[str]) -> Outcome:
        if NAMES[8] in on and NAMES[1] not in on:
            return Outcome.OTHER
        return fails_with([NAMES[8]])(on)

    found = run(FakeSite.of(*NAMES, failing=failing))
    assert ids(found.conflicts) == {frozenset([NAMES[8]])}


def test_evidence_shortens_the_search() -> None:
    hint = (Evidence('log', 'named in it', (NAMES[10],), 50.0),)
    site = FakeSite.of(*NAMES, failing=fails_with([NAMES[10]]), hints=hint)
    found = run(site)
    made = [one for one in found.trial.records if one.role in (Role.SEARCH, Role.CERTIFICATE)]
    assert ids(found.conflicts) == {frozenset([NAMES[10]])}
    assert len({one.off for one in made}) == 2


def test_a_wrong_hint_costs_probes_and_not_the_truth() -> None:
    hint = (Evidence('log', 'named in it', (NAMES[3],), 50.0),)
    found = run(FakeSite.of(*NAMES, failing=fails_with([NAMES[10]]), hints=hint))
    assert ids(found.conflicts) == {frozenset([NAMES[10]])}


def recording(*ids: str, weight: float = 1000.0) -> Recording:
    return Recording((Evidence('recorder', 'died in it @ init', ids, weight),))


def test_events_are_asked_for_in_isolated_mode_and_nobody_visits() -> None:
    site = FakeSite.of(*NAMES, failing=fails_with([NAMES[3]]))
    found = run(site, cron=True, visitor=Outcome.PASS)
    assert site.events
    assert found.mode is Mode.ISOLATED
    assert ids(found.conflicts) == {frozenset([NAMES[3]])}


@pytest.mark.parametrize('mode', [Mode.LIVE, None])
def test_events_are_never_run_for_everybody(mode: Mode | None) -> None:
    site = FakeSite.of(*NAMES, failing=fails_with([NAMES[3]]), modes=frozenset({Mode.LIVE}))
    with pytest.raises(UsageError if mode else ModeUnavailable) as caught:
        run(site, cron=True, mode=mode, may_go_live=lambda reason: True)
    assert '--mode live' not in (caught.value.hint or '') or mode is Mode.LIVE
    assert site.switches == []


def mentioned(suspect: str, weight: float = 600.0) -> tuple[Evidence, ...]:
    return (Evidence('source code', 'it asks for something', (suspect,), weight),)


PLACE = 'p03/p03.php:10-20'


def half_seen(*conflict: str, **more: object) -> FakeSite:
    """A site of which the recorder names the first of a conflict, and the place where it died."""
    died = Evidence('recorder', 'died in it @ init', conflict[:1], 1000.0, where=PLACE)
    return FakeSite.of(*NAMES, failing=fails_with(conflict), recording=Recording((died,)), **more)


def test_the_partner_of_one_that_passes_alone_is_asked_of_the_code() -> None:
    site = half_seen(NAMES[3], NAMES[8], mentions={NAMES[3]: mentioned(NAMES[8])})
    found = run(site)
    assert ids(found.conflicts) == {frozenset([NAMES[3], NAMES[8]])}
    assert site.asked_about == [(NAMES[3], PLACE)]
    made = [one for one in found.trial.records if one.role in (Role.SEARCH, Role.CERTIFICATE)]
    assert len({one.off for one in made}) == 5
    assert len(made) == 8
    assert [one.source for one in found.evidence] == ['recorder', 'source code']
    assert all(one.fate.startswith('certified by probes ') for one in found.evidence)


def test_nobody_reads_the_code_of_one_that_fails_alone() -> None:
    site = half_seen(NAMES[3], mentions={NAMES[3]: mentioned(NAMES[8])})
    assert ids(run(site).conflicts) == {frozenset([NAMES[3]])}
    assert site.asked_about == []


@pytest.mark.parametrize('wrong', [NAMES[5], 'nobody/nobody.php', NAMES[3]])
def test_code_that_names_another_one_costs_probes_and_not_the_truth(wrong: str) -> None:
    found = run(half_seen(NAMES[3], NAMES[8], mentions={NAMES[3]: mentioned(wrong)}))
    assert ids(found.conflicts) == {frozenset([NAMES[3], NAMES[8]])}
    assert {one.fate for one in found.evidence if one.source == 'source code'} <= {'not borne out by the probes'}


def test_code_that_cannot_be_read_is_a_gap() -> None:
    found = run(half_seen(NAMES[3], NAMES[8], deaf=SiteError('the agent sent nonsense')))
    assert ids(found.conflicts) == {frozenset([NAMES[3], NAMES[8]])}
    assert [gap.why for gap in found.gaps if gap.what == f'code of {NAMES[3]}'] == ['the agent sent nonsense']


@pytest.mark.parametrize('culprit', NAMES)
def test_a_recording_leads_straight_to_the_certificate(culprit: str) -> None:
    site = FakeSite.of(*NAMES, failing=fails_with([culprit]), recording=recording(culprit))
    found = run(site)
    assert ids(found.conflicts) == {frozenset([culprit])}
    made = [one for one in found.trial.records if one.role not in (Role.BASELINE, Role.CANARY)]
    assert [one.role for one in made] == [Role.RECORDER] + [Role.CERTIFICATE] * 3
    assert made[0].off == ()
    assert found.evidence[0].fate == f'certified by probes {made[1].n} and {made[2].n}'


def test_a_recording_of_another_plugin_costs_probes_and_not_the_truth() -> None:
    site = FakeSite.of(*NAMES, failing=fails_with([NAMES[10]]), recording=recording(NAMES[3]))
    found = run(site)
    assert ids(found.conflicts) == {frozenset([NAMES[10]])}
    assert found.evidence[0].fate == 'not borne out by the probes'


def test_of_a_conflict_it_needs_to_know_one_only() -> None:
    site = FakeSite.of(*NAMES, failing=fails_with([NAMES[2], NAMES[7]]), recording=recording(NAMES[7]))
    found = run(site)
    assert ids(found.conflicts) == {frozenset([NAMES[2], NAMES[7]])}
    assert found.evidence[0].fate.startswith('certified by probes ')


def test_a_recording_that_does_not_fail_is_dropped_and_said_to_be() -> None:
    site = FakeSite.of(
        *NAMES, failing=fails_with([NAMES[10]]), recording=recording(NAMES[3]), unrecorded=Outcome.PASS)
    found = run(site)
    assert ids(found.conflicts) == {frozenset([NAMES[10]])}
    assert found.evidence == ()
    assert [gap.what for gap in found.gaps] == ['flight recorder']


def test_nothing_is_recorded_where_that_is_not_wanted_or_not_possible() -> None:
    wanted = FakeSite.of(*NAMES, failing=fails_with([NAMES[1]]), recording=recording(NAMES[1]))
    for site, recorder in ((wanted, False), (replace(wanted, recording=None), True)):
        found = run(site, recorder=recorder)
        assert ids(found.conflicts) == {frozenset([NAMES[1]])}
        assert all(one.role is not Role.RECORDER for one in found.trial.records)
        assert found.evidence == ()


def test_a_state_that_cannot_be_verified_is_exit_5_and_nothing_that_was_found_is_lost() -> None:
    found = run(FakeSite.of(*NAMES, failing=fails_with([NAMES[2]]), unverified='somebody changed it'))
    assert (found.exit_code, found.verdict) == (5, Verdict.CULPRIT)
    assert ids(found.conflicts) == {frozenset([NAMES[2]])}
    assert found.restoration is not None
    assert not found.restoration.verified


@pytest.mark.parametrize('broken', [Interrupted(2), NotRestored('somebody else wrote to it'), CannotStart('gone')])
def test_a_run_that_is_broken_off_and_not_restored_tells_what_it_saw(broken: BaseException) -> None:
    def failing(on: frozenset[str]) -> Outcome:
        if len(site.switches) > 8:
            raise broken
        return fails_with([NAMES[2]])(on)

    site = FakeSite.of(*NAMES, failing=failing, unverified='somebody changed it')
    found = run(site)
    assert (found.exit_code, found.mode) == (5, Mode.ISOLATED)
    assert found.restoration is not None
    assert len(found.trial.records) >= 7


def test_a_bug_in_a_run_that_is_not_restored_is_exit_5_as_well() -> None:
    def failing(on: frozenset[str]) -> Outcome:
        if len(site.switches) > 8:
            raise ZeroDivisionError
        return fails_with([NAMES[2]])(on)

    site = FakeSite.of(*NAMES, failing=failing, unverified='somebody changed it')
    with pytest.raises(NotRestored, match='somebody changed it'):
        run(site)


@pytest.mark.parametrize('moment', range(1, 20))
def test_an_interruption_at_any_probe_restores(moment: int) -> None:
    site = FakeSite.of(*NAMES, failing=fails_with([NAMES[2], NAMES[7]]))
    made = itertools.count(1)
    told = site.failing

    def failing(on: frozenset[str]) -> Outcome:
        if next(made) == moment:
            raise KeyboardInterrupt
        return told(on)

    site.failing = failing
    with pytest.raises(KeyboardInterrupt):
        run(site, mode=Mode.LIVE)
    untouched(site)


def test_a_dry_run_switches_nothing() -> None:
    site = FakeSite.of(*NAMES, failing=fails_with([NAMES[2]]))
    found = run(site, dry_run=True)
    assert (site.switches, found.exit_code) == ([], 0)
    assert '12 plugins' in found.message


def test_an_unknown_user_is_usage() -> None:
    with pytest.raises(UsageError, match='no user'):
        run(FakeSite.of(*NAMES, failing=fails_with([NAMES[2]])), as_user='nobody')


def test_a_theme_is_not_named_for_a_failure_that_went_away_meanwhile() -> None:
    asked: list[frozenset[str]] = []

    def failing(on: frozenset[str]) -> Outcome:
        asked.append(on)
        # Everything off fails twice, and works from then on.
        return Outcome.FAIL if on or sum(not one for one in asked) <= 2 else Outcome.PASS

    site = FakeSite.of(*NAMES, failing=failing, theme_failing=lambda on: Outcome.PASS)
    found = run(site)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.conflicts == ()
    assert 'no longer' in found.message
