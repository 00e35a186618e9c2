// The bare floor of a container start: the kernel work of `minidocker run --rm` and nothing else.
//
// No image, no state, no log, no reading back of limits, no words for the user, no way to run two commands: what
// remains is what the kernel itself takes. `cargo xtask bench start` starts this program and minidocker in turn and
// prints the ratio. It is meant to be read beside the lines of `minidocker run --explain`: each function below is
// one of its domains, and its comment names the steps that correspond.
//
//   floor --rootfs DIR --scratch DIR --name NAME --bridge NAME --address A.B.C.D/PREFIX --gateway A.B.C.D
//         --memory BYTES --memory-swap BYTES --cpu-quota MICROSECONDS --cpuset LIST --pids N --shares N -- COMMAND...
//
// DIR of --rootfs has the directories proc, sys and dev. --scratch is where the writable layer is made and removed.
// The bridge exists beforehand. Exit code: the command's own; 1 if a step fails, and the step is named on stderr.
//
// The order of work: parent and child meet once. While the child builds its file system, the parent makes the
// control groups and the network link; then it lets the child go on.
//
//   parent                                  child
//   make_layer
//   (v2: make_groups)
//   clone3 ------------------------------>  make_root, make_proc_sys_dev
//   (v1: make_groups), make_link
//   "go" -------------------------------->  join_groups, show_groups, set_up_link, pivot, hide_paths
//                                           drop_privileges, execve
//   waitid  <-----------------------------  end
//   take_down

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <linux/audit.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))
enum { PATH_SIZE = 512, MAX_GROUPS = 16 };

// What is wanted, from the command line.
static struct {
    const char *rootfs, *scratch, *name, *bridge, *cpuset;
    struct in_addr address, gateway;
    int prefix;
    long memory, memory_swap, cpu_quota, pids, shares;
    char **command;
} want;

// A hierarchy of control groups that this host mounts, and our group in it.
struct hierarchy {
    char mount[PATH_SIZE / 2];   // /sys/fs/cgroup/memory
    char options[PATH_SIZE / 2]; // rw,memory
    char group[PATH_SIZE];       // /sys/fs/cgroup/memory/NAME
};

// What was made, for the parent to take down.
static struct hierarchy hierarchies[MAX_GROUPS];
static int hierarchy_count;
static int unified;      // one version 2 hierarchy instead of several of version 1
static int groups_made;
static char layer[PATH_SIZE]; // SCRATCH/NAME with root, upper and work in it
static int layer_made;
static pid_t parent, child;

// ---- failing --------------------------------------------------------------------------------------------------

static void take_down(void);

static _Noreturn void fail(const char *step, const char *target)
{
    fprintf(stderr, "floor: %s on %s: %s\n", step, target, strerror(errno));
    if (getpid() == parent) {
        if (child > 0) {
            kill(child, SIGKILL);
            waitpid(child, NULL, 0);
        }
        take_down();
    }
    _exit(1);
}

static long check(long result, const char *step, const char *target)
{
    if (result < 0)
        fail(step, target);
    return result;
}

// A path or a value, printed into a buffer that must be large enough.
__attribute__((format(printf, 3, 4))) static char *print(char *buffer, size_t size, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(buffer, size, format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= size) {
        errno = ENAMETOOLONG;
        fail("name", format);
    }
    return buffer;
}

static void write_file(const char *directory, const char *file, const char *text)
{
    char path[PATH_SIZE + 64];
    print(path, sizeof path, "%s/%s", directory, file);
    int fd = check(open(path, O_WRONLY | O_CLOEXEC), "open", path);
    if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        fail("write", path);
    close(fd);
}

static void write_number(const char *directory, const char *file, long number)
{
    char text[32];
    write_file(directory, file, print(text, sizeof text, "%ld", number));
}

// ---- the root file system -------------------------------------------------------------------------------------

// minidocker: storage.layer
static void make_layer(void)
{
    static const char *parts[] = { "", "/root", "/upper", "/work" };
    print(layer, sizeof layer, "%s/%s", want.scratch, want.name);
    for (size_t i = 0; i < COUNT(parts); i++) {
        char path[PATH_SIZE + 8];
        print(path, sizeof path, "%s%s", layer, parts[i]);
        check(mkdir(path, 0755), "mkdir", path);
        layer_made = 1;
    }
}

static void overlay_option(int overlay, const char *key, const char *value)
{
    check(fsconfig(overlay, FSCONFIG_SET_STRING, key, value, 0), "fsconfig", key);
}

// minidocker: mount.private, mount.root. Leaves the process in the new root.
static void make_root(void)
{
    char path[PATH_SIZE + 8];
    check(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "mount private", "/");
    int overlay = check(fsopen("overlay", FSOPEN_CLOEXEC), "fsopen", "overlay");
    overlay_option(overlay, "lowerdir", want.rootfs);
    overlay_option(overlay, "upperdir", print(path, sizeof path, "%s/upper", layer));
    overlay_option(overlay, "workdir", print(path, sizeof path, "%s/work", layer));
    check(fsconfig(overlay, FSCONFIG_SET_FLAG, "volatile", NULL, 0), "fsconfig", "volatile");
    check(fsconfig(overlay, FSCONFIG_CMD_CREATE, NULL, NULL, 0), "fsconfig", "overlay");
    int root = check(fsmount(overlay, FSMOUNT_CLOEXEC, 0), "fsmount", "overlay");
    print(path, sizeof path, "%s/root", layer);
    check(move_mount(root, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH), "move_mount", path);
    check(chdir(path), "chdir", path);
    close(root);
    close(overlay);
}

static void mount_at(const char *type, const char *target, unsigned long flags, const char *options)
{
    check(mount(type, target, type, flags, options), "mount", target);
}

// minidocker: mount.proc, mount.sys, mount.dev and what belongs into it. Works in the new root, before the pivot.
static void make_proc_sys_dev(void)
{
    static const struct { const char *path; int major, minor; } nodes[] = {
        { "dev/null", 1, 3 },   { "dev/zero", 1, 5 },    { "dev/full", 1, 7 },
        { "dev/random", 1, 8 }, { "dev/urandom", 1, 9 }, { "dev/tty", 5, 0 },
    };
    static const struct { const char *path, *target; } links[] = {
        { "dev/fd", "/proc/self/fd" },       { "dev/stdin", "/proc/self/fd/0" }, { "dev/stdout", "/proc/self/fd/1" },
        { "dev/stderr", "/proc/self/fd/2" }, { "dev/ptmx", "pts/ptmx" },         { "dev/core", "/proc/kcore" },
    };
    static const char *directories[] = { "dev/pts", "dev/shm", "dev/mqueue" };
    const unsigned long quiet = MS_NOSUID | MS_NODEV | MS_NOEXEC;

    mount_at("proc", "proc", quiet, NULL);
    mount_at("sysfs", "sys", quiet | MS_RDONLY, NULL);
    mount_at("tmpfs", "dev", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k");
    umask(0);
    for (size_t i = 0; i < COUNT(nodes); i++)
        check(mknod(nodes[i].path, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)), "mknod", nodes[i].path);
    for (size_t i = 0; i < COUNT(links); i++)
        check(symlink(links[i].target, links[i].path), "symlink", links[i].path);
    for (size_t i = 0; i < COUNT(directories); i++)
        check(mkdir(directories[i], 0755), "mkdir", directories[i]);
    umask(022);
    mount_at("devpts", "dev/pts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5");
    mount_at("tmpfs", "dev/shm", quiet, "mode=1777,size=65536k");
    mount_at("mqueue", "dev/mqueue", quiet, NULL);
}

// minidocker: mount.pivot
static void pivot(void)
{
    check(syscall(SYS_pivot_root, ".", "."), "pivot_root", layer);
    // The old root now lies on top of the new one at the same place.
    check(umount2(".", MNT_DETACH), "umount", "the old root");
    check(chdir("/"), "chdir", "/");
}

// minidocker: mount.mask, mount.readonly; Docker's list. What this kernel does not have needs no hiding.
static void hide_paths(void)
{
    static const char *masked[] = {
        "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
        "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
        "/sys/devices/virtual/powercap", "/sys/firmware",
    };
    static const char *read_only[] = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger" };
    struct stat what;

    for (size_t i = 0; i < COUNT(masked); i++) {
        if (stat(masked[i], &what) < 0) {
            if (errno != ENOENT)
                fail("stat", masked[i]);
        } else if (S_ISDIR(what.st_mode)) {
            mount_at("tmpfs", masked[i], MS_RDONLY, "size=0k");
        } else {
            check(mount("/dev/null", masked[i], NULL, MS_BIND, NULL), "mask", masked[i]);
        }
    }
    for (size_t i = 0; i < COUNT(read_only); i++) {
        if (mount(read_only[i], read_only[i], NULL, MS_BIND | MS_REC, NULL) < 0) {
            if (errno == ENOENT)
                continue;
            fail("bind", read_only[i]);
        }
        unsigned long flags = MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
        check(mount(NULL, read_only[i], NULL, flags, NULL), "remount read-only", read_only[i]);
    }
}

// ---- control groups -------------------------------------------------------------------------------------------

// Which hierarchies this host has: those of version 1, or the one of version 2 where there are none.
static void find_hierarchies(void)
{
    static struct hierarchy version2;
    char line[4096], type[32];
    FILE *mounts = fopen("/proc/self/mountinfo", "re");
    if (!mounts)
        fail("open", "/proc/self/mountinfo");
    while (fgets(line, sizeof line, mounts)) {
        struct hierarchy found = { 0 };
        char *separator = strstr(line, " - ");
        if (!separator || sscanf(separator, " - %31s %*s %255s", type, found.options) != 2 ||
            strncmp(type, "cgroup", 6) != 0 || sscanf(line, "%*s %*s %*s %*s %255s", found.mount) != 1)
            continue;
        print(found.group, sizeof found.group, "%s/%s", found.mount, want.name);
        if (strcmp(type, "cgroup2") == 0)
            version2 = found;
        else if (hierarchy_count < MAX_GROUPS)
            hierarchies[hierarchy_count++] = found;
    }
    fclose(mounts);
    if (hierarchy_count == 0) {
        unified = 1;
        hierarchies[hierarchy_count++] = version2;
    }
}

// Docker's device list: null, zero, full, random, urandom, tty, console, ptmx, every pts; any node may be made.
static const struct { int major, minor; const char *access; } devices[] = {
    { -1, -1, "m" },  { 1, 3, "rwm" }, { 1, 5, "rwm" }, { 1, 7, "rwm" }, { 1, 8, "rwm" },
    { 1, 9, "rwm" },  { 5, 0, "rwm" }, { 5, 1, "rwm" }, { 5, 2, "rwm" }, { 136, -1, "rwm" },
};

static void allow_devices_v1(const char *group)
{
    char rule[64], major[16], minor[16];
    write_file(group, "devices.deny", "a");
    write_file(group, "devices.allow", "b *:* m");
    for (size_t i = 0; i < COUNT(devices); i++) {
        print(major, sizeof major, devices[i].major < 0 ? "*" : "%d", devices[i].major);
        print(minor, sizeof minor, devices[i].minor < 0 ? "*" : "%d", devices[i].minor);
        print(rule, sizeof rule, "c %s:%s %s", major, minor, devices[i].access);
        write_file(group, "devices.allow", rule);
    }
}

static int has(const struct hierarchy *hierarchy, const char *controller)
{
    char options[PATH_SIZE / 2], *rest = strcpy(options, hierarchy->options), *word;
    while ((word = strsep(&rest, ",")))
        if (strcmp(word, controller) == 0)
            return 1;
    return 0;
}

// minidocker: cgroup.make, cgroup.limit, cgroup.device
static void limit_v1(const struct hierarchy *hierarchy)
{
    const char *group = hierarchy->group;
    if (has(hierarchy, "cpuset")) {
        char path[PATH_SIZE], nodes[256];
        print(path, sizeof path, "%s/cpuset.mems", hierarchy->mount);
        int fd = check(open(path, O_RDONLY | O_CLOEXEC), "open", path);
        ssize_t length = check(read(fd, nodes, sizeof nodes - 1), "read", path);
        close(fd);
        nodes[length] = 0;
        write_file(group, "cpuset.mems", nodes);
        write_file(group, "cpuset.cpus", want.cpuset);
    }
    if (has(hierarchy, "memory")) {
        write_number(group, "memory.limit_in_bytes", want.memory);
        write_number(group, "memory.memsw.limit_in_bytes", want.memory_swap);
    }
    if (has(hierarchy, "cpu")) {
        write_number(group, "cpu.cfs_period_us", 100000);
        write_number(group, "cpu.cfs_quota_us", want.cpu_quota);
        write_number(group, "cpu.shares", want.shares);
    }
    if (has(hierarchy, "pids"))
        write_number(group, "pids.max", want.pids);
    if (has(hierarchy, "devices"))
        allow_devices_v1(group);
}

// The device list as a program, which is what version 2 wants.
static void allow_devices_v2(const char *group)
{
    struct bpf_insn code[8 + 4 * COUNT(devices)];
    int n = 0;
    // w2 = access << 16 | type, w4 = major, w5 = minor, of struct bpf_cgroup_dev_ctx
    code[n++] = (struct bpf_insn){ BPF_LDX | BPF_MEM | BPF_W, 2, 1, 0, 0 };
    code[n++] = (struct bpf_insn){ BPF_LDX | BPF_MEM | BPF_W, 4, 1, 4, 0 };
    code[n++] = (struct bpf_insn){ BPF_LDX | BPF_MEM | BPF_W, 5, 1, 8, 0 };
    code[n++] = (struct bpf_insn){ BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1 };
    code[n++] = (struct bpf_insn){ BPF_ALU64 | BPF_RSH | BPF_K, 2, 0, 0, 16 };
    // Making a node and nothing else is allowed for all: on to the end.
    int end_at = n++;
    for (size_t i = 1; i < COUNT(devices); i++) {
        int skip = devices[i].minor < 0 ? 1 : 2;
        code[n++] = (struct bpf_insn){ BPF_JMP | BPF_JNE | BPF_K, 4, 0, skip, devices[i].major };
        if (devices[i].minor >= 0)
            code[n++] = (struct bpf_insn){ BPF_JMP | BPF_JNE | BPF_K, 5, 0, 1, devices[i].minor };
        code[n++] = (struct bpf_insn){ BPF_JMP | BPF_EXIT, 0, 0, 0, 0 };
    }
    code[n++] = (struct bpf_insn){ BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0 };
    code[n++] = (struct bpf_insn){ BPF_JMP | BPF_EXIT, 0, 0, 0, 0 };
    code[end_at] = (struct bpf_insn){ BPF_JMP | BPF_JEQ | BPF_K, 2, 0, n - end_at - 2, BPF_DEVCG_ACC_MKNOD };

    union bpf_attr load = { .prog_type = BPF_PROG_TYPE_CGROUP_DEVICE, .insns = (uintptr_t)code,
                            .insn_cnt = n, .license = (uintptr_t)"Apache-2.0" };
    int program = check(syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof load), "bpf load", group);
    int directory = check(open(group, O_DIRECTORY | O_CLOEXEC), "open", group);
    union bpf_attr attach = { .target_fd = directory, .attach_bpf_fd = program, .attach_type = BPF_CGROUP_DEVICE };
    check(syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof attach), "bpf attach", group);
    close(directory);
    close(program);
}

static void limit_v2(const char *group)
{
    char text[64];
    write_file(group, "cpuset.cpus", want.cpuset);
    write_number(group, "memory.max", want.memory);
    write_number(group, "memory.swap.max", want.memory_swap - want.memory);
    write_file(group, "cpu.max", print(text, sizeof text, "%ld 100000", want.cpu_quota));
    // The weight of so many shares by the formula that all runtimes use: 2..262144 to 1..10000.
    write_number(group, "cpu.weight", 1 + (want.shares - 2) * 9999 / 262142);
    write_number(group, "pids.max", want.pids);
    allow_devices_v2(group);
}

static void make_groups(void)
{
    for (int i = 0; i < hierarchy_count; i++) {
        check(mkdir(hierarchies[i].group, 0755), "mkdir", hierarchies[i].group);
        groups_made = i + 1;
        if (unified)
            limit_v2(hierarchies[i].group);
        else
            limit_v1(&hierarchies[i]);
    }
}

// minidocker: cgroup.join, namespace.cgroup. Writing 0 moves the calling, single thread: no wait for a grace period.
static void join_groups(void)
{
    for (int i = 0; i < hierarchy_count && !unified; i++)
        write_file(hierarchies[i].group, "tasks", "0");
    // Only now, so that our groups are the roots of what the container sees.
    check(unshare(CLONE_NEWCGROUP), "unshare", "cgroup");
}

// minidocker: mount.cgroup
static void show_groups(void)
{
    const unsigned long quiet = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    char target[PATH_SIZE];
    if (unified) {
        mount_at("cgroup2", "sys/fs/cgroup", quiet | MS_RDONLY, NULL);
        return;
    }
    mount_at("tmpfs", "sys/fs/cgroup", quiet, "mode=755");
    for (int i = 0; i < hierarchy_count; i++) {
        print(target, sizeof target, "sys/fs/cgroup%s", strrchr(hierarchies[i].mount, '/'));
        check(mkdir(target, 0755), "mkdir", target);
        check(mount(hierarchies[i].group, target, NULL, MS_BIND, NULL), "bind", target);
        check(mount(NULL, target, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | quiet, NULL), "remount read-only", target);
    }
    check(mount(NULL, "sys/fs/cgroup", NULL, MS_REMOUNT | MS_RDONLY | quiet, NULL), "remount read-only", "cgroup");
}

// ---- the network ----------------------------------------------------------------------------------------------

// One route netlink request, built in place.
struct request {
    struct nlmsghdr head;
    char body[512];
};

static void *extend(struct request *request, size_t size)
{
    void *place = (char *)request + NLMSG_ALIGN(request->head.nlmsg_len);
    request->head.nlmsg_len = NLMSG_ALIGN(request->head.nlmsg_len) + size;
    return place;
}

static struct rtattr *attribute(struct request *request, int type, const void *data, size_t size)
{
    struct rtattr *attribute = extend(request, RTA_LENGTH(size));
    attribute->rta_type = type;
    attribute->rta_len = RTA_LENGTH(size);
    if (size)
        memcpy(RTA_DATA(attribute), data, size);
    return attribute;
}

static void end_nest(struct request *request, struct rtattr *nest)
{
    nest->rta_len = (char *)request + request->head.nlmsg_len - (char *)nest;
}

static struct request begin(int type, int flags)
{
    return (struct request){ .head = { .nlmsg_len = NLMSG_LENGTH(0), .nlmsg_type = type,
                                       .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags } };
}

static int route_socket(void)
{
    return check(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), "socket", "route netlink");
}

static void ask(int netlink, struct request *request, const char *what)
{
    struct { struct nlmsghdr head; struct nlmsgerr error; char rest[1024]; } answer;
    check(send(netlink, request, request->head.nlmsg_len, 0), "send", what);
    check(recv(netlink, &answer, sizeof answer, 0), "receive", what);
    if (answer.head.nlmsg_type != NLMSG_ERROR || answer.error.error != 0) {
        errno = answer.head.nlmsg_type == NLMSG_ERROR ? -answer.error.error : EPROTO;
        fail("netlink", what);
    }
}

// minidocker: network.veth. The pair, its bridge and its far end's namespace in one request.
static void make_link(void)
{
    int netlink = route_socket();
    char name[IFNAMSIZ];
    int bridge = if_nametoindex(want.bridge);
    if (bridge == 0)
        fail("find", want.bridge);
    struct request request = begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
    *(struct ifinfomsg *)extend(&request, sizeof(struct ifinfomsg)) =
        (struct ifinfomsg){ .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
    print(name, sizeof name, "%s", want.name);
    attribute(&request, IFLA_IFNAME, name, strlen(name) + 1);
    attribute(&request, IFLA_MASTER, &bridge, sizeof bridge);
    struct rtattr *info = attribute(&request, IFLA_LINKINFO, NULL, 0);
    attribute(&request, IFLA_INFO_KIND, "veth", 4);
    struct rtattr *data = attribute(&request, IFLA_INFO_DATA, NULL, 0);
    struct rtattr *peer = attribute(&request, VETH_INFO_PEER, NULL, 0);
    *(struct ifinfomsg *)extend(&request, sizeof(struct ifinfomsg)) = (struct ifinfomsg){ 0 };
    attribute(&request, IFLA_IFNAME, "eth0", 5);
    attribute(&request, IFLA_NET_NS_PID, &child, sizeof child);
    end_nest(&request, peer);
    end_nest(&request, data);
    end_nest(&request, info);
    ask(netlink, &request, "veth");
    close(netlink);
}

static void set_up(int netlink, int index, const char *name)
{
    struct request request = begin(RTM_NEWLINK, 0);
    *(struct ifinfomsg *)extend(&request, sizeof(struct ifinfomsg)) =
        (struct ifinfomsg){ .ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
    ask(netlink, &request, name);
}

// minidocker: network.address, network.up, network.route, in the container's namespace
static void set_up_link(void)
{
    int netlink = route_socket();
    int index = if_nametoindex("eth0");
    if (index == 0)
        fail("find", "eth0");
    set_up(netlink, 1, "lo");

    struct request address = begin(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
    *(struct ifaddrmsg *)extend(&address, sizeof(struct ifaddrmsg)) =
        (struct ifaddrmsg){ .ifa_family = AF_INET, .ifa_prefixlen = want.prefix, .ifa_index = index };
    struct in_addr broadcast = { want.address.s_addr | htonl(~0U >> want.prefix) };
    attribute(&address, IFA_LOCAL, &want.address, sizeof want.address);
    attribute(&address, IFA_ADDRESS, &want.address, sizeof want.address);
    attribute(&address, IFA_BROADCAST, &broadcast, sizeof broadcast);
    ask(netlink, &address, "address");
    set_up(netlink, index, "eth0");

    struct request route = begin(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);
    *(struct rtmsg *)extend(&route, sizeof(struct rtmsg)) =
        (struct rtmsg){ .rtm_family = AF_INET, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_BOOT,
                        .rtm_scope = RT_SCOPE_UNIVERSE, .rtm_type = RTN_UNICAST };
    attribute(&route, RTA_GATEWAY, &want.gateway, sizeof want.gateway);
    attribute(&route, RTA_OIF, &index, sizeof index);
    ask(netlink, &route, "default route");
    close(netlink);
}

// ---- privileges -----------------------------------------------------------------------------------------------

// A balanced tree of tests over the system call numbers low..high whose every leaf allows. It decides nothing, but
// the kernel copies, checks and compiles it, and works out for each number beforehand what it answers, as it does
// with a real policy.
static int grow_filter(struct sock_filter *code, int at, int low, int high)
{
    if (high - low <= 4) {
        code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
        return at;
    }
    int middle = (low + high) / 2, test = at;
    code[test] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, middle, 0, 1);
    at = grow_filter(code, test + 2, low, middle);
    code[test + 1] = (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, at - test - 2);
    return grow_filter(code, at, middle, high);
}

// minidocker: seccomp.load. Some 385 instructions, about as many as Docker's default policy takes.
static void load_filter(void)
{
    static struct sock_filter code[512];
    code[0] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    struct sock_fprog program = { .len = grow_filter(code, 1, 0, 512), .filter = code };
    check(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program), "seccomp", "filter");
}

// minidocker: capability.bound, seccomp.load, capability.set
static void drop_privileges(void)
{
    static const int kept[] = {
        CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FSETID, CAP_FOWNER, CAP_MKNOD, CAP_NET_RAW, CAP_SETGID, CAP_SETUID,
        CAP_SETFCAP, CAP_SETPCAP, CAP_NET_BIND_SERVICE, CAP_SYS_CHROOT, CAP_KILL, CAP_AUDIT_WRITE,
    };
    uint64_t keep = 0;
    for (size_t i = 0; i < COUNT(kept); i++)
        keep |= 1ULL << kept[i];
    for (int capability = 0; capability <= CAP_LAST_CAP; capability++)
        if (!(keep >> capability & 1) && prctl(PR_CAPBSET_DROP, capability) < 0 && errno != EINVAL)
            fail("drop", "bounding set");
    // While CAP_SYS_ADMIN is still there: otherwise no_new_privs would be needed, which Docker does not set.
    load_filter();
    struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct sets[2] = {
        { .effective = keep, .permitted = keep, .inheritable = 0 },
        { .effective = keep >> 32, .permitted = keep >> 32, .inheritable = 0 },
    };
    check(syscall(SYS_capset, &head, sets), "capset", "the 14 default capabilities");
}

// ---- the two processes ----------------------------------------------------------------------------------------

static _Noreturn void run_child(int go)
{
    char byte;
    make_root();
    make_proc_sys_dev();
    if (read(go, &byte, 1) != 1)
        _exit(1); // the parent failed and has said so
    join_groups();
    show_groups();
    set_up_link();
    check(sethostname(want.name, strlen(want.name)), "sethostname", want.name);
    pivot();
    hide_paths();
    drop_privileges();
    char *environment[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL };
    execve(want.command[0], want.command, environment);
    fail("execve", want.command[0]);
}

// minidocker: process.clone
static int start_child(int go)
{
    int pidfd = -1;
    struct clone_args arguments = {
        .flags = CLONE_PIDFD | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET,
        .pidfd = (uintptr_t)&pidfd,
        .exit_signal = SIGCHLD,
    };
    int group = -1;
    if (unified) {
        group = check(open(hierarchies[0].group, O_DIRECTORY | O_CLOEXEC), "open", hierarchies[0].group);
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = group;
    }
    child = check(syscall(SYS_clone3, &arguments, sizeof arguments), "clone3", "the container");
    if (child == 0)
        run_child(go);
    if (group >= 0)
        close(group);
    return pidfd;
}

static int remove_entry(const char *path, const struct stat *what, int kind, struct FTW *walk)
{
    (void)what, (void)kind, (void)walk;
    return remove(path);
}

// minidocker: the monitor's clean-up. The link goes with the container's network namespace, the mounts with its
// mount namespace.
static void take_down(void)
{
    for (int i = 0; i < groups_made; i++)
        if (rmdir(hierarchies[i].group) < 0)
            fprintf(stderr, "floor: rmdir on %s: %s\n", hierarchies[i].group, strerror(errno));
    if (layer_made && nftw(layer, remove_entry, 16, FTW_DEPTH | FTW_PHYS) < 0)
        fprintf(stderr, "floor: remove on %s: %s\n", layer, strerror(errno));
}

static int run_parent(void)
{
    int go[2];
    siginfo_t end = { 0 };
    parent = getpid();
    find_hierarchies();
    make_layer();
    check(pipe2(go, O_CLOEXEC), "pipe", "the meeting point");
    if (unified)
        make_groups();
    int pidfd = start_child(go[0]);
    if (!unified)
        make_groups();
    make_link();
    if (write(go[1], "g", 1) != 1)
        fail("write", "the meeting point");
    check(waitid(P_PIDFD, pidfd, &end, WEXITED), "waitid", "the container");
    child = 0;
    take_down();
    return end.si_code == CLD_EXITED ? end.si_status : 128 + end.si_status;
}

// ---- the command line -----------------------------------------------------------------------------------------

static _Noreturn void usage(const char *wrong)
{
    fprintf(stderr, "floor: %s; the head of floor.c lists the options\n", wrong);
    exit(1);
}

static long number(const char *text)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno || *end || end == text)
        usage(text);
    return value;
}

static void parse_address(char *text)
{
    char *slash = strchr(text, '/');
    if (!slash)
        usage("--address takes A.B.C.D/PREFIX");
    *slash = 0;
    want.prefix = number(slash + 1);
    if (inet_pton(AF_INET, text, &want.address) != 1 || want.prefix < 1 || want.prefix > 31)
        usage("--address takes A.B.C.D/PREFIX");
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "rootfs", 1, 0, 'r' },     { "scratch", 1, 0, 't' }, { "name", 1, 0, 'n' },        { "bridge", 1, 0, 'b' },
        { "address", 1, 0, 'a' },    { "gateway", 1, 0, 'g' }, { "memory", 1, 0, 'm' },      { "memory-swap", 1, 0, 'w' },
        { "cpu-quota", 1, 0, 'q' },  { "cpuset", 1, 0, 'c' },  { "pids", 1, 0, 'p' },        { "shares", 1, 0, 's' },
        { 0 },
    };
    int option, seen = 0;
    while ((option = getopt_long(argc, argv, "+", options, NULL)) != -1) {
        switch (option) {
        case 'r': want.rootfs = optarg; break;
        case 't': want.scratch = optarg; break;
        case 'n': want.name = optarg; break;
        case 'b': want.bridge = optarg; break;
        case 'a': parse_address(optarg); break;
        case 'g':
            if (inet_pton(AF_INET, optarg, &want.gateway) != 1)
                usage("--gateway takes A.B.C.D");
            break;
        case 'm': want.memory = number(optarg); break;
        case 'w': want.memory_swap = number(optarg); break;
        case 'q': want.cpu_quota = number(optarg); break;
        case 'c': want.cpuset = optarg; break;
        case 'p': want.pids = number(optarg); break;
        case 's': want.shares = number(optarg); break;
        default: usage("unknown option");
        }
        seen++;
    }
    if (seen != 12 || !argv[optind])
        usage("all twelve options and a command are needed");
    want.command = argv + optind;
    return run_parent();
}
