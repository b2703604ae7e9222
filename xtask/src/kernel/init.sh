#!/bin/busybox sh
# The first and only process of the emulated machine: runs every test, and switches off.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t bpf bpf /sys/fs/bpf
ip link set lo up
echo "kernel $(uname -r)"
for test in /tests/*; do
    echo "== ${test##*/}"
    $test --test-threads=1 || echo "${test##*/} failed"
done
echo "all tests ended"
poweroff -f
