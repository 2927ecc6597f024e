"""What the header fields of an answer tell: caches, CDNs, size. Pure."""

from __future__ import annotations

import re

from wpaudit.domain import Answer

# Fields by which caches say what they did, with the names that people know them by. Cache-Status is RFC 9211.
_CACHES = (
    ('cf-cache-status', 'Cloudflare'), ('x-litespeed-cache', 'LiteSpeed'), ('x-sucuri-cache', 'Sucuri'),
    ('x-fastcgi-cache', 'nginx'), ('x-proxy-cache', 'nginx'), ('x-cache-status', 'nginx'), ('x-kinsta-cache', 'Kinsta'),
    ('x-qc-cache', 'QUIC.cloud'), ('cdn-cache', 'bunny.net'), ('x-cache', 'a cache'),
    ('wp-super-cache', 'WP Super Cache'),
)
_HIT = re.compile(r'\b(?:hit|stale|updating|revalidated|served)\b', re.IGNORECASE)
_RFC_9211 = re.compile(r'(?:^|,)\s{0,9}+([^;,]{1,60}+);[^,]{0,200}?\bhit\b', re.IGNORECASE)
_TWO_IDS = re.compile(r'^\s{0,9}+\d{1,12}+ \d{1,12}+\s{0,9}+$')

# Fields that only a CDN or firewall in front of the site adds; (field, beginning of its value, name).
_CDNS = (
    ('cf-ray', '', 'Cloudflare'), ('x-sucuri-id', '', 'Sucuri'), ('x-amz-cf-id', '', 'CloudFront'),
    ('x-served-by', 'cache-', 'Fastly'), ('x-iinfo', '', 'Imperva'), ('x-qc-pop', '', 'QUIC.cloud'),
    ('x-akamai-transformed', '', 'Akamai'), ('server', 'akamaighost', 'Akamai'), ('server', 'cloudflare', 'Cloudflare'),
    ('server', 'bunnycdn', 'bunny.net'), ('server', 'keycdn', 'KeyCDN'), ('x-azure-ref', '', 'Azure Front Door'),
    ('x-github-request-id', '', 'GitHub Pages'), ('server', 'ddos-guard', 'DDoS-Guard'),
)


def cached(answer: Answer) -> str:
    """Name the cache that gave this answer from its store, ``''`` when none says so."""
    fields = answer.headers
    match = _RFC_9211.search(fields.get('cache-status', '')[:2000])
    if match:
        return match[1].strip()
    for name, cache in _CACHES:
        if _HIT.search(fields.get(name, '')[:200]):
            return cache
    if _TWO_IDS.match(fields.get('x-varnish', '')[:60]):  # its own request's and the one that filled the store
        return 'Varnish'
    age = fields.get('age', '').strip()
    return 'a cache' if age.isascii() and age.isdigit() and age.strip('0') else ''


def cdn(answer: Answer) -> str:
    """Name the CDN that the answer came through, ``''`` when none shows."""
    for field, beginning, name in _CDNS:
        if field in answer.headers and answer.headers[field].lower().startswith(beginning):
            return name
    return ''


def header_bytes(answer: Answer) -> int:
    """Return about how many bytes the header fields took on the wire."""
    return sum(len(name) + len(value) + 4 for name, value in answer.headers.items())
