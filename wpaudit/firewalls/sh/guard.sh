# The second, independent way back: waits for the run to be forgotten, and puts everything back when its keeper is gone.
#   $1 directory of the run   $2 pid of the keeper   $3 seconds without a sign of life before it counts as hung
dir=$1 pid=$2 patience=$3
trap 'exit 0' TERM
trap '' HUP INT
echo "$$" >"$dir/guarded"
# The directory of a later run may bear the same name: it is not ours to put back.
ours() { [ -e "$dir/undo" ] && [ "$(cat "$dir/guarded" 2>/dev/null)" = "$$" ]; }
last='' still=0 tries=0
while ours; do
    sleep 1 &
    wait $!
    ours || break
    if kill -0 "$pid" 2>/dev/null; then
        beat=$(cat "$dir/beat" 2>/dev/null)
        if [ "$beat" = "$last" ]; then still=$((still + 1)); else still=0; fi
        last=$beat
        [ "$still" -lt "$patience" ] && continue
        kill -9 "$pid" 2>/dev/null
    fi
    acting=$(cat "$dir/acting" 2>/dev/null) && kill -9 "$acting" 2>/dev/null
    ours || break
    sh "$dir/put-back" "$dir" >/dev/null 2>&1 && break
    tries=$((tries + 1))
    [ "$tries" -ge 200 ] && exit 1
    sleep 3 &
    wait $!
done
exit 0
