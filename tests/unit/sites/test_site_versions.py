"""Versions as authors write them, and the slugs that WordPress makes of files."""

from __future__ import annotations

import pytest

from wpaudit.sites.wpcli import older
from wpaudit.sites.wpcli import slug_of


@pytest.mark.parametrize(('version', 'wanted'), [
    ('6.4', '6.5'), ('6.9', '6.10'), ('7.1-alpha-5', '7.2'), ('8.2.0-1ubuntu3', '8.3'), (' 7.4 ', '8'),
])
def test_older(version: str, wanted: str) -> None:
    assert older(version, wanted)
    assert not older(wanted, version)


@pytest.mark.parametrize(('version', 'wanted'), [
    ('6.5', '6.5'), ('6.5.0', '6.5'), ('', '6'), ('6', ''), ('nightly', '6.5'), ('6.5', 'the newest'), ('1' * 500, '2'),
])
def test_not_older_or_not_to_be_said(version: str, wanted: str) -> None:
    assert not older(version, wanted)


@pytest.mark.parametrize(('file', 'slug'), [
    ('acme/acme.php', 'acme'), ('acme/inc/main.php', 'acme'), ('hello.php', 'hello'), ('two words/a.php', 'two words'),
    ('', ''), ('/x.php', ''), ('a.php.php', 'a.php'),
])
def test_slugs(file: str, slug: str) -> None:
    assert slug_of(file) == slug
