# What `tanzu package` does with a cluster, for cases with kapp-controller. Sourced by cases, after steps.sh and installed.sh.
# shellcheck disable=SC2154  # $work and $registry are those of run

# VMware's line of today, as it is installed.
OLD_VERSIONS=(multus-cni=4.2.4+vmware.1-vks.1 whereabouts=0.9.3+vmware.1-vks.1)

# add_repository NAME REFERENCE NAMESPACE: tanzu package repository add NAME --url REFERENCE --namespace NAMESPACE
add_repository() {
    say "tanzu package repository add $1 --url $2 --namespace $3"
    kubectl apply -f - >/dev/null <<YAML
apiVersion: packaging.carvel.dev/v1alpha1
kind: PackageRepository
metadata: {name: $1, namespace: $3}
spec: {fetch: {imgpkgBundle: {image: "$2"}}}
YAML
    reconciled "packagerepository/$1" "$3"
}

# install_package NAME VERSION [VALUES]: tanzu package install NAME --package NAME.kubernetes.vmware.com --version VERSION --values-file; also for
# `installed update`.
install_package() {
    say "tanzu package install $1 --package $1.kubernetes.vmware.com --version $2"
    kubectl -n packages create secret generic "$1-values" --from-literal=values.yaml="${3-}" --dry-run=client -o json | kubectl apply -f - >/dev/null
    jq -n --arg name "$1" --arg version "$2" '{
        apiVersion: "packaging.carvel.dev/v1alpha1", kind: "PackageInstall",
        metadata: {name: $name, namespace: "packages", annotations: {"packaging.carvel.dev/downgradable": ""}},
        spec: {serviceAccountName: "installer", packageRef: {refName: "\($name).kubernetes.vmware.com", versionSelection: {constraints: $version}},
               values: [{secretRef: {name: "\($name)-values"}}]}}' | kubectl apply -f - >/dev/null
    wait_until 180 has_version "$1" "$2" || { show_app "$1"; die "$1 has not the version $2 after 180 s"; }
    reconciled "packageinstall/$1" packages
}

has_version() { [[ $(kubectl -n packages get packageinstall "$1" -o jsonpath='{.status.version}') == "$2" ]]; }

# The controller notes the generation that it has seen first, then whether it succeeded.
is_reconciled() {
    kubectl -n "$2" get "$1" -o json >"$work/reconciled" && jq -e '.status.observedGeneration == .metadata.generation and
        any(.status.conditions[]?; .type == "ReconcileSucceeded" and .status == "True")' "$work/reconciled" >/dev/null
}

reconciled() {
    wait_until 240 is_reconciled "$1" "$2" || { show_app "${1#*/}"; jq .status "$work/reconciled" >&2; die "$1 is not reconciled after 240 s"; }
}

show_app() { kubectl -n packages get app "$1" -o json 2>/dev/null | jq -r '.status | .template.stderr, .deploy.stdout, .usefulErrorMessage' | tail -n 40 >&2; }

# installer_account: what the CLI makes for each package.
installer_account() {
    kubectl create namespace packages >/dev/null
    kubectl -n packages create serviceaccount installer >/dev/null
    kubectl create clusterrolebinding installer --clusterrole=cluster-admin --serviceaccount=packages:installer >/dev/null
}

# push_installed: pushes VMware's packages as they are rebuilt in installed.sh, and their repository; prints its reference.
push_installed() {
    local item name version folder=$work/vmware
    for item in "${OLD_VERSIONS[@]}"; do
        name=${item%%=*} version=${item#*=}
        mkdir -p "$folder/$name/"{.imgpkg,config} "$folder/repository/"{.imgpkg,packages/"$name".kubernetes.vmware.com}
        installed "kubernetes/$name" | sed -E 's/^( *)# /\1#! /; s/^( *)#$/\1#!/' >"$folder/$name/config/installed.yaml"
        echo '{apiVersion: imgpkg.carvel.dev/v1alpha1, kind: ImagesLock, images: []}' | tee "$folder/$name/.imgpkg/images.yml" >"$folder/repository/.imgpkg/images.yml"
        in_cp imgpkg push --tty=false --bundle "$registry/vmware:$name" --file "$folder/$name" >"$work/output" 2>&1 || { cat "$work/output" >&2; return 1; }
        jq -n --arg name "$name.kubernetes.vmware.com" --arg version "$version" --arg bundle "$registry/vmware:$name" '{
            apiVersion: "data.packaging.carvel.dev/v1alpha1", kind: "Package", metadata: {name: "\($name).\($version)"},
            spec: {refName: $name, version: $version, template: {spec: {
                fetch: [{imgpkgBundle: {image: $bundle}}],
                template: [{ytt: {paths: ["config/"], ignoreUnknownComments: true}}],
                deploy: [{kapp: {}}]}}}}' >"$folder/repository/packages/$name.kubernetes.vmware.com/$version.yml"
        jq -n --arg name "$name.kubernetes.vmware.com" '{apiVersion: "data.packaging.carvel.dev/v1alpha1", kind: "PackageMetadata", metadata: {name: $name},
            spec: {displayName: $name, providerName: "VMware"}}' >"$folder/repository/packages/$name.kubernetes.vmware.com/metadata.yml"
    done
    in_cp imgpkg push --tty=false --bundle "$registry/vmware:repository" --file "$folder/repository" >"$work/output" 2>&1 || { cat "$work/output" >&2; return 1; }
    echo "$registry/vmware:repository"
}
