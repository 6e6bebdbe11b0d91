package lab

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/gomlx/compute"
)

// Recipe says what a value is made of. Two values of one kind with equal recipes must be equal.
type Recipe struct {
	// Name is shown in lists, and is not part of the key.
	Name string
	// Parts are the ingredients, by name: the text of a traced graph, the hash of examples, configuration, a seed.
	// Whatever can change the value must be among them.
	Parts map[string]string
	// Backend is where the value is computed; nil for what does not depend on it. Its name is part of the key, because
	// backends differ in the last bits.
	Backend compute.Backend
}

// format is the version of the store's layout and of what goes into a key.
const format = 2

// Key returns the recipe's key for a kind of value: 32 hexadecimal digits of a sha256 over the parts, the backend's
// name and the version of the library.
func (r Recipe) Key(kind string) string {
	text, err := json.Marshal(struct {
		Format              int
		Kind, Library, Name string
		Parts               map[string]string
	}{format, kind, Version(), r.backend(), r.Parts})
	if err != nil {
		panic(fmt.Sprintf("lab: strings cannot be written as JSON: %v", err))
	}
	return digest(text)[:32]
}

func (r Recipe) backend() string {
	if r.Backend == nil {
		return ""
	}
	return r.Backend.Name()
}

// readable returns the parts with long ones, such as the text of a graph, replaced by their hash.
func (r Recipe) readable() map[string]string {
	const long = 200
	parts := make(map[string]string, len(r.Parts))
	for name, value := range r.Parts {
		if len(value) > long {
			value = fmt.Sprintf("sha256 %s of %d bytes", digest([]byte(value)), len(value))
		}
		parts[name] = value
	}
	return parts
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
