"""Real sites for the integration tests: one lab per variant, started when first asked for.

A test that takes `site` gets the SQLite variant as it was right after its start. Another variant:
`@pytest.mark.parametrize('site', ['apache'], indirect=True)`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest

from fixtures.lab import Lab

LabOf = Callable[[str], Lab]
Unchanged = Callable[[Lab], AbstractContextManager[None]]


@pytest.fixture(scope='session')
def lab_of() -> Iterator[LabOf]:
    """Give the session's lab of a variant."""
    with contextlib.ExitStack() as ending:
        labs: dict[str, Lab] = {}

        def find(variant: str) -> Lab:
            if variant not in labs:
                labs[variant] = ending.enter_context(Lab.start(variant))
            return labs[variant]

        yield find


@pytest.fixture(scope='session')
def lab(lab_of: LabOf) -> Lab:
    """The session's SQLite lab in whatever state the tests before left it; most tests want `site`."""
    return lab_of('sqlite')


@pytest.fixture
def site(request: pytest.FixtureRequest, lab_of: LabOf) -> Lab:
    """A lab as it was right after its start."""
    found = lab_of(getattr(request, 'param', 'sqlite'))
    found.reset()
    return found


@pytest.fixture
def unchanged() -> Unchanged:
    """`with unchanged(site): ...` fails with the differences if the site is not the same afterwards."""

    @contextlib.contextmanager
    def check(lab: Lab) -> Iterator[None]:
        before = lab.state()
        yield
        assert before.diff(lab.state()) == []

    return check
