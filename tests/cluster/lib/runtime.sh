# A node's containerd: which one, and its status. Sourced.
# MRS_CONTAINERD chooses it:
#   debian    Debian's, 1.6 (default)
#   2         containerd 2, from its Go module

# Sets RUNTIME: the folder with containerd's programs, empty for the host's. Built once, into the cache.
find_runtime() {
    local folder=$CLUSTER/containerd program
    RUNTIME=
    case ${MRS_CONTAINERD:=debian} in
    debian) return ;;
    2) ;;
    *) die "MRS_CONTAINERD=$MRS_CONTAINERD: expected debian or 2" ;;
    esac
    RUNTIME=$CACHE/containerd-$(sha256sum <"$folder/go.sum" | cut -c1-16)
    [[ -x $RUNTIME/ctr ]] && return
    say "building containerd 2 (some minutes)"
    # Go's build cache would keep gigabytes that nothing needs again.
    local -x GOCACHE=$CACHE/containerd.build
    # ctr comes last: with it the folder is whole.
    for program in containerd containerd-shim-runc-v2 ctr; do
        (cd "$folder" && CGO_ENABLED=0 GOFLAGS=-mod=readonly go build -trimpath -tags "no_btrfs no_zfs no_devmapper" -ldflags="-s -w" \
            -o "$RUNTIME/$program" "github.com/containerd/containerd/v2/cmd/$program")
    done
    rm -rf "$GOCACHE"
}

# The CRI call Status(verbose) without crictl, which Debian lacks: a gRPC message is one byte for "not
# compressed", four bytes of length, and here the two bytes of {verbose: true}. The response contains the configuration as JSON text.
runtime_status() {
    printf '\0\0\0\0\2\10\1' | in_node "$1" curl --silent --max-time 5 --http2-prior-knowledge \
        --unix-socket /run/containerd/containerd.sock --header 'content-type: application/grpc' \
        --header 'te: trailers' --data-binary @- --output - http://containerd/runtime.v1.RuntimeService/Status
}

# runtime_uses NODE NAME: true when the pods' network is the CNI configuration NAME.
runtime_uses() { runtime_status "$1" | grep -qa "\"Config\":{\"Name\":\"$2\""; }
