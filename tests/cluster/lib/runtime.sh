# What a node's containerd says about itself. Sourced.

# The CRI call Status(verbose), by hand: a gRPC message is a byte for "not compressed", four of length, and
# here the two of {verbose: true}. Debian has no crictl; the answer has the configuration as JSON text in it.
runtime_status() {
    printf '\0\0\0\0\2\10\1' | in_node "$1" curl --silent --max-time 5 --http2-prior-knowledge \
        --unix-socket /run/containerd/containerd.sock --header 'content-type: application/grpc' \
        --header 'te: trailers' --data-binary @- --output - http://containerd/runtime.v1.RuntimeService/Status
}

# runtime_uses NODE NAME: true when the pods' network is the CNI configuration NAME.
runtime_uses() { runtime_status "$1" | grep -qa "\"Config\":{\"Name\":\"$2\""; }
