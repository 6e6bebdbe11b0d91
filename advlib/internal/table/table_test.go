package table

import (
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	header, rows := []string{"name", "σ"}, [][]string{{"a<b", "1", "left out"}, {"longer", "", ""}}
	if got, want := Text(header, rows), "name    σ\na<b     1\nlonger\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	page := HTML(header, [][]string{{"a<b", "1"}})
	for _, want := range []string{`<th scope="col"`, ">σ</th>", `<th scope="row"`, ">a&lt;b</th>", ">1</td>"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in %s", want, page)
		}
	}
	if got := Paper("Gowal et al. 2018, arXiv:1810.12715"); got != "[Gowal et al. 2018](https://arxiv.org/abs/1810.12715)" {
		t.Error(got)
	}
	if got := Paper("a book"); got != "a book" {
		t.Error(got)
	}
}
