{{/*
Changes the pod of multus as deploy/overlays/thin does: no daemon, one container that keeps kubeconfig and 00-multus.conf up to date. The keys of
multus.config become its flags.
*/}}
{{- define "multus-rs.thin" -}}
{{- $pod := .pod }}
{{- $_ := set $pod "serviceAccountName" "multus" }}
{{- $_ := set .daemon "command" (list "/thin_entrypoint") }}
{{- $args := list "--skip-multus-binary-copy" }}
{{- if ne .conf "/etc/cni/net.d" }}
  {{- $args = concat $args (list (printf "--cni-conf-dir=/host%s" .conf) (printf "--multus-autoconfig-dir=/host%s" .conf) (printf "--multus-kubeconfig-file-host=%s/multus.d/multus.kubeconfig" .conf)) }}
{{- end }}
{{- $flags := dict
      "binDir" "additional-bin-dir" "cniVersion" "cni-version" "globalNamespaces" "global-namespaces" "kubeconfig" "multus-kubeconfig-file-host"
      "logFile" "multus-log-file" "logLevel" "multus-log-level" "logToStderr" "multus-log-to-stderr" "multusMasterCNI" "multus-master-cni-file-name" "namespaceIsolation" "namespace-isolation"
      "overrideNetworkName" "override-network-name" "readinessindicatorfile" "readiness-indicator-file" }}
{{- range $key, $value := .config }}
  {{- $flag := get $flags $key }}
  {{- if not $flag }}{{ fail (printf "multus.config.%s needs multus.mode=daemon; with thin there are: %s" $key (keys $flags | sortAlpha | join ", ")) }}{{ end }}
  {{- $args = append $args (printf "--%s=%v" $flag $value) }}
{{- end }}
{{- $_ := set .daemon "args" $args }}
{{- range list "livenessProbe" "readinessProbe" }}{{ $_ := unset $.daemon . }}{{ end }}
{{- $env := list }}
{{- range .daemon.env }}{{ if ne .name "MULTUS_NODE_NAME" }}{{ $env = append $env . }}{{ end }}{{ end }}
{{- if $env }}{{ $_ := set .daemon "env" $env }}{{ else }}{{ $_ := unset .daemon "env" }}{{ end }}
{{- $mounts := list }}
{{- range .daemon.volumeMounts }}{{ if eq .name "configurations" }}{{ $mounts = append $mounts . }}{{ end }}{{ end }}
{{- $_ := set .daemon "volumeMounts" $mounts }}
{{- $volumes := list }}
{{- range $pod.volumes }}{{ if has .name (list "programs" "configurations") }}{{ $volumes = append $volumes . }}{{ end }}{{ end }}
{{- $_ := set $pod "volumes" $volumes }}
{{- end }}
