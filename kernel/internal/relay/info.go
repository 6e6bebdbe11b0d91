package relay

import (
	"strings"

	"advlab/kernel/internal/jupyter"
)

// helpLink is an entry of the help menu.
type helpLink struct {
	Text string `json:"text"`
	URL  string `json:"url"`
}

var helpLinks = []helpLink{
	{"Go", "https://go.dev/doc/"},
	{"Go packages", "https://pkg.go.dev/"},
	{"GoMLX", "https://pkg.go.dev/github.com/gomlx/gomlx"},
	{"GoNB", "https://github.com/janpfeifer/gonb"},
}

// kernelInfo is the content of a kernel_info_reply. The language's version is that of the toolchain that builds cells.
func (c Config) kernelInfo() map[string]any {
	version := c.Version
	if version == "" {
		version = "0"
	}
	goVersion := strings.TrimPrefix(c.GoVersion, "go")
	return map[string]any{
		"status":                 "ok",
		"protocol_version":       jupyter.Version,
		"implementation":         "advlab",
		"implementation_version": version,
		"banner": "advlab " + version + ": Go " + goVersion +
			" notebooks. A line %% begins the statements of a cell; %help says more.",
		"debugger":           false,
		"help_links":         helpLinks,
		"supported_features": []string{},
		"language_info": map[string]any{
			"name":            "go",
			"version":         goVersion,
			"mimetype":        "text/x-go",
			"file_extension":  ".go",
			"pygments_lexer":  "go",
			"codemirror_mode": "go",
			// nbconvert's generic one, which writes cells into a file with file_extension.
			"nbconvert_exporter": "script",
		},
	}
}
