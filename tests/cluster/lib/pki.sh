# Certificates: one CA per instance, created by every `up`, kept in $STATE/pki only. Sourced.

# One openssl call per key pair. CA and leaf differ in their extensions only.
openssl_pair() { # NAME SUBJECT EXTENSIONS [openssl options...]
    local name=$1 subject=$2 extensions=$3
    shift 3
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 -subj "$subject" \
        -config <(printf '[req]\ndistinguished_name=dn\nx509_extensions=ext\n[dn]\n[ext]\n%b' "$extensions") \
        -keyout "$STATE/pki/$name.key" -out "$STATE/pki/$name.crt" "$@" 2>"$STATE/pki/openssl.log" ||
        die_with_log "$STATE/pki/openssl.log" "openssl could not make the certificate '$name'"
}

# make_ca NAME
make_ca() { openssl_pair "$1" "/CN=multus-rs-$1" 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,digitalSignature\n'; }

# make_cert NAME SUBJECT [SAN [CA]]
make_cert() {
    local ca=$STATE/pki/${4-ca} extensions='basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=clientAuth,serverAuth\n'
    openssl_pair "$1" "$2" "$extensions${3:+subjectAltName=$3\n}" -CA "$ca.crt" -CAkey "$ca.key"
}

make_pki() {
    local node
    mkdir -p -m 0700 "$STATE/pki"
    make_ca ca
    # By this identity the API server tells aggregated API servers for whom it asks. It has a CA of its own: whoever holds a certificate of this
    # CA can act as any user.
    make_ca front-proxy-ca
    make_cert front-proxy-client /CN=front-proxy-client "" front-proxy-ca
    make_cert apiserver /CN=kube-apiserver \
        "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,IP:127.0.0.1,IP:$SERVICE_NET.1,IP:$SUBNET.1"
    make_cert admin /O=system:masters/CN=admin
    make_cert kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client
    make_cert controller-manager /CN=system:kube-controller-manager
    make_cert scheduler /CN=system:kube-scheduler
    for node in "${NODES[@]}"; do
        # Also the kubelet's serving certificate: `kubectl exec` checks the address.
        make_cert "$node" "/O=system:nodes/CN=system:node:$node" "DNS:$node,IP:127.0.0.1,IP:$(node_address "$node")"
    done
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:prime256v1 -out "$STATE/pki/sa.key" 2>/dev/null
    openssl pkey -in "$STATE/pki/sa.key" -pubout -out "$STATE/pki/sa.pub"
}

# make_kubeconfig CERT FILE: certificates and keys are inside the file.
make_kubeconfig() {
    local pki=$STATE/pki
    (
        umask 077
        cat >"$2" <<EOF
apiVersion: v1
kind: Config
clusters: [{name: $INSTANCE, cluster: {server: "$API_URL", certificate-authority-data: $(base64 -w0 "$pki/ca.crt")}}]
users: [{name: $1, user: {client-certificate-data: $(base64 -w0 "$pki/$1.crt"), client-key-data: $(base64 -w0 "$pki/$1.key")}}]
contexts: [{name: $INSTANCE, context: {cluster: $INSTANCE, user: $1}}]
current-context: $INSTANCE
EOF
    )
}
