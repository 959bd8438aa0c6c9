# The line of today (*.kubernetes.vmware.com) with kapp-controller: VMware's packages are installed, then ours in their place, with changed values, back
# to VMware's, ours again, removed.
# shellcheck disable=SC2154  # $work and $registry are those of run
PATH=$(tests/packages/programs ytt imgpkg kapp-controller):$PATH
. tests/upstream/lib.sh
. tests/packages/installed.sh
. tests/packages/packages.sh
. tests/packages/controller.sh
. tests/packages/bundles.sh
ours=$(bundles_in_registry)
upstream=$(tests/upstream/images)
tests/cluster/push "$upstream/multus.tar"
tests/cluster/push "$upstream/whereabouts.tar"
say "kapp-controller"
start_controller
installer_account
vmwares=$(push_installed)

add_repository standard "$vmwares" kapp-controller-packaging-global
for item in "${OLD_VERSIONS[@]}"; do install_package "${item%%=*}" "${item#*=}"; done
vmwares_scenario
[[ $(kubectl get ippools -A -o jsonpath='{.items[*].metadata.namespace}') == whereabouts-cni ]] || die "VMware's package did not put the pool into whereabouts-cni"

# In the namespace of VMware's repository, which describes packages of the same names.
add_repository multus-rs "$ours" kapp-controller-packaging-global
version=$(cat "$work/carvel/version")
listed=$(kubectl -n packages get packages -o json | jq -r '.items[].spec | select(.refName == "multus-cni.kubernetes.vmware.com").version' | xargs)
[[ $listed == *"$version"* && $listed == *4.2.4* ]] || die "tanzu package available list multus-cni.kubernetes.vmware.com shows: $listed"
for package in multus-cni whereabouts; do install_package "$package" "$version"; done
rolled_out multus-cni kube-multus-ds
rolled_out whereabouts-cni whereabouts
pods_are_as_before "after the change to our packages"
kubectl -n whereabouts-cni get deployment whereabouts-controller >/dev/null 2>&1 && die "Whereabouts' controller is still there"

install_package multus-cni "$version" '{configmap: {logLevel: debug}, nads: [{name: more, namespace: default, config: "{}"}]}'
install_package whereabouts "$version" '{whereabouts: {nodeSliceController: {enable: false}}}'
wait_until 60 kubectl -n default get network-attachment-definition more >/dev/null 2>&1 || { show_app multus-cni; die "the value nads has no effect"; }
rolled_out multus-cni kube-multus-ds
wait_until 20 eval 'tests/cluster/on node1 cat /etc/cni/net.d/00-multus.conf | jq -e ".logLevel == \"debug\"" >/dev/null' || die "the value configmap.logLevel has no effect"
wait_until 60 eval 'kubectl -n whereabouts-cni get configmap whereabouts-values-without-effect >/dev/null 2>&1' || die "a value without effect is not in a ConfigMap"
pods_are_as_before "after the change of values"
kubectl -n packages create secret generic multus-cni-values --from-literal=values.yaml='{nope: 1}' --dry-run=client -o json | kubectl apply -f - >/dev/null
wait_until 90 eval 'kubectl -n packages get packageinstall multus-cni -o json | jq -e ".status.usefulErrorMessage // \"\" | contains(\"nope\")" >/dev/null' ||
    { show_app multus-cni; die "an unknown value is not refused where tanzu package installed get shows it"; }

for item in "${OLD_VERSIONS[@]}"; do install_package "${item%%=*}" "${item#*=}"; done
rolled_out multus-cni kube-multus-ds
rolled_out whereabouts-cni whereabouts
pods_are_as_before "after the way back to VMware's packages"

for package in multus-cni whereabouts; do install_package "$package" "$version"; done
rolled_out multus-cni kube-multus-ds
rolled_out whereabouts-cni whereabouts
pods_are_as_before "after the second change to our packages"
delete_pods
for package in whereabouts multus-cni; do
    say "tanzu package installed delete $package"
    kubectl -n packages delete packageinstall "$package" --wait --timeout=90s >/dev/null || { show_app "$package"; die "$package was not deleted"; }
done
kubectl get crd ippools.whereabouts.cni.cncf.io network-attachment-definitions.k8s.cni.cncf.io >/dev/null || die "the removal took the custom resources away"
primary_works_on
