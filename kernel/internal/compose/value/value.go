// Package value is a file of cells' programs: what hands the value of a cell's last expression to the kernel.
//
//	value__("/path/of/a/file", 0)(1 + 1)
//
// Package compose copies it into programs, as package main, where it must be small: every cell that has a result
// compiles it. It imports what each Go program with flags has linked already. Its names end in __, so that they are in
// nobody's way.
//
// The file has an entry for each form of each value:
//
//	number of the value, MIME type and length in bytes, in a line; then the form itself
package value

import (
	bytes__ "bytes"
	fmt__ "fmt"
	os__ "os"
	reflect__ "reflect"
)

// What is known of the expression.
const (
	call__   = 1 << iota // it is a call: an error as its last value is not shown but fails the cell
	counts__             // its numbers only count what it has written or read
)

// most__ is the length from which on slices are abbreviated.
const most__ = 1000

// png__ draws images; nil: the program links nothing that makes them.
var png__ func(v any) (text string, png []byte)

// value__ returns a function that takes the values of an expression, as many as it has, and writes them to a file.
func value__(file string, is int) func(values ...any) {
	return func(values ...any) {
		if n := len(values); is&call__ != 0 && n > 0 && none__(values[n-1]) {
			values = values[:n-1]
		} else if n > 0 && is&call__ != 0 {
			if err, failed := values[n-1].(error); failed {
				panic(err)
			}
		}
		var b bytes__.Buffer
		for i, v := range values {
			if none__(v) || is&counts__ != 0 && reflect__.ValueOf(v).CanInt() {
				continue
			}
			form := func(kind, data string) { fmt__.Fprintf(&b, "%d %s %d\n%s", i, kind, len(data), data) }
			forms__(v, form)
		}
		if b.Len() == 0 {
			return
		}
		if err := os__.WriteFile(file, b.Bytes(), 0o600); err != nil {
			panic(err)
		}
	}
}

// none__ tells what is nothing to show: nil, and the struct{}{} that a channel brings whose point is to wait for it.
func none__(v any) bool {
	r := reflect__.ValueOf(v)
	switch r.Kind() {
	case reflect__.Invalid:
		return true
	case reflect__.Pointer:
		return r.IsNil()
	case reflect__.Struct:
		return r.NumField() == 0 && r.NumMethod() == 0
	}
	return false
}

// forms__ is a value in all forms that a front end may choose from, as advlib/show displays it.
func forms__(v any, form func(kind, data string)) {
	text, picture := text__(v), false
	if drawn, ok := v.(interface{ SVG() string }); ok {
		if svg := drawn.SVG(); svg != "" {
			form("image/svg+xml", svg)
			picture = true
		}
	}
	if drawn, ok := v.(interface{ PNG() []byte }); ok {
		if png := drawn.PNG(); len(png) > 0 {
			form("image/png", string(png))
			picture = true
		}
	} else if png__ != nil {
		if caption, png := png__(v); len(png) > 0 {
			form("image/png", string(png))
			text, picture = caption, true
		}
	}
	if written, ok := v.(interface{ HTML() string }); ok && !picture { // which front ends would prefer to a picture
		if html := written.HTML(); html != "" {
			form("text/html", html)
			picture = true
		}
	}
	if text != "" || picture {
		form("text/plain", text)
	}
}

// text__ is a value as Println prints it, with the names of fields; large slices are abbreviated.
func text__(v any) string {
	switch v := v.(type) {
	case string:
		if v == "" {
			return `""`
		}
		return v
	case error, fmt__.Stringer, fmt__.Formatter:
		return fmt__.Sprint(v)
	}
	r := reflect__.ValueOf(v)
	switch r.Kind() {
	case reflect__.Func, reflect__.Chan, reflect__.UnsafePointer:
		return r.Type().String()
	case reflect__.Slice, reflect__.Array:
		n := r.Len()
		if n <= most__ {
			break
		}
		text := "["
		for _, i := range []int{0, 1, 2, n - 3, n - 2, n - 1} {
			text += text__(r.Index(i).Interface()) + " "
			if i == 2 {
				text += "… "
			}
		}
		return fmt__.Sprintf("%s] (%d elements)", text[:len(text)-1], n)
	}
	return fmt__.Sprintf("%+v", v)
}
