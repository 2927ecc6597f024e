# Runs a run's way back, once, whoever asks for it. Its output is that of "undo"; 0 means: all is as it was, nothing is left.
#   $1 directory of the run
# Whoever renames the file "free" has the right to; that takes no space, so it works on a full disk too.
dir=$1
mine=$dir/undoing.$$
waited=0
until mv -- "$dir/free" "$mine" 2>/dev/null; do
    [ -d "$dir" ] || exit 0 # another was quicker
    holder=''
    for one in "$dir"/undoing.*; do [ ! -e "$one" ] || holder=$one; done
    if [ -z "$holder" ]; then
        [ -e "$dir/free" ] || [ -e "$dir/undo" ] || break # not begun, or nearly gone
    elif [ "$waited" -ge 170 ] || ! kill -0 "${holder##*.}" 2>/dev/null; then
        mv -- "$holder" "$mine" 2>/dev/null && break # it died on the way
    fi
    waited=$((waited + 1))
    sleep 1
done
status=0
if [ -e "$dir/undo" ]; then
    sh "$dir/undo"
    status=$?
fi
if [ "$status" -ne 0 ]; then
    mv -- "$mine" "$dir/free"
    exit "$status"
fi
rm -f -- "$dir/undo"
tries=0
while [ -e "$dir" ] && [ "$tries" -lt 50 ]; do # a sign of life may be on its way into it
    rm -rf -- "$dir" 2>/dev/null || sleep 0.1 2>/dev/null || sleep 1
    tries=$((tries + 1))
done
[ ! -e "$dir" ]
