// Package option spells the names of options in errors and warnings. A library's message says Options.Output, where a
// program's must say --logits: the user of the program has never seen the field. So messages do not write such names
// down, but print a [Name].
//
//	fmt.Errorf("several outputs: name one in %s", option.Name("Options.Output"))
package option

// Name is an option as a Go program sets it, such as "Options.Output" or "Layout: onnx.ChannelsLast". It prints itself
// as the program that runs calls it.
type Name string

// spelling is set at most once, before anything else runs.
var spelling map[Name]string

// Spell makes names print themselves in a program's own spelling. It is to be called while the program starts.
func Spell(names map[Name]string) { spelling = names }

// String returns the program's spelling, and Go's where the program has none.
func (n Name) String() string {
	if s, ok := spelling[n]; ok {
		return s
	}
	return string(n)
}
