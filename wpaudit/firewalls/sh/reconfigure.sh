# Changes files of a web server's configuration, lets the server read them gracefully, and takes all of it back.
#   $1 hold, add, commit, renew, read or back   $0 lies in the directory of the run, beside cmdline-N, comm-N and test-N: how
#   the master of server N was started, what its process is called, and a script that lets the very program (of the pid
#   that it is given) test its configuration
# hold, stdin: a number, the real path in escapes of printf %b, a random word, the SHA-256 of what is there, that of the
#   new text, one a line; then the new text. The directory .wpaudit-WORD beside the file keeps it under a second name.
# add, stdin: the path of a file of ours in such a directory, in escapes, and the SHA-256 of its text; then the text.
# commit: the new texts are put in place, every server tests its configuration, and only then reads it.
# renew, stdin: as for add, of a file that is there: its text is replaced.
# read: every server tests its configuration, and only then reads it.
# back: at any time, any number of times. Whoever changed a file meanwhile keeps what they wrote; that is told, status 1.
# Status 1 of the others: nothing was changed, or all is back.
dir=${0%/*}
LC_ALL=C
export LC_ALL
umask 077
patience=$(cat "$dir/patience") # seconds that a server may take to read its configuration
SECONDS_TO_NOTICE=3 # a child of Apache that is busy accepts no more once it has been told, and that takes a moment

refuse() { printf '%s\n' "$1"; exit 1; }

plain() { # ESCAPED -> plain; the dot keeps newlines at its end
    plain=$(printf '%b.' "$1")
    plain=${plain%.}
}

look() { # PATH -> seen: device inode mode user group size mtime digest; empty when there is no plain file to read
    seen=''
    [ -f "$1" ] && [ ! -L "$1" ] && [ -r "$1" ] || return 0
    numbers=$(stat -c '%d %i %a %u %g %s %Y' -- "$1" 2>/dev/null) || return 0
    digest=$(sha256sum <"$1" 2>/dev/null) || return 0
    seen="$numbers ${digest%% *}"
}

inode() { # SEEN -> its device and inode
    # shellcheck disable=SC2086 # to be split
    set -- $1
    printf '%s %s' "$1" "$2"
}

note() { # FILE, and its text on stdin
    cat >"$dir/$1.new" && mv -f -- "$dir/$1.new" "$dir/$1" && { sync -- "$dir/$1" "$dir" 2>/dev/null || sync; }
}

known() { # NUMBER -> path hold old new before after, as far as they were noted
    plain "$(cat "$dir/$1.path")"
    path=$plain
    read -r word <"$dir/$1.word"
    hold=${path%/*}/.wpaudit-$word
    old=$hold/$1.old
    new=$hold/$1.new
    before=$(cat "$dir/$1.before" 2>/dev/null)
    after=$(cat "$dir/$1.after" 2>/dev/null)
}

hold() {
    read -r number && read -r escaped && read -r word && read -r was && read -r wanted || refuse 'nothing was said'
    plain "$escaped"
    path=$plain
    hold=${path%/*}/.wpaudit-$word
    look "$path"
    before=$seen
    [ -n "$before" ] || refuse "$path is a link, is gone, or cannot be read"
    [ "${before##* }" = "$was" ] || refuse "$path is not what it was when it was read"
    # shellcheck disable=SC2086 # to be split
    set -- $before
    mode=$3 user=$4 group=$5
    [ "$(id -u)" = 0 ] || [ "$(id -u)" = "$user" ] || refuse "$path belongs to another user, and a file in its place would not"
    printf '%s\n' "$word" | note "$number.word" && printf '%s\n' "$before" | note "$number.before" &&
        printf '%s\n' "$escaped" | note "$number.path" && : | note "$number.held" || refuse "$dir cannot be written"
    mkdir -- "$hold" 2>/dev/null || { [ -d "$hold" ] && [ ! -L "$hold" ] && [ -O "$hold" ]; } ||
        refuse "no directory can be made beside $path"
    for one in "${path%/*}"/.wpaudit-*; do
        case ${one##*/} in ".wpaudit-${word%????????}"*) continue ;; esac # of another layer of the same run
        [ ! -d "$one" ] ||
            refuse "another run of wpaudit works beside $path, or has left $one: type wpaudit restore for its site"
    done
    old=$hold/$number.old
    new=$hold/$number.new
    ln -- "$path" "$old" 2>/dev/null || refuse "no second name can be made for $path"
    look "$old"
    [ "$seen" = "$before" ] || refuse "$path was changed meanwhile"
    write "$new" "$wanted"
    chown "$user:$group" "$new" 2>/dev/null || chgrp "$group" "$new" 2>/dev/null
    chmod "$mode" "$new"
    look "$new"
    # shellcheck disable=SC2086 # to be split
    set -- $seen
    [ "$3 $4 $5 $8" = "$mode $user $group $wanted" ] || refuse "a file in the place of $path cannot have its owner and mode"
    printf '%s\n' "$seen" | note "$number.after" || refuse "$dir cannot be written"
}

write() { # PATH SHA-256, and its text on stdin
    (set -C && cat >"$1") 2>/dev/null || refuse "$1 cannot be written"
    sync -- "$1" 2>/dev/null || sync
    look "$1"
    [ "${seen##* }" = "$2" ] || refuse "$1 cannot be written"
}

add() {
    read -r escaped && read -r wanted || refuse 'nothing was said'
    plain "$escaped"
    { printf '%s\n' "$escaped" >>"$dir/added"; } 2>/dev/null && { sync -- "$dir/added" 2>/dev/null || sync; } ||
        refuse "$dir cannot be written"
    write "$plain" "$wanted"
}

says() { # /proc/PID NUMBER: was it started as this one? (cmp would believe what /proc says of sizes)
    cat "$1/cmdline" 2>/dev/null | cmp -s - "$dir/cmdline-$2"
}

masters() { # NUMBER -> found: the pids of the masters that were started as this one, and see the files that we see
    found=''
    for file in $(grep -lsxF "$(cat "$dir/comm-$1")" /proc/[0-9]*/comm); do
        at=${file%/comm}
        { read -r stat <"$at/stat"; } 2>/dev/null || continue
        stat=${stat##*) }
        stat=${stat#* }
        says "$at" "$1" && [ "$at/root" -ef / ] || continue
        # A child of Apache bears the words of its parent.
        says "/proc/${stat%% *}" "$1" || found="$found ${at#/proc/}"
    done
}

children() { # PID -> kids: its children that live, between blanks
    kids=' '
    for file in /proc/[0-9]*/stat; do
        { read -r stat <"$file"; } 2>/dev/null || continue
        case ${stat##*) } in
            [ZX]*) ;;
            ?" $1 "*) kids="$kids${stat%% *} " ;;
        esac
    done
}

ends() { # PID: is it a worker of nginx that takes no more requests?
    cat "/proc/$1/cmdline" 2>/dev/null | tr '\0' ' ' | grep -q 'shutting down' || [ ! -e "/proc/$1" ]
}

renewed() { # COMM PID OLD: do only children answer that have read the new configuration?
    children "$2"
    fresh='' stale=''
    for one in $kids; do
        case $3 in
            *" $one "*) [ "$1" = nginx ] && ends "$one" || stale=1 ;;
            *) fresh=1 ;;
        esac
    done
    [ -n "$fresh" ] || return 1
    [ -n "$stale" ] || return 0
    [ "$1" = nginx ] || noticing=$((noticing + 1))
    [ "$noticing" -gt $((SECONDS_TO_NOTICE * 10)) ]
}

tested() { # NUMBER PID -> status; said: its own words
    said=$(sh "$dir/test-$1" "$2" 2>&1 </dev/null)
    status=$?
    said=$(printf %s "$said" | tail -c 700)
    return "$status"
}

reload() { # NUMBER -> status; said: why not. A server that does not run reads its files when it starts.
    name=$(cat "$dir/comm-$1")
    masters "$1"
    for pid in $found; do
        tested "$1" "$pid" || { said="$name refuses its configuration: $said"; return 1; }
        children "$pid"
        before_it=$kids
        if [ "$name" = nginx ]; then signal=HUP; else signal=USR1; fi
        kill -s "$signal" "$pid" 2>/dev/null || continue
        printf '%s\n' "$name" >>"$dir/reloads"
        tries=0 noticing=0
        until renewed "$name" "$pid" "$before_it"; do
            [ -e "/proc/$pid" ] || { said="$name ended when it was to read its configuration"; return 1; }
            [ "$tries" -lt $((patience * 10)) ] ||
                { said="$name still answers with its old configuration after $patience seconds"; return 1; }
            tries=$((tries + 1))
            sleep 0.1 2>/dev/null || sleep 1
        done
    done
}

servers() { # -> every: the numbers of all servers
    every=''
    for file in "$dir"/cmdline-*; do every="$every ${file##*-}"; done
}

check() { # -> status; said: what is wrong with one of the servers
    for server in $every; do
        masters "$server"
        name=$(cat "$dir/comm-$server")
        [ -n "$found" ] || { said="$name no longer runs"; return 1; }
        for pid in $found; do
            tested "$server" "$pid" || { said="$name would refuse it: $said"; return 1; }
        done
    done
}

all_reload() { # on failure everything is put back
    for server in $every; do reload "$server" || undone "$said"; done
}

undone() { # WHY
    why=$1
    back >"$dir/undone" || why="$why; $(tail -c 500 "$dir/undone")"
    refuse "$why"
}

commit() {
    servers
    for server in $every; do : | note "reload-$server" || refuse "$dir cannot be written"; done
    for noted in "$dir"/*.held; do
        number=${noted##*/}
        known "${number%.held}"
        look "$path"
        [ "$seen" = "$before" ] || undone "somebody else changed $path meanwhile"
        look "$new"
        [ -n "$after" ] && [ "$seen" = "$after" ] || undone "somebody else changed $new"
        mv -f -- "$new" "$path" || undone "$path cannot be replaced"
        look "$old"
        [ "$seen" = "$before" ] || undone "somebody else changed $path meanwhile" # written to under its old name
    done
    check || { rm -f -- "$dir"/reload-*; undone "$said"; } # no server has read anything yet
    all_reload
}

renew() {
    read -r escaped && read -r wanted || refuse 'nothing was said'
    plain "$escaped"
    target=$plain
    grep -qxF -- "$escaped" "$dir/added" || refuse "$target is none of ours"
    rm -f -- "$target.new"
    write "$target.new" "$wanted"
    mv -f -- "$target.new" "$target" || refuse "$target cannot be written"
}

read_anew() {
    servers
    check || undone "$said"
    all_reload
}

restored() { # NUMBER -> status: is the file what it was? else it is told
    known "$1"
    look "$old"
    kept=$seen
    look "$path"
    if [ -n "$after" ] && [ "$seen" = "$after" ] && [ "$(inode "$kept")" = "$(inode "$before")" ]; then
        mv -f -- "$old" "$path"
        look "$path"
    fi
    if [ -n "$seen" ] && [ "$(inode "$seen")" = "$(inode "$before")" ]; then
        [ "$(inode "$kept")" != "$(inode "$before")" ] || rm -f -- "$old"
        rm -f -- "$new" "$dir/$1.held"
        [ "$seen" = "$before" ] && return 0
        printf 'somebody wrote to %s meanwhile; it has what they wrote, and nothing of wpaudit\n' "$path"
        return 1
    fi
    rm -f -- "$new"
    if [ -z "$kept" ] && [ -e "$dir/$1.told" ] && ! grep -qF -- "$hold/" "$path" 2>/dev/null; then
        rm -f -- "$dir/$1.held" # somebody has decided
        return 0
    fi
    printf 'somebody changed %s meanwhile, so it was left as it is; what was there before is %s: move it back, or remove it and the lines that name %s to keep theirs\n' \
        "$path" "$old" "$hold"
    : >"$dir/$1.told"
    return 1
}

back() {
    failed=0
    for noted in "$dir"/*.held; do
        [ -e "$noted" ] || continue
        number=${noted##*/}
        restored "${number%.held}" || failed=1
    done
    for mark in "$dir"/reload-*; do
        [ -e "$mark" ] && [ "${mark%.new}" = "$mark" ] || continue
        if reload "${mark##*-}"; then rm -f -- "$mark"; else printf '%s\n' "$said"; failed=1; fi
    done
    left=''
    for noted in "$dir"/*.held; do [ ! -e "$noted" ] || left=1; done
    # While a text that may name our files is in use they stay: the server would not start without them.
    [ -n "$left" ] || tidied || failed=1
    [ "$failed" -ne 0 ] || told_reloads
    return "$failed"
}

tidied() { # nothing of ours is left beside the files
    [ -e "$dir/added" ] || : >"$dir/added"
    while read -r escaped; do
        plain "$escaped"
        rm -f -- "$plain" "$plain.new"
    done <"$dir/added"
    for noted in "$dir"/*.path; do
        [ -e "$noted" ] || continue
        number=${noted##*/}
        known "${number%.path}"
        [ ! -d "$hold" ] || rmdir -- "$hold" 2>/dev/null || { printf '%s cannot be removed\n' "$hold"; return 1; }
    done
}

told_reloads() {
    [ -e "$dir/reloads" ] || return 0
    for name in $(sort -u "$dir/reloads"); do
        times=$(grep -cxF -- "$name" "$dir/reloads")
        case $times in 1) times=once ;; 2) times=twice ;; *) times="$times times" ;; esac
        printf '%s was reloaded %s, gracefully\n' "$name" "$times"
    done
}

case $1 in
    read) read_anew ;; # a word of the shell
    *) "$1" ;;
esac
