# kapp-controller for a test cluster: its processes run beside the API server, not in a pod. Sourced by cases. Needs functions `kubectl` and `in_cp`.
# shellcheck disable=SC2154  # $work and $registry are those of run

CONTROLLER_PORT=10350

# start_controller: installs its custom resources and starts it.
start_controller() {
    local folder programs state
    programs=$(tests/packages/programs ytt kapp kbld imgpkg vendir kapp-controller)
    folder=$(cd tests/packages/controller && GOFLAGS=-mod=readonly go list -m -f '{{.Dir}}' carvel.dev/kapp-controller)/config
    state=/var/tmp/multus-rs/$MRS_CLUSTER
    # The API server reaches it by its address, since services have none here.
    ytt -f "$folder/config/0-namespace.yml" -f "$folder/config/crds.yml" -f "$folder/config/agg-api.yml" -f "$folder/values-schema.yml" -o json |
        jq --arg address "${registry%:*}" --argjson port $CONTROLLER_PORT '
            if .kind == "Service" then .spec = {type: "ExternalName", externalName: $address}
            elif .kind == "APIService" then .spec.service.port = $port else . end' >"$work/controller.json"
    kubectl apply --server-side -f "$work/controller.json" >/dev/null
    kubectl -n kapp-controller create serviceaccount kapp-controller-sa >/dev/null
    kubectl create clusterrolebinding kapp-controller --clusterrole=cluster-admin --serviceaccount=kapp-controller:kapp-controller-sa >/dev/null
    mkdir -p "$state/cp/kapp-controller/account"
    (umask 077 && kubectl -n kapp-controller create token kapp-controller-sa --duration 24h >"$state/cp/kapp-controller/account/token")
    cp "$state/pki/ca.crt" "$state/cp/kapp-controller/account/"
    echo kapp-controller >"$state/cp/kapp-controller/account/namespace"
    controller_process "$programs" sidecar --sidecarexec
    wait_until 10 test -S "$state/cp/kapp-controller/sidecarexec.sock" || die_with_log "$state/cp/kapp-controller-sidecar.log" "kapp-controller's second process did not start"
    controller_process "$programs" main -packaging-global-namespace=kapp-controller-packaging-global -metrics-bind-address=127.0.0.1:18080
    wait_until 60 packages_are_served || die_with_log "$state/cp/kapp-controller-main.log" "kapp-controller's API does not answer after 60 s"
}

packages_are_served() { kubectl get packages -A >/dev/null 2>&1; }

# controller_process PROGRAMS NAME ARGS: in a mount namespace of its own, where it finds the folders of a pod. `tests/cluster/down` ends it by the mark
# in its environment.
controller_process() {
    local programs=$1 name=$2 state=/var/tmp/multus-rs/$MRS_CLUSTER
    shift 2
    # shellcheck disable=SC2016  # for the inner shell
    MRS_DAEMON=$MRS_CLUSTER setsid nsenter --net="/run/netns/mrs-$MRS_CLUSTER-cp" -- unshare --mount --propagation private -- \
        env -i MRS_DAEMON="$MRS_CLUSTER" PATH="$programs:/usr/bin:/bin" HOME=/home/kapp-controller \
        KUBERNETES_SERVICE_HOST="${registry%:*}" KUBERNETES_SERVICE_PORT=443 ACCOUNT="$state/cp/kapp-controller/account" \
        KAPPCTRL_MEM_TMP_DIR="$state/cp/kapp-controller" KAPPCTRL_SIDECAREXEC_SOCK="$state/cp/kapp-controller/sidecarexec.sock" \
        KAPPCTRL_SYSTEM_NAMESPACE=kapp-controller KAPPCTRL_API_PORT=$CONTROLLER_PORT \
        sh -ec 'mount -t tmpfs tmpfs /home; mount -t tmpfs tmpfs /run
            mkdir -p /home/kapp-controller /run/secrets/kubernetes.io/serviceaccount; cp "$ACCOUNT"/* /run/secrets/kubernetes.io/serviceaccount/
            exec kapp-controller "$@"' sh "$@" \
        </dev/null >"$state/cp/kapp-controller-$name.log" 2>&1 &
}
