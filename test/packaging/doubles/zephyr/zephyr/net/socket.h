#ifndef ZEPHYR_SOCKET_H
#define ZEPHYR_SOCKET_H
#include <stdint.h>
#define AF_INET 1
#define ZSOCK_POLLIN 1
struct in_addr {
  uint32_t s_addr;
};
struct sockaddr_in {
  uint16_t sin_family;
  uint16_t sin_port;
  struct in_addr sin_addr;
};
struct sockaddr_storage {
  uint32_t data[7];
};
struct zsock_pollfd {
  int fd;
  short events;
  short revents;
};
uint16_t htons(uint16_t value);
int zsock_inet_pton(int family, const char *text, void *address);
int zsock_poll(struct zsock_pollfd *fds, int count, int timeout);
#endif
