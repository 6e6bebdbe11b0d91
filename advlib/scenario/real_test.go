package scenario_test

import (
	"testing"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/dataset"
	"advlab/advlib/scenario"
)

// NSL-KDD, trained on the 20 % file and tested on the test file, whose attacks it has not all seen: the accuracy is
// that of published models, .75 to .80 (Tavallaee et al. 2009, table 4 and figure 4).
func TestRealIntrusion(t *testing.T) {
	train, test := readNSLKDD(t)
	l := &lab{name: "intrusion", file: shared(t, "nsl-kdd-test.csv.gz"),
		kind: scenario.Kinds(test, "attack_type", dataset.NSLKDDGroup)}
	l.learn(t, scenario.Intrusion(), dataset.NSLKDDFeatures(), train, test, 3, 32)
	l.clean(t, 0.75)
	for _, radius := range []float64{10, 100} {
		l.validate(t, l.attacked(t, l.clf, reduced(200, 30), attack.PGD{Ball: advlib.Linf.Ball(radius), Steps: 30}))
	}
	l.validate(t, l.attacked(t, l.clf, reduced(200, 20), attack.Square{Ball: advlib.Linf.Ball(100), Queries: 200}))
}

func readNSLKDD(t *testing.T) (train, test *dataset.Table) {
	t.Helper()
	train, err := dataset.NSLKDD(shared(t, "nsl-kdd-train20.csv.gz"))
	if err != nil {
		t.Fatal(err)
	}
	test, err = dataset.NSLKDD(shared(t, "nsl-kdd-test.csv.gz"))
	if err != nil {
		t.Fatal(err)
	}
	return train, test
}

// The pages of Hannousse and Yahiouche: the page is changed, the link is, and both.
func TestRealPages(t *testing.T) {
	texts, _ := phishing(t)
	pages, err := dataset.PhishingPages(shared(t, "phishing-pages.csv.gz"))
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{name: "pages", file: shared(t, "phishing-pages.csv.gz")}
	train, test := pages.Split(5)
	l.learn(t, scenario.Pages(), dataset.PhishingPagesFeatures(), train, test, 20, 32)
	l.clean(t, 0.93)
	l.links = map[int64]scenario.Link{}
	for i, line := range texts.Lines {
		if text := texts.Cell(i, "url"); !isBlanked(text) {
			l.links[int64(line)] = parse(t, text)
		}
	}
	pgd := attack.PGD{Ball: advlib.Linf.Ball(3), Steps: 30}
	l.validate(t, l.attacked(t, l.clf, reduced(0, 60), pgd))
	l.rewritten(t, l.clf, reduced(300, 60), pgd)
}

// The websites of the UCI.
func TestRealWebsites(t *testing.T) {
	sites, err := dataset.PhishingWebsites(shared(t, "phishing-websites.arff.gz"))
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{name: "websites", file: shared(t, "phishing-websites.arff.gz")}
	train, test := sites.Split(5)
	l.learn(t, scenario.Websites(), dataset.PhishingWebsitesFeatures(), train, test, 40, 64)
	l.clean(t, 0.94)
	for _, k := range []float64{1, 2} {
		l.validate(t, l.attacked(t, l.clf, reduced(0, 60), attack.SparseRS{Ball: advlib.L0.Ball(k), Queries: 300}))
	}
	l.validate(t, l.attacked(t, l.clf, reduced(0, 60), attack.FMN{Norm: advlib.L1, Steps: 40}))
}

// reduced is n with ADVLAB_FULL=1, else fewer; 0 are all.
func reduced(n, fewer int) int {
	if full() {
		return n
	}
	return fewer
}
