# Which cluster: names, folders and addresses of one instance. Sourced, after say.sh.
# The name alone identifies an instance. Everything that an instance creates carries the name, so `down` finds
# and removes it even without the instance's folder.

NODES=(node1 node2)

# Short, because unix sockets below it have a path limit of 108 bytes.
STATE_ROOT=/var/tmp/multus-rs
SERVICE_NET=10.96.0
POD_NET=10.244
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/multus-rs

LIB=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
CLUSTER=$(dirname "$LIB")
REPO=$(dirname "$(dirname "$CLUSTER")")

# use_instance NAME: sets INSTANCE, STATE and CP_NS.
use_instance() {
    [[ ${1-} =~ ^[a-z][a-z0-9]{0,9}$ ]] ||
        die "instance name '${1-}': expected a small letter, then up to 9 small letters or digits"
    [[ $EUID == 0 ]] || die "the cluster needs root (namespaces, mounts, cgroups): run it with sudo"
    INSTANCE=$1
    STATE=$STATE_ROOT/$INSTANCE
    CP_NS=$(netns_of cp)
    export KUBECONFIG=$STATE/cp/admin.kubeconfig
}

# netns_of cp|node1|node2
netns_of() { echo "mrs-$INSTANCE-$1"; }

# node_number node1 -> 1
node_number() { echo "${1#node}"; }

# Everyone may write to the parent folder, and the path is predictable: use it only if it belongs to root.
make_state_root() {
    mkdir -p -m 0700 "$STATE_ROOT"
    [[ -d $STATE_ROOT && ! -L $STATE_ROOT && -O $STATE_ROOT ]] ||
        die "$STATE_ROOT is not a folder owned by root: remove it and try again"
}

# Only one `up` or `down` of an instance at a time. The holder removes the lock file, so check that the locked
# file is still the one at that path.
lock_instance() {
    local file=$STATE_ROOT/.lock-$INSTANCE
    make_state_root
    while :; do
        exec {LOCK_FD}>"$file"
        flock -n "$LOCK_FD" || {
            say "another up or down of '$INSTANCE' is running, waiting for it"
            flock -w 120 "$LOCK_FD" || die "the other up or down of '$INSTANCE' did not end in 120 s"
        }
        [[ $file -ef /proc/self/fd/$LOCK_FD ]] && return
        exec {LOCK_FD}>&-
    done
}

# The last instance removes the common folder too.
unlock_instance() {
    rm -f "$STATE_ROOT/.lock-$INSTANCE"
    exec {LOCK_FD}>&-
    rmdir --ignore-fail-on-non-empty "$STATE_ROOT/.subnets" "$STATE_ROOT" 2>/dev/null || true
}

# Each instance has 172.30.I.0/24 of its own: a link named I points to the instance that holds it.
# Creating a link fails if it exists, so two instances cannot take the same subnet.
claim_subnet() {
    local i
    mkdir -p "$STATE_ROOT/.subnets"
    for ((i = 1; i < 255; i++)); do
        ln -s "$INSTANCE" "$STATE_ROOT/.subnets/$i" 2>/dev/null && return
    done
    die "all 254 subnets are taken: look into $STATE_ROOT/.subnets, and take clusters down"
}

release_subnet() {
    local link
    for link in "$STATE_ROOT"/.subnets/*; do
        if [[ $(readlink "$link") == "$INSTANCE" ]]; then rm -f "$link"; fi
    done
}

# find_subnet: sets SUBNET (three bytes, as 172.30.1) and API_URL; false if the instance holds none.
find_subnet() {
    local link
    for link in "$STATE_ROOT"/.subnets/*; do
        [[ $(readlink "$link") == "$INSTANCE" ]] || continue
        SUBNET=172.30.$(basename "$link")
        API_URL=https://$SUBNET.1:443
        return 0
    done
    return 1
}

node_address() { echo "$SUBNET.1$(node_number "$1")"; }

# require_up: for the scripts that use a running cluster.
require_up() {
    [[ -s $KUBECONFIG && -e /run/netns/$CP_NS ]] ||
        die "cluster '$INSTANCE' is not up: run tests/cluster/up $INSTANCE"
    find_subnet || die "cluster '$INSTANCE' has lost its subnet: run tests/cluster/up $INSTANCE"
}

# in_cp CMD...: run in the control plane's network. Not `ip netns exec`, which remounts /sys.
in_cp() { nsenter --net="/run/netns/$CP_NS" -- "$@"; }

# node_pid NODE: the host's process id of the node's init; false when the node is not running.
# The kernel reuses process ids, so check that the process carries our mark.
node_pid() {
    local pid
    pid=$(cat "$STATE/$1/init.pid" 2>/dev/null) &&
        grep -qsz "^MRS_DAEMON=$INSTANCE\$" "/proc/$pid/environ" && echo "$pid"
}

# in_node NODE CMD...: run in all namespaces of the node.
in_node() {
    local pid node=$1
    shift
    pid=$(node_pid "$node") || die "$node of cluster '$INSTANCE' is not running: run tests/cluster/up $INSTANCE"
    nsenter --target "$pid" --mount --net --pid --uts -- \
        env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin CONTAINERD_NAMESPACE=k8s.io "$@"
}
