package jupyter

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/google/renameio/v2"
)

// Connection is a connection file: where a kernel listens, and the key that signs its messages.
type Connection struct {
	Transport  string `json:"transport"` // tcp or ipc
	IP         string `json:"ip"`        // an address; for ipc a path, to which "-PORT" is appended
	Shell      int    `json:"shell_port"`
	IOPub      int    `json:"iopub_port"`
	Stdin      int    `json:"stdin_port"`
	Control    int    `json:"control_port"`
	Heartbeat  int    `json:"hb_port"`
	Key        string `json:"key"`
	Scheme     string `json:"signature_scheme"`
	KernelName string `json:"kernel_name,omitempty"`
}

// Scheme is the one signature scheme that is in use.
const Scheme = "hmac-sha256"

// ReadConnection reads and checks a connection file.
func ReadConnection(file string) (Connection, error) {
	var c Connection
	text, err := os.ReadFile(file)
	if err != nil {
		return c, fmt.Errorf("jupyter: connection file: %w", err)
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return c, fmt.Errorf("jupyter: connection file %s: %w", file, err)
	}
	if err := c.check(); err != nil {
		return c, fmt.Errorf("jupyter: connection file %s: %w", file, err)
	}
	return c, nil
}

func (c Connection) check() error {
	top := 65535
	switch c.Transport {
	case "tcp":
	case "ipc":
		top = 1 << 30 // not ports, but endings of names
	default:
		return fmt.Errorf("transport %q: tcp and ipc are known", c.Transport)
	}
	if c.IP == "" {
		return fmt.Errorf("ip is empty")
	}
	if c.Key != "" && c.Scheme != Scheme {
		return fmt.Errorf("signature_scheme %q: %s is known", c.Scheme, Scheme)
	}
	ports := []int{c.Shell, c.IOPub, c.Stdin, c.Control, c.Heartbeat}
	for i, name := range []string{"shell_port", "iopub_port", "stdin_port", "control_port", "hb_port"} {
		if ports[i] < 1 || ports[i] > top {
			return fmt.Errorf("%s is %d", name, ports[i])
		}
		for j := range i {
			if ports[i] == ports[j] {
				return fmt.Errorf("%s is %d, which another socket has", name, ports[i])
			}
		}
	}
	return nil
}

// Write writes the file, readable for the user alone: it holds the key.
func (c Connection) Write(file string) error {
	if err := c.check(); err != nil {
		return fmt.Errorf("jupyter: %w", err)
	}
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return renameio.WriteFile(file, append(text, '\n'), 0o600, renameio.IgnoreUmask())
}

// Endpoint is the ZeroMQ endpoint of one of the ports.
func (c Connection) Endpoint(port int) string {
	if c.Transport == "ipc" {
		return fmt.Sprintf("ipc://%s-%d", c.IP, port)
	}
	if strings.Contains(c.IP, ":") && !strings.HasPrefix(c.IP, "[") {
		return fmt.Sprintf("tcp://[%s]:%d", c.IP, port) // IPv6
	}
	return fmt.Sprintf("tcp://%s:%d", c.IP, port)
}
