package relay

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"
)

// mostText is the number of bytes of text that a result shows.
const mostText = 64 << 10

// valueless tells a failure whose reason is that the cell's last expression, a call, has no value, which composing has
// not known. The cell is to be composed and compiled again, and the call is a statement then.
func (x *execution) valueless(f *failure) bool {
	if f.Class != compileError || x.program == nil || !x.program.Shows() {
		return false
	}
	at, column := x.program.ResultPlace()
	for _, line := range strings.Split(x.errors(), "\n") {
		m := position.FindStringSubmatch(strings.TrimPrefix(strings.TrimSpace(line), "./"))
		if m != nil && x.program.Own(m[1]) && number(m[2]) == at && number(m[3]) == column &&
			strings.HasSuffix(m[4], "(no value) used as value") {
			x.relay.notebook.Valueless(x.program)
			x.gonbError = nil
			return true
		}
	}
	return false
}

// showResult shows the value of the cell's last expression as its result, or its grade, if it has one. Of several
// values, those of a function that returns more than one, the last is the result, and the others stand above it; but
// short texts are one text, (1, 2). It refuses points that nbgrader would take for others.
func (x *execution) showResult() *failure {
	values := x.values()
	grade, f := x.proof.grade()
	if f == nil && grade == nil && x.program != nil && x.program.Grades() {
		f = newFailure(checkFailed, "the cell's grade is gone: something that it calls has removed it")
	}
	if f == nil {
		f = x.grading.refuse(grade, values)
	}
	if f != nil {
		return f
	}
	for i, value := range values {
		if i < len(values)-1 || grade != nil {
			x.show(value)
		} else {
			x.result(value)
		}
	}
	if grade != nil {
		x.result(map[string]any{"text/plain": strconv.FormatFloat(*grade, 'g', -1, 64)})
	}
	return nil
}

// values are those of the cell's last expression, each in its forms.
func (x *execution) values() []map[string]any {
	file := x.proof.result()
	if file == "" {
		return nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil // the last expression was not reached, or gave nothing
	}
	_ = os.Remove(file)
	values, err := parseValues(data)
	if err != nil {
		x.relay.log("the result of cell %d: %v", x.count, err)
		return nil
	}
	if text, ok := asTuple(values); ok {
		values = []map[string]any{{"text/plain": text}}
	}
	for _, value := range values {
		mend(value)
		if text, ok := value["text/plain"].(string); ok {
			value["text/plain"] = shortened(text)
		}
	}
	return values
}

// parseValues reads the file that package value writes: for each form of each value a line with the value's number, the
// type and the length, and the form itself.
func parseValues(data []byte) (values []map[string]any, err error) {
	last := ""
	for rest := string(data); rest != ""; {
		head, body, found := strings.Cut(rest, "\n")
		words := strings.Fields(head)
		if !found || len(words) != 3 {
			return nil, fmt.Errorf("%.40q is no head of a form", head)
		}
		n, err := strconv.Atoi(words[2])
		if err != nil || n < 0 || n > len(body) {
			return nil, fmt.Errorf("%q says a length, and %d bytes follow", head, len(body))
		}
		if words[0] != last {
			values, last = append(values, map[string]any{}), words[0]
		}
		var form any = strings.ToValidUTF8(body[:n], "\uFFFD")
		if words[1] == "image/png" {
			form = base64.StdEncoding.EncodeToString([]byte(body[:n]))
		}
		values[len(values)-1][words[1]] = form
		rest = body[n:]
	}
	if len(values) == 0 {
		return nil, errors.New("the file is empty")
	}
	return values, nil
}

// asTuple writes several values as one text, if each has a line of text and nothing else.
func asTuple(values []map[string]any) (string, bool) {
	if len(values) < 2 {
		return "", false
	}
	var texts []string
	for _, value := range values {
		text, ok := value["text/plain"].(string)
		if !ok || len(value) > 1 || strings.Contains(text, "\n") {
			return "", false
		}
		texts = append(texts, text)
	}
	return "(" + strings.Join(texts, ", ") + ")", true
}

func shortened(text string) string {
	if len(text) <= mostText {
		return text
	}
	n := mostText
	for !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n] + fmt.Sprintf("\n[… %s more; fmt.Println(x) prints all of it]", bytesText(int64(len(text)-n)))
}
