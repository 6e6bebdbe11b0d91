package endpoint

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// row is what a server says about one input: numbers, names of classes, or names with a number each. It is empty where
// the server rejects the input.
type row struct {
	numbers []float64
	names   []string
}

// decode reads JSON. Python's servers write NaN and Infinity as bare words, which JSON has not: they are read as well.
func decode(body []byte) (any, error) {
	v, err := decodeStrict(body)
	if err == nil {
		return v, nil
	}
	if quoted, ok := quoteNonFinite(body); ok {
		if v, err := decodeStrict(quoted); err == nil {
			return v, nil
		}
	}
	return nil, unreadable{fmt.Errorf("what it answers is no JSON (%w): %s", err, beginning(body))}
}

func decodeStrict(body []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("something follows it")
	}
	return v, nil
}

// quoteNonFinite puts NaN, Infinity and −Infinity outside of strings into quotes, and tells whether there were any.
func quoteNonFinite(body []byte) ([]byte, bool) {
	var out []byte
	found, inside := false, false
	for i := 0; i < len(body); {
		if !inside {
			if w := wordOf(body[i:]); w != "" {
				out = append(append(append(out, '"'), w...), '"')
				found = true
				i += len(w)
				continue
			}
		}
		b := body[i]
		out = append(out, b)
		i++
		switch {
		case inside && b == '\\' && i < len(body):
			out = append(out, body[i])
			i++
		case b == '"':
			inside = !inside
		}
	}
	return out, found
}

func wordOf(text []byte) string {
	for _, w := range []string{"NaN", "-Infinity", "Infinity"} {
		if bytes.HasPrefix(text, []byte(w)) {
			return w
		}
	}
	return ""
}

// rejected tells an input that the server did not answer.
func (r row) rejected() bool { return len(r.numbers)+len(r.names) == 0 }

// number reads a number. Servers write what is not finite as null (MLServer), or as a string.
func number(v any) (float64, bool) {
	switch v := v.(type) {
	case nil:
		return math.NaN(), true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	case json.Number:
		f, err := v.Float64()
		return f, err == nil || math.IsInf(f, 0) // 1e999 is infinite
	case string:
		switch strings.ToLower(strings.TrimSpace(v)) {
		case "nan":
			return math.NaN(), true
		case "inf", "+inf", "infinity", "+infinity":
			return math.Inf(1), true
		case "-inf", "-infinity":
			return math.Inf(-1), true
		}
	}
	return 0, false
}

// rowsOf cuts an answer into the rows of n inputs: a list of n rows, or, of one input, its row alone. A row is a
// number, a name, a list of these, an object of numbers by name, {"cat": 0.9}, or a list of objects with a name and a
// number, {"label": "cat", "score": 0.9}. A flat list is cut where the number of classes is known.
func rowsOf(v any, n, classes int) ([]row, error) {
	list, isList := v.([]any)
	if n == 1 {
		for isList && len(list) == 1 { // an axis for the batch, or several
			v = list[0]
			list, isList = v.([]any)
		}
		r, err := rowOf(v)
		return []row{r}, err
	}
	if !isList {
		return nil, fmt.Errorf("its answer to %d inputs is no list", n)
	}
	if len(list) == 1 {
		if inner, ok := list[0].([]any); ok && len(inner) == n {
			list = inner
		}
	}
	if classes > 1 && len(list) == n*classes && !slices.ContainsFunc(list, nested) {
		all, err := rowOf(list)
		if err != nil {
			return nil, err
		}
		return cut(all, n)
	}
	if len(list) != n {
		return nil, fmt.Errorf("it answers %d inputs with a list of %d", n, len(list))
	}
	rows := make([]row, n)
	for i, v := range list {
		r, err := rowOf(v)
		if err != nil {
			return nil, fmt.Errorf("row %d: %w", i, err)
		}
		if i > 0 && (len(r.numbers) == 0) != (len(rows[0].numbers) == 0) {
			return nil, fmt.Errorf("row %d is of another kind than row 0", i)
		}
		if i > 0 && r.names == nil && len(r.numbers) != len(rows[0].numbers) {
			return nil, fmt.Errorf("row %d has %d numbers, row 0 has %d", i, len(r.numbers), len(rows[0].numbers))
		}
		rows[i] = r
	}
	return rows, nil
}

func nested(v any) bool {
	switch v.(type) {
	case []any, map[string]any:
		return true
	}
	return false
}

// cut cuts a flat row into n.
func cut(all row, n int) ([]row, error) {
	rows := make([]row, n)
	k, m := len(all.numbers)/n, len(all.names)/n
	if k*n != len(all.numbers) || m*n != len(all.names) || k+m == 0 {
		return nil, fmt.Errorf("it answers %d inputs with %d values", n, len(all.numbers)+len(all.names))
	}
	for i := range rows {
		if k > 0 {
			rows[i].numbers = all.numbers[i*k : (i+1)*k : (i+1)*k]
		}
		if m > 0 {
			rows[i].names = all.names[i*m : (i+1)*m : (i+1)*m]
		}
	}
	return rows, nil
}

// rowOf reads the row of one input.
func rowOf(v any) (r row, err error) {
	switch v := v.(type) {
	case []any:
		for len(v) == 1 && nested(v[0]) {
			inner, ok := v[0].([]any)
			if !ok {
				break
			}
			v = inner
		}
		if len(v) == 0 {
			return r, fmt.Errorf("it is an empty list")
		}
		for _, e := range v {
			one, err := rowOf(e)
			if err != nil {
				return r, err
			}
			if len(one.numbers) > 1 || len(one.names) > 1 {
				return r, fmt.Errorf("it has more axes than one for the inputs and one for the classes")
			}
			r.numbers, r.names = append(r.numbers, one.numbers...), append(r.names, one.names...)
		}
	case map[string]any:
		r, err = object(v)
	default:
		if f, ok := number(v); ok {
			r.numbers = []float64{f}
		} else if s, ok := v.(string); ok {
			r.names = []string{s}
		} else {
			return r, fmt.Errorf("%v is neither a number nor a name", v)
		}
	}
	if err == nil && len(r.names) > 0 && len(r.numbers) > 0 && len(r.names) != len(r.numbers) {
		return r, fmt.Errorf("it has %d names and %d numbers", len(r.names), len(r.numbers))
	}
	return r, err
}

// object reads {"cat": 0.9, "dog": 0.1}, or {"label": "cat", "score": 0.9}, or {"label": "cat"}.
func object(o map[string]any) (r row, err error) {
	type pair struct {
		name string
		of   float64
	}
	var pairs []pair
	var texts []string
	for k, v := range o {
		if f, ok := number(v); ok && v != nil {
			pairs = append(pairs, pair{k, f})
		} else if s, ok := v.(string); ok {
			texts = append(texts, s)
		}
	}
	switch {
	case len(texts) == 1 && len(pairs) == 1:
		return row{[]float64{pairs[0].of}, texts}, nil
	case len(texts) == 1 && len(pairs) == 0:
		return row{names: texts}, nil
	case len(texts) > 0 || len(pairs) == 0 || len(pairs) != len(o):
		return r, fmt.Errorf("it is an object with the fields %s, of which no scores can be read: say where they are by the path of the answer",
			fields(o))
	}
	slices.SortFunc(pairs, func(a, b pair) int { return cmp.Or(cmp.Compare(b.of, a.of), cmp.Compare(a.name, b.name)) })
	for _, p := range pairs {
		r.names, r.numbers = append(r.names, p.name), append(r.numbers, p.of)
	}
	return r, nil
}

// fields lists the names in an object, at most ten.
func fields(o map[string]any) string {
	var all []string
	for k := range o {
		all = append(all, fmt.Sprintf("%.40q", k))
	}
	slices.Sort(all)
	if len(all) > 10 {
		all = append(all[:10], "…")
	}
	return strings.Join(all, ", ")
}

// words returns what a server says about an error, for the end of a sentence.
func words(body []byte) string {
	v, err := decodeStrict(body)
	if o, ok := v.(map[string]any); ok && err == nil {
		for _, key := range []string{"error", "message", "detail", "status"} {
			switch said := o[key].(type) {
			case nil:
				continue
			case string:
				return ": " + beginning([]byte(said))
			default:
				text, _ := json.Marshal(said) // it was JSON before
				return ": " + beginning(text)
			}
		}
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return ""
	}
	return ": " + beginning(body)
}

// beginning returns the first of a text, on one line.
func beginning(text []byte) string {
	const most = 300
	line := strings.Join(strings.Fields(strings.ToValidUTF8(string(text[:min(len(text), 4*most)]), "�")), " ")
	if line == "" {
		return "nothing"
	}
	if utf8.RuneCountInString(line) > most {
		return string([]rune(line)[:most]) + "…"
	}
	return line
}
