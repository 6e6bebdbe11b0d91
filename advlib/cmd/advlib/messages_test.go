package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"advlab/advlib/internal/option"
)

// outOfReach are texts that name what only a program in Go sets, in places that this program does not come to: it sets
// these things itself, or has nothing like them. The key is the file and a part of the text.
var outOfReach = map[string]string{
	"attack/substitute.go: a Substitute has no Train":            "a Substitute is trained in Go only",
	"attack/substitute.go: which steps along a slope leave":      "a Substitute is trained in Go only",
	"attack/substitute.go: StepSize = %g is not a finite number": "a Substitute is trained in Go only",
	"attack/alltargets.go: leave its Goal out":                   "attacks are made by their table, without a goal",
	"attack/apgd.go: LargerRadii":                                "attacks are made by their table, with the defaults of their papers",
	"attack/autoattack.go: VersionStandard":                      "the same",
	"attack/constants.go: InitialConst":                          "the same",
	"attack/craft/describe.go: the Norm":                         "attacks are given for the norms that they have only",
	"attack/alltargets.go: must come from the Goal of its Point": "the table's attacks obey",
	"attack/craft/ascent.go: advlib.Goal":                        "the same",
	"attack/craft/describe.go: the Attack":                       "attacks are made by their table, whole",
	"attack/deepfool.go: DeepFool: the nearest":                  "a name of a paper, in the help",
	"attack/alltargets.go: the Attack":                           "attacks are made by their table, whole",
	"attack/bpda.go: the Attack":                                 "the same",
	"attack/lattice8.go: the Attack":                             "the same",
	"attack/transfer.go: the Attack":                             "the same",
	"attack/mifgsm.go: leave Diversity out":                      "the table's attack has none",
	"certify/network.go: its Graph is nil":                       "models have a graph",
	"attack/starts.go: OneStart":                                 "attacks are made by their table, with all starts",
	"attack/patch.go: ":                                          "there are no patches",
	"attack/placement.go: ":                                      "there are no patches",
	"attack/universal.go: ":                                      "there are no universal perturbations",
	"ball.go: the ball is unset":                                 "balls are made of --norm and --eps",
	"certify/regions.go: leave Norm nil":                         "regions are made by the library",
	"certify/verify.go: the Timeout":                             "--certify-timeout is checked before",
	"certify/internal/propagate/walk.go: backend.Open":           "the backend is opened so",
	"classifier.go: its Logits are nil":                          "models have a graph",
	"victim.go: its Input is empty":                              "the data has a shape",
	"classifier.go: its Logits function returned nil":            "models have a graph",
	"dataset/tablefile.go: ":                                     "tables are read in Go only",
	"domain.go: FitTo":                                           "features without a range have that of --box",
	"domain.go: has the Change":                                  "changes are read by their names",
	"domain.go: call the attack by advlib.Run":                   "it is",
	"draws.go: give Settings.Draws":                              "random models are measured in Go only",
	"evaluate.go: there are no attacks":                          "a preset has some",
	"evaluate.go: Settings.Balls":                                "balls are made of --norm and --eps",
	"examples.go: numbers in Index":                              "the data's numbers are its rows",
	"lab/entry.go: lab.List":                                     "nothing is removed from the store",
	"lab/trace.go: graph.MinConstValueSizeToKeep":                "nothing lowers it",
	"normalisation.go: set Spec.Normalisation":                   "flags make it part of the Spec",
	"onnx/options.go: use AsFile":                                "--layout is checked before",
	"returns.go: there are advlib.Logits":                        "flags choose one of them",
	"counted.go: TakeRows":                                       "a panic on a mistake in the library",
	"backend/open.go: comes too late":                            "--backend is used before anything computes",
	"training/model.go: its Build is nil":                        "models are of the zoo",
	"training/model.go: the adversary meets":                     "--adversary-meets is checked before",
	"defense/adversarialtraining.go: StepSize = ":                "--step-size is checked before",
	"defense/adversarialtraining.go: WarmUp = ":                  "--warm-up is checked before",
	"defense/free.go: use AdversarialTraining":                   "--method free is checked before",
	"defense/awp.go: put AWP inside of it":                       "nothing is under AWP that changes variables",
	"dataset/folder.go: has no pictures":                         "the program reads .npz",
	"dataset/medmnist.go: as MedMNIST has":                       "the program reads .npz by dataset.File",
	"dataset/picture.go: makes no picture":                       "the program reads .npz",
	"dataset/picture.go: Pictures.SkipBroken":                    "the program reads .npz",
	"detect/adaptive.go: ":                                       "the program makes adaptive attacks by Screened.Adaptive",
	"detect/binary.go: ":                                         "fields of a method are named as --method-file has them",
	"detect/density.go: ":                                        "fields of a method are named as --method-file has them",
	"detect/evade.go: ":                                          "the program makes adaptive attacks by Screened.Adaptive",
	"detect/magnet.go: ":                                         "fields of a method are named as --method-file has them",
	"detect/mmd.go: ":                                            "sets are tested in Go only",
	"impact/measure.go: Settings.Ball":                           "the program has balls of these norms only",
	"report/html.go: BlackBoxWins":                               "a template, whose names are methods",
}

// packages are those whose errors and warnings reach this program.
var packages = []string{
	".", "attack", "attack/craft", "backend", "certify", "certify/internal/chain", "certify/internal/propagate",
	"certify/internal/search", "dataset", "defense", "detect", "endpoint", "impact", "internal/npz", "internal/vmap", "lab", "onnx",
	"report", "serve", "training", "vnnlib", "zoo",
}

// literal returns the text of a literal, or of several that are joined by +.
func literal(e ast.Expr) (text string, ok bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		return text, err == nil && e.Kind == token.STRING
	case *ast.BinaryExpr:
		x, ok := literal(e.X)
		y, ok2 := literal(e.Y)
		return x + y, ok && ok2 && e.Op == token.ADD
	}
	return "", false
}

// texts returns the files of packages by their names.
func texts(t *testing.T) (*token.FileSet, map[string]*ast.File) {
	t.Helper()
	files := map[string]*ast.File{}
	set := token.NewFileSet()
	for _, p := range packages {
		paths, err := filepath.Glob(filepath.Join("../..", p, "*.go"))
		if err != nil || len(paths) == 0 {
			t.Fatal(p, err)
		}
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			name, err := filepath.Rel("../..", path)
			if err != nil {
				t.Fatal(err)
			}
			files[filepath.ToSlash(name)] = f
		}
	}
	return set, files
}

// TestMessagesNameFlags reads all texts of the library, and finds those that name Go's fields and functions where the
// user of the program would need a flag. Such a name is to be an option.Name, which is spelt here.
func TestMessagesNameFlags(t *testing.T) {
	set, files := texts(t)
	exported := exportedNames(files)
	for _, name := range []string{"StripSoftmax", "ChannelsLast", "BatchSize", "UnitBox"} {
		if !exported[name] {
			t.Errorf("%s is not seen to be a name of Go's: this test finds nothing", name)
		}
	}
	used, spelt := map[string]bool{}, map[string]bool{}
	look := func(file string, at token.Pos, text string) {
		found := goNames(text, exported)
		if !strings.Contains(text, " ") || len(found) == 0 {
			return
		}
		for key := range outOfReach {
			if name, part, _ := strings.Cut(key, ": "); name == file && strings.Contains(text, part) {
				used[key] = true
				return
			}
		}
		t.Errorf("%s: the text %q names %v, which the user of this program has never seen: print an option.Name, or say in "+
			"this test why it cannot be reached", set.Position(at), text, found)
	}
	for name, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if text, ok := optionName(n); ok {
					spelt[text] = true
					if _, ok := spelling[option.Name(text)]; !ok {
						t.Errorf("%s: the option %q has no spelling of this program", name, text)
					}
					return false
				}
			case *ast.ValueSpec: // a list of them
				return !strings.HasPrefix(fmt.Sprint(n.Type), "&{option Name")
			case *ast.CompositeLit:
				if a, ok := n.Type.(*ast.ArrayType); ok && isOptionName(a.Elt) {
					for _, e := range n.Elts {
						if l, ok := e.(*ast.BasicLit); ok {
							text, _ := strconv.Unquote(l.Value)
							spelt[text] = true
							if _, ok := spelling[option.Name(text)]; !ok {
								t.Errorf("%s: the option %q has no spelling of this program", name, text)
							}
						}
					}
					return false
				}
			case *ast.BasicLit, *ast.BinaryExpr:
				text, ok := literal(n.(ast.Expr))
				if !ok {
					return true
				}
				look(name, n.Pos(), text)
				return false
			}
			return true
		})
	}
	for key := range outOfReach {
		if !used[key] {
			t.Errorf("there is no text any more for %q", key)
		}
	}
	for name, flag := range spelling {
		if !spelt[string(name)] {
			t.Errorf("nothing prints the option %q", name)
		}
		if option.Name(name).String() != flag {
			t.Errorf("%q is printed as %q in this program, not as %q", string(name), option.Name(name).String(), flag)
		}
	}
}

var (
	qualified = regexp.MustCompile(`\b(Options|Settings|Spec|advlib|attack|backend|certify|dataset|graph|lab|onnx|smooth|` +
		`training|zoo)\.[A-Z]\w*`)
	camel  = regexp.MustCompile(`\b[A-Z][a-z]+[A-Z]\w*`)
	single = regexp.MustCompile(`\b(?:set|leave|give|its|the|in|has the) ([A-Z][a-z]+)\b`)
)

// goNames returns what of a text only a program in Go knows.
func goNames(text string, exported map[string]bool) []string {
	found := qualified.FindAllString(text, -1)
	for _, name := range camel.FindAllString(text, -1) {
		if exported[name] && !slices.Contains(harmless, name) {
			found = append(found, name)
		}
	}
	for _, m := range single.FindAllStringSubmatch(text, -1) {
		if exported[m[1]] && !slices.Contains(harmless, m[1]) {
			found = append(found, m[1])
		}
	}
	return found
}

// harmless are names of fields that are plain words, or those of the file of --domain, where they begin with a small
// letter, of ONNX, or of the language.
var harmless = []string{"Step", "Scale", "Lo", "Hi", "OneHot", "Margin", "Relu", "Linf", "Go", "AutoAttack"}

func exportedNames(files map[string]*ast.File) map[string]bool {
	names := map[string]bool{}
	add := func(ids ...*ast.Ident) {
		for _, id := range ids {
			if id.IsExported() {
				names[id.Name] = true
			}
		}
	}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				add(n.Name)
			case *ast.ValueSpec:
				add(n.Names...)
			case *ast.TypeSpec:
				add(n.Name)
			case *ast.Field:
				add(n.Names...)
			}
			return true
		})
	}
	return names
}

func isOptionName(e ast.Expr) bool {
	s, ok := e.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	x, ok := s.X.(*ast.Ident)
	return ok && x.Name == "option" && s.Sel.Name == "Name"
}

// optionName returns the text of option.Name("text").
func optionName(call *ast.CallExpr) (string, bool) {
	if !isOptionName(call.Fun) || len(call.Args) != 1 {
		return "", false
	}
	l, ok := call.Args[0].(*ast.BasicLit)
	if !ok {
		return "", false
	}
	text, err := strconv.Unquote(l.Value)
	return text, err == nil
}
