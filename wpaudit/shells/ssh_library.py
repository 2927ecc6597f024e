"""Load paramiko without ``invoke``, which it wants for ``Match exec`` alone and which takes longer than logging in."""

from __future__ import annotations

import importlib.util
import sys
from importlib import import_module
from types import ModuleType
from typing import Any


def load_paramiko() -> None:
    """Import paramiko; ``invoke`` is run when a configuration with ``Match exec`` first uses it."""
    if 'paramiko' in sys.modules or 'invoke' in sys.modules:
        return
    modules: dict[str, Any] = sys.modules  # None makes an import fail at once
    modules['invoke'] = None
    try:
        config: Any = import_module('paramiko.config')
    finally:
        del modules['invoke']
    config.invoke = _run_at_first_use('invoke')


def _run_at_first_use(name: str) -> ModuleType | None:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        return None
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
