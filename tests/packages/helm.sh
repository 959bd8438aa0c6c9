# The tests of the Helm chart without a cluster. Sourced by render.
# shellcheck disable=SC2154  # $work is the caller's

CHART=deploy/helm/multus-rs

# Helm reports each link of the chart to deploy/.
quiet() {
    local status=0
    "$@" 2>"$work/stderr" || status=$?
    grep -v 'found symbolic link' "$work/stderr" >&2 || true
    return "$status"
}
template() { quiet helm template multus-rs "${ARCHIVE:-$CHART}" --namespace kube-system "$@"; }

chart_is_well_formed() {
    quiet helm lint --strict --quiet "$CHART"
    jq -e '[paths(objects) as $path | getpath($path) | select(.type == "object") |
            select(has("additionalProperties") | not) | .properties // "open"] |
        length == 4' "$CHART/values.schema.json" >/dev/null ||
        die "$CHART/values.schema.json: an object takes unknown keys (only global and the parts of affinity may)"
    [[ $(sed -n 's/^version: //p' "$CHART/Chart.yaml") == $(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1) ]] ||
        die "$CHART/Chart.yaml has another version than Cargo.toml"
}

# Each overlay that the chart has a value for.
chart_renders_what_kustomize_renders() {
    local overlay
    "$KUBECTL" kustomize deploy >"$work/kustomize.yaml"
    template >"$work/helm.yaml"
    same "the chart's defaults" "$work/kustomize.yaml" "$work/helm.yaml"
    for overlay in gke k3s microk8s; do
        "$KUBECTL" kustomize "deploy/overlays/$overlay" >"$work/kustomize.yaml"
        template --set "cni.preset=$overlay" >"$work/helm.yaml"
        same "cni.preset=$overlay" "$work/kustomize.yaml" "$work/helm.yaml"
    done
    "$KUBECTL" kustomize deploy/overlays/hotplug >"$work/kustomize.yaml"
    template --set hotplug.enabled=true >"$work/helm.yaml"
    same "hotplug.enabled=true" "$work/kustomize.yaml" "$work/helm.yaml"
    "$KUBECTL" kustomize deploy/overlays/monitoring >"$work/kustomize.yaml"
    template --set metrics.address=::,metrics.scrape=true >"$work/helm.yaml"
    same "metrics.address=::,metrics.scrape=true" "$work/kustomize.yaml" "$work/helm.yaml"
    "$KUBECTL" kustomize deploy/overlays/thin >"$work/kustomize.yaml"
    template --set multus.mode=thin >"$work/helm.yaml"
    same "multus.mode=thin" "$work/kustomize.yaml" "$work/helm.yaml"
    # What docs/whereabouts.md says to apply, one step after the other.
    {
        "$KUBECTL" kustomize deploy | sed 's/^\( *\)- --listen=127.0.0.1:9192$/&\n\1- --never-lead/'
        for overlay in deploy/node-limits/*.yaml; do
            echo ---
            cat "$overlay"
        done
    } >"$work/kustomize.yaml"
    template --set nodeLimits.enabled=true >"$work/helm.yaml"
    same "nodeLimits.enabled=true" "$work/kustomize.yaml" "$work/helm.yaml"
    # Another namespace everywhere.
    template | sed 's/kube-system/elsewhere/' >"$work/kustomize.yaml"
    template --namespace elsewhere >"$work/helm.yaml"
    same "--namespace elsewhere" "$work/kustomize.yaml" "$work/helm.yaml"
    if grep -q kube-system "$work/helm.yaml"; then die "--namespace elsewhere leaves kube-system in $(grep -m1 kube-system "$work/helm.yaml")"; fi
}

chart_refuses_unknown_keys() {
    local key
    for key in nope image.nope image.pullSecrets[0].nope crds.nope cni.nope apiServer.nope tolerations[0].nope affinity.nope \
        seLinuxOptions.nope rollingUpdate.nope metrics.nope multus.nope multus.config.nope multus.resources.nope \
        multus.resources.daemon.nope multus.resources.daemon.limits.nope whereabouts.nope whereabouts.resources.nope nodeLimits.nope \
        nodeLimits.leader.nope nodeLimits.leader.tolerations[0].nope hotplug.nope test.nope; do
        refused "additional properties 'nope' not allowed" template --set "$key=1"
    done
    refused "multus.config.capabilities needs multus.mode=daemon" template --set multus.mode=thin,multus.config.capabilities.ips=true
    refused "hotplug.enabled needs multus.mode=daemon" template --set hotplug.enabled=true,multus.mode=thin
    refused "hotplug.enabled needs the node's folders" template --set hotplug.enabled=true,cni.preset=k3s
    refused "multus/mode" template --set multus.mode=thick
    refused "cni/preset" template --set cni.preset=eks
}


# Values that are compared with an overlay, or that only a cluster shows (tests/packages/run).
TESTED_ELSEWHERE=(cni.preset crds.existing poolsElsewhere)

chart_values_have_their_effect() {
    local digest version values condition leaf
    digest=$(printf x | sha256sum | cut -d' ' -f1)
    version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
    while IFS=$'\t' read -r values condition; do
        template --set "${values/DIGEST/$digest}" >"$work/helm.yaml" || die "helm template --set $values failed"
        ytt --ignore-unknown-comments -f "$work/helm.yaml" -o json | jq -e --slurp --arg digest "$digest" --arg version "$version" '
            def sets: .[] | select(.kind == "DaemonSet");
            def pods: sets.spec.template.spec;
            def containers: (.[] | select(.kind == "DaemonSet" or .kind == "Deployment").spec.template.spec) | (.initContainers[]?, .containers[]);
            def container($name): first(containers | select(.name == $name));
            def volumes($name): [pods.volumes[] | select(.name == $name).hostPath.path] | unique;
            def mounts($name): [containers.volumeMounts[] | select(.name == $name).mountPath] | unique;
            def config: first(.[] | select(.kind == "ConfigMap").data["daemon-config.json"] | fromjson);
            def network: first(.[] | select(.kind == "NetworkAttachmentDefinition").spec.config | fromjson);
            '"$condition" >/dev/null || die "--set $values has not the effect: $condition"
    done < <(effects helm-effects)
    # Each value of values.yaml is in the table.
    while read -r leaf; do
        grep -qE "(^|,)${leaf//./[.]}[].=[]" <(effects helm-effects) || [[ " ${TESTED_ELSEWHERE[*]} " == *" $leaf "* ]] || die "tests/packages/helm.sh has no test of the value $leaf"
    done < <(ytt --ignore-unknown-comments -f "$CHART/values.yaml" -o json | jq -r '
        [paths(type != "object" or . == {}) | map(select(type == "string")) | join(".") | sub("(?<map>nodeSelector|tolerations).*"; .map)] | unique[]')
}

chart_archive_is_reproducible() {
    local archive
    archive=$(deploy/helm/package "$work/first")
    cmp "$archive" "$(deploy/helm/package "$work/second")" || die "deploy/helm/package gave two different archives"
    helm lint --strict --quiet "$archive"
    template >"$work/folder.yaml"
    ARCHIVE=$archive template >"$work/archive.yaml"
    cmp "$work/folder.yaml" "$work/archive.yaml" || die "the archive renders other objects than the folder"
}
