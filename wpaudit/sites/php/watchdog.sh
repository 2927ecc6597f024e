# The second, independent way back: plain sh on the host, started before the first change.
# It waits for the run's journal to go away. When the agent was killed, or hangs, it restores.
#   $1 run directory   $2 pid of the agent   $3 seconds without a beat before the agent counts as hung
#   $4 must-use plugin file   $5 "made" when its directory is ours too   $6 isolated|live   $7... how to start WP-CLI
dir=$1 pid=$2 patience=$3 must_use=$4 made=$5 mode=$6
shift 6
trap 'exit 0' TERM
trap '' HUP INT
# The directory of a later run bears the same name; the journal says whose it is.
ours() { grep -q "\"pid\":$pid[,}]" "$dir/journal.php" 2>/dev/null; }
ours && echo "$$" >"$dir/watchdog"

away() {
    rm -f -- "$must_use" "$must_use~"
    [ "$made" = made ] && rmdir -- "${must_use%/*}" 2>/dev/null
    rm -rf -- "$dir"
    exit 0
}

over() { # nothing to watch: the run ended while we started
    [ "$(cat "$dir/watchdog" 2>/dev/null)" != "$$" ] || rm -f -- "$dir/watchdog"
    rmdir -- "$dir" 2>/dev/null
}

last='' still=0 tries=0
while ours; do
    sleep 1 &
    wait $!
    if kill -0 "$pid" 2>/dev/null; then
        beat=$(cat "$dir/beat" 2>/dev/null)
        if [ "$beat" = "$last" ]; then still=$((still + 1)); else still=0; fi
        last=$beat
        [ "$still" -lt "$patience" ] && continue
        kill -9 "$pid" 2>/dev/null
    fi
    ours || break
    # Isolated: nothing but our own files was ever there.
    [ "$mode" = isolated ] && away
    "$@" eval-file "$dir/agent.php" recover --skip-wordpress --skip-plugins --skip-themes --skip-packages && [ ! -e "$dir/journal.php" ] && break
    tries=$((tries + 1))
    [ "$tries" -ge 200 ] && exit 1
    sleep 3 &
    wait $!
done
over
exit 0
