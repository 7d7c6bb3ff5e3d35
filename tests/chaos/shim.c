/* A layer between a replica and the system, loaded with LD_PRELOAD by the chaos tests.
 *
 * It makes the disk slow, failing, hanging or tearing, moves the wall clock, and gives outgoing
 * connections a source address of their own. What it does is read from a file that it maps and
 * the tests write; see shim.rs for the places. Only files below CHAOS_DATA are concerned.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum {
    SYNC_ERRNO,    /* syncs fail with this */
    WRITE_ERRNO,   /* writes fail with this */
    SYNC_DELAY_US, /* each sync takes this much longer */
    SYNC_HANGS,    /* syncs do not return while this is set */
    CLOCK_MS,      /* added to the wall clock */
    TEAR,          /* the next write to the log is cut in half, and the process ends */
    HITS,          /* how often anything above was done to the process */
    PLACES
};

static volatile int64_t *control;
static char data[512];
static size_t data_length;
static struct in_addr source;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("CHAOS_CONTROL");
    const char *root = getenv("CHAOS_DATA");
    const char *address = getenv("CHAOS_SOURCE");
    if (root && strlen(root) < sizeof data) {
        strcpy(data, root);
        data_length = strlen(data);
    }
    if (address) inet_aton(address, &source);
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *map = mmap(NULL, PLACES * sizeof(int64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (map != MAP_FAILED) control = map;
}

static int64_t told(int place) { return control ? control[place] : 0; }

static void hit(void) { __atomic_fetch_add(&control[HITS], 1, __ATOMIC_RELAXED); }

/* Whether a file belongs to the replica's data; its name is left in `name`. */
static int is_data(int fd, char *name, size_t size) {
    char link[64];
    int saved = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, name, size - 1);
    errno = saved;
    if (length < 0 || !data_length) return 0;
    name[length] = 0;
    return strncmp(name, data, data_length) == 0;
}

static int sync_fails(int fd) {
    char name[1024];
    if (!told(SYNC_ERRNO) && !told(SYNC_DELAY_US) && !told(SYNC_HANGS)) return 0;
    if (!is_data(fd, name, sizeof name)) return 0;
    hit();
    if (told(SYNC_DELAY_US)) usleep((useconds_t)told(SYNC_DELAY_US));
    while (told(SYNC_HANGS)) usleep(10000);
    if (!told(SYNC_ERRNO)) return 0;
    errno = (int)told(SYNC_ERRNO);
    return 1;
}

static int write_fails(int fd) {
    char name[1024];
    if (!told(WRITE_ERRNO) || !is_data(fd, name, sizeof name)) return 0;
    hit();
    errno = (int)told(WRITE_ERRNO);
    return 1;
}

/* Writes half of what should go to the log, and ends the process as a cut of power would. */
static void tear(int fd, const void *bytes, size_t count) {
    char name[1024];
    if (!told(TEAR) || count < 64 || !is_data(fd, name, sizeof name)) return;
    size_t length = strlen(name);
    if (length < 4 || strcmp(name + length - 4, ".log") != 0) return;
    hit();
    syscall(SYS_write, fd, bytes, count / 2);
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

int fsync(int fd) { return sync_fails(fd) ? -1 : (int)syscall(SYS_fsync, fd); }

int fdatasync(int fd) { return sync_fails(fd) ? -1 : (int)syscall(SYS_fdatasync, fd); }

int sync_file_range(int fd, off_t offset, off_t bytes, unsigned flags) {
    return sync_fails(fd) ? -1 : (int)syscall(SYS_sync_file_range, fd, offset, bytes, flags);
}

ssize_t write(int fd, const void *bytes, size_t count) {
    tear(fd, bytes, count);
    return write_fails(fd) ? -1 : syscall(SYS_write, fd, bytes, count);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
    return write_fails(fd) ? -1 : syscall(SYS_pwrite64, fd, bytes, count, offset);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) {
    return pwrite64(fd, bytes, count, offset);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    return write_fails(fd) ? -1 : syscall(SYS_writev, fd, parts, count);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    int64_t ms = clock == CLOCK_REALTIME ? told(CLOCK_MS) : 0;
    if (result == 0 && ms) {
        int64_t nanos = now->tv_nsec + (ms % 1000) * 1000000;
        now->tv_sec += ms / 1000 + (nanos >= 1000000000) - (nanos < 0);
        now->tv_nsec = nanos + (nanos < 0 ? 1000000000 : 0) - (nanos >= 1000000000 ? 1000000000 : 0);
        hit();
    }
    return result;
}

int connect(int fd, const struct sockaddr *to, socklen_t length) {
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)to;
    if (source.s_addr && to->sa_family == AF_INET && length >= sizeof *v4 &&
        (ntohl(v4->sin_addr.s_addr) >> 24) == 127) {
        struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr = source};
        int late = 1;
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &late, sizeof late);
        /* A socket that is bound already keeps its address. */
        (void)!bind(fd, (struct sockaddr *)&from, sizeof from);
    }
    return (int)syscall(SYS_connect, fd, to, length);
}
