#include "amp_esp_mqtt.h"

#include <string.h>

#include "esp_log.h"

static const char TAG[] = "ampoule";

static void subscribe_to(amp_esp_mqtt *mqtt, const char *filter)
{
  if (esp_mqtt_client_subscribe(mqtt->client, filter, 1) < 0) ESP_LOGW(TAG, "no subscription to %s", filter);
}

/** What the key server sends, and the beacons of the channels held. */
static void subscribe_control(amp_esp_mqtt *mqtt)
{
  char topic[AMP_TOPIC_MAX + 1];
  unsigned i;
  for (i = 0; i < AMP_SUBSCRIPTIONS; ++i) {
    amp_status status;
    amp_esp_lock(mqtt->esp);
    status = amp_subscription(&mqtt->esp->device, i, topic, sizeof topic);
    amp_esp_unlock(mqtt->esp);
    if (status == AMP_OK) subscribe_to(mqtt, topic);
  }
}

/** Hellos and answers. What is lost is asked for again. */
static void flush(amp_esp_mqtt *mqtt)
{
  char topic[AMP_TOPIC_MAX + 1];
  uint8_t reply[AMP_REPLY_SIZE];
  while (mqtt->is_up) {
    amp_status status;
    amp_esp_lock(mqtt->esp);
    status = amp_outgoing(&mqtt->esp->device, topic, sizeof topic, reply);
    amp_esp_unlock(mqtt->esp);
    if (status != AMP_OK) {
      if (status != AMP_NONE) ESP_LOGE(TAG, "no answer: %s", amp_status_name(status));
      return;
    }
    if (esp_mqtt_client_enqueue(mqtt->client, topic, (const char *)reply, AMP_REPLY_SIZE, 1, 0, true) < 0) {
      ESP_LOGW(TAG, "an answer was not sent");
      return;
    }
  }
}

static void refuse(amp_esp_mqtt *mqtt, amp_status status)
{
  if (status == AMP_REFLECTED) return;
  if (mqtt->config.on_refused != NULL) mqtt->config.on_refused(mqtt->config.user, mqtt->topic, status);
}

/** A whole payload is there. */
static void take(amp_esp_mqtt *mqtt)
{
  amp_received received;
  amp_status status;
  memset(&received, 0, sizeof received);
  amp_esp_lock(mqtt->esp);
  status = amp_receive(&mqtt->esp->device, mqtt->topic, mqtt->payload, mqtt->total, mqtt->retained, mqtt->text,
                       sizeof mqtt->text, &received);
  amp_esp_unlock(mqtt->esp);
  if (status != AMP_OK) {
    refuse(mqtt, status);
  } else {
    if (received.kind == AMP_TEXT && mqtt->config.on_text != NULL) {
      mqtt->config.on_text(mqtt->config.user, mqtt->topic, mqtt->text, received.len, &received, mqtt->retained);
    }
    memset(mqtt->text, 0, sizeof mqtt->text);
    if (received.changed) subscribe_control(mqtt);
  }
  flush(mqtt);
}

/** The first part names the topic; later ones only say where they belong. */
static void begin(amp_esp_mqtt *mqtt, const esp_mqtt_event_t *event)
{
  const size_t topic_len = (size_t)event->topic_len;
  mqtt->got = 0;
  mqtt->total = (size_t)event->total_data_len;
  mqtt->retained = event->retain ? 1 : 0;
  mqtt->is_dropped = 1;
  mqtt->topic[0] = 0;
  if (topic_len > AMP_TOPIC_MAX || (topic_len > 0 && memchr(event->topic, 0, topic_len) != NULL)) {
    refuse(mqtt, AMP_BAD_ARGUMENT);
    return;
  }
  if (topic_len > 0) memcpy(mqtt->topic, event->topic, topic_len);
  mqtt->topic[topic_len] = 0;
  if (mqtt->total > sizeof mqtt->payload) {
    refuse(mqtt, AMP_NO_SPACE);
    return;
  }
  mqtt->is_dropped = 0;
}

static void receive(amp_esp_mqtt *mqtt, const esp_mqtt_event_t *event)
{
  const size_t at = (size_t)event->current_data_offset;
  const size_t len = (size_t)event->data_len;
  if (at == 0) begin(mqtt, event);
  if (mqtt->is_dropped) return;
  if (at != mqtt->got || len > mqtt->total - mqtt->got) {
    mqtt->is_dropped = 1;
    refuse(mqtt, AMP_GAP);
    return;
  }
  if (len > 0) memcpy(&mqtt->payload[at], event->data, len);
  mqtt->got += len;
  if (mqtt->got < mqtt->total) return;
  mqtt->is_dropped = 1;
  take(mqtt);
}

/** Control topics first: keys must come before what they open. */
static void connected(amp_esp_mqtt *mqtt)
{
  size_t i;
  mqtt->is_up = 1;
  mqtt->is_dropped = 1;
  subscribe_control(mqtt);
  for (i = 0; i < mqtt->config.filter_count; ++i) subscribe_to(mqtt, mqtt->config.filters[i]);
  amp_esp_lock(mqtt->esp);
  amp_hello(&mqtt->esp->device);
  amp_esp_unlock(mqtt->esp);
  flush(mqtt);
}

static void on_event(void *arg, esp_event_base_t base, int32_t id, void *data)
{
  amp_esp_mqtt *mqtt = arg;
  (void)base;
  if (id == MQTT_EVENT_CONNECTED) connected(mqtt);
  else if (id == MQTT_EVENT_DISCONNECTED) mqtt->is_up = 0;
  else if (id == MQTT_EVENT_DATA) receive(mqtt, data);
}

esp_err_t amp_esp_mqtt_attach(amp_esp_mqtt *mqtt, amp_esp *esp, esp_mqtt_client_handle_t client,
                              const amp_esp_mqtt_config *config)
{
  memset(mqtt, 0, sizeof *mqtt);
  mqtt->esp = esp;
  mqtt->client = client;
  mqtt->config = *config;
  mqtt->is_dropped = 1;
  return esp_mqtt_client_register_event(client, MQTT_EVENT_ANY, on_event, mqtt);
}

void amp_esp_mqtt_tick(amp_esp_mqtt *mqtt)
{
  amp_esp_lock(mqtt->esp);
  (void)amp_tick(&mqtt->esp->device);
  amp_esp_unlock(mqtt->esp);
  flush(mqtt);
}

int amp_esp_mqtt_publish(amp_esp_mqtt *mqtt, const char *topic, const uint8_t *text, size_t text_len, uint8_t *payload,
                         size_t payload_max, int qos, int retain)
{
  amp_sealed sealed;
  amp_status status;
  size_t at;
  amp_esp_lock(mqtt->esp);
  status = amp_protect(&mqtt->esp->device, topic, text, text_len, payload, payload_max, &sealed);
  amp_esp_unlock(mqtt->esp);
  if (status != AMP_OK) return (int)status;
  for (at = 0; at < sealed.len; at += sealed.payload_len) {
    const char *part = (const char *)&payload[at];
    const int sent = esp_mqtt_client_publish(mqtt->client, topic, part, (int)sealed.payload_len, qos, retain);
    if (sent < 0) return sent;
  }
  return 0;
}
