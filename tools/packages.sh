# packages.sh: installs by name what is missing; sourced by ./demo and ./check from the root of the tree.
#   packages_install build        what kadr needs to be built
#   packages_install build check  and what its tests need
# Debian (apt-get) and macOS (Homebrew); as root or with sudo; does nothing when all is there.

debian_build='gcc meson ninja-build pkg-config libc6-dev libjansson-dev libpng-dev libjpeg-dev libwebp-dev libinih-dev libxxhash-dev libchafa-dev libsqlite3-dev libmicrohttpd-dev libcurl4-openssl-dev libgnutls28-dev libpq-dev libcairo2-dev libpango1.0-dev fonts-dejavu-core'
debian_check='python3 python3-venv clang clang-format libclang-rt-14-dev libcmocka-dev libsimde-dev man-db gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user git poppler-utils ffmpeg chromium chromium-driver slowhttptest postgresql strace libopenblas0'
brew_build='meson ninja pkg-config jansson libpng jpeg-turbo webp inih xxhash chafa sqlite libmicrohttpd curl gnutls libpq cairo pango'
brew_check='python3 llvm clang-format cmocka poppler ffmpeg postgresql@17 slowhttptest openblas'

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null 2>&1; then sudo "$@"
    else
        echo "kadr: these need to be installed by an administrator: $*" >&2
        exit 1
    fi
}

install_debian() {
    missing=
    for p in "$@"; do
        dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $p"
    done
    # A tool that came another way serves as well.
    for pair in meson:meson ninja-build:ninja gcc:gcc pkg-config:pkg-config python3:python3; do
        command -v "${pair#*:}" >/dev/null 2>&1 && missing=$(echo " $missing " | sed "s/ ${pair%%:*} / /")
    done
    # libcurl's headers come in variants that exclude each other.
    pkg-config --exists libcurl 2>/dev/null && missing=$(echo " $missing " | sed "s/ libcurl4-openssl-dev / /")
    [ -n "$(echo $missing)" ] || return 0
    echo "kadr: installing with apt-get:$missing"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    # shellcheck disable=SC2086
    apt_install $missing && return 0
    # One name that this release does not have is no reason to go without the others.
    lacking=
    for p in $missing; do apt_install "$p" || lacking="$lacking $p"; done
    [ -z "$lacking" ] || {
        echo "kadr: could not be installed:$lacking" >&2
        return 1
    }
}

apt_install() { as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null; }

install_brew() {
    missing=
    # Is not where pkg-config looks.
    export PKG_CONFIG_PATH="$(brew --prefix)/opt/libpq/lib/pkgconfig:${PKG_CONFIG_PATH:-}"
    for p in "$@"; do
        brew list --formula "$p" >/dev/null 2>&1 || missing="$missing $p"
    done
    [ -n "$missing" ] || return 0
    echo "kadr: installing with Homebrew:$missing"
    # shellcheck disable=SC2086
    brew install -q $missing
}

packages_install() {
    want=
    for set in "$@"; do
        if command -v apt-get >/dev/null 2>&1; then eval "want=\"\$want \$debian_$set\""
        else eval "want=\"\$want \$brew_$set\""; fi
    done
    # shellcheck disable=SC2086
    if command -v apt-get >/dev/null 2>&1; then install_debian $want
    elif command -v brew >/dev/null 2>&1; then install_brew $want
    else
        echo "kadr: neither apt-get nor Homebrew is here; needed are:$want" >&2
    fi
}
