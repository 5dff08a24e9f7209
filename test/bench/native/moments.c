/*
 * moments - how often, and for how long, this machine takes the processor away from a program that only looks at the clock.
 *
 * Build: gcc -O2 -Wall -Wextra -o moments moments.c
 * Usage: moments [SECS]      run it with taskset -c N for one processor
 *
 * It makes no system call while it looks, so what it sees is interrupts, other programs and, in a virtual machine, the
 * hypervisor, of which the guest's own counters (/proc/interrupts, steal in /proc/stat) need not know anything.  One JSON line:
 * moments a second of less and of more than LONG, their median length, the median time between two, and the timer interrupts of
 * the guest on all its processors meanwhile, by which the rate can be told from its own ticks.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SHORTEST 400 /* ns between two looks at the clock that count as a moment; usually there are 20 to 40 */
#define LONG 20000   /* ns: longer ones are other programs, or ticks with work to do */
#define MOST 4000000

static uint32_t length[MOST], between[MOST];

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t); /* without a system call, unless the clock of the machine is a bad one */
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

/* Local timer interrupts of all processors; 0 where they are not told. */
static uint64_t ticks(void)
{
    char line[4096];
    uint64_t sum = 0;
    FILE *f = fopen("/proc/interrupts", "r");
    if (!f)
        return 0;
    while (fgets(line, sizeof line, f)) {
        char *p = strstr(line, "LOC:"), *end;
        if (!p)
            continue;
        for (p += 4;; p = end) {
            uint64_t v = strtoull(p, &end, 10);
            if (end == p)
                break;
            sum += v;
        }
    }
    fclose(f);
    return sum;
}

static int ascending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static double median_us(uint32_t *v, int n)
{
    qsort(v, n, sizeof *v, ascending);
    return n ? v[n / 2] / 1e3 : 0;
}

int main(int argc, char **argv)
{
    double secs = argc > 1 ? atof(argv[1]) : 1;
    memset(length, 1, sizeof length); /* its pages are there before anything is looked at */
    memset(between, 1, sizeof between);
    int n = 0, longer = 0;
    uint64_t t0 = ticks(), begun = now(), before = begun, last = begun, end = begun + secs * 1e9;
    while (before < end && n < MOST) {
        uint64_t t = now();
        if (t - before > LONG) {
            longer++;
            last = t;
        } else if (t - before > SHORTEST) {
            length[n] = t - before;
            between[n++] = t - last;
            last = t;
        }
        before = t;
    }
    double passed = (before - begun) / 1e9, guest = (ticks() - t0) / passed;
    printf("{\"perSecond\":%.0f,\"us\":%.1f,\"everyUs\":%.1f,\"longerPerSecond\":%.0f,\"guestTicks\":%.0f}\n", n / passed,
           median_us(length, n), median_us(between, n), longer / passed, guest);
    return 0;
}
