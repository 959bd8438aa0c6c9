# Removing an instance. Sourced. Needs only the name: state files may be missing, processes may have been
# killed, an earlier removal may have stopped half-way.

# Processes with our mark in their environment, and all other processes in our network namespaces.
instance_pids() {
    local place
    grep -lsz "^MRS_DAEMON=$INSTANCE\$" /proc/[0-9]*/environ | cut -d/ -f3
    for place in cp "${NODES[@]}"; do
        if [[ -e /run/netns/$(netns_of "$place") ]]; then ip netns pids "$(netns_of "$place")" 2>/dev/null || true; fi
    done
}

kill_instance() {
    local pids
    pids=$(instance_pids | sort -u | grep -vx "$$" || true)
    [[ -z $pids ]] && return
    # shellcheck disable=SC2086  # a list
    kill -KILL $pids 2>/dev/null || true
    return 1
}

# The node's mounts disappear with its mount namespace; a netns disappears with its last user.
remove_network() {
    local place ns
    for place in "${NODES[@]}" cp; do
        ns=$(netns_of "$place")
        if [[ -e /run/netns/$ns ]]; then ip netns delete "$ns"; fi
    done
}

remove_instance() {
    wait_until 4 kill_instance || die "processes of '$INSTANCE' cannot be killed: $(instance_pids | sort -u | xargs)"
    remove_network
    wait_until 4 cgroups_gone || die "control groups of '$INSTANCE' are still in use: $(instance_cgroups | xargs)"
    rm -rf --one-file-system "${STATE:?}"
    release_subnet
}
