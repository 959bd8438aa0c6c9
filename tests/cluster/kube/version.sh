# Which Kubernetes the test cluster runs, and where it is kept. Sourced.
# 1.36 is the last minor version whose kubelet works with Debian 12's containerd 1.6. go.mod names it too.

KUBE_VERSION=1.36.3
PROGRAMS=(etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kubectl)
KUBE_CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/multus-rs/kube-v$KUBE_VERSION
