/* Publishes a sealed text every ten seconds, and logs the texts that other members of the channel seal. */
#include <stdio.h>

#include "amp_esp_mqtt.h"
#include "esp_event.h"
#include "esp_log.h"
#include "esp_netif.h"
#include "esp_timer.h"
#include "esp_wifi.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"
#include "mqtt_client.h"
#include "nvs_flash.h"

static const char TAG[] = "seal";
static const char *const FILTERS[] = {CONFIG_SEAL_TOPIC};

static amp_esp device;
static amp_esp_mqtt mqtt;

static void on_text(void *user, const char *topic, const uint8_t *text, size_t len, const amp_received *received,
                    int retained)
{
  (void)user;
  (void)retained;
  if (received->part != 0 || !received->is_last) {
    ESP_LOGW(TAG, "%s: a part of a longer message, see amp_join()", topic);
    return;
  }
  ESP_LOGI(TAG, "%s: %.*s (sender %u)", topic, (int)len, (const char *)text, (unsigned)received->sender);
}

static void on_refused(void *user, const char *topic, amp_status status)
{
  (void)user;
  ESP_LOGW(TAG, "%s: refused, %s", topic, amp_status_name(status));
}

static void on_wifi(void *arg, esp_event_base_t base, int32_t id, void *data)
{
  (void)arg;
  (void)base;
  (void)data;
  if (id == WIFI_EVENT_STA_START || id == WIFI_EVENT_STA_DISCONNECTED) (void)esp_wifi_connect();
}

static void start_wifi(void)
{
  wifi_init_config_t init = WIFI_INIT_CONFIG_DEFAULT();
  wifi_config_t station = {.sta = {.ssid = CONFIG_SEAL_WIFI_SSID, .password = CONFIG_SEAL_WIFI_PASSWORD}};
  ESP_ERROR_CHECK(esp_netif_init());
  ESP_ERROR_CHECK(esp_event_loop_create_default());
  esp_netif_create_default_wifi_sta();
  ESP_ERROR_CHECK(esp_wifi_init(&init));
  ESP_ERROR_CHECK(esp_event_handler_register(WIFI_EVENT, ESP_EVENT_ANY_ID, on_wifi, NULL));
  ESP_ERROR_CHECK(esp_wifi_set_mode(WIFI_MODE_STA));
  ESP_ERROR_CHECK(esp_wifi_set_config(WIFI_IF_STA, &station));
  ESP_ERROR_CHECK(esp_wifi_start());
}

static void publish(void)
{
  static uint8_t payload[256];
  char text[32];
  const int len = snprintf(text, sizeof text, "up %ld s", (long)(esp_timer_get_time() / 1000000));
  const int status = amp_esp_mqtt_publish(&mqtt, CONFIG_SEAL_TOPIC, (const uint8_t *)text, (size_t)len, payload,
                                          sizeof payload, 1, 0);
  /* Until keys have come this is NO_CHANNEL or NOT_YET; nothing leaves in clear. */
  if (status > 0) ESP_LOGW(TAG, "not sealed: %s", amp_status_name((amp_status)status));
  if (status < 0) ESP_LOGW(TAG, "not sent");
}

void app_main(void)
{
  const esp_mqtt_client_config_t broker = {.broker.address.uri = CONFIG_SEAL_BROKER};
  const amp_esp_mqtt_config config = {
    .filters = FILTERS, .filter_count = 1, .on_text = on_text, .on_refused = on_refused};
  esp_mqtt_client_handle_t client;
  unsigned seconds;

  ESP_ERROR_CHECK(nvs_flash_init()); /* of the radio; the device's own partition is amp_esp_open()'s */
  if (amp_esp_open(&device) != AMP_OK) return;
  start_wifi();
  client = esp_mqtt_client_init(&broker);
  ESP_ERROR_CHECK(amp_esp_mqtt_attach(&mqtt, &device, client, &config));
  ESP_ERROR_CHECK(esp_mqtt_client_start(client));
  for (seconds = 0;; seconds += 5) {
    vTaskDelay(pdMS_TO_TICKS(5000));
    amp_esp_mqtt_tick(&mqtt);
    if (seconds % 10 == 0) publish();
  }
}
