"""Find the WordPress plugin or firewall rule that makes a site fail, prove it, and leave no trace."""

from __future__ import annotations

__version__ = '0.1.0'
