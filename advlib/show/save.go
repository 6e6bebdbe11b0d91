package show

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"image"
	"image/png"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/google/renameio/v2"
)

// Save writes a value to a file, in the form that the ending of its name says: .svg and .png for pictures, .pdf for
// those of [Printed], .html for a page that needs no other file, .txt for text, .json for data. The file appears whole
// or not at all, and replaces one that is there.
func Save(path string, v any) error {
	data, err := encode(strings.ToLower(filepath.Ext(path)), v)
	if err != nil {
		return fmt.Errorf("show: save %s: %w", path, err)
	}
	if err := renameio.WriteFile(path, data, 0o644); err != nil {
		return fmt.Errorf("show: save: %w", err)
	}
	return nil
}

func encode(extension string, v any) ([]byte, error) {
	if v == nil || isBlank(v) {
		return nil, errors.New("there is nothing to save: the value is empty")
	}
	switch extension {
	case ".svg":
		if s, ok := asSVG(v); ok {
			return []byte(s), nil
		}
	case ".png":
		if data, ok, err := asPNG(v); ok || err != nil {
			return data, err
		}
	case ".pdf":
		if data, ok := asPDF(v); ok {
			return data, nil
		}
	case ".html":
		if s, ok := asHTML(v); ok {
			title, _, _ := strings.Cut(asText(v), "\n")
			return fmt.Appendf(nil, "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><meta "+
				"name=\"color-scheme\" content=\"light dark\"><title>%s</title></head>\n<body "+
				"style=\"font-family:sans-serif\">\n%s</body>\n</html>\n", html.EscapeString(title), s), nil
		}
	case ".json":
		if _, ok := v.(Picture); !ok {
			data, err := json.Marshal(v) // not indented: a report has a value for each example
			return append(data, '\n'), err
		}
	case ".txt":
		return []byte(strings.TrimRight(asText(v), "\n") + "\n"), nil
	default:
		return nil, fmt.Errorf("the extension %q is not one of .svg, .png, .pdf, .html, .json and .txt", extension)
	}
	return nil, fmt.Errorf("a %T has no form for %q: use one of %s", v, extension, strings.Join(formsOf(v), ", "))
}

// formsOf lists the extensions that a value can be saved under.
func formsOf(v any) []string {
	var forms []string
	if _, ok := asSVG(v); ok {
		forms = append(forms, ".svg")
	}
	if _, ok, _ := asPNG(v); ok {
		forms = append(forms, ".png")
	}
	if _, ok := asPDF(v); ok {
		forms = append(forms, ".pdf")
	}
	if _, ok := asHTML(v); ok {
		forms = append(forms, ".html")
	}
	if _, ok := v.(Picture); !ok {
		forms = append(forms, ".json")
	}
	return append(forms, ".txt")
}

// The forms of a value. A type has one by a method, so that it need not import this package.

func asText(v any) string {
	if s, ok := v.(fmt.Stringer); ok {
		return s.String()
	}
	if img, ok := v.(image.Image); ok {
		return fmt.Sprintf("image of %d × %d pixels", img.Bounds().Dx(), img.Bounds().Dy())
	}
	return fmt.Sprint(v)
}

func asHTML(v any) (string, bool) {
	h, ok := v.(interface{ HTML() string })
	if !ok {
		return "", false
	}
	return h.HTML(), true
}

func asSVG(v any) (string, bool) {
	s, ok := v.(interface{ SVG() string })
	if !ok {
		return "", false
	}
	return s.SVG(), true
}

func asPNG(v any) ([]byte, bool, error) {
	switch v := v.(type) {
	case interface{ PNG() []byte }:
		return v.PNG(), true, nil
	case image.Image:
		var b bytes.Buffer
		err := png.Encode(&b, v)
		return b.Bytes(), err == nil, err
	}
	return nil, false, nil
}

func asPDF(v any) ([]byte, bool) {
	p, ok := v.(interface{ PDF() []byte })
	if !ok || len(p.PDF()) == 0 {
		return nil, false
	}
	return p.PDF(), true
}

// isBlank tells what a function returns beside an error: the zero Picture, or a nil pointer.
func isBlank(v any) bool {
	if p, ok := v.(Picture); ok {
		return p.svg == ""
	}
	r := reflect.ValueOf(v)
	return r.Kind() == reflect.Pointer && r.IsNil()
}
