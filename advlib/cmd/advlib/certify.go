package main

import (
	"fmt"
	"slices"
	"strings"

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

// proofs returns the certifiers of the given names.
func proofs(names []string, norm advlib.Norm) ([]advlib.Certifier, error) {
	var all []advlib.Certifier
	seen := map[string]bool{}
	for _, name := range names {
		m, err := certify.Named(name)
		if err != nil {
			return nil, misuse("--certify: there is no certificate %q: there are %s", name, strings.Join(certify.Index().Names(), ", "))
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

// boundable refuses a model with an operation that cannot be bounded.
func boundable(c *advlib.Classifier) error {
	ops, err := certify.Explain(c)
	if err != nil {
		return fmt.Errorf("--certify: %w", err)
	}
	for _, op := range ops {
		if !op.Supported() {
			return fmt.Errorf("--certify: %s has an operation that cannot be bounded: %v; evaluate it without --certify", c.Name(), op)
		}
	}
	return nil
}
