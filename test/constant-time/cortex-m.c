/*
 * Plays a transcript (transcript.ts) over the module compiled for a Cortex-M3, in an emulator.
 *
 *     cortex-m <image> <its address> <offset of memory> <core> <instantiate> <trap> <function>...
 *
 * Addresses are those of the image; functions in the order of their numbers. For each call it prints
 * "t <call> <result> <instructions> <hash>", where the hash is over the address of every instruction and of every
 * access to memory. After a call's arguments, in place of "e":
 *
 *   k at size stride hex   skips each instruction of the call once, all others running on (or each stride-th), and prints
 *                      "k <instructions> <accepted> <leaked> <refused> <trapped> <crashed> <endless> <unlike>",
 *                      after a line "a <address> <number> <result>" for each acceptance or leak. A result up to 3 is
 *                      an acceptance; a leak is 8 bytes of the given text in linear memory at..at+size, whatever
 *                      the result. "unlike" counts instructions from which the call, continued without a skip,
 *                      did not end as it ended the first time: that must be 0, or the skips are worth nothing.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unicorn/unicorn.h>

#define RAM 0x20000000u
/* Where calls return to: a page without code. */
#define END 0x00100000u

enum {
  RAM_SIZE = 0x8000,
  FLASH_SIZE = 0x40000,
  FUNCTIONS = 64,
  ARGS = 10,
  TEXT_MAX = 1024,
  LEAK = 8,
  LAST_ACCEPTED = 3,
  BLOCKS_MAX = 20000,
  REGISTERS = 16,
  /* How often it is tried whether a call continues as it should; always where instructions are conditional. */
  RESUME_EACH = 16
};

typedef enum { ENDED, TRAPPED, CRASHED, ENDLESS } ending;

typedef struct {
  uc_engine *uc;
  uint64_t hash, instructions, blocks;
  bool trapped, endless;
} machine;

typedef struct {
  uint32_t at, size;
  uint8_t text[TEXT_MAX];
  uint32_t text_size, stride;
  ending first;
  uint32_t first_result;
  uint64_t accepted, leaked, refused, trapped, crashed, endless, unlike, skipped;
} sweep;

static const int REGISTER[REGISTERS] = {
  UC_ARM_REG_R0, UC_ARM_REG_R1, UC_ARM_REG_R2, UC_ARM_REG_R3, UC_ARM_REG_R4, UC_ARM_REG_R5, UC_ARM_REG_R6, UC_ARM_REG_R7,
  UC_ARM_REG_R8, UC_ARM_REG_R9, UC_ARM_REG_R10, UC_ARM_REG_R11, UC_ARM_REG_R12, UC_ARM_REG_SP, UC_ARM_REG_LR, UC_ARM_REG_XPSR
};

typedef struct {
  uint32_t pc, registers[REGISTERS];
  uint8_t ram[RAM_SIZE];
} moment;

/* The second one runs on after a skip. The third one steps through conditional instructions, one of them patched. */
static machine first, second, third;
static uint8_t first_ram[RAM_SIZE], second_ram[RAM_SIZE], third_ram[RAM_SIZE], start_ram[RAM_SIZE], end_ram[RAM_SIZE];
static uint8_t flash[FLASH_SIZE], patched[FLASH_SIZE];
/* The last if-then instruction, and what it says of those up to block_end: it is 0 after the last of them. */
static moment if_then;
static uint32_t it_state, block_end;
static uint32_t core, memory_offset, instantiate, trap, functions[FUNCTIONS];
static uint32_t call, args[ARGS], arg_count;
static sweep *sweeping;

static void fail(const char *what)
{
  fprintf(stderr, "cortex-m: %s\n", what);
  exit(2);
}

static void must(uc_err error)
{
  if (error != UC_ERR_OK) fail(uc_strerror(error));
}

static uint32_t number(char **at)
{
  char *end;
  const unsigned long value = strtoul(*at, &end, 0);
  if (end == *at) fail("a number is missing");
  *at = end;
  return (uint32_t)value;
}

static uint32_t hex(char *at, uint8_t *bytes, uint32_t max)
{
  uint32_t size = 0;
  unsigned byte;
  while (*at == ' ') ++at;
  for (; sscanf(at, "%2x", &byte) == 1; at += 2) {
    if (size == max) fail("too many bytes");
    bytes[size++] = (uint8_t)byte;
  }
  return size;
}

/* ---- One run ---- */

static void mix(machine *m, uint64_t value)
{
  m->hash = (m->hash ^ value) * 0x100000001b3u;
  m->hash ^= m->hash >> 29;
}

static void on_block(uc_engine *uc, uint64_t at, uint32_t size, void *user)
{
  machine *m = user;
  (void)size;
  m->trapped |= at == trap;
  m->endless |= ++m->blocks > BLOCKS_MAX;
  if (m->trapped || m->endless) uc_emu_stop(uc);
}

static void on_access(uc_engine *uc, uc_mem_type type, uint64_t at, int size, int64_t value, void *user)
{
  (void)uc;
  (void)value;
  mix(user, at << 8 | (uint64_t)size << 4 | (type == UC_MEM_WRITE));
}

static ending run(machine *m, uint32_t pc, uint32_t *result)
{
  m->blocks = 0;
  m->trapped = m->endless = false;
  const uc_err error = uc_emu_start(m->uc, pc | 1, END, 0, 0);
  must(uc_reg_read(m->uc, UC_ARM_REG_R0, result));
  return m->trapped ? TRAPPED : m->endless ? ENDLESS : error != UC_ERR_OK ? CRASHED : ENDED;
}

/** Sets the registers for a call; the rest of the arguments lie on the stack. */
static void set_call(machine *m, uint8_t *ram, uint32_t instance, const uint32_t *values, uint32_t count)
{
  const uint32_t sp = RAM + RAM_SIZE - 64, lr = END | 1;
  const uint32_t zero = 0, xpsr = 0x01000000;
  for (int i = 0; i < 13; ++i) must(uc_reg_write(m->uc, REGISTER[i], &zero));
  must(uc_reg_write(m->uc, UC_ARM_REG_R0, &instance));
  for (uint32_t i = 0; i < count; ++i) {
    if (i < 3) must(uc_reg_write(m->uc, REGISTER[i + 1], &values[i]));
    else memcpy(&ram[sp - RAM + (i - 3) * 4], &values[i], 4);
  }
  must(uc_reg_write(m->uc, UC_ARM_REG_SP, &sp));
  must(uc_reg_write(m->uc, UC_ARM_REG_LR, &lr));
  must(uc_reg_write(m->uc, UC_ARM_REG_XPSR, &xpsr));
}

/* ---- Skipping ---- */

static bool leaks(const sweep *s)
{
  for (uint32_t i = 0; i + LEAK <= s->size; ++i) {
    for (uint32_t k = 0; k + LEAK <= s->text_size; ++k) {
      if (memcmp(&second_ram[s->at - RAM + i], &s->text[k], LEAK) == 0) return true;
    }
  }
  return false;
}

static void take(moment *now, const machine *m, const uint8_t *ram, uint32_t pc)
{
  now->pc = pc;
  for (int i = 0; i < REGISTERS; ++i) must(uc_reg_read(m->uc, REGISTER[i], &now->registers[i]));
  memcpy(now->ram, ram, RAM_SIZE);
}

static ending run_from(machine *m, uint8_t *ram, const moment *from, uint32_t pc, uint32_t *result)
{
  for (int i = 0; i < REGISTERS; ++i) must(uc_reg_write(m->uc, REGISTER[i], &from->registers[i]));
  memcpy(ram, from->ram, RAM_SIZE);
  return run(m, pc, result);
}

static uint32_t it_after(uint32_t it)
{
  return it & 7 ? (it & 0xe0) | (it << 1 & 0x1f) : 0;
}

static uint32_t size_at(uint32_t at)
{
  return flash[at + 1] >> 3 > 0x1c ? 4 : 2;
}

static void on_step(uc_engine *uc, uint64_t at, uint32_t size, void *user)
{
  (void)size;
  (void)user;
  if (at < if_then.pc || at >= block_end) uc_emu_stop(uc);
}

/** Steps from the if-then instruction to after its block, without the instruction at `at`; then runs on. */
static ending skip_conditional(uint32_t at, uint32_t size, uint32_t *result)
{
  static const uint8_t NOP[2] = {0x00, 0xbf}, NOP_WIDE[4] = {0xaf, 0xf3, 0x00, 0x80};
  static moment after;
  uint32_t pc;
  memcpy(&patched[at], size == 2 ? NOP : NOP_WIDE, size);
  must(uc_ctl_remove_cache(third.uc, if_then.pc, block_end));
  run_from(&third, third_ram, &if_then, if_then.pc, result);
  memcpy(&patched[at], &flash[at], size);
  must(uc_ctl_remove_cache(third.uc, if_then.pc, block_end));
  must(uc_reg_read(third.uc, UC_ARM_REG_PC, &pc));
  take(&after, &third, third_ram, pc);
  return run_from(&second, second_ram, &after, pc, result);
}

/** Whether the call, continued here without a skip, ends as it does. */
static bool resumes(const sweep *s, const moment *now)
{
  uint32_t result;
  const moment *from = it_state ? &if_then : now;
  const ending end = run_from(&second, second_ram, from, from->pc, &result);
  return end == s->first && result == s->first_result && memcmp(second_ram, end_ram, RAM_SIZE) == 0;
}

static void skip(sweep *s, uint32_t at, uint32_t size)
{
  static moment now;
  uint32_t result;
  take(&now, &first, first_ram, at);
  if ((it_state || s->skipped % RESUME_EACH == 0) && !resumes(s, &now)) ++s->unlike;
  ++s->skipped;
  const ending end = it_state ? skip_conditional(at, size, &result)
                              : run_from(&second, second_ram, &now, at + size, &result);
  const bool is_accepted = end == ENDED && result <= LAST_ACCEPTED;
  const bool is_leaked = end == ENDED && leaks(s);
  s->accepted += is_accepted;
  s->leaked += is_leaked;
  s->refused += end == ENDED && !is_accepted;
  s->trapped += end == TRAPPED;
  s->crashed += end == CRASHED;
  s->endless += end == ENDLESS;
  if (is_accepted || is_leaked) printf("a 0x%x %llu %u\n", at, (unsigned long long)first.instructions, result);
}

/** Notes an if-then instruction: of 16 bits, beginning with 0xbf, and no hint. */
static void note_if_then(uint32_t at, uint32_t size)
{
  const uint32_t code = flash[at], is_it = size == 2 && flash[at + 1] == 0xbf && (code & 15);
  if (!is_it) {
    it_state = it_after(it_state);
    return;
  }
  it_state = code;
  block_end = at + 2;
  for (uint32_t left = code; left; left = it_after(left)) block_end += size_at(block_end);
  if (sweeping) take(&if_then, &first, first_ram, at);
}

static void on_instruction(uc_engine *uc, uint64_t at, uint32_t size, void *user)
{
  machine *m = user;
  (void)uc;
  mix(m, at);
  if (sweeping && m->instructions % sweeping->stride == 0) skip(sweeping, (uint32_t)at, size);
  ++m->instructions;
  note_if_then((uint32_t)at, size);
}

static ending run_first(uint32_t *result)
{
  first.hash = 0xcbf29ce484222325u;
  first.instructions = 0;
  it_state = 0;
  memset(&first_ram[RAM_SIZE / 2], 0, RAM_SIZE / 2);
  set_call(&first, first_ram, core, args, arg_count);
  if (call >= FUNCTIONS || !functions[call]) fail("no such call");
  return run(&first, functions[call], result);
}

static void make_call(uint32_t expected)
{
  uint32_t result;
  // No code: an export that gives a constant.
  if (call < FUNCTIONS && !functions[call]) return;
  if (run_first(&result) != ENDED) fail("a call did not end");
  if (result != expected) {
    fprintf(stderr, "call %u gives %u, not %u\n", call, result, expected);
    exit(1);
  }
  printf("t %u %u %llu %016llx\n", call, result, (unsigned long long)first.instructions, (unsigned long long)first.hash);
}

static void make_sweep(char *at)
{
  sweep s = {0};
  s.at = core + memory_offset + number(&at);
  s.size = number(&at);
  s.stride = number(&at);
  s.text_size = hex(at, s.text, TEXT_MAX);
  memcpy(start_ram, first_ram, RAM_SIZE);
  s.first = run_first(&s.first_result);
  memcpy(end_ram, first_ram, RAM_SIZE);
  if (s.first != ENDED || s.first_result <= LAST_ACCEPTED) fail("the call must be refused without a skip");
  memcpy(first_ram, start_ram, RAM_SIZE);
  sweeping = &s;
  uint32_t result;
  run_first(&result);
  sweeping = NULL;
  printf("k %llu %llu %llu %llu %llu %llu %llu %llu\n", (unsigned long long)first.instructions,
         (unsigned long long)s.accepted, (unsigned long long)s.leaked, (unsigned long long)s.refused,
         (unsigned long long)s.trapped, (unsigned long long)s.crashed, (unsigned long long)s.endless,
         (unsigned long long)s.unlike);
}

/* ---- The machines and the transcript ---- */

static void begin(machine *m, uint8_t *code, uint8_t *ram)
{
  uc_hook hook;
  must(uc_open(UC_ARCH_ARM, UC_MODE_THUMB | UC_MODE_MCLASS, &m->uc));
  must(uc_ctl_set_cpu_model(m->uc, UC_CPU_ARM_CORTEX_M3));
  must(uc_mem_map_ptr(m->uc, 0, FLASH_SIZE, UC_PROT_READ | UC_PROT_EXEC, code));
  must(uc_mem_map(m->uc, END, 0x1000, UC_PROT_READ | UC_PROT_EXEC));
  must(uc_mem_map_ptr(m->uc, RAM, RAM_SIZE, UC_PROT_READ | UC_PROT_WRITE, ram));
  must(uc_hook_add(m->uc, &hook, UC_HOOK_BLOCK, (void *)on_block, m, 1, 0));
}

static void watch(void)
{
  uc_hook hook;
  must(uc_hook_add(first.uc, &hook, UC_HOOK_CODE, (void *)on_instruction, &first, 0, FLASH_SIZE - 1));
  must(uc_hook_add(first.uc, &hook, UC_HOOK_MEM_READ | UC_HOOK_MEM_WRITE, (void *)on_access, &first, 1, 0));
  must(uc_hook_add(third.uc, &hook, UC_HOOK_CODE, (void *)on_step, NULL, 0, FLASH_SIZE - 1));
}

static void load(const char *path, uint32_t at)
{
  FILE *file = fopen(path, "rb");
  if (!file || at >= FLASH_SIZE || !fread(&flash[at], 1, FLASH_SIZE - at, file)) fail("no image");
  fclose(file);
}

static void line(char *at)
{
  const char what = *at++;
  if (what == 'i') {
    uint32_t result;
    memset(first_ram, 0, RAM_SIZE);
    set_call(&first, first_ram, core, NULL, 0);
    if (run(&first, instantiate, &result) != ENDED) fail("instantiate");
  } else if (what == 'p') {
    const uint32_t to = core + memory_offset + number(&at) - RAM;
    if (to >= RAM_SIZE / 2) fail("outside of memory");
    hex(at, &first_ram[to], RAM_SIZE / 2 - to);
  } else if (what == 'c') {
    call = number(&at);
    arg_count = number(&at);
    if (arg_count > ARGS) fail("too many arguments");
    for (uint32_t i = 0; i < arg_count; ++i) args[i] = number(&at);
  } else if (what == 'e') make_call(number(&at));
  else if (what == 'k') make_sweep(at);
}

int main(int argc, char **argv)
{
  if (argc < 7 || argc - 7 > FUNCTIONS) fail("usage");
  load(argv[1], (uint32_t)strtoul(argv[2], NULL, 0));
  memory_offset = (uint32_t)strtoul(argv[3], NULL, 0);
  core = (uint32_t)strtoul(argv[4], NULL, 0);
  instantiate = (uint32_t)strtoul(argv[5], NULL, 0);
  trap = (uint32_t)strtoul(argv[6], NULL, 0);
  for (int i = 7; i < argc; ++i) functions[i - 7] = (uint32_t)strtoul(argv[i], NULL, 0);
  memcpy(patched, flash, FLASH_SIZE);
  begin(&first, flash, first_ram);
  begin(&second, flash, second_ram);
  begin(&third, patched, third_ram);
  watch();
  char *text = NULL;
  size_t room = 0;
  while (getline(&text, &room, stdin) > 0) line(text);
  return 0;
}
