/* The measuring client: WebSocket connections on one epoll loop, cheap enough never to be the bottleneck.
 *
 *     client SCRIPT key=value...
 *
 * SCRIPT (written by scripts/bench/script.py) holds every connection's bytes: the handshake, the frames that
 * follow it and what must be found in each answer, and one frame to send, in which the send time, the
 * idempotency key and the request id are digits of fixed width that are patched in place. The client
 *   1. connects, `window` at a time, each going through its steps (the connect storm);
 *   2. waits `settle_ms`;
 *   3. sends `rate` frames a second (0: none, the connections idle) on an open loop, round robin over rooms and
 *      their members, for `warmup_ms` and then `measure_ms`. Send number i is due at t0 + i / rate, whatever happened to those before it, and
 *      carries that due time: latency counts from it, so a stall is paid for by every send it delayed;
 *   4. waits up to `drain_ms` for every delivery and every ok;
 *   5. prints one JSON object and exits with 0. A server that refuses or dies shows as counts in it.
 *
 * On the way it checks: seq without a hole on every connection, the same first and last seq for all of a room,
 * every send delivered to all of its room, every send answered once.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NONE UINT32_MAX
#define FIRST_ID 1000000000u
#define BUCKETS (64 * 64)
#define SNAPSHOTS_MAX 64
#define READ_BYTES (1 << 20)
#define PENDING_MAX (1 << 20)
#define TAIL_MAX (1 << 20)
#define PIDS_MAX 64
#define SEC 1000000000ull

enum { ID_NONE, ID_BINARY, ID_DIGITS };
enum { SEQ_NONE, SEQ_MSGPACK, SEQ_DIGITS };
enum { STEP_LIVE = 255 };

typedef struct { const uint8_t *at; uint32_t size; } Blob;
typedef struct { Blob bytes, marker; } Step;
typedef struct {
    int fd;
    uint8_t step, steps, opened, failed;
    uint32_t room, time_at, cid_at, id_at, mask_at;
    uint32_t seen_time_at, seen_seq_at;   /* where the last event had them: the next one nearly always too */
    uint64_t started_ns, first_seq, last_seq, events;
    Step *script;
    Blob frame;
    uint8_t *left, *pending, *tail;       /* half a frame received; bytes the socket would not take; half a message */
    uint32_t left_size, pending_size, tail_size;
} Conn;
typedef struct { uint64_t counts[BUCKETS], total, max; } Histogram;
typedef struct {
    uint64_t at_ns, events, oks, sent, server_ticks, rss_bytes, own_us, core_total[2], core_busy[2];
} Snapshot;

static Conn *conns;
static uint32_t n_conns, n_rooms, id_kind, seq_kind;
static Blob time_marker, ok_marker, error_marker, seq_marker, delimiter, ping, pong;
static uint32_t *members, *member_start, *room_sends;
static uint8_t *answered;
static uint64_t total_sends, sent, events, oks, expected_events;
static uint64_t duplicates, errors, others, gaps, lost, closes, pings, blocked, unknown_ids, setup_failed, sources;
static uint64_t measure_from_ns, measure_to_ns, t0_ns;
static double rate;
static Histogram delivery, ok_latency, lateness, setup;
static char first_error[600];
static int poll_fd, server_pids[PIDS_MAX], n_pids, cores[2] = {0, 1};
static uint16_t port;
static struct in_addr host;
static uint8_t *read_buffer;
static uint32_t live, next_conn, in_setup;

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SEC + (uint64_t)t.tv_nsec;
}

static void die(const char *what) {
    fprintf(stderr, "client: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* Buckets of 1/64 of their value: quantiles are at most 1.6 % too high. */
static void record(Histogram *h, uint64_t value) {
    uint32_t index = (uint32_t)value;
    if (value >= 128) {
        uint32_t shift = 57u - (uint32_t)__builtin_clzll(value);
        index = shift * 64 + (uint32_t)(value >> shift);
    }
    h->counts[index]++;
    h->total++;
    if (value > h->max) h->max = value;
}

static uint64_t quantile(const Histogram *h, double q) {
    uint64_t want = (uint64_t)((double)h->total * q), seen = 0;
    if (!h->total) return 0;
    for (uint32_t i = 0; i < BUCKETS; i++) {
        seen += h->counts[i];
        if (seen > want || seen == h->total) {
            if (i < 128) return i;
            uint32_t shift = i / 64 - 1;
            uint64_t upper = ((uint64_t)(i % 64 + 64 + 1) << shift) - 1;
            return upper < h->max ? upper : h->max;
        }
    }
    return h->max;
}

static void note(const char *what, const uint8_t *data, size_t size) {
    if (first_error[0]) return;
    size_t at = (size_t)snprintf(first_error, 120, "%s ", what);
    for (size_t i = 0; i < size && at < sizeof first_error - 1; i++)
        first_error[at++] = data[i] >= 32 && data[i] < 127 && data[i] != '"' && data[i] != '\\' ? (char)data[i] : '.';
    first_error[at] = 0;
}

/* --- what the machine says ----------------------------------------------------------------------------- */

static size_t slurp(const char *path, char *into, size_t room) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t got = read(fd, into, room - 1);
    close(fd);
    into[got > 0 ? got : 0] = 0;
    return got > 0 ? (size_t)got : 0;
}

static Snapshot take_snapshot(void) {
    char path[64], text[65536];
    Snapshot s = {.at_ns = now_ns(), .events = events, .oks = oks, .sent = sent};
    for (int i = 0; i < n_pids; i++) {
        unsigned long user = 0, kernel = 0, pages = 0;
        snprintf(path, sizeof path, "/proc/%d/stat", server_pids[i]);
        if (slurp(path, text, sizeof text)) {
            char *rest = strrchr(text, ')');   /* the name may hold spaces */
            if (rest && sscanf(rest + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &kernel) == 2)
                s.server_ticks += user + kernel;
        }
        snprintf(path, sizeof path, "/proc/%d/statm", server_pids[i]);
        if (slurp(path, text, sizeof text) && sscanf(text, "%*u %lu", &pages) == 1)
            s.rss_bytes += pages * (unsigned long)sysconf(_SC_PAGESIZE);
    }
    if (slurp("/proc/stat", text, sizeof text))
        for (int i = 0; i < 2; i++) {
            char name[16];
            unsigned long long v[8] = {0};
            snprintf(name, sizeof name, "\ncpu%d ", cores[i]);
            char *line = strstr(text, name);
            if (!line) continue;
            sscanf(line + strlen(name), "%llu %llu %llu %llu %llu %llu %llu %llu", v, v + 1, v + 2, v + 3, v + 4,
                   v + 5, v + 6, v + 7);
            for (int k = 0; k < 8; k++) s.core_total[i] += v[k];
            s.core_busy[i] = s.core_total[i] - v[3] - v[4];
        }
    struct rusage own;
    getrusage(RUSAGE_SELF, &own);
    s.own_us = (uint64_t)(own.ru_utime.tv_sec + own.ru_stime.tv_sec) * 1000000u
        + (uint64_t)(own.ru_utime.tv_usec + own.ru_stime.tv_usec);
    return s;
}

/* --- connections --------------------------------------------------------------------------------------- */

static void watch(Conn *c, int op, uint32_t what) {
    struct epoll_event e = {.events = what, .data.ptr = c};
    if (epoll_ctl(poll_fd, op, c->fd, &e)) die("epoll_ctl");
}

static void lose(Conn *c, const char *why) {
    if (c->fd < 0) return;
    close(c->fd);
    c->fd = -1;
    if (c->step == STEP_LIVE) { lost++; live--; }
    else { setup_failed++; in_setup--; c->failed = 1; }
    note(why, (const uint8_t *)strerror(errno), strlen(strerror(errno)));
}

static void put(Conn *c, const uint8_t *data, uint32_t size) {
    if (c->fd < 0) return;
    uint32_t done = 0;
    if (!c->pending_size) {
        ssize_t n = send(c->fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n == (ssize_t)size) return;
        if (n < 0 && errno != EAGAIN) { lose(c, "a connection broke:"); return; }
        done = n > 0 ? (uint32_t)n : 0;
        watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    }
    blocked++;
    if (c->pending_size + size - done > PENDING_MAX) { errno = ENOBUFS; lose(c, "the server reads too slowly:"); return; }
    c->pending = realloc(c->pending, c->pending_size + size - done);
    memcpy(c->pending + c->pending_size, data + done, size - done);
    c->pending_size += size - done;
}

static void put_pending(Conn *c) {
    if (!c->pending_size) { watch(c, EPOLL_CTL_MOD, EPOLLIN); return; }
    ssize_t n = send(c->fd, c->pending, c->pending_size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) { if (errno != EAGAIN) lose(c, "a connection broke:"); return; }
    c->pending_size -= (uint32_t)n;
    memmove(c->pending, c->pending + n, c->pending_size);
    if (!c->pending_size) { free(c->pending); c->pending = NULL; watch(c, EPOLL_CTL_MOD, EPOLLIN); }
}

static void start_connection(Conn *c) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = host};
    struct linger reset = {.l_onoff = 1, .l_linger = 0};   /* no TIME_WAIT: the next run wants the port */
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) die("socket (file descriptors: see ulimit -n)");
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c->started_ns = now_ns();
    in_setup++;
    for (;;) {
        if (sources) {   /* ports of one source address ran out: go on from another loopback address */
            struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001u + (uint32_t)sources)};
            setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
            if (bind(c->fd, (struct sockaddr *)&from, sizeof from)) die("bind");
        }
        if (!connect(c->fd, (struct sockaddr *)&to, sizeof to) || errno == EINPROGRESS) break;
        if (errno != EADDRNOTAVAIL || sources >= 8) { lose(c, "cannot connect:"); return; }
        sources++;
    }
    watch(c, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
}

static void step_done(Conn *c) {
    c->step++;
    if (c->step < c->steps) { put(c, c->script[c->step].bytes.at, c->script[c->step].bytes.size); return; }
    c->step = STEP_LIVE;
    in_setup--;
    live++;
    record(&setup, now_ns() - c->started_ns);
}

/* --- frames -------------------------------------------------------------------------------------------- */

static uint32_t find(const uint8_t *data, size_t size, Blob marker, uint32_t guess) {
    if (guess != NONE && guess + marker.size <= size && !memcmp(data + guess, marker.at, marker.size)) return guess;
    const uint8_t *at = marker.size ? memmem(data, size, marker.at, marker.size) : NULL;
    return at ? (uint32_t)(at - data) : NONE;
}

static uint64_t digits(const uint8_t *at, const uint8_t *end) {
    uint64_t value = 0;
    for (; at < end && *at >= '0' && *at <= '9'; at++) value = value * 10 + (uint64_t)(*at - '0');
    return value;
}

static uint64_t big_endian(const uint8_t *at, const uint8_t *end, int size) {
    uint64_t value = 0;
    for (; size && at < end; size--) value = value << 8 | *at++;
    return value;
}

static uint64_t read_seq(const uint8_t *at, const uint8_t *end) {
    if (seq_kind == SEQ_DIGITS) return digits(at, end);
    if (at >= end) return 0;
    if (*at < 0x80) return *at;
    return *at >= 0xcc && *at <= 0xcf ? big_endian(at + 1, end, 1 << (*at - 0xcc)) : 0;
}

static void on_event(Conn *c, const uint8_t *data, size_t size, uint32_t at, uint64_t now) {
    uint64_t due = digits(data + at + time_marker.size, data + at + time_marker.size + 19);
    c->seen_time_at = at;
    events++;
    c->events++;
    if (due >= measure_from_ns && due < measure_to_ns) record(&delivery, now > due ? now - due : 0);
    if (seq_kind == SEQ_NONE) return;
    c->seen_seq_at = find(data, size, seq_marker, c->seen_seq_at);
    if (c->seen_seq_at == NONE) { gaps++; return; }
    uint64_t seq = read_seq(data + c->seen_seq_at + seq_marker.size, data + size);
    if (!c->first_seq) c->first_seq = seq;
    else if (seq != c->last_seq + 1) { gaps++; note("seq is not the next:", data, size); }
    c->last_seq = seq;
}

/* When a send is due; for ever where none is sent. */
static uint64_t due_ns(uint64_t index) {
    return rate > 0 ? t0_ns + (uint64_t)((double)index * 1e9 / rate) : UINT64_MAX;
}

static void on_ok(const uint8_t *data, size_t size, uint32_t at, uint64_t now) {
    const uint8_t *id_at = data + at + ok_marker.size;
    uint64_t id = id_kind == ID_BINARY ? big_endian(id_at, data + size, 4) : digits(id_at, data + size);
    uint64_t index = id - FIRST_ID;
    if (id < FIRST_ID || index >= sent) { unknown_ids++; return; }
    if (answered[index]++) { duplicates++; return; }
    oks++;
    uint64_t due = due_ns(index);
    if (due >= measure_from_ns && due < measure_to_ns) record(&ok_latency, now > due ? now - due : 0);
}

static void on_message(Conn *c, const uint8_t *data, size_t size, uint64_t now) {
    if (ping.size && size == ping.size && !memcmp(data, ping.at, size)) { pings++; put(c, pong.at, pong.size); return; }
    if (c->step != STEP_LIVE) {
        if (find(data, size, c->script[c->step].marker, NONE) != NONE) step_done(c);
        else if (find(data, size, error_marker, NONE) != NONE) { note("refused:", data, size); errno = 0; lose(c, "refused"); }
        return;
    }
    uint32_t at = find(data, size, time_marker, c->seen_time_at);
    if (at != NONE) { on_event(c, data, size, at, now); return; }
    at = find(data, size, ok_marker, NONE);
    if (at != NONE) { on_ok(data, size, at, now); return; }
    if (find(data, size, error_marker, NONE) != NONE) { errors++; note("error:", data, size); return; }
    others++;
}

/* The next piece of a stream of messages, which frames cut anywhere. */
static void on_piece(Conn *c, const uint8_t *data, size_t size, uint64_t now) {
    uint8_t *joined = NULL;
    if (c->tail_size) {
        joined = c->tail = realloc(c->tail, c->tail_size + size);
        memcpy(joined + c->tail_size, data, size);
        data = joined;
        size += c->tail_size;
    }
    for (const uint8_t *at; c->fd >= 0 && (at = memmem(data, size, delimiter.at, delimiter.size));) {
        on_message(c, data, (size_t)(at - data), now);
        size -= (size_t)(at - data) + delimiter.size;
        data = at + delimiter.size;
    }
    if (size > TAIL_MAX) { errno = EMSGSIZE; lose(c, "a message is too large:"); size = 0; }
    if (!joined && size) c->tail = malloc(size);
    if (size) memmove(c->tail, data, size);
    else if (joined) { free(joined); c->tail = NULL; }
    c->tail_size = (uint32_t)size;
}

static void on_frame(Conn *c, uint8_t opcode, const uint8_t *data, size_t size, uint64_t now) {
    if (opcode == 9) {
        uint8_t pong[6 + 125] = {0x8a, (uint8_t)(0x80 | size)};   /* masked with zeros */
        if (size <= 125) { memcpy(pong + 6, data, size); put(c, pong, (uint32_t)(6 + size)); }
        pings++;
        return;
    }
    if (opcode == 8) { closes++; note("the server closed:", data, size); return; }
    if (delimiter.size) on_piece(c, data, size, now);
    else on_message(c, data, size, now);
}

static void on_readable(Conn *c) {
    memcpy(read_buffer, c->left, c->left_size);
    ssize_t got = recv(c->fd, read_buffer + c->left_size, READ_BYTES - c->left_size, MSG_DONTWAIT);
    if (got <= 0) { if (got == 0 || errno != EAGAIN) { if (!got) errno = 0; lose(c, "a connection was closed:"); } return; }
    uint64_t now = now_ns();
    uint8_t *at = read_buffer, *end = read_buffer + c->left_size + got;
    if (c->step == 0) {
        uint8_t *head_end = memmem(at, (size_t)(end - at), "\r\n\r\n", 4);
        if (head_end) {
            if (find(at, (size_t)(head_end - at), c->script[0].marker, NONE) == NONE) {
                note("handshake:", at, (size_t)(head_end - at)); errno = 0; lose(c, "handshake"); return;
            }
            at = head_end + 4;
            step_done(c);
        }
    }
    while (c->fd >= 0 && c->step != 0 && end - at >= 2) {
        uint64_t size = at[1] & 0x7f, head = 2;
        if (size == 126) { head = 4; if (end - at < 4) break; size = big_endian(at + 2, end, 2); }
        else if (size == 127) { head = 10; if (end - at < 10) break; size = big_endian(at + 2, end, 8); }
        if (head + size > READ_BYTES / 2) { errno = EMSGSIZE; lose(c, "a frame is too large:"); return; }
        if ((uint64_t)(end - at) < head + size) break;
        on_frame(c, at[0] & 0x0f, at + head, size, now);
        at += head + size;
    }
    if (c->fd < 0) return;
    c->left_size = (uint32_t)(end - at);
    if (c->left_size) { c->left = realloc(c->left, c->left_size); memcpy(c->left, at, c->left_size); }
    else if (c->left) { free(c->left); c->left = NULL; }
}

static void turn(int timeout_ms) {
    struct epoll_event ready[512];
    int n = epoll_wait(poll_fd, ready, 512, timeout_ms);
    for (int i = 0; i < n; i++) {
        Conn *c = ready[i].data.ptr;
        if (c->fd >= 0 && ready[i].events & EPOLLOUT) {
            if (c->opened) put_pending(c);
            else {
                int error = 0;
                socklen_t size = sizeof error;
                getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
                if (error) { errno = error; lose(c, "cannot connect:"); continue; }
                c->opened = 1;
                watch(c, EPOLL_CTL_MOD, EPOLLIN);
                put(c, c->script[0].bytes.at, c->script[0].bytes.size);
            }
        }
        if (c->fd >= 0 && ready[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) on_readable(c);
    }
}

/* --- sending ------------------------------------------------------------------------------------------- */

static void patch(Conn *c, uint32_t at, uint32_t width, uint64_t value, int base) {
    uint8_t *frame = (uint8_t *)c->frame.at;
    if (at == NONE) return;
    for (uint32_t i = at + width; i-- > at; value /= (uint64_t)base) {
        uint8_t plain = base == 10 ? (uint8_t)('0' + value % 10) : (uint8_t)value;
        frame[i] = c->mask_at == NONE ? plain : plain ^ frame[c->mask_at + ((i - c->mask_at - 4) & 3)];
    }
}

static void send_next(uint64_t due, uint64_t now) {
    uint32_t room = (uint32_t)(sent % n_rooms), first = member_start[room], size = member_start[room + 1] - first;
    Conn *c = &conns[members[first + sent / n_rooms % size]];
    patch(c, c->time_at, 19, due, 10);
    patch(c, c->cid_at, 12, sent, 10);
    patch(c, c->id_at, id_kind == ID_BINARY ? 4 : 10, FIRST_ID + sent, id_kind == ID_BINARY ? 256 : 10);
    sent++;
    room_sends[room]++;
    expected_events += size;
    put(c, c->frame.at, c->frame.size);
    if (due >= measure_from_ns) record(&lateness, now - due);
}

/* Between two looks at the sockets nobody waits in epoll, so the server's sends wake nobody. With a client that
 * waits there, half of what a delivery seems to cost the server is waking a sleeping core to receive it, which
 * no server does for clients behind a network. The price: latencies are up to nap_us too high. */
static void nap(uint64_t until_ns) {
    struct timespec t = {.tv_sec = (time_t)(until_ns / SEC), .tv_nsec = (long)(until_ns % SEC)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

/* --- the script ---------------------------------------------------------------------------------------- */

static uint8_t *cursor, *script_end;

static uint32_t take_u32(void) {
    uint32_t value;
    if (script_end - cursor < 4) { errno = EINVAL; die("the script is cut short"); }
    memcpy(&value, cursor, 4);
    cursor += 4;
    return value;
}

static Blob take_blob(void) {
    Blob blob = {.size = take_u32()};
    if ((uint64_t)(script_end - cursor) < blob.size) { errno = EINVAL; die("the script is cut short"); }
    blob.at = cursor;
    cursor += blob.size;
    return blob;
}

static void load(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd < 0 || fstat(fd, &info)) die(path);
    cursor = malloc((size_t)info.st_size);
    for (off_t at = 0; at < info.st_size;) {
        ssize_t got = read(fd, cursor + at, (size_t)(info.st_size - at));
        if (got <= 0) die(path);
        at += got;
    }
    close(fd);
    script_end = cursor + info.st_size;
    if (info.st_size < 8 || memcmp(cursor, "PBENCH02", 8)) { errno = EINVAL; die(path); }
    cursor += 8;
    n_conns = take_u32();
    n_rooms = take_u32();
    id_kind = take_u32();
    seq_kind = take_u32();
    time_marker = take_blob();
    ok_marker = take_blob();
    error_marker = take_blob();
    seq_marker = take_blob();
    delimiter = take_blob();
    ping = take_blob();
    pong = take_blob();
    conns = calloc(n_conns, sizeof *conns);
    members = calloc(n_conns, sizeof *members);
    member_start = calloc(n_rooms + 2, sizeof *member_start);
    room_sends = calloc(n_rooms, sizeof *room_sends);
    for (uint32_t i = 0; i < n_conns; i++) {
        Conn *c = &conns[i];
        c->fd = -1;
        c->seen_time_at = c->seen_seq_at = NONE;
        c->room = take_u32();
        c->steps = (uint8_t)take_u32();
        c->script = calloc(c->steps, sizeof *c->script);
        for (uint32_t k = 0; k < c->steps; k++) {
            c->script[k].bytes = take_blob();
            c->script[k].marker = take_blob();
        }
        c->frame = take_blob();
        c->time_at = take_u32();
        c->cid_at = take_u32();
        c->id_at = take_u32();
        c->mask_at = take_u32();
        member_start[c->room + 2]++;
    }
    for (uint32_t r = 2; r <= n_rooms + 1; r++) member_start[r] += member_start[r - 1];
    for (uint32_t i = 0; i < n_conns; i++) members[member_start[conns[i].room + 1]++] = i;
}

static uint64_t option(int argc, char **argv, const char *name, uint64_t otherwise) {
    size_t size = strlen(name);
    for (int i = 2; i < argc; i++)
        if (!strncmp(argv[i], name, size) && argv[i][size] == '=') return strtoull(argv[i] + size + 1, NULL, 10);
    return otherwise;
}

/* The server's processes: pids=12,13 */
static void take_pids(int argc, char **argv) {
    for (int i = 2; i < argc; i++)
        if (!strncmp(argv[i], "pids=", 5))
            for (char *at = argv[i] + 4; *at && n_pids < PIDS_MAX;) server_pids[n_pids++] = (int)strtol(at + 1, &at, 10);
}

static void print_histogram(const char *name, const Histogram *h) {
    printf("\"%s\":{\"count\":%llu,\"p50_ns\":%llu,\"p90_ns\":%llu,\"p99_ns\":%llu,\"p999_ns\":%llu,\"max_ns\":%llu},", name,
           (unsigned long long)h->total, (unsigned long long)quantile(h, 0.5), (unsigned long long)quantile(h, 0.9),
           (unsigned long long)quantile(h, 0.99), (unsigned long long)quantile(h, 0.999), (unsigned long long)h->max);
}

static void print_snapshot(const Snapshot *s) {
    printf("{\"at_ns\":%llu,\"events\":%llu,\"oks\":%llu,\"sent\":%llu,\"server_ticks\":%llu,\"rss_bytes\":%llu,\"own_us\":%llu,"
           "\"core_total\":[%llu,%llu],\"core_busy\":[%llu,%llu]}",
           (unsigned long long)s->at_ns, (unsigned long long)s->events, (unsigned long long)s->oks,
           (unsigned long long)s->sent, (unsigned long long)s->server_ticks, (unsigned long long)s->rss_bytes,
           (unsigned long long)s->own_us, (unsigned long long)s->core_total[0], (unsigned long long)s->core_total[1],
           (unsigned long long)s->core_busy[0], (unsigned long long)s->core_busy[1]);
}

static void connect_all(uint32_t window, uint64_t deadline) {
    while (live + setup_failed + lost < n_conns && now_ns() < deadline) {
        while (next_conn < n_conns && in_setup < window) start_connection(&conns[next_conn++]);
        turn(100);
    }
}

int main(int argc, char **argv) {
    if (argc < 3) { fprintf(stderr, "usage: client SCRIPT key=value...\n"); return 2; }
    load(argv[1]);
    port = (uint16_t)option(argc, argv, "port", 0);
    host.s_addr = htonl((uint32_t)option(argc, argv, "host", 0x7f000001));
    take_pids(argc, argv);
    cores[0] = (int)option(argc, argv, "server_core", 0);
    cores[1] = (int)option(argc, argv, "client_core", 1);
    rate = (double)option(argc, argv, "rate_milli", 0) / 1000.0;
    uint64_t warmup = option(argc, argv, "warmup_ms", 1000) * 1000000, measure = option(argc, argv, "measure_ms", 5000) * 1000000;
    uint64_t settle = option(argc, argv, "settle_ms", 500) * 1000000, drain = option(argc, argv, "drain_ms", 5000) * 1000000;
    uint64_t nap_ns = option(argc, argv, "nap_us", 500) * 1000;
    uint64_t slices = option(argc, argv, "slices", 5), setup_limit = option(argc, argv, "setup_ms", 60000) * 1000000;
    if (slices > SNAPSHOTS_MAX - 1) slices = SNAPSHOTS_MAX - 1;
    total_sends = (uint64_t)(rate * (double)(warmup + measure) / 1e9);
    answered = calloc(total_sends + 1, 1);
    read_buffer = malloc(READ_BYTES);
    int prompt = setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) - 5) == 0;   /* Postgres on the same core must not delay the clock */
    signal(SIGPIPE, SIG_IGN);
    if ((poll_fd = epoll_create1(EPOLL_CLOEXEC)) < 0) die("epoll");

    Snapshot before = take_snapshot();
    uint64_t begun = now_ns();
    connect_all((uint32_t)option(argc, argv, "window", 64), begun + setup_limit);
    uint64_t connected_ns = now_ns() - begun;
    if (live < n_conns) setup_failed = n_conns - live - lost;
    Snapshot connected = take_snapshot();
    for (uint64_t until = now_ns() + settle, now; (now = now_ns()) < until;) turn((int)((until - now) / 1000000) + 1);
    Snapshot settled = take_snapshot();

    Snapshot shots[SNAPSHOTS_MAX];
    uint64_t n_shots = 0, settled_others = others;
    if (measure && live) {
        t0_ns = now_ns() + 20000000;
        measure_from_ns = t0_ns + warmup;
        measure_to_ns = measure_from_ns + measure;
        while (n_shots <= slices) {
            uint64_t now = now_ns(), due = due_ns(sent);
            uint64_t shot_at = measure_from_ns + measure / slices * n_shots;
            if (now >= shot_at) { shots[n_shots++] = take_snapshot(); continue; }
            for (int burst = 0; burst < 64 && sent < total_sends && due <= now; burst++) {
                send_next(due, now);
                now = now_ns();
                due = due_ns(sent);
            }
            if (sent >= total_sends || due > shot_at) due = shot_at;
            if (due > now) nap(due < now + nap_ns ? due : now + nap_ns);
            turn(0);
        }
        for (uint64_t until = now_ns() + drain; (events < expected_events || oks < sent) && now_ns() < until;) {
            if (id_kind == ID_NONE && events >= expected_events) break;
            nap(now_ns() + nap_ns);
            turn(0);
        }
        for (uint64_t until = now_ns() + 20000000; now_ns() < until;) turn(5);   /* is anything told twice? */
    }

    uint64_t uneven = 0, incomplete = 0;
    for (uint32_t i = 0; i < n_conns; i++) {
        Conn *c = &conns[i], *first = &conns[members[member_start[c->room]]];
        if (c->step != STEP_LIVE) continue;
        if (c->first_seq != first->first_seq || c->last_seq != first->last_seq) uneven++;
        if (c->events != room_sends[c->room]) incomplete++;
    }
    printf("{\"connections\":%u,\"live\":%u,\"setup_failed\":%llu,\"lost\":%llu,\"closes\":%llu,\"connected_ns\":%llu,", n_conns, live,
           (unsigned long long)setup_failed, (unsigned long long)lost, (unsigned long long)closes, (unsigned long long)connected_ns);
    printf("\"sent\":%llu,\"events\":%llu,\"expected_events\":%llu,\"oks\":%llu,\"answers\":%s,\"duplicate_oks\":%llu,\"errors\":%llu,",
           (unsigned long long)sent, (unsigned long long)events, (unsigned long long)expected_events, (unsigned long long)oks,
           id_kind == ID_NONE ? "false" : "true", (unsigned long long)duplicates, (unsigned long long)errors);
    printf("\"others\":%llu,\"gaps\":%llu,\"uneven\":%llu,\"incomplete\":%llu,\"unknown_ids\":%llu,\"pings\":%llu,\"blocked\":%llu,",
           (unsigned long long)(others - settled_others), (unsigned long long)gaps, (unsigned long long)uneven,
           (unsigned long long)incomplete, (unsigned long long)unknown_ids, (unsigned long long)pings, (unsigned long long)blocked);
    printf("\"source_addresses\":%llu,\"prompt\":%s,\"ticks_per_s\":%ld,\"first_error\":\"%s\",", (unsigned long long)(sources + 1),
           prompt ? "true" : "false", sysconf(_SC_CLK_TCK), first_error);
    print_histogram("setup", &setup);
    print_histogram("delivery", &delivery);
    print_histogram("ok", &ok_latency);
    print_histogram("lateness", &lateness);
    printf("\"before\":");
    print_snapshot(&before);
    printf(",\"connected\":");
    print_snapshot(&connected);
    printf(",\"settled\":");
    print_snapshot(&settled);
    printf(",\"shots\":[");
    for (uint64_t i = 0; i < n_shots; i++) { if (i) printf(","); print_snapshot(&shots[i]); }
    printf("]}\n");
    return 0;
}
