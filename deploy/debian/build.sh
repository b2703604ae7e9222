#!/bin/sh
# Makes the Debian package and prints its path: deploy/debian/build.sh [--no-build] [PROFILE [OPTION..]]
# PROFILE is cargo's, `release` unless said otherwise; `--no-build` takes what it has built already;
# OPTIONs are those of `cargo deb`. Needs cargo-deb (`cargo install cargo-deb`).
set -eu
cd "$(dirname "$0")/../.."
build=yes
if [ "${1:-}" = --no-build ]; then
    build=no
    shift
fi
profile=${1:-release}
[ $# -eq 0 ] || shift
[ $build = no ] || cargo build --workspace --bins --profile "$profile"
out=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
case $profile in dev) lbd=$out/debug/lbd ;; *) lbd=$out/$profile/lbd ;; esac
rm -rf target/deb
mkdir -p target/deb
"$lbd" manuals target/deb/man
"$lbd" completions bash >target/deb/lbd.bash
"$lbd" completions zsh >target/deb/_lbd
"$lbd" completions fish >target/deb/lbd.fish
cargo deb --package lbd --no-build --profile "$profile" "$@"
