/*
 * Ampoule for Arduino: ampoule.h, thinly wrapped, for an MQTT client such as PubSubClient.
 *
 *     Ampoule device;                        a global: it takes some 6 KB
 *     device.begin(identity, port);          in setup(), once
 *     device.connected(mqtt);                after each connect()
 *     device.received(mqtt, topic, payload, len, false);   in the client's callback
 *     device.publish(mqtt, topic, text, len);
 *     device.loop(mqtt);                     in loop()
 *
 * `mqtt` is anything with subscribe(const char *, uint8_t) and publish(const char *, const uint8_t *, unsigned, bool),
 * both true on success, and room for packets of Ampoule::PACKET_MAX bytes. Everything is refused by name, and nothing
 * leaves in clear.
 */
#ifndef AMPOULE_ARDUINO_H
#define AMPOULE_ARDUINO_H

#include <Arduino.h>
#include <string.h>

#include "ampoule.h"

/**
 * Bytes for texts received, and longest payload published; define others before the first include.
 *
 * A payload is refused, NO_SPACE, if a text that fills its frames would not fit, however short the text is: with frames
 * of 128 bytes, which hold 104 of text, 512 bytes take payloads of 4 frames.
 */
#ifndef AMPOULE_TEXT_MAX
#define AMPOULE_TEXT_MAX 512
#endif
#ifndef AMPOULE_PAYLOAD_MAX
#define AMPOULE_PAYLOAD_MAX 512
#endif

class Ampoule {
public:
  /** What the key server may send, with topic and headers of MQTT: for PubSubClient::setBufferSize(). */
  static const unsigned PACKET_MAX = AMP_CONTROL_MAX + AMP_TOPIC_MAX + 8;

  /** A text from a member. It is wiped when this returns. */
  typedef void (*TextHandler)(const char *topic, const uint8_t *text, size_t len, const amp_received &received);

  Ampoule() : onText_(nullptr), ticked_(0) { memset(&context, 0, sizeof context); }
  ~Ampoule() { amp_close(&context); }
  Ampoule(const Ampoule &) = delete;
  Ampoule &operator=(const Ampoule &) = delete;

  /** See amp_open(). */
  AMP_MUST_CHECK amp_status begin(const amp_identity &identity, const amp_port &port)
  {
    ticked_ = millis();
    return amp_open(&context, &identity, &port);
  }

  void onText(TextHandler handler) { onText_ = handler; }

  /** The broker has accepted: subscribes to what the key server sends, and says hello. Then subscribe to your own. */
  template <class Mqtt> void connected(Mqtt &mqtt)
  {
    subscribe(mqtt);
    amp_hello(&context);
    flush(mqtt);
  }

  /**
   * Takes whatever came. `retained` is false where the client does not tell: retained values are then refused once
   * they are old, as replays.
   *
   * Returns what amp_receive() does; AMP_REFLECTED is a message of this device's own.
   */
  template <class Mqtt>
  amp_status received(Mqtt &mqtt, const char *topic, const uint8_t *payload, size_t len, bool retained)
  {
    char name[AMP_TOPIC_MAX + 1];
    amp_received result;
    memset(&result, 0, sizeof result);
    if (strlen(topic) > AMP_TOPIC_MAX) return AMP_BAD_ARGUMENT;
    /* The client's own buffer holds topic and payload, and is used again as soon as something is published. */
    strcpy(name, topic);
    const amp_status status =
      amp_receive(&context, name, payload, len, retained ? 1 : 0, text_, sizeof text_, &result);
    if (status == AMP_OK && result.kind == AMP_TEXT && onText_ != nullptr) onText_(name, text_, result.len, result);
    memset(text_, 0, sizeof text_);
    if (status == AMP_OK && result.changed) subscribe(mqtt);
    flush(mqtt);
    return status;
  }

  /** Seals and publishes. Returns what amp_protect() does, and AMP_NOT_STORED if the client did not take it. */
  template <class Mqtt>
  AMP_MUST_CHECK amp_status publish(Mqtt &mqtt, const char *topic, const uint8_t *text, size_t len, bool retain = false)
  {
    amp_sealed sealed;
    const amp_status status = amp_protect(&context, topic, text, len, payload_, sizeof payload_, &sealed);
    if (status != AMP_OK) return status;
    for (size_t at = 0; at < sealed.len; at += sealed.payload_len) {
      if (!mqtt.publish(topic, &payload_[at], static_cast<unsigned>(sealed.payload_len), retain)) return AMP_NOT_STORED;
    }
    return AMP_OK;
  }

  /** A tick every five seconds, and what is due for the key server. */
  template <class Mqtt> void loop(Mqtt &mqtt)
  {
    if (millis() - ticked_ < TICK_MS) return;
    ticked_ = millis();
    (void)amp_tick(&context);
    if (mqtt.connected()) flush(mqtt);
  }

  /** For the functions of ampoule.h that are not wrapped. */
  amp_context context;

private:
  static const unsigned long TICK_MS = 5000;

  template <class Mqtt> void subscribe(Mqtt &mqtt)
  {
    char topic[AMP_TOPIC_MAX + 1];
    for (unsigned i = 0; i < AMP_SUBSCRIPTIONS; ++i) {
      if (amp_subscription(&context, i, topic, sizeof topic) == AMP_OK) mqtt.subscribe(topic, 1);
    }
  }

  template <class Mqtt> void flush(Mqtt &mqtt)
  {
    char topic[AMP_TOPIC_MAX + 1];
    uint8_t reply[AMP_REPLY_SIZE];
    while (amp_outgoing(&context, topic, sizeof topic, reply) == AMP_OK) {
      if (!mqtt.publish(topic, reply, AMP_REPLY_SIZE, false)) return;
    }
  }

  TextHandler onText_;
  unsigned long ticked_;
  uint8_t text_[AMPOULE_TEXT_MAX];
  uint8_t payload_[AMPOULE_PAYLOAD_MAX];
};

#if defined(ESP32)
#include <Preferences.h>

/**
 * Identity and state in the flash of an ESP32, through Preferences: a port for Ampoule::begin().
 *
 * The identity is best flashed with `ampoule image` into a partition of its own: then K(0) goes when the device has a
 * storage key. One that is compiled in stays in the sketch; whoever reads it there and has recorded the control topics
 * can follow them.
 */
class AmpoulePreferences {
public:
  /** Marks stored before a blob is; some are left free for messages under way. */
  static const unsigned MARKS = 64;
  static const unsigned MARKS_LEFT = 8;
  /** Names there are for marks: all that another version has stored are read. */
  static const unsigned MARK_NAMES = 256;

  /**
   * @param name namespace, 15 characters at most; one for each device
   * @param partition where `ampoule image` put the identity; null: that of all Preferences
   * @returns false if it cannot be opened
   */
  bool begin(const char *name = "ampoule", const char *partition = nullptr)
  {
    held_ = filling_ = -1;
    marks_ = 0;
    return preferences_.begin(name, false, partition);
  }

  /**
   * The identity that was flashed, else `provisioned`, with the storage key once there is one. Without either, and when it
   * cannot be read, its key has no bytes, and Ampoule::begin() says BAD_ARGUMENT. Good for as long as this object is.
   */
  amp_identity identity(const amp_identity *provisioned = nullptr)
  {
    amp_identity result = {realm_, device_, key_, 0, prefix_};
    const bool isFlashed = preferences_.isKey("realm");
    memset(prefix_, 0, sizeof prefix_);
    if (isFlashed && !(has("realm", realm_, sizeof realm_) && has("device", device_, sizeof device_) &&
                       preferences_.getBytes("prefix", prefix_, sizeof prefix_ - 1) > 0)) {
      return result;
    }
    if (!isFlashed && provisioned == nullptr) return result;
    if (!isFlashed) result = *provisioned;
    if (preferences_.isKey("storage_key")) {
      result.key = key_;
      result.key_size = has("storage_key", key_, sizeof key_) ? sizeof key_ : 0;
      /* It was about to go. */
      if (result.key_size != 0 && preferences_.isKey("key")) preferences_.remove("key");
    } else if (isFlashed) {
      result.key_size = has("key", key_, AMP_KEY_SIZE) ? AMP_KEY_SIZE : 0;
    }
    return result;
  }

  amp_port port()
  {
    amp_port port;
    memset(&port, 0, sizeof port);
    port.user = this;
    port.kind = AMP_STORAGE;
    port.slot_read = slotRead;
    port.slot_erase = slotErase;
    port.slot_write = slotWrite;
    port.slot_done = slotDone;
    port.mark_append = markAppend;
    port.mark_read = markRead;
    port.marks_clear = marksClear;
    port.keep_key = keepKey;
    return port;
  }

private:
  static AmpoulePreferences &self(void *user) { return *static_cast<AmpoulePreferences *>(user); }

  static const char *slotName(unsigned slot) { return slot == 0 ? "slot0" : "slot1"; }

  static void markName(size_t index, char name[4])
  {
    static const char digits[] = "0123456789abcdef";
    name[0] = 'm';
    name[1] = digits[index >> 4 & 15];
    name[2] = digits[index & 15];
    name[3] = 0;
  }

  static int slotRead(void *user, unsigned slot, size_t at, uint8_t *bytes, size_t size)
  {
    AmpoulePreferences &my = self(user);
    if (my.held_ != static_cast<int>(slot)) {
      my.filling_ = -1;
      memset(my.slot_, 0xFF, sizeof my.slot_);
      if (my.preferences_.isKey(slotName(slot)) &&
          my.preferences_.getBytes(slotName(slot), my.slot_, sizeof my.slot_) == 0) {
        my.held_ = -1;
        return -1;
      }
      my.held_ = static_cast<int>(slot);
    }
    memcpy(bytes, &my.slot_[at], size);
    return 0;
  }

  /** What is stored stays until slotDone() replaces it in one step. */
  static int slotErase(void *user, unsigned slot)
  {
    AmpoulePreferences &my = self(user);
    my.held_ = -1;
    my.filling_ = static_cast<int>(slot);
    my.filled_ = 0;
    return 0;
  }

  static int slotWrite(void *user, unsigned slot, size_t at, const uint8_t *bytes, size_t size)
  {
    AmpoulePreferences &my = self(user);
    if (my.filling_ != static_cast<int>(slot) || at != my.filled_ || size > sizeof my.slot_ - at) return -1;
    memcpy(&my.slot_[at], bytes, size);
    my.filled_ += size;
    return 0;
  }

  static int slotDone(void *user, unsigned slot)
  {
    AmpoulePreferences &my = self(user);
    if (my.filling_ != static_cast<int>(slot)) return -1;
    my.filling_ = -1;
    return my.preferences_.putBytes(slotName(slot), my.slot_, my.filled_) == my.filled_ ? 0 : -1;
  }

  static int markAppend(void *user, const uint8_t mark[AMP_MARK_SIZE])
  {
    AmpoulePreferences &my = self(user);
    char name[4];
    if (my.marks_ >= MARKS) return -1;
    markName(my.marks_, name);
    if (my.preferences_.putBytes(name, mark, AMP_MARK_SIZE) != AMP_MARK_SIZE) return -1;
    ++my.marks_;
    return my.marks_ + MARKS_LEFT >= MARKS ? AMP_PORT_FULL : 0;
  }

  static int markRead(void *user, size_t index, uint8_t mark[AMP_MARK_SIZE])
  {
    AmpoulePreferences &my = self(user);
    char name[4];
    if (index >= MARK_NAMES) return AMP_PORT_END;
    markName(index, name);
    if (!my.preferences_.isKey(name)) return AMP_PORT_END;
    if (my.preferences_.getBytes(name, mark, AMP_MARK_SIZE) != AMP_MARK_SIZE) return -1;
    if (my.marks_ <= index) my.marks_ = static_cast<unsigned>(index) + 1;
    return 0;
  }

  /** From the last one down: what a power cut leaves are the first ones. */
  static int marksClear(void *user)
  {
    AmpoulePreferences &my = self(user);
    char name[4];
    for (; my.marks_ > 0; --my.marks_) {
      markName(my.marks_ - 1, name);
      if (my.preferences_.isKey(name) && !my.preferences_.remove(name)) return -1;
    }
    return 0;
  }

  static int keepKey(void *user, const uint8_t storageKey[AMP_STORAGE_KEY_SIZE])
  {
    Preferences &preferences = self(user).preferences_;
    const size_t size = AMP_STORAGE_KEY_SIZE;
    if (preferences.putBytes("storage_key", storageKey, size) != size) return -1;
    return !preferences.isKey("key") || preferences.remove("key") ? 0 : -1;
  }

  bool has(const char *name, uint8_t *bytes, size_t size)
  {
    return preferences_.isKey(name) && preferences_.getBytes(name, bytes, size) == size;
  }

  Preferences preferences_;
  int held_;
  int filling_;
  size_t filled_;
  unsigned marks_;
  uint8_t slot_[AMP_BLOB_MAX];
  uint8_t realm_[AMP_ID_SIZE];
  uint8_t device_[AMP_ID_SIZE];
  uint8_t key_[AMP_STORAGE_KEY_SIZE];
  char prefix_[AMP_TOPIC_MAX + 1];
};
#endif

#endif
