# The tests of the Carvel packages without a cluster. Sourced by render.
# shellcheck disable=SC2154  # $work is the caller's

BUNDLES=(kubernetes/multus-cni kubernetes/whereabouts tanzu/multus-cni tanzu/whereabouts)

# rendered BUNDLE OPTIONS OF ytt...: its objects, as kapp-controller renders them.
rendered() {
    local bundle=$1
    shift
    ytt -f "$work/carvel/$bundle/config" "$@"
}

make_bundles() {
    export MRS_IMAGE_DIGEST
    MRS_IMAGE_DIGEST=sha256:$(printf x | sha256sum | cut -d' ' -f1)
    deploy/carvel/bundle "$work/carvel" >/dev/null
}

packages_have_vmwares_values() {
    local bundle
    for bundle in "${BUNDLES[@]}"; do
        ytt -f "deploy/carvel/$bundle/schema.yaml" --data-values-inspect -o json |
            jq -r --arg bundle "$bundle" 'paths(type != "object") as $path | select($path | all(type == "string")) |
                "\($bundle) \($path | join(".")) \(getpath($path) | tojson)"' | sort
    done >"$work/values"
    diff <(grep -v '^#' tests/packages/vmware-values) "$work/values" || die "the packages' values are not VMware's, see above (< VMware's, > ours)"
}

# Beside the namespace and what VMware's defaults say, the objects are those of deploy/.
packages_render_what_kustomize_renders() {
    local line namespace rest
    "$KUBECTL" kustomize deploy >"$work/deploy.yaml"
    local multus='.metadata.name | test("multus|network-attachment")' as_in_deploy
    as_in_deploy=(--data-value whereabouts.config.resources.limits.cpu= --data-value whereabouts.config.resources.limits.memory=256Mi
        --data-value whereabouts.config.resources.requests.cpu=10m --data-value whereabouts.config.resources.requests.memory=16Mi)
    rendered tanzu/multus-cni --data-value-yaml 'daemonset.args=[--multus-conf-file=auto]' >"$work/multus.yaml"
    rendered tanzu/whereabouts "${as_in_deploy[@]}" >"$work/whereabouts.yaml"
    { cat "$work/multus.yaml"; echo ---; cat "$work/whereabouts.yaml"; } >"$work/rendered.yaml"
    same "the packages *.tanzu.vmware.com" "$work/deploy.yaml" "$work/rendered.yaml"

    rendered kubernetes/multus-cni --data-value configmap.cniVersion= --data-value daemonset.resources.limits.cpu= \
        --data-value daemonset.resources.limits.memory=50Mi --data-value daemonset.resources.requests.cpu=10m \
        --data-value daemonset.resources.requests.memory=16Mi >"$work/rendered.yaml"
    with_namespace multus-cni "select($multus)" '.data["daemon-config.json"].logLevel = "verbose"'
    rendered kubernetes/whereabouts "${as_in_deploy[@]}" >"$work/rendered.yaml"
    with_namespace whereabouts-cni "select($multus | not)" .
}

# with_namespace NAMESPACE SELECTION CHANGE: $work/rendered.yaml has the selected objects of deploy/ in this namespace, the namespace itself and its
# LimitRange, and no others.
with_namespace() {
    objects "$work/deploy.yaml" | jq -S "$2" | sed "s/\"kube-system\"/\"$1\"/" | jq -S "if .kind == \"ConfigMap\" then $3 else . end" >"$work/expected.json"
    objects "$work/rendered.yaml" | jq -S 'select(.kind != "Namespace" and .kind != "LimitRange")' >"$work/found.json"
    diff "$work/expected.json" "$work/found.json" || die "the package for $1: the objects differ, see above (< deploy/, > package)"
    [[ $(objects "$work/rendered.yaml" | jq -r 'select(.kind == "Namespace" or .kind == "LimitRange") | "\(.kind) \(.metadata.name)"') == \
        "LimitRange $1"$'\n'"Namespace $1" ]] || die "the package for $1 lacks the namespace or its LimitRange"
}


packages_values_have_their_effect() {
    local bundle key values value condition option
    while IFS=$'\t' read -r values condition; do
        read -r bundle value <<<"$values"
        option=--data-value
        [[ $value =~ =(\[|\{|true$|false$) ]] && option=--data-value-yaml
        rendered "$bundle" "$option" "$value" -o json 2>"$work/warnings" >"$work/rendered.json" || { cat "$work/warnings" >&2; die "$values: ytt failed"; }
        jq -e --slurp --rawfile printed "$work/warnings" '
            def all_of($kind): [.[] | select(.kind == $kind)];
            def one($kind): all_of($kind) | if length == 1 then .[0] else error("not one " + $kind) end;
            def none($kind): all_of($kind) == [];
            def pod: one("DaemonSet").spec.template.spec;
            def container($name): first(pod.containers[] | select(.name == $name));
            def config: first(.[] | select(.metadata.name == "multus-daemon-config").data["daemon-config.json"] | fromjson);
            def namespaces: [.[] | select(.kind != "NetworkAttachmentDefinition") | .metadata.namespace // empty, (.subjects // [])[].namespace] | unique;
            def warned($key): any(.[]; (.metadata.name | endswith("-values-without-effect")) and (.data | has($key))) and
                ($printed | contains("warning: " + $key + ": "));
            '"$condition" "$work/rendered.json" >/dev/null || die "$values has not the effect: $condition"
    done < <(effects carvel-effects)
    while read -r bundle key _; do
        grep -q "^$bundle ${key//./[.]}=" tests/packages/carvel-effects || grep -q "^$bundle ${key%.*}=" tests/packages/carvel-effects || die "tests/packages/carvel.sh has no test of $bundle's value $key"
    done < <(grep -v '^#' tests/packages/vmware-values)
}

packages_refuse_unknown_values() {
    local bundle key
    for bundle in "${BUNDLES[@]}"; do
        # In each map of the values, and in the elements of a list.
        while read -r key; do
            refused "not declared in schema" rendered "$bundle" --data-value-yaml "${key}nope=1"
        done < <(grep "^$bundle " tests/packages/vmware-values | cut -d' ' -f2 |
            awk -F. '{path = ""; print path; for (i = 1; i < NF; i++) {path = path $i "."; print path}}' | sort -u)
    done
    refused "not declared in schema" rendered kubernetes/whereabouts --data-value-yaml 'whereabouts.tolerations=[{nope: a}]'
    refused "expected a NetworkAttachmentDefinition" rendered kubernetes/multus-cni --data-value-yaml 'nads=[{name: a, config: "{}"}]'
    refused "expected auto or a path below" rendered kubernetes/multus-cni --data-value configmap.multusConfigFile=/tmp/x
    refused "logLevel" rendered kubernetes/multus-cni --data-value configmap.logLevel=loud
    refused "--nope=1: not known here" rendered tanzu/multus-cni --data-value-yaml 'daemonset.args=[--nope=1]'
    refused "this package mounts /host/opt/cni/bin alone" rendered tanzu/multus-cni --data-value-yaml 'daemonset.args=[--cni-bin-dir=/x]'
    refused "expected true or false" rendered tanzu/multus-cni --data-value-yaml 'daemonset.args=[--namespace-isolation=maybe]'
    refused "expected --name=value" rendered tanzu/multus-cni --data-value-yaml 'daemonset.args=[nope]'
}

# The schema in the Package is what `tanzu package available get --values-schema` shows.
packages_describe_their_values() {
    local bundle name
    for name in multus-cni.kubernetes multus-cni.tanzu multus-cni.community.tanzu whereabouts.kubernetes whereabouts.tanzu whereabouts.community.tanzu; do
        bundle=${name##*.}/${name%%.*}
        ytt -f "$work/carvel/packages/$name.vmware.com/$(cat "$work/carvel/version").yml" -o json | jq -r --arg bundle "$bundle" '
            def leaves($path): if .properties then .properties | to_entries[] | .key as $key | .value | leaves($path + [$key])
                else "\($bundle) \($path | join(".")) \(.default | tojson)" end;
            .spec.valuesSchema.openAPIv3 | leaves([])' | sort | diff <(grep "^$bundle " tests/packages/vmware-values) - ||
            die "the schema in the Package $name.vmware.com differs from VMware's values, see above"
    done
}

bundles_are_reproducible() {
    local archive other
    archive=$(deploy/carvel/bundle "$work/again")
    other=("$work/carvel"/multus-rs-carvel-*.tar.gz)
    cmp "$archive" "${other[0]}" || die "deploy/carvel/bundle gave two different archives"
    for bundle in "${BUNDLES[@]}"; do
        cmp <(rendered "$bundle") <(rendered "$bundle") || die "$bundle renders differently the second time"
    done
    # Above VMware's newest, 4.2.4 and 0.9.3.
    [[ $(cat "$work/carvel/version") == 1[0-9][0-9].* ]] || die "the packages' version is $(cat "$work/carvel/version")"
}
