// Which functions of a program are executed: `order FILE PROGRAM COMMAND [ARGUMENT]...` runs the command and follows
// it and its descendants wherever they execute PROGRAM. FILE gets a line for each function that a process calls for
// the first time, in that order: the number of the process's image, counted anew with each fork and execve(2), and the
// function's name.
//
// On x86-64. PROGRAM is static, not position independent and has its symbols. Every function begins with a breakpoint,
// which is taken out when it is hit; ptrace(2) has the stops that this handles. Ends with the command and its exit
// code; what is left of its descendants then is killed.

#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BREAKPOINT = 0xcc, PROCESSES = 1024 };

static struct process {
    pid_t pid;
    // Of the program: 0 while it executes another.
    int image;
    // Which functions it has called, by their place in the table of symbols.
    char *called;
} processes[PROCESSES];

static const char *path;
static struct stat program;
static unsigned char *whole;
static const char *names;
static Elf64_Sym *symbols;
static size_t count;
// The executable segment, and what it looks like with a breakpoint at every function.
static Elf64_Phdr *text;
static unsigned char *planted;
static FILE *file;

static void fail(const char *what)
{
    fprintf(stderr, "order: %s: %s\n", what, strerror(errno));
    exit(125);
}

static int is_function(const Elf64_Sym *symbol)
{
    int kind = ELF64_ST_TYPE(symbol->st_info);
    return (kind == STT_FUNC || kind == STT_GNU_IFUNC) && symbol->st_value - text->p_vaddr < text->p_filesz;
}

// Finds the functions of the program.
static void read_program(void)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0 || fstat(descriptor, &program) != 0)
        fail(path);
    whole = mmap(NULL, program.st_size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (whole == MAP_FAILED)
        fail(path);
    Elf64_Ehdr *head = (Elf64_Ehdr *)whole;
    Elf64_Shdr *sections = (Elf64_Shdr *)(whole + head->e_shoff);
    for (int i = 0; i < head->e_shnum; i++) {
        if (sections[i].sh_type != SHT_SYMTAB)
            continue;
        symbols = (Elf64_Sym *)(whole + sections[i].sh_offset);
        count = sections[i].sh_size / sizeof *symbols;
        names = (char *)whole + sections[sections[i].sh_link].sh_offset;
    }
    Elf64_Phdr *segments = (Elf64_Phdr *)(whole + head->e_phoff);
    for (int i = 0; i < head->e_phnum; i++)
        if (segments[i].p_type == PT_LOAD && segments[i].p_flags & PF_X)
            text = &segments[i];
    if (symbols == NULL || text == NULL || (planted = malloc(text->p_filesz)) == NULL)
        fail("no symbols, no code or no memory");
    memcpy(planted, whole + text->p_offset, text->p_filesz);
    for (size_t i = 0; i < count; i++)
        if (is_function(&symbols[i]))
            planted[symbols[i].st_value - text->p_vaddr] = BREAKPOINT;
}

static int open_process(const struct process *process, const char *name, int flags)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/%s", process->pid, name);
    return open(path, flags | O_CLOEXEC);
}

// A process may have been killed meanwhile: then there is nothing to write.
static void write_code(const struct process *process, const unsigned char *bytes, size_t length, Elf64_Addr at)
{
    int memory = open_process(process, "mem", O_WRONLY);
    if (pwrite(memory, bytes, length, at) != (ssize_t)length && kill(process->pid, 0) == 0)
        fail("write to a process");
    close(memory);
}

// A process has a new image: plants the breakpoints, if it is one of the program.
static void begin(struct process *process)
{
    static int images;
    struct stat now = { 0 };
    int executed = open_process(process, "exe", O_PATH);
    fstat(executed, &now);
    close(executed);
    free(process->called);
    process->called = NULL;
    process->image = 0;
    // Not the device: the program executes itself anew from mounts of its own.
    if (now.st_size != program.st_size || now.st_mtim.tv_sec != program.st_mtim.tv_sec ||
        now.st_mtim.tv_nsec != program.st_mtim.tv_nsec)
        return;
    process->image = ++images;
    if ((process->called = calloc(count, 1)) == NULL)
        fail("calloc");
    write_code(process, planted, text->p_filesz, text->p_vaddr);
}

// Takes a breakpoint out, if that is what the process has stopped at, and notes the names of the function.
static int is_hit(struct process *process)
{
    struct user_regs_struct registers;
    if (process->image == 0 || ptrace(PTRACE_GETREGS, process->pid, NULL, &registers) != 0)
        return 0;
    Elf64_Addr at = registers.rip - 1;
    size_t place = at - text->p_vaddr;
    if (place >= text->p_filesz || planted[place] != BREAKPOINT)
        return 0;
    for (size_t i = 0; i < count; i++) {
        if (symbols[i].st_value != at || !is_function(&symbols[i]) || process->called[i])
            continue;
        process->called[i] = 1;
        fprintf(file, "%d %s\n", process->image, names + symbols[i].st_name);
    }
    write_code(process, whole + text->p_offset + place, 1, at);
    registers.rip = at;
    return ptrace(PTRACE_SETREGS, process->pid, NULL, &registers) == 0;
}

// What a stop means for the process; gives the signal that it is to get.
static int stopped(struct process *process, int status)
{
    if (status >> 16 == PTRACE_EVENT_EXEC)
        begin(process);
    if (status >> 16 != 0 || (WSTOPSIG(status) == SIGTRAP && is_hit(process)))
        return 0;
    return WSTOPSIG(status);
}

// The stop that every new process begins with.
static void adopt(pid_t pid)
{
    struct process *process = processes;
    while (process->pid != 0)
        if (++process == processes + PROCESSES)
            fail("too many processes");
    process->pid = pid;
    begin(process);
}

static struct process *find(pid_t pid)
{
    for (struct process *process = processes; process < processes + PROCESSES; process++)
        if (process->pid == pid)
            return process;
    return NULL;
}

int main(int argc, char **words)
{
    if (argc < 4) {
        fputs("usage: order FILE PROGRAM COMMAND [ARGUMENT]...\n", stderr);
        return 125;
    }
    path = words[2];
    read_program();
    if ((file = fopen(words[1], "we")) == NULL)
        fail(words[1]);
    pid_t first = fork();
    if (first < 0)
        fail("fork");
    if (first == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        execvp(words[3], words + 3);
        _exit(127);
    }
    const long options = PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC |
                         PTRACE_O_EXITKILL;
    int code = 125, status;
    for (pid_t pid; (pid = waitpid(-1, &status, __WALL)) > 0;) {
        struct process *process = find(pid);
        if (!WIFSTOPPED(status)) {
            if (pid == first) {
                code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
                break;
            }
            if (process != NULL) {
                free(process->called);
                *process = (struct process) { 0 };
            }
            continue;
        }
        long signal = 0;
        if (process != NULL) {
            signal = stopped(process, status);
        } else {
            adopt(pid);
            ptrace(PTRACE_SETOPTIONS, pid, NULL, options);
        }
        // It may have been killed meanwhile.
        ptrace(PTRACE_CONT, pid, NULL, signal);
    }
    if (fclose(file) != 0)
        fail(words[1]);
    return code;
}
