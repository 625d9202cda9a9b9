/*
 * amp_esp_mqtt.c under events as esp-mqtt gives them: payloads in parts of every size, and what must not be let through.
 *
 *   mqtt <script> <part size>    prints each text that came, then what was done at the client
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "amp_esp_mqtt.h"
#include "kv.h"
#include "platform.h"
#include "script.h"

amp_esp *platform_esp(void);

static esp_event_handler_t handler;
static void *handler_arg;
static amp_esp_mqtt mqtt;
static unsigned subscribed, answers, published, refused;
static amp_status last_refused;

static void fail(const char *what)
{
  printf("%s\n", what);
  exit(1);
}

void power_lost(void) { abort(); }

/** esp-mqtt holds its lock while it calls handlers: whoever waits for it holding the device's would wait for ever. */
static void check_unlocked(void)
{
  if (platform_esp()->mutex_memory.taken) fail("the client is called with the device locked");
}

esp_err_t esp_mqtt_client_register_event(esp_mqtt_client_handle_t client, esp_mqtt_event_id_t event,
                                         esp_event_handler_t function, void *arg)
{
  (void)client;
  if (event != MQTT_EVENT_ANY) fail("not all events");
  handler = function;
  handler_arg = arg;
  return ESP_OK;
}

int esp_mqtt_client_subscribe_single(esp_mqtt_client_handle_t client, const char *topic, int qos)
{
  (void)client;
  check_unlocked();
  if (qos != 1) fail("a subscription without QoS 1");
  printf("subscribe %s\n", topic);
  return (int)++subscribed;
}

int esp_mqtt_client_subscribe_multiple(esp_mqtt_client_handle_t client, const esp_mqtt_topic_t *list, int size)
{
  (void)client;
  (void)list;
  return -size;
}

int esp_mqtt_client_enqueue(esp_mqtt_client_handle_t client, const char *topic, const char *data, int len, int qos,
                            int retain, bool store)
{
  (void)client;
  (void)data;
  check_unlocked();
  if (len != AMP_REPLY_SIZE || qos != 1 || retain || !store) fail("an answer that is none");
  printf("answer %s\n", topic);
  return (int)++answers;
}

int esp_mqtt_client_publish(esp_mqtt_client_handle_t client, const char *topic, const char *data, int len, int qos,
                            int retain)
{
  (void)client;
  (void)topic;
  check_unlocked();
  if (len != 64 || qos != 1 || retain) fail("not what was sealed");
  if (data[2] == 0 && data[3] == 0) fail("not a frame of this device");
  return (int)++published;
}

static const uint8_t *seen_text;

static void on_text(void *user, const char *topic, const uint8_t *text, size_t len, const amp_received *received,
                    int retained)
{
  check_unlocked();
  if (user != &mqtt || received->len != len || retained) fail("not as it came");
  printf("text %s %.*s\n", topic, (int)len, (const char *)text);
  seen_text = text;
}

static void on_refused(void *user, const char *topic, amp_status status)
{
  (void)user;
  (void)topic;
  ++refused;
  last_refused = status;
}

static void give(esp_mqtt_event_id_t id, esp_mqtt_event_t *event)
{
  event->event_id = id;
  handler(handler_arg, "MQTT_EVENTS", (int32_t)id, event);
}

/** Bytes as they are given to the handler lie in memory of their own, which a sanitizer watches. */
static void deliver(const char *topic, const uint8_t *bytes, size_t size, size_t part)
{
  size_t at = 0;
  do {
    const size_t len = size - at < part ? size - at : part;
    char *copy = malloc(len ? len : 1), *name = malloc(strlen(topic));
    esp_mqtt_event_t event;
    memset(&event, 0, sizeof event);
    memcpy(copy, bytes + at, len);
    memcpy(name, topic, strlen(topic));
    event.data = copy;
    event.data_len = (int)len;
    event.total_data_len = (int)size;
    event.current_data_offset = (int)at;
    if (at == 0) {
      event.topic = name;
      event.topic_len = (int)strlen(topic);
    }
    give(MQTT_EVENT_DATA, &event);
    free(copy);
    free(name);
    at += len;
  } while (at < size);
}

static void expect_refusal(amp_status status, const char *what)
{
  if (refused != 1 || last_refused != status) fail(what);
  refused = 0;
}

static void strange(void)
{
  static uint8_t big[CONFIG_AMP_PAYLOAD_MAX + 1];
  char topic[AMP_TOPIC_MAX + 2];
  esp_mqtt_event_t event;
  deliver("a", big, sizeof big, 100);
  expect_refusal(AMP_NO_SPACE, "a payload that is too long");
  memset(topic, 'a', sizeof topic - 1);
  topic[sizeof topic - 1] = 0;
  deliver(topic, big, 64, 64);
  expect_refusal(AMP_BAD_ARGUMENT, "a topic that is too long");
  deliver("plant/x/live", big, 64, 64);
  if (refused != 1) fail("junk");
  refused = 0;
  deliver("plant/x/live", big, 0, 1);
  if (refused) fail("an empty payload");
  memset(&event, 0, sizeof event);
  event.data = (char *)big;
  event.data_len = 10;
  event.total_data_len = 64;
  event.topic = topic;
  event.topic_len = 3;
  give(MQTT_EVENT_DATA, &event);
  event.current_data_offset = 20;
  give(MQTT_EVENT_DATA, &event);
  expect_refusal(AMP_GAP, "a gap between parts");
  event.current_data_offset = 10;
  give(MQTT_EVENT_DATA, &event);
  if (refused) fail("parts of a message that was dropped");
}

int main(int argc, char **argv)
{
  static const char *const filters[] = {"plant/+/live"};
  amp_esp_mqtt_config config;
  esp_mqtt_event_t event;
  uint8_t payload[64];
  size_t i, k, part;
  if (argc != 3) return 2;
  part = strtoul(argv[2], NULL, 10);
  script_read(argv[1]);
  kv_reset(1);
  platform_provision(&script_identity);
  if (platform_open() != AMP_OK) fail("the device does not open");
  memset(&config, 0, sizeof config);
  config.filters = filters;
  config.filter_count = 1;
  config.on_text = on_text;
  config.on_refused = on_refused;
  config.user = &mqtt;
  if (amp_esp_mqtt_attach(&mqtt, platform_esp(), NULL, &config) != ESP_OK) return 2;
  amp_esp_mqtt_tick(&mqtt);
  if (answers) fail("an answer before there is a connection");
  memset(&event, 0, sizeof event);
  give(MQTT_EVENT_CONNECTED, &event);
  if (subscribed != 2 || answers != 1) fail("a connection begins with two subscriptions and a hello");
  for (i = 0; i < script_lines; ++i) {
    const line *l = &script[i];
    if (l->verb == 's') {
      if (amp_esp_mqtt_publish(&mqtt, l->topic, l->bytes, l->size, payload, sizeof payload, 1, 0) != 0) fail("not sealed");
    } else {
      seen_text = NULL;
      deliver(l->topic, l->bytes, l->size, part);
      for (k = 0; seen_text != NULL && k < CONFIG_AMP_PAYLOAD_MAX; ++k) {
        if (seen_text[k] != 0) fail("a text that was not wiped");
      }
    }
  }
  if (refused) fail(amp_status_name(last_refused));
  strange();
  if (amp_esp_mqtt_publish(&mqtt, "elsewhere", payload, 1, payload + 8, 8, 1, 0) != AMP_NO_CHANNEL) fail("no channel");
  k = answers;
  give(MQTT_EVENT_DISCONNECTED, &event);
  for (i = 0; i < 100; ++i) amp_esp_mqtt_tick(&mqtt);
  if (answers != k) fail("an answer without a connection");
  printf("published %u\n", published);
  amp_esp_close(platform_esp());
  return 0;
}
