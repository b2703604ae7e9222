# $1 is 0 at a removal: it leaves the box as lbd found it. An upgrade hands over to the next daemon instead.
if [ "$1" -eq 0 ]; then
    if [ -d /run/systemd/system ]; then
        systemctl disable --now lbd.service lbd-agent.service lbd-report.timer || :
    fi
    if [ -e /etc/lbd/lbd.yaml ]; then
        if /usr/bin/lbd cleanup; then
            rmdir --ignore-fail-on-non-empty /sys/fs/bpf/lbd 2>/dev/null || :
        else
            echo "lbd: \`lbd cleanup\` failed; remove /sys/fs/bpf/lbd by hand" >&2
        fi
    fi
fi
