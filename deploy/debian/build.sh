#!/bin/sh
# Makes the Debian package: deploy/debian/build.sh [CARGO PROFILE, default release]
# Needs cargo-deb (`cargo install cargo-deb`). Prints the package's path.
set -eu
cd "$(dirname "$0")/../.."
profile=${1:-release}
cargo build --workspace --profile "$profile"
out=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
case $profile in dev) lbd=$out/debug/lbd ;; *) lbd=$out/$profile/lbd ;; esac
rm -rf target/deb
mkdir -p target/deb
"$lbd" manuals target/deb/man
"$lbd" completions bash >target/deb/lbd.bash
"$lbd" completions zsh >target/deb/_lbd
"$lbd" completions fish >target/deb/lbd.fish
cargo deb --package lbd --no-build --profile "$profile"
