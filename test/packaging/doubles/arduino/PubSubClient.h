#ifndef PUBSUBCLIENT_H
#define PUBSUBCLIENT_H
#include <WiFi.h>
typedef void (*MqttCallback)(char *, uint8_t *, unsigned int);
class PubSubClient {
public:
  explicit PubSubClient(Client &client);
  PubSubClient &setServer(const char *host, uint16_t port);
  PubSubClient &setCallback(MqttCallback callback);
  bool setBufferSize(uint16_t size);
  bool connect(const char *id);
  bool connected();
  bool loop();
  bool publish(const char *topic, const uint8_t *payload, unsigned int length, bool retained);
  bool subscribe(const char *topic, uint8_t qos);
};
#endif
