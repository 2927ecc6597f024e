"""Makes the checkout importable for tests (``fixtures``), whatever pytest is started from."""
