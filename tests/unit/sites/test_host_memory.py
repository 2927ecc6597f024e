"""WordPress run by wpaudit on somebody's host gets a limit of memory, whatever the pool allows itself."""

from __future__ import annotations

import pytest

from wpaudit.sites.hostlooks import MOST_MEMORY
from wpaudit.sites.hostlooks import _memory


@pytest.mark.parametrize(('limit', 'wanted'), [
    ('128M', 128 << 20), ('131072k', 128 << 20), (' 64m ', 64 << 20), ('134217728', 128 << 20),
    ('1G', MOST_MEMORY), ('-1', MOST_MEMORY), ('', MOST_MEMORY), ('999999999999G', MOST_MEMORY), ('a lot', MOST_MEMORY),
])  # fmt: skip
def test_the_limit_is_that_of_the_pool_up_to_ours(limit: str, wanted: int) -> None:
    assert _memory(limit) == str(wanted)
