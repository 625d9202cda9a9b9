#ifndef MQTT_CLIENT_H
#define MQTT_CLIENT_H
#include <stdbool.h>
#include <stdint.h>
#include "esp_err.h"
#include "esp_event.h"
typedef struct esp_mqtt_client *esp_mqtt_client_handle_t;
typedef enum esp_mqtt_event_id_t {
  MQTT_EVENT_ANY = -1,
  MQTT_EVENT_ERROR = 0,
  MQTT_EVENT_CONNECTED,
  MQTT_EVENT_DISCONNECTED,
  MQTT_EVENT_SUBSCRIBED,
  MQTT_EVENT_UNSUBSCRIBED,
  MQTT_EVENT_PUBLISHED,
  MQTT_EVENT_DATA
} esp_mqtt_event_id_t;
typedef struct esp_mqtt_event_t {
  esp_mqtt_event_id_t event_id;
  esp_mqtt_client_handle_t client;
  char *data;
  int data_len;
  int total_data_len;
  int current_data_offset;
  char *topic;
  int topic_len;
  bool retain;
} esp_mqtt_event_t;
typedef struct esp_mqtt_topic_t {
  const char *filter;
  int qos;
} esp_mqtt_topic_t;
typedef struct esp_mqtt_client_config_t {
  struct {
    struct {
      const char *uri;
    } address;
  } broker;
} esp_mqtt_client_config_t;
esp_mqtt_client_handle_t esp_mqtt_client_init(const esp_mqtt_client_config_t *config);
esp_err_t esp_mqtt_client_start(esp_mqtt_client_handle_t client);
esp_err_t esp_mqtt_client_register_event(esp_mqtt_client_handle_t client, esp_mqtt_event_id_t event,
                                         esp_event_handler_t handler, void *arg);
/* One name for both, by the type of the second argument, as esp-mqtt has it for C. */
#define esp_mqtt_client_subscribe(client, topic, qos_or_size)     \
  _Generic((topic),                                               \
    char *: esp_mqtt_client_subscribe_single,                     \
    const char *: esp_mqtt_client_subscribe_single,               \
    esp_mqtt_topic_t *: esp_mqtt_client_subscribe_multiple)(client, topic, qos_or_size)
int esp_mqtt_client_subscribe_single(esp_mqtt_client_handle_t client, const char *topic, int qos);
int esp_mqtt_client_subscribe_multiple(esp_mqtt_client_handle_t client, const esp_mqtt_topic_t *list, int size);
int esp_mqtt_client_publish(esp_mqtt_client_handle_t client, const char *topic, const char *data, int len, int qos,
                            int retain);
int esp_mqtt_client_enqueue(esp_mqtt_client_handle_t client, const char *topic, const char *data, int len, int qos,
                            int retain, bool store);
#endif
