"""Rules of the kernel's packet filter: nftables, iptables (both kinds), ip6tables and ipset.

Reading order: ``rules`` (the data), ``nft``, ``iptables`` and ``ipset`` (text of the tools -> data), ``matching``
(what a rule can apply to), ``suspicion`` and ``suspects`` (which rules they are, and why), ``reading`` and ``layer``
(the listing). ``guards`` says for whom a rule can be off; ``nft_guards`` and ``iptables_guards`` plan it as commands
and run none of them, ``undo`` is their way back. ``nginx``, ``nginx_text``, ``answering`` and ``shadow`` make a
second nginx of the one that runs, ``prospect`` tells what could be switched, ``switching`` and ``asking`` do it.
``clues`` and ``remedy`` speak to people.
"""

from wpaudit.firewalls.netfilter.layer import NetfilterLayer

__all__ = ['NetfilterLayer']
