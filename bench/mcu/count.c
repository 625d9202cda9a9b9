/*
 * A QEMU plugin that counts executed guest instructions between two markers, which do nothing on either machine:
 *
 *              begin              end
 *     Thumb    .hword 0xBF80      .hword 0xBF90      hints without a meaning
 *     RV32     slti x0, x0, 1     slti x0, x0, 2
 *
 * out=FILE gets one decimal number a line, one line a region. The markers are not counted. A region that is begun twice
 * or ended without a beginning is "bad", and so is one that is open at the end: then the numbers are worth nothing.
 *
 * Debian's QEMU 7.2 takes plugins and brings no header for them: what is used of the interface, version 1, is declared
 * here.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t plugin_id;

struct plugin_info {
  const char *target_name;
  struct {
    int min;
    int current;
  } version;
  bool system_emulation;
  struct {
    int smp_vcpus;
    int max_vcpus;
  } system;
};

struct qemu_plugin_tb;
struct qemu_plugin_insn;

typedef void on_translation(plugin_id, struct qemu_plugin_tb *);
typedef void on_execution(unsigned cpu, void *data);
typedef void on_exit(plugin_id, void *data);

/* Values of two enumerations: "callback touches no registers", "add to a 64-bit number". */
enum { NO_REGISTERS = 0, ADD_U64 = 0 };

extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, on_translation *);
extern void qemu_plugin_register_atexit_cb(plugin_id, on_exit *, void *data);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t index);
extern const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
extern size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, on_execution *, int, void *data);
extern void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *, int, void *number, uint64_t add);

EXPORT int qemu_plugin_version = 1;
EXPORT int qemu_plugin_install(plugin_id id, const struct plugin_info *info, int argc, char **argv);

static bool is_thumb;
static bool is_open;
static uint64_t executed;
static uint64_t at_begin;
static FILE *out;

static void begin(unsigned cpu, void *data)
{
  (void)cpu;
  (void)data;
  if (is_open) fputs("bad\n", out);
  is_open = true;
  at_begin = executed;
}

static void end(unsigned cpu, void *data)
{
  (void)cpu;
  (void)data;
  if (!is_open) fputs("bad\n", out);
  else fprintf(out, "%" PRIu64 "\n", executed - at_begin);
  is_open = false;
}

/* 1 for a begin marker, 2 for an end marker, else 0. */
static int marker(const struct qemu_plugin_insn *insn)
{
  const uint8_t *code = qemu_plugin_insn_data(insn);
  /* Not qemu_plugin_insn_size(): it says 4 of a halfword at the end of a page. No longer instruction begins with 0xBF. */
  if (is_thumb) return code[1] != 0xbf ? 0 : code[0] == 0x80 ? 1 : code[0] == 0x90 ? 2 : 0;
  if (qemu_plugin_insn_size(insn) != 4) return 0;
  return code[0] != 0x13 || code[1] != 0x20 || code[3] != 0 ? 0 : code[2] == 0x10 ? 1 : code[2] == 0x20 ? 2 : 0;
}

static void translate(plugin_id id, struct qemu_plugin_tb *tb)
{
  (void)id;
  const size_t n = qemu_plugin_tb_n_insns(tb);
  for (size_t i = 0; i < n; ++i) {
    struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
    switch (marker(insn)) {
      case 1: qemu_plugin_register_vcpu_insn_exec_cb(insn, begin, NO_REGISTERS, NULL); break;
      case 2: qemu_plugin_register_vcpu_insn_exec_cb(insn, end, NO_REGISTERS, NULL); break;
      default: qemu_plugin_register_vcpu_insn_exec_inline(insn, ADD_U64, &executed, 1);
    }
  }
}

static void finish(plugin_id id, void *data)
{
  (void)id;
  (void)data;
  if (is_open) fputs("bad\n", out);
  fclose(out);
}

int qemu_plugin_install(plugin_id id, const struct plugin_info *info, int argc, char **argv)
{
  is_thumb = strcmp(info->target_name, "arm") == 0;
  for (int i = 0; i < argc; ++i)
    if (strncmp(argv[i], "out=", 4) == 0) out = fopen(argv[i] + 4, "w");
  if (out == NULL) return 1;
  qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
  qemu_plugin_register_atexit_cb(id, finish, NULL);
  return 0;
}
