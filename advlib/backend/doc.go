// Package backend opens the backend that computes: XLA for the CPU, XLA for CUDA, or GoMLX's pure Go backend, once per
// process.
//
//	b, err := backend.Open()
//
// Most programs call Open and nothing else. It takes the backend named by Use, else by the environment variable
// ADVLAB_BACKEND, else the best there is (Auto). Auto falls back to Go, 8 to 15 times slower, and says so in Describe;
// a backend asked for by name that is not available is an error that says what to do. Nothing here touches the network:
// plugins come from set-up (package plugin says where they are looked for).
//
// # Compiled programs are kept
//
// XLA compiles for seconds what it runs in milliseconds, and a notebook's cell is a process of its own. So the compiled
// programs are kept in the cache directory (package cachedir, executables/) and loaded by the next process that needs
// them. A key holds the program, its options, the plugin's hash, the processor's features and number, XLA_FLAGS, and
// the devices; a file that is damaged or not the user's own is compiled again. The directory is bounded in size by
// ADVLAB_EXECUTABLE_CACHE_BYTES (1 GiB; 0 switches the cache off); CacheStats counts.
//
// # Signals and profiles
//
// XLA's threads block signals, since one that is handled on them can damage the heap: while oneDNN multiplies, their
// stack pointer is in it. So CPU profiles (runtime/pprof, go test -cpuprofile) work, and show Go's threads only. That
// holds for XLA opened by GoMLX itself, too, in a program that imports this package; not for a plugin that is opened
// by package pjrt.
//
// XLA needs Linux and cgo; without them there is the Go backend only.
package backend
