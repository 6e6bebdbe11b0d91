// Package gonb is one running GoNB: its process and all that is below it, the sockets towards it, and what has to be
// arranged around it so that no output is lost. Package relay starts one, and another one when it dies.
package gonb
