"""What the recorder's files mean: real ones, and what a hostile host could send instead."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wpaudit.domain import Cost
from wpaudit.domain import Evidence
from wpaudit.sites.readings import BEHIND
from wpaudit.sites.readings import NAMED
from wpaudit.sites.readings import Seen
from wpaudit.sites.readings import costs
from wpaudit.sites.readings import readings
from wpaudit.sites.recording import Frame
from wpaudit.sites.recording import Owner
from wpaudit.sites.recording import Part
from wpaudit.sites.recording import parsed

RECORDINGS = Path(__file__).parent / 'recordings'
A, B, C = 'a/a.php', 'b/b.php', 'c/c.php'


def recorded(name: str) -> Part:
    """Read a recording of a site where the second of four plugins is the broken one."""
    suspects = ('h01-contact-forms/contact.php', f'{name}/{name}.php', 'h02/h02.php', 'h03/init.php')
    part = parsed((RECORDINGS / f'{name}.txt').read_text(), suspects)
    assert part is not None
    return part


def framed(suspect: str, hook: str = 'init', since: float = 0.1, *, output: bool = False) -> Frame:
    return Frame(Owner((suspect,)), hook, 'f', since, output)


def spent(seconds: float, suspect: str = A, **more: object) -> tuple[Owner, Cost]:
    return Owner((suspect,)), Cost(suspect, (suspect,), seconds=seconds, **more)  # type: ignore[arg-type]


REAL = [
    ('crash-worker', Seen(502, seconds=0.06), 'died in crash-worker @ init'),
    ('crash-rest', Seen(502, seconds=0.06), 'died in crash-rest @ REST /wp/v2/types'),
    ('crash-shutdown', Seen(200, truncated=True, seconds=0.15),
     'died in crash-shutdown @ shutdown function of init after output had begun'),
    ('slow', Seen(502, seconds=3.44), 'slow took 3.4 of 3.4 s and was still running @ template_redirect'),
    ('slow-request', Seen(502, seconds=3.4), 'slow-request waited for 127.0.0.1 (3.3 of 3.4 s)'),
    ('memory-hog', Seen(500, seconds=0.1), 'ran out of memory in memory-hog (memory-hog.php:16: Allowed memory size of '
     '134217728 bytes exhausted (tried to allocate 2097152 bytes))'),
    ('big-header', Seen(502, seconds=0.1), 'big-header added 12219 of 12410 bytes of response headers'),
    ('redirect-loop', Seen(302, 'redirect-loop'), 'redirect-loop @ template_redirect redirected to 127.0.0.1/'),
    ('answers-502', Seen(502), 'answers-502 @ template_redirect set the status 502'),
    ('exit-at-load', Seen(200), 'exit-at-load @ include ended the request (exit)'),
]


@pytest.mark.parametrize(('name', 'seen', 'reason'), REAL, ids=[row[0] for row in REAL])
def test_real_recordings(name: str, seen: Seen, reason: str) -> None:
    assert readings([recorded(name)], seen) == (Evidence('recorder', reason, (f'{name}/{name}.php',), NAMED),)


def test_a_request_in_which_nothing_happened_says_nothing_and_has_costs() -> None:
    part = recorded('hook-zoo')
    assert readings([part], Seen(200, seconds=0.09)) == ()
    table = costs([part])
    assert [cost.seconds for cost in table] == sorted((cost.seconds for cost in table), reverse=True)
    zoo = next(cost for cost in table if cost.suspects == ('hook-zoo/hook-zoo.php',))
    assert zoo.name == 'hook-zoo'
    assert zoo.calls > 30
    assert {cost.name for cost in table} > {'WordPress itself', 'h01-contact-forms'}


def test_nothing_recorded_means_nothing() -> None:
    assert readings([], Seen(502)) == ()
    assert costs([]) == ()


def test_who_had_called_what_died_is_asked_next() -> None:
    part = Part(frames=(framed(C, 'wp'), framed(A), framed(B, 'a_hook'), framed(B, 'deeper')))
    found = readings([part], Seen(502, seconds=0.5))
    assert [(one.reason, one.suspects, one.weight) for one in found] == [
        ('died in b @ deeper', (B,), NAMED),
        ('a @ init had called it', (A,), BEHIND),
        ('c @ wp had called it', (C,), BEHIND),
    ]


HEAD = 'wpaudit-recording 1\n'


def read(*lines: str, suspects: tuple[str, ...] = (A, B, C)) -> Part:
    """Read a recording made of these lines, without the padding of its slots."""
    part = parsed(HEAD + ''.join(f'{line}\n' for line in lines), suspects)
    assert part is not None
    return part


def test_where_the_callback_stands_is_told_with_the_one_that_died() -> None:
    found = readings([read('+0.100000 0 p0\tinit\tf\ta/inc/a.php:3-9')], Seen(502, seconds=0.5))
    assert [(one.reason, one.where) for one in found] == [('died in a @ init', 'a/inc/a.php:3-9')]
    end = json.dumps({'end': {'how': 'fatal', 'error': 'x', 'file': 'p0', 'line': 'a.php:5', 'place': 'a/a.php:5'}})
    assert [one.where for one in readings([read(f'= {end}')], Seen(500))] == ['a/a.php:5']
    hostile = read('+0.100000 0 p0\tinit\tf\t\x1b' + 'x' * 5000)
    assert len(hostile.frames[0].place) <= 210
    assert hostile.frames[0].place.isprintable()


def test_whom_the_frame_that_died_had_called_last_is_asked_next_too() -> None:
    part = read('+0.100000 0 p0\tinit\tf', '-0.200000 0 p1\thalves\tg', '-0.300000 0 p2\tdeeper\th')
    found = readings([part], Seen(502, seconds=0.5))
    assert [(one.reason, one.suspects, one.weight) for one in found] == [
        ('died in a @ init', (A,), NAMED),
        ('the last to run in it was b @ halves', (B,), BEHIND),
        ('the last to run in it was c @ deeper', (C,), BEHIND),
    ]


@pytest.mark.parametrize('before', [
    '-0.050000 0 p1\thalves\tg', '-0.200000 0 p0\tits own\tg', '-0.200000 0 m:b.php\tx\tg',
])
def test_what_ran_before_that_frame_or_is_nobody_elses_says_nothing(before: str) -> None:
    part = read('+0.100000 0 p0\tinit\tf', before)
    assert [one.suspects for one in readings([part], Seen(502, seconds=0.5))] == [(A,)]


def test_whom_the_frame_that_a_fatal_error_left_had_called_last_is_asked_next() -> None:
    end = json.dumps({'end': {'how': 'fatal', 'frame': ['p0', 'init', 'f'], 'error': 'Uncaught Error'}})
    slots = ('-0.000100 0 p1\tmuplugins_loaded\tg', '-0.100000 0 p0\tinit\tf', '-0.200000 0 p1\thalves\tg')
    part = read(*slots, f'= {end}')
    found = readings([part], Seen(500, seconds=0.5))
    assert [(one.suspects, one.weight) for one in found] == [((A,), NAMED), ((B,), BEHIND)]


@pytest.mark.parametrize('error', [
    'Cannot redeclare f() (previously declared in /srv/www/wp-content/plugins/b/inc/f.php:12)',
    'Uncaught TypeError: f(): Argument #1 must be of type array, string given, called in /srv/plugins/b/b.php on line',
])
def test_a_plugin_that_the_message_of_a_fatal_error_names_is_asked_next(error: str) -> None:
    end = json.dumps({'end': {'how': 'fatal', 'error': error, 'file': 'p0', 'line': 'a.php:5'}})
    found = readings([read(f'= {end}')], Seen(500))
    assert [(one.suspects, one.weight) for one in found] == [((A,), NAMED), ((B,), BEHIND)]
    assert found[1].reason == 'the message of the error names b'
    alone = json.dumps({'end': {'how': 'fatal', 'error': error.replace('plugins/b/', 'plugins/a/'), 'file': 'p0'}})
    assert [one.suspects for one in readings([read(f'= {alone}')], Seen(500))] == [(A,)]


def test_a_theme_or_nobody_at_all_names_no_suspect() -> None:
    theme = Frame(Owner(name='theme twenty'), 'wp_head')
    [one] = readings([Part(frames=(theme,))], Seen(502))
    assert (one.reason, one.suspects) == ('died in theme twenty @ wp_head', ())
    [one] = readings([Part(last=framed(A))], Seen(502))
    assert one.reason == 'died while no callback of a plugin was running; the last to run before was a @ init'
    assert one.suspects == ()
    [one] = readings([Part(frames=(framed(A), theme))], Seen(502))
    assert (one.reason, one.suspects) == ('died in theme twenty @ wp_head', (A,))


def test_a_time_limit_may_strike_in_a_short_call_and_a_crash_late() -> None:
    slow = dict([spent(2.5)])
    called = Part(frames=(framed(A), framed(B, 'hook', since=2.99)), seconds=2.95, costs=slow)
    [one] = readings([called], Seen(502, seconds=3.0))
    assert (one.suspects, one.weight) == ((A,), NAMED)
    after = replace(called, frames=(framed(B, 'hook', since=2.99),))
    found = readings([after], Seen(502, seconds=3.0))
    assert [(one.suspects, one.weight) for one in found] == [((B,), NAMED), ((A,), BEHIND)]


LIMIT = 'Maximum execution time of 30 seconds exceeded'


def test_a_time_limit_of_php_names_what_was_running_and_not_the_file_of_the_line() -> None:
    part = Part(how='fatal', error=LIMIT, where='functions.php:7', left=framed(A), at_fault=Owner((B,)), seconds=0.9)
    [one] = readings([part], Seen(500, seconds=0.9))
    assert one.reason == f"reached PHP's time limit in a @ init (functions.php:7: {LIMIT})"
    assert (one.suspects, one.weight) == ((A,), NAMED)
    [one] = readings([replace(part, left=Frame(Owner()))], Seen(500, seconds=0.9))
    assert one.reason == f"reached PHP's time limit in b (functions.php:7: {LIMIT})"
    assert one.suspects == (B,)


def test_a_time_limit_of_php_names_who_took_the_time_before() -> None:
    took = dict([spent(28.0, B)])
    part = Part(how='fatal', error=LIMIT, where='a.php:7', left=framed(A), seconds=30.0, costs=took)
    found = readings([part], Seen(500, seconds=30.0))
    assert [(one.reason.split(' (')[0], one.suspects, one.weight) for one in found] == [
        ('b took 28.0 of 30.0 s', (B,), NAMED),
        ("reached PHP's time limit in a @ init", (A,), BEHIND),
    ]


def test_a_slow_plugin_in_a_request_that_ended_is_named_with_the_host_it_waited_for() -> None:
    waiting = dict([spent(9.0, requests=2, request_seconds=8.5, hosts={'x.example': 0.5, 'api.example': 8.0})])
    part = Part(how='returned', done=True, seconds=10.0, costs=waiting)
    [one] = readings([part], Seen(504, seconds=10.0))
    assert one.reason == 'a waited for api.example (9.0 of 10.0 s)'
    quick = Part(how='returned', done=True, seconds=0.5, costs=dict([spent(0.4)]))
    assert readings([quick], Seen(504, seconds=0.5)) == ()


def test_who_took_the_memory_comes_before_who_asked_for_the_last_byte() -> None:
    owners = dict([spent(0.1, A, memory=100 << 20), spent(0.1, B, memory=20 << 20)])
    part = Part(how='fatal', error='Allowed memory size of 128', where='b.php:1', at_fault=Owner((B,)), costs=owners)
    found = readings([part], Seen(500))
    assert [(one.suspects, one.weight) for one in found] == [((A,), NAMED), ((B,), BEHIND)]
    assert found[0].reason == 'a took 100 of 120 MiB of memory'


def test_a_fatal_error_in_core_goes_to_the_frame_that_led_there() -> None:
    part = Part(how='fatal', error='Uncaught TypeError', where='post.php:5', left=framed(A, 'save'))
    [one] = readings([part], Seen(500))
    assert (one.suspects, one.reason) == ((A,), 'ended by a PHP fatal error in a (post.php:5: Uncaught TypeError)')


def test_headers_are_shared_out() -> None:
    owners = dict([spent(0, A, header_bytes=1500), spent(0, B, header_bytes=2600), spent(0, C, header_bytes=20)])
    part = Part(how='returned', done=True, headers=4200, costs=owners)
    assert [(one.suspects, one.weight) for one in readings([part], Seen(502))] == [((B,), NAMED), ((A,), BEHIND)]
    assert readings([part], Seen(200)) == ()


def test_a_proxy_may_have_answered_while_php_went_on() -> None:
    text = 'wpaudit-recording 1\n+    0.100000 0 p0\tinit\tf   \n'
    part = parsed(text, (A,), ended=False)
    assert part is not None
    assert [one.reason for one in readings([part], Seen(502, seconds=0.2))] == ['was not over yet in a @ init']
    [one] = readings([part], Seen(504, seconds=30.0))
    assert one.reason == 'a took 29.9 of 30.0 s and was still running @ init'


def test_of_several_requests_the_last_that_says_anything_counts() -> None:
    well, broken = Part(how='returned', done=True), Part(frames=(framed(A),))
    sent_on = Part(how='exit', done=True, left=framed(B), redirects=((framed(B), 'here'),))
    for parts in ([broken, well], [sent_on, broken], [broken, sent_on]):
        assert [one.suspects for one in readings(parts, Seen(502))] == [(A,)]
    assert readings([sent_on, well], Seen(502)) == ()


def test_plugins_that_share_a_directory_are_named_together() -> None:
    text = 'wpaudit-recording 1\n+    0.100000 0 p0,p1\tinit\tf   \n'
    part = parsed(text, ('shop/one.php', 'shop/two.php'))
    assert part is not None
    [one] = readings([part], Seen(502))
    assert one.reason == 'died in shop/one.php or shop/two.php @ init'
    assert one.suspects == ('shop/one.php', 'shop/two.php')


def test_frames_that_were_crossed_out_are_over() -> None:
    head = 'wpaudit-recording 1\n'
    over = '-    0.100000 0 p0\tinit\tf   \n'
    running = '+    0.200000 1 p1\twp\tg   \n'
    part = parsed(head + running + over, (A, B))
    assert part is not None
    assert [str(frame) for frame in part.frames] == ['b @ wp']
    assert part.frames[0].output
    part = parsed(head + over + running, (A, B))
    assert part is not None
    assert part.frames == ()


# -- whatever a host sends ----------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=9), inner, max_size=9), max_leaves=20,
)
KEYS = ('end', 'done', 'seconds', 'peak', 'headers', 'output', 'sent', 'last', 'codes', 'redirects', 'hosts', 'sums')


def harmless(part: Part | None, seen: Seen) -> None:
    for one in readings([part] if part else [], seen):
        assert one.reason.isprintable()
        assert one.reason.isascii()
        assert len(one.reason) < 1000
        assert set(one.suspects) <= {A, B}
    for cost in costs([part] if part else []):
        assert cost.name.isascii()
        assert abs(cost.seconds) < 1e12


@given(st.text(max_size=400))
def test_garbage_is_read_as_nothing(text: str) -> None:
    assert parsed(text, (A, B)) is None
    harmless(parsed(f'wpaudit-recording 1\n{text}', (A, B)), Seen(502, seconds=5.0))
    harmless(parsed(f'wpaudit-recording 1\n+{text}\n', (A, B)), Seen(502, seconds=5.0))
    harmless(parsed(f'wpaudit-recording 1\n= {text}\n', (A, B)), Seen(502, seconds=5.0))


@given(st.dictionaries(st.sampled_from(KEYS), VALUES), st.sampled_from(['', 'redirect-loop']))
def test_strange_values_are_read_as_nothing(said: dict[str, object], error: str) -> None:
    text = f'wpaudit-recording 1\n= {json.dumps(said)}\n'
    harmless(parsed(text, (A, B)), Seen(502, error, seconds=5.0))


@pytest.mark.parametrize('line', [
    '+nan 0 p0\tinit\tf', '+1e999 0 p0\tinit\tf', '+0.1 0 p99999999999\t\x1b[31mred\x07\tf',
    '+0.1 0 p-1,p٣,p0\t' + 'x' * 9999,
    '+', '+0.1', '+0.1 0', '+0.1 0 m:', '+0.1 0 z:z\ta\tb',
])
def test_hostile_frames(line: str) -> None:
    harmless(parsed(f'wpaudit-recording 1\n{line}\n', (A, B)), Seen(502, seconds=5.0))


def test_it_reads_no_more_than_it_must() -> None:
    frames = '+    0.100000 0 p0\tinit\tf\n' * 5000
    sums = {f'o:{number}': [1, 0.1, 0, 0, 0, 0, 0, 0] for number in range(5000)}
    said = json.dumps({'sums': sums, 'codes': [[1, [], 500]] * 5000})
    part = parsed(f'wpaudit-recording 1\n{frames}= {said}\n', (A,))
    assert part is not None
    assert len(part.frames) <= 64
    assert len(part.costs) <= 400
    assert len(part.codes) <= 8
    deep = parsed('wpaudit-recording 1\n= ' + '[' * 100_000, (A,))
    assert deep == Part()
