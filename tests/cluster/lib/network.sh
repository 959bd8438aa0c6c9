# How the machines are wired: one bridge in the control plane's namespace, one eth0 per node. Sourced.
# All links are created inside the namespaces; the host's network has none of them.

# Pods and nodes reach the API server as in any cluster, at the service address 10.96.0.1:443, without
# kube-proxy: the control plane has that address and is the default route of all nodes.
make_control_plane_network() {
    ip netns add "$CP_NS"
    ip -n "$CP_NS" -batch - <<EOF
link set lo up
addr add $SERVICE_NET.1/32 dev lo
link add br0 type bridge mcast_snooping 0
addr add $SUBNET.1/24 dev br0
link set br0 up
EOF
    forward_in "$CP_NS"
}

# macvlan children of eth0 have their own MAC addresses; a veth and a plain bridge forward their frames.
make_node_network() {
    local node=$1 ns address
    ns=$(netns_of "$node") address=$(node_address "$node")
    ip netns add "$ns"
    ip -n "$CP_NS" link add "$node" type veth peer name eth0 netns "$ns"
    ip -n "$CP_NS" link set "$node" master br0 up
    ip -n "$ns" -batch - <<EOF
link set lo up
addr add $address/24 dev eth0
link set eth0 up
route add default via $SUBNET.1
EOF
    # The control plane reaches the primary network's pods over their node.
    ip -n "$CP_NS" route add "$POD_NET.$(node_number "$node").0/24" via "$address"
    forward_in "$ns"
}

# /proc/sys/net shows the namespace of the process that opens it.
forward_in() { nsenter --net="/run/netns/$1" -- sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'; }
