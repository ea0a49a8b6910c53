# Sourced by the scripts beside it: builds, makes a directory of manifests, runs the daemon in it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

port=${PORT:-17179}
work=$(mktemp -d)
manifests=$work/manifests
admin=$work/ringbgp.sock
mkdir "$manifests"
daemon=
trap 'stop_daemon; rm -rf "$work"' EXIT

build() {
    cargo build --release --quiet -p engine -p loadgen
    ringbgp=$PWD/target/release/ringbgp
    loadgen=$PWD/target/release/ringbgp-loadgen
}

# Neighbors 127.1.0.1 and on, AS 65002, which dial; the daemon has AS 65001 on 127.0.0.1.
write_config() { # NEIGHBORS
    {
        cat <<YAML
apiVersion: cilium.io/v2alpha1
kind: CiliumConfig
metadata: {name: cilium-config}
spec:
  bgpPeering:
    listenAddresses: [127.0.0.1]
    listenPort: $port
    routerID: 192.0.2.1
    localASN: 65001
    guard: {allow: [{prefix: 20.0.0.0/7, ge: 8, le: 32}]}
    neighbors:
    - peerASN: 65002
      passive: true
      families: [{afi: ipv4, safi: unicast}]
      peerAddresses:
YAML
        for number in $(seq 0 $(($1 - 1))); do
            echo "      - 127.1.$((number / 250)).$((number % 250 + 1))"
        done
    } >"$manifests/config.yaml"
}

# A policy whose CIDRs are these lines.
policy() {
    cat <<YAML
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: measured, namespace: default}
spec:
  endpointSelector: {}
  egress:
  - toCIDR:
YAML
    sed 's/.*/    - &/'
}

# The CIDRs FIRST to LAST of a row of /24 within 20.0.0.0/7.
cidrs() { # FIRST LAST
    awk -v first="$1" -v last="$2" 'BEGIN {
        for (n = first; n <= last; n++)
            printf "%d.%d.%d.0/24\n", 20 + int(n / 65536), int(n / 256) % 256, n % 256
    }'
}

start_daemon() {
    "$ringbgp" run --manifests "$manifests" --node-name node-1 --admin "$admin" \
        --log-level "${LOG_LEVEL:-warn}" "$@" &
    daemon=$!
    for _ in $(seq 200); do
        "$ringbgp" peers --admin "$admin" >/dev/null 2>&1 && return
        kill -0 "$daemon" 2>/dev/null || break
        sleep 0.05
    done
    echo "the daemon did not come up" >&2
    exit 1
}

stop_daemon() {
    [ -n "$daemon" ] && kill "$daemon" 2>/dev/null && wait "$daemon" 2>/dev/null || true
    daemon=
}

machine() {
    echo "$(nproc) cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), Linux $(uname -r)"
}
