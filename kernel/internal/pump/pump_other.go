//go:build !linux

package pump

// Supported says whether programs can be run by pumps: pipes pass on whole packets on Linux only.
const Supported = false

// Run is never called: where pumps are not supported, nothing is started under their names.
func Run([]string) (status int) { return 2 }
