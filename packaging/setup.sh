#!/usr/bin/env bash
# Installs what the named sets of packages.txt and tools.txt list, and nothing that is there already.
#   packaging/setup.sh build run test vm package ci bench
# Installs only as root on a Debian-like system; elsewhere it prints the one line to type and ends with 1.
set -euo pipefail
cd "$(dirname "$0")"

sets=("$@")
[ ${#sets[@]} -gt 0 ] || { echo "usage: $0 build|run|test|vm|package|ci|bench …" >&2; exit 64; }

wanted() { # wanted FILE COLUMN: that column of the lines of our sets, each once
    awk -v sets=" ${sets[*]} " -v col="$2" '!/^#/ && NF && index(sets, " " $1 " ") && $col != "-" && !seen[$col]++ { print $col }' "$1"
}

# Services of freshly installed packages (docker, monit …) are not started: the tests start what they need, privately.
apt_install() {
    local guard=/usr/sbin/policy-rc.d
    if [ ! -e "$guard" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$guard" && chmod +x "$guard"
        # shellcheck disable=SC2064 # the name is wanted as it is now
        trap "rm -f '$guard'" EXIT
    fi
    apt-get update -q
    # Nothing is taken away to make room for it, except where the whole machine is thrown away afterwards.
    local keep=(--no-remove)
    [ "${CI:-}" != true ] || keep=()
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${keep[@]}" "$@"
    # A second caller must find the guard gone even when the shell lives on.
    case $(trap -p EXIT) in *"$guard"*) rm -f "$guard"; trap - EXIT ;; esac
}

system_packages() {
    if command -v dpkg-query >/dev/null; then
        local missing=() package
        for package in $(wanted packages.txt 2); do
            [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
        done
        [ ${#missing[@]} -gt 0 ] || return 0
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
            apt_install "${missing[@]}"
        else
            echo "missing packages; please type: sudo apt-get install --no-install-recommends ${missing[*]}" >&2
            return 1
        fi
    elif command -v rpm >/dev/null; then
        local missing=() package
        for package in $(wanted packages.txt 3); do
            rpm -q --whatprovides "$package" >/dev/null 2>&1 || missing+=("$package")
        done
        [ ${#missing[@]} -gt 0 ] || return 0
        echo "missing packages; please type: sudo dnf install ${missing[*]}" >&2
        return 1
    else
        echo "no dpkg and no rpm here; what is needed, under the names of Debian: $(wanted packages.txt 2 | tr '\n' ' ')" >&2
    fi
}

cargo_tools() {
    local installed crate version
    installed=$(cargo install --list)
    for crate in $(wanted tools.txt 2); do
        version=$(awk -v crate="$crate" '!/^#/ && $2 == crate { print $3 }' tools.txt)
        if ! grep -q "^$crate v$version:" <<<"$installed"; then
            # A debug build of a tool is ready in a fraction of the time, and these run for seconds.
            (cd / && cargo install --locked --debug --quiet "$crate@$version")
        fi
    done
}

if ! command -v cargo >/dev/null; then
    echo "cargo is missing: install Rust 1.95 or newer, see https://rustup.rs" >&2
    exit 1
fi
system_packages
cargo_tools
