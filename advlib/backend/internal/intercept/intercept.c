//go:build linux && cgo

#include "pjrt.h"
#include "signals.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

// advlabCompile is Go's, in compile.go.
extern advlab_error *advlabCompile(int slot, advlab_compile_args *args);

// CALL calls a function of the table, all of which take a pointer to a struct that knows its own size.
#define CALL(table, index, args) (((advlab_error * (*)(void *))(table)->functions[index])(args))
#define ARGS(type, name) type name = {.size = sizeof name}

static char *copy_text(const char *text, size_t size) {
  char *copy = malloc(size + 1);
  if (copy != NULL) {
    memcpy(copy, text, size);
    copy[size] = 0;
  }
  return copy;
}

// failed reports whether there is an error; if so it takes its message to *why and destroys it.
static int failed(const advlab_table *table, advlab_error *error, char **why) {
  if (error == NULL) return 0;
  ARGS(advlab_error_message_args, message);
  message.error = error;
  ((void (*)(void *))table->functions[ADVLAB_ERROR_MESSAGE])(&message);
  *why = copy_text(message.message, message.message_size);
  ARGS(advlab_error_destroy_args, destroy);
  destroy.error = error;
  ((void (*)(void *))table->functions[ADVLAB_ERROR_DESTROY])(&destroy);
  return 1;
}

const advlab_table *advlab_open(const char *path, char **why) {
  void *library = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
  if (library == NULL) {
    const char *reason = dlerror();
    *why = copy_text(reason, strlen(reason));
    return NULL;
  }
  const advlab_table *(*get)(void) = (const advlab_table *(*)(void))dlsym(library, "GetPjrtApi");
  if (get == NULL) {
    static const char reason[] = "it has no function GetPjrtApi, so it is not a PJRT plugin";
    *why = copy_text(reason, sizeof reason - 1);
    dlclose(library);
    return NULL;
  }
  const advlab_table *table = get();
  if (table == NULL) {
    static const char reason[] = "its GetPjrtApi returns nothing";
    *why = copy_text(reason, sizeof reason - 1);
  }
  return table;
}

int advlab_has(const advlab_table *table, int index) {
  size_t end = offsetof(advlab_table, functions) + ((size_t)index + 1) * sizeof(advlab_function);
  return table->size >= end && table->functions[index] != NULL;
}

void advlab_block(sigset_t *before) {
  static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
  sigset_t set;
  sigfillset(&set);
  for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) sigdelset(&set, faults[i]);
  pthread_sigmask(SIG_BLOCK, &set, before); // never those that the C library keeps for itself
}

void advlab_restore(const sigset_t *before) { pthread_sigmask(SIG_SETMASK, before, NULL); }

// call_blocked calls a function that makes threads.
static advlab_error *call_blocked(const advlab_table *table, int index, void *args) {
  sigset_t before;
  advlab_block(&before);
  advlab_error *error = CALL(table, index, args);
  advlab_restore(&before);
  return error;
}

// originals are the tables of the plugins, by slot.
static const advlab_table *originals[ADVLAB_SLOTS];

#define SLOT(n)                                                                                                       \
  static advlab_error *create_##n(void *args) { return call_blocked(originals[n], ADVLAB_CLIENT_CREATE, args); }      \
  static advlab_error *compile_##n(advlab_compile_args *args) { return advlabCompile(n, args); }
SLOT(0)
SLOT(1)
SLOT(2)
SLOT(3)

advlab_table *advlab_copy(const advlab_table *table, int slot) {
  static advlab_error *(*const creates[ADVLAB_SLOTS])(void *) = {create_0, create_1, create_2, create_3};
  static advlab_error *(*const compiles[ADVLAB_SLOTS])(advlab_compile_args *) = {compile_0, compile_1, compile_2, compile_3};
  // go-xla's header may be newer than the plugin. Reading a function that the plugin's table lacks then yields a null
  // pointer, and calling it an orderly fault, instead of whatever follows the table in memory.
  enum { SPARE = 4096 };
  advlab_table *copy = calloc(1, table->size + SPARE);
  if (copy == NULL) return NULL;
  memcpy(copy, table, table->size);
  originals[slot] = table;
  if (advlab_has(table, ADVLAB_CLIENT_CREATE)) copy->functions[ADVLAB_CLIENT_CREATE] = (advlab_function)creates[slot];
  if (advlab_has(table, ADVLAB_CLIENT_COMPILE)) copy->functions[ADVLAB_CLIENT_COMPILE] = (advlab_function)compiles[slot];
  return copy;
}

advlab_error *advlab_compile(const advlab_table *table, advlab_compile_args *args) {
  return call_blocked(table, ADVLAB_CLIENT_COMPILE, args);
}

const char *advlab_client_text(const advlab_table *table, int function, advlab_client *client, size_t *size, char **why) {
  ARGS(advlab_client_text_args, args);
  args.client = client;
  if (failed(table, CALL(table, function, &args), why)) return NULL;
  *size = args.text_size;
  return args.text;
}

advlab_device *const *advlab_devices(const advlab_table *table, advlab_client *client, size_t *count, char **why) {
  ARGS(advlab_devices_args, args);
  args.client = client;
  if (failed(table, CALL(table, ADVLAB_CLIENT_ADDRESSABLE_DEVICES, &args), why)) return NULL;
  *count = args.count;
  return args.devices;
}

const char *advlab_device_kind(const advlab_table *table, advlab_device *device, size_t *size, char **why) {
  ARGS(advlab_description_args, description);
  description.device = device;
  if (failed(table, CALL(table, ADVLAB_DEVICE_DESCRIPTION, &description), why)) return NULL;
  ARGS(advlab_kind_args, kind);
  kind.description = description.description;
  if (failed(table, CALL(table, ADVLAB_DESCRIPTION_KIND, &kind), why)) return NULL;
  *size = kind.kind_size;
  return kind.kind;
}

advlab_loaded *advlab_load(const advlab_table *table, advlab_client *client, const char *bytes, size_t size, char **why) {
  ARGS(advlab_load_args, args);
  args.client = client;
  args.bytes = bytes;
  args.bytes_size = size;
  if (failed(table, call_blocked(table, ADVLAB_DESERIALIZE_AND_LOAD, &args), why)) return NULL;
  return args.loaded;
}

int advlab_serialize(const advlab_table *table, advlab_loaded *loaded, advlab_serialize_args *args, char **why) {
  ARGS(advlab_executable_args, get);
  get.loaded = loaded;
  if (failed(table, CALL(table, ADVLAB_LOADED_EXECUTABLE, &get), why)) return 0;
  memset(args, 0, sizeof *args);
  args->size = sizeof *args;
  args->executable = get.executable;
  int ok = !failed(table, CALL(table, ADVLAB_EXECUTABLE_SERIALIZE, args), why);
  // The serialized bytes have a backing of their own; the executable was made for this call and is ours to destroy.
  ARGS(advlab_executable_destroy_args, destroy);
  destroy.executable = get.executable;
  char *ignored = NULL;
  if (failed(table, CALL(table, ADVLAB_EXECUTABLE_DESTROY, &destroy), &ignored)) free(ignored);
  return ok;
}

void advlab_serialized_free(advlab_serialize_args *args) {
  if (args->free != NULL && args->backing != NULL) args->free(args->backing);
}
