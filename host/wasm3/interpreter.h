/*
 * What the binding needs of wasm3 beyond wasm3.h. interpreter.c is the one file that knows wasm3's inside.
 */
#ifndef INTERPRETER_H
#define INTERPRETER_H

#include <stddef.h>
#include <stdint.h>

#include "wasm3.h"

/* Called for each exported function, in the module's order; a result other than NULL ends the walk. */
typedef M3Result (*interpreter_visitor)(void *context, const char *name, IM3Function function);

/*
 * Gives a runtime fewer bytes of linear memory than its module's pages have; call it before m3_LoadModule().
 * An access beyond them traps. 0, or more than the pages: no limit.
 */
void interpreter_limit(IM3Runtime runtime, uint32_t bytes);

/* Why the binding cannot run a parsed module, or NULL. */
M3Result interpreter_refuses(IM3Module module);

/*
 * Walks over the exported functions of the runtime's module, which m3_CompileModule() has compiled.
 *
 * Returns NULL, a visitor's result, or an error of the export section.
 */
M3Result interpreter_exports(IM3Runtime runtime, interpreter_visitor visit, void *context);

/* Bytes that a runtime holds beside its linear memory, about. */
size_t interpreter_size(IM3Runtime runtime);

/* Zeroes what calls have left on the interpreter's own stack. */
void interpreter_wipe_stack(IM3Runtime runtime);

/* Zeroes linear memory, mutable globals and the interpreter's stack. The module must not be called again. */
void interpreter_wipe(IM3Runtime runtime);

/*
 * Operations that this thread has executed so far, in all runtimes. An operation is one of wasm3's own: a few
 * WebAssembly instructions become one, some become none. Always 0 unless compiled with WASM3_COUNTING.
 */
uint64_t interpreter_operations(void);

#endif
