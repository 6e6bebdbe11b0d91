package intercept

import (
	"bufio"
	"io"
	"slices"
	"strings"
)

// cpuFields are the lines of /proc/cpuinfo that say what code a processor runs: x86's and ARM's. Clock rates and
// addresses, which differ from boot to boot, are left out.
var cpuFields = []string{
	"vendor_id", "cpu family", "model", "model name", "stepping", "flags",
	"CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision", "Features",
}

// cpuFeatures returns the distinct such lines of all processors, in the order of their first appearance.
func cpuFeatures(cpuinfo io.Reader) (string, error) {
	var lines []string
	scanner := bufio.NewScanner(cpuinfo)
	scanner.Buffer(nil, 1<<20) // flags alone are some 1500 characters
	for scanner.Scan() {
		name, value, ok := strings.Cut(scanner.Text(), ":")
		name = strings.TrimSpace(name)
		if !ok || !slices.Contains(cpuFields, name) {
			continue
		}
		line := name + ":" + strings.TrimSpace(value)
		if !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n"), scanner.Err()
}
