/* Counts the read calls on files below one directory, and makes each of them slow.
 *
 * Loaded by LD_PRELOAD. HPCLAUNCH_CALLS_BELOW names the directory. Counts are taken and the delay is
 * set from within the process (hpclaunch_calls_*, by ctypes); HPCLAUNCH_CALLS_DELAY_US is the delay
 * from the start, and HPCLAUNCH_CALLS_FILE gets "calls bytes" at the end.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static atomic_ullong calls, bytes;
static atomic_long delay_us;
static char below[4096];
static size_t length;

__attribute__((constructor)) static void begin(void) {
    const char *folder = getenv("HPCLAUNCH_CALLS_BELOW");
    const char *delay = getenv("HPCLAUNCH_CALLS_DELAY_US");
    if (folder && strlen(folder) < sizeof below) {
        strcpy(below, folder);
        length = strlen(below);
    }
    if (delay) delay_us = atol(delay);
}

__attribute__((destructor)) static void end(void) {
    const char *name = getenv("HPCLAUNCH_CALLS_FILE");
    FILE *file = name ? fopen(name, "w") : NULL;
    if (!file) return;
    fprintf(file, "%llu %llu\n", (unsigned long long)calls, (unsigned long long)bytes);
    fclose(file);
}

void hpclaunch_calls_delay(long microseconds) { delay_us = microseconds; }

void hpclaunch_calls_take(uint64_t into[2]) {
    into[0] = atomic_exchange(&calls, 0);
    into[1] = atomic_exchange(&bytes, 0);
}

static int ours(int fd) {
    char link[64], target[4096];
    if (!length) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t got = readlink(link, target, sizeof target);
    return got > (ssize_t)length && !memcmp(target, below, length) && target[length] == '/';
}

static void wait_first(int mine) {
    long us = mine ? delay_us : 0;
    struct timespec left = {us / 1000000, us % 1000000 * 1000};
    while (us > 0 && nanosleep(&left, &left)) {}
}

static ssize_t counted(int mine, ssize_t got) {
    if (mine) {
        calls++;
        if (got > 0) bytes += got;
    }
    return got;
}

#define SLOW(name, parameters, ...)                                         \
    ssize_t name parameters {                                               \
        static ssize_t(*real) parameters;                                   \
        if (!real) real = (ssize_t(*) parameters)dlsym(RTLD_NEXT, #name);   \
        int mine = ours(fd);                                                \
        wait_first(mine);                                                   \
        return counted(mine, real(fd, __VA_ARGS__));                        \
    }

SLOW(read, (int fd, void *into, size_t size), into, size)
SLOW(pread, (int fd, void *into, size_t size, off_t at), into, size, at)
SLOW(pread64, (int fd, void *into, size_t size, off64_t at), into, size, at)
SLOW(readv, (int fd, const struct iovec *into, int count), into, count)
SLOW(preadv, (int fd, const struct iovec *into, int count, off_t at), into, count, at)
SLOW(preadv64, (int fd, const struct iovec *into, int count, off64_t at), into, count, at)
SLOW(preadv2, (int fd, const struct iovec *into, int count, off_t at, int flags), into, count, at, flags)
SLOW(preadv64v2, (int fd, const struct iovec *into, int count, off64_t at, int flags), into, count, at, flags)
