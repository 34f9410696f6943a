/* Makes every fsync and fdatasync take longer, as on a disk that really writes, and counts them. Preloaded into
 * the daemon by staunch-bench. STAUNCH_BENCH_DELAY_US: the delay after each, in microseconds.
 * STAUNCH_BENCH_SYNCS: a file of at least eight bytes that holds the count. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static _Atomic unsigned long long nowhere;
static _Atomic unsigned long long *count = &nowhere;
static long delay_us;

__attribute__((constructor)) static void prepare(void) {
    const char *delay = getenv("STAUNCH_BENCH_DELAY_US");
    const char *path = getenv("STAUNCH_BENCH_SYNCS");
    if (delay) delay_us = atol(delay);
    if (!path) return;
    int file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0) return;
    void *map = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (map != MAP_FAILED) count = map;
}

static int slowly(long number, int file) {
    int result = (int)syscall(number, file);
    int error = errno;
    struct timespec left = {delay_us / 1000000, delay_us % 1000000 * 1000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
    atomic_fetch_add(count, 1);
    errno = error;
    return result;
}

int fsync(int file) { return slowly(SYS_fsync, file); }
int fdatasync(int file) { return slowly(SYS_fdatasync, file); }
