package notebook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
)

// Notebook is a notebook of format 4.
type Notebook struct {
	Path  string // where it was read
	Cells []Cell
	raw   map[string]any // the whole document, so that what is not understood here is kept
}

// Cell is what is read of one cell.
type Cell struct {
	Type    string // code, markdown or raw
	Source  string
	Tags    []string
	Count   int      // execution count of a code cell; 0: none
	Outputs []Output // of a code cell
}

// Output is one output of a code cell.
type Output struct {
	Type      string            // stream, display_data, execute_result or error
	Stream    string            // stdout or stderr, of a stream
	Text      string            // of a stream
	Data      map[string]string // of a display: the textual MIME types
	Name      string            // of an error: its kind,
	Value     string            // its message
	Traceback []string          // and its traceback
}

// HasTag reports whether a cell has a tag.
func (c Cell) HasTag(tag string) bool { return slices.Contains(c.Tags, tag) }

// PlainText returns what a cell printed on standard output and the plain text of its displays, in order.
func (c Cell) PlainText() string {
	var s strings.Builder
	for _, o := range c.Outputs {
		text := o.Data["text/plain"]
		if o.Type == "stream" && o.Stream == "stdout" {
			text = o.Text
		}
		if text != "" {
			s.WriteString(strings.TrimRight(text, "\n") + "\n")
		}
	}
	return s.String()
}

// Stderr returns what a cell wrote on standard error.
func (c Cell) Stderr() string {
	var s strings.Builder
	for _, o := range c.Outputs {
		if o.Type == "stream" && o.Stream == "stderr" {
			s.WriteString(o.Text)
		}
	}
	return s.String()
}

// Read reads a notebook.
func Read(path string) (*Notebook, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	n, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	n.Path = path
	return n, nil
}

// multiline is a string that the format may also write as a list of lines.
type multiline string

func (m *multiline) UnmarshalJSON(text []byte) error {
	var one string
	if err := json.Unmarshal(text, &one); err == nil {
		*m = multiline(one)
		return nil
	}
	var lines []string
	if err := json.Unmarshal(text, &lines); err != nil {
		return err
	}
	*m = multiline(strings.Join(lines, ""))
	return nil
}

// document is the format, as far as it is read.
type document struct {
	Format int `json:"nbformat"`
	Cells  []struct {
		Type     string    `json:"cell_type"`
		Source   multiline `json:"source"`
		Count    int       `json:"execution_count"` // null counts as 0
		Metadata struct {
			Tags []string `json:"tags"`
		} `json:"metadata"`
		Outputs []struct {
			Type      string                     `json:"output_type"`
			Stream    string                     `json:"name"`
			Text      multiline                  `json:"text"`
			Data      map[string]json.RawMessage `json:"data"`
			Name      string                     `json:"ename"`
			Value     string                     `json:"evalue"`
			Traceback []string                   `json:"traceback"`
		} `json:"outputs"`
	} `json:"cells"`
}

// Parse reads a notebook's text.
func Parse(text []byte) (*Notebook, error) {
	var d document
	if err := json.Unmarshal(text, &d); err != nil {
		return nil, fmt.Errorf("not a notebook: %w", err)
	}
	if d.Format != 4 {
		return nil, fmt.Errorf("not a notebook of format 4 (nbformat is %d): open and save it in Jupyter", d.Format)
	}
	n := &Notebook{}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber() // keeps numbers as they are written
	if err := decoder.Decode(&n.raw); err != nil {
		return nil, fmt.Errorf("not a notebook: %w", err)
	}
	for _, c := range d.Cells {
		cell := Cell{Type: c.Type, Source: string(c.Source), Tags: c.Metadata.Tags, Count: c.Count}
		for _, o := range c.Outputs {
			output := Output{Type: o.Type, Stream: o.Stream, Text: string(o.Text), Name: o.Name, Value: o.Value, Traceback: o.Traceback}
			for mime, data := range o.Data {
				var s multiline
				if err := json.Unmarshal(data, &s); err != nil {
					continue // JSON data, such as of a plot
				}
				if output.Data == nil {
					output.Data = map[string]string{}
				}
				output.Data[mime] = string(s)
			}
			cell.Outputs = append(cell.Outputs, output)
		}
		n.Cells = append(n.Cells, cell)
	}
	return n, nil
}

// JSON returns the notebook's text.
func (n *Notebook) JSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(n.raw); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// TextOf returns the plain text of the outputs of all cells with a tag.
func (n *Notebook) TextOf(tag string) string {
	var s strings.Builder
	for _, c := range n.Cells {
		if c.HasTag(tag) {
			s.WriteString(c.PlainText())
		}
	}
	return s.String()
}
