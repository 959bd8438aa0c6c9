#!/bin/sh
# What install-cni.sh and token-watcher.sh share. Sourced, also by a shell that goes on afterwards: no exec, no set, and all names begin
# with wb_, except the variables that manifests set. (They keep the names that Whereabouts gave them.)

CNI_BIN_DIR=${CNI_BIN_DIR:-/host/opt/cni/bin/}
CNI_CONF_DIR=${CNI_CONF_DIR:-/host/etc/cni/net.d}
KUBECONFIG_MODE=${KUBECONFIG_MODE:-600}
SKIP_TLS_VERIFY=${SKIP_TLS_VERIFY:-false}
SERVICE_ACCOUNT_PATH=${SERVICE_ACCOUNT_PATH:-/var/run/secrets/kubernetes.io/serviceaccount}
KUBE_CA_FILE=${KUBE_CA_FILE:-$SERVICE_ACCOUNT_PATH/ca.crt}
wb_folder=$CNI_CONF_DIR/whereabouts.d

wb_log() { echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) whereabouts: $*" >&2; }

# wb_die TEXT: the pod ends, and the kubelet starts it again. In a subshell only that ends.
wb_die() {
    wb_log "error: $*"
    exit 1
}

# wb_put MODE NAME: standard input becomes the file in whereabouts.d. A plugin that reads it meanwhile sees the old file or the new one.
wb_put() {
    # The temporary file has a name of its own: during an update another pod writes the same file.
    if ! { mkdir -p "$wb_folder" && wb_temp=$(mktemp "$wb_folder/.$2.XXXXXX") && cat >"$wb_temp" && chmod "$1" "$wb_temp" &&
        sync -d "$wb_temp" && mv -f "$wb_temp" "$wb_folder/$2"; }; then
        wb_die "cannot write $wb_folder/$2: mount the node's folder of CNI configurations at $CNI_CONF_DIR"
    fi
}

# wb_credentials: prints the token and the authority, to see whether they changed. They never go into a log.
wb_credentials() {
    cat "$SERVICE_ACCOUNT_PATH/token" && if [ "$SKIP_TLS_VERIFY" != true ]; then cat "$KUBE_CA_FILE"; fi
}

# wb_kubeconfig: writes the kubeconfig with the token of the pod's service account.
wb_kubeconfig() {
    [ -n "${KUBERNETES_SERVICE_HOST:-}" ] || wb_die "KUBERNETES_SERVICE_HOST not set"
    [ -n "${KUBERNETES_SERVICE_PORT:-}" ] || wb_die "KUBERNETES_SERVICE_PORT not set"
    wb_token=$(cat "$SERVICE_ACCOUNT_PATH/token") || wb_die "cannot read $SERVICE_ACCOUNT_PATH/token"
    case $wb_token in
    '' | *[!A-Za-z0-9._~+/=-]*) wb_die "$SERVICE_ACCOUNT_PATH/token holds no token" ;;
    esac
    if [ "$SKIP_TLS_VERIFY" = true ]; then
        wb_trust="insecure-skip-tls-verify: true"
    else
        wb_trust=$(base64 -w0 "$KUBE_CA_FILE") || wb_die "cannot read $KUBE_CA_FILE"
        wb_trust="certificate-authority-data: $wb_trust"
    fi
    # The address of a URL has brackets if it is one of IPv6.
    wb_host=$KUBERNETES_SERVICE_HOST
    case $wb_host in
    \[*) ;;
    *:*) wb_host="[$wb_host]" ;;
    esac
    wb_put "$KUBECONFIG_MODE" whereabouts.kubeconfig <<EOT
# Kubeconfig file for the Whereabouts CNI plugin.
apiVersion: v1
kind: Config
clusters:
- name: local
  cluster:
    server: ${KUBERNETES_SERVICE_PROTOCOL:-https}://$wb_host:$KUBERNETES_SERVICE_PORT
    $wb_trust
users:
- name: whereabouts
  user:
    token: "$wb_token"
contexts:
- name: whereabouts-context
  context:
    cluster: local
    user: whereabouts
    namespace: ${WHEREABOUTS_NAMESPACE:-kube-system}
current-context: whereabouts-context
EOT
    unset wb_token
}

# wb_conf: writes the flat file, which says where the kubeconfig is, by its path on the node. The schedule is there only if it was chosen:
# nothing of ours needs it, and the plugin warns about it.
wb_conf() {
    wb_host_folder=${wb_folder#/host}
    wb_schedule=
    case $wb_host_folder${WHEREABOUTS_RECONCILER_CRON:-} in
    *[\"\\]*) wb_die "CNI_CONF_DIR and WHEREABOUTS_RECONCILER_CRON must hold no quote and no backslash" ;;
    esac
    if [ -n "${WHEREABOUTS_RECONCILER_CRON:-}" ]; then
        wb_schedule="\"reconciler_cron_expression\": \"$WHEREABOUTS_RECONCILER_CRON\","
    fi
    wb_put "$KUBECONFIG_MODE" whereabouts.conf <<EOT
{
  "datastore": "kubernetes",
  "kubernetes": {
    "kubeconfig": "$wb_host_folder/whereabouts.kubeconfig"
  },
  $wb_schedule
  "configuration_path": "$wb_host_folder"
}
EOT
}

# wb_watch: writes the kubeconfig again whenever the token or the authority changes. Does not end. The kubelet renews the token long before it
# expires.
wb_watch() {
    wb_last=
    while :; do
        # A file that cannot be read is tried again: the kubelet exchanges it.
        if wb_now=$(wb_credentials 2>/dev/null) && [ "$wb_now" != "$wb_last" ] && (wb_kubeconfig); then
            [ -z "$wb_last" ] || wb_log "the service account's token or authority changed: kubeconfig written"
            wb_last=$wb_now
        fi
        # In the background: a shell handles a signal only after the program that it waits for.
        sleep 1 &
        wait $!
    done
}
