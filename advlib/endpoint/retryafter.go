package endpoint

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// retryAfter reads the header of that name, in seconds or as a date (RFC 9110, section 10.2.3). It is how long to wait
// from now on, 0 for what is past, and −1 where there is nothing, or nothing that can be read.
func retryAfter(text string, now time.Time) time.Duration {
	text = strings.TrimSpace(text)
	if text == "" {
		return -1
	}
	if s, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(s) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now))
	}
	return -1
}
