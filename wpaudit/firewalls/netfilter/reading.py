"""Ask the tools on the host for all rules: read-only, bounded, as root.

A tool that is not there is silent, one that fails is a gap.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace

from wpaudit.domain import Gap
from wpaudit.errors import ConnectionLost
from wpaudit.errors import ShellError
from wpaudit.errors import SiteError
from wpaudit.firewalls.netfilter import ipset
from wpaudit.firewalls.netfilter import iptables
from wpaudit.firewalls.netfilter import nft
from wpaudit.firewalls.netfilter.matching import parsed
from wpaudit.firewalls.netfilter.rules import Ruleset
from wpaudit.firewalls.netfilter.suspicion import SSH_PORT
from wpaudit.ports import Shell

SECONDS = 60.0
ATTEMPTS = 3  # of reading two listings of nft that belong together
SAVERS = (
    'iptables-save', 'ip6tables-save', 'iptables-legacy-save', 'ip6tables-legacy-save', 'iptables-nft-save',
    'ip6tables-nft-save',
)
TOOLS = ('nft', *SAVERS, 'ipset')
_LISTINGS = (('nft', '-j', '-a', 'list', 'ruleset'), ('nft', '-a', 'list', 'ruleset'))
_SSH_WORDS = 4  # $SSH_CONNECTION: client address and port, server address and port (ssh(1))

# Where root's programs are is not on every account's PATH. Says "key value" lines.
_LOOK = (
    'PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; '
    'printf "uid %s\\nuser %s\\nssh %s\\n" "$(id -u)" "$(id -un)" "$SSH_CONNECTION"; '
    'for tool in "$@"; do found=$(command -v "$tool") && printf "tool %s %s\\n" "$tool" "$found"; done; '
    "ip -o addr show 2>/dev/null | sed -n 's|.* inet6\\{0,1\\} \\([^ /]*\\).*|local \\1|p'; "
    'grep -qs 0 /proc/sys/net/ipv4/ip_early_demux /proc/sys/net/ipv4/tcp_early_demux && echo "demux 0"; :'
)


@dataclass(frozen=True)
class Account:
    """Who reads, from where, and what is installed. ``client`` is our address as sshd saw it, ``''`` without SSH.

    ``local`` are the host's own addresses, ``demux`` as in ``guards.Who``.
    """

    root: bool = False
    user: str = ''
    client: str = ''
    ssh_ports: frozenset[int] = frozenset({SSH_PORT})
    tools: dict[str, str] = field(default_factory=dict)
    local: frozenset[str] = frozenset()
    demux: bool = True


@dataclass(frozen=True)
class Read:
    """All rules that could be read, and what could not. ``account`` is who read them."""

    ruleset: Ruleset
    gaps: tuple[Gap, ...]
    account: Account


def look_argv() -> tuple[str, ...]:
    """Return the command that says who we are and which tools there are."""
    return 'sh', '-c', _LOOK, 'wpaudit', *TOOLS


def account_of(said: bytes) -> Account:
    """Read the answer to ``look_argv``. Words that are out of place are left out."""
    found = Account()
    for line in said.decode('utf-8', 'surrogateescape').split('\n'):
        key, _, rest = line.partition(' ')
        words = rest.split()
        if key == 'uid':
            found = replace(found, root=rest == '0')
        elif key == 'user':
            found = replace(found, user=rest)
        elif key == 'ssh' and len(words) == _SSH_WORDS and parsed(words[0]) and words[3].isdigit():
            found = replace(found, client=str(parsed(words[0])), ssh_ports=found.ssh_ports | {int(words[3])})
        elif key == 'tool' and len(words) == 2 and words[0] in TOOLS and words[1].startswith('/'):  # noqa: PLR2004 - a name and a path
            found = replace(found, tools={**found.tools, words[0]: words[1]})
        elif key == 'demux':
            found = replace(found, demux=rest != '0')
        elif key == 'local' and (address := parsed(rest)) is not None:
            found = replace(found, local=found.local | {str(address)})
    return found


def opening(account: Account) -> str:
    """Return the line of sudoers(5) that lets an account list the rules and nothing else; '' without any tool."""
    asked = (*_LISTINGS, *((program, '-c') for program in SAVERS), ('ipset', 'save'))
    commands = [' '.join((account.tools[name], *words)) for name, *words in asked if name in account.tools]
    return f'{account.user or "USER"} ALL=(root) NOPASSWD: {", ".join(commands)}' if commands else ''


class Reader:
    """Reads all rules of one host, over a ``shell`` that is root's, or at least may run these tools as root."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._gaps: list[Gap] = []

    def read(self) -> Read:
        """Read everything once. Raises ShellError only when the host itself cannot be reached."""
        return self.read_by(account_of(self._shell.run(look_argv(), timeout=SECONDS).stdout))

    def read_by(self, account: Account) -> Read:
        """As ``read``, by an account that has been looked at."""
        self._gaps = []
        native = self._nft(account)
        everything = owned(native, self._iptables(account))
        sets = ipset.sets(self._run(account, ('ipset', 'save')) or b'')
        return Read(everything.joined(Ruleset(sets=sets)), tuple(self._gaps), account)

    def _nft(self, account: Account) -> Ruleset:
        """Read both listings of nft until they are of one state, or say that they would not be."""
        found = Ruleset()
        for _ in range(ATTEMPTS):
            listed, text = (self._run(account, words) for words in _LISTINGS)
            if listed is None or text is None:
                return found
            try:
                found = nft.ruleset(listed, text)
            except SiteError as error:
                self._gaps.append(Gap('nftables rules', f'{error.message}; is this nft built with JSON?'))
                return found
            if all(rule.text for rule in found.rules):
                return found
        return found

    def _iptables(self, account: Account) -> list[iptables.Saved]:
        """Read both kinds of both iptables, each once, whatever its program is called here."""
        saved: list[iptables.Saved] = []
        known: set[tuple[bool, bool]] = set()
        for program in SAVERS:
            six, named = program.startswith('ip6'), '-legacy-' in program or '-nft-' in program
            if named and (six, '-nft-' in program) in known:
                continue
            said = self._run(account, (program, '-c'))
            if said is not None:
                one = iptables.saved(said, program.removesuffix('-save'))
                if one.nf_tables is not None:
                    known.add((six, one.nf_tables))
                saved.append(one)
        return saved

    def _run(self, account: Account, argv: Sequence[str]) -> bytes | None:
        """Run one tool; None when it is not there, may not be run, or said too much."""
        path = account.tools.get(argv[0])
        if path is None:
            return None
        command = (path, *argv[1:])
        try:
            result = self._shell.run(command, timeout=SECONDS)
        except ConnectionLost:
            raise
        except ShellError as error:
            self._gaps.append(Gap(f'{argv[0]} rules', error.message))
            return None
        if result.status != 0:
            said = result.stderr.decode('utf-8', 'replace').strip().split('\n')[-1][:200]
            self._gaps.append(Gap(f'firewall rules of {" ".join(command)}', said or 'no reason given'))
            return None
        return result.stdout


def owned(native: Ruleset, saved: Sequence[iptables.Saved]) -> Ruleset:
    """Give each table to the tool that understands all of it.

    iptables keeps its rules in nf_tables too, and lists whatever looks like its own. What it made bears a counter in
    every rule and nothing that only nft knows; such tables are iptables' alone, since nft cannot write ``xt`` back.
    """
    everything = Ruleset()
    taken: set[tuple[str, str]] = set()
    for one in saved:
        theirs = {
            table for table in one.tables
            if not one.nf_tables or not _signs_of_nft(native, one.family, table)
        }
        if one.nf_tables:
            taken |= {(one.family, table) for table in theirs}
        everything = everything.joined(_kept(one.ruleset, _among(theirs)))
    return _kept(native, lambda family, table: (family, table) not in taken).joined(everything)


def _among(tables: set[str]) -> Callable[[str, str], bool]:
    return lambda _family, table: table in tables


def _signs_of_nft(native: Ruleset, family: str, table: str) -> bool:
    rules = [rule for rule in native.rules if (rule.family, rule.table) == (family, table)]
    if any(one.kind == 'xt' for rule in rules for one in rule.verdicts):
        return False
    named = any((one.family, one.table) == (family, table) for one in native.sets)
    return named or any(rule.comment or ' counter packets ' not in f' {rule.text}' for rule in rules)


def _kept(found: Ruleset, wanted: Callable[[str, str], bool]) -> Ruleset:
    return Ruleset(
        tuple(rule for rule in found.rules if wanted(rule.family, rule.table)),
        tuple(chain for chain in found.chains if wanted(chain.family, chain.table)),
        tuple(one for one in found.sets if wanted(one.family, one.table)),
    )
