# Keeps a machine's own configuration changed for as long as somebody asks for it, and not a moment longer.
#   $1 directory of the run   $2 a random word   $3 base64 of who opened it   $4 "open" or "recover"   $5 how to put back
# stdin, one order a line:
#   put NAME      the next line is the file in base64; it becomes NAME in the directory of the run
#   watch WORDS   start the second keeper, "guard", with these words behind the directory and our pid
#   act NAME      run the script NAME; the next line is its input, in base64
#   beat          a sign of life
#   undo          put everything back and forget the run
# stdout: for each order "@WORD STATUS OUTPUT", the output in base64. End of file means undo.
dir=$1 word=$2 who=$3 mode=$4 back=$5
LC_ALL=C
export LC_ALL
umask 077
trap '' HUP INT PIPE

say() { # STATUS, and the output on stdin
    printf '@%s %s %s\n' "$word" "$1" "$(head -c 1000000 | base64 | tr -d '\n')"
}

beat() { date +%s >"$dir/beat.new" && mv -f -- "$dir/beat.new" "$dir/beat"; }

lively() { # shows signs of life while a script runs, but not for ever
    tries=0
    while [ "$tries" -lt 180 ] && kill -0 "$$" && [ -d "$dir" ]; do
        sleep 1
        beat
        tries=$((tries + 1))
    done </dev/null >/dev/null 2>&1
}

fresh() { # has the keeper of an earlier run shown itself within the last minutes, and does it live?
    read -r pid 2>/dev/null <"$dir/pid" && read -r last 2>/dev/null <"$dir/beat" || return 1
    kill -0 "$pid" 2>/dev/null && [ "$(($(date +%s) - last))" -lt 120 ]
}

command -v base64 >/dev/null 2>&1 || { printf '@%s no-base64 \n' "$word"; exit 97; }
if [ "$mode" = recover ]; then
    if [ ! -d "$dir" ] || [ -L "$dir" ] || [ ! -O "$dir" ]; then
        say nothing </dev/null
    elif fresh; then
        say busy <"$dir/who"
    else
        output=$(sh -c "$back" wpaudit-put-back "$dir" 2>&1)
        printf %s "$output" | say $?
    fi
    exit 0
fi

if ! mkdir -- "$dir" 2>/dev/null; then
    if [ ! -O "$dir" ] || [ -L "$dir" ] || [ ! -d "$dir" ]; then
        ls -ld -- "$dir" 2>/dev/null | say blocked
    elif fresh; then
        say busy <"$dir/who"
    else
        say unfinished <"$dir/who"
    fi
    exit 0
fi
# "free" is whose renaming gives the right to undo: see put-back.
if ! { : >"$dir/free" && echo "$$" >"$dir/pid" && printf %s "$who" | base64 -d >"$dir/who" && beat; } 2>/dev/null; then
    rm -rf -- "$dir"
    echo "$dir cannot be written" | say blocked
    exit 0
fi
say open </dev/null

while read -r order name; do
    case $order in
    put)
        read -r text
        printf %s "$text" | base64 -d >"$dir/$name.new" && mv -f -- "$dir/$name.new" "$dir/$name" &&
            { sync -- "$dir/$name" "$dir" 2>/dev/null || sync; }
        say $? </dev/null
        ;;
    watch)
        # shellcheck disable=SC2086 # two numbers and a mode of our own
        set -- sh "$dir/guard" "$dir" "$$" $name
        if command -v setsid >/dev/null; then set -- setsid "$@"; fi
        "$@" </dev/null >/dev/null 2>&1 &
        tries=0
        until [ -s "$dir/guarded" ] || [ "$tries" -ge 50 ]; do
            tries=$((tries + 1))
            sleep 0.1 2>/dev/null || sleep 1
        done
        [ -s "$dir/guarded" ]
        say $? </dev/null
        ;;
    act)
        read -r text
        lively &
        beating=$!
        # It says its own number first: whoever ends us has to end it too, or it would change what was just put back.
        # shellcheck disable=SC2016 # the words are the inner shell's
        printf %s "$text" | base64 -d | sh -c 'echo "$$" >"$0/acting" && exec sh "$0/$1"' "$dir" "$name" >"$dir/output" 2>&1
        status=$?
        kill "$beating" 2>/dev/null
        rm -f -- "$dir/acting"
        if [ -e "$dir/output" ]; then say "$status" <"$dir/output"; else echo "$dir is gone" | say 1; fi
        ;;
    beat)
        beat
        say 0 </dev/null
        ;;
    undo)
        lively &
        beating=$!
        output=$(sh -c "$back" wpaudit-put-back "$dir" 2>&1)
        status=$?
        kill "$beating" 2>/dev/null
        printf %s "$output" | say "$status"
        [ "$status" -ne 0 ] || exit 0
        ;;
    esac
done
sh -c "$back" wpaudit-put-back "$dir" >/dev/null 2>&1
exit 0
