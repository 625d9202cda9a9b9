/*
 * Publishes a sealed text every ten seconds, and logs the texts that other members of the channel seal.
 *
 * The identity is compiled in, to try it: K(0) stays in the image in flash, whatever amp_zephyr does with its own copy,
 * and whoever reads it there and has recorded the control topics can follow them. There is no forward secrecy against
 * that. A product calls amp_zephyr_provision() in the factory, from an image that is erased afterwards.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <zephyr/kernel.h>
#include <zephyr/logging/log.h>
#include <zephyr/net/mqtt.h>
#include <zephyr/net/socket.h>
#include <zephyr/settings/settings.h>

#include "amp_zephyr.h"
#include "identity.h"

LOG_MODULE_REGISTER(seal);

#define TICK_MS 5000

static amp_zephyr device;
static struct mqtt_client client;
static struct sockaddr_storage broker;
static uint8_t rx_buffer[AMP_TOPIC_MAX + 64], tx_buffer[AMP_TOPIC_MAX + 64];
static uint8_t payload[AMP_CONTROL_MAX], text[AMP_FRAME_MAX];
static bool is_up, is_gone;

static void publish(const char *topic, const uint8_t *bytes, size_t len)
{
  static uint16_t message;
  struct mqtt_publish_param param;
  int error;
  memset(&param, 0, sizeof param);
  param.message.topic.topic.utf8 = (const uint8_t *)topic;
  param.message.topic.topic.size = (uint32_t)strlen(topic);
  param.message.topic.qos = MQTT_QOS_1_AT_LEAST_ONCE;
  param.message.payload.data = (uint8_t *)bytes;
  param.message.payload.len = (uint32_t)len;
  message = (uint16_t)(message + 1);
  param.message_id = message == 0 ? ++message : message;
  error = mqtt_publish(&client, &param);
  if (error != 0) LOG_WRN("not sent: %d", error);
}

/** Hellos and answers. What is lost is asked for again. */
static void flush(void)
{
  char topic[AMP_TOPIC_MAX + 1];
  uint8_t reply[AMP_REPLY_SIZE];
  while (is_up && amp_outgoing(&device.device, topic, sizeof topic, reply) == AMP_OK) publish(topic, reply, sizeof reply);
}

static void subscribe_to(const char *filter)
{
  struct mqtt_topic topic = {.topic = {(const uint8_t *)filter, (uint32_t)strlen(filter)}, .qos = 1};
  const struct mqtt_subscription_list list = {.list = &topic, .list_count = 1, .message_id = 1};
  const int error = mqtt_subscribe(&client, &list);
  if (error != 0) LOG_WRN("no subscription to %s: %d", filter, error);
}

/** What the key server sends, and the beacons of the channels held. */
static void subscribe_control(void)
{
  char topic[AMP_TOPIC_MAX + 1];
  unsigned i;
  for (i = 0; i < AMP_SUBSCRIPTIONS; ++i) {
    if (amp_subscription(&device.device, i, topic, sizeof topic) == AMP_OK) subscribe_to(topic);
  }
}

/** The payload is read from the socket even if it cannot be used: the next packet lies behind it. */
static bool read_payload(uint32_t len)
{
  uint32_t left;
  if (len <= sizeof payload) return mqtt_readall_publish_payload(&client, payload, len) == 0;
  for (left = len; left > 0;) {
    const uint32_t part = left < sizeof payload ? left : (uint32_t)sizeof payload;
    if (mqtt_readall_publish_payload(&client, payload, part) != 0) return false;
    left -= part;
  }
  return false;
}

static void receive(const struct mqtt_publish_param *param)
{
  const struct mqtt_utf8 *name = &param->message.topic.topic;
  const uint32_t len = param->message.payload.len;
  char topic[AMP_TOPIC_MAX + 1];
  amp_received received;
  amp_status status;
  const bool is_whole = read_payload(len);
  if (param->message.topic.qos == MQTT_QOS_1_AT_LEAST_ONCE) {
    const struct mqtt_puback_param ack = {.message_id = param->message_id};
    (void)mqtt_publish_qos1_ack(&client, &ack);
  }
  if (!is_whole || name->size > AMP_TOPIC_MAX) return;
  memcpy(topic, name->utf8, name->size);
  topic[name->size] = 0;
  status = amp_receive(&device.device, topic, payload, len, param->retain_flag, text, sizeof text, &received);
  if (status != AMP_OK) {
    if (status != AMP_REFLECTED) LOG_WRN("%s: refused, %s", topic, amp_status_name(status));
  } else {
    const bool is_whole_text = received.part == 0 && received.is_last;
    if (received.kind == AMP_TEXT && !is_whole_text) LOG_WRN("%s: a part of a longer message, see amp_join()", topic);
    else if (received.kind == AMP_TEXT) LOG_INF("%s: %.*s", topic, (int)received.len, (const char *)text);
    if (received.changed) subscribe_control();
  }
  flush();
}

static void on_event(struct mqtt_client *from, const struct mqtt_evt *event)
{
  (void)from;
  if (event->type == MQTT_EVT_CONNACK && event->result == 0) {
    is_up = true;
    subscribe_control();
    subscribe_to(CONFIG_SEAL_TOPIC);
    amp_hello(&device.device);
    flush();
  } else if (event->type == MQTT_EVT_CONNACK || event->type == MQTT_EVT_DISCONNECT) {
    is_up = false;
    is_gone = true;
  } else if (event->type == MQTT_EVT_PUBLISH) {
    receive(&event->param.publish);
  }
}

static int dial(void)
{
  struct sockaddr_in *address = (struct sockaddr_in *)&broker;
  address->sin_family = AF_INET;
  address->sin_port = htons(1883);
  if (zsock_inet_pton(AF_INET, CONFIG_SEAL_BROKER, &address->sin_addr) != 1) return -1;
  mqtt_client_init(&client);
  client.broker = &broker;
  client.evt_cb = on_event;
  client.client_id.utf8 = (const uint8_t *)"boiler";
  client.client_id.size = 6;
  client.protocol_version = MQTT_VERSION_3_1_1;
  client.rx_buf = rx_buffer;
  client.rx_buf_size = sizeof rx_buffer;
  client.tx_buf = tx_buffer;
  client.tx_buf_size = sizeof tx_buffer;
  return mqtt_connect(&client);
}

static void publish_uptime(void)
{
  static uint8_t sealed_bytes[256];
  char line[32];
  amp_sealed sealed;
  amp_status status;
  size_t at;
  const int len = snprintf(line, sizeof line, "up %ld s", (long)(k_uptime_get() / 1000));
  status = amp_protect(&device.device, CONFIG_SEAL_TOPIC, (const uint8_t *)line, (size_t)len, sealed_bytes,
                       sizeof sealed_bytes, &sealed);
  if (status != AMP_OK) {
    /* Until keys have come this is NO_CHANNEL or NOT_YET; nothing leaves in clear. */
    LOG_WRN("not sealed: %s", amp_status_name(status));
    return;
  }
  for (at = 0; at < sealed.len; at += sealed.payload_len) publish(CONFIG_SEAL_TOPIC, &sealed_bytes[at], sealed.payload_len);
}

/** Returns when the connection is gone. */
static void serve(void)
{
  int64_t ticked = k_uptime_get();
  bool is_odd = false;
  struct zsock_pollfd wait = {.fd = client.transport.tcp.sock, .events = ZSOCK_POLLIN};
  for (is_gone = false; !is_gone;) {
    int alive;
    if (zsock_poll(&wait, 1, 1000) > 0 && mqtt_input(&client) != 0) break;
    alive = mqtt_live(&client);
    if (alive != 0 && alive != -EAGAIN) break;
    if (k_uptime_get() - ticked < TICK_MS) continue;
    ticked = k_uptime_get();
    (void)amp_tick(&device.device);
    flush();
    is_odd = !is_odd;
    if (is_up && is_odd) publish_uptime();
  }
  is_up = false;
  (void)mqtt_abort(&client);
}

int main(void)
{
  const amp_identity identity = AMP_IDENTITY;
  amp_status status;
  if (settings_subsys_init() != 0) return 0;
  status = amp_zephyr_open(&device, NULL);
  /* Never after another status: what fails to be read now may be a living device, which this would wipe. */
  if (status == AMP_NO_IDENTITY) {
    status = amp_zephyr_provision(&identity);
    if (status == AMP_OK) status = amp_zephyr_open(&device, NULL);
  }
  if (status != AMP_OK) {
    LOG_ERR("no device: %s", amp_status_name(status));
    return 0;
  }
  for (;;) {
    if (dial() == 0) serve();
    k_sleep(K_SECONDS(2));
  }
}
