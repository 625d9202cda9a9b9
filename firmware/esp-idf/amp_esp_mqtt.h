/*
 * An Ampoule device at a broker, through esp-mqtt: subscribes, opens what comes, answers the key server, publishes sealed.
 *
 * Locks: esp-mqtt holds its own while it calls handlers, so the device's is never held while esp-mqtt is called. That
 * is why amp_esp_mqtt_publish() seals into a buffer of the caller's and not into one that tasks would share.
 */
#ifndef AMP_ESP_MQTT_H
#define AMP_ESP_MQTT_H

#include "amp_esp.h"
#include "mqtt_client.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What the application gives. All but `filters` may be null; handlers run in the task of the MQTT client. */
typedef struct amp_esp_mqtt_config {
  /** Topic filters to subscribe beside the control topics, with QoS 1; must stay as they are. */
  const char *const *filters;
  size_t filter_count;
  /**
   * A text from a member. It is wiped when this returns; retained texts are state and may be repetitions, see
   * amp_check_retained(). Parts of a narrow channel come one by one, see amp_join().
   */
  void (*on_text)(void *user, const char *topic, const uint8_t *text, size_t len, const amp_received *received,
                  int retained);
  /** A payload that was thrown away, and why. What this device has sent itself is not told. */
  void (*on_refused)(void *user, const char *topic, amp_status status);
  void *user;
} amp_esp_mqtt_config;

/** Static: it is large. Its content belongs to amp_esp_mqtt.c. */
typedef struct amp_esp_mqtt {
  amp_esp *esp;
  esp_mqtt_client_handle_t client;
  amp_esp_mqtt_config config;
  volatile int is_up;
  /* The message that is coming in, in parts. */
  int is_dropped;
  int retained;
  size_t got;
  size_t total;
  char topic[AMP_TOPIC_MAX + 1];
  uint8_t payload[CONFIG_AMP_PAYLOAD_MAX];
  uint8_t text[CONFIG_AMP_PAYLOAD_MAX];
} amp_esp_mqtt;

/**
 * Attaches a device to a client, before esp_mqtt_client_start(): what a session holds comes right after the connection.
 *
 * @param mqtt out; static memory
 * @param esp opened
 * @param config in, copied
 * @returns what esp_mqtt_client_register_event() returns
 */
esp_err_t amp_esp_mqtt_attach(amp_esp_mqtt *mqtt, amp_esp *esp, esp_mqtt_client_handle_t client,
                              const amp_esp_mqtt_config *config);

/** To be called every five seconds or so, from any task but not from a timer's: it may publish. */
void amp_esp_mqtt_tick(amp_esp_mqtt *mqtt);

/**
 * Seals a text and publishes it; from any task.
 *
 * @param payload scratch, payload_max bytes, of the caller's own; see amp_protect() for the size
 * @returns 0; an amp_status when nothing was sealed; what esp_mqtt_client_publish() returned, -1 or -2, when the
 *   sealed message could not be sent: it is lost, its counters are spent
 */
AMP_MUST_CHECK int amp_esp_mqtt_publish(amp_esp_mqtt *mqtt, const char *topic, const uint8_t *text, size_t text_len,
                                        uint8_t *payload, size_t payload_max, int qos, int retain);

#ifdef __cplusplus
}
#endif

#endif
