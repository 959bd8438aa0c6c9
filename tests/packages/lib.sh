# What the tests of the Helm chart and of the Carvel packages share. Sourced, after lib/say.sh, in the repository's folder. Needs $work, a folder
# that the caller removes.
# shellcheck disable=SC2154  # $work is the caller's

KUBECTL=$(tests/cluster/kube/assets)/kubectl

# objects FILE: the YAML documents of a file as JSON, one a line, sorted by kind and name, without what Helm and kapp add to each object. The JSON
# text in multus' ConfigMap becomes an object.
objects() {
    ytt --ignore-unknown-comments -f "$1" -o json | jq -S -c --slurp '
        def without_empty: with_entries(select(.value != {} and .value != null));
        map(select(. != null and .metadata.annotations["helm.sh/hook"] != "test")
            | .metadata.labels |= ((. // {}) | del(.["helm.sh/chart"], .["app.kubernetes.io/name"], .["app.kubernetes.io/instance"],
                .["app.kubernetes.io/version"], .["app.kubernetes.io/managed-by"]))
            | .metadata.annotations |= ((. // {}) | with_entries(select(.key | test("^(helm.sh|kapp.k14s.io)/") | not)))
            | .metadata |= without_empty
            | if .kind == "DaemonSet" then
                  .spec.template.metadata.annotations |= ((. // {}) | del(.["multus-rs/config"])) | .spec.template.metadata |= without_empty
              else . end
            | if .kind == "ConfigMap" and .data["daemon-config.json"] then .data["daemon-config.json"] |= fromjson else . end)
        | sort_by(.kind, .metadata.namespace, .metadata.name)[]'
}

# same WHAT EXPECTED.yaml FOUND.yaml
same() {
    objects "$2" >"$work/expected.json"
    objects "$3" >"$work/found.json"
    [[ -s $work/expected.json ]] || die "$1: $2 has no objects"
    diff <(jq -S . "$work/expected.json") <(jq -S . "$work/found.json") >"$work/diff" || {
        head -60 "$work/diff" >&2
        die "$1: the objects differ, see above (< expected, > found)"
    }
}

# refused TEXT COMMAND...: the command fails, and says TEXT.
refused() {
    local text=$1
    shift
    if "$@" >"$work/refused" 2>&1; then die "not refused: $*"; fi
    grep -qF -- "$text" "$work/refused" || {
        cat "$work/refused" >&2
        die "refused, but the text lacks '$text': $*"
    }
}

# effects TABLE: its rows, with a tab between values and condition.
effects() { grep -v '^#' "tests/packages/$1" | sed 's/ -> /\t/'; }
