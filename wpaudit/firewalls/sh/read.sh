# Reads files for reading.py: any number of them in one round trip, each within its limits, and nothing that is no plain file.
#   $1 bytes of one file   $2 bytes of all   $3 how many of all
# stdin: a random word; then a line for each path: "L" and the path, or "G" and a pattern to expand, in escapes of printf %b.
# stdout: for each file the word, its state and numbers on one line, its path and where links lead with a NUL behind
# each, and its bytes. At the end the word and "end".
LC_ALL=C
export LC_ALL
most=$1 left=$2 count=$3
newline='
'

say() { # STATE PATH REAL; the numbers are those of the last `measure`
    printf '%s %s %s %s\n%s\000%s\000' "$word" "$number" "$1" "$numbers" "$2" "$3"
}

measure() { # PATH -> numbers: mode size user group device inode mtime
    numbers=$(stat -L -c '%a %s %u %g %d %i %Y' -- "$1" 2>/dev/null) ||
        numbers=$(stat -L -f '%Lp %z %u %g %d %i %m' -- "$1" 2>/dev/null) || numbers=
}

resolve() { # PATH -> real; the dot keeps newlines at its end
    real=$(readlink -f -- "$1" 2>/dev/null; printf .)
    real=${real%.}
    real=${real%"$newline"}
}

hidden() { # PATH: is it behind a directory that may not be searched, so that nobody can say whether it exists?
    at=$1
    while :; do
        case $at in /*/*) at=${at%/*} ;; *) return 1 ;; esac
        if [ -d "$at" ]; then
            [ ! -x "$at" ]
            return
        fi
    done
}

one() { # PATH
    count=$((count - 1))
    numbers=
    real=
    if [ -e "$1" ]; then
        resolve "$1"
        measure "$1"
    fi
    if [ -d "$1" ]; then
        say directory "$1" "$real"
    elif [ -f "$1" ]; then
        if [ ! -r "$1" ]; then
            say unreadable "$1" "$real"
        elif [ "$left" -le 0 ]; then
            say skipped "$1" "$real"
        else
            content "$1"
        fi
    elif [ -e "$1" ]; then
        say special "$1" "$real"
    elif hidden "$1" || leads_nowhere "$1"; then
        say unreadable "$1" "$real"
    else
        say absent "$1" "$real"
    fi
}

leads_nowhere() { # PATH: is it a link whose end cannot be seen?
    [ -L "$1" ] || return 1
    resolve "$1"
    [ -z "$real" ] || hidden "$real"
}

content() { # PATH
    say file "$1" "$real"
    head -c $((most + 1)) <"$1" 2>/dev/null
    size=${numbers#* }
    size=${size%% *}
    # Files of /proc say that they are empty.
    [ "${size:-0}" -ge 4096 ] || size=4096
    [ "$size" -le "$most" ] || size=$most
    left=$((left - size))
}

expand() { # PATTERN
    pattern=$1
    IFS=
    # shellcheck disable=SC2086 # the pattern is to be expanded, and IFS keeps it in one piece
    set -- $pattern
    if [ $# -eq 1 ] && [ "$1" = "$pattern" ] && [ ! -e "$1" ] && [ ! -L "$1" ]; then
        fixed=${pattern%%[*?[]*}
        fixed=${fixed%/*}
        numbers=
        if hidden "$fixed/" || { [ -d "$fixed" ] && [ ! -r "$fixed" ]; }; then
            say unreadable "$pattern" ''
        else
            say absent "$pattern" ''
        fi
        return
    fi
    for file do
        if [ "$count" -le 0 ]; then
            numbers=
            say skipped "$file" ''
            return
        fi
        one "$file"
    done
}

IFS= read -r word || exit 1
number=0
while IFS= read -r line; do
    text=$(printf '%b.' "${line#?}")
    text=${text%.}
    if [ "$count" -le 0 ]; then
        numbers=
        say skipped "$text" ''
    else
        case $line in
            G*) expand "$text" ;;
            *) one "$text" ;;
        esac
    fi
    number=$((number + 1))
done
printf '%s end\n' "$word"
