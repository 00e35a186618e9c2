# The QEMU machine's second program: makes what a running system has, runs the command, reports its exit code.
#
# /.machine/settings sets `share` (the folder shared with the host), `cgroup` (v1 or v2), `init` (none or systemd), and
# the host's PATH and HOME; /.machine/command is the command. The ports out, err and exit lead to the host.
#
# Without systemd this is process 1 until the end. With it, it becomes systemd, whose one service is this file again,
# with the word `run`.

. /.machine/settings
export PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME TERM=dumb

port() { # the device of the port of that name
    local file
    for file in /sys/class/virtio-ports/*; do
        [ "$(cat "$file/name")" = "$1" ] && echo "/dev/${file##*/}"
    done
}
out=$(port out) err=$(port err) exit=$(port exit)

off() { # tells the exit code and ends the machine
    echo "$1" >"$exit"
    echo o >/proc/sysrq-trigger
    sleep 60
}

fail() {
    echo "machine: $*" >"$err"
    off 125
}

run() { # the command; ends the machine with its exit code
    cd "$share" || fail "$share cannot be entered"
    bash /.machine/command </dev/null >"$out" 2>"$err"
    code=$?
    sync
    off $code
}

disks() { # the folder that is shared, and /scratch: an overlay cannot have its upper directory on another overlay
    mkdir -p /scratch
    mount -t ext4 /dev/vda /scratch || fail "no disk for /scratch"
    chmod 1777 /scratch
    mount --bind /scratch /tmp
    mkdir -p "$share"
    mount -t virtiofs share "$share" || fail "$share cannot be shared"
}

mounts() { # what an init system would have mounted
    mount -t tmpfs -o mode=755 tmpfs /run
    mkdir -p /dev/shm /dev/pts /dev/mqueue
    mount -t tmpfs -o mode=1777 tmpfs /dev/shm
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts /dev/pts
    mount -t mqueue mqueue /dev/mqueue
    ln -sf pts/ptmx /dev/ptmx
    ln -sfn /proc/self/fd /dev/fd
    ln -sf fd/0 /dev/stdin
    ln -sf fd/1 /dev/stdout
    ln -sf fd/2 /dev/stderr
    # Nothing here answers the kernel's hotplug messages, so what is found by device file must be loaded by name.
    modprobe -qa loop veth bridge
    mount -t bpf bpf /sys/fs/bpf
}

control_groups() {
    if [ "$cgroup" = v1 ]; then
        mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
        while read -r controller _ _ enabled; do
            [ "$enabled" = 1 ] || continue
            mkdir "/sys/fs/cgroup/$controller"
            mount -t cgroup -o "$controller" cgroup "/sys/fs/cgroup/$controller" || fail "no cgroup $controller"
        done < <(tail -n +2 /proc/cgroups)
        mkdir /sys/fs/cgroup/unified
        mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified
    else
        mount -t cgroup2 cgroup2 /sys/fs/cgroup || fail "no cgroup2"
        for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
            echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control || fail "no controller $controller below the root"
        done
    fi
}

units() { # systemd's: none of the host's own choice, but those beside this file
    # Whatever the host's administrator enabled is not wanted here; what packages bring along may be started.
    mount -t tmpfs -o mode=755 tmpfs /etc/systemd/system
    cp /.machine/machine.target /.machine/machine.service /etc/systemd/system
    # Nobody logs in, there is no clock to set, no disk to look for, nothing to remember: each of these would take a
    # second of an emulated processor.
    for unit in binfmt.service hwdb-update.service journal-catalog-update.service journal-flush.service \
        modules-load.service pstore.service random-seed.service remount-fs.service sysctl.service \
        sysusers.service timesyncd.service tmpfiles-clean.timer tmpfiles-setup-dev.service \
        udev-trigger.service udevd.service update-done.service update-utmp.service; do
        ln -s /dev/null "/etc/systemd/system/systemd-$unit"
    done
    for unit in getty.target kmod-static-nodes.service modprobe@.service sys-fs-fuse-connections.mount \
        sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount \
        proc-sys-fs-binfmt_misc.automount proc-sys-fs-binfmt_misc.mount; do
        ln -s /dev/null "/etc/systemd/system/$unit"
    done
    # /tmp is empty, and what is shared below it is the host's to keep.
    mkdir -p /etc/tmpfiles.d
    ln -sf /dev/null /etc/tmpfiles.d/tmp.conf
    modprobe -qa loop veth bridge
}

if [ "${1-}" = run ]; then
    run
fi
hostname machine
ip link set lo up
if [ "$init" = systemd ]; then
    # This machine is none, even where the host is a container: systemd would read no kernel command line.
    rm -f /.dockerenv /run/.containerenv
    disks
    units
    exec /lib/systemd/systemd
fi
mounts
disks
control_groups
run
