// Package gonb is one running GoNB: its process and all that is below it, the sockets towards it, and what has to be
// arranged around it so that no output is lost. Package relay starts one, and another one when it dies.
//
//	e, err := gonb.Start(config, dir, id, published, asked)
//	err = e.Connect(ctx)
//	_, reply, err := e.Send("execute_request", content)
package gonb
