# shellcheck shell=bash
# The image: its Debian base (pulled, else made here), its name by content, its build.
# Needs DOCKER and RELEASE.

IMAGE_NAME=hpclaunch-slurm
BASE_NAME=hpclaunch-base
PULL_SECONDS=90
DEBIAN_MIRROR=${DEBIAN_MIRROR:-http://deb.debian.org/debian}

# Debian's suite that carries a Slurm release.
suite_of() {
    case $1 in
        22.05) printf 'bookworm\n' ;;
        24.11) printf 'trixie\n' ;;
        26.05) printf 'sid\n' ;;
        *) return 1 ;;
    esac
}

# The tag changes with every input of the build, so a stale image is never run.
image_tag() {
    local hash
    hash=$(cd "$DOCKER_DIR" && find Dockerfile .dockerignore image slurm -type f ! -name site.toml -print0 \
        | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -c1-12)
    printf '%s:%s-%s\n' "$IMAGE_NAME" "$RELEASE" "$hash"
}

have_image() { "$DOCKER" image inspect "$1" >/dev/null 2>&1; }

# Sets BASE to an image of the suite.
ensure_base() {
    local pulled="debian:$1-slim" made="$BASE_NAME:$1"
    if have_image "$made"; then BASE=$made; return; fi
    if have_image "$pulled"; then BASE=$pulled; return; fi
    say "pulling $pulled"
    if timeout "$PULL_SECONDS" "$DOCKER" pull -q "$pulled" >/dev/null 2>"$RUN_DIR/pull.log"; then
        BASE=$pulled
        return
    fi
    say "cannot pull ($(tail -n 1 "$RUN_DIR/pull.log" | cut -c1-120)); making $made with debootstrap"
    make_base "$1" "$made"
    BASE=$made
}

make_base() {
    local suite=$1 name=$2 root
    [[ $(id -u) == 0 ]] || die "a base image can neither be pulled nor made" "debootstrap needs root"
    command -v debootstrap >/dev/null || apt-get install -y -q --no-install-recommends debootstrap \
        >"$RUN_DIR/debootstrap-install.log" 2>&1 \
        || die "debootstrap cannot be installed" "see $RUN_DIR/debootstrap-install.log"
    root=$(mktemp -d /var/tmp/hpclaunch-base.XXXXXX)
    CLEANUP+=("$root")
    say "debootstrap $suite (about a minute; log: docker/run/debootstrap.log)"
    debootstrap --variant=minbase "$suite" "$root" "$DEBIAN_MIRROR" \
        >"$RUN_DIR/debootstrap.log" 2>&1 || die "debootstrap $suite failed" "see $RUN_DIR/debootstrap.log"
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
    say "importing $name"
    tar -C "$root" -c . | "$DOCKER" import - "$name" >/dev/null
    rm -rf "$root"
}

# What this machine needs to reach its registries: given to the build as secrets and as docker's own
# proxy arguments, so that nothing of it stays in the image.
write_build_secrets() {
    local dir=$1 bundle key value
    : >"$dir/ca.pem"
    for bundle in "${PIP_CERT:-}" "${SSL_CERT_FILE:-}" /etc/ssl/certs/ca-certificates.crt; do
        if [[ -n $bundle && -r $bundle ]]; then cp -- "$bundle" "$dir/ca.pem"; break; fi
    done
    printf '[global]\n' >"$dir/pip.conf"
    for key in index-url extra-index-url trusted-host proxy; do
        # Indexes in this machine's own folders do not exist inside the build.
        value=$(pip_setting "$key" | tr ' ' '\n' | grep -v '^file:' | paste -sd ' ' || true)
        if [[ -n $value ]]; then printf '%s = %s\n' "$key" "$value" >>"$dir/pip.conf"; fi
    done
}

pip_setting() {
    local variable
    variable=PIP_$(tr 'a-z-' 'A-Z_' <<<"$1")
    if [[ -n ${!variable:-} ]]; then
        printf '%s\n' "${!variable}"
    elif command -v python3 >/dev/null; then
        python3 -m pip config get "global.$1" 2>/dev/null || true
    fi
}

build_image() {
    local suite secrets proxy
    suite=$(suite_of "$RELEASE")
    ensure_base "$suite"
    secrets=$(mktemp -d)
    CLEANUP+=("$secrets")
    write_build_secrets "$secrets"
    proxy=$(apt-config dump --format '%v' Acquire::http::Proxy 2>/dev/null || true)
    say "building $IMAGE (log: docker/run/build.log)"
    DOCKER_BUILDKIT=1 BUILDKIT_PROGRESS=plain "$DOCKER" build --network host \
        --build-arg BASE="$BASE" --build-arg RELEASE="$RELEASE" ${proxy:+--build-arg http_proxy="$proxy"} \
        --secret "id=ca,src=$secrets/ca.pem" --secret "id=pip,src=$secrets/pip.conf" \
        --label "org.hpclaunch.slurm=$RELEASE" --tag "$IMAGE" "$DOCKER_DIR" 2>&1 \
        | tee "$RUN_DIR/build.log" | show_build_steps \
        || { tail -n 8 "$RUN_DIR/build.log" | cut -c1-200 >&2; die "the image does not build" "see $RUN_DIR/build.log"; }
    rm -rf "$secrets"
}

# One line for each step of the build instead of thousands.
show_build_steps() {
    local line
    while IFS= read -r line; do
        if [[ $line =~ ^\#[0-9]+\ (\[[^]]*\]\ .*|DONE\ [0-9.]+s|CACHED|ERROR.*)$ ]]; then
            say "  ${BASH_REMATCH[1]:0:100}"
        fi
    done
}

# Images of this release that no container uses any more.
remove_old_images() {
    local old
    while read -r old; do
        if [[ $old != "$IMAGE" ]]; then "$DOCKER" image rm "$old" >/dev/null 2>&1 || true; fi
    done < <("$DOCKER" image ls --format '{{.Repository}}:{{.Tag}}' "$IMAGE_NAME:$RELEASE-*")
}
