"""The search: which suspects make the site fail, with a certificate of direct observations.

``Search`` is the whole interface. Reading order: ``contract`` (data in and out), ``model`` (closed sets),
``log`` (what follows from what was seen), ``shrink`` (one conflict), ``hitting`` and ``search`` (all of them),
``certificate`` (the proof), ``repair`` (undeclared dependencies).
"""

from wpaudit.engine.contract import Finding
from wpaudit.engine.contract import Oracle
from wpaudit.engine.contract import Problem
from wpaudit.engine.contract import Query
from wpaudit.engine.search import Search
from wpaudit.engine.search import probes_left
from wpaudit.engine.search import search

__all__ = ['Finding', 'Oracle', 'Problem', 'Query', 'Search', 'probes_left', 'search']
