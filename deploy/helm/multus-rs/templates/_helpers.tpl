{{/* The image that the manifests name. */}}
{{- define "multus-rs.image-of-deploy" -}}
{{ printf "%s:v%s" "ghcr.io/multus-rs/multus-rs" .Chart.AppVersion }}
{{- end }}

{{- define "multus-rs.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default (printf "v%s" $.Chart.AppVersion) }}{{ end }}
{{- end }}
{{- end }}

{{- define "multus-rs.bin-dir" -}}
{{- $of := dict "standard" "/opt/cni/bin" "gke" "/home/kubernetes/bin" "k3s" "/var/lib/rancher/k3s/data/cni" "microk8s" "/var/snap/microk8s/current/opt/cni/bin" }}
{{- .Values.cni.binDir | default (get $of .Values.cni.preset) }}
{{- end }}

{{- define "multus-rs.conf-dir" -}}
{{- $of := dict "standard" "/etc/cni/net.d" "gke" "/etc/cni/net.d" "k3s" "/var/lib/rancher/k3s/agent/etc/cni/net.d" "microk8s" "/var/snap/microk8s/current/args/cni-network" }}
{{- .Values.cni.confDir | default (get $of .Values.cni.preset) }}
{{- end }}

{{/* The text of a file of deploy/, for the release's namespace and image. */}}
{{- define "multus-rs.text" -}}
{{- $text := .root.Files.Get .file }}
{{- if not $text }}{{ fail (printf "%s is not in the chart: use a chart made by deploy/helm/package" .file) }}{{ end }}
{{- $text | replace "kube-system" .root.Release.Namespace | replace (include "multus-rs.image-of-deploy" .root) (include "multus-rs.image" .root) }}
{{- end }}

{{/* One object as YAML, with Helm's labels. */}}
{{- define "multus-rs.object" -}}
{{- if hasKey .object "Error" }}{{ fail (printf "a manifest of the chart is no YAML: %s" .object.Error) }}{{ end }}
{{- $labels := dict
      "helm.sh/chart" (printf "%s-%s" .root.Chart.Name (.root.Chart.Version | replace "+" "_"))
      "app.kubernetes.io/name" .root.Chart.Name
      "app.kubernetes.io/instance" .root.Release.Name
      "app.kubernetes.io/version" .root.Chart.AppVersion
      "app.kubernetes.io/managed-by" .root.Release.Service }}
{{- $_ := set .object.metadata "labels" (merge $labels (.object.metadata.labels | default dict)) }}
---
{{ toYaml .object }}
{{- end }}

{{/* All objects of a file of deploy/. */}}
{{- define "multus-rs.file" -}}
{{- range regexSplit "(?m)^---$" (include "multus-rs.text" .) -1 }}
{{ include "multus-rs.object" (dict "root" $.root "object" (fromYaml .)) }}
{{- end }}
{{- end }}

{{/*
Changes a DaemonSet by the values that are for all of them. It prints nothing: objects are changed in place. With "folders" of "standard" the node's
folders stay; else they are those of the values. The pods see the node's folder of configurations at the same path below /host, because multus and whereabouts derive the path on the node from it.
*/}}
{{- define "multus-rs.daemon-set" -}}
{{- $values := .root.Values }}
{{- $conf := include "multus-rs.conf-dir" .root }}
{{- $pod := .set.spec.template.spec }}
{{- $_ := set $pod "tolerations" $values.tolerations }}
{{- $_ := set $pod "priorityClassName" $values.priorityClassName }}
{{- with $values.nodeSelector }}{{ $_ := set $pod "nodeSelector" . }}{{ end }}
{{- with $values.affinity }}{{ $_ := set $pod "affinity" . }}{{ end }}
{{- with $values.image.pullSecrets }}{{ $_ := set $pod "imagePullSecrets" . }}{{ end }}
{{- with $values.seLinuxOptions }}{{ $_ := set $pod "securityContext" (dict "seLinuxOptions" .) }}{{ end }}
{{- $meta := .set.spec.template.metadata }}
{{- $_ := set $meta "labels" (merge $meta.labels $values.podLabels) }}
{{- with $values.podAnnotations }}{{ $_ := set $meta "annotations" (merge (dict) ($meta.annotations | default dict) .) }}{{ end }}
{{- $_ := set .set.spec.updateStrategy.rollingUpdate "maxSurge" $values.rollingUpdate.maxSurge }}
{{- range ternary list $pod.volumes (eq .folders "standard") }}
  {{- if eq .name "programs" }}{{ $_ := set .hostPath "path" (include "multus-rs.bin-dir" $.root) }}{{ end }}
  {{- if eq .name "configurations" }}{{ $_ := set .hostPath "path" $conf }}{{ end }}
{{- end }}
{{- range concat ($pod.initContainers | default list) $pod.containers }}
  {{- if $values.image.pullPolicy }}{{ $_ := set . "imagePullPolicy" $values.image.pullPolicy }}{{ end }}
  {{- $resources := get $.resources .name }}
  {{- if $resources }}{{ $_ := set . "resources" $resources }}{{ end }}
  {{- $env := .env | default list }}
  {{- with $values.apiServer.host }}{{ $env = append $env (dict "name" "KUBERNETES_SERVICE_HOST" "value" .) }}{{ end }}
  {{- with $values.apiServer.port }}{{ $env = append $env (dict "name" "KUBERNETES_SERVICE_PORT" "value" (toString .)) }}{{ end }}
  {{- range ternary list .volumeMounts (eq $.folders "standard") }}
    {{- if eq .name "configurations" }}{{ $_ := set . "mountPath" (printf "/host%s" $conf) }}{{ end }}
  {{- end }}
  {{- if $env }}{{ $_ := set . "env" $env }}{{ end }}
{{- end }}
{{- end }}

{{/*
The address of metrics and health of a container of a DaemonSet, for its flag, its probes, and Prometheus. Prints nothing. [::] takes connections of
IPv4 too, and so does 0.0.0.0, from the node itself.
*/}}
{{- define "multus-rs.pages" -}}
{{- $address := .root.Values.metrics.address }}
{{- $probed := ternary "127.0.0.1" $address (has $address (list "0.0.0.0" "::")) }}
{{- $listen := printf (ternary "--listen=[%s]:%v" "--listen=%s:%v" (contains ":" $address)) $address .port }}
{{- $args := list }}
{{- range .container.args }}{{ $args = append $args (ternary $listen . (hasPrefix "--listen=" .)) }}{{ end }}
{{- $_ := set .container "args" $args }}
{{- range list .container.livenessProbe .container.readinessProbe }}
  {{- $_ := set .httpGet "host" $probed }}
  {{- $_ := set .httpGet "port" (int $.port) }}
{{- end }}
{{- if .root.Values.metrics.scrape }}
  {{- $meta := .set.spec.template.metadata }}
  {{- $scrape := dict "prometheus.io/scrape" "true" "prometheus.io/port" (toString .port) "prometheus.io/path" "/metrics" }}
  {{- $_ := set $meta "annotations" (merge $scrape ($meta.annotations | default dict)) }}
{{- end }}
{{- end }}

{{/* Who owns the custom resource in the cluster: "none" (it is not there, or there is no cluster), "release" or "other". */}}
{{- define "multus-rs.crd-owner" -}}
{{- $found := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" .name }}
{{- if not $found }}none
{{- else }}
{{- $annotations := $found.metadata.annotations | default dict }}
{{- $is_ours := and (eq (get $annotations "meta.helm.sh/release-name") .root.Release.Name) (eq (get $annotations "meta.helm.sh/release-namespace") .root.Release.Namespace) }}
{{- ternary "release" "other" $is_ours }}
{{- end }}
{{- end }}

{{/* The names of custom resources that were left as they are, one a line. */}}
{{- define "multus-rs.crds-left" -}}
{{- if and .Values.crds.install (eq .Values.crds.existing "leave") }}
{{- range $file, $_ := .Files.Glob "files/crds/*.yaml" }}
{{- $name := (fromYaml ($.Files.Get $file)).metadata.name }}
{{- if eq (include "multus-rs.crd-owner" (dict "root" $ "name" $name)) "other" }}
  {{ $name }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Fails if addresses are in another namespace than the release's. */}}
{{- define "multus-rs.check-pools" -}}
{{- if and .Release.IsInstall (eq .Values.poolsElsewhere "refuse") (lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" "ippools.whereabouts.cni.cncf.io") }}
{{- range (lookup "whereabouts.cni.cncf.io/v1alpha1" "IPPool" "" "").items }}
{{- if ne .metadata.namespace $.Release.Namespace }}
{{- fail (printf "the cluster has addresses of whereabouts in the namespace %s (IPPool %s), and this release would not see them: install it there (--namespace %s), or, if these addresses may be given a second time, set poolsElsewhere=ignore" .metadata.namespace .metadata.name .metadata.namespace) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
