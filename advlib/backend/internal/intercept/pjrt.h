// The part of the PJRT C API that the executable cache uses, in this project's own words. The API is a table of
// functions whose order and whose argument structs only ever grow at the end; every struct starts with its size, by
// which each side knows what the other has. layout_test.go compares sizes and offsets with go-xla's copy of the
// original header.
#ifndef ADVLAB_PJRT_H
#define ADVLAB_PJRT_H

#include <stddef.h>

typedef struct advlab_error advlab_error;            // an error, owned by whoever was given it
typedef struct advlab_client advlab_client;          // a process's connection to the devices
typedef struct advlab_device advlab_device;          // owned by its client
typedef struct advlab_description advlab_description; // owned by its device
typedef struct advlab_loaded advlab_loaded;          // a program ready to run
typedef struct advlab_executable advlab_executable;  // the same program as data
typedef struct advlab_bytes advlab_bytes;            // what backs serialized bytes

typedef void (*advlab_function)(void);

typedef struct {
  size_t size;
  void *extensions;
  int major, minor;
} advlab_version;

typedef struct {
  size_t size;
  void *extensions;
  advlab_version version;
  advlab_function functions[];
} advlab_table;

// Places of the functions in the table.
enum {
  ADVLAB_ERROR_DESTROY = 0,
  ADVLAB_ERROR_MESSAGE = 1,
  ADVLAB_CLIENT_CREATE = 10,
  ADVLAB_CLIENT_PLATFORM_NAME = 12,
  ADVLAB_CLIENT_PLATFORM_VERSION = 14,
  ADVLAB_CLIENT_ADDRESSABLE_DEVICES = 16,
  ADVLAB_CLIENT_COMPILE = 20,
  ADVLAB_DESCRIPTION_KIND = 26,
  ADVLAB_DEVICE_DESCRIPTION = 29,
  ADVLAB_EXECUTABLE_DESTROY = 40,
  ADVLAB_EXECUTABLE_SERIALIZE = 49,
  ADVLAB_LOADED_EXECUTABLE = 51,
  ADVLAB_DESERIALIZE_AND_LOAD = 56,
};

typedef struct {
  size_t size;
  void *extensions;
  advlab_error *error;
} advlab_error_destroy_args;

typedef struct {
  size_t size;
  void *extensions;
  const advlab_error *error;
  const char *message; // out, owned by the error
  size_t message_size; // out
} advlab_error_message_args;

typedef struct {
  size_t size;
  void *extensions;
  advlab_client *client;
  const char *text; // out, owned by the client
  size_t text_size; // out
} advlab_client_text_args; // of platform name and platform version

typedef struct {
  size_t size;
  void *extensions;
  advlab_client *client;
  advlab_device *const *devices; // out, owned by the client
  size_t count;                  // out
} advlab_devices_args;

typedef struct {
  size_t size;
  void *extensions;
  advlab_device *device;
  advlab_description *description; // out
} advlab_description_args;

typedef struct {
  size_t size;
  void *extensions;
  advlab_description *description;
  const char *kind; // out, owned by the description
  size_t kind_size; // out
} advlab_kind_args;

typedef struct {
  size_t size;
  void *extensions;
  char *code;
  size_t code_size;
  const char *format;
  size_t format_size;
} advlab_program;

typedef struct {
  size_t size;
  void *extensions;
  advlab_client *client;
  const advlab_program *program;
  const char *options;
  size_t options_size;
  advlab_loaded *loaded; // out, the caller's
} advlab_compile_args;

typedef struct {
  size_t size;
  void *extensions;
  advlab_loaded *loaded;
  advlab_executable *executable; // out, the caller's
} advlab_executable_args;

typedef struct {
  size_t size;
  void *extensions;
  advlab_executable *executable;
} advlab_executable_destroy_args;

typedef struct {
  size_t size;
  void *extensions;
  const advlab_executable *executable;
  const char *bytes;              // out, backed by backing
  size_t bytes_size;              // out
  advlab_bytes *backing;          // out
  void (*free)(advlab_bytes *);   // out, frees backing; to be called once
} advlab_serialize_args;

typedef struct {
  size_t size;
  void *extensions;
  advlab_client *client;
  const char *bytes;
  size_t bytes_size;
  advlab_loaded *loaded; // out, the caller's
  const char *options;   // NULL: those in bytes
  size_t options_size;
} advlab_load_args;

// What Go calls, in intercept.c. A char** why receives the reason of a failure, for the caller to free.

// advlab_open loads a plugin and returns its table, NULL on failure.
const advlab_table *advlab_open(const char *path, char **why);

// advlab_has reports whether the table reaches to the function at index and has it.
int advlab_has(const advlab_table *table, int index);

// ADVLAB_SLOTS is how many plugins one process can intercept: a call of create or compile does not say which plugin it
// is for, so each has functions of its own.
enum { ADVLAB_SLOTS = 4 };

// advlab_copy returns a copy of the table that is never freed, with create and compile replaced by slot's functions.
// Beyond what the plugin has it is filled with null functions.
advlab_table *advlab_copy(const advlab_table *table, int slot);

// Compile blocks signals meanwhile, for the threads that it makes at its first call, and load in case it makes some; see
// signals.h.
advlab_error *advlab_compile(const advlab_table *table, advlab_compile_args *args);

// advlab_client_text returns one of the client's two texts, NULL on failure.
const char *advlab_client_text(const advlab_table *table, int function, advlab_client *client, size_t *size, char **why);

// advlab_devices returns the client's devices, NULL on failure.
advlab_device *const *advlab_devices(const advlab_table *table, advlab_client *client, size_t *count, char **why);

// advlab_device_kind returns the device's kind, NULL on failure.
const char *advlab_device_kind(const advlab_table *table, advlab_device *device, size_t *size, char **why);

// advlab_load makes a program of serialized bytes, which it does not keep; NULL on failure.
advlab_loaded *advlab_load(const advlab_table *table, advlab_client *client, const char *bytes, size_t size, char **why);

// advlab_serialize fills args with the program's bytes, for the caller to free with advlab_serialized_free; it returns
// 0 on failure.
int advlab_serialize(const advlab_table *table, advlab_loaded *loaded, advlab_serialize_args *args, char **why);
void advlab_serialized_free(advlab_serialize_args *args);

#endif
