package kernelspec

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// The extension of JupyterLab, as JupyterLab finds it in a folder labextensions beside kernels.
var (
	//go:embed labextension/package.json
	extensionPackage []byte
	//go:embed labextension/remoteEntry.js
	extensionScript []byte
)

// Extension is the extension's files, by their path below a folder labextensions.
func Extension() map[string][]byte {
	return map[string][]byte{
		filepath.Join(Name, "package.json"):             extensionPackage,
		filepath.Join(Name, "static", "remoteEntry.js"): extensionScript,
	}
}

// extensionDir is where the extension of the kernels below dir lies.
func extensionDir(dir string) string { return filepath.Join(filepath.Dir(dir), "labextensions") }

// refuseForeignExtension returns an error for a folder with an extension that is not ours.
func refuseForeignExtension(folder string) error {
	file := filepath.Join(folder, "package.json")
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var found struct {
		Author string `json:"author"`
	}
	if err == nil {
		err = json.Unmarshal(text, &found)
	}
	if err != nil {
		return fmt.Errorf("%s: %w: not written by advlab? Move the folder away", file, err)
	}
	if found.Author != Name {
		return fmt.Errorf("%s holds an extension of JupyterLab that advlab did not write: move the folder away", folder)
	}
	return nil
}
