/*
 * A member of a channel on Linux, with libmosquitto: lines of stdin are sealed and published, messages that come are
 * opened and printed.
 *
 *     ampoule-device -I boiler.json -h localhost -t plant/boiler/live -s plant/boiler/orders
 *
 * The identity comes from `ampoule provision boiler`; state is kept in boiler.json.device/. Keys come from the key
 * server once it runs and the channels are granted. AMPOULE_PASSWORD holds the broker's password, if there is one.
 *
 * Not a product: messages of narrow channels longer than a frame are not joined, and a message that is refused with
 * NOT_STORED or BUSY is lost, for libmosquitto confirms it all the same. Keep it and give it again after a tick.
 */
#define _POSIX_C_SOURCE 200809L
#include "ampoule.h"
#include "files.h"

#include <mosquitto.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { TICK_MS = 5000, QUIET_MS = 400, RETRY_MS = 1000, KEEPALIVE_S = 60, TEXT_MAX = AMP_MESSAGE_FRAMES * AMP_FRAME_MAX };

static amp_context device;
static struct mosquitto *broker;
static const char *topic, *filter;
static volatile sig_atomic_t is_over;
/** Subscriptions and a hello are due at subscribe_at, while there is a connection. */
static int is_connected, must_subscribe, must_hello;
static long long subscribe_at;
static uint8_t text[TEXT_MAX], payload[TEXT_MAX];

static long long now_ms(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void on_signal(int signal)
{
  (void)signal;
  is_over = 1;
}

/** Tells of a refusal; never of a text. */
static void complain(const char *what, amp_status status)
{
  fprintf(stderr, "%s: %s\n", what, amp_status_name(status));
}

/** Sends what the key server is to hear. */
static void answer(void)
{
  char name[AMP_TOPIC_MAX + 1];
  uint8_t reply[AMP_REPLY_SIZE];
  while (is_connected && amp_outgoing(&device, name, sizeof name, reply) == AMP_OK) {
    mosquitto_publish(broker, NULL, name, sizeof reply, reply, 1, false);
  }
}

static void subscribe(void)
{
  char name[AMP_TOPIC_MAX + 1];
  unsigned i;
  for (i = 0; i < AMP_SUBSCRIPTIONS; ++i) {
    if (amp_subscription(&device, i, name, sizeof name) == AMP_OK) mosquitto_subscribe(broker, NULL, name, 1);
  }
  if (filter != NULL) mosquitto_subscribe(broker, NULL, filter, 1);
  if (must_hello) amp_hello(&device);
  must_subscribe = must_hello = 0;
  answer();
}

static void on_connect(struct mosquitto *mosquitto, void *user, int refused, int flags)
{
  (void)mosquitto;
  (void)user;
  if (refused != 0) {
    fprintf(stderr, "the broker: %s\n", mosquitto_connack_string(refused));
    return;
  }
  is_connected = must_subscribe = must_hello = 1;
  /* What the broker has kept comes first: a beacon read before it would erase the keys of older frames. */
  subscribe_at = now_ms() + ((flags & 1) != 0 ? QUIET_MS : 0);
}

static void on_disconnect(struct mosquitto *mosquitto, void *user, int reason)
{
  (void)mosquitto;
  (void)user;
  (void)reason;
  is_connected = 0;
}

static void on_message(struct mosquitto *mosquitto, void *user, const struct mosquitto_message *message)
{
  amp_received received;
  const amp_status status = amp_receive(&device, message->topic, (const uint8_t *)message->payload,
                                        (size_t)message->payloadlen, message->retain, text, sizeof text, &received);
  (void)mosquitto;
  (void)user;
  if (must_hello) subscribe_at = now_ms() + QUIET_MS;
  if (status != AMP_OK) {
    if (status != AMP_REFLECTED) complain(message->topic, status);
  } else if (received.kind == AMP_TEXT && (received.part != 0 || !received.is_last)) {
    fprintf(stderr, "%s: a part of a longer message\n", message->topic);
  } else if (received.kind == AMP_TEXT) {
    printf("%s ", message->topic);
    fwrite(text, 1, received.len, stdout);
    putchar('\n');
    fflush(stdout);
  }
  if (received.changed) must_subscribe = 1;
  memset(text, 0, sizeof text);
  answer();
}

/** Seals a line and publishes it. A refused one is lost, and named. */
static void publish(const char *line, size_t length)
{
  amp_sealed sealed;
  size_t at;
  const amp_status status =
      amp_protect(&device, topic, (const uint8_t *)line, length, payload, sizeof payload, &sealed);
  if (status != AMP_OK) {
    complain(topic, status);
    return;
  }
  for (at = 0; at < sealed.len; at += sealed.payload_len) {
    mosquitto_publish(broker, NULL, topic, (int)sealed.payload_len, payload + at, 1, false);
  }
}

/** Reads stdin and publishes its lines; returns 0 at its end. */
static int take_lines(void)
{
  static char line[TEXT_MAX];
  static size_t length;
  const ssize_t got = read(STDIN_FILENO, line + length, sizeof line - length);
  char *end;
  if (got <= 0) return got < 0 && errno == EINTR;
  length += (size_t)got;
  while ((end = (char *)memchr(line, '\n', length)) != NULL || length == sizeof line) {
    const size_t size = end == NULL ? length : (size_t)(end - line);
    const size_t used = end == NULL ? length : size + 1;
    if (size > 0) publish(line, size);
    length -= used;
    memmove(line, line + used, length);
  }
  return 1;
}

static int run(void)
{
  struct pollfd wait[2] = {{-1, 0, 0}, {STDIN_FILENO, POLLIN, 0}};
  long long tick_at = now_ms() + TICK_MS, retry_at = 0;
  while (!is_over) {
    if (must_subscribe && is_connected && now_ms() >= subscribe_at) subscribe();
    wait[0].fd = mosquitto_socket(broker);
    wait[0].events = (short)(mosquitto_want_write(broker) ? POLLIN | POLLOUT : POLLIN);
    /* Lines wait until there is a key server to ask, and a broker to take them. */
    wait[1].fd = topic != NULL && is_connected && !must_subscribe ? STDIN_FILENO : -1;
    if (poll(wait, 2, 100) < 0 && errno != EINTR) return 2;
    if (wait[0].fd >= 0 && wait[0].revents != 0) mosquitto_loop_read(broker, 1);
    if (mosquitto_want_write(broker)) mosquitto_loop_write(broker, 1);
    if (wait[1].fd >= 0 && wait[1].revents != 0 && !take_lines()) topic = NULL;
    if (mosquitto_loop_misc(broker) == MOSQ_ERR_NO_CONN && now_ms() >= retry_at) {
      retry_at = now_ms() + RETRY_MS;
      mosquitto_reconnect(broker);
    }
    if (now_ms() < tick_at) continue;
    tick_at = now_ms() + TICK_MS;
    (void)amp_tick(&device);
    answer();
  }
  return 0;
}

static int usage(void)
{
  fprintf(stderr, "usage: ampoule-device -I identity.json [-h host] [-p port] [-u user] [-t topic to publish lines to]\n"
                  "                      [-s filter to subscribe] [-c file of certificates]\n");
  return 1;
}

int main(int count, char **arguments)
{
  static amp_files files;
  const char *path = NULL, *host = "localhost", *user = NULL, *certificates = NULL, *wrong;
  char name[2 * AMP_ID_SIZE + 1];
  int port = 1883, option, code;
  amp_identity identity;
  amp_port storage;
  amp_status status;
  size_t i;
  while ((option = getopt(count, arguments, "I:h:p:u:t:s:c:")) != -1) {
    if (option == 'I') path = optarg;
    else if (option == 'h') host = optarg;
    else if (option == 'p') port = atoi(optarg);
    else if (option == 'u') user = optarg;
    else if (option == 't') topic = optarg;
    else if (option == 's') filter = optarg;
    else if (option == 'c') certificates = optarg;
    else return usage();
  }
  if (path == NULL || optind != count) return usage();
  wrong = amp_files_open(&files, path, &identity, &storage);
  if (wrong != NULL) {
    fprintf(stderr, "%s: %s\n", path, wrong);
    return 2;
  }
  status = amp_open(&device, &identity, &storage);
  if (status != AMP_OK) {
    complain(path, status);
    return 3;
  }
  for (i = 0; i < AMP_ID_SIZE; ++i) snprintf(name + 2 * i, 3, "%02x", (unsigned)identity.device[i]);
  signal(SIGINT, on_signal);
  signal(SIGTERM, on_signal);
  signal(SIGPIPE, SIG_IGN);
  mosquitto_lib_init();
  /* A session that the broker keeps: commands and messages wait there while this process is away. */
  broker = mosquitto_new(name, false, NULL);
  if (broker == NULL) return 2;
  mosquitto_connect_with_flags_callback_set(broker, on_connect);
  mosquitto_disconnect_callback_set(broker, on_disconnect);
  mosquitto_message_callback_set(broker, on_message);
  if (user != NULL) mosquitto_username_pw_set(broker, user, getenv("AMPOULE_PASSWORD"));
  if (certificates != NULL) mosquitto_tls_set(broker, certificates, NULL, NULL, NULL, NULL);
  code = mosquitto_connect(broker, host, port, KEEPALIVE_S);
  if (code != MOSQ_ERR_SUCCESS) {
    fprintf(stderr, "%s: %s\n", host, code == MOSQ_ERR_ERRNO ? strerror(errno) : mosquitto_strerror(code));
    code = 2;
  } else {
    code = run();
    mosquitto_disconnect(broker);
    mosquitto_loop_write(broker, 1);
  }
  amp_close(&device);
  amp_files_close(&files);
  mosquitto_destroy(broker);
  mosquitto_lib_cleanup();
  return code;
}
