#ifndef WIFI_H
#define WIFI_H
#include <Arduino.h>
enum { WL_CONNECTED = 3 };
class WiFiClass {
public:
  int begin(const char *ssid, const char *passphrase);
  int status();
};
extern WiFiClass WiFi;
class Client {
public:
  virtual int connect(const char *host, uint16_t port) = 0;
};
class WiFiClient : public Client {
public:
  int connect(const char *host, uint16_t port) override;
};
#endif
