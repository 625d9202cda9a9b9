/*
 * A core that traps when it is told to, in the middle of its work: the call says TRAPPED, and what its caller had in
 * registers is there, as after any other call. At -Os the core has one of them for itself.
 */
#include "ampoule.h"
#include "guest.h"

/** Whether the core traps; the core is compiled with that. */
volatile unsigned trap_now;

enum { VALUES = 11 };

static amp_context device;
static volatile uint32_t values[VALUES] = {3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37};

static amp_status opened(void)
{
  static const uint8_t id[AMP_ID_SIZE] = {1}, key[AMP_KEY_SIZE] = {2};
  static const amp_identity identity = {id, id, key, sizeof key, "ampoule"};
  static const amp_port port = {.kind = AMP_NEITHER};
  return amp_open(&device, &identity, &port);
}

static amp_status ticked(void) { return amp_tick(&device); }

/** More values than there are registers that a call must keep: all of those are in use. */
static void expect(const char *what, amp_status (*call)(void), amp_status expected)
{
  const uint32_t a = values[0], b = values[1], c = values[2], d = values[3], e = values[4], f = values[5], g = values[6],
                 h = values[7], i = values[8], j = values[9], k = values[10];
  const amp_status status = call();
  if (a != 3 || b != 5 || c != 7 || d != 11 || e != 13 || f != 17 || g != 19 || h != 23 || i != 29 || j != 31 || k != 37) {
    leave("a register was not kept");
  }
  if (status != expected) leave(what);
}

void guest(void)
{
  expect("open", opened, AMP_OK);
  expect("tick", ticked, AMP_OK);
  trap_now = 1;
  expect("open with a trap", opened, AMP_TRAPPED);
  expect("tick after a trap", ticked, AMP_TRAPPED);
  trap_now = 0;
  expect("open again", opened, AMP_OK);
  expect("tick again", ticked, AMP_OK);
  leave("ok");
}
