# The images of the test pods: built here, kept in the cache. Sourced.

BUSYBOX_IMAGE=docker.io/library/busybox:mrs
PAUSE_IMAGE=registry.k8s.io/pause:mrs

# find_images: sets IMAGES, the folder with one tar per image; builds it if its inputs changed.
find_images() {
    local key
    key=$(cat /bin/busybox "$CLUSTER/images/pause.c" "$CLUSTER/images/tar" "$LIB/images.sh" | sha256sum | cut -c1-16)
    IMAGES=$CACHE/images-$key
    [[ -d $IMAGES ]] && return
    say "making the images busybox and pause"
    local work
    mkdir -p "$CACHE"
    work=$(mktemp -d "$CACHE/images.XXXXXX")
    mkdir "$work/out"
    make_busybox "$work"
    make_pause "$work"
    rm -rf "$CACHE"/images-*
    # Another instance may have built it meanwhile.
    mv -T "$work/out" "$IMAGES" 2>/dev/null || [[ -d $IMAGES ]]
    rm -rf "$work"
}

make_busybox() {
    local root=$1/busybox applet
    mkdir -p "$root"/{bin,etc,tmp,root}
    chmod 1777 "$root/tmp"
    cp /bin/busybox "$root/bin/busybox"
    for applet in $(busybox --list); do
        [[ $applet == busybox ]] || ln -s busybox "$root/bin/$applet"
    done
    echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
    echo 'root:x:0:' >"$root/etc/group"
    "$CLUSTER/images/tar" "$root" "$BUSYBOX_IMAGE" "$1/out/busybox.tar" sh
}

make_pause() {
    local root=$1/pause
    mkdir -p "$root"
    musl-gcc -static -Os -s -o "$root/pause" "$CLUSTER/images/pause.c"
    "$CLUSTER/images/tar" "$root" "$PAUSE_IMAGE" "$1/out/pause.tar" /pause
}
