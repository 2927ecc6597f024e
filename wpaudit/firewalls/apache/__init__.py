"""Apache's configuration: reading it, finding what blocks, and wrapping that per request. Pure but for ``serving``."""
