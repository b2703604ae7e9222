# $1 is 1 at an installation and 2 at an upgrade.
if ! getent passwd lbd >/dev/null; then
    useradd --system --user-group --home-dir /var/lib/lbd --no-create-home --shell /sbin/nologin lbd
fi
# lbd's own, so that `lbd push` on another box can replace what is in it.
if [ ! -d /etc/lbd ]; then
    install -d -m 0750 -o lbd -g lbd /etc/lbd
fi
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
    # A restart hands over: the sessions stay, and so does the mastership.
    if [ "$1" -ge 2 ]; then
        systemctl try-restart lbd.service lbd-agent.service || :
    fi
fi
if [ ! -e /etc/lbd/lbd.yaml ]; then
    echo "lbd: \`lbd init\` writes /etc/lbd/lbd.yaml; then: chown -R lbd: /etc/lbd; systemctl enable --now lbd"
fi
