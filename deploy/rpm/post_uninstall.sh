# $1 is 0 at a removal. cargo-generate-rpm 0.21 cannot make a folder the package's own (an asset with `dir`
# ends in "No such file or directory"), so the empty ones go here.
if [ "$1" -eq 0 ]; then
    find /usr/share/doc/lbd /usr/share/licenses/lbd -depth -type d -empty -delete 2>/dev/null || :
    if [ -d /run/systemd/system ]; then
        systemctl daemon-reload || :
    fi
fi
