//go:build linux && cgo

package intercept

/*
#include "pjrt.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"time"
	"unsafe"

	"advlab/advlib/backend/internal/executables"
	"advlab/advlib/internal/notebook"
)

// advlabCompile is what the copied tables call in place of the plugin's compile. args and all it points to stay
// valid during the call, and belong to the caller.
//
//export advlabCompile
func advlabCompile(slot C.int, args *C.advlab_compile_args) *C.advlab_error {
	slotsMu.RLock()
	p := slots[slot]
	slotsMu.RUnlock()
	return p.compile(args)
}

func (p *Plugin) compile(args *C.advlab_compile_args) *C.advlab_error {
	if p.store == nil {
		return C.advlab_compile(p.table, args)
	}
	key, keyErr := p.key(args)
	if keyErr == nil {
		start := time.Now()
		size, err := p.load(key, args)
		if err == nil {
			took := time.Since(start)
			count(func(c *Counts) {
				c.Hits++
				c.Loading += took
				c.BytesRead += size
			})
			notebook.Tell(notebook.Bundle{Phases: map[string]float64{notebook.Load: took.Seconds()}})
			return nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			count(func(c *Counts) {
				c.Refused++
				c.Problem = err.Error()
			})
		}
	}

	start := time.Now()
	failed := C.advlab_compile(p.table, args)
	took := time.Since(start)
	count(func(c *Counts) {
		c.Misses++
		c.Compiling += took
	})
	notebook.Tell(notebook.Bundle{Phases: map[string]float64{notebook.Compile: took.Seconds()}})
	if failed != nil {
		return failed // the caller's to read and destroy
	}

	start = time.Now()
	var size int64
	err := keyErr
	if err == nil {
		size, err = p.keep(key, args.loaded)
	}
	count(func(c *Counts) {
		c.Storing += time.Since(start)
		c.BytesWritten += size
		if err != nil {
			c.Unstored++
			c.Problem = err.Error()
		}
	})
	return nil
}

// load sets args.loaded to the program that is kept under key and returns the size of its file's payload.
func (p *Plugin) load(key executables.Key, args *C.advlab_compile_args) (int64, error) {
	payload, err := p.store.Get(key)
	if err != nil {
		return 0, err
	}
	var why *C.char
	loaded := C.advlab_load(p.table, args.client, (*C.char)(unsafe.Pointer(unsafe.SliceData(payload))), C.size_t(len(payload)), &why)
	if loaded == nil {
		return 0, fmt.Errorf("the plugin cannot load program %s: %s", key, take(why))
	}
	args.loaded = loaded
	return int64(len(payload)), nil
}

// keep writes the compiled program under key and returns its size.
func (p *Plugin) keep(key executables.Key, loaded *C.advlab_loaded) (int64, error) {
	var serialized C.advlab_serialize_args
	var why *C.char
	if C.advlab_serialize(p.table, loaded, &serialized, &why) == 0 {
		return 0, fmt.Errorf("the plugin cannot serialize program %s: %s", key, take(why))
	}
	defer C.advlab_serialized_free(&serialized)
	payload := bytesAt(serialized.bytes, serialized.bytes_size)
	if err := p.store.Put(key, payload); err != nil {
		return 0, err
	}
	return int64(len(payload)), nil
}

// key hashes all that the compiled program depends on: the plugin, the machine, the client's devices, the program and
// the options.
func (p *Plugin) key(args *C.advlab_compile_args) (executables.Key, error) {
	if args.size < C.size_t(unsafe.Sizeof(*args)) || args.program == nil || args.program.size < C.size_t(unsafe.Sizeof(*args.program)) {
		return executables.Key{}, errors.New("the caller's structs for compile are older than this program knows")
	}
	topology, err := p.topology(args.client)
	if err != nil {
		return executables.Key{}, err
	}
	parts := append([][]byte{}, p.machine...)
	parts = append(parts, topology...)
	parts = append(parts,
		bytesAt(args.program.format, args.program.format_size),
		bytesAt(args.options, args.options_size),
		bytesAt(args.program.code, args.program.code_size),
	)
	return executables.NewKey(parts...), nil
}

// topology returns what the client runs on: platform, its version, and the kind of each device.
func (p *Plugin) topology(client *C.advlab_client) ([][]byte, error) {
	var parts [][]byte
	var why *C.char
	for _, function := range []C.int{C.ADVLAB_CLIENT_PLATFORM_NAME, C.ADVLAB_CLIENT_PLATFORM_VERSION} {
		var size C.size_t
		text := C.advlab_client_text(p.table, function, client, &size, &why)
		if text == nil {
			return nil, fmt.Errorf("the plugin does not name its platform: %s", take(why))
		}
		parts = append(parts, bytesAt(text, size))
	}
	var n C.size_t
	devices := C.advlab_devices(p.table, client, &n, &why)
	if devices == nil {
		return nil, fmt.Errorf("the plugin does not list its devices: %s", take(why))
	}
	parts = append(parts, []byte(strconv.Itoa(int(n))))
	for _, device := range unsafe.Slice(devices, n) {
		var size C.size_t
		kind := C.advlab_device_kind(p.table, device, &size, &why)
		if kind == nil {
			return nil, fmt.Errorf("the plugin does not say the kind of a device: %s", take(why))
		}
		parts = append(parts, bytesAt(kind, size))
	}
	return parts, nil
}

// bytesAt returns C's bytes without copying them.
func bytesAt(at *C.char, size C.size_t) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(at)), size)
}
