# Starts the second nginx of a run; "unguard" ends it.
#   $0 lies in the directory of the run; stdin: its command line, then its configuration
dir=${0%/*}
umask 077
IFS= read -r command || exit 1
cat >"$dir/shadow.conf" || exit 1
chmod 711 "$dir" # its workers have files of their own in there
cd / || exit 1 # where a service is started: some files of modules are relative to that
eval "$command -t -q" || exit 1
eval "exec $command"
