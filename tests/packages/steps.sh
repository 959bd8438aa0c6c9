# Steps that all cases on a cluster take. Sourced by run, after tests/demo/scenario.sh. Needs functions `kubectl` and `in_cp`.
# shellcheck disable=SC2154  # $work is the caller's

# The heading and the command, as a user types it; its output only if it fails.
run() {
    say "$*"
    in_cp "$@" >"$work/output" 2>&1 || { cat "$work/output" >&2; die "failed: $*"; }
}

# Name, UID, restarts and net1's address of VMware's pods.
pods_now() {
    kubectl get pods "${PODS[@]}" -o json | jq -r '.items[] | "\(.metadata.name) \(.metadata.uid) \(.status.containerStatuses[0].restartCount) " +
        (.metadata.annotations["k8s.v1.cni.cncf.io/network-status"] | fromjson | map(select(.interface == "net1"))[0].ips[0])'
}

vmwares_scenario() {
    start_pods >/dev/null
    check_pods >"$work/checks" || { cat "$work/checks" >&2; die "VMware's scenario failed"; }
    before=$(pods_now)
}

pods_are_as_before() {
    [[ $(pods_now) == "$before" ]] || die "the pods have changed: $(diff <(echo "$before") <(pods_now))"
    check_pods >"$work/checks" || { cat "$work/checks" >&2; die "VMware's scenario failed $1"; }
}

# rolled_out NAMESPACE SET: every pod of the DaemonSet is the newest and ready.
rolled_out() {
    kubectl -n "$1" rollout status "daemonset/$2" --timeout=120s >/dev/null || {
        kubectl -n "$1" get pods -o wide
        kubectl -n "$1" describe pods | tail -40
        kubectl -n "$1" logs "daemonset/$2" --all-containers --tail=20 || true
        die "$2 did not become ready"
    }
}

all_free() { [[ -z $(kubectl get overlappingrangeipreservations -A --no-headers 2>/dev/null) ]]; }

delete_pods() {
    kubectl delete --wait --timeout=60s -f tests/demo/pods.yaml >/dev/null
    wait_until 20 all_free || die "addresses are left after all pods are gone: $(kubectl get overlappingrangeipreservations -A)"
}

conf_is_gone() {
    local node
    for node in node1 node2; do
        tests/cluster/on "$node" sh -c 'ls /etc/cni/net.d/00-multus.conf*' >/dev/null 2>&1 && return 1
    done
    return 0
}

# After the removal a pod starts, with the primary network alone.
primary_works_on() {
    wait_until 30 conf_is_gone || die "00-multus.conf is left on a node 30 s after the removal"
    kubectl run plain --image=docker.io/library/busybox:mrs --image-pull-policy=Never --command -- sleep 1000 >/dev/null
    kubectl wait --for=condition=Ready --timeout=60s pod/plain >/dev/null || {
        kubectl describe pod plain | tail -8
        die "after the removal a pod does not start on the primary network"
    }
    kubectl delete pod plain --wait --grace-period=1 >/dev/null
}
