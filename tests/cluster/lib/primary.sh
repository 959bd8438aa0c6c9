# The cluster's primary network: what gives pods eth0 before multus is there. Sourced.
# MRS_PRIMARY chooses it:
#   bridge    Debian's Go plugins bridge, host-local and portmap; the nodes route to each other (default)
#   flannel   flannel's Go plugin, and a VXLAN between the nodes. flanneld itself is not to be had as a Go module, so what it would
#             set up and write is made here.

find_primary() {
    case ${MRS_PRIMARY:=bridge} in
    bridge) ;;
    flannel) find_flannel ;;
    *) die "MRS_PRIMARY=$MRS_PRIMARY: expected bridge or flannel" ;;
    esac
}

# Built once, into the cache.
find_flannel() {
    local folder=$CLUSTER/flannel
    FLANNEL=$CACHE/flannel-$(sha256sum <"$folder/go.sum" | cut -c1-16)
    [[ -x $FLANNEL ]] && return
    say "building flannel's plugin"
    (cd "$folder" && CGO_ENABLED=0 GOFLAGS=-mod=readonly go build -trimpath -ldflags="-s -w" -o "$FLANNEL" \
        github.com/containernetworking/plugins/plugins/meta/flannel)
}

# prepare_primary NODE: plugins and configuration, in the node's folder.
# MRS_CNI_EXTRA names more of Debian's plugins to copy (as "static tuning").
prepare_primary() {
    local number plugin fs=$STATE/$1/fs
    number=$(node_number "$1")
    for plugin in bridge host-local portmap loopback ${MRS_CNI_EXTRA-}; do
        cp "/usr/lib/cni/$plugin" "$fs/opt/cni/bin/$plugin"
    done
    case $MRS_PRIMARY in
    bridge) bridge_conf "$number" >"$fs/etc/cni/net.d/10-primary.conflist" ;;
    flannel)
        cp "$FLANNEL" "$fs/opt/cni/bin/flannel"
        flannel_conf >"$fs/etc/cni/net.d/10-flannel.conflist"
        mkdir -p "$fs/etc/cni/flannel"
        printf 'FLANNEL_NETWORK=%s.0.0/16\nFLANNEL_SUBNET=%s.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n' \
            "$POD_NET" "$POD_NET.$number" >"$fs/etc/cni/flannel/subnet.env"
        ;;
    esac
}

bridge_conf() {
    cat <<EOF
{
  "cniVersion": "1.0.0",
  "name": "primary",
  "plugins": [
    {
      "type": "bridge",
      "bridge": "cni0",
      "isGateway": true,
      "ipMasq": false,
      "ipam": {
        "type": "host-local",
        "ranges": [[{"subnet": "$POD_NET.$1.0/24"}]],
        "routes": [{"dst": "0.0.0.0/0"}]
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
EOF
}

# The keys that flannel's own manifest has, and subnetFile: the node's /run does not exist yet.
flannel_conf() {
    cat <<EOF
{
  "name": "cbr0",
  "cniVersion": "0.3.1",
  "plugins": [
    {"type": "flannel", "subnetFile": "/etc/cni/flannel/subnet.env", "delegate": {"hairpinMode": true, "isDefaultGateway": true}},
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
EOF
}

# connect_primary NODE: the way to the pods of the other nodes.
connect_primary() {
    local node=$1 other
    [[ $MRS_PRIMARY == flannel ]] && make_vxlan "$node"
    for other in "${NODES[@]}"; do
        [[ $other == "$node" ]] || "connect_by_$MRS_PRIMARY" "$node" "$other"
    done
}

connect_by_bridge() {
    ip -n "$(netns_of "$1")" route add "$POD_NET.$(node_number "$2").0/24" via "$(node_address "$2")"
}

make_vxlan() {
    ip -n "$(netns_of "$1")" -batch - <<EOF
link add flannel.1 address $(vxlan_mac "$1") mtu 1450 type vxlan id 1 local $(node_address "$1") dev eth0 dstport 8472 nolearning
addr add $POD_NET.$(node_number "$1").0/32 dev flannel.1
link set flannel.1 up
EOF
}

connect_by_flannel() {
    local ns net
    ns=$(netns_of "$1") net=$POD_NET.$(node_number "$2")
    ip -n "$ns" neigh add "$net.0" lladdr "$(vxlan_mac "$2")" dev flannel.1 nud permanent
    bridge -n "$ns" fdb append "$(vxlan_mac "$2")" dev flannel.1 dst "$(node_address "$2")"
    ip -n "$ns" route add "$net.0/24" via "$net.0" dev flannel.1 onlink
}

vxlan_mac() { printf '02:f1:00:00:00:%02x' "$(node_number "$1")"; }
