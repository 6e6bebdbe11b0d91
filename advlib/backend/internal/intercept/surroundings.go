package intercept

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// cacheVersion belongs to every key: to be raised when the meaning of the other parts changes.
const cacheVersion = "1"

// surroundings returns what a program compiled on this machine depends on besides itself: the processors' features
// and number (XLA cuts loops by it), XLA's flags, and for CUDA the driver's version. It is an error that XLA_FLAGS ask
// for dumps: a program that is loaded is not compiled, so there would be nothing to see.
func surroundings() ([][]byte, error) {
	cpuinfo, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return nil, fmt.Errorf("the processor's features are not known: %w", err)
	}
	defer func() { _ = cpuinfo.Close() }()
	features, err := cpuFeatures(cpuinfo)
	if err != nil {
		return nil, fmt.Errorf("the processor's features are not known: %w", err)
	}
	flags, err := xlaFlags(os.Getenv("XLA_FLAGS"))
	if err != nil {
		return nil, err
	}
	// Absent without an NVIDIA driver.
	driver, _ := os.ReadFile("/proc/driver/nvidia/version")
	return [][]byte{
		[]byte(cacheVersion),
		[]byte(runtime.GOARCH),
		[]byte(features),
		[]byte(strconv.Itoa(runtime.NumCPU())),
		[]byte(os.Getenv("NPROC")), // XLA's own count of threads
		[]byte(os.Getenv("PJRT_NPROC")),
		[]byte(flags),
		driver,
	}, nil
}

// xlaFlags returns the flags that value, of XLA_FLAGS, stands for: itself, or the text of the file it names, as XLA
// takes it when it does not begin with a dash.
func xlaFlags(value string) (string, error) {
	flags := value
	if trimmed := strings.TrimSpace(value); trimmed != "" && !strings.HasPrefix(trimmed, "-") {
		text, err := os.ReadFile(trimmed)
		if err != nil {
			return "", fmt.Errorf("XLA_FLAGS=%q names a file of flags: %w", value, err)
		}
		flags = string(text)
	}
	if strings.Contains(flags, "xla_dump_") {
		return "", fmt.Errorf("XLA_FLAGS=%q ask for dumps, which need a compilation each time", value)
	}
	return flags, nil
}
