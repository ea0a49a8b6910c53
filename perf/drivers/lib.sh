# Sourced by the drivers beside it, each of which describes one BGP daemon in a few functions:
#
#   program          path of the daemon's binary as installed, or nothing
#   version          one line that names daemon and version; "$binary" is the program to ask
#   settings         one line: what differs from the defaults, for the result
#   configure        the configuration on stdout, from the variables below
#   start            becomes the daemon (exec), in the foreground, listening on 127.0.0.1:"$port"
#   ready            optional: succeeds once the daemon knows all neighbors; that it listens is asked anyway
#   reload           optional: makes the running daemon obey what `configure` says now
#
# `refuse` in one of them says why the daemon can't do what is asked.
#
# Variables: dir (empty at start, the daemon's own), port, kind (external, internal, route-server),
# family (ipv4, ipv6), neighbors (a file of "ADDRESS ASN" lines), communities (yes, or no: to be
# stripped on export), binary, and `own_asn`, `router_id` of the daemon.
#
# As a command: DRIVER version | settings | start DIR PORT NEIGHBORS KIND | ready DIR | reload DIR.
# BINARY takes the place of the installed program, FAMILY is ipv4 unless it says ipv6. Exit code 3:
# the daemon isn't there, or can't do what is asked; the reason is on stderr.
set -euo pipefail
export LC_ALL=C
own_asn=65000
router_id=127.0.0.1
cluster_id=127.0.0.1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
name=$(basename "$0")
communities=yes

refuse() {
    echo "$name: $*" >&2
    exit 3
}

ready() { :; }
reload() { refuse "no way is known to change the policy of the running daemon"; }

# The installed or given program, as an absolute path.
find_binary() {
    local wanted=${BINARY:-$(program)}
    [ -n "$wanted" ] || refuse "not installed"
    binary=$(type -P "$wanted") || refuse "$wanted is not a program"
    binary=$(realpath "$binary")
}

# The path of the first of these that is a program.
first_of() {
    local candidate
    for candidate in "$@"; do
        type -P "$candidate" && return
    done
    return 0
}

# The daemon's client of this name: from the same build if it is there.
beside() {
    local directory
    directory=$(dirname "$binary")
    first_of "$directory/$1" "$directory/../bin/$1" "$1"
}

# What `start` was told, for the commands that follow.
remember() {
    local variable
    for variable in port kind family neighbors binary; do
        printf '%s=%q\n' "$variable" "${!variable}"
    done >"$dir/driver.env"
}

recall() {
    dir=$(realpath "$1")
    # shellcheck disable=SC1091
    source "$dir/driver.env"
}

run() {
    local command=${1:-}
    case $command in
    version | settings)
        find_binary
        "$command"
        ;;
    start)
        [ $# -eq 5 ] || refuse "usage: $name start DIR PORT NEIGHBORS KIND"
        dir=$(realpath "$2") port=$3 neighbors=$(realpath "$4") kind=$5 family=${FAMILY:-ipv4}
        find_binary
        remember
        cd "$dir"
        start
        ;;
    ready)
        recall "$2"
        ready
        ;;
    reload)
        recall "$2"
        communities=no
        cd "$dir"
        reload
        ;;
    *)
        echo "usage: $name version | settings | start DIR PORT NEIGHBORS KIND | ready DIR | reload DIR" >&2
        exit 2
        ;;
    esac
}
