# VMware's scenario: pod0 and pod1 on one node, pod2 on the other, each with net1 of the network macvlan-conf. Sourced.
# Needs a function `kubectl`, and lib/say.sh.

SCENARIO=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
PODS=(pod0 pod1 pod2)

heading() { printf '\n=== %s\n' "$*"; }

expect() {
    local what=$1 wanted=$2 found=$3
    [[ $found == "$wanted" ]] || die "$what: expected '$wanted', found '$found'"
}

# The address that network-status gives for net1.
status_address() {
    kubectl get pod "$1" -o json |
        jq -r '.metadata.annotations["k8s.v1.cni.cncf.io/network-status"] | fromjson | .[] | select(.interface == "net1") | .ips[0]'
}

# The address that is on net1.
link_address() { kubectl exec "$1" -- ip -4 -o addr show dev net1 | sed 's/.* inet \([0-9.]*\)\/.*/\1/'; }

check_pod() {
    local pod=$1
    expect "interfaces of $pod" "eth0 lo net1" "$(kubectl exec "$pod" -- ls /sys/class/net | sort | xargs)"
    expect "entries in network-status of $pod" "eth0 net1" \
        "$(kubectl get pod "$pod" -o json | jq -r '[.metadata.annotations["k8s.v1.cni.cncf.io/network-status"] | fromjson | .[].interface] | join(" ")')"
    expect "address on net1 of $pod, by network-status" "$(link_address "$pod")" "$(status_address "$pod")"
}

# check_ping FROM INTERFACE TO ADDRESS
check_ping() {
    local output
    heading "kubectl exec $1 -- ping -c 3 $4   # $3"
    output=$(kubectl exec "$1" -- ping -c 3 -I "$2" "$4") || true
    echo "$output"
    [[ $output == *" 0% packet loss"* ]] || die "$1 does not reach $3 at $4 on $2"
}

start_pods() {
    kubectl apply -f "$SCENARIO/network.yaml" -f "$SCENARIO/pods.yaml"
    kubectl wait --for=condition=Ready --timeout=90s "${PODS[@]/#/pod/}" || {
        kubectl describe pods "${PODS[@]}"
        die "the pods did not start"
    }
}

# On one node, from node to node, and back.
check_pods() {
    local pod
    for pod in "${PODS[@]}"; do check_pod "$pod"; done
    check_ping pod0 net1 pod1 "$(status_address pod1)"
    check_ping pod0 net1 pod2 "$(status_address pod2)"
    check_ping pod2 net1 pod0 "$(status_address pod0)"
    # The primary network is as it was.
    check_ping pod0 eth0 pod2 "$(kubectl get pod pod2 -o jsonpath='{.status.podIP}')"
    expect "different addresses on net1" 3 "$(for pod in "${PODS[@]}"; do status_address "$pod"; done | sort -u | wc -l)"
}
