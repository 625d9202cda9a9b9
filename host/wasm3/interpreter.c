/*
 * The whole of wasm3 as one translation unit, unchanged: where it must behave differently, its macros are defined
 * differently before its files are included.
 */
#define M3_IMPLEMENT_ERROR_STRINGS
#include "interpreter.h"

#include "m3_env.h"
#include "m3_exec_defs.h"

#ifdef WASM3_COUNTING

static _Thread_local uint64_t operations;

/* Every operation ends in one of these two: they run the next one. */
#undef nextOpImpl
#undef jumpOpImpl
#define nextOpImpl() (++operations, ((IM3Operation)(*_pc))(_pc + 1, d_m3OpArgs))
#define jumpOpImpl(PC) (++operations, ((IM3Operation)(*PC))(PC + 1, d_m3OpArgs))

#endif

/*
 * memory.grow always answers -1: linear memory stays where it is, for views of it are in the hands of others. In
 * 0.5.0 a large enough number of pages would even wrap around and shrink it.
 */
#define ResizeMemory(RUNTIME, PAGES) m3Err_wasmMemoryOverflow
#include "m3_exec.h"
#undef ResizeMemory

#ifdef WASM3_COUNTING

/* A call compiled before its callee becomes a plain call when it first runs, and runs again: it counts once. */
d_m3Op(CompileOnce)
{
    --operations;
    return op_Compile(_pc, d_m3OpArgs);
}
#define op_Compile op_CompileOnce

#endif

#include "m3_bind.c"
#include "m3_code.c"
#include "m3_compile.c"
#include "m3_core.c"
#include "m3_emit.c"
#include "m3_env.c"
#include "m3_exec.c"
#include "m3_function.c"
#include "m3_info.c"
#include "m3_module.c"
#include "m3_parse.c"

enum { SECTION_IMPORT = 2, SECTION_EXPORT = 7 };

/* Through a volatile pointer: the compiler may not leave out the writes to memory that is freed next. */
static void *(*const volatile fill)(void *, int, size_t) = memset;

void interpreter_limit(IM3Runtime runtime, uint32_t bytes)
{
    runtime->memoryLimit = bytes;
}

/* Finds a section; *begin is NULL if there is none. m3_ParseModule() has read all of them before. */
static M3Result find_section(IM3Module module, u8 wanted, bytes_t *begin, bytes_t *end)
{
    M3Result result = m3Err_none;
    bytes_t at = module->wasmStart + 8;

    *begin = *end = NULL;
    while (at < module->wasmEnd) {
        u8 section;
        u32 size;
_       (ReadLEB_u7(&section, &at, module->wasmEnd));
_       (ReadLEB_u32(&size, &at, module->wasmEnd));
        if (section == wanted) {
            *begin = at;
            *end = at + size;
            return m3Err_none;
        }
        at += size;
    }
_catch:
    return result;
}

M3Result interpreter_refuses(IM3Module module)
{
    M3Result result;
    bytes_t at, end;
    u32 count = 0;

_   (find_section(module, SECTION_IMPORT, &at, &end));
    if (at != NULL) {
_       (ReadLEB_u32(&count, &at, end));
    }
    if (count > 0)
        return "the module has imports";
_catch:
    return result;
}

M3Result interpreter_exports(IM3Runtime runtime, interpreter_visitor visit, void *context)
{
    M3Result result;
    IM3Module module = runtime->modules;
    bytes_t at, end;
    u32 count;
    const char *name = NULL;

    /* Not the names that wasm3 has kept: at most three of a function, and those of the debug section among them. */
_   (find_section(module, SECTION_EXPORT, &at, &end));
    if (at == NULL)
        return m3Err_none;
_   (ReadLEB_u32(&count, &at, end));
    for (u32 i = 0; i < count; ++i) {
        u8 kind;
        u32 index;
_       (Read_utf8(&name, &at, end));
_       (Read_u8(&kind, &at, end));
_       (ReadLEB_u32(&index, &at, end));
        if (kind == d_externalKind_function) {
            IM3Function function = Module_GetFunction(module, index);
            _throwif(m3Err_wasmMalformed, function == NULL);
_           (visit(context, name, function));
        }
        m3_Free(name);
    }
_catch:
    m3_Free(name);
    return result;
}

size_t interpreter_size(IM3Runtime runtime)
{
    size_t size = sizeof(M3Runtime) + runtime->numStackSlots * sizeof(m3slot_t);

    size += (size_t)runtime->numCodePages * d_m3CodePageAlignSize;
    for (IM3Module module = runtime->modules; module != NULL; module = module->next)
        size += sizeof(M3Module) + module->numFunctions * sizeof(M3Function);
    return size;
}

void interpreter_wipe_stack(IM3Runtime runtime)
{
    fill(runtime->stack, 0, runtime->numStackSlots * sizeof(m3slot_t));
}

void interpreter_wipe(IM3Runtime runtime)
{
    M3MemoryHeader *memory = runtime->memory.mallocated;

    interpreter_wipe_stack(runtime);
    if (memory != NULL)
        fill(m3MemData(memory), 0, memory->length);
    for (IM3Module module = runtime->modules; module != NULL; module = module->next) {
        for (u32 i = 0; i < module->numGlobals; ++i) {
            if (module->globals[i].isMutable)
                fill(&module->globals[i].intValue, 0, sizeof(module->globals[i].intValue));
        }
    }
}

uint64_t interpreter_operations(void)
{
#ifdef WASM3_COUNTING
    return operations;
#else
    return 0;
#endif
}
