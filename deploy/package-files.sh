# What a package holds beside the program and the files of this repository: manual pages and completions, made
# by the program itself. Sourced by the scripts that make a package, with their arguments:
#   [--no-build] [PROFILE [OPTION..]]
# PROFILE is cargo's, `release` unless said otherwise; `--no-build` takes what it has built already. Leaves
# `profile`, and cargo's target folder in `out`; OPTIONs stay in "$@".
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
rm -rf target/package
mkdir -p target/package
"$lbd" manuals target/package/man
"$lbd" completions bash >target/package/lbd.bash
"$lbd" completions zsh >target/package/_lbd
"$lbd" completions fish >target/package/lbd.fish
# The program without its debug information, which stands beside it for those who look into a fault.
objcopy --only-keep-debug "$lbd" target/package/lbd.debug
objcopy --strip-debug --add-gnu-debuglink=target/package/lbd.debug "$lbd" target/package/lbd
