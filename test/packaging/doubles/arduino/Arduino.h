/* Declarations of the Arduino core that library and example use, in our own words. */
#ifndef ARDUINO_H
#define ARDUINO_H
#include <stddef.h>
#include <stdint.h>
unsigned long millis();
void delay(unsigned long ms);
class String {
public:
  String(const char *text = "");
  explicit String(unsigned long number);
  const char *c_str() const;
  unsigned int length() const;
};
String operator+(const String &a, const String &b);
String operator+(const String &a, const char *b);
class HardwareSerial {
public:
  void begin(unsigned long baud);
  size_t print(const char *text);
  size_t println(const char *text);
  size_t println();
  size_t write(const uint8_t *bytes, size_t size);
};
extern HardwareSerial Serial;
void setup();
void loop();
#endif
