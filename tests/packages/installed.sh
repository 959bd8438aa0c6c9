# What VMware's packages install, rebuilt from upstream's manifests and from what is known of the packages: names, namespaces, flags. The images
# are upstream's. Sourced, after tests/upstream/lib.sh.
# shellcheck disable=SC2154  # $work is the caller's

MULTUS=gopkg.in/k8snetworkplumbingwg/multus-cni
WHEREABOUTS=github.com/k8snetworkplumbingwg/whereabouts

# installed LINE/PACKAGE: prints the objects.
installed() {
    local folder
    case $1 in
    kubernetes/multus-cni)
        folder=$(module "$MULTUS.v4@v4.2.4")/deployments
        namespace_with_limits multus-cni 128Mi
        in_namespace multus-cni "$folder/multus-daemonset-thick.yml"
        ;;
    kubernetes/whereabouts)
        folder=$(module "$WHEREABOUTS@v0.9.3")/doc/crds
        namespace_with_limits whereabouts-cni 100Mi
        in_namespace whereabouts-cni "$folder"/whereabouts.cni.cncf.io_*.yaml "$folder"/{daemonset-install,node-slice-controller}.yaml
        ;;
    tanzu/multus-cni)
        folder=$(module "$MULTUS.v3@v3.7.2")/images
        # The programs are those of 4.3.0, which has the flag --multus-conf-file under another name of the program, and refuses a cniVersion that is
        # not the primary network's.
        in_namespace kube-system "$folder/multus-daemonset.yml" | sed 's#/entrypoint.sh#/thin_entrypoint#; /--cni-version=/d
            s#image: .*#image: ghcr.io/k8snetworkplumbingwg/multus-cni:snapshot-thick#'
        ;;
    tanzu/whereabouts)
        # The programs are those of 0.9.4, which need the node's name and rights that 0.5 has not.
        folder=$(module "$WHEREABOUTS@v0.8.0")/doc/crds
        in_namespace kube-system "$folder"/whereabouts.cni.cncf.io_*.yaml "$folder/daemonset-install.yaml" |
            sed 's#whereabouts:latest-amd64#whereabouts:latest#'
        reconciler
        ;;
    esac
}

in_namespace() {
    local namespace=$1 file
    shift
    for file in "$@"; do
        echo ---
        sed "s/namespace: kube-system/namespace: $namespace/" "$file"
    done
}

namespace_with_limits() {
    cat <<YAML
---
apiVersion: v1
kind: Namespace
metadata: {name: $1}
---
apiVersion: v1
kind: LimitRange
metadata: {name: $1-limits, namespace: $1}
spec: {limits: [{type: Container, defaultRequest: {cpu: 100m, memory: $2}}]}
YAML
}

# Whereabouts 0.5's CronJob, as the package changes it. It is suspended: 0.9's program does not end.
reconciler() {
    cat <<YAML
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: ip-reconciler, namespace: kube-system, labels: {app: whereabouts}}
spec:
  concurrencyPolicy: Forbid
  successfulJobsHistoryLimit: 0
  suspend: true
  schedule: "*/5 * * * *"
  jobTemplate:
    spec:
      backoffLimit: 0
      ttlSecondsAfterFinished: 300
      template:
        metadata: {labels: {app: whereabouts}}
        spec:
          priorityClassName: system-node-critical
          serviceAccountName: whereabouts
          restartPolicy: OnFailure
          containers:
            - name: whereabouts
              image: ghcr.io/k8snetworkplumbingwg/whereabouts:latest
              command: [/ip-reconciler, -log-level=verbose]
              resources: {requests: {cpu: 100m, memory: 50Mi}}
              volumeMounts: [{name: cni-net-dir, mountPath: /host/etc/cni/net.d}]
          volumes: [{name: cni-net-dir, hostPath: {path: /etc/cni/net.d}}]
YAML
}
