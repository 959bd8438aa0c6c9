# Which folders of a node are its own on disk. Sourced by both sides of the node's start.
# Everything else that a node writes goes to its tmpfs. These folders are on a real disk, so that fsync counts,
# and are visible from outside in $STATE/NODE/fs.

NODE_FOLDERS=(
    /etc/cni
    /etc/containerd
    /etc/kubernetes
    /opt/cni
    /var/lib/cni
    /var/lib/containerd
    /var/lib/kubelet
    /var/log
)
