# What the overlay `hardened` denies and allows. Sourced by run.
# shellcheck disable=SC2154  # $work is the caller's

# as KUBECONFIG ARGS...: kubectl with the token of an account.
as() {
    local file=$1
    shift
    nsenter --net="/run/netns/mrs-$MRS_CLUSTER-cp" -- "$(tests/cluster/kube/assets)/kubectl" --kubeconfig "$file" --cache-dir="$work/cache" "$@"
}

# account NAME FILE [NODE]: writes a kubeconfig with a token of the account, bound to the node.
account() {
    local name=$1 file=$2 node=${3-} bound=()
    [[ -z $node ]] || bound=(--bound-object-kind Node --bound-object-name "$node")
    sed -E '/client-(certificate|key)/d' "/var/tmp/multus-rs/$MRS_CLUSTER/cp/admin.kubeconfig" >"$file"
    chmod 0600 "$file"
    KUBECONFIG=$file as "$file" config set-credentials "$name" --token="$(kubectl -n kube-system create token "$name" "${bound[@]}")" >/dev/null
    KUBECONFIG=$file as "$file" config set-context --current --user="$name" >/dev/null
}

claim() {
    jq -n --arg name "$1" --arg node "$2" '{apiVersion: "whereabouts.cni.cncf.io/v1alpha1", kind: "OverlappingRangeIPReservation",
        metadata: {name: $name, namespace: "kube-system", labels: {"whereabouts.multus-rs/node": $node}}, spec: {podref: "default/nobody"}}' >"$work/$1.json"
    echo "$work/$1.json"
}

# patch POD JSON: as multus' daemon. `kubectl patch --subresource` would read the status first, which the daemon may not.
patch() {
    local file=$work/multus server
    server=$(as "$file" config view -o jsonpath='{.clusters[0].cluster.server}')
    nsenter --net="/run/netns/mrs-$MRS_CLUSTER-cp" -- curl --silent --show-error --fail-with-body --insecure --max-time 20 --request PATCH \
        --header "Authorization: Bearer $(as "$file" config view --raw -o jsonpath='{.users[?(@.name=="multus-daemon")].user.token}')" \
        --header 'Content-Type: application/merge-patch+json' --data "$2" "$server/api/v1/namespaces/default/pods/$1/status"
}

of_hardened() {
    local own other node annotation="k8s.v1.cni.cncf.io/network-status" status
    node=$(kubectl get pod pod0 -o jsonpath='{.spec.nodeName}')
    own=pod0 other=pod2
    status=$(kubectl get pod "$own" -o json | jq -c --arg key "$annotation" '{metadata: {annotations: {($key): .metadata.annotations[$key]}}}')
    account multus-daemon "$work/multus" "$node"
    allowed "network-status of a pod of the node" patch "$own" "$status"
    denied "of another node" "network-status of a pod of another node" patch "$other" "$status"
    denied "no annotation but" "another annotation" patch "$own" '{"metadata": {"annotations": {"x/y": "z"}}}'
    denied "labels, finalizers or owners" "a label" patch "$own" '{"metadata": {"labels": {"x": "y"}}}'
    denied "may not write the status" "the status itself" patch "$own" '{"status": {"phase": "Failed"}}'
    account multus-daemon "$work/multus"
    denied "bound to no node" "a token without a node" patch "$own" "$status"

    account whereabouts "$work/whereabouts" "$node"
    allowed "a claim of the node" as "$work/whereabouts" create -f "$(claim 10.9.9.1 "$node")"
    denied "must be" "a claim of another node" as "$work/whereabouts" create -f "$(claim 10.9.9.2 elsewhere)"
    kubectl create -f "$(claim 10.9.9.3 elsewhere)" >/dev/null
    denied "of another node" "to delete a claim of another node" as "$work/whereabouts" -n kube-system delete overlappingrangeipreservation 10.9.9.3
    allowed "to delete a claim of the node" as "$work/whereabouts" -n kube-system delete overlappingrangeipreservation 10.9.9.1
    kubectl -n kube-system delete overlappingrangeipreservation 10.9.9.3 >/dev/null
    echo '{"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "whereabouts-daemon2", "namespace": "kube-system"}}' >"$work/lease.json"
    denied "only whereabouts-leader writes this" "a lease" as "$work/whereabouts" create -f "$work/lease.json"
    # The nodes' daemons have --never-lead, so whoever leads is a pod of the Deployment.
    [[ -n $(kubectl -n kube-system get lease whereabouts-daemon -o jsonpath='{.spec.holderIdentity}') ]] || die "nobody leads"

    # namespaceIsolation
    kubectl create namespace other >/dev/null
    wait_until 20 kubectl -n other get serviceaccount default >/dev/null || die "namespace other has no account"
    jq -n '{apiVersion: "v1", kind: "Pod", metadata: {name: "guest", namespace: "other", annotations: {"k8s.v1.cni.cncf.io/networks": "kube-system/macvlan-conf"}},
        spec: {terminationGracePeriodSeconds: 1, containers: [{name: "shell", image: "docker.io/library/busybox:mrs", imagePullPolicy: "Never", command: ["sleep", "1000"]}]}}' |
        kubectl apply -f - >/dev/null
    wait_until 30 refused_guest || { kubectl -n other get events; die "a pod was not refused a network of another namespace"; }
    kubectl delete namespace other >/dev/null
}

refused_guest() { kubectl -n other get events -o json | jq -r '.items[].message' | grep -q "namespace isolation enabled"; }
