package notebook

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
)

// ParametersTag marks the cell whose variables can be set from outside.
const ParametersTag = "parameters"

// injectedTag marks the cell that Set adds, with papermill's name for it.
const injectedTag = "injected-parameters"

// Parameter is one variable of the cell tagged parameters.
type Parameter struct {
	Name    string
	Default string // as the notebook writes it
	kind    token.Token
}

// boolean stands for truth values among the kinds of literals.
const boolean = token.IDENT

// Parameters returns what can be set in the notebook, in order.
func (n *Notebook) Parameters() ([]Parameter, error) {
	at, err := n.parametersCell()
	if err != nil || at < 0 {
		return nil, err
	}
	var source strings.Builder
	for line := range strings.Lines(n.Cells[at].Source) {
		// What follows belongs to a function, and lines such as %env to GoNB.
		if strings.HasPrefix(line, "%%") || strings.HasPrefix(line, "%main") {
			break
		}
		if strings.HasPrefix(line, "%") || strings.HasPrefix(line, "!") {
			line = "\n"
		}
		source.WriteString(line)
	}
	file, err := parser.ParseFile(token.NewFileSet(), "", "package cell\n"+source.String(), parser.SkipObjectResolution)
	if err != nil {
		return nil, fmt.Errorf("the cell tagged parameters is not Go: %w", err)
	}
	var parameters []Parameter
	for _, declaration := range file.Decls {
		general, ok := declaration.(*ast.GenDecl)
		if !ok || general.Tok != token.VAR {
			continue
		}
		for _, spec := range general.Specs {
			values := spec.(*ast.ValueSpec)
			if len(values.Names) != 1 || len(values.Values) != 1 || values.Type != nil {
				return nil, fmt.Errorf("the cell tagged parameters: write `var %s = value`, one a line and without type", values.Names[0].Name)
			}
			kind, err := literalKind(values.Values[0])
			if err != nil {
				return nil, fmt.Errorf("parameter %s: %w", values.Names[0].Name, err)
			}
			text := source.String()
			offset := int(values.Values[0].Pos()) - 1 - len("package cell\n")
			end := int(values.Values[0].End()) - 1 - len("package cell\n")
			parameters = append(parameters, Parameter{values.Names[0].Name, text[offset:end], kind})
		}
	}
	return parameters, nil
}

func (n *Notebook) parametersCell() (int, error) {
	at := -1
	for i, c := range n.Cells {
		if c.Type != "code" || !c.HasTag(ParametersTag) {
			continue
		}
		if at >= 0 {
			return 0, fmt.Errorf("cells %d and %d are both tagged parameters: one may be", at+1, i+1)
		}
		at = i
	}
	return at, nil
}

// literalKind returns the kind of a constant written as literals and arithmetic: INT, FLOAT, STRING or boolean.
func literalKind(e ast.Expr) (token.Token, error) {
	switch e := e.(type) {
	case *ast.BasicLit:
		switch e.Kind {
		case token.INT, token.FLOAT, token.STRING:
			return e.Kind, nil
		}
	case *ast.Ident:
		if e.Name == "true" || e.Name == "false" {
			return boolean, nil
		}
	case *ast.ParenExpr:
		return literalKind(e.X)
	case *ast.UnaryExpr:
		if e.Op == token.SUB || e.Op == token.ADD {
			if kind, err := literalKind(e.X); err == nil && (kind == token.INT || kind == token.FLOAT) {
				return kind, nil
			}
		}
	case *ast.BinaryExpr:
		x, errX := literalKind(e.X)
		y, errY := literalKind(e.Y)
		numeric := func(k token.Token) bool { return k == token.INT || k == token.FLOAT }
		if errX == nil && errY == nil && numeric(x) && numeric(y) &&
			slices.Contains([]token.Token{token.ADD, token.SUB, token.MUL, token.QUO}, e.Op) {
			return max(x, y), nil // token.INT < token.FLOAT
		}
	}
	return 0, fmt.Errorf("only numbers, strings, true and false can be set from outside")
}

// Set returns a copy of the notebook with a cell after the one tagged parameters that sets variables of it, as
// papermill does: in GoNB a later declaration of a name replaces an earlier one. settings are NAME=VALUE. The value
// keeps the type: 1 for a parameter with a fraction becomes float64(1), and text needs no quotes.
func (n *Notebook) Set(settings []string) (*Notebook, error) {
	if len(settings) == 0 {
		return n, nil
	}
	parameters, err := n.Parameters()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, p := range parameters {
		names = append(names, p.Name)
	}
	var source strings.Builder
	source.WriteString("// Parameters\n")
	set := map[string]bool{}
	for _, setting := range settings {
		name, value, ok := strings.Cut(setting, "=")
		if !ok {
			return nil, fmt.Errorf("parameter %q: write NAME=VALUE", setting)
		}
		if set[name] {
			return nil, fmt.Errorf("parameter %s is set twice", name)
		}
		set[name] = true
		at := slices.Index(names, name)
		if at < 0 {
			if len(names) == 0 {
				return nil, fmt.Errorf("parameter %q: the notebook has no cell tagged parameters with variables", name)
			}
			return nil, fmt.Errorf("parameter %q is unknown: the notebook has %s", name, strings.Join(names, ", "))
		}
		literal, err := parameters[at].literal(value)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&source, "var %s = %s\n", name, literal)
	}
	text, err := n.JSON()
	if err != nil {
		return nil, err
	}
	changed, err := Parse(text) // a deep copy
	if err != nil {
		return nil, err
	}
	at, err := n.parametersCell()
	if err != nil {
		return nil, err
	}
	cells := changed.raw["cells"].([]any)
	cell := map[string]any{
		"cell_type": "code", "execution_count": nil, "outputs": []any{}, "source": source.String(),
		"metadata": map[string]any{"tags": []any{injectedTag}},
	}
	if original, ok := cells[at].(map[string]any); ok && original["id"] != nil {
		cell["id"] = injectedTag // formats from 4.5 on want one
	}
	changed.raw["cells"] = slices.Insert(cells, at+1, any(cell))
	if text, err = changed.JSON(); err != nil {
		return nil, err
	}
	if changed, err = Parse(text); err != nil {
		return nil, err
	}
	changed.Path = n.Path
	return changed, nil
}

// literal returns the Go literal for a value given on the command line.
func (p Parameter) literal(value string) (string, error) {
	wrong := func(what string) error {
		return fmt.Errorf("parameter %s=%s: %s is wanted, as in its default %s", p.Name, value, what, p.Default)
	}
	if p.kind == token.STRING {
		if unquoted, err := strconv.Unquote(value); err == nil {
			value = unquoted
		}
		return strconv.Quote(value), nil
	}
	e, err := parser.ParseExpr(value)
	if err != nil {
		return "", wrong(kindNames[p.kind])
	}
	kind, err := literalKind(e)
	switch {
	case err != nil:
		return "", wrong(kindNames[p.kind])
	case kind == p.kind:
		return value, nil
	case kind == token.INT && p.kind == token.FLOAT:
		if _, ok := e.(*ast.BinaryExpr); ok {
			return "", wrong("a number with a dot") // 1/255 would be an integer division
		}
		return "float64(" + value + ")", nil
	}
	return "", wrong(kindNames[p.kind])
}

var kindNames = map[token.Token]string{token.INT: "a whole number", token.FLOAT: "a number", boolean: "true or false"}
