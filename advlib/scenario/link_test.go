package scenario_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"advlab/advlib/dataset"
	"advlab/advlib/scenario"
)

func parse(t *testing.T, s string) scenario.Link {
	t.Helper()
	l, err := scenario.ParseLink(s)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// phishing returns the links of the phishing data and what its authors computed of them.
func phishing(t *testing.T) (links, pages *dataset.Table) {
	t.Helper()
	folder := filepath.Join("..", "..", "..", "shared", "data")
	if _, err := os.Stat(filepath.Join(folder, "phishing-pages.csv.gz")); err != nil {
		t.Skip("no ../shared/data/phishing-pages.csv.gz beside the checkout")
	}
	links, err := dataset.TableFile{Path: filepath.Join(folder, "phishing-urls.csv.gz"),
		Kinds: map[string]dataset.Kind{"url": dataset.Category}}.Table()
	if err != nil {
		t.Fatal(err)
	}
	if pages, err = (dataset.TableFile{Path: filepath.Join(folder, "phishing-pages.csv.gz")}).Table(); err != nil {
		t.Fatal(err)
	}
	if links.Len() != pages.Len() {
		t.Fatalf("%v, %v", links, pages)
	}
	return links, pages
}

// The extractor computes what the authors' did, on at least 99 % of the rows whose link is whole, column by column.
func TestFeaturesAreTheAuthors(t *testing.T) {
	links, pages := phishing(t)
	blanked, whole, all := 0, 0, 0
	wrong, first := map[string]int{}, map[string]string{}
	for i := range links.Len() {
		text := links.Cell(i, "url")
		if isBlanked(text) {
			blanked++
			continue
		}
		whole++
		l := parse(t, text)
		f, same := l.Features(), true
		for _, name := range scenario.LinkColumns {
			want, err := strconv.ParseFloat(pages.Cell(i, name), 64)
			if err != nil {
				t.Fatal(err)
			}
			if math.Abs(f[name]-want) > 1e-6*(1+math.Abs(want)) {
				if same = false; wrong[name] == 0 {
					first[name] = fmt.Sprintf("%v: %g, the data say %g", l, f[name], want)
				}
				wrong[name]++
			}
		}
		if same {
			all++
		}
	}
	t.Logf("%d links, %d with a mail address blanked left out; all %d columns right on %d of %d, %.2f %%", links.Len(), blanked,
		len(scenario.LinkColumns), all, whole, 100*float64(all)/float64(whole))
	for _, name := range scenario.LinkColumns {
		share := 1 - float64(wrong[name])/float64(whole)
		t.Logf("%-20s %.2f %%  %.150s", name, 100*share, first[name])
		if share < 0.99 {
			t.Errorf("%s is right on %.2f %% of the rows: %s", name, 100*share, first[name])
		}
	}
	if all*100 < whole*99 {
		t.Errorf("all columns are right on %d of %d rows", all, whole)
	}
}

// isBlanked tells a link with a mail address whose name is blanked: letters are x, digits 0. The data's description
// counts 232.
func isBlanked(link string) bool { return blankedMail.MatchString(link) }

var blankedMail = regexp.MustCompile(`(^|[^A-Za-z1-9])[x0][x0._+\-%]*(@|%40)[A-Za-z0-9.\-]+\.[a-z]`)

// In no format is a link one that can be clicked, and what is printed is read as the same link.
func TestLinksAreDefanged(t *testing.T) {
	for raw, want := range map[string]string{
		"http://a.b/c.d": "hxxp://a[.]b/c.d",
		"HTTPS://User@Login.Example.com:81/x?y#z": "HXXPS://User@Login[.]Example[.]com:81/x?y#z",
		"http://a.b/?to=https://c.d.e/f.g":        "hxxp://a[.]b/?to=hxxps://c[.]d[.]e/f.g",
		"http://a.b/www.bank.com/in":              "hxxp://a[.]b/www[.]bank[.]com/in",
		"http://10.0.0.1/":                        "hxxp://10[.]0[.]0[.]1/",
	} {
		l := parse(t, raw)
		text, err := json.Marshal(map[string]any{"link": l, "edits": l.Edits()})
		if err != nil {
			t.Fatal(err)
		}
		for _, out := range []string{l.String(), fmt.Sprint(l), fmt.Sprintf("%s %q %+v %#v", l, l, l, l), fmt.Sprint(l.Edits()),
			string(text)} {
			if strings.Contains(strings.ToLower(out), "http:") || strings.Contains(strings.ToLower(out), "https:") ||
				strings.Contains(out, "a.b/") || strings.Contains(out, "www.") {
				t.Errorf("printed as %s", out)
			}
		}
		if l.String() != want {
			t.Errorf("%v, want %s", l, want)
		}
		if back := parse(t, l.String()); back != l {
			t.Errorf("%v is read as %v", l, back)
		}
	}
	for _, s := range []string{"", "ftp://a.b", "a.b/c", "http://", "http:///x", "http://a.b/\nc", "javascript:alert(1)"} {
		if l, err := scenario.ParseLink(s); err == nil || strings.Contains(err.Error(), "http://a") {
			t.Errorf("%q is read as %v, %v", s, l, err)
		}
	}
}

// By hand, with what is odd about the authors' extractor.
func TestFeaturesByHand(t *testing.T) {
	f := parse(t, "https://secure.mail-7.co.uk/login/view.txt?a=11&b=%20x").Features()
	for name, want := range map[string]float64{
		"length_url": 54, "length_hostname": 19, "nb_dots": 4, "nb_hyphens": 1, "nb_slash": 4, "nb_qm": 1, "nb_and": 1, "nb_eq": 2,
		"nb_percent": 1, "nb_space": 1, "https_token": 0, "nb_subdomains": 3, "prefix_suffix": 1, "phish_hints": 2, "path_extension": 0,
		"ratio_digits_url": 5. / 54, "ratio_digits_host": 1. / 19, "length_words_raw": 10, "shortest_words_raw": 1, "longest_word_host": 6,
		"char_repeat": 1, "avg_word_host": 11. / 3, "tld_in_path": 0, "port": 0, "ip": 0, "suspecious_tld": 0,
	} {
		if math.Abs(f[name]-want) > 1e-12 {
			t.Errorf("%s is %g, want %g", name, f[name], want)
		}
	}
	if len(f) != len(scenario.LinkColumns) {
		t.Errorf("%d features, %d columns", len(f), len(scenario.LinkColumns))
	}
}

// A record that edits of its link can make is realised, with all its features equal; one that none can make is not.
func TestRealise(t *testing.T) {
	texts := []string{
		"http://login.example.com/a-b/c.php?id=77", "https://paypal-secure.example.co.uk/webscr", "http://192.0.2.7/x/y",
		"https://my-site-5.example.net/", "http://a.b.c.example.org/very/long-path/with_many/parts.html?q=1&r=2",
	}
	r := rand.New(rand.NewPCG(7, 7))
	for i := range 40 {
		l := parse(t, texts[i%len(texts)])
		at := l
		for range 1 + i%2 {
			edits := at.Edits()
			if len(edits) < 8 {
				t.Fatalf("%v has %d edits", at, len(edits))
			}
			at = edits[r.IntN(len(edits))].Link
		}
		got, ok, err := l.Realise(at.Features(), 3)
		if err != nil || !ok {
			t.Errorf("no edits of %v have the features of %v: %v", l, at, err)
			continue
		}
		if have := got.Link.Features(); !maps.Equal(have, at.Features()) {
			t.Errorf("%v, by %q, has the features %v, want %v", got.Link, got.Edits, have, at.Features())
		}
	}
	l := parse(t, texts[0])
	for name, c := range map[string]struct {
		want   map[string]float64
		edited string
	}{
		"no hyphen":      {map[string]float64{"nb_hyphens": 0, "nb_dots": 3}, "no hyphens in the path"},
		"encrypted":      {map[string]float64{"https_token": 0}, "encrypted"},
		"longer":         {map[string]float64{"nb_slash": 5, "length_words_raw": 9}, "a path longer by a word of 1 letters"},
		"no points less": {map[string]float64{"nb_dots": 0}, ""},
	} {
		got, ok, err := l.Realise(c.want, 2)
		if err != nil || ok != (c.edited != "") || ok && !slices.Equal(got.Edits, []string{c.edited}) {
			t.Errorf("%s: %v, %v, %v", name, got, ok, err)
		}
	}
	if _, _, err := l.Realise(map[string]float64{"page_rank": 3}, 1); err == nil || !strings.Contains(err.Error(), `"page_rank"`) {
		t.Errorf("error %v", err)
	}
}

// Whatever somebody types, it is a link whose features are finite and which prints as none, or it is refused.
func FuzzLink(f *testing.F) {
	for _, s := range []string{"http://a.b/c", "https://[::1]:80/x", "hxxp://a[.]b", "http://@:/?#", "http://xn--a.b//c//d",
		"http://.", "http://a.b/\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := scenario.ParseLink(s)
		if err != nil {
			return
		}
		for name, v := range l.Features() {
			if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
				t.Fatalf("%q: %s is %g", s, name, v)
			}
		}
		if out := strings.ToLower(l.String()); strings.Contains(out, "http://") || strings.Contains(out, "https://") {
			t.Fatalf("%q is printed as %s", s, out)
		}
		for _, e := range l.Edits() {
			if _, err := scenario.ParseLink(e.Link.Raw()); err != nil {
				t.Fatalf("%q, %s: %v", s, e.Name, err)
			}
		}
	})
}
