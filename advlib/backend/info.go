package backend

import (
	"fmt"
	"strings"

	"advlab/advlib/backend/plugin"
)

// Info describes an open backend.
type Info struct {
	Name     string // XLACPU, XLACUDA or Go
	Device   string // the first device, in the backend's words
	Devices  int
	Platform string // the version of XLA's API, or of the Go backend

	Plugin       string        // path of XLA's plugin, "" for Go
	PluginOrigin plugin.Origin // how the plugin came there
	PluginSHA256 string        // its file's SHA-256, first 12 hexadecimal digits; "" when programs are not kept

	CacheDir string // where compiled programs are kept, "" if they are not
	CacheOff string // why they are not, "" if they are; Go compiles nothing worth keeping

	Lost string // what a fallback of Auto cost, why, and what to type; "" if nothing was lost
}

// String returns the description as aligned lines.
func (i Info) String() string {
	var s strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&s, "%-8s  %s\n", name, value)
		}
	}
	line("backend", i.Name)
	device := i.Device
	if i.Devices > 1 {
		device = fmt.Sprintf("%s, the first of %d", device, i.Devices)
	}
	line("device", device)
	line("platform", i.Platform)
	if i.Plugin != "" {
		origin := string(i.PluginOrigin)
		if i.PluginSHA256 != "" {
			origin += ", sha256 " + i.PluginSHA256
		}
		line("plugin", fmt.Sprintf("%s (%s)", i.Plugin, origin))
	}
	line("cache", i.CacheDir)
	if i.CacheOff != "" {
		line("cache", "off: "+i.CacheOff)
	}
	line("lost", i.Lost)
	return strings.TrimSuffix(s.String(), "\n")
}
