# The nodes' control groups: mrs-INSTANCE-nodeN at the top of every hierarchy. Sourced.

# The folder of each hierarchy: one on a cgroup2-only host, several on v1 and hybrid hosts.
# (Hybrid hosts also mount cgroup2 somewhere; no limits are set there.)
cgroup_hierarchies() {
    if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
        echo /sys/fs/cgroup
    else
        awk '$3 == "cgroup" && $2 ~ "^/sys/fs/cgroup/" {print $2}' /proc/mounts | sort -u
    fi
}

# The kubelet does not start unless its cgroupRoot exists.
make_node_cgroups() {
    local name=$1 dir
    while read -r dir; do
        mkdir -p "$dir/$name"
        case $dir in
        /sys/fs/cgroup)
            hand_down_controllers "$dir"
            hand_down_controllers "$dir/$name"
            ;;
        # v1: a new cpuset is empty, and no process can enter it.
        */cpuset*)
            cat "$dir/cpuset.cpus" >"$dir/$name/cpuset.cpus"
            cat "$dir/cpuset.mems" >"$dir/$name/cpuset.mems"
            ;;
        esac
    done < <(cgroup_hierarchies)
}

# cgroup2: a child has only the controllers that its parent enables for it.
hand_down_controllers() {
    local controller
    for controller in $(<"$1/cgroup.controllers"); do
        case $controller in cpu | cpuset | io | memory | pids | hugetlb) ;; *) continue ;; esac
        echo "+$controller" >"$1/cgroup.subtree_control" ||
            die "$1 cannot enable the cgroup controller '$controller': in a container, move its processes to a child group first"
    done
}

# All groups of the instance, in every mounted hierarchy, known or not.
instance_cgroups() {
    local dir
    for dir in /sys/fs/cgroup/mrs-"$INSTANCE"-* /sys/fs/cgroup/*/mrs-"$INSTANCE"-*; do
        if [[ -d $dir ]]; then echo "$dir"; fi
    done
}

cgroups_gone() {
    local dir
    for dir in $(instance_cgroups); do
        find "$dir" -depth -type d -exec rmdir {} \; 2>/dev/null || true
    done
    [[ -z $(instance_cgroups) ]]
}
