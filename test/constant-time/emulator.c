/*
 * Plays a transcript (transcript.ts) over the module compiled for a Cortex-M3 or an RV32IMAC, in an emulator.
 *
 *     emulator arm|rv32 <image> <its address> <offset of memory> <core> <instantiate> <trap> <function>...
 *
 * Addresses are those of the image; functions in the order of their numbers. For each call it prints
 * "t <call> <result> <instructions> <hash>", where the hash is over the address of every instruction and of every
 * access to memory.
 *
 * After a call's arguments, in place of "e", a sweep: each instruction of the call is skipped once, all others running
 * on. What is told of the end of each run, by lines before "k"; addresses are those of linear memory:
 *
 *   x at size hex      whether 8 bytes of hex are in at..at+size
 *   h at size          a hash of these bytes
 *   d at size          these bytes
 *   o tag computed     before a read of the 16 bytes at tag, those at computed are put there: who forges a frame is
 *                      given the tag that it will be compared with
 *   n call n arg...    where the call gave 0, another one after it, without a skip
 *   q at hex           bytes to write before that one
 *   k stride           now sweep, each stride-th instruction
 *
 * First it prints "b 0 0 <run>" of the call without a skip, then "r <instruction> <address> <run>" of each skip, and
 * "k <instructions> <unlike>". A run is "<ending> <result> <leaks> <hash> <bytes> <result of the next> <its bytes>", its
 * ending E, or T for a trap, C for a crash, L for no end; bytes may be "-". "unlike" counts instructions from which the
 * call, continued without a skip, did not end as it ended the first time: that must be 0, or the skips are worth
 * nothing.
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
  RAM_SIZE = 0x4000,
  FLASH_SIZE = 0x40000,
  FUNCTIONS = 64,
  ARGS = 10,
  TEXT_MAX = 1024,
  TAG_SIZE = 16,
  RANGES = 8,
  LEAK = 8,
  BLOCKS_MAX = 200000,
  REGISTERS = 31,
  /* How often it is tried whether a call continues as it should; always where instructions are conditional. */
  RESUME_EACH = 16
};

typedef enum { ENDED = 'E', TRAPPED = 'T', CRASHED = 'C', ENDLESS = 'L' } ending;

typedef struct {
  uc_engine *uc;
  uint8_t *ram;
  uint64_t hash, instructions, blocks, blocks_max;
  bool trapped, endless;
} machine;

typedef struct { uint32_t at, size; } range;
typedef struct { uint32_t call, args[ARGS], arg_count; } invocation;

typedef struct {
  range leak, hashed[RANGES], dumped[RANGES], poke;
  uint8_t text[TEXT_MAX], poked[TEXT_MAX];
  uint32_t text_size, hashed_count, dumped_count, stride, tag, computed;
  bool has_next, has_oracle;
  invocation next;
  ending first;
  uint32_t first_result;
  uint64_t unlike, skipped;
} sweep;

typedef struct {
  uint32_t pc, registers[REGISTERS];
  uint8_t ram[RAM_SIZE];
} moment;

static const int ARM_REGISTER[] = {
  UC_ARM_REG_R0, UC_ARM_REG_R1, UC_ARM_REG_R2, UC_ARM_REG_R3, UC_ARM_REG_R4, UC_ARM_REG_R5, UC_ARM_REG_R6, UC_ARM_REG_R7,
  UC_ARM_REG_R8, UC_ARM_REG_R9, UC_ARM_REG_R10, UC_ARM_REG_R11, UC_ARM_REG_R12, UC_ARM_REG_SP, UC_ARM_REG_LR, UC_ARM_REG_XPSR
};

/* What differs between the two: registers from the first that is given an argument. */
static struct {
  bool is_arm;
  int count, result, first, given, sp, ra, pc, registers[REGISTERS];
} cpu;

/* The second one runs on after a skip. The third one steps through conditional instructions, one of them patched. */
static machine first, second, third;
static uint8_t first_ram[RAM_SIZE], second_ram[RAM_SIZE], third_ram[RAM_SIZE], start_ram[RAM_SIZE], end_ram[RAM_SIZE];
static uint8_t flash[FLASH_SIZE], patched[FLASH_SIZE];
/* The last if-then instruction, and what it says of those up to block_end: it is 0 after the last of them. */
static moment if_then;
static uint32_t it_state, block_end;
static uint32_t core, memory_offset, instantiate, trap, functions[FUNCTIONS];
static invocation call;
static sweep settings, *sweeping;

static void fail(const char *what)
{
  fprintf(stderr, "emulator: %s\n", what);
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

/** An address of linear memory in RAM. */
static uint32_t place(char **at)
{
  const uint32_t found = core - RAM + memory_offset + number(at);
  if (found >= RAM_SIZE) fail("outside of memory");
  return found;
}

static range range_of(char **at)
{
  range r;
  r.at = place(at);
  r.size = number(at);
  if (r.size > RAM_SIZE - r.at) fail("outside of memory");
  return r;
}

static invocation invocation_of(char *at)
{
  invocation i = {0};
  i.call = number(&at);
  i.arg_count = number(&at);
  if (i.arg_count > ARGS) fail("too many arguments");
  for (uint32_t k = 0; k < i.arg_count; ++k) i.args[k] = number(&at);
  return i;
}

/* ---- One run ---- */

static uint64_t mixed(uint64_t hash, uint64_t value)
{
  hash = (hash ^ value) * 0x100000001b3u;
  return hash ^ hash >> 29;
}

static void on_block(uc_engine *uc, uint64_t at, uint32_t size, void *user)
{
  machine *m = user;
  (void)size;
  m->trapped |= at == trap;
  m->endless |= ++m->blocks > m->blocks_max;
  if (m->trapped || m->endless) uc_emu_stop(uc);
}

static void on_access(uc_engine *uc, uc_mem_type type, uint64_t at, int size, int64_t value, void *user)
{
  machine *m = user;
  (void)uc;
  (void)value;
  m->hash = mixed(m->hash, at << 8 | (uint64_t)size << 4 | (type == UC_MEM_WRITE));
}

static void on_tag(uc_engine *uc, uc_mem_type type, uint64_t at, int size, int64_t value, void *user)
{
  machine *m = user;
  (void)uc;
  (void)type;
  (void)at;
  (void)size;
  (void)value;
  memcpy(&m->ram[settings.tag], &m->ram[settings.computed], TAG_SIZE);
}

static uint32_t get(machine *m, int name)
{
  uint32_t value = 0;
  must(uc_reg_read(m->uc, name, &value));
  return value;
}

static void set(machine *m, int name, uint32_t value)
{
  must(uc_reg_write(m->uc, name, &value));
}

static ending run(machine *m, uint32_t pc, uint32_t *result)
{
  m->blocks = 0;
  m->trapped = m->endless = false;
  const uc_err error = uc_emu_start(m->uc, pc | cpu.is_arm, END, 0, 0);
  *result = get(m, cpu.result);
  return m->trapped ? TRAPPED : m->endless ? ENDLESS : error != UC_ERR_OK ? CRASHED : ENDED;
}

/** Sets the registers for a call; the rest of the arguments lie on the stack. */
static void set_call(machine *m, const invocation *i)
{
  const uint32_t sp = RAM + RAM_SIZE - 64;
  for (int k = 0; k < cpu.count; ++k) set(m, cpu.registers[k], 0);
  set(m, cpu.result, core);
  for (uint32_t k = 0; k < i->arg_count; ++k) {
    if ((int)k < cpu.given) set(m, cpu.first + (int)k, i->args[k]);
    else memcpy(&m->ram[sp - RAM + (k - (uint32_t)cpu.given) * 4], &i->args[k], 4);
  }
  set(m, cpu.sp, sp);
  set(m, cpu.ra, END | cpu.is_arm);
  if (cpu.is_arm) set(m, UC_ARM_REG_XPSR, 0x01000000);
}

static uint32_t function_of(const invocation *i)
{
  if (i->call >= FUNCTIONS || !functions[i->call]) fail("no such call");
  return functions[i->call];
}

/* ---- Skipping ---- */

static bool leaks(const machine *m)
{
  const range *r = &settings.leak;
  for (uint32_t i = 0; i + LEAK <= r->size; ++i) {
    for (uint32_t k = 0; k + LEAK <= settings.text_size; ++k) {
      if (memcmp(&m->ram[r->at + i], &settings.text[k], LEAK) == 0) return true;
    }
  }
  return false;
}

static void print_bytes(const machine *m)
{
  if (!settings.dumped_count) putchar('-');
  for (uint32_t i = 0; i < settings.dumped_count; ++i) {
    const range *r = &settings.dumped[i];
    for (uint32_t k = 0; k < r->size; ++k) printf("%02x", m->ram[r->at + k]);
  }
}

/** What is told of a run that has ended, and of the call after it. */
static void tell(machine *m, ending end, uint32_t result)
{
  uint64_t hash = 0xcbf29ce484222325u;
  for (uint32_t i = 0; i < settings.hashed_count; ++i) {
    const range *r = &settings.hashed[i];
    for (uint32_t k = 0; k < r->size; ++k) hash = mixed(hash, m->ram[r->at + k]);
  }
  printf("%c %u %d %016llx ", end, result, leaks(m), (unsigned long long)hash);
  print_bytes(m);
  if (!settings.has_next || end != ENDED || result != 0) {
    printf(" - -\n");
    return;
  }
  memcpy(&m->ram[settings.poke.at], settings.poked, settings.poke.size);
  set_call(m, &settings.next);
  const ending next_end = run(m, function_of(&settings.next), &result);
  printf(" %d ", next_end == ENDED ? (int)result : -1);
  print_bytes(m);
  putchar('\n');
}

static void take(moment *now, machine *m, uint32_t pc)
{
  now->pc = pc;
  for (int i = 0; i < cpu.count; ++i) now->registers[i] = get(m, cpu.registers[i]);
  memcpy(now->ram, m->ram, RAM_SIZE);
}

static ending run_from(machine *m, const moment *from, uint32_t pc, uint32_t *result)
{
  for (int i = 0; i < cpu.count; ++i) set(m, cpu.registers[i], from->registers[i]);
  memcpy(m->ram, from->ram, RAM_SIZE);
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
  memcpy(&patched[at], size == 2 ? NOP : NOP_WIDE, size);
  must(uc_ctl_remove_cache(third.uc, if_then.pc, block_end));
  run_from(&third, &if_then, if_then.pc, result);
  memcpy(&patched[at], &flash[at], size);
  must(uc_ctl_remove_cache(third.uc, if_then.pc, block_end));
  const uint32_t pc = get(&third, cpu.pc);
  take(&after, &third, pc);
  return run_from(&second, &after, pc, result);
}

/** Whether the call, continued here without a skip, ends as it does. */
static bool resumes(const sweep *s, const moment *now)
{
  uint32_t result;
  const moment *from = it_state ? &if_then : now;
  const ending end = run_from(&second, from, from->pc, &result);
  return end == s->first && result == s->first_result && memcmp(second_ram, end_ram, RAM_SIZE) == 0;
}

static void skip(sweep *s, uint32_t at, uint32_t size)
{
  static moment now;
  uint32_t result;
  take(&now, &first, at);
  if ((it_state || s->skipped % RESUME_EACH == 0) && !resumes(s, &now)) ++s->unlike;
  ++s->skipped;
  const ending end = it_state ? skip_conditional(at, size, &result) : run_from(&second, &now, at + size, &result);
  printf("r %llu 0x%x ", (unsigned long long)first.instructions, at);
  tell(&second, end, result);
}

/** Notes an if-then instruction: of 16 bits, beginning with 0xbf, and no hint. */
static void note_if_then(uint32_t at, uint32_t size)
{
  const uint32_t code = flash[at], is_it = cpu.is_arm && size == 2 && flash[at + 1] == 0xbf && (code & 15);
  if (!is_it) {
    it_state = it_after(it_state);
    return;
  }
  it_state = code;
  block_end = at + 2;
  for (uint32_t left = code; left; left = it_after(left)) block_end += size_at(block_end);
  if (sweeping) take(&if_then, &first, at);
}

static void on_instruction(uc_engine *uc, uint64_t at, uint32_t size, void *user)
{
  machine *m = user;
  (void)uc;
  m->hash = mixed(m->hash, at);
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
  set_call(&first, &call);
  return run(&first, function_of(&call), result);
}

static void make_call(uint32_t expected)
{
  uint32_t result;
  // No code: an export that gives a constant.
  if (call.call < FUNCTIONS && !functions[call.call]) return;
  if (run_first(&result) != ENDED) fail("a call did not end");
  if (result != expected) {
    fprintf(stderr, "call %u gives %u, not %u\n", call.call, result, expected);
    exit(1);
  }
  printf("t %u %u %llu %016llx\n", call.call, result, (unsigned long long)first.instructions,
         (unsigned long long)first.hash);
}

static void watch_tag(machine *m)
{
  uc_hook hook;
  const uint64_t at = RAM + settings.tag;
  must(uc_hook_add(m->uc, &hook, UC_HOOK_MEM_READ, (void *)on_tag, m, at, at + TAG_SIZE - 1));
}

static void make_sweep(void)
{
  sweep *s = &settings;
  memcpy(start_ram, first_ram, RAM_SIZE);
  if (s->has_oracle) {
    watch_tag(&first);
    watch_tag(&second);
    watch_tag(&third);
  }
  s->first = run_first(&s->first_result);
  memcpy(end_ram, first_ram, RAM_SIZE);
  second.blocks_max = third.blocks_max = 4 * first.blocks + 50000;
  printf("b 0 0 ");
  tell(&first, s->first, s->first_result);
  memcpy(first_ram, start_ram, RAM_SIZE);
  sweeping = s;
  uint32_t result;
  run_first(&result);
  sweeping = NULL;
  printf("k %llu %llu\n", (unsigned long long)first.instructions, (unsigned long long)s->unlike);
}

/* ---- The machines and the transcript ---- */

static void choose(const char *name)
{
  cpu.is_arm = strcmp(name, "arm") == 0;
  if (cpu.is_arm) {
    cpu.count = (int)(sizeof ARM_REGISTER / sizeof *ARM_REGISTER);
    memcpy(cpu.registers, ARM_REGISTER, sizeof ARM_REGISTER);
    cpu.result = UC_ARM_REG_R0;
    cpu.first = UC_ARM_REG_R1;
    cpu.given = 3;
    cpu.sp = UC_ARM_REG_SP;
    cpu.ra = UC_ARM_REG_LR;
    cpu.pc = UC_ARM_REG_PC;
  } else if (strcmp(name, "rv32") == 0) {
    cpu.count = REGISTERS;
    for (int i = 0; i < REGISTERS; ++i) cpu.registers[i] = UC_RISCV_REG_X1 + i;
    cpu.result = UC_RISCV_REG_X10;
    cpu.first = UC_RISCV_REG_X11;
    cpu.given = 7;
    cpu.sp = UC_RISCV_REG_X2;
    cpu.ra = UC_RISCV_REG_X1;
    cpu.pc = UC_RISCV_REG_PC;
  } else fail("arm or rv32");
}

static void begin(machine *m, uint8_t *code, uint8_t *ram)
{
  uc_hook hook;
  m->ram = ram;
  m->blocks_max = BLOCKS_MAX;
  if (cpu.is_arm) {
    must(uc_open(UC_ARCH_ARM, UC_MODE_THUMB | UC_MODE_MCLASS, &m->uc));
    must(uc_ctl_set_cpu_model(m->uc, UC_CPU_ARM_CORTEX_M3));
  } else must(uc_open(UC_ARCH_RISCV, UC_MODE_RISCV32, &m->uc));
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
  sweep *s = &settings;
  const char what = *at++;
  if (what == 'i') {
    uint32_t result;
    const invocation none = {0};
    memset(first_ram, 0, RAM_SIZE);
    set_call(&first, &none);
    if (run(&first, instantiate, &result) != ENDED) fail("instantiate");
  } else if (what == 'p') {
    const uint32_t to = place(&at);
    if (to >= RAM_SIZE / 2) fail("outside of memory");
    hex(at, &first_ram[to], RAM_SIZE / 2 - to);
  } else if (what == 'c') call = invocation_of(at);
  else if (what == 'e') make_call(number(&at));
  else if (what == 'x') {
    s->leak = range_of(&at);
    s->text_size = hex(at, s->text, TEXT_MAX);
  } else if (what == 'h' && s->hashed_count < RANGES) s->hashed[s->hashed_count++] = range_of(&at);
  else if (what == 'd' && s->dumped_count < RANGES) s->dumped[s->dumped_count++] = range_of(&at);
  else if (what == 'o') {
    s->has_oracle = true;
    s->tag = place(&at);
    s->computed = place(&at);
  } else if (what == 'n') {
    s->has_next = true;
    s->next = invocation_of(at);
  } else if (what == 'q') {
    s->poke.at = place(&at);
    s->poke.size = hex(at, s->poked, TEXT_MAX);
  } else if (what == 'k') {
    s->stride = number(&at);
    make_sweep();
  }
}

int main(int argc, char **argv)
{
  if (argc < 8 || argc - 8 > FUNCTIONS) fail("usage");
  choose(argv[1]);
  load(argv[2], (uint32_t)strtoul(argv[3], NULL, 0));
  memory_offset = (uint32_t)strtoul(argv[4], NULL, 0);
  core = (uint32_t)strtoul(argv[5], NULL, 0);
  instantiate = (uint32_t)strtoul(argv[6], NULL, 0);
  trap = (uint32_t)strtoul(argv[7], NULL, 0);
  for (int i = 8; i < argc; ++i) functions[i - 8] = (uint32_t)strtoul(argv[i], NULL, 0);
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
