"""How a host is set up for one site: its web servers' virtual hosts, php-fpm's pools, and the settings that matter."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace

from wpaudit.domain import Gap
from wpaudit.sites import apache
from wpaudit.sites import fpm
from wpaudit.sites import hostlooks
from wpaudit.sites import nginx
from wpaudit.sites.hostask import About
from wpaudit.sites.hostask import HostAsk
from wpaudit.sites.servers import Found
from wpaudit.sites.servers import LogFile
from wpaudit.sites.servers import Vhost
from wpaudit.sites.servers import Wanted
from wpaudit.sites.servers import chosen

FPM_SETTINGS = (
    'pm', 'pm.max_children', 'pm.max_requests', 'pm.process_idle_timeout', 'request_terminate_timeout',
    'request_slowlog_timeout', 'listen.backlog', 'rlimit_files', 'security.limit_extensions', 'chroot',
)
PHP_SETTINGS = re.compile(
    r'memory_limit|max_execution_time|max_input_vars|output_buffering|disable_functions|open_basedir|opcache\..+|pcre\..+'
    r'|auto_prepend_file|zend\.max_allowed_stack_size|zlib\.output_compression|date\.timezone')


@dataclass(frozen=True)
class Setup:
    """How the host is set up, as far as it can be read; it does not change while we look."""

    about: About
    vhosts: tuple[Vhost, ...]
    mine: tuple[Vhost, ...]  # the one that serves the site, then those it sends requests on to
    sections: tuple[fpm.Section, ...]
    server: str
    gaps: tuple[Gap, ...]
    written: tuple[str, ...] = ()  # the ways that the directory of WordPress is written

    @property
    def php(self) -> str:
        """Where the site's PHP goes; '' when that could not be found."""
        return next((one for vhost in self.mine for one in vhost.php), '')

    @property
    def docroot(self) -> str:
        """The directory of WordPress as the web server writes it: opcache and open_basedir go by that."""
        real = self.about.docroot
        roots = [vhost.root.rstrip('/') for vhost in self.mine if vhost.root]
        return next((root for root in roots if root in self.written), real)

    @property
    def root(self) -> str:
        """The document root: above ``docroot`` where WordPress lives in a directory of its own."""
        roots = [vhost.root.rstrip('/') for vhost in self.mine if vhost.root]
        return next((root for root in roots if self.docroot.startswith(f'{root}/')), self.docroot)

    @property
    def serving(self) -> tuple[fpm.Section, ...]:
        """The pools that serve the site."""
        targets = {one for vhost in self.mine for one in vhost.php}
        return tuple(one for one in self.sections if one.listen in targets)

    @property
    def telling(self) -> tuple[fpm.Section, ...]:
        """The pools whose log is about the site; where they are not known, the only one of the host."""
        elsewhere = any(vhost.proxies for vhost in self.mine) and not self.php
        return self.serving or (self.sections if len(self.sections) == 1 and not elsewhere else ())

    def logs(self) -> tuple[LogFile, ...]:
        """Return the web server's logs of the site. Of other sites' only those in which none but marked lines count."""
        own = tuple(log for vhost in self.mine for log in vhost.logs)
        return own or tuple(log for vhost in self.vhosts for log in vhost.logs if log.source == 'access')

    def settings(self) -> dict[str, str]:
        """Return the settings that matter, by their own names; a pool's own php.ini values last."""
        found: dict[str, str] = {}
        for vhost in reversed(self.mine):
            found |= vhost.settings
        for section in self.serving:
            found |= {f'php-fpm {name}': section.value(name) for name in FPM_SETTINGS if name in section.values}
            php = section.php().items()
            found |= {f'php {name}': value for name, value in php if value and PHP_SETTINGS.fullmatch(name)}
        return found


def found(ask: HostAsk, about: About, url: str) -> Setup:
    """Read the configurations of what runs on the host, and find the site in them; what is closed is a gap."""
    web, server = _web(ask, about)
    pools = fpm.read(ask, about.processes)
    wanted = _wanted(ask, about, web.vhosts, url)
    front = chosen(web.vhosts, wanted)
    mine = (front, *_behind(front, web.vhosts, wanted)) if front else ()
    gaps = [*web.gaps, *pools.gaps]
    if web.vhosts and not front:
        gaps.append(Gap('web server', f'no virtual host for {about.docroot} was found in its configuration'))
    return Setup(
        about, web.vhosts, mine, tuple(pools.sections),
        '+'.join(dict.fromkeys(one.server for one in mine)) or server, tuple(dict.fromkeys(gaps)), wanted.docroots,
    )


def _web(ask: HostAsk, about: About) -> tuple[Found, str]:
    """Read the running web servers' configurations, or the usual places when none is seen to run."""
    nginxes, apaches = nginx.instances(about.processes), apache.instances(about.processes)
    running = bool(nginxes or apaches)
    if not running:
        nginxes = tuple(nginx.Instance(path, '/etc/nginx') for path in nginx.USUAL)
        apaches = tuple(apache.Instance(path, root) for path, root in apache.USUAL)
    one, two = nginx.read(ask, nginxes, running=running), apache.read(ask, apaches, running=running)
    both = Found((*one.vhosts, *two.vhosts), (*one.gaps, *two.gaps))
    if not running and not both.vhosts:
        why = 'processes of other users are hidden on this host' if about.hidden else 'none is seen to run'
        gap = Gap('web server', f'{why}, and no configuration is in the usual places')
        return Found((), (*both.gaps, gap)), ''
    return both, '+'.join(dict.fromkeys(vhost.server for vhost in both.vhosts)) if running else ''


def _wanted(ask: HostAsk, about: About, vhosts: Sequence[Vhost], url: str) -> Wanted:
    leading = ask.real(vhost.root for vhost in vhosts)  # a root may be a link to the current release
    own = (about.docroot, ask.agent.launched.path)
    roots = tuple(dict.fromkeys((*own, *(root for root, real in leading.items() if real == about.docroot))))
    if not url:
        return Wanted(roots)
    parts = hostlooks.split(url)
    return Wanted(roots, parts.hostname or '', hostlooks.port_of(parts))


def _behind(front: Vhost, vhosts: Sequence[Vhost], wanted: Wanted) -> tuple[Vhost, ...]:
    """Return the virtual host that the front one sends requests on to: Apache behind nginx, as panels set it up."""
    ports = {int(one.rpartition(':')[2]) for one in front.proxies if one.rpartition(':')[2].isdigit()}
    near = [one for one in vhosts if one is not front and any(listen.port in ports for listen in one.listens)]
    back = chosen(near, replace(wanted, port=0))
    return (back,) if back else ()
