#ifndef ADVLAB_SIGNALS_H
#define ADVLAB_SIGNALS_H

#include <signal.h>

// advlab_block blocks signals in the calling thread, so that the threads it makes inherit that, and stores the
// thread's mask in before; advlab_restore sets it again. signals.go says which and why.
void advlab_block(sigset_t *before);
void advlab_restore(const sigset_t *before);

#endif
