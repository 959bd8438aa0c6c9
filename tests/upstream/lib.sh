# What the tests of upstream's manifests share. Sourced, after lib/say.sh. Needs a function `kubectl`, and $work, a folder that the caller removes.
# shellcheck disable=SC2154  # $work is the caller's

UPSTREAM=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

rows() { grep -v '^#' "$UPSTREAM/$1"; }

# module NAME@VERSION: the folder with the module's files, which Go's module cache keeps. Its checksum must be the known one.
module() {
    local known found
    known=$(rows modules | awk -v module="$1" '$1 == module {print $2}')
    [[ -n $known ]] || die "tests/upstream/modules has no checksum of $1"
    found=$(cd "$work" && GOFLAGS=-mod=mod go mod download -json "$1") || die "$1 cannot be had: $found"
    [[ $(jq -r .Sum <<<"$found") == "$known" ]] || die "$1 has the checksum $(jq -r .Sum <<<"$found"), expected $known"
    jq -r .Dir <<<"$found"
}

# The one change that an operator makes: the image's name. Without $image the manifest stays as it is.
with_image() {
    if [[ $image ]]; then sed -E "s#^( *-? *image: *).*#\1$image#" "$1"; else cat "$1"; fi
}

# collect MULTUS FILE WHEREABOUTS [FILE...]: writes all manifests of a case to $work/manifests, with $image.
collect() {
    local multus=$1 file=$2 whereabouts=$3 folder
    shift 3
    rm -rf "$work/manifests" && mkdir "$work/manifests"
    folder=$(module "gopkg.in/k8snetworkplumbingwg/multus-cni.$multus")
    with_image "$folder/$file" >"$work/manifests/multus.yaml"
    folder=$(module "github.com/k8snetworkplumbingwg/whereabouts@v$whereabouts")/doc/crds
    for file in "$folder"/whereabouts.cni.cncf.io_*.yaml "$folder/daemonset-install.yaml" "${@/#/$folder/}"; do
        [[ $file == *.yaml ]] || file=$file.yaml
        with_image "$file" >"$work/manifests/$(basename "$file")"
    done
}

# add_certificates: changes multus.yaml of the collected manifests to one with perNodeCertificate.
add_certificates() {
    mkdir "$work/certificates"
    cp "$UPSTREAM"/certificates/* "$work/certificates"
    mv "$work/manifests/multus.yaml" "$work/certificates"
    kubectl kustomize "$work/certificates" >"$work/whole.yaml"
    rm -r "$work/certificates"
    with_image "$work/whole.yaml" >"$work/manifests/multus.yaml"
}

# Workloads that never become ready say why in their pods.
wait_for_rollout() {
    local workload
    for workload in $(kubectl -n kube-system get daemonsets,deployments -o name); do
        # A daemon set for another architecture has no pods.
        kubectl -n kube-system rollout status "$workload" --timeout=120s >/dev/null || {
            kubectl -n kube-system get pods -o wide
            kubectl -n kube-system describe pods | tail -40
            kubectl -n kube-system logs "$workload" --all-containers --tail=20 || true
            die "$workload did not become ready"
        }
    done
}

conf_is_there() {
    local node
    for node in node1 node2; do
        tests/cluster/on "$node" sh -c 'ls /etc/cni/net.d/00-multus.conf* >/dev/null 2>&1' || return 1
    done
}

# Sets `image` to the name in the archive $1.
find_image_name() {
    image=$(tar -xOf "$1" ./index.json 2>/dev/null || tar -xOf "$1" index.json)
    image=$(jq -r '.manifests[0].annotations["io.containerd.image.name"]' <<<"$image")
}
