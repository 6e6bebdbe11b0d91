// Package jupyter encodes, signs, checks and decodes the messages of the Jupyter protocol
// (https://jupyter-client.readthedocs.io/en/stable/messaging.html), and reads and writes connection files.
//
//	c, err := jupyter.ReadConnection("kernel-1.json")
//	m, err := jupyter.NewCodec(c.Key).Decode(parts)
//
// A message on the wire is: identities of the way back, the delimiter, a signature, header, parent header, metadata,
// content, and any number of binary buffers. Whoever can connect to a kernel's port can send anything: what is not
// signed with the key of the connection file, was sent before, or is not what the protocol says, is an error, never
// a panic.
package jupyter
