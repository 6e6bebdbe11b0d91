package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/google/renameio/v2"

	"advlab/advlib"
	"advlab/advlib/impact"
	"advlab/advlib/show"
)

// format writes a report.
type format func(w io.Writer, r *advlib.Report) error

var formats = map[string]format{"text": writeText, "json": writeJSON, "csv": writeCSV, "html": writeHTML, "svg": writeSVG}

// formatOf returns the format of that name, or, without one, that of the file's ending.
func formatOf(name, output string) (format, error) {
	return named(formats, name, output, "text", "text, json, csv, html, svg")
}

// writable refuses an output that could not be written after all has been computed.
func writable(output string) error {
	if output == "" || output == "-" {
		return nil
	}
	if info, err := os.Stat(output); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no file", output)
	}
	probe, err := os.CreateTemp(filepath.Dir(output), ".advlib-*")
	if err != nil {
		return fmt.Errorf("%s cannot be written: %w", output, err)
	}
	_ = probe.Close() // it is empty
	return os.Remove(probe.Name())
}

// write writes the report of an evaluation.
func (p plan) write(out io.Writer, r *advlib.Report) error {
	if p.impacts != nil {
		return writeTo(out, p.output, withImpact(p.form, p.impacts), r)
	}
	return writeTo(out, p.output, p.format, r)
}

// withImpact is the format of that name of a report with what the attacks bring about.
func withImpact(name string, i *impact.Report) format {
	switch name {
	case "json":
		return func(w io.Writer, r *advlib.Report) error {
			text, err := json.Marshal(r)
			if err != nil {
				return err
			}
			more, err := json.Marshal(i)
			if err != nil {
				return err
			}
			whole := append(append(text[:len(text)-1], `,"impact":`...), more...) // a report is an object with fields
			var b bytes.Buffer
			if err := json.Indent(&b, append(whole, '}', '\n'), "", "  "); err != nil {
				return err
			}
			_, err = w.Write(b.Bytes())
			return err
		}
	case "csv":
		return func(w io.Writer, _ *advlib.Report) error { _, err := w.Write(i.CSV()); return err }
	case "svg":
		return func(w io.Writer, _ *advlib.Report) error { _, err := io.WriteString(w, i.SVG()); return err }
	case "html":
		return func(w io.Writer, r *advlib.Report) error { return writePage(w, r, i.HTML()) }
	}
	return func(w io.Writer, r *advlib.Report) error {
		_, err := io.WriteString(w, r.String()+i.String())
		return err
	}
}

// writeTo writes a report whole, to the file output or to out, or leaves what was there.
func writeTo(out io.Writer, output string, form format, r *advlib.Report) error {
	return writeWhole(out, output, "the report", func(w io.Writer) error { return form(w, r) })
}

// named returns the form of that name, or, without one, that of the file's ending, or a usual one.
func named[T any](forms map[string]T, name, output, usual, there string) (form T, err error) {
	if name == "" {
		if form, ok := forms[strings.TrimPrefix(filepath.Ext(output), ".")]; ok {
			return form, nil
		}
		return forms[usual], nil
	}
	form, ok := forms[name]
	if !ok {
		return form, misuse("--format: there is no format %q: there are %s", name, there)
	}
	return form, nil
}

// writeWhole writes the report, or what else it is, to the file output or to out, whole, or leaves what was there.
func writeWhole(out io.Writer, output, what string, write func(w io.Writer) error) error {
	var b bytes.Buffer
	err := write(&b)
	switch {
	case err != nil:
	case output == "" || output == "-":
		_, err = out.Write(b.Bytes())
		return err
	default:
		err = renameio.WriteFile(output, b.Bytes(), 0o644)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", what, err)
	}
	return nil
}

func writeText(w io.Writer, r *advlib.Report) error {
	_, err := io.WriteString(w, r.String())
	return err
}

func writeJSON(w io.Writer, r *advlib.Report) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// writeHTML writes a page that needs no other file: the table, and with certificates the picture and a verdict on each
// example.
func writeHTML(w io.Writer, r *advlib.Report) error { return writePage(w, r, "") }

// writePage is writeHTML with more at its end.
func writePage(w io.Writer, r *advlib.Report, more string) error {
	body := r.HTML()
	if len(r.Certificates) > 0 {
		picture, err := show.Sandwich(r)
		switch {
		case errors.Is(err, advlib.ErrContradiction):
			body += fmt.Sprintf("<p><b>%s</b></p>\n", html.EscapeString(err.Error()))
		case err != nil:
			return err
		}
		body += picture.HTML()
		for _, ball := range r.Balls() {
			if _, asked := r.Certified(ball); asked {
				body += fmt.Sprintf("<details><summary>each example, %s</summary>\n%s</details>\n", html.EscapeString(ball.String()),
					show.Verdicts(r, ball).HTML())
			}
		}
	}
	_, err := fmt.Fprintf(w, "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>%s</title>\n<body "+
		"style=\"font-family:sans-serif\">\n%s</body>\n</html>\n", html.EscapeString(r.Title()), body+more)
	return err
}

// writeSVG draws the report against ε: the sandwich where there are certificates, else the curves of the attacks.
func writeSVG(w io.Writer, r *advlib.Report) error {
	draw := show.Curve
	if len(r.Certificates) > 0 {
		draw = show.Sandwich
	}
	picture, err := draw(r)
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, picture.SVG())
	return err
}

// csvColumns are the columns of the format csv. radius is empty for attacks without a budget, distance for failures.
// Where skipped is true the attack was not run because one before it had broken the example, at this distance.
//
// An example that was left out because the model's logits are not finite for it has one row, with "NaN", "+Inf" or
// "-Inf" as predicted and nothing more.
//
// Rows of attacks have nothing in the last three columns, rows of certificates nothing in those of attacks but the
// distance of a counterexample that the method found: certificate is the method, margin its lower bound, empty if there
// is none.
var csvColumns = []string{"example", "label", "predicted", "attack", "norm", "radius", "goal", "attempted", "skipped", "success",
	"distance", "certificate", "certified", "margin"}

func writeCSV(w io.Writer, r *advlib.Report) error {
	c := csv.NewWriter(w)
	if err := c.Write(csvColumns); err != nil {
		return err
	}
	for _, n := range r.LeftOut {
		row := make([]string, len(csvColumns))
		row[0], row[1], row[2] = strconv.FormatInt(n.Index, 10), fmt.Sprint(n.Label), n.Value
		if err := c.Write(row); err != nil {
			return err
		}
	}
	for _, a := range r.Attacks {
		for i := range r.Label {
			row := []string{
				strconv.FormatInt(r.Index[i], 10), fmt.Sprint(r.Label[i]), fmt.Sprint(r.Predicted[i]),
				a.Name, a.Norm, finite(float64(a.Radius)), a.Goal,
				strconv.FormatBool(a.Attempted[i]), strconv.FormatBool(a.Skipped[i]), strconv.FormatBool(a.Success[i]), finite(float64(a.Distance[i])),
				"", "", "",
			}
			if err := c.Write(row); err != nil {
				return err
			}
		}
	}
	for _, proof := range r.Certificates {
		for i := range r.Label {
			margin, distance := "", ""
			if i < len(proof.Distance) {
				distance = finite(float64(proof.Distance[i]))
			}
			if i < len(proof.Margin) {
				margin = finite(float64(proof.Margin[i]))
			}
			row := []string{
				strconv.FormatInt(r.Index[i], 10), fmt.Sprint(r.Label[i]), fmt.Sprint(r.Predicted[i]),
				"", proof.Norm, finite(proof.Radius), "", "", "", "", distance,
				proof.Method, strconv.FormatBool(proof.Certified[i]), margin,
			}
			if err := c.Write(row); err != nil {
				return err
			}
		}
	}
	c.Flush()
	return c.Error()
}

// finite writes all digits of a number, and nothing for infinity.
func finite(v float64) string {
	if math.IsInf(v, 0) || math.IsNaN(v) {
		return ""
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}
