"""A job under way beside other work."""

from __future__ import annotations

import threading

import pytest

from wpaudit.commands.begun import Begun
from wpaudit.errors import SiteError


def test_a_result_comes_when_the_job_is_done() -> None:
    release = threading.Event()

    def job() -> int:
        release.wait(30)
        return 7

    begun = Begun(job)
    assert not begun.done(0.01)
    release.set()
    assert begun.result() == 7
    assert begun.done(0)


def test_its_error_is_that_of_whoever_asks() -> None:
    def job() -> int:
        raise SiteError('no')

    begun = Begun(job)
    assert begun.done(30)
    with pytest.raises(SiteError, match='no'):
        begun.result()
