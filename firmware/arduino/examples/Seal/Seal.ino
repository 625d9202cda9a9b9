/*
 * Publishes a sealed text every ten seconds, and prints the texts that other members of the channel seal. For an ESP32,
 * with the library PubSubClient.
 *
 * `ampoule provision boiler --format c -o identity.h` writes the identity, once. To try it: K(0) stays in the sketch in
 * flash then, and there is no forward secrecy against whoever reads it there and has recorded the control topics. In a
 * product the identity is flashed with `ampoule image`, and identity() has no argument.
 */
#include <WiFi.h>

#include <AmpouleArduino.h>
#include <PubSubClient.h>

#include "identity.h"

static const char NETWORK[] = "plant";
static const char PASSWORD[] = "";
static const char BROKER[] = "192.168.1.10";
static const char TOPIC[] = "plant/boiler/live";

static const amp_identity PROVISIONED = AMP_IDENTITY;

static WiFiClient wifi;
static PubSubClient mqtt(wifi);
static AmpoulePreferences storage;
static Ampoule device;
static unsigned long published;

static void onText(const char *topic, const uint8_t *text, size_t len, const amp_received &received)
{
  if (received.part != 0 || !received.is_last) {
    Serial.println("a part of a longer message, see amp_join()");
    return;
  }
  Serial.print(topic);
  Serial.print(": ");
  Serial.write(text, len);
  Serial.println();
}

static void onMessage(char *topic, uint8_t *payload, unsigned int len)
{
  const amp_status status = device.received(mqtt, topic, payload, len, false);
  if (status == AMP_OK || status == AMP_REFLECTED) return;
  Serial.print("refused: ");
  Serial.println(amp_status_name(status));
}

void setup()
{
  Serial.begin(115200);
  WiFi.begin(NETWORK, PASSWORD);
  mqtt.setServer(BROKER, 1883);
  mqtt.setBufferSize(Ampoule::PACKET_MAX);
  mqtt.setCallback(onMessage);
  device.onText(onText);
  if (!storage.begin() || device.begin(storage.identity(&PROVISIONED), storage.port()) != AMP_OK) {
    Serial.println("no device: the stored state is lost, or another identity's");
    for (;;) delay(1000);
  }
}

void loop()
{
  if (!mqtt.connected()) {
    if (WiFi.status() != WL_CONNECTED || !mqtt.connect("boiler")) {
      delay(1000);
      return;
    }
    device.connected(mqtt);
    mqtt.subscribe(TOPIC, 1);
  }
  mqtt.loop();
  device.loop(mqtt);
  if (millis() - published < 10000) return;
  published = millis();
  const String text = String("up ") + String(published / 1000) + " s";
  const amp_status status =
    device.publish(mqtt, TOPIC, reinterpret_cast<const uint8_t *>(text.c_str()), text.length());
  /* Until keys have come this is NO_CHANNEL or NOT_YET; nothing leaves in clear. */
  if (status != AMP_OK) Serial.println(amp_status_name(status));
}
