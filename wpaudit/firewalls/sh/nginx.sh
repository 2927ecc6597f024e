# Says which nginx run in our network, what they are built with, under which group their workers are, and which accounts
# of the system nobody uses. Lines "WORD VALUES".
LC_ALL=C
export LC_ALL
tab=$(printf '\t')

said() { # FIELD FILE: the second number, that of now, of a line of /proc/PID/status
    sed -n "s/^$1:[ $tab]*[0-9]*[ $tab]*\([0-9]*\).*/\1/p" "$2" 2>/dev/null
}

net=$(readlink /proc/self/ns/net)
for one in $(grep -lsx nginx /proc/[0-9]*/comm); do
    one=${one%/comm}
    [ "$(readlink "$one/ns/net" 2>/dev/null)" = "$net" ] || continue
    read -r pid called state parent rest 2>/dev/null <"$one/stat" || continue
    title=$(tr '\0\n' '  ' <"$one/cmdline" 2>/dev/null | head -c 4000)
    case $title in
        'nginx: master process '*)
            exe=$(readlink "$one/exe")
            exe=${exe%' (deleted)'}
            printf 'master %s %s\n' "$pid" "${title#nginx: master process }"
            printf 'exe %s %s\n' "$pid" "$exe"
            printf 'built %s %s\n' "$pid" "$("$exe" -V 2>&1 </dev/null | tr '\n' ' ' | head -c 20000)"
            ;;
        'nginx: worker process'*)
            gid=$(said Gid "$one/status")
            group=$(getent group "$gid" 2>/dev/null || grep "^[^:]*:[^:]*:$gid:" /etc/group)
            printf 'worker %s %s %s\n' "$parent" "$gid" "${group%%:*}"
            ;;
    esac
done
used=$(cat /proc/[0-9]*/status 2>/dev/null | sed -n "s/^Uid:[ $tab]*[0-9]*[ $tab]*\([0-9]*\).*/\1/p" | sort -u)
while IFS=: read -r name word uid gid comment home shell; do
    case $uid in '' | 0 | *[!0-9]*) continue ;; esac
    case $name in nobody | *[!a-z0-9_-]*) continue ;; esac
    case $shell in */nologin | */false) ;; *) continue ;; esac
    [ "$uid" -lt 1000 ] || continue
    printf '%s\n' "$used" | grep -Fqx -- "$uid" || printf 'account %s %s\n' "$name" "$uid"
done </etc/passwd
