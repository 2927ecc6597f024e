"""Ways to read and switch a WordPress site. ``SITES`` names them; adapters are imported on demand."""

from __future__ import annotations

from importlib import import_module
from typing import Any

# name -> "module:class"; a string, so that listing the names loads nothing
SITES: dict[str, str] = {
    'wpcli': 'wpaudit.sites.wpcli:WpCliSite',
}


def site_class(name: str) -> Any:
    """Return the class behind one name of ``SITES``."""
    module, _, attribute = SITES[name].partition(':')
    return getattr(import_module(module), attribute)
