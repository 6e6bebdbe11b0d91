//go:build linux && cgo

package backend_test

const xlaIsBuiltIn = true
