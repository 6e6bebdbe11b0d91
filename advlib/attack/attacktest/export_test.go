package attacktest

import (
	"testing"
	"time"
)

// SetPatience sets how long an attack on a model that is not a number may take, for a test.
func SetPatience(t *testing.T, d time.Duration) {
	before := patience
	patience = d
	t.Cleanup(func() { patience = before })
}

// Failures runs the suite's checks on a subject and returns what they say, by the check's name.
func Failures(s Subject) (map[string]error, error) {
	f, err := newFixtures()
	if err != nil {
		return nil, err
	}
	failed := map[string]error{}
	for _, c := range checks {
		if err := c.run(f, s); err != nil {
			failed[c.name] = err
		}
	}
	return failed, nil
}
