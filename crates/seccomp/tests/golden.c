/* Builds a filter with libseccomp and writes its BPF program to standard output: the other side of golden.rs.
 *
 * Standard input, a line each, words apart by blanks:
 *   default ACTION                      first; actions are return values of the filter, in hexadecimal
 *   optimize LEVEL                      libseccomp's optimization, 2 being its binary tree
 *   arch NAME                           libseccomp's name; together they are all of the filter's architectures
 *   rule ACTION NAME [INDEX OP A B]...  OP as in enum scmp_compare, A and B in hexadecimal
 * A name that libseccomp does not know is told on standard error as "unknown NAME", and its rule left out.
 */
#include <errno.h>
#include <inttypes.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fail(const char *what, const char *line, int error)
{
    fprintf(stderr, "%s: %s: %s\n", what, line, strerror(error));
    exit(1);
}

static void add_rule(scmp_filter_ctx filter, const char *line)
{
    struct scmp_arg_cmp args[6];
    char name[64];
    uint32_t action;
    unsigned count = 0;
    int at, used;

    if (sscanf(line, "rule %" SCNx32 " %63s%n", &action, name, &at) != 2)
        fail("rule", line, EINVAL);
    while (count < 6) {
        unsigned index, op;
        uint64_t a, b;
        if (sscanf(line + at, " %u %u %" SCNx64 " %" SCNx64 "%n", &index, &op, &a, &b, &used) != 4)
            break;
        args[count++] = (struct scmp_arg_cmp){ index, (enum scmp_compare)op, a, b };
        at += used;
    }
    int call = seccomp_syscall_resolve_name(name);
    if (call == __NR_SCMP_ERROR) {
        fprintf(stderr, "unknown %s\n", name);
        return;
    }
    int result = seccomp_rule_add_array(filter, action, call, count, args);
    if (result != 0)
        fail("seccomp_rule_add_array", line, -result);
}

int main(void)
{
    char line[1024], name[64];
    scmp_filter_ctx filter = NULL;
    uint32_t value;
    int native = 0, result;

    while (fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "default %" SCNx32, &value) == 1) {
            filter = seccomp_init(value);
            if (!filter)
                fail("seccomp_init", line, EINVAL);
        } else if (sscanf(line, "optimize %" SCNu32, &value) == 1) {
            result = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, value);
            if (result != 0)
                fail("seccomp_attr_set", line, -result);
        } else if (sscanf(line, "arch %63s", name) == 1) {
            uint32_t arch = seccomp_arch_resolve_name(name);
            if (arch == seccomp_arch_native()) {
                native = 1;
            } else if ((result = seccomp_arch_add(filter, arch)) != 0) {
                fail("seccomp_arch_add", line, -result);
            }
        } else {
            /* The filter came with the native architecture; rules go to those that are there. */
            if (!native && (result = seccomp_arch_remove(filter, SCMP_ARCH_NATIVE)) != 0)
                fail("seccomp_arch_remove", line, -result);
            native = 1;
            add_rule(filter, line);
        }
    }
    result = filter ? seccomp_export_bpf(filter, 1) : -EINVAL;
    if (result != 0)
        fail("seccomp_export_bpf", "", -result);
    return 0;
}
