package zmtp

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// maxUnixPath is the longest path of a Unix socket that Linux takes; other systems take less.
const maxUnixPath = 107

// splitEndpoint translates tcp://HOST:PORT and ipc://PATH for package net.
func splitEndpoint(endpoint string) (network, address string, err error) {
	scheme, rest, ok := strings.Cut(endpoint, "://")
	switch {
	case !ok || rest == "":
	case scheme == "tcp":
		host, port, err := net.SplitHostPort(rest)
		if err != nil {
			return "", "", fmt.Errorf("zmtp: endpoint %q: %w", endpoint, err)
		}
		if host == "*" { // ZeroMQ's word for all interfaces
			host = ""
		}
		return "tcp", net.JoinHostPort(host, port), nil
	case scheme == "ipc":
		if len(rest) > maxUnixPath {
			return "", "", fmt.Errorf("zmtp: the path of %q has %d bytes, and a Unix socket's at most %d: use a shorter directory", endpoint,
				len(rest), maxUnixPath)
		}
		return "unix", rest, nil
	}
	return "", "", fmt.Errorf("zmtp: endpoint %q is neither tcp://HOST:PORT nor ipc://PATH", endpoint)
}

func listen(endpoint string) (net.Listener, error) {
	network, address, err := splitEndpoint(endpoint)
	if err != nil {
		return nil, err
	}
	if network == "unix" {
		removeStale(address)
	}
	l, err := net.Listen(network, address)
	if err != nil {
		return nil, fmt.Errorf("zmtp: %w", err)
	}
	if network == "unix" {
		if err := os.Chmod(address, 0o600); err != nil {
			_ = l.Close()
			return nil, fmt.Errorf("zmtp: %w", err)
		}
	}
	return l, nil
}

// removeStale removes a socket that a killed process has left: nobody listens to it.
func removeStale(path string) {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != os.ModeSocket {
		return
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = conn.Close()
		return
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		_ = os.Remove(path)
	}
}
