// Prints numbered lines of 100 bytes as fast as it can: lines COUNT
//
// Each has its number in twelve digits, a space, 86 letters and a line feed, so that who reads them sees whether one
// is missing. docs/benchmarks.md says what it is used for.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE = 100, DIGITS = 12, LINES = 640 };

static char block[LINE * LINES];

static void number(char *at, unsigned long value)
{
    for (int digit = DIGITS - 1; digit >= 0; digit--, value /= 10)
        at[digit] = (char)('0' + value % 10);
}

int main(int count, char **words)
{
    unsigned long lines = count == 2 ? strtoul(words[1], NULL, 10) : 0;
    memset(block, 'x', sizeof block);
    for (int line = 0; line < LINES; line++) {
        block[line * LINE + DIGITS] = ' ';
        block[line * LINE + LINE - 1] = '\n';
    }
    for (unsigned long next = 0; next < lines;) {
        size_t here = lines - next < LINES ? lines - next : LINES;
        for (size_t line = 0; line < here; line++)
            number(block + line * LINE, next++);
        for (size_t done = 0; done < here * LINE;) {
            ssize_t written = write(1, block + done, here * LINE - done);
            if (written < 0)
                return 1;
            done += (size_t)written;
        }
    }
    return 0;
}
