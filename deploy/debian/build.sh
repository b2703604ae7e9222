#!/bin/sh
# Makes the Debian package and prints its path: deploy/debian/build.sh [--no-build] [PROFILE [OPTION..]]
# PROFILE is cargo's, `release` unless said otherwise; `--no-build` takes what it has built already;
# OPTIONs are those of `cargo deb`. Needs cargo-deb (`cargo install cargo-deb`).
set -eu
cd "$(dirname "$0")/../.."
. deploy/package-files.sh
cargo deb --package lbd --no-build --profile "$profile" "$@"
