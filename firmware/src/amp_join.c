/* What receivers keep of messages beside the core: parts of narrow messages, and positions of retained ones. */
#include <string.h>

#include "ampoule.h"

static amp_status drop(amp_joined *joined, amp_status status)
{
  memset(joined->buffer, 0, joined->max);
  joined->len = 0;
  joined->parts = 0;
  return status;
}

static int follows(const amp_joined *held, const amp_received *part)
{
  return held->parts > 0 && held->generation == part->generation && held->step == part->step &&
         held->sender == part->sender && held->counter == part->counter && held->parts == part->part;
}

amp_status amp_join(amp_joined *joined, const amp_received *received, const uint8_t *text)
{
  if (received->part == 0) joined->len = joined->parts = 0;
  else if (!follows(joined, received)) return drop(joined, AMP_GAP);
  if (received->len > joined->max - joined->len) return drop(joined, AMP_NO_SPACE);
  if (received->len > 0) memcpy(joined->buffer + joined->len, text, received->len);
  joined->len += received->len;
  joined->generation = received->generation;
  joined->step = received->step;
  joined->sender = received->sender;
  /* Of the next part. */
  joined->counter = received->counter + 1u;
  joined->parts = (uint8_t)(received->part + 1);
  if (!received->is_last) return AMP_MORE;
  joined->parts = 0;
  return AMP_OK;
}

amp_status amp_check_retained(amp_position *newest, const amp_received *received)
{
  const amp_position now = {received->generation, received->step, received->counter};
  if (now.generation != newest->generation ? now.generation < newest->generation
      : now.step != newest->step           ? now.step < newest->step
                                           : now.counter < newest->counter) {
    return AMP_CLOSED;
  }
  *newest = now;
  return AMP_OK;
}
