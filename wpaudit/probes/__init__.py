"""Probes: ask a site something over HTTP and judge the answer."""
