"""Evidence to cause: pure, fed by collectors.

``diagnosis.diagnose`` is the whole interface, ``diagnosis.exit_code`` what a process says of it, ``hints.weights`` what
a search may make of it. Nothing is loaded here: a bisection needs ``maker`` alone to begin.

Reading order: ``faults`` (what fails), ``rate``, ``scene`` (what was seen, sorted), then the sources of ``clues``
(``answers``, ``compare``, ``network``, ``lines`` with ``signatures``, ``host``), ``model`` with ``causes.json``,
``hops``, ``diagnosis``.
"""
