"""Plugins and firewall rules searched together: who is named, and how everything is left."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fixtures.site import FakeLayer
from fixtures.site import FakeProber
from fixtures.site import FakeSite
from fixtures.site import fails_with
from wpaudit.commands.bisect import bisect
from wpaudit.commands.layered import Layered
from wpaudit.commands.options import Options
from wpaudit.commands.verdict import Findings
from wpaudit.domain import Evidence
from wpaudit.domain import Exemption
from wpaudit.domain import Gap
from wpaudit.domain import Kind
from wpaudit.domain import Mode
from wpaudit.domain import Outcome
from wpaudit.domain import Verdict
from wpaudit.errors import ModeUnavailable
from wpaudit.errors import UsageError
from wpaudit.ports import Observation
from wpaudit.ports import Silence
from wpaudit.ports import Step

PLUGINS = tuple(f'p{number:02}/p{number:02}.php' for number in range(6))
RULES = tuple(str(942100 + number) for number in range(12))
ALL = frozenset(Kind)


def run(site: FakeSite, *layers: FakeLayer, kinds: frozenset[Kind] = ALL, **options: object) -> Findings:
    chosen = Options(kinds=kinds, **options)  # type: ignore[arg-type]  # as the command line has them
    return bisect(site, lambda url: FakeProber(site), chosen, Silence(), layers=lambda inventory: layers)


def ids(sets: object) -> set[frozenset[str]]:
    return {frozenset(one.id for one in part) for part in sets}  # type: ignore[attr-defined]


def site_blocking(*conflicts: tuple[str, ...], failing: tuple[tuple[str, ...], ...] = ()) -> FakeSite:
    return FakeSite.of(*PLUGINS, failing=fails_with(*failing), blocking=fails_with(*conflicts))


@pytest.mark.parametrize('mode', list(Mode))
@pytest.mark.parametrize('culprit', RULES)
def test_a_rule_is_named_wherever_it_stands(culprit: str, mode: Mode) -> None:
    site = site_blocking((culprit,))
    layer = FakeLayer('waf', RULES, site)
    found = run(site, layer, mode=mode)
    assert found.verdict is Verdict.CULPRIT
    assert ids(found.conflicts) == ids(found.fixes) == {frozenset([culprit])}
    assert found.conflicts[0][0].where == f'/etc/{culprit}:1'
    assert site.rules_off == set()
    assert site.off == frozenset()
    assert layer.restored == 1


def test_an_anomaly_score_is_a_set() -> None:
    site = site_blocking(tuple(RULES[2:5]))
    found = run(site, FakeLayer('waf', RULES, site))
    assert ids(found.conflicts) == {frozenset(RULES[2:5])}


def test_two_layers_that_block_the_same_request() -> None:
    site = site_blocking((RULES[1],), ('h:4',))
    found = run(site, FakeLayer('waf', RULES, site), FakeLayer('htaccess', ('h:1', 'h:4'), site))
    assert ids(found.conflicts) == {frozenset([RULES[1]]), frozenset(['h:4'])}
    assert ids(found.fixes) == {frozenset([RULES[1], 'h:4'])}


def test_a_plugin_and_a_rule_both_at_fault_are_named_in_one_run() -> None:
    site = site_blocking((RULES[7],), failing=((PLUGINS[2],),))
    found = run(site, FakeLayer('waf', RULES, site))
    assert ids(found.conflicts) == {frozenset([RULES[7]]), frozenset([PLUGINS[2]])}


def test_a_plugin_and_a_rule_that_only_fail_together() -> None:
    site = FakeSite.of(*PLUGINS, failing=fails_with([PLUGINS[2], RULES[7]]))
    found = run(site, FakeLayer('waf', RULES, site), rules_later=False)
    assert ids(found.conflicts) == {frozenset([PLUGINS[2], RULES[7]])}
    assert ids(found.fixes) == {frozenset([PLUGINS[2]]), frozenset([RULES[7]])}


def test_a_rule_that_minds_what_a_plugin_says_is_found_where_php_comes_to_its_end() -> None:
    site = FakeSite.of(*PLUGINS, failing=fails_with([PLUGINS[2], RULES[7]]), stage='ended')
    layer = FakeLayer('waf', RULES, site)
    found = run(site, layer)
    assert ids(found.conflicts) == {frozenset([PLUGINS[2], RULES[7]])}
    assert layer.restored == 1


@pytest.mark.parametrize('more', [{}, {'modes': frozenset()}, {'rules': ()}])
def test_a_plugin_that_fails_without_any_rule_is_named_alone(more: dict[str, object]) -> None:
    site = FakeSite.of(*PLUGINS, failing=fails_with([PLUGINS[2]], [PLUGINS[4], PLUGINS[5]]), stage='ended')
    found = run(site, FakeLayer(**{'name': 'waf', 'rules': RULES, 'site': site, **more}))  # type: ignore[arg-type]  # fields
    assert ids(found.conflicts) == {frozenset([PLUGINS[2]]), frozenset([PLUGINS[4], PLUGINS[5]])}
    assert found.verdict is Verdict.CULPRIT


def test_a_plugin_alone_costs_no_look_at_firewalls() -> None:
    site = FakeSite.of(*PLUGINS, failing=fails_with([PLUGINS[2]]))
    layer = FakeLayer('waf', RULES, site)
    found = run(site, layer)
    assert ids(found.conflicts) == {frozenset([PLUGINS[2]])}
    assert (layer.switches, layer.restored) == ([], 0)


def test_only_rules_when_only_rules_are_asked_for() -> None:
    site = site_blocking((RULES[7],), failing=())
    found = run(site, FakeLayer('waf', RULES, site), kinds=frozenset({Kind.RULE}))
    assert ids(found.conflicts) == {frozenset([RULES[7]])}
    assert all(off <= set() for off in site.switches)


def test_no_rules_at_all_leaves_the_verdict_as_it_was() -> None:
    site = FakeSite.of(*PLUGINS, failing=lambda on: Outcome.FAIL)
    assert run(site, FakeLayer('waf', (), site)).verdict is Verdict.NOT_A_SUSPECT
    assert run(site).verdict is Verdict.NOT_A_SUSPECT


def test_a_failure_that_is_neither_is_exit_3_after_both_were_off() -> None:
    site = FakeSite.of(*PLUGINS, failing=lambda on: Outcome.FAIL)
    layer = FakeLayer('waf', RULES, site)
    found = run(site, layer)
    assert (found.verdict, found.exit_code) == (Verdict.NOT_A_SUSPECT, 3)
    assert frozenset(RULES) in layer.switches
    assert layer.restored == 1


def test_something_in_front_that_no_rule_explains_is_refused() -> None:
    site = FakeSite.of(*PLUGINS, failing=fails_with(), blocking=lambda on: Outcome.FAIL)
    layer = FakeLayer('waf', RULES, site)
    with pytest.raises(ModeUnavailable, match='never reached WordPress'):
        run(site, layer)
    assert layer.restored == 1
    assert site.rules_off == set()


def test_a_layer_that_cannot_be_switched_this_way_is_refused_with_its_reason() -> None:
    site = site_blocking((RULES[7],))
    with pytest.raises(ModeUnavailable, match='waf cannot be switched in isolated mode'):
        run(site, FakeLayer('waf', RULES, site, modes=frozenset({Mode.LIVE})))


def test_a_layer_left_in_doubt_is_exit_5() -> None:
    site = site_blocking((RULES[7],))
    found = run(site, FakeLayer('waf', RULES, site, unverified='what is there differs'))
    assert (found.exit_code, ids(found.conflicts)) == (5, {frozenset([RULES[7]])})
    assert found.restoration is not None
    assert 'differs' in found.restoration.message


def test_plugins_left_in_doubt_are_enough_no_rule_is_touched_then() -> None:
    site = replace(site_blocking((RULES[7],)), unverified='the list differs')
    layer = FakeLayer('waf', RULES, site)
    found = run(site, layer, rules_later=True)
    assert found.exit_code == 5
    assert layer.switches == []


def test_what_a_firewall_could_not_read_is_told() -> None:
    site = site_blocking((RULES[7],))
    found = run(site, FakeLayer('waf', RULES, site, gaps=(Gap('/etc/secret.conf', 'no permission'),)))
    assert Gap('/etc/secret.conf', 'no permission') in found.gaps


def test_marks_count_what_is_off_in_every_layer() -> None:
    site = replace(site_blocking((RULES[7],)), plugins=())
    found = run(site, FakeLayer('waf', RULES, site))
    assert ids(found.conflicts) == {frozenset([RULES[7]])}


def test_a_rule_that_cannot_be_switched_is_no_suspect_but_may_be_what_stops_a_probe() -> None:
    site = site_blocking((RULES[7],))
    layer = FakeLayer('waf', RULES[:8], site, stuck=frozenset(RULES[7:8]))
    found = run(site, layer)
    assert found.verdict is Verdict.NOT_A_SUSPECT
    assert RULES[7] not in {one.id for one in found.suspects}
    assert Gap(RULES[7], 'not switched: it is stuck') in found.gaps


def test_what_is_known_of_the_plugins_is_told_where_rules_cannot_be_switched() -> None:
    site = FakeSite.of(*PLUGINS, failing=lambda on: Outcome.FAIL)
    found = run(site, FakeLayer('waf', RULES, site, modes=frozenset({Mode.LIVE})))
    assert found.verdict is Verdict.NOT_A_SUSPECT
    assert any(gap.what == 'firewall rules' and 'waf cannot be switched' in gap.why for gap in found.gaps)


def test_naming_a_rule_asks_for_rules_at_once() -> None:
    site = site_blocking((RULES[7],))
    layer = FakeLayer('waf', RULES, site)
    found = run(site, layer, only=(RULES[7],))
    assert ids(found.conflicts) == {frozenset([RULES[7]])}
    assert layer.restored == 1
    with pytest.raises(UsageError, match='nobody'):
        run(site, layer, keep=('nobody',))


def test_a_message_says_what_is_a_plugin_and_what_a_rule() -> None:
    site = FakeSite.of(*PLUGINS, failing=fails_with([PLUGINS[2], RULES[7]]))
    found = run(site, FakeLayer('waf', RULES, site), rules_later=False)
    assert f'the plugin {PLUGINS[2].title()}' in found.message
    assert f'the rule rule {RULES[7]}' in found.message


def test_a_rule_that_is_for_everybody_only_is_a_suspect_in_live_mode_only() -> None:
    site = site_blocking((RULES[7],), (RULES[2],))
    layer = FakeLayer('waf', RULES, site, live_only=frozenset(RULES[7:8]))
    assert ids(run(site, layer, mode=Mode.LIVE).fixes) == {frozenset([RULES[2], RULES[7]])}
    site = site_blocking((RULES[2],))
    found = run(site, FakeLayer('waf', RULES, site, live_only=frozenset(RULES[7:8])))
    assert ids(found.conflicts) == {frozenset([RULES[2]])}
    assert RULES[7] not in {one.id for one in found.suspects}
    [gap] = [gap for gap in found.gaps if gap.what == RULES[7]]
    assert '--mode live' in gap.why


def test_what_a_firewall_logged_orders_the_search() -> None:
    hint = Evidence('waf', 'its log names it', (RULES[9], 'unheard of'), 200.0)

    def made(*hints: Evidence) -> tuple[int, Findings]:
        site = site_blocking((RULES[9],))
        found = run(site, FakeLayer('waf', RULES, site, hints=hints), kinds=frozenset({Kind.RULE}))
        assert ids(found.conflicts) == {frozenset([RULES[9]])}
        return len(found.trial.records), found

    told, findings = made(hint)
    assert told < made()[0]
    assert findings.evidence[0].suspects == (RULES[9],)


def test_the_code_of_a_plugin_is_asked_for_partners_and_that_of_a_rule_is_not() -> None:
    plugin, other = PLUGINS[0], PLUGINS[1]
    told = (Evidence('source code', 'it asks for something', (other,), 600.0),)
    site = FakeSite.of(*PLUGINS, failing=lambda on: Outcome.PASS, mentions={plugin: told})
    layered = Layered(site, [])
    assert layered.partners(plugin, 'a/a.php:1-2') == told
    assert layered.partners(RULES[0], '') == ()
    assert site.asked_about == [(plugin, 'a/a.php:1-2')]


def exemption(rule: str, what: str) -> Exemption:
    return Exemption(f'{rule};{what}', rule, f'{rule} no longer looks at {what}', (f'exempt {rule} {what}',))


NARROW, WIDE = exemption(RULES[4], 'ARGS:q'), exemption(RULES[4], '/search')
OTHER = exemption(RULES[8], 'ARGS:z')


@pytest.mark.parametrize(('offered', 'proven'), [
    ((), ()),
    (((NARROW, True), (WIDE, True)), (NARROW,)),
    (((NARROW, False), (WIDE, True)), (WIDE,)),
    (((NARROW, False), (WIDE, False)), ()),
    (((OTHER, True),), ()),
])
def test_the_narrowest_exemption_that_a_probe_shows_to_be_enough(
    offered: tuple[tuple[Exemption, bool], ...], proven: tuple[Exemption, ...],
) -> None:
    site = site_blocking((RULES[4],))
    layer = FakeLayer('waf', RULES, site, exempting=offered)
    found = run(site, layer)
    assert ids(found.conflicts) == {frozenset([RULES[4]])}
    assert found.exemptions == proven
    assert layer.restored == 1


def test_each_rule_of_a_fix_gets_an_exemption_of_its_own() -> None:
    site = site_blocking((RULES[4],), (RULES[8],), failing=((PLUGINS[2],),))
    offered = ((NARROW, False), (WIDE, True), (OTHER, True))
    found = run(site, FakeLayer('waf', RULES, site, exempting=offered))
    assert ids(found.fixes) == {frozenset([RULES[4], RULES[8], PLUGINS[2]])}
    assert found.exemptions == (WIDE, OTHER)


def test_a_budget_that_ends_before_the_exemptions_leaves_the_verdict() -> None:
    site = site_blocking((RULES[4],))
    spent = len(run(site, FakeLayer('waf', RULES, site)).trial.records)
    found = run(site, FakeLayer('waf', RULES, site, exempting=((NARROW, True),)), max_probes=spent)
    assert (found.verdict, found.exemptions) == (Verdict.CULPRIT, ())


def test_a_theme_is_not_named_for_what_never_reached_php() -> None:
    site = FakeSite.of(*PLUGINS, failing=fails_with(), blocking=lambda on: Outcome.FAIL)
    layer = FakeLayer('waf', RULES, site, stuck=frozenset(RULES[7:8]))  # so that nobody can tell who stops it

    class Flattered(FakeProber):
        """For whom what is in front lets a request with another theme pass, for whatever reason."""

        def observe(self, step: Step | None) -> Observation:
            themed = step is not None and any(getattr(one, 'theme', False) for one in getattr(step, 'steps', [step]))
            site.blocking = (lambda on: Outcome.PASS) if themed else (lambda on: Outcome.FAIL)
            return super().observe(step)

    found = bisect(
        site, lambda url: Flattered(site), Options(kinds=ALL, parallel=1), Silence(), layers=lambda inventory: (layer,))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.conflicts == ()
    assert 'in front of PHP' in found.message
