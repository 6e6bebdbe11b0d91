//go:build linux && cgo

package intercept

/*
#cgo CFLAGS: -std=c11 -Wall -Wextra -Werror
#cgo LDFLAGS: -ldl
#include <stdlib.h>
#include "pjrt.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"unsafe"

	"advlab/advlib/backend/internal/executables"
)

// Plugin is a plugin loaded into this process, for good.
type Plugin struct {
	table *C.advlab_table // the plugin's own

	// Set by Keep:
	store   *executables.Store // nil: programs are not kept
	hash    string
	machine [][]byte // what programs depend on besides themselves, their options and the client

	register sync.Once
	copied   uintptr
	failed   error
}

// slots are the plugins whose calls are intercepted, by the number that the C side's functions pass.
var (
	slotsMu sync.RWMutex
	slots   []*Plugin
)

// Load loads the plugin at path.
func Load(path string) (*Plugin, error) {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	var why *C.char
	table := C.advlab_open(name, &why)
	if table == nil {
		// The loader's reason mostly begins with the path itself.
		return nil, fmt.Errorf("cannot load %s: %s", path, strings.TrimPrefix(take(why), path+": "))
	}
	if major := table.version.major; major != 0 {
		return nil, fmt.Errorf("cannot load %s: its PJRT API is %d.%d, this program speaks 0.x", path, major, table.version.minor)
	}
	return &Plugin{table: table}, nil
}

// Version returns the version of the plugin's API, such as 0.81.
func (p *Plugin) Version() string {
	return fmt.Sprintf("%d.%d", p.table.version.major, p.table.version.minor)
}

// Hash returns the plugin file's SHA-256 in hexadecimal, once Keep has computed it.
func (p *Plugin) Hash() string { return p.hash }

// needed are the functions that keeping programs takes.
var needed = map[string]C.int{
	"PJRT_Error_Destroy":                  C.ADVLAB_ERROR_DESTROY,
	"PJRT_Error_Message":                  C.ADVLAB_ERROR_MESSAGE,
	"PJRT_Client_PlatformName":            C.ADVLAB_CLIENT_PLATFORM_NAME,
	"PJRT_Client_PlatformVersion":         C.ADVLAB_CLIENT_PLATFORM_VERSION,
	"PJRT_Client_AddressableDevices":      C.ADVLAB_CLIENT_ADDRESSABLE_DEVICES,
	"PJRT_Client_Compile":                 C.ADVLAB_CLIENT_COMPILE,
	"PJRT_DeviceDescription_Kind":         C.ADVLAB_DESCRIPTION_KIND,
	"PJRT_Device_GetDescription":          C.ADVLAB_DEVICE_DESCRIPTION,
	"PJRT_Executable_Destroy":             C.ADVLAB_EXECUTABLE_DESTROY,
	"PJRT_Executable_Serialize":           C.ADVLAB_EXECUTABLE_SERIALIZE,
	"PJRT_LoadedExecutable_GetExecutable": C.ADVLAB_LOADED_EXECUTABLE,
	"PJRT_Executable_DeserializeAndLoad":  C.ADVLAB_DESERIALIZE_AND_LOAD,
}

// Keep makes programs compiled through Table be kept in store and loaded from it. path is the plugin's file; libraries
// identify what else the plugin compiles with. On an error, which says why programs cannot be kept, the plugin works
// all the same. It must precede Table.
func (p *Plugin) Keep(store *executables.Store, path string, libraries []byte) error {
	for name, index := range needed {
		if C.advlab_has(p.table, index) == 0 {
			return fmt.Errorf("the plugin (PJRT API %s) lacks %s", p.Version(), name)
		}
	}
	machine, err := surroundings()
	if err != nil {
		return err
	}
	hash, err := store.HashFile(path)
	if err != nil {
		return err
	}
	p.store, p.hash = store, hash
	p.machine = append([][]byte{[]byte(hash), []byte(p.Version()), libraries}, machine...)
	return nil
}

// Table returns the address of a table for pjrt.RegisterPreloadedPlugin: a copy of the plugin's, whose create and
// compile make their threads with signals blocked, and whose compile looks for programs on disk if Keep succeeded.
func (p *Plugin) Table() (uintptr, error) {
	p.register.Do(func() { p.copied, p.failed = p.copyTable() })
	return p.copied, p.failed
}

func (p *Plugin) copyTable() (uintptr, error) {
	slotsMu.Lock()
	defer slotsMu.Unlock()
	if len(slots) == C.ADVLAB_SLOTS {
		return 0, fmt.Errorf("%d plugins are open already", len(slots))
	}
	copied := C.advlab_copy(p.table, C.int(len(slots)))
	if copied == nil {
		return 0, errors.New("out of memory")
	}
	slots = append(slots, p)
	return uintptr(unsafe.Pointer(copied)), nil
}

// take returns C's text as Go's and frees it.
func take(text *C.char) string {
	if text == nil {
		return "out of memory"
	}
	defer C.free(unsafe.Pointer(text))
	return C.GoString(text)
}
