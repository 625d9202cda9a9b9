/*
 * wasm3 for Node, through Node-API. index.ts is its manual and its only user.
 *
 * An instance is one module in one runtime in one environment of wasm3: instances share nothing. Two JavaScript
 * values hold it, the handle that calls go through and the ArrayBuffer that is its linear memory; it is freed, and
 * wiped, when both are gone. A module has no imports, so nothing of JavaScript runs while wasm3 runs.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <node_api.h>

#include "interpreter.h"

#define VALUES_MAX 32

typedef struct {
    IM3Environment environment;
    IM3Runtime runtime;
    /* A copy of the module's bytes: wasm3 reads them as long as it runs. */
    uint8_t *bytes;
    IM3Function *exports;
    uint32_t export_count;
    uint32_t holders;
    /* Bytes beside linear memory, of which the collector was told: else it lets thousands of instances wait. */
    int64_t cost;
    uint64_t operations;
    bool wiped;
} instance;

static napi_value fail(napi_env env, const char *code, const char *message)
{
    bool pending = false;

    napi_is_exception_pending(env, &pending);
    if (!pending)
        napi_throw_error(env, code, message);
    return NULL;
}

/* What Node-API itself has to say. */
static napi_value fail_api(napi_env env)
{
    const napi_extended_error_info *info = NULL;

    napi_get_last_error_info(env, &info);
    return fail(env, "WASM3_NODE", info != NULL && info->error_message != NULL ? info->error_message : "Node-API failed");
}

/* A trap is what the module did; anything else is what wasm3 cannot do. */
static napi_value fail_run(napi_env env, M3Result result)
{
    static const char trap[] = "[trap] ";
    bool trapped = strncmp(result, trap, sizeof trap - 1) == 0;

    return fail(env, trapped ? "WASM3_TRAP" : "WASM3_FAILED", trapped ? result + sizeof trap - 1 : result);
}

/* Wipes and frees all parts. Called a second time it does nothing. */
static void dismantle(napi_env env, instance *self)
{
    int64_t total;

    if (self->runtime != NULL) {
        interpreter_wipe(self->runtime);
        m3_FreeRuntime(self->runtime);
    }
    m3_FreeEnvironment(self->environment);
    if (self->cost > 0)
        napi_adjust_external_memory(env, -self->cost, &total);
    free(self->exports);
    free(self->bytes);
    *self = (instance) { .holders = self->holders, .wiped = true };
}

static void release(napi_env env, instance *self)
{
    if (--self->holders > 0)
        return;
    dismantle(env, self);
    free(self);
}

static void release_handle(napi_env env, void *data, void *hint)
{
    (void)hint;
    release(env, data);
}

static void release_memory(napi_env env, void *data, void *hint)
{
    (void)data;
    release(env, hint);
}

/* Loads the module into a new runtime. After failure what there is of the instance is freed by release(). */
static M3Result load(instance *self, uint32_t size, uint32_t stack_size, uint32_t memory_limit)
{
    IM3Module module;
    M3Result result;

    self->environment = m3_NewEnvironment();
    if (self->environment == NULL)
        return m3Err_mallocFailed;
    self->runtime = m3_NewRuntime(self->environment, stack_size, NULL);
    if (self->runtime == NULL)
        return m3Err_mallocFailed;
    interpreter_limit(self->runtime, memory_limit);
    result = m3_ParseModule(self->environment, &module, self->bytes, size);
    if (result != NULL)
        return result;
    result = interpreter_refuses(module);
    if (result == NULL)
        result = m3_LoadModule(self->runtime, module);
    if (result != NULL) {
        m3_FreeModule(module);
        return result;
    }
    /* All functions now: what cannot be compiled is told before the first call. */
    result = m3_CompileModule(module);
    return result != NULL ? result : m3_RunStart(module);
}

typedef struct {
    napi_env env;
    instance *self;
    napi_value names;
} listing;

static M3Result list_export(void *context, const char *name, IM3Function function)
{
    static const char too_many[] = "an exported function has more than 32 parameters or results";
    listing *list = context;
    instance *self = list->self;
    IM3Function *longer;
    napi_value text;

    if (m3_GetArgCount(function) > VALUES_MAX || m3_GetRetCount(function) > VALUES_MAX)
        return too_many;
    longer = realloc(self->exports, (self->export_count + 1) * sizeof *longer);
    if (longer == NULL)
        return m3Err_mallocFailed;
    self->exports = longer;
    if (napi_create_string_utf8(list->env, name, NAPI_AUTO_LENGTH, &text) != napi_ok
        || napi_set_element(list->env, list->names, self->export_count, text) != napi_ok)
        return "the name of an export cannot be taken over";
    self->exports[self->export_count++] = function;
    return m3Err_none;
}

/* Makes the ArrayBuffer over linear memory, which holds the instance too. */
static napi_status wrap_memory(napi_env env, instance *self, napi_value *memory)
{
    uint32_t size;
    uint8_t *bytes = m3_GetMemory(self->runtime, &size, 0);
    napi_status status;

    if (bytes == NULL)
        return napi_create_arraybuffer(env, 0, NULL, memory);
    status = napi_create_external_arraybuffer(env, bytes, size, release_memory, self, memory);
    if (status == napi_ok)
        ++self->holders;
    return status;
}

/* instantiate(bytes: Uint8Array, stackSize: number, memoryLimit: number): [handle, ArrayBuffer, names of exports] */
static napi_value instantiate(napi_env env, napi_callback_info info)
{
    napi_value argv[3], handle, memory, list, parts;
    size_t argc = 3, size = 0;
    int64_t cost, total;
    void *bytes = NULL;
    uint32_t stack_size, memory_limit;
    napi_typedarray_type type;
    M3Result result;
    instance *self;

    if (napi_get_cb_info(env, info, &argc, argv, NULL, NULL) != napi_ok
        || napi_get_typedarray_info(env, argv[0], &type, &size, &bytes, NULL, NULL) != napi_ok
        || napi_get_value_uint32(env, argv[1], &stack_size) != napi_ok
        || napi_get_value_uint32(env, argv[2], &memory_limit) != napi_ok)
        return fail_api(env);
    if (type != napi_uint8_array || size > UINT32_MAX)
        return fail(env, "WASM3_FAILED", "a module is a Uint8Array");
    self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail_run(env, m3Err_mallocFailed);
    self->holders = 1;
    if (napi_create_external(env, self, release_handle, NULL, &handle) != napi_ok) {
        release(env, self);
        return fail_api(env);
    }
    /* From here on the handle frees it, whatever happens; most of it sooner if nobody will get the handle. */
    self->bytes = malloc(size + 1);
    if (self->bytes == NULL)
        return fail_run(env, m3Err_mallocFailed);
    memcpy(self->bytes, bytes, size);
    if (napi_create_array(env, &list) != napi_ok)
        return fail_api(env);
    result = load(self, (uint32_t)size, stack_size, memory_limit);
    if (result == NULL)
        result = interpreter_exports(self->runtime, list_export, &(listing) { env, self, list });
    if (result != NULL) {
        dismantle(env, self);
        return fail_run(env, result);
    }
    cost = (int64_t)(size + interpreter_size(self->runtime));
    if (napi_adjust_external_memory(env, cost, &total) != napi_ok)
        return fail_api(env);
    self->cost = cost;
    if (wrap_memory(env, self, &memory) != napi_ok
        || napi_create_array_with_length(env, 3, &parts) != napi_ok
        || napi_set_element(env, parts, 0, handle) != napi_ok
        || napi_set_element(env, parts, 1, memory) != napi_ok
        || napi_set_element(env, parts, 2, list) != napi_ok)
        return fail_api(env);
    return parts;
}

typedef union {
    int32_t i32;
    int64_t i64;
    float f32;
    double f64;
} value;

/* Takes a value as WebAssembly's own interface for JavaScript does: numbers wrap, what is no number becomes one. */
static napi_status read_value(napi_env env, napi_value from, M3ValueType type, value *to)
{
    napi_status status;
    bool lossless;
    double number;

    if (type == c_m3Type_i64)
        return napi_get_value_bigint_int64(env, from, &to->i64, &lossless);
    if (type == c_m3Type_i32) {
        status = napi_get_value_int32(env, from, &to->i32);
        if (status != napi_number_expected)
            return status;
    }
    status = napi_coerce_to_number(env, from, &from);
    if (status != napi_ok)
        return status;
    if (type == c_m3Type_i32)
        return napi_get_value_int32(env, from, &to->i32);
    status = napi_get_value_double(env, from, &number);
    if (type == c_m3Type_f32)
        to->f32 = (float)number;
    else
        to->f64 = number;
    return status;
}

static napi_status write_value(napi_env env, const value *from, M3ValueType type, napi_value *to)
{
    switch (type) {
    case c_m3Type_i32: return napi_create_int32(env, from->i32, to);
    case c_m3Type_i64: return napi_create_bigint_int64(env, from->i64, to);
    case c_m3Type_f32: return napi_create_double(env, (double)from->f32, to);
    case c_m3Type_f64: return napi_create_double(env, from->f64, to);
    default: return napi_generic_failure;
    }
}

/* undefined, a value, or an array of values. */
static napi_value take_results(napi_env env, IM3Function function)
{
    uint32_t count = m3_GetRetCount(function);
    value values[VALUES_MAX];
    const void *pointers[VALUES_MAX];
    napi_value one = NULL, all;
    M3Result result;

    if (count == 0)
        return NULL;
    for (uint32_t i = 0; i < count; ++i)
        pointers[i] = &values[i];
    result = m3_GetResults(function, count, pointers);
    if (result != NULL)
        return fail_run(env, result);
    if (count == 1) {
        if (write_value(env, &values[0], m3_GetRetType(function, 0), &one) != napi_ok)
            return fail_api(env);
        return one;
    }
    if (napi_create_array_with_length(env, count, &all) != napi_ok)
        return fail_api(env);
    for (uint32_t i = 0; i < count; ++i) {
        if (write_value(env, &values[i], m3_GetRetType(function, i), &one) != napi_ok
            || napi_set_element(env, all, i, one) != napi_ok)
            return fail_api(env);
    }
    return all;
}

/* call(handle, index of the export, ...arguments): what the function returns */
static napi_value call(napi_env env, napi_callback_info info)
{
    napi_value argv[2 + VALUES_MAX], results;
    size_t argc = 2 + VALUES_MAX;
    value values[VALUES_MAX];
    const void *pointers[VALUES_MAX];
    void *data = NULL;
    uint32_t index, count;
    uint64_t before;
    IM3Function function;
    M3Result result;
    instance *self;

    if (napi_get_cb_info(env, info, &argc, argv, NULL, NULL) != napi_ok
        || napi_get_value_external(env, argv[0], &data) != napi_ok
        || napi_get_value_uint32(env, argv[1], &index) != napi_ok)
        return fail_api(env);
    self = data;
    if (index >= self->export_count)
        return fail(env, "WASM3_FAILED", "no such export");
    function = self->exports[index];
    count = m3_GetArgCount(function);
    for (uint32_t i = 0; i < count; ++i) {
        if (read_value(env, argv[2 + i], m3_GetArgType(function, i), &values[i]) != napi_ok)
            return fail_api(env);
        pointers[i] = &values[i];
    }
    /* Not sooner: making numbers of the arguments may have run anything. */
    if (self->wiped)
        return fail(env, "WASM3_WIPED", "the instance was wiped");
    before = interpreter_operations();
    result = m3_Call(function, count, pointers);
    self->operations += interpreter_operations() - before;
    results = result != NULL ? fail_run(env, result) : take_results(env, function);
    interpreter_wipe_stack(self->runtime);
    return results;
}

static instance *only_argument(napi_env env, napi_callback_info info)
{
    napi_value argv[1];
    size_t argc = 1;
    void *data = NULL;

    if (napi_get_cb_info(env, info, &argc, argv, NULL, NULL) != napi_ok
        || napi_get_value_external(env, argv[0], &data) != napi_ok)
        fail_api(env);
    return data;
}

/* operations(handle): number */
static napi_value operations(napi_env env, napi_callback_info info)
{
    instance *self = only_argument(env, info);
    napi_value number = NULL;

    if (self != NULL && napi_create_int64(env, (int64_t)self->operations, &number) != napi_ok)
        return fail_api(env);
    return number;
}

/* wipe(handle): undefined */
static napi_value wipe(napi_env env, napi_callback_info info)
{
    instance *self = only_argument(env, info);

    if (self != NULL) {
        self->wiped = true;
        interpreter_wipe(self->runtime);
    }
    return NULL;
}

NAPI_MODULE_INIT(/* napi_env env, napi_value exports */)
{
    static const struct {
        const char *name;
        napi_callback run;
    } functions[] = {
        { "instantiate", instantiate },
        { "call", call },
        { "operations", operations },
        { "wipe", wipe },
    };

    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; ++i) {
        napi_value function;
        if (napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].run, NULL, &function) != napi_ok
            || napi_set_named_property(env, exports, functions[i].name, function) != napi_ok)
            return fail_api(env);
    }
    return exports;
}
