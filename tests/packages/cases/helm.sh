# Helm, from a registry: install, helm test, VMware's scenario, upgrade, uninstall; then from kubectl apply to a release, and a wrong namespace.
# shellcheck disable=SC2154  # $work and $registry are those of run
PATH=$(tests/packages/programs helm ytt):$PATH
for folder in CACHE CONFIG DATA; do export "HELM_${folder}_HOME=$work/helm"; done
archive=$(deploy/helm/package "$work")
run helm push "$archive" "oci://$registry/charts" --plain-http
chart=(oci://"$registry"/charts/multus-rs --plain-http)

run helm install multus-rs "${chart[@]}" --namespace kube-system --wait --timeout 120s
run helm test multus-rs --namespace kube-system --logs --timeout 90s
grep -q 'multus, macvlan and whereabouts work on this node' "$work/output" || die "helm test did not show the pod's log: $(cat "$work/output")"
[[ -z $(kubectl get network-attachment-definitions -A --no-headers 2>/dev/null) ]] || die "helm test left its network"
vmwares_scenario

run helm upgrade multus-rs "${chart[@]}" --namespace kube-system --wait --timeout 120s \
    --set multus.config.logLevel=debug,whereabouts.grace=5,multus.resources.daemon.limits.memory=80Mi
pods_are_as_before "after the upgrade"
tests/cluster/on node1 cat /etc/cni/net.d/00-multus.conf | jq -e '.logLevel == "debug"' >/dev/null || die "the upgrade did not change 00-multus.conf"
run helm rollback multus-rs 1 --namespace kube-system --wait --timeout 120s
pods_are_as_before "after the rollback"
delete_pods
run helm uninstall multus-rs --namespace kube-system --wait --timeout 60s
primary_works_on

say "custom resources and pools of others are left alone"
kubectl annotate crd --all meta.helm.sh/release-name- meta.helm.sh/release-namespace- >/dev/null
kubectl label crd --all app.kubernetes.io/managed-by- >/dev/null
refused "install it there (--namespace kube-system)" in_cp helm install multus-rs "${chart[@]}" --namespace elsewhere --create-namespace
kubectl apply -k deploy/ >/dev/null 2>&1
rolled_out kube-system kube-multus-ds
rolled_out kube-system whereabouts
vmwares_scenario
run helm install multus-rs "${chart[@]}" --namespace kube-system --wait --timeout 120s --take-ownership --force-conflicts
grep -q '  ippools.whereabouts.cni.cncf.io' "$work/output" || die "the notes do not name custom resources that were left: $(cat "$work/output")"
pods_are_as_before "after Helm has taken over"
run helm upgrade multus-rs "${chart[@]}" --namespace kube-system --wait --timeout 120s --reuse-values --set crds.existing=manage --take-ownership \
    --force-conflicts
[[ $(kubectl get crd -o json | jq '[.items[].metadata.annotations["meta.helm.sh/release-name"] == "multus-rs"] | all') == true ]] ||
    die "crds.existing=manage did not take the custom resources over"
delete_pods
run helm uninstall multus-rs --namespace kube-system --wait --timeout 60s
primary_works_on
