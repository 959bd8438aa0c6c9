# What runs beside the nodes: etcd, API server, controllers, scheduler. Sourced.

# start_daemon NAME CMD...: starts CMD in the control plane's network, in its own session (Ctrl-C does not reach
# it), without the caller's pipes. `down` finds it by the mark in its environment.
start_daemon() {
    local name=$1
    shift
    MRS_DAEMON=$INSTANCE setsid nsenter --net="/run/netns/$CP_NS" -- "$@" \
        </dev/null >"$STATE/cp/$name.log" 2>&1 {LOCK_FD}>&- &
    echo $! >"$STATE/cp/$name.pid"
}

require_daemon() {
    kill -0 "$(cat "$STATE/cp/$1.pid")" 2>/dev/null || die_with_log "$STATE/cp/$1.log" "$1 has stopped"
}

# api GET|POST PATH [BODY]: a request to the API server as admin; curl starts faster than kubectl.
api() {
    in_cp curl --silent --fail --max-time 5 --request "$1" --cacert "$STATE/pki/ca.crt" \
        --cert "$STATE/pki/admin.crt" --key "$STATE/pki/admin.key" \
        ${3:+--header 'Content-Type: application/json' --data "$3"} "$API_URL$2"
}

start_etcd() {
    local fsync=--unsafe-no-fsync=true
    [[ ${ETCD_FSYNC-} == 1 ]] && fsync=--unsafe-no-fsync=false
    # etcd 3.6 stops at once when it has listen but no advertise addresses.
    start_daemon etcd "$ASSETS/etcd" --data-dir="$STATE/cp/etcd" "$fsync" \
        --listen-client-urls=http://127.0.0.1:2379 --advertise-client-urls=http://127.0.0.1:2379 \
        --listen-peer-urls=http://127.0.0.1:2380
}

start_apiserver() {
    local pki=$STATE/pki
    # Port 443, because nothing translates the service address's port.
    start_daemon kube-apiserver "$ASSETS/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 \
        --bind-address=0.0.0.0 --secure-port=443 --advertise-address="$SUBNET.1" --cert-dir="$STATE/cp" \
        --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" --client-ca-file="$pki/ca.crt" \
        --kubelet-client-certificate="$pki/kubelet-client.crt" --kubelet-client-key="$pki/kubelet-client.key" \
        --kubelet-certificate-authority="$pki/ca.crt" --kubelet-preferred-address-types=InternalIP \
        --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$pki/sa.pub" \
        --service-account-signing-key-file="$pki/sa.key" --service-cluster-ip-range="$SERVICE_NET.0/16" \
        --requestheader-client-ca-file="$pki/front-proxy-ca.crt" --requestheader-allowed-names=front-proxy-client \
        --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
        --requestheader-extra-headers-prefix=X-Remote-Extra- \
        --proxy-client-cert-file="$pki/front-proxy-client.crt" --proxy-client-key-file="$pki/front-proxy-client.key" \
        --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true
}

start_controllers() {
    local pki=$STATE/pki config=$STATE/cp/controller-manager.kubeconfig
    start_daemon kube-controller-manager "$ASSETS/kube-controller-manager" --kubeconfig="$config" \
        --authentication-kubeconfig="$config" --authorization-kubeconfig="$config" --bind-address=127.0.0.1 \
        --leader-elect=false --use-service-account-credentials=true --root-ca-file="$pki/ca.crt" \
        --service-account-private-key-file="$pki/sa.key" --cluster-signing-cert-file="$pki/ca.crt" \
        --cluster-signing-key-file="$pki/ca.key" --kube-api-qps=200 --kube-api-burst=400
    config=$STATE/cp/scheduler.kubeconfig
    start_daemon kube-scheduler "$ASSETS/kube-scheduler" --kubeconfig="$config" --authentication-kubeconfig="$config" \
        --authorization-kubeconfig="$config" --bind-address=127.0.0.1 --leader-elect=false
}

apiserver_ready() {
    require_daemon etcd
    require_daemon kube-apiserver
    api GET /readyz >/dev/null
}

# Pods need default service accounts. The controllers create them, and do not run here.
make_default_accounts() {
    local namespace account
    account='{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"default"}}'
    for namespace in default kube-system; do
        wait_until 10 api GET "/api/v1/namespaces/$namespace" >/dev/null ||
            die_with_log "$STATE/cp/kube-apiserver.log" "the API server did not make the namespace '$namespace' in 10 s"
        api POST "/api/v1/namespaces/$namespace/serviceaccounts" "$account" >/dev/null
    done
}
