"""The words of this package: what blocks, where it stands, and how a request says what is off for it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from enum import StrEnum

from wpaudit.firewalls.apache.reader import Directive
from wpaudit.firewalls.apache.reader import Section

LONGEST_NAME = 200
# Sections that only decide whether or for which methods their lines count; all others make a place of their own.
CONDITIONS = ('ifmodule', 'ifdefine', 'ifversion', 'iffile', 'ifdirective', 'ifsection')
METHODS = ('limit', 'limitexcept')
AUTHZ = ('requireall', 'requireany', 'requirenone')
_OLD_APACHE = re.compile(r'!\s*(mod_authz_core\.c|authz_core_module|mod_authz_host\.c|authz_host_module)')
_OLD_VERSION = re.compile(r'<\s*2\.[0-4](\.0)?')
_TOKEN = re.compile(r'[0-9A-Za-z_-]{16,128}')
_HEADER = re.compile(r'[A-Za-z][A-Za-z0-9-]*')


class Sort(StrEnum):
    """What kind of unit: one mechanism each."""

    REWRITE = 'rewrite'      # RewriteRule with its conditions, a chain as a whole
    CONDITION = 'condition'  # one [OR] condition of such a rule
    REQUIRE = 'require'
    DENY = 'deny'
    SETENVIF = 'setenvif'    # sets a variable that a deny looks at
    REDIRECT = 'redirect'


@dataclass(frozen=True)
class Unit:
    """One thing that blocks or alters a request. Its id is ``path:line``.

    ``line`` is where it starts; only a rule whose conditions are units too goes by the line of its RewriteRule.
    """

    line: int
    sort: Sort
    first: int
    last: int
    name: str
    owner: str
    reason: str
    part_of: int = 0  # the line of the rule that a condition belongs to


@dataclass(frozen=True)
class Refusal:
    """A unit that cannot be switched for one request, and why."""

    line: int
    why: str


@dataclass(frozen=True)
class Insertion:
    """Whole lines to put before physical line ``before``. Where several meet, those of lower ``rank`` come first."""

    before: int
    lines: tuple[str, ...]
    rank: int = 1


CLOSING, STANDING, OPENING = 0, 1, 2  # ranks
MOST = 1_000  # units of one file, and lines that are copied: Apache reads the file anew for every visitor
TOO_MANY = f'the file holds more than {MOST:,} of its kind, and each that is wrapped costs every visitor time'
Numbers = Mapping[int, int]  # line of a unit -> its number in the header; what is not in it stays as it is
Plan = tuple[tuple[Insertion, ...], tuple[Refusal, ...]]


@dataclass(frozen=True)
class Key:
    """What makes a request the tester's: ``header: token`` until ``expires``, and ``off: ,3,14,`` for what is off.

    ``expires`` is YYYYMMDDhhmmss in the web server's own local time, as Apache's ``%{TIME}`` is: where clocks are put
    back for winter meanwhile, the harness lives an hour longer.
    """

    token: str
    expires: str
    header: str = 'X-Wpaudit-Rules'
    off: str = 'X-Wpaudit-Off'

    def __post_init__(self) -> None:
        """Refuse what would not stay one word in the configuration."""
        named = _HEADER.fullmatch(self.header) and _HEADER.fullmatch(self.off)
        if not (named and _TOKEN.fullmatch(self.token) and re.fullmatch('[0-9]{14}', self.expires)):
            raise ValueError('a key needs header names, a token of letters and digits, and a time of 14 digits')

    def headers(self, off: Iterable[int]) -> tuple[tuple[str, str], ...]:
        """Return what a request must carry for these numbers to be off."""
        return (self.header, self.token), (self.off, ''.join(f',{number}' for number in sorted(off)) + ',')

    @property
    def tester(self) -> str:
        """An expression (``ap_expr``): this is the tester's request. ``req_novary`` leaves no ``Vary`` header."""
        return f"%{{TIME}} < '{self.expires}' && req_novary('{self.header}') == '{self.token}'"

    def is_off(self, numbers: Sequence[int]) -> str:
        """Return an expression: one of these is off in this request, which is the tester's."""
        return f"req_novary('{self.off}') =~ /,(?:{'|'.join(str(number) for number in numbers)}),/"

    def tester_conditions(self) -> tuple[str, ...]:
        """Return RewriteConds that hold for the tester alone. [NV]: no ``Vary`` header for visitors."""
        return f'RewriteCond %{{TIME}} <{self.expires} [NV]', f'RewriteCond %{{HTTP:{self.header}}} ={self.token} [NV]'

    def visitor_conditions(self) -> tuple[str, ...]:
        """Return RewriteConds that hold for everybody else."""
        return (
            f'RewriteCond %{{TIME}} >={self.expires} [OR,NV]',
            f'RewriteCond %{{HTTP:{self.header}}} !={self.token} [NV]',
        )

    def on_conditions(self, number: int) -> tuple[str, ...]:
        """Return RewriteConds that hold in a request of the tester's unless ``number`` is off in it."""
        return (f'RewriteCond %{{HTTP:{self.off}}} !,{number}, [NV]',)

    def off_conditions(self, number: int) -> tuple[str, ...]:
        """Return RewriteConds that hold unless ``number`` is off."""
        time, tester = self.visitor_conditions()
        return time, tester.replace('[NV]', '[OR,NV]'), *self.on_conditions(number)


@dataclass(frozen=True)
class LiveKey(Key):
    """The key of a text in which all that has a number is off, for everybody, until ``expires``."""

    token: str = field(default='x' * 16, init=False)  # nobody is asked for it
    expires: str = ''

    @property
    def tester(self) -> str:
        """An expression: the time is not over yet."""
        return f"%{{TIME}} < '{self.expires}'"

    def is_off(self, numbers: Sequence[int]) -> str:
        """Return an expression that always holds."""
        return 'true'

    def tester_conditions(self) -> tuple[str, ...]:
        """Return a RewriteCond that holds until the time is over."""
        return (f'RewriteCond %{{TIME}} <{self.expires}',)

    def visitor_conditions(self) -> tuple[str, ...]:
        """Return one that holds from then on."""
        return (f'RewriteCond %{{TIME}} >={self.expires}',)

    def on_conditions(self, number: int) -> tuple[str, ...]:
        """Return one that never holds."""
        return ('RewriteCond expr false',)

    def off_conditions(self, number: int) -> tuple[str, ...]:
        """Return one that holds from then on."""
        return self.visitor_conditions()


def place(directive: Directive) -> tuple[Section, ...]:
    """Return the sections that make the configuration this directive is part of."""
    return tuple(one for one in directive.sections if one.name not in (*CONDITIONS, *METHODS, *AUTHZ))


def conditions(directive: Directive) -> tuple[Section, ...]:
    """Return the sections on which it depends whether the directive is read at all."""
    return tuple(one for one in directive.sections if one.name in CONDITIONS)


def methods(directive: Directive) -> tuple[Section, ...]:
    """Return the <Limit> sections around the directive."""
    return tuple(one for one in directive.sections if one.name in METHODS)


def for_old_apache(directive: Directive) -> bool:
    """Tell whether the directive is kept for Apache 2.2, and therefore not read by 2.4."""
    return any(
        (one.name == 'ifmodule' and _OLD_APACHE.fullmatch(one.args))
        or (one.name == 'ifversion' and _OLD_VERSION.fullmatch(one.args))
        for one in directive.sections
    )


def inside_if(directive: Directive) -> bool:
    """Tell whether it stands in an <If>, where no other <If> may be relied on."""
    return any(one.name in ('if', 'elseif', 'else') for one in directive.sections)


def at_large(directive: Directive) -> bool:
    """Tell whether it stands outside of any directory in a vhost file."""
    return all(one.name == 'virtualhost' for one in place(directive))


def named(directives: Sequence[Directive]) -> str:
    """Return the text of a unit, bounded; that of the directive that does it comes first."""
    *before, main = directives
    text = ' / '.join(one.text for one in (main, *before))
    return text if len(text) <= LONGEST_NAME else text[:LONGEST_NAME - 1] + '…'
