#!/busybox sh
# The QEMU machine's first program: finds its root file system and hands over to machine.sh.
#
# Beside it in the initial file system, all made by xtask/src/vm/initramfs.rs: /busybox, /modules/N.ko in the order
# in which they must be loaded, and the folder /machine with what the next stage needs.

fail() {
    echo "machine: $*"
    /busybox poweroff -f
}

/busybox mkdir -p /proc /sys /dev /host /layer /new
/busybox mount -t proc proc /proc
/busybox mount -t sysfs sysfs /sys
/busybox mount -t devtmpfs devtmpfs /dev

for module in $(/busybox ls /modules | /busybox sort -n); do
    /busybox insmod "/modules/$module" || fail "module $module does not load"
done

# The host's own root, read only, under a layer that forgets: every program of the host is here too, and nothing
# done here reaches it.
/busybox mount -t virtiofs -o ro host /host || fail "the host's root cannot be mounted"
/busybox mount -t tmpfs -o size=75% layer /layer
/busybox mkdir /layer/upper /layer/work
/busybox mount -t overlay -o lowerdir=/host,upperdir=/layer/upper,workdir=/layer/work root /new ||
    fail "no overlay over the host's root"

for directory in proc sys dev; do
    /busybox mount --move /$directory /new/$directory
done
/busybox cp -r /machine /new/.machine
exec /busybox switch_root /new /bin/bash /.machine/machine.sh
