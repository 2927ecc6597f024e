# Runs a run's way back, once, whoever asks for it. Its output is that of "undo"; 0 means: all is as it was, nothing is left.
#   $1 directory of the run
dir=$1
waited=0
while ! mkdir "$dir/undoing" 2>/dev/null; do
    [ -e "$dir/undo" ] || exit 0 # another was quicker
    other=$(cat "$dir/undoing/pid" 2>/dev/null)
    waited=$((waited + 1))
    # One that has not even said its number after two seconds, or is dead, has left it halfway.
    if [ "$waited" -gt 2 ] && ! { [ -n "$other" ] && kill -0 "$other" 2>/dev/null; }; then
        rm -rf -- "$dir/undoing"
    fi
    sleep 1
done
echo "$$" >"$dir/undoing/pid"
status=0
if [ -e "$dir/undo" ]; then
    sh "$dir/undo"
    status=$?
fi
if [ "$status" -eq 0 ]; then
    rm -f -- "$dir/undo" && rm -rf -- "$dir"
    exit 0
fi
rm -rf -- "$dir/undoing"
exit "$status"
