# A node as seen from outside: its folder, its configuration, its start, its readiness. Sourced.
# What happens inside is in node-init.

. "$LIB/node-folders.sh"

# $STATE/NODE/fs holds the folders that the node mounts over its own paths of the same name.
prepare_node() {
    local node=$1 fs=$STATE/$1/fs
    mkdir -p "$STATE/$node/root" "${NODE_FOLDERS[@]/#/$fs}"
    mkdir -p "$fs/opt/cni/bin" "$fs/etc/cni/net.d" "$fs/var/log/pods" "$fs/var/log/containers"
    prepare_containerd "$node"
    trust_registry "$node"
    prepare_kubelet "$node"
    prepare_primary "$node"
    make_node_cgroups "$(netns_of "$node")"
}

prepare_containerd() {
    local snapshotter=overlayfs
    # overlayfs cannot have its upper folder on another overlayfs (a cluster inside a container).
    [[ $(stat -f -c %T "$STATE") == overlayfs ]] && snapshotter=native
    cat >"$STATE/$1/fs/etc/containerd/config.toml" <<EOF
version = 2
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs"]

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$PAUSE_IMAGE"
  disable_apparmor = true
  # Without CAP_SYS_RESOURCE runc fails when it has to lower an oom score.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "/etc/containerd/certs.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "$snapshotter"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
EOF
}

prepare_kubelet() {
    local node=$1 etc=$STATE/$1/fs/etc/kubernetes
    make_kubeconfig "$node" "$etc/kubelet.kubeconfig"
    cp "$STATE/pki/ca.crt" "$etc/ca.crt"
    cp "$STATE/pki/$node.crt" "$etc/kubelet.crt"
    install -m 0600 "$STATE/pki/$node.key" "$etc/kubelet.key"
    cat >"$etc/kubelet.yaml" <<EOF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $(node_address "$node")
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: /etc/kubernetes/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: /etc/kubernetes/kubelet.crt
tlsPrivateKeyFile: /etc/kubernetes/kubelet.key
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /$(netns_of "$node")
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
# Images come from files, so the kubelet must never remove one.
imageMinimumGCAge: 1000h
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi, nodefs.available: "1%", imagefs.available: "1%"}
# There are no services, so iptables is not needed.
makeIPTablesUtilChains: false
hairpinMode: none
clusterDNS: [$SERVICE_NET.10]
resolvConf: ""
maxPods: 250
EOF
}

# --kill-child: when unshare is killed, the node's init is killed, and with it everything in the node.
start_node() {
    local node=$1
    MRS_DAEMON=$INSTANCE NODE=$node ADDRESS=$(node_address "$node") FOLDER=$STATE/$node API_URL=$API_URL \
        ASSETS=$ASSETS IMAGES=$IMAGES REPO=$REPO RUNTIME=$RUNTIME \
        setsid nsenter --net="/run/netns/$(netns_of "$node")" -- \
        unshare --mount --propagation private --uts --pid --fork --kill-child -- "$LIB/node-init" \
        </dev/null >"$STATE/$node/fs/var/log/init.log" 2>&1 {LOCK_FD}>&- &
    echo $! >"$STATE/$node/unshare.pid"
}

# A component that keeps stopping will not become ready: do not wait for the deadline then.
require_node() {
    local component log=$STATE/$1/fs/var/log
    kill -0 "$(cat "$STATE/$1/unshare.pid")" 2>/dev/null || die_with_log "$log/init.log" "the init of $1 has stopped"
    for component in containerd kubelet; do
        [[ $(wc -l 2>/dev/null <"$log/$component.stops") -lt 3 ]] ||
            die_with_log "$log/$component.log" "$component of $1 keeps stopping"
    done
}

# Ready, and without a taint that keeps pods away.
node_ready() {
    require_node "$1"
    api GET "/api/v1/nodes/$1" | jq -e '
        (.status.conditions // [] | any(.type == "Ready" and .status == "True")) and (.spec.taints // [] == [])' >/dev/null
}

default_account_exists() { api GET /api/v1/namespaces/default/serviceaccounts/default >/dev/null; }
