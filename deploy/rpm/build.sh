#!/bin/sh
# Makes the RPM, in target/generate-rpm: deploy/rpm/build.sh [--no-build] [PROFILE [OPTION..]]
# PROFILE is cargo's, `release` unless said otherwise; `--no-build` takes what it has built already;
# OPTIONs are those of `cargo generate-rpm`. Needs cargo-generate-rpm (`cargo install cargo-generate-rpm`).
set -eu
cd "$(dirname "$0")/../.."
. deploy/package-files.sh
cargo generate-rpm --package lbd --profile "$profile" --target-dir "$out" "$@"
