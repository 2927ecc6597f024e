# Swaps files for others and back: nobody ever sees half of either, and what was there comes back as the same inode.
#   $1 prepare, commit, try_out_all, stage, turn or back   $0 lies in the directory of the run
# prepare, stdin: a number, the path in escapes of printf %b, a random word, the SHA-256 of what is there, that of the
#   new text, one a line; then the new text. The file is kept under a second name, and the new one lies beside it.
# commit, stdin: "NUMBER URL FOLDER" for each: a directory of ours in FOLDER tries the new text first, and URL is its page.
# For texts that change again and again:
# try_out_all, stdin as that of commit: the directories try the new texts, and none of them is used.
# stage, stdin: a number, the SHA-256 of the next text, the time at which it is over, one a line; then the text. It lies
#   beside the file then. Without a text, what was there before the run does.
# turn, stdin: "NUMBER URL FOLDER" for each: the directories try what was staged, as it will be when its time is over and
#   with the lines that it takes out: Apache has to answer as ever. Then all of it is put in place.
# back: at any time, any number of times. Whoever changed a file meanwhile keeps what they wrote; that is told, status 1.
# Status 3: the host cannot ask its own web server. 4: Apache answers otherwise with the new text. 5: somebody else was
# there. 1: anything else.
dir=${0%/*}
LC_ALL=C
export LC_ALL
umask 077
newline='
'

refuse() { printf '%s\n' "$2"; exit "$1"; }

plain() { # ESCAPED -> plain; the dot keeps newlines at its end
    plain=$(printf '%b.' "$1")
    plain=${plain%.}
}

look() { # PATH -> seen: device inode mode user group size mtime digest; empty when there is no plain file to read
    seen=''
    [ -f "$1" ] && [ ! -L "$1" ] && [ -r "$1" ] || return 0
    numbers=$(stat -c '%d %i %a %u %g %s %Y' -- "$1" 2>/dev/null || stat -f '%d %i %Lp %u %g %z %m' -- "$1" 2>/dev/null)
    digest=$({ sha256sum || shasum -a 256; } <"$1" 2>/dev/null) || return 0
    [ -z "$numbers" ] || seen="$numbers ${digest%% *}"
}

inode() { # SEEN -> its device and inode
    # shellcheck disable=SC2086 # to be split
    set -- $1
    printf '%s %s' "$1" "$2"
}

known() { # NUMBER -> path new backup before after canary, as far as they were noted
    plain "$(cat "$dir/$1.path")"
    path=$plain
    read -r word <"$dir/$1.word"
    folder=${path%/*}
    backup=$folder/.htaccess-wpaudit-$word
    new=$backup~
    before=$(cat "$dir/$1.before" 2>/dev/null)
    after=$(cat "$dir/$1.after" 2>/dev/null) # of each text of ours that may be in place, the newest one last
    canary=''
    if [ -e "$dir/$1.canary" ]; then
        plain "$(cat "$dir/$1.canary")"
        canary=$plain
    fi
}

note() { # FILE, and its text on stdin
    cat >"$dir/$1.new" && mv -f -- "$dir/$1.new" "$dir/$1" && { sync -- "$dir/$1" "$dir" 2>/dev/null || sync; }
}

prepare() {
    read -r number && read -r escaped && read -r word && read -r old && read -r wanted || refuse 1 'nothing was said'
    plain "$escaped"
    path=$plain
    backup=${path%/*}/.htaccess-wpaudit-$word # .ht: the usual rule of Apache hides such names
    new=$backup~
    look "$path"
    before=$seen
    [ -n "$before" ] || refuse 1 "$path is a link, is gone, or cannot be read"
    [ "${before##* }" = "$old" ] || refuse 1 "$path is not what it was when it was read"
    # shellcheck disable=SC2086 # to be split
    set -- $before
    [ "$(id -u)" = 0 ] || [ "$(id -u)" = "$4" ] || refuse 1 "$path belongs to another user, and a file in its place would not"
    for name in "$backup" "$new"; do
        [ ! -e "$name" ] && [ ! -L "$name" ] || refuse 1 "$name is in the way"
    done
    printf '%s\n' "$word" | note "$number.word" && printf '%s\n' "$before" | note "$number.before" &&
        printf '%s\n' "$escaped" | note "$number.path" || refuse 1 "$dir cannot be written"
    ln -- "$path" "$backup" 2>/dev/null || refuse 1 "no second name can be made for $path"
    look "$backup"
    [ "$seen" = "$before" ] || refuse 1 "$path was changed meanwhile"
    beside
    printf '%s\n' "$seen" | note "$number.after" || refuse 1 "$dir cannot be written"
}

beside() { # puts stdin beside the file, with its mode and owner -> seen
    (set -C && cat >"$new") 2>/dev/null || refuse 1 "$new cannot be written"
    look "$new"
    [ "${seen##* }" = "$wanted" ] || refuse 1 "$new cannot be written"
    # shellcheck disable=SC2086 # to be split
    set -- $before
    mode=$3 user=$4 group=$5
    # shellcheck disable=SC2086 # to be split
    set -- $seen
    [ "$4:$5" = "$user:$group" ] || chown "$user:$group" "$new" 2>/dev/null || chgrp "$group" "$new" 2>/dev/null
    chmod "$mode" "$new" && { sync -- "$new" 2>/dev/null || sync; }
    look "$new"
    # shellcheck disable=SC2086 # to be split
    set -- $seen
    [ "$3 $4 $5 $8" = "$mode $user $group $wanted" ] || refuse 1 "$new cannot have the owner and mode of $path"
}

ask() { # URL -> the status of the answer, 000 without one
    if command -v curl >/dev/null; then
        set -- -q -s -k -g -o /dev/null -m 10 --noproxy '*' -A 'Mozilla/5.0 (wpaudit)' -w '%{http_code}' "$1"
        answer=$(curl "$@" </dev/null 2>/dev/null)
        [ "${answer:-000}" != 000 ] || answer=$(curl --connect-to '::127.0.0.1:' "$@" </dev/null 2>/dev/null)
        printf %s "${answer:-000}"
    elif command -v php >/dev/null; then
        php -r '
            $http = array("ignore_errors" => true, "timeout" => 10, "follow_location" => 0, "user_agent" => "Mozilla/5.0 (wpaudit)");
            $tls = array("verify_peer" => false, "verify_peer_name" => false);
            @file_get_contents($argv[1], false, stream_context_create(array("http" => $http, "ssl" => $tls)));
            $said = isset($http_response_header[0]) ? explode(" ", $http_response_header[0]) : array();
            echo isset($said[1]) ? substr($said[1], 0, 3) : "000";' -- "$1" </dev/null 2>/dev/null || printf 000
    else
        printf 000
    fi
}

same() { # URL STATUS: is it answered so? Asked three times, since a busy server may say anything once
    for try in 1 2 3; do
        said=$(ask "$1?$word$try")
        [ "$said" != "$2" ] || return 0
    done
    return 1
}

try_out() { # NUMBER URL FOLDER -> status: how a page of ours fares with the old text, and with the new one
    known "$1"
    plain "$3/wpaudit-canary-$word-$1"
    canary=$plain
    printf '%s\n' "$3/wpaudit-canary-$word-$1" | note "$1.canary" || refuse 1 "$dir cannot be written"
    mkdir -- "$canary" 2>/dev/null && chmod 755 "$canary" && printf 'wpaudit\n' >"$canary/page.txt" &&
        cat -- "$backup" >"$canary/${path##*/}" && chmod 644 "$canary/page.txt" "$canary/${path##*/}" ||
        refuse 1 "no directory can be made in ${canary%/*}, so nobody could try the new text first"
    status=$(ask "$2?$word")
    [ "$status" != 000 ] || refuse 3 "the host cannot ask its own web server for $2, so nobody could try the new text first"
    cat -- "$new" >"$canary/page.new" && chmod 644 "$canary/page.new" && mv -f -- "$canary/page.new" "$canary/${path##*/}"
    agreed "$2"
    printf '%s\n' "$status" | note "$1.status" || refuse 1 "$dir cannot be written"
}

agreed() { # URL
    same "$1" "$status" || refuse 4 "the web server answers $said instead of $status with the text for $path, so it was not used"
}

try_out_all() {
    cat >"$dir/pages"
    while read -r number url folder; do try_out "$number" "$url" "$folder"; done <"$dir/pages"
}

in_place() { # after look: is it the original file, or the newest text of ours?
    [ "$seen" = "$before" ] || [ "$seen" = "${after##*"$newline"}" ]
}

stage() {
    read -r number && read -r wanted && read -r expires || refuse 1 'nothing was said'
    known "$number"
    look "$path"
    in_place || refuse 5 "somebody else changed $path meanwhile"
    rm -f -- "$new"
    if [ "$wanted" = "${before##* }" ]; then
        ln -- "$backup" "$new" 2>/dev/null || refuse 1 "no second name can be made for $backup"
        look "$new"
        [ "$seen" = "$before" ] || refuse 5 "somebody else changed $backup"
    else
        beside
    fi
    if [ -n "$canary" ]; then
        sed "s/<IfDefine wpaudit-/<IfDefine !wpaudit-/; s/$expires/00000000000000/g" <"$new" >"$canary/page.new" && chmod 644 "$canary/page.new" &&
            mv -f -- "$canary/page.new" "$canary/${path##*/}" || refuse 1 "$canary cannot be written"
    fi
    # What is in place stays known until the new text is: whoever has to put back may come in between.
    printf '%s\n%s\n' "${after##*"$newline"}" "$seen" | note "$number.after" || refuse 1 "$dir cannot be written"
}

turn() {
    cat >"$dir/turned"
    while read -r number url folder; do
        known "$number"
        status=$(cat "$dir/$number.status")
        agreed "$url"
    done <"$dir/turned"
    while read -r number url folder; do
        known "$number"
        look "$path"
        [ "$seen" = "$before" ] || [ "$seen" = "${after%%"$newline"*}" ] || refuse 5 "somebody else changed $path meanwhile"
        look "$new"
        [ "$seen" = "${after##*"$newline"}" ] || refuse 5 "somebody else changed $new"
        mv -f -- "$new" "$path" || refuse 1 "$path cannot be replaced"
    done <"$dir/turned"
}

ours() { # after look: is it one of our texts?
    case $newline$after$newline in
        *"$newline$seen$newline"*) [ -n "$seen" ] ;;
        *) return 1 ;;
    esac
}

replace() { # NUMBER
    known "$1"
    look "$path"
    [ "$seen" = "$before" ] || refuse 1 "somebody else changed $path meanwhile"
    look "$new"
    [ "$seen" = "$after" ] || refuse 1 "somebody else changed $new"
    mv -f -- "$new" "$path" || refuse 1 "$path cannot be replaced"
    look "$backup"
    [ "$seen" = "$before" ] || refuse 1 "somebody else changed $path meanwhile" # written to under its old name
}

commit() {
    cat >"$dir/pages"
    statuses=''
    while read -r number url folder; do
        try_out "$number" "$url" "$folder"
        statuses="$statuses $status"
    done <"$dir/pages"
    while read -r number url folder; do replace "$number"; done <"$dir/pages"
    while read -r number url folder; do
        statuses=${statuses# }
        same "$url" "${statuses%% *}" && { statuses=${statuses#* }; continue; }
        back >/dev/null
        refuse 4 "the web server answered $said instead of ${statuses%% *} for $url, so the files were put back at once"
    done <"$dir/pages"
}

done_with() { # NUMBER; what was told once is forgotten then
    if [ -n "$canary" ] && [ -d "$canary" ] && [ ! -L "$canary" ]; then
        rm -f -- "$canary/page.txt" "$canary/page.new" "$canary/${path##*/}"
        rmdir -- "$canary" || { printf '%s cannot be removed\n' "$canary"; failed=1; return; }
    fi
    rm -f -- "$new"
    [ -z "$1" ] || rm -f -- "$dir/$1.path"
}

back() {
    failed=0
    for noted in "$dir"/*.path; do
        [ -e "$noted" ] || continue
        number=${noted##*/}
        number=${number%.path}
        known "$number"
        look "$backup"
        kept=$seen
        look "$path"
        if ours && [ "$(inode "$kept")" = "$(inode "$before")" ]; then
            mv -f -- "$backup" "$path"
            look "$path"
        fi
        if [ -n "$seen" ] && [ "$(inode "$seen")" = "$(inode "$before")" ]; then
            [ "$(inode "$kept")" != "$(inode "$before")" ] || rm -f -- "$backup"
            done_with "$number"
            [ "$seen" = "$before" ] && continue
            printf 'somebody wrote to %s meanwhile; it has what they wrote, and nothing of wpaudit\n' "$path"
        elif [ -z "$kept" ] && [ -e "$dir/$number.told" ]; then
            done_with "$number" # somebody has decided
            continue
        else
            done_with ''
            printf 'somebody changed %s meanwhile, so it was left as it is; what was there before is %s: move it back, or remove it to keep theirs\n' \
                "$path" "$backup"
            : >"$dir/$number.told"
        fi
        failed=1
    done
    return "$failed"
}

"$1"
