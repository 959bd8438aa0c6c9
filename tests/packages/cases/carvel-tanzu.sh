# The older line (*.tanzu.vmware.com), without kapp-controller: imgpkg pull, ytt, kbld and kapp deploy, which is what the controller does. What
# VMware's packages install is there first; ours come in their place, with changed values, back, ours again, removed.
# shellcheck disable=SC2154  # $work and $registry are those of run
PATH=$(tests/packages/programs ytt kapp kbld imgpkg):$PATH
. tests/upstream/lib.sh
. tests/packages/installed.sh
. tests/packages/bundles.sh
bundles_in_registry >/dev/null
upstream=$(tests/upstream/images)
tests/cluster/push "$upstream/multus.tar"
tests/cluster/push "$upstream/whereabouts.tar"
version=$(cat "$work/carvel/version")

# deploy PACKAGE VALUES OF ytt...
deploy() {
    local package=$1
    shift
    [[ -d $work/pulled-$package ]] ||
        run imgpkg pull --tty=false --bundle "$registry/multus-rs/packages:tanzu-$package-$version" --output "$work/pulled-$package"
    ytt -f "$work/pulled-$package/config" "$@" 2>"$work/warnings" | kbld -f - -f "$work/pulled-$package/.imgpkg/images.yml" >"$work/$package.yaml" 2>/dev/null
    grep -q '@sha256:' "$work/$package.yaml" || die "kbld did not put the image's digest in"
    run kapp deploy --app "$package" --file "$work/$package.yaml" --yes --wait-timeout 120s
}

deploy_vmwares() {
    installed "tanzu/$1" >"$work/installed.yaml"
    run kapp deploy --app "$1" --file "$work/installed.yaml" --yes --wait-timeout 120s
}

for package in multus-cni whereabouts; do deploy_vmwares "$package"; done
vmwares_scenario

for package in multus-cni whereabouts; do deploy "$package"; done
pods_are_as_before "after the change to our packages"
kubectl -n kube-system get cronjob ip-reconciler >/dev/null 2>&1 && die "the CronJob ip-reconciler is still there"

deploy multus-cni --data-value-yaml 'daemonset.args=[--multus-conf-file=auto, --cni-version=0.4.0, --multus-log-level=debug]'
deploy whereabouts --data-value 'ip_reconciler.config.schedule=0 * * * *'
grep -q 'warning: ip_reconciler.config.schedule' "$work/warnings" || die "ytt prints no warning: $(cat "$work/warnings")"
grep -q 'whereabouts-values-without-effect' "$work/output" || die "kapp does not list the ConfigMap with the warning"
tests/cluster/on node1 cat /etc/cni/net.d/00-multus.conf | jq -e '.cniVersion == "0.4.0" and .logLevel == "debug"' >/dev/null ||
    die "daemonset.args have no effect: $(tests/cluster/on node1 cat /etc/cni/net.d/00-multus.conf)"
pods_are_as_before "after the change of values"

for package in multus-cni whereabouts; do deploy_vmwares "$package"; done
pods_are_as_before "after the way back to VMware's packages"
for package in multus-cni whereabouts; do deploy "$package"; done
pods_are_as_before "after the second change to our packages"
delete_pods
for package in whereabouts multus-cni; do run kapp delete --app "$package" --yes --wait-timeout 90s; done
primary_works_on
