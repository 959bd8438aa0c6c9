# Debian's packages without installing them. Sourced, after say.sh.

# unpacked PACKAGE: prints the folder with the package's files. apt downloads it into a cache folder once.
unpacked() {
    local folder=${XDG_CACHE_HOME:-$HOME/.cache}/multus-rs/debian-$1 work
    if [[ ! -d $folder ]]; then
        command -v apt-get >/dev/null || die "$1 comes from Debian's archive, and this host has no apt-get"
        mkdir -p "${folder%/*}"
        work=$(mktemp -d "${folder%/*}/.$1.XXXXXX")
        say "apt-get download $1 into $folder"
        (cd "$work" && apt_download "$1") || { rm -rf "$work" && die "apt cannot download $1: is Debian's archive in its sources?"; }
        dpkg-deb -x "$work/$1"_*.deb "$work/files"
        # Renamed as a whole, so that an interrupted download leaves no half of it.
        mv "$work/files" "$folder"
        rm -rf "$work"
    fi
    echo "$folder"
}

# apt_download PACKAGE: into the current folder. Without lists of packages it fetches them first.
apt_download() {
    local options=(-qq -o APT::Sandbox::User=root)
    apt-get "${options[@]}" download "$1" 2>/dev/null && return
    [[ $EUID == 0 ]] || die "apt knows no package $1: run apt-get update as root"
    apt-get "${options[@]}" update && apt-get "${options[@]}" download "$1"
}

# fetch_foreign ARCH PACKAGE FOLDER: unpacks a package for another architecture into FOLDER, without adding that architecture to this machine's
# dpkg. apt reads this machine's sources, and writes only to a folder that is removed. A metapackage's first dependency is taken.
fetch_foreign() (
    local arch=$1 package=$2 folder=$3 work real
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    mkdir -p "$work"/lists/partial "$work"/archives/partial "$folder"
    local options=(-o "APT::Architecture=$arch" -o "APT::Architectures=$arch" -o "Dir::State::lists=$work/lists" -o "Dir::Cache::archives=$work/archives"
        -o "Dir::Cache::pkgcache=" -o "Dir::Cache::srcpkgcache=" -o Debug::NoLocking=true -o APT::Sandbox::User=root)
    cd "$work" || exit
    apt-get -qq "${options[@]}" update
    real=$package
    if [[ $package == linux-image-cloud-* ]]; then real=$(apt-cache "${options[@]}" depends "$package" | awk '$1 == "Depends:" { print $2; exit }'); fi
    apt-get -qq "${options[@]}" download "$real:$arch"
    dpkg-deb -x ./*.deb "$folder"
)
