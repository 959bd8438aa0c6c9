#!/bin/sh
# Keeps the kubeconfig of whereabouts up to date. Does not end, and runs beside a daemon in the same container or in a container of its own.
# shellcheck source=lib.sh
. /lib.sh
trap 'exit 0' TERM INT
wb_watch
