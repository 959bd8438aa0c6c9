# The status of a node's containerd. Sourced.

# The CRI call Status(verbose) without crictl, which Debian lacks: a gRPC message is one byte for "not
# compressed", four bytes of length, and here the two bytes of {verbose: true}. The response contains the configuration as JSON text.
runtime_status() {
    printf '\0\0\0\0\2\10\1' | in_node "$1" curl --silent --max-time 5 --http2-prior-knowledge \
        --unix-socket /run/containerd/containerd.sock --header 'content-type: application/grpc' \
        --header 'te: trailers' --data-binary @- --output - http://containerd/runtime.v1.RuntimeService/Status
}

# runtime_uses NODE NAME: true when the pods' network is the CNI configuration NAME.
runtime_uses() { runtime_status "$1" | grep -qa "\"Config\":{\"Name\":\"$2\""; }
