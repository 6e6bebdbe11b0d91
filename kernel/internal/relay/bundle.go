package relay

import (
	"encoding/base64"
	"encoding/json"
	"html"
	"regexp"
	"strings"
)

// MIME is the type under which a cell tells the kernel about itself, over GoNB's display pipe: one entry of a display,
// whose value is a Bundle as JSON: text, or its bytes, which GoNB passes on as base64. The kernel takes it out;
// front-ends never see it.
//
//	gonbui.SendData(&protocol.DisplayData{Data: map[protocol.MIMEType]any{relay.MIME: `{"seed": 1}`}})
const MIME = "application/vnd.advlab.cell+json"

// Variable names the environment variable of cells that says that bundles are read here; its value is the version of
// advlab.
const Variable = "ADVLAB_RELAY"

// Bundle is what a cell may tell. Every field may be missing; of several bundles of a cell the latest value counts, and
// phases add up.
type Bundle struct {
	// Result is shown as the cell's result (execute_result): data by MIME type. text/plain should be among them.
	Result map[string]any `json:"result,omitempty"`
	// Clear empties the cell's output: at once, or, with "wait", when the next output comes.
	Clear string `json:"clear,omitempty"`

	// Provenance, for the metadata of the reply.
	Phases  map[string]float64 `json:"phases,omitempty"` // seconds by phase, such as compile and run
	Backend string             `json:"backend,omitempty"`
	Device  string             `json:"device,omitempty"`
	Plugin  string             `json:"plugin,omitempty"` // the beginning of the SHA-256 of what compiles
	Seed    *uint64            `json:"seed,omitempty"`
	Modules map[string]string  `json:"modules,omitempty"` // versions by module path
}

// parseBundle reads the value of a display's private entry: text, or what JSON made of it on the way.
func parseBundle(value any) (Bundle, error) {
	var b Bundle
	text, ok := value.(string)
	if !ok {
		raw, err := json.Marshal(value)
		if err != nil {
			return b, err
		}
		text = string(raw)
	} else if raw, err := base64.StdEncoding.DecodeString(text); err == nil {
		text = string(raw) // no JSON object is base64
	}
	err := json.Unmarshal([]byte(text), &b)
	return b, err
}

// provenance is what is known of a cell's run, for the metadata of the reply.
type provenance struct {
	Seconds float64            `json:"seconds"`
	Phases  map[string]float64 `json:"phases,omitempty"`
	Backend string             `json:"backend,omitempty"`
	Device  string             `json:"device,omitempty"`
	Plugin  string             `json:"plugin,omitempty"`
	Seed    *uint64            `json:"seed,omitempty"`
	Modules map[string]string  `json:"modules,omitempty"`
	Advlab  string             `json:"advlab,omitempty"`
	Go      string             `json:"go,omitempty"`
}

func (p *provenance) add(b Bundle) {
	for name, seconds := range b.Phases {
		if p.Phases == nil {
			p.Phases = map[string]float64{}
		}
		p.Phases[name] += seconds
	}
	if b.Backend != "" {
		p.Backend = b.Backend
	}
	if b.Device != "" {
		p.Device = b.Device
	}
	if b.Plugin != "" {
		p.Plugin = b.Plugin
	}
	if b.Seed != nil {
		p.Seed = b.Seed
	}
	if b.Modules != nil {
		p.Modules = b.Modules
	}
}

var (
	invisible = regexp.MustCompile(`(?is)<(style|script|head)\b.*?</(style|script|head)>|<!--.*?-->`)
	breaks    = regexp.MustCompile(`(?i)<(br|/p|/div|/tr|/h[1-6]|/li|/table|/pre)\b[^>]*>`)
	cells     = regexp.MustCompile(`(?i)</t[dh]>`)
	tags      = regexp.MustCompile(`(?s)<[^>]*>`)
	blanks    = regexp.MustCompile(`[ \t]+\n|\n{3,}`)
)

// plainText is what a terminal shows for a piece of HTML.
func plainText(source string) string {
	s := invisible.ReplaceAllString(source, "")
	s = cells.ReplaceAllString(breaks.ReplaceAllString(s, "\n"), "\t")
	s = html.UnescapeString(tags.ReplaceAllString(s, ""))
	s = strings.TrimSpace(blanks.ReplaceAllString(s, "\n"))
	if s == "" {
		return "[HTML]"
	}
	return s
}

// mend gives a display what its front-ends need: text beside HTML, and, in the script of GoNB's widgets, an address
// that is right behind https and below a base URL.
func mend(data map[string]any) {
	for kind, value := range data {
		if text, ok := value.(string); ok && (kind == "text/html" || kind == "text/javascript" || kind == "application/javascript") {
			data[kind] = strings.ReplaceAll(text, widgetURL, mendedURL)
		}
	}
	if _, ok := data["text/plain"]; ok {
		return
	}
	if text, ok := data["text/html"].(string); ok {
		data["text/plain"] = plainText(text)
	} else if text, ok := data["text/markdown"].(string); ok {
		data["text/plain"] = text // such as GoNB's %help in a console
	}
}

const (
	widgetURL = `"ws://" + document.location.host + "/api/kernels/`
	// JupyterLab and the classic notebook say in the page what the base URL is; without it, it is /.
	mendedURL = `(document.location.protocol === "https:" ? "wss://" : "ws://") + document.location.host + ` +
		`((() => { try { return JSON.parse(document.getElementById("jupyter-config-data").textContent).baseUrl || "/" } ` +
		`catch (e) { return document.body?.dataset?.baseUrl || "/" } })()) + "api/kernels/`
)
