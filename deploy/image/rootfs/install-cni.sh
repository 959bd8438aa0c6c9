#!/bin/sh
# Installs whereabouts on the node: the plugin, its kubeconfig, its flat file. Then it stays and renews the kubeconfig; with SLEEP=false it
# ends. Manifests of Whereabouts also source it (`SLEEP=false source /install-cni.sh`).
# shellcheck source=lib.sh
. /lib.sh

if [ -f "$SERVICE_ACCOUNT_PATH/token" ]; then
    wb_kubeconfig
else
    wb_log "warning: no $SERVICE_ACCOUNT_PATH/token, so no kubeconfig is written: the pod needs a service account"
fi
wb_conf
# The pod's name is not the node's, so nothing is guessed.
if [ -n "${NODENAME:-}" ]; then printf '%s' "$NODENAME" | wb_put 644 nodename; fi
/usr/src/multus-cni/bin/multus-daemon install --dest-dir "$CNI_BIN_DIR" whereabouts || wb_die "the plugin was not installed"
wb_log "Done configuring CNI.  Sleep=${SLEEP:-true}"

if [ "${SLEEP:-true}" = true ]; then
    # The first process of a pod gets no signal that it does not handle.
    trap 'exit 0' TERM INT
    wb_watch
elif [ "${0##*/}" = install-cni.sh ] && [ $$ != 1 ]; then
    # Whereabouts 0.5.3 to 0.8 run this and then only /ip-control-loop, so that their tokens expire.
    /token-watcher.sh &
fi
