# Our packages in the registry of a test cluster. Sourced by cases.
# shellcheck disable=SC2154  # $work and $registry are those of run

# bundles_in_registry: makes $work/carvel, pushes it twice, and prints the reference of the repository.
bundles_in_registry() {
    local first second
    MRS_IMAGE_DIGEST=$(tar -xOf "$IMAGE" ./index.json 2>/dev/null || tar -xOf "$IMAGE" index.json) || return 1
    MRS_IMAGE_DIGEST=$(jq -r '.manifests[0].digest' <<<"$MRS_IMAGE_DIGEST")
    export MRS_IMAGE_DIGEST
    deploy/carvel/bundle "$work/carvel" >/dev/null || return 1
    first=$(in_cp "$PWD/deploy/carvel/push" "$work/carvel" "$registry/multus-rs/packages") || return 1
    # The same files give the same digests, so the repository names the same bundles.
    second=$(in_cp "$work/carvel/push" "$work/carvel" "$registry/multus-rs/again") || return 1
    same_bundle "$first" "$second" || return 1
    echo "$first"
}

same_bundle() {
    local digests=() reference
    for reference in "$@"; do
        in_cp imgpkg pull --tty=false --bundle "$reference" --output "$work/pulled" >"$work/output" 2>&1 || { cat "$work/output" >&2; return 1; }
        digests+=("$(grep -rhoE 'image: [^ ]*@sha256:[0-9a-f]{64}' "$work/pulled/packages" | sed 's/.*@//' | sort | xargs)")
    done
    [[ ${digests[0]} && ${digests[0]} == "${digests[1]}" ]] || { echo "two pushes gave different digests: ${digests[*]}" >&2; return 1; }
}
