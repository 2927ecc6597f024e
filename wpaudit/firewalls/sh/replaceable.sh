# Says what a swap of files would meet, before anybody asks for one.
#   stdin: a path a line, in escapes of printf %b
#   stdout: the host's time, as its web servers would say it; then a word for each path
LC_ALL=C
export LC_ALL
env -u TZ date +%Y%m%d%H%M%S 2>/dev/null || date +%Y%m%d%H%M%S
me=$(id -u)
while IFS= read -r line; do
    path=$(printf '%b.' "$line")
    path=${path%.}
    owner=$(stat -c %u -- "$path" 2>/dev/null || stat -f %u -- "$path" 2>/dev/null)
    if [ -L "$path" ] || [ ! -f "$path" ]; then
        echo link
    elif [ "$me" != 0 ] && [ "$me" != "$owner" ]; then
        echo owner
    elif [ ! -w "${path%/*}/" ]; then
        echo directory
    else
        echo yes
    fi
done
