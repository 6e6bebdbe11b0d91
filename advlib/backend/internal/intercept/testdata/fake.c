// Libraries that are no plugin, or one that lacks what the cache needs: FAKE says which.
#include "pjrt.h"

#define NO_FUNCTION 1
#define NO_TABLE 2
#define NEW_MAJOR 3
#define SHORT_TABLE 4
#define NULL_FUNCTION 5

static void nothing(void) {}

#if FAKE == NO_FUNCTION
int not_a_plugin;
#else
const advlab_table *GetPjrtApi(void) {
  enum { COUNT = 60 };
  static union {
    advlab_table table;
    char space[sizeof(advlab_table) + COUNT * sizeof(advlab_function)];
  } api;
  api.table.size = sizeof api.space;
  api.table.version.minor = 81;
  for (int i = 0; i < COUNT; i++) api.table.functions[i] = nothing;
#if FAKE == NO_TABLE
  return NULL;
#elif FAKE == NEW_MAJOR
  api.table.version.major = 1;
#elif FAKE == SHORT_TABLE
  api.table.size = offsetof(advlab_table, functions) + ADVLAB_DESERIALIZE_AND_LOAD * sizeof(advlab_function);
#elif FAKE == NULL_FUNCTION
  api.table.functions[ADVLAB_EXECUTABLE_SERIALIZE] = NULL;
#endif
  return &api.table;
}
#endif
