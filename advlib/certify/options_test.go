package certify

import (
	"strings"
	"testing"
	"time"
)

// Options that cannot be meant are refused with what to write.
func TestOptionsAreRefused(t *testing.T) {
	for _, test := range []struct {
		options Options
		want    string
	}{
		{Options{Timeout: 60}, "write 60*time.Second"},
		{Options{Timeout: time.Millisecond - 1}, "a number alone means nanoseconds"},
		{Options{Batch: -1}, "Batch -1"},
		{Options{Method: CROWN.WithBestLine()}, "use CROWN"},
		{Options{Method: CROWN.WithoutBox()}, "use CROWN"},
	} {
		if _, err := test.options.checked(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: the error is %v, want one with %q", test.options, err, test.want)
		}
	}
	for _, timeout := range []time.Duration{0, -1, time.Millisecond} {
		if _, err := (Options{Timeout: timeout}).checked(); err != nil {
			t.Errorf("a timeout of %v: %v", timeout, err)
		}
	}
}
