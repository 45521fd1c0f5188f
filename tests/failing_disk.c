/* A disk that fails: calls of the C library that change files, of which one, or all from one on, fail.

Preloaded (LD_PRELOAD) into a process, it counts the calls that change something below one folder, in all threads. The
one that is to fail does nothing, or writes half of its bytes. `tests/failing_disk.py` builds and steers it, or, for a
process that has to fail from its start on, FAILING_FOLDER, FAILING_AT, FAILING_ERROR and FAILING_LASTS do. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define REAL(type, name, ...) static type (*real)(__VA_ARGS__); if (!real) real = dlsym(RTLD_NEXT, name)

static char below[PATH_MAX];
static char failed_call[PATH_MAX + 64];
static atomic_long count;
static long fails_at;
static int error_number, lasts;

void failing_disk(const char *folder, long at, int error, int lasting) {
    count = 0;
    fails_at = at;
    error_number = error;
    lasts = lasting;
    failed_call[0] = 0;
    snprintf(below, sizeof below, "%s", folder);
}

long changes(void) { return count; }

const char *first_failure(void) { return failed_call; }

__attribute__((constructor)) static void from_environment(void) {
    const char *folder = getenv("FAILING_FOLDER"), *at = getenv("FAILING_AT"), *error = getenv("FAILING_ERROR");
    if (folder && at && error) failing_disk(folder, atol(at), atoi(error), getenv("FAILING_LASTS") != NULL);
}

/* Whether this change has to fail. */
static int fails(const char *call, const char *path) {
    size_t length = strlen(below);
    if (!length || strncmp(path, below, length) || (path[length] && path[length] != '/')) return 0;
    long number = ++count;
    if (!fails_at || (lasts ? number < fails_at : number != fails_at)) return 0;
    if (number == fails_at) snprintf(failed_call, sizeof failed_call, "%s of %s", call, path + length);
    errno = error_number;
    return 1;
}

static int fails_in(const char *call, int folder, const char *name) {
    char link[64], path[2 * PATH_MAX];
    ssize_t length = 0;
    if (name && (name[0] == '/' || folder == AT_FDCWD)) return fails(call, name);
    snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    if ((length = readlink(link, path, PATH_MAX - 1)) < 0) return 0;
    path[length] = 0;
    if (name) snprintf(path + length, PATH_MAX, "/%s", name);
    return fails(call, path);
}

ssize_t write(int file, const void *bytes, size_t size) {
    REAL(ssize_t, "write", int, const void *, size_t);
    if (!fails_in("write", file, NULL)) return real(file, bytes, size);
    int error = errno;
    real(file, bytes, size / 2);
    errno = error;
    return -1;
}

static ssize_t written(const char *call, int file, const void *bytes, size_t size, off64_t place) {
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
    if (!fails_in(call, file, NULL)) return real(file, bytes, size, place);
    int error = errno;
    real(file, bytes, size / 2, place);
    errno = error;
    return -1;
}

ssize_t pwrite(int file, const void *bytes, size_t size, off_t place) { return written("pwrite", file, bytes, size, place); }

ssize_t pwrite64(int file, const void *bytes, size_t size, off64_t place) { return written("pwrite", file, bytes, size, place); }

int fsync(int file) {
    REAL(int, "fsync", int);
    return fails_in("fsync", file, NULL) ? -1 : real(file);
}

int fdatasync(int file) {
    REAL(int, "fdatasync", int);
    return fails_in("fdatasync", file, NULL) ? -1 : real(file);
}

int ftruncate(int file, off_t size) {
    REAL(int, "ftruncate", int, off_t);
    return fails_in("ftruncate", file, NULL) ? -1 : real(file, size);
}

int ftruncate64(int file, off64_t size) {
    REAL(int, "ftruncate64", int, off64_t);
    return fails_in("ftruncate", file, NULL) ? -1 : real(file, size);
}

int rename(const char *from, const char *to) {
    REAL(int, "rename", const char *, const char *);
    return fails("rename", to) ? -1 : real(from, to);
}

int unlink(const char *path) {
    REAL(int, "unlink", const char *);
    return fails("unlink", path) ? -1 : real(path);
}

int unlinkat(int folder, const char *path, int flags) {
    REAL(int, "unlinkat", int, const char *, int);
    return fails_in("unlink", folder, path) ? -1 : real(folder, path, flags);
}

int rmdir(const char *path) {
    REAL(int, "rmdir", const char *);
    return fails("rmdir", path) ? -1 : real(path);
}

int mkdir(const char *path, mode_t mode) {
    REAL(int, "mkdir", const char *, mode_t);
    return fails("mkdir", path) ? -1 : real(path, mode);
}

static int opened(const char *path, int flags, mode_t mode) {
    REAL(int, "open64", const char *, int, ...);
    struct stat found;
    if (flags & O_CREAT && stat(path, &found) && fails("creation", path)) return -1;
    return real(path, flags, mode);
}

int open(const char *path, int flags, ...) {
    va_list given;
    va_start(given, flags);
    mode_t mode = flags & O_CREAT ? va_arg(given, mode_t) : 0;
    va_end(given);
    return opened(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list given;
    va_start(given, flags);
    mode_t mode = flags & O_CREAT ? va_arg(given, mode_t) : 0;
    va_end(given);
    return opened(path, flags, mode);
}
