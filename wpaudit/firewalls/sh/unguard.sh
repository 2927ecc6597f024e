# The way back of packet filter rules that a run has moved behind guards; ends the run's own web server too.
#   $0 lies in the directory of the run. Calls, one a rule, stand behind this text in a function "every".
# At any time, any number of times. A rule is put back only where the jump to its guard still stands in its place, with
# the counters that its copy has by then. Whatever somebody else changed meanwhile stays, and is told: status 1. It
# writes no file, so it works on a full disk.
dir=${0%/*}
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
LC_ALL=C
export PATH LC_ALL
failed=0
tab=$(printf '\t')
newline='
'

tell() { printf '%s\n' "$1"; failed=1; }

lost() { # ID TEXT: told to whoever listens, once; nobody does when the run was killed
    [ -e "$dir/untold" ] || return 0
    tell "$1 was changed or removed by somebody else meanwhile, so it was left as it is; before it was: $2"
}

uncounted() { # what differs between two listings when packets came by, taken out
    sed -e 's/counter packets [0-9][0-9]* bytes [0-9][0-9]*/counter/g' -e 's/ used [0-9][0-9]* [a-z][a-z]*/ used/g' \
        -e 's/ last never/ last/g' -e 's/ last used [^ ]*/ last/g'
}

nft_rules() { # FAMILY TABLE CHAIN: the rules, each with its handle
    nft -a list chain "$1" "$2" "$3" 2>/dev/null | sed -n "s/^$tab$tab\(.* # handle [0-9]*\)\$/\1/p"
}

nft_rule() { # FAMILY TABLE CHAIN HANDLE GUARD TEXT COUNT RETURNS SETS
    here=$(nft_rules "$1" "$2" "$3")
    jumps=$(printf '%s\n' "$here" | grep -Fxc -- "jump $5 comment \"wpaudit\" # handle $4")
    wanted=$(printf '%s\n' "$6" | uncounted)
    if [ "$step" = back ]; then
        [ "$jumps" = 1 ] || return 0
        inside=$(nft_rules "$1" "$2" "$5" | sed 's/ # handle [0-9]*$//')
        copy=${inside##*"$newline"}
        [ "$inside" = "${8:+$8$newline}$copy" ] && [ "$(printf '%s\n' "$copy" | uncounted)" = "$wanted" ] || return 0
        {
            printf '%s\n' "flush chain $1 $2 $5" "replace rule $1 $2 $3 handle $4 $copy" "delete chain $1 $2 $5"
            for set in $9; do printf 'delete set %s %s %s\n' "$1" "$2" "$set"; done
        } | nft -f - 2>&1
        return 0
    fi
    if [ "$jumps" != 0 ]; then
        tell "the guard of $1 $2 $3 handle $4 was changed by somebody else meanwhile, so the rule is still behind it: nft -a list chain $1 $2 $5"
        return
    fi
    if nft list chain "$1" "$2" "$5" >/dev/null 2>&1; then
        nft "flush chain $1 $2 $5; delete chain $1 $2 $5" 2>/dev/null || tell "the chain $1 $2 $5 cannot be removed: something leads to it"
    fi
    for set in $9; do
        nft list set "$1" "$2" "$set" >/dev/null 2>&1 || continue
        nft delete set "$1" "$2" "$set" 2>/dev/null || tell "the set $1 $2 $set cannot be removed: something uses it"
    done
    # By its handle; or anywhere in its chain, when somebody has loaded all rules anew.
    plain=$(printf '%s\n' "$here" | uncounted)
    printf '%s\n' "$plain" | grep -Fxq -- "$wanted # handle $4" && return
    found=$(printf '%s\n' "$plain" | sed 's/ # handle [0-9]*$//' | grep -Fxc -- "$wanted")
    [ "$found" -ge "$7" ] || lost "$1 $2 $3 handle $4" "$6"
}

iptables_rules() { # TOOL TABLE PATTERN: the rules of a chain, with their counters in front
    "$1-save" -c -t "$2" 2>/dev/null | sed -n "s/^\(\[[0-9]*:[0-9]*\]\) -A $3 /\1 /p"
}

iptables_rule() { # TOOL TABLE CHAIN PATTERN GUARD TEXT COUNT RETURNS SETS SPELLING ID
    here=$(iptables_rules "$1" "$2" "$4")
    jump="-m comment --comment wpaudit -j $5"
    place=$(printf '%s\n' "$here" | sed 's/^[^ ]* //' | grep -nFx -- "$jump" | cut -d: -f1)
    if [ "$step" = back ]; then
        case $place in '' | *[!0-9]*) return 0 ;; esac
        inside=$(iptables_rules "$1" "$2" "$5")
        last=${inside##*"$newline"}
        [ "$(printf '%s\n' "$inside" | sed 's/^[^ ]* //')" = "${8:+$8$newline}$6" ] || return 0
        printf '%s\n' "*$2" "-D $3 $jump" "${last%% *} -I $3 $place ${10}" "-F $5" "-X $5" COMMIT |
            "$1-restore" --noflush --counters --wait 5 2>&1
        return 0
    fi
    if [ -n "$place" ]; then
        tell "the guard of ${11} was changed by somebody else meanwhile, so the rule is still behind it: $1 -t $2 -S $5"
        return
    fi
    if "$1" --wait 5 -t "$2" -S "$5" >/dev/null 2>&1; then
        "$1" --wait 5 -t "$2" -F "$5" && "$1" --wait 5 -t "$2" -X "$5" 2>/dev/null ||
            tell "the chain $5 of $1 cannot be removed: something leads to it"
    fi
    for set in $9; do
        tries=0
        while ipset list -name 2>/dev/null | grep -Fxq -- "$set"; do
            # The kernel lets go of a rule's set a moment after the rule.
            ipset destroy "$set" 2>/dev/null && break
            tries=$((tries + 1))
            [ "$tries" -lt 50 ] || { tell "the set $set cannot be removed: something uses it"; break; }
            sleep 0.1 2>/dev/null || sleep 1
        done
    done
    found=$(printf '%s\n' "$here" | sed 's/^[^ ]* //' | grep -Fxc -- "$6")
    [ "$found" -ge "$7" ] || lost "${11}" "-A $3 $6"
}

account_of() { # /proc/PID, which belongs to root when its process has changed its account
    sed -n "s/^Uid:[ $tab]*[0-9]*[ $tab]*\([0-9]*\).*/\1/p" "$1/status" 2>/dev/null
}

ours() { # the processes of our own nginx: those with our file on their command line, and workers of the account nobody else uses
    net=$(readlink /proc/self/ns/net)
    for one in $(grep -lsx nginx /proc/[0-9]*/comm); do
        one=${one%/comm}
        if grep -Fqs -- "$dir/shadow.conf" "$one/cmdline" ||
            { [ "$(account_of "$one")" = "$1" ] && [ "$(readlink "$one/ns/net" 2>/dev/null)" = "$net" ]; }; then
            printf '%s ' "${one#/proc/}"
        fi
    done
}

end_shadow() { # UID
    tries=0
    while pids=$(ours "$1") && [ -n "$pids" ]; do
        case $tries in 0) signal=TERM ;; 20 | 30 | 40) signal=KILL ;; *) signal='' ;; esac
        # shellcheck disable=SC2086 # numbers, to be split
        [ -z "$signal" ] || kill -s "$signal" $pids 2>/dev/null
        tries=$((tries + 1))
        [ "$tries" -lt 60 ] || { tell "the second nginx cannot be ended: processes $pids"; return; }
        sleep 0.1 2>/dev/null || sleep 1
    done
}

step=back
every
step=check
every
# Told to somebody: the next time it is no news. Without a listener the output goes nowhere.
case $(readlink "/proc/$$/fd/1") in /dev/null) ;; *) [ "$failed" -eq 0 ] || rm -f -- "$dir/untold" ;; esac
exit "$failed"
