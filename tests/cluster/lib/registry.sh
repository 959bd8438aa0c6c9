# The registry from which the nodes pull every image, whatever registry its name says. Sourced.
# With it, manifests are applied as a user applies them: the image has its real name and no pull policy.

REGISTRY_PORT=5000

registry_address() { echo "$SUBNET.1:$REGISTRY_PORT"; }

# Plain HTTP, in the control plane's network namespace: only the cluster's nodes reach it.
start_registry() {
    mkdir -p "$STATE/cp/registry"
    cat >"$STATE/cp/registry.yml" <<EOF
version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: $STATE/cp/registry}, delete: {enabled: true}}
http: {addr: "$(registry_address)"}
EOF
    start_daemon registry docker-registry serve "$STATE/cp/registry.yml"
}

# containerd asks the host of the folder _default for each image whose registry has no folder of its own, and adds ?ns=<the name's registry>.
# It reads the files at each pull.
trust_registry() {
    local folder=$STATE/$1/fs/etc/containerd/certs.d/_default
    mkdir -p "$folder"
    printf '[host."http://%s"]\n  capabilities = ["pull", "resolve"]\n' "$(registry_address)" >"$folder/hosts.toml"
}

registry_ready() {
    require_daemon registry
    in_registry GET / >/dev/null
}

# in_registry METHOD PATH [curl options...]: a request to the registry; PATH begins after /v2.
in_registry() {
    local method=$1 path=$2
    shift 2
    in_cp curl --silent --show-error --fail --max-time 60 --request "$method" "$@" "http://$(registry_address)/v2$path"
}
