package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"advlab/advlib"
	"advlab/advlib/certify"
)

// certifiers lists the methods for the help.
func certifiers() string {
	var b strings.Builder
	for _, m := range certify.Index() {
		fmt.Fprintf(&b, "  %-12s %s: %s\n", m.Name, m.Method, m.About)
	}
	return strings.TrimRight(b.String(), "\n")
}

// proofs returns the certifiers of the given names; limit is the time that complete verification has for each example.
func proofs(names []string, norm advlib.Norm, limit time.Duration) ([]advlib.Certifier, error) {
	var all []advlib.Certifier
	seen := map[string]bool{}
	for _, name := range names {
		m, err := certify.Named(name)
		if err != nil {
			return nil, misuse("--certify: there is no certificate %q: there are %s", name, strings.Join(certify.Index().Names(), ", "))
		}
		if _, ok := m.(certify.Complete); ok {
			m = certify.Complete{Timeout: limit}
		}
		if !seen[name] {
			all = append(all, m)
		}
		seen[name] = true
	}
	if len(all) > 0 && !slices.Contains(convex, norm) {
		return nil, misuse("--certify: there are no certificates in %v: they are for %s", norm, normNames(convex))
	}
	return all, nil
}
