# What the overlay `antrea` denies and allows, with an account of the agent's name. Sourced by run.

of_antrea() {
    local agent=system:serviceaccount:kube-system:antrea-agent key="k8s.v1.cni.cncf.io/network-status"
    local remove="{\"metadata\": {\"annotations\": {\"$key\": null}}}" replace="{\"metadata\": {\"annotations\": {\"$key\": \"[]\"}}}"
    local before
    before=$(kubectl get pod pod0 -o json | jq -c --arg key "$key" '{metadata: {annotations: {($key): .metadata.annotations[$key]}}}')
    kubectl create clusterrole antrea-agent --verb=get,update,patch --resource=pods,pods/status >/dev/null
    kubectl create clusterrolebinding antrea-agent --clusterrole=antrea-agent --serviceaccount=kube-system:antrea-agent >/dev/null
    local patch=(kubectl patch pod pod0 --subresource=status --type=merge)
    denied "but not delete it" "to delete network-status" "${patch[@]}" --as="$agent" -p "$remove"
    denied "but not delete it" "to delete network-status by an update of the pod" kubectl annotate pod pod0 --as="$agent" "$key-"
    allowed "another annotation" kubectl annotate pod pod0 --as="$agent" x/y=z
    allowed "to replace network-status" "${patch[@]}" --as="$agent" -p "$replace"
    allowed "to delete it as somebody else" "${patch[@]}" -p "$remove"
    allowed "an update of a pod that has none" kubectl annotate pod pod0 --as="$agent" x/y-
    kubectl patch pod pod0 --subresource=status --type=merge -p "$before" >/dev/null
}
