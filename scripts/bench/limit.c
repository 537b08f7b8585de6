/* The physical limit of a fan-out: a WebSocket server on one epoll loop that sends every data frame it gets to
 * every connection of its room, one send(2) each, and does nothing else: no names, no order, no storage, no answer,
 * no limits. The room is the number in the path, `GET /7`, and 0 without one. It does not even check the handshake. What a delivery costs here, no server with one send a delivery undercuts.
 *
 *     limit        prints "port N" and serves on 127.0.0.1 until it is killed
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROOMS 20000
#define NOWHERE UINT32_MAX
#define INBOX 8192

typedef struct { int fd; uint32_t room, size; uint8_t inbox[INBOX]; } Conn;
typedef struct { Conn **conns; uint32_t size; } Room;

static Room rooms[ROOMS];
static uint32_t late;

static const char GREETING[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: unchecked\r\n\r\n";

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void enter(Conn *c) {
    uint32_t number = 0;
    for (const uint8_t *at = c->inbox + 5; *at >= '0' && *at <= '9' && number < ROOMS; at++) number = number * 10 + *at - '0';
    c->room = number % ROOMS;
    Room *room = &rooms[c->room];
    if (!(room->size & (room->size - 1)))   /* a power of two: full */
        room->conns = realloc(room->conns, sizeof(Conn *) * (room->size ? room->size * 2 : 1));
    room->conns[room->size++] = c;
}

static void broadcast(const Room *room, uint8_t first, const uint8_t *payload, uint32_t size) {
    uint8_t frame[INBOX + 4];
    uint32_t head = size < 126 ? 2 : 4;
    frame[0] = first;
    frame[1] = (uint8_t)(size < 126 ? size : 126);
    if (head == 4) { frame[2] = (uint8_t)(size >> 8); frame[3] = (uint8_t)size; }
    memcpy(frame + head, payload, size);
    for (uint32_t i = 0; i < room->size; i++)
        if (send(room->conns[i]->fd, frame, head + size, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)(head + size))
            late++;   /* a full socket: this server drops it, the client counts it as incomplete */
}

static void on_readable(Conn *c) {
    ssize_t got = recv(c->fd, c->inbox + c->size, INBOX - c->size, MSG_DONTWAIT);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN) { close(c->fd); c->fd = -1; }   /* it stays in its room */
        return;
    }
    c->size += (uint32_t)got;
    uint8_t *at = c->inbox, *end = c->inbox + c->size;
    if (c->room == NOWHERE) {
        uint8_t *head_end = memmem(at, c->size, "\r\n\r\n", 4);
        if (!head_end) return;
        at = head_end + 4;
        enter(c);
        if (send(c->fd, GREETING, sizeof GREETING - 1, MSG_NOSIGNAL) < 0) perror("send");
    }
    while (end - at >= 8) {   /* masked, at most 65,535 bytes: what the measuring client sends */
        uint32_t size = at[1] & 0x7f, head = 6;
        if (size == 126) { size = (uint32_t)at[2] << 8 | at[3]; head = 8; }
        if ((uint32_t)(end - at) < head + size) break;
        uint8_t *payload = at + head, *key = payload - 4;
        for (uint32_t i = 0; i < size; i++) payload[i] ^= key[i & 3];
        if ((at[0] & 0x0f) == 1 || (at[0] & 0x0f) == 2) broadcast(&rooms[c->room], at[0], payload, size);
        at = payload + size;
    }
    c->size = (uint32_t)(end - at);
    memmove(c->inbox, at, c->size);
}

int main(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), poll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 4096)) die("listen");
    if (getsockname(listener, (struct sockaddr *)&address, &size)) die("getsockname");
    printf("port %d\n", ntohs(address.sin_port));
    fflush(stdout);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL}, ready[256];
    if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, listener, &e)) die("epoll_ctl");
    for (;;) {
        int n = epoll_wait(poll_fd, ready, 256, -1);
        for (int i = 0; i < n; i++) {
            if (ready[i].data.ptr) { on_readable(ready[i].data.ptr); continue; }
            for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
                Conn *c = calloc(1, sizeof *c);
                c->fd = fd;
                c->room = NOWHERE;
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                e = (struct epoll_event){.events = EPOLLIN, .data.ptr = c};
                if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &e)) die("epoll_ctl");
            }
        }
    }
}
