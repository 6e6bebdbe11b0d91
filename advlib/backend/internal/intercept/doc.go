// Package intercept loads a PJRT plugin and hands go-xla its table of functions with two replaced. Compile first looks
// for the program on disk, and keeps there what it had to compile. Compile and the creation of a client, the two that
// make threads, make them with signals blocked.
//
//	p, err := intercept.Load("/usr/lib/pjrt_c_api_cpu_plugin.so")
//	err = p.Keep(store, path, libraries) // from now on, programs are kept
//	table, err := p.Table()              // what go-xla calls
//
// C holds the plugin's calling convention only (pjrt.h, intercept.c): calls, errors, who frees what. Hashing, files
// and policy are in Go, where they are tested without a plugin; compile calls back into Go once per program, which
// costs microseconds beside a compilation's tenths of a second.
//
// Ownership: the serialized bytes belong to the plugin until its deleter is called, once they are written; the
// executable asked for to serialize is destroyed at once; an error is destroyed when its message has been copied; the
// loaded program, compiled or read, is the caller's, as from the plugin itself. The table's copy and the library are
// never freed: go-xla keeps pointers to both.
package intercept
