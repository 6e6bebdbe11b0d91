package cli

import (
	"fmt"
	"net"
	"time"
)

// loopback tells what is wrong with the network inside this machine, over which Jupyter speaks to kernels: where it is
// down, Jupyter waits a minute and says something else.
func loopback() error {
	const address = "127.0.0.1:0"
	l, err := net.Listen("tcp", address)
	if err == nil {
		defer l.Close()
		var c net.Conn
		if c, err = net.DialTimeout("tcp", l.Addr().String(), 2*time.Second); err == nil {
			return c.Close()
		}
	}
	return statusError{unprepared, fmt.Errorf("the loopback network, 127.0.0.1, does not work here (%w), and Jupyter speaks to "+
		"kernels over it: `ip link set lo up`, as root, brings it up", err)}
}
