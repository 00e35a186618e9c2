// What a command costs: `cost FILE COMMAND [ARGUMENT]...` runs it and writes a line of two numbers to FILE, both of
// wait4(2) and so with every process that the command itself waited for:
//
//   - the largest resident set that one of them ever had, in KiB;
//   - their processor time in user space and in the kernel together, in microseconds.
//
// In C, static and small, because the kernel counts what a process had before execve(2) too, and that is what the
// process has that starts it. Ends with the command's exit code, or 128 and the signal that ended it.

#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static long microseconds(struct timeval time)
{
    return time.tv_sec * 1000000L + time.tv_usec;
}

int main(int count, char **words)
{
    if (count < 3) {
        fputs("usage: cost FILE COMMAND [ARGUMENT]...\n", stderr);
        return 125;
    }
    pid_t pid = vfork();
    if (pid < 0) {
        perror("cost: vfork");
        return 125;
    }
    if (pid == 0) {
        execv(words[2], words + 2);
        _exit(127);
    }
    int status;
    struct rusage usage;
    if (wait4(pid, &status, 0, &usage) != pid) {
        perror("cost: wait4");
        return 125;
    }
    long time = microseconds(usage.ru_utime) + microseconds(usage.ru_stime);
    FILE *file = fopen(words[1], "w");
    if (file == NULL || fprintf(file, "%ld %ld\n", usage.ru_maxrss, time) < 0 || fclose(file) != 0) {
        perror(words[1]);
        return 125;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
