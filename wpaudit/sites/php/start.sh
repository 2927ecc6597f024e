# Finds WordPress, WP-CLI and the right user, then becomes the agent: one remote command for all of it.
#   $1 path or ''   $2 user to run as or ''   $3 'root' when --allow-root was given   $4 --url or ''   $5 PHP bootstrap
#   $6... how to start WP-CLI, when the caller knows
# Speaks in lines "@wpaudit WORD VALUE"; "@wpaudit error WORD detail" and exit 97 when something is missing.
path=$1 run_as=$2 root=$3 url=$4 code=$5
shift 5

say() { printf '@wpaudit %s %s\n' "$1" "$2"; }
fail() { say error "$*"; exit 97; }

# ---- WordPress
case $path in '~'*) path=$HOME${path#'~'} ;; esac
if [ -n "$path" ]; then
    [ -d "$path" ] || fail no-path "$path"
    [ -f "$path/wp-load.php" ] || fail not-wordpress "$path"
else
    found='' several=''
    for try in . "$HOME"/public_html "$HOME"/www "$HOME"/htdocs "$HOME"/httpdocs "$HOME"/html "$HOME"/web \
        "$HOME"/*/public_html /var/www/html /var/www/*/htdocs /var/www/*/public_html /var/www/* /srv/www /srv/www/*; do
        [ -f "$try/wp-load.php" ] || continue
        here=$(cd "$try" && pwd -P) || continue
        case ":$found:" in *":$here:"*) continue ;; esac
        [ -n "$found" ] && several=yes
        found=${found:+$found:}$here
    done
    [ -n "$found" ] || fail no-wordpress "$(pwd)"
    [ -z "$several" ] || fail several "$found"
    path=$found
fi
path=$(cd "$path" 2>/dev/null && pwd -P) || fail no-path "$1"
config=$path/wp-config.php
[ -f "$config" ] || [ ! -f "${path%/*}/wp-config.php" ] || [ -f "${path%/*}/wp-settings.php" ] || config=${path%/*}/wp-config.php
[ -f "$config" ] || fail no-config "$path"

# ---- PHP and WP-CLI
php=$(command -v php 2>/dev/null)
for try in /usr/local/bin/php /usr/bin/php /usr/bin/php8* /opt/plesk/php/*/bin/php /opt/cpanel/ea-php*/root/usr/bin/php /opt/alt/php*/usr/bin/php; do
    [ -n "$php" ] || [ ! -x "$try" ] || php=$try
done
[ -n "$php" ] || [ $# -gt 0 ] || fail no-php "$PATH"
PATH=$PATH${php:+:${php%/*}}
export PATH
if [ $# -eq 0 ]; then
    wp=$(command -v wp 2>/dev/null)
    for try in "$HOME"/bin/wp "$HOME"/.local/bin/wp /usr/local/bin/wp /usr/bin/wp /opt/wp-cli/wp "$HOME"/vendor/bin/wp \
        "$path"/vendor/bin/wp "$HOME"/wp-cli.phar "$path"/wp-cli.phar /usr/local/bin/wp-cli.phar; do
        [ -n "$wp" ] || [ ! -f "$try" ] || wp=$try
    done
    [ -n "$wp" ] || fail no-wp "$PATH"
    if [ -x "$wp" ]; then set -- "$wp"; else set -- "$php" "$wp"; fi
else
    command -v "$1" >/dev/null 2>&1 || fail no-wp "$1"
fi

# ---- the right user: the owner of wp-config.php, never root by accident
me=$(id -un)
owner=$(stat -c %U "$config" 2>/dev/null || stat -f %Su "$config" 2>/dev/null)
[ -z "$run_as" ] || id -- "$run_as" >/dev/null 2>&1 || fail no-user "$run_as"
as=${run_as:-$owner}
become=''
if [ "$as" != "$me" ]; then
    if [ "$as" = root ] && [ "$run_as" != root ]; then
        fail not-owner "$owner $me"
    elif command -v sudo >/dev/null 2>&1 && sudo -n -u "$as" -- true 2>/dev/null; then
        become='sudo -n -H -u'
    elif [ "$(id -u)" = 0 ] && command -v runuser >/dev/null 2>&1; then
        become='runuser -u'
    else
        fail not-owner "$owner $me"
    fi
fi
if [ "$as" = root ]; then
    [ "$root" = root ] || fail root "$config"
fi
[ "$as" != "$me" ] || [ -r "$config" ] || fail unreadable "$config"

cd "$path" || fail no-path "$path"
[ "$root" = root ] && set -- "$@" --allow-root
for word in "$@"; do say wp "$word"; done
home=$HOME
[ -z "$become" ] || home=$(getent passwd "$as" | cut -d: -f6)
set -- env "PATH=$PATH" "HOME=$home" WP_CLI_DISABLE_AUTO_CHECK_UPDATE=1 "$@"
# shellcheck disable=SC2086 # $become is our own literal words
[ -z "$become" ] || set -- $become "$as" -- "$@"
say path "$path"
say user "$as"
say become "$become"
say ready
exec "$@" eval "$code" --skip-wordpress --path="$path" --skip-plugins --skip-themes --skip-packages --no-color ${url:+"--url=$url"}
