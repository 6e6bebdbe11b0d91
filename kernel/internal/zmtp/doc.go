// Package zmtp is the part of ZeroMQ's wire protocol that Jupyter uses: ZMTP 3.0 (https://rfc.zeromq.org/spec/23/) with
// the NULL mechanism, over tcp and Unix sockets, for the kernel's five sockets (ROUTER, PUB, REP) and for the client's
// side of a kernel (DEALER, SUB).
//
//	shell, err := zmtp.Listen(zmtp.Router, "tcp://127.0.0.1:5555", zmtp.Options{})
//	m, err := shell.Recv() // m[0] names the peer
//	err = shell.Send(m)    // back to that peer
//
// Anyone on the machine may connect to a kernel's port, and need not know the key that signs Jupyter's messages. So
// nothing that a peer sends or leaves unsent may hold up the others: the handshake has a time limit, every connection
// has its own reader and its own queue, a length is checked before memory is taken for it, and a subscriber that stops
// reading is waited for and then cut off. Messages are checked by package jupyter.
package zmtp
