"""One probe: the requests asked for, sent to the site as a step has it, and judged together."""

from __future__ import annotations

import time
from collections.abc import Sequence

from wpaudit.domain import Answer
from wpaudit.domain import Mark
from wpaudit.domain import Outcome
from wpaudit.domain import Request
from wpaudit.ports import Fetcher
from wpaudit.ports import Observation
from wpaudit.ports import Step
from wpaudit.probes.judge import Expectation
from wpaudit.probes.judge import Fingerprint
from wpaudit.probes.judge import classify
from wpaudit.probes.judge import combine
from wpaudit.probes.judge import fingerprint


class HttpProber:
    """Probes over HTTP. Thread-safe once ``settle`` was called."""

    def __init__(
        self, fetcher: Fetcher, requests: Sequence[Request], expectation: Expectation, *, timeout: float,
    ) -> None:
        """``timeout`` is for each whole request, in seconds."""
        self._fetcher = fetcher
        self._requests = tuple(requests)
        self._expectation = expectation
        self._timeout = timeout
        self._fingerprints: dict[int, Fingerprint] = {}

    def observe(self, step: Step | None) -> Observation:
        """Send the requests in order; the first FAIL answers for all of them."""
        started = time.monotonic()
        seen: list[tuple[Outcome, str, Answer, Mark | None]] = []
        for number, request in enumerate(self._requests):
            prepared = step.prepare(request) if step else request
            answer = self._fetcher.fetch(prepared, timeout=self._timeout)
            mark = step.mark(prepared, answer) if step else None
            outcome, evidence = classify(answer, mark, self._expectation, self._fingerprints.get(number))
            seen.append((outcome, evidence, answer, mark))
            if outcome is Outcome.FAIL:
                break
        return _joined(seen, time.monotonic() - started)

    def settle(self, failing: Sequence[Observation]) -> None:
        """Fix, for every request, what its failure looks like."""
        for number in range(len(self._requests)):
            answers = [one.answers[number] for one in failing if len(one.answers) > number]
            if answers:
                self._fingerprints[number] = fingerprint(answers, self._expectation)


def _joined(seen: Sequence[tuple[Outcome, str, Answer, Mark | None]], seconds: float) -> Observation:
    outcome = combine([one[0] for one in seen])
    telling = next(one for one in seen if one[0] is outcome)
    return Observation(
        outcome, telling[2].status, seconds, telling[1], tuple(one[2] for one in seen), tuple(one[3] for one in seen),
    )
