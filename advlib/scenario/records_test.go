package scenario_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/backend"
	"advlab/advlib/dataset"
	"advlab/advlib/defense"
	"advlab/advlib/detect"
	"advlab/advlib/endpoint"
	"advlab/advlib/oracle"
	"advlab/advlib/scenario"
	"advlab/advlib/serve"
	"advlab/advlib/training"
	"advlab/advlib/zoo"
)

func full() bool { return os.Getenv("ADVLAB_FULL") != "" }

// lab is a threat with a model to attack, and the file in which the originals are.
type lab struct {
	name        string // that of the validator
	records     *scenario.Records
	train, test *advlib.Examples
	clf         *advlib.Classifier
	file        string // empty: text is what it would hold
	text        []byte
	kind        func(line int64) string
	links       map[int64]scenario.Link // by line
}

// learn makes the records of tables, and trains a network on them.
func (l *lab) learn(t *testing.T, threat scenario.Threat, f dataset.Features, trained, tested *dataset.Table, epochs int, hidden ...int) {
	t.Helper()
	l.records = threat.MustLearn(f, trained, tested)
	l.train, l.test = l.records.MustExamples(trained), l.records.MustExamples(tested)
	t.Logf("%d rows to train on, %d of %d to test; %v; %q", l.train.Len(), l.test.Len(), tested.Len(), l.records.Domain, l.test.Notes)
	l.clf = train(t, l.records, l.train, epochs, hidden...)
}

// clean asks for an accuracy: no attack on a model without it says anything.
func (l *lab) clean(t *testing.T, least float64) {
	t.Helper()
	got := accuracy(t, l.clf, l.test)
	if t.Logf("%s: clean %.4f on %d", l.name, got, l.test.Len()); got < least {
		t.Errorf("%s: the model is right on %.4f of the test, at least %.2f is asked for", l.name, got, least)
	}
}

// opened is the Go backend, which need not compile for such small models.
func opened(t testing.TB) (m training.Model) {
	t.Helper()
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	return training.Model{Backend: b, BatchSize: 64, LearningRate: 0.003}
}

// train trains a small network on records.
func train(t testing.TB, r *scenario.Records, e *advlib.Examples, epochs int, hidden ...int) *advlib.Classifier {
	t.Helper()
	m := zoo.MLP(hidden...)
	o := opened(t)
	m.Build, m.Domain, m.Epochs = r.On(m.Build), r.Domain, epochs
	m.Backend, m.BatchSize, m.LearningRate = o.Backend, o.BatchSize, o.LearningRate
	return m.MustFit(context.Background(), e)
}

// accuracy is the share of right answers.
func accuracy(t testing.TB, v advlib.Victim, e *advlib.Examples) float64 {
	t.Helper()
	said, err := v.Query(context.Background(), e.X)
	if err != nil {
		t.Fatal(err)
	}
	right := 0
	for i, a := range said {
		if a.Class() == e.Y[i] {
			right++
		}
	}
	return float64(right) / float64(len(said))
}

// synthetic are the three threats on synthetic sets, made once.
var synthetic = sync.OnceValue(func() map[string]*lab { return map[string]*lab{} })

func syntheticLab(t *testing.T, name string) *lab {
	t.Helper()
	all := synthetic()
	if l := all[name]; l != nil {
		return l
	}
	l := &lab{name: name}
	var table *dataset.Table
	var threat scenario.Threat
	var f dataset.Features
	switch name {
	case "intrusion":
		table, threat, f = scenario.SyntheticConnections(1500, 1), scenario.Intrusion(), dataset.NSLKDDFeatures()
	case "websites":
		table, threat, f = scenario.SyntheticWebsites(1500, 1), scenario.Websites(), dataset.PhishingWebsitesFeatures()
	case "pages":
		var links []scenario.Link
		table, links = scenario.SyntheticPages(1500, 1)
		l.links = map[int64]scenario.Link{}
		for i, link := range links {
			l.links[int64(table.Lines[i])] = link
		}
		threat, f = scenario.Pages(), dataset.PhishingPagesFeatures()
	}
	var b bytes.Buffer
	if err := table.WriteCSV(&b); err != nil {
		t.Fatal(err)
	}
	text := b.Bytes()
	if name != "pages" { // the real files have no header
		text = text[bytes.IndexByte(text, '\n')+1:]
	}
	l.text = text
	trained, tested := table.Split(3)
	l.learn(t, threat, f, trained, tested, 20, 16)
	if name == "intrusion" {
		l.kind = scenario.Kinds(tested, "attack_type", dataset.NSLKDDGroup)
	}
	all[name] = l
	return l
}

// attacked attacks malicious records, and says what came of it.
func (l *lab) attacked(t *testing.T, v advlib.Victim, n int, a advlib.Attack) *scenario.Outcome {
	t.Helper()
	on := scenario.Malicious(l.test, 1, n, l.kind)
	res, err := advlib.Run(t.Context(), v, on, a)
	if err != nil {
		t.Fatal(err)
	}
	o, err := l.records.Outcome(res, l.kind)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%v", o)
	return o
}

// validate runs the validator, which shares nothing with this code, on what an outcome exports, in both forms.
func (l *lab) validate(t *testing.T, o *scenario.Outcome) {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Log("no python3: the independent validator is not run")
		return
	}
	table, err := o.Table(true)
	if err != nil {
		t.Fatal(err)
	}
	if table.Len() == 0 {
		t.Fatal("the attack made no record to pass: nothing is validated")
	}
	for form, write := range map[string]func(b *bytes.Buffer) error{
		"csv":  func(b *bytes.Buffer) error { return table.WriteCSV(b) },
		"arff": func(b *bytes.Buffer) error { return table.WriteARFF(b) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		said, valid := runValidator(t, python, l, b.Bytes(), form)
		t.Logf("%s, %s: %s", l.name, form, said)
		if want := fmt.Sprintf("%d of %d records are valid", table.Len(), table.Len()); !valid || said != want {
			t.Errorf("%s, %s: %s, want %s", l.name, form, said, want)
		}
		if form == "csv" {
			l.planted(t, python, table)
		}
	}
}

func runValidator(t *testing.T, python string, l *lab, text []byte, form string) (said string, valid bool) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "adversarial."+form)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	originals := l.file
	if originals == "" {
		originals = filepath.Join(t.TempDir(), "originals.csv")
		if err := os.WriteFile(originals, l.text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command(python, filepath.Join("testdata", "validate.py"), l.name, originals, path).CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out)), err == nil
}

// planted changes single cells of valid records: the validator must find each.
func (l *lab) planted(t *testing.T, python string, table *dataset.Table) {
	t.Helper()
	for _, column := range map[string][]string{
		"intrusion": {"serror_rate", "count", "dst_host_rerror_rate", "src_bytes", "land", "hot", "more_same"},
		"websites":  {"SSLfinal_State", "Iframe", "Page_Rank"},
		"pages":     {"ratio_intHyperlinks", "ratio_extMedia", "page_rank", "domain_in_title", "nb_dots", "more_outer_links"},
	}[l.name] {
		c := table.Column(column)
		was := c.Numbers[0]
		c.Numbers[0] += 0.5
		if c.Kind == dataset.Number {
			c.Numbers[0] = math.Nextafter32(was, 2) // by the last bit
			if strings.HasPrefix(column, "more_") || was == 0 {
				c.Numbers[0] = was + 0.25
			}
		}
		var b bytes.Buffer
		if err := table.WriteCSV(&b); err != nil {
			t.Fatal(err)
		}
		c.Numbers[0] = was
		if said, valid := runValidator(t, python, l, b.Bytes(), "csv"); valid || !strings.Contains(said, column) {
			t.Errorf("%s: a record whose %s was changed passes the validator: %s", l.name, column, said)
		}
	}
}

// Adversarial records of all three threats, by gradients, by scores, and by labels through an endpoint, could exist: an
// independent validator says so of each.
func TestRecordsAreValid(t *testing.T) {
	for name, balls := range map[string][]advlib.Ball{
		"intrusion": {advlib.Linf.Ball(100)}, "websites": {advlib.L0.Ball(3), advlib.L1.Ball(4)}, "pages": {advlib.Linf.Ball(3)},
	} {
		t.Run(name, func(t *testing.T) {
			l := syntheticLab(t, name)
			l.clean(t, 0.9)
			ball := balls[0]
			white := advlib.Attack(attack.PGD{Ball: ball, Steps: 30})
			scores := advlib.Attack(attack.Square{Ball: ball, Queries: 200})
			if ball.Norm == advlib.L0 {
				white, scores = attack.FMN{Norm: advlib.L1, Steps: 40}, attack.SparseRS{Ball: ball, Queries: 200}
			}
			gradient := l.attacked(t, l.clf, 25, white)
			l.validate(t, gradient)
			l.validate(t, l.attacked(t, oracle.Probabilities(l.clf), 25, scores))
			if diffs := gradient.Diffs(); len(diffs) > 0 {
				t.Logf("\n%v", diffs[0])
			}
			// A service takes records alone, and tells labels.
			running := serve.MustLocal(oracle.Labels(l.records.Bare(l.clf)), serve.Options{})
			defer running.Close()
			sig := l.records.Bare(l.clf).Signature()
			e, err := endpoint.Open(t.Context(), endpoint.Spec{URL: running.URL, Input: sig.Input, Box: sig.Box, Batch: 64})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			service, err := l.records.Behind(e)
			if err != nil {
				t.Fatal(err)
			}
			labels := advlib.Attack(attack.HopSkipJump{Norm: advlib.L2})
			if ball.Norm == advlib.L0 {
				labels = attack.Pointwise{Norm: advlib.L0}
			}
			o := l.attacked(t, oracle.Budget(service, 150), 6, labels)
			l.validate(t, o)
			if o.Evasion()[0].Queries == 0 && o.Evasion()[0].Passed.Count > 0 {
				t.Errorf("queries of the endpoint are not told: %+v", o.Evasion())
			}
		})
	}
}

// shared returns the path of a file of real data beside the checkout.
func shared(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join("..", "..", "..", "shared", "data", name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no %s beside the checkout: the data are others', and not part of the project", path)
	}
	return path
}

// rewritten edits the links of pages, then changes the pages, too. Each link that is exported, defanged, has the
// columns of its record to the last bit, and what is not the link's or the page's stays.
func (l *lab) rewritten(t *testing.T, v advlib.Victim, n int, then advlib.Attack) {
	t.Helper()
	on := scenario.Malicious(l.test, 1, n, nil)
	batch, err := l.records.RewriteAll(t.Context(), v, on, l.links, scenario.Rewriting{})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%v", batch)
	if tried := len(batch.Links); batch.Passed.Count == 0 || tried+batch.LeftOut != on.Len() || tried < on.Len()*9/10 {
		t.Errorf("%d links of %d were tried", tried, on.Len())
	}
	moved := 0
	x, y := tensors.MustCopyFlatData[float32](batch.Originals.X), tensors.MustCopyFlatData[float32](batch.Rewritten.X)
	size := l.records.Coordinates()
	for i, w := range batch.Links {
		back := parse(t, w.Link.String()) // what is printed is read as the same link
		f := back.Features()
		if len(w.Edits) > 0 {
			moved++
		}
		if got, want := back.Host(), l.links[batch.Originals.Number(i)].Host(); registered(got) != registered(want) {
			t.Errorf("line %d: the link %v is of another name than %v", batch.Originals.Number(i), back, l.links[batch.Originals.Number(i)])
		}
		for j, feature := range l.records.Domain { // pages have no categories: features are coordinates
			was, is := x[i*size+j], y[i*size+j]
			want := was
			if slices.Contains(scenario.LinkColumns, feature.Name) && len(w.Edits) > 0 {
				want = float32(f[feature.Name])
			}
			if math.Float32bits(is) != math.Float32bits(want) {
				t.Errorf("line %d: %s of %v is %g, want %g", batch.Originals.Number(i), feature.Name, back, is, want)
			}
		}
	}
	if moved < batch.Passed.Count {
		t.Errorf("%d of %d links were edited, and %d pass", moved, len(batch.Links), batch.Passed.Count)
	}
	if then == nil {
		return
	}
	res, err := advlib.Run(t.Context(), v, batch.Rewritten, then)
	if err != nil {
		t.Fatal(err)
	}
	o, err := l.records.Outcome(res, nil)
	if err != nil {
		t.Fatal(err)
	}
	both := o.Evasion()[0]
	t.Logf("link and page: %.1f %% of %d pass", 100*both.Share(), both.Records)
	if both.Missed < batch.Passed.Count {
		t.Errorf("%d records pass by their links, and %d before the page is changed", batch.Passed.Count, both.Missed)
	}
}

// registered are the last two labels of a host.
func registered(host string) string {
	labels := strings.Split(host, ".")
	return strings.Join(labels[max(0, len(labels)-2):], ".")
}

// A link is edited until its page passes, by scores and by labels.
func TestRewrite(t *testing.T) {
	l := syntheticLab(t, "pages")
	l.rewritten(t, l.clf, 40, attack.Square{Ball: advlib.Linf.Ball(3), Queries: 50})
	l.rewritten(t, oracle.Labels(l.clf), 20, nil)
	on := scenario.Malicious(l.test, 1, 1, nil)
	x := tensors.MustCopyFlatData[float32](on.X)
	link := l.links[on.Number(0)]
	for want, f := range map[string]func() error{
		"is it the link of this record?": func() error {
			_, err := l.records.Rewrite(t.Context(), l.clf, x, 1, parse(t, "http://a-b.example.com/x"), scenario.Rewriting{})
			return err
		},
		"3 values are no input": func() error {
			_, err := l.records.Rewrite(t.Context(), l.clf, x[:3], 1, link, scenario.Rewriting{})
			return err
		},
		"none of these is below 0": func() error {
			_, err := l.records.Rewrite(t.Context(), l.clf, x, 1, link, scenario.Rewriting{Depth: -1})
			return err
		},
	} {
		if err := f(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
}

// A monotone model lets nothing pass that it detects, whatever is added, by its weights alone; an ordinary one does.
func TestMonotone(t *testing.T) {
	l := syntheticLab(t, "intrusion")
	m := opened(t)
	m.Name, m.Build, m.Domain, m.Epochs = "monotone", l.records.Monotone(1, 16), l.records.Domain, 40
	c := m.MustFit(t.Context(), l.train)
	clean, ordinary := accuracy(t, c, l.test), accuracy(t, l.clf, l.test)
	t.Logf("clean %.3f, an ordinary model %.3f", clean, ordinary)
	if clean < 0.85 {
		t.Errorf("the monotone model is right on %.3f", clean)
	}
	ball := advlib.Linf.Ball(1e4)
	for _, a := range []advlib.Attack{attack.PGD{Ball: ball, Steps: 30}, attack.Square{Ball: ball, Queries: 100}} {
		if e := l.attacked(t, c, 15, a).Evasion(); e[len(e)-1].Passed.Count > 0 {
			t.Errorf("%d records pass a model that is monotone", e[len(e)-1].Passed.Count)
		}
	}
	if e := l.attacked(t, l.clf, 15, attack.PGD{Ball: ball, Steps: 30}).Evasion(); e[len(e)-1].Passed.Count == 0 {
		t.Error("no record passes the ordinary model, either: nothing is tested")
	}
	// At random points of the domain, too: no move makes the score smaller.
	on := scenario.Malicious(l.test, 1, 5, l.kind)
	x := tensors.MustCopyFlatData[float32](on.X)
	size, r := l.records.Coordinates(), rand.New(rand.NewPCG(3, 3))
	before, err := c.Logits(on.X)
	if err != nil {
		t.Fatal(err)
	}
	moved := 0
	for range 20 {
		y := slices.Clone(x)
		for i := range on.Len() {
			for j, b := range l.records.Threat.Behind {
				if b.Of == "" {
					y[(i+1)*size-len(l.records.Threat.Behind)+j] = float32(r.IntN(int(b.Most)))
				}
			}
		}
		points := &advlib.Examples{Name: "moved", X: tensors.FromFlatDataAndDimensions(y, on.Len(), size), Y: on.Y}
		e, err := l.records.Domain.Recompute(points)
		if err != nil {
			t.Fatal(err)
		}
		after, err := c.Logits(e.X)
		if err != nil {
			t.Fatal(err)
		}
		for i := range after {
			if moved++; after[i][1]-after[i][0] < before[i][1]-before[i][0]-1e-5 {
				t.Errorf("the score falls from %v to %v", before[i], after[i])
			}
		}
	}
	if moved < 100 {
		t.Errorf("%d points were tried", moved)
	}
}

// Adversarial training inside the domain makes fewer records pass, and says what it costs.
func TestHardenedRecords(t *testing.T) {
	l := syntheticLab(t, "intrusion")
	ball := advlib.Linf.Ball(50)
	m := opened(t)
	base := zoo.MLP(16)
	m.Name, m.Build, m.Domain, m.Epochs = "hardened", l.records.On(base.Build), l.records.Domain, 20
	hardened := defense.MustTrain(t.Context(), defense.AdversarialTraining{Ball: ball, Ascents: 5}, m, l.train)
	pgd := attack.PGD{Ball: ball, Steps: 30}
	share := func(c *advlib.Classifier) float64 {
		e := l.attacked(t, c, 20, pgd).Evasion()
		return e[len(e)-1].Share()
	}
	before, after := share(l.clf), share(hardened.Classifier)
	t.Logf("clean %.3f → %.3f; %.3f of the records pass in the end, %.3f after training", accuracy(t, l.clf, l.test),
		accuracy(t, hardened.Classifier, l.test), before, after)
	if after > before-0.15 {
		t.Errorf("%.3f of the records pass in the end, %.3f after training on such", before, after)
	}
}

// A detector of query sequences sees who asks about one page again and again, and few of those who only send their own.
// Connections are so alike that it sees little there.
func TestQueriesAreSeen(t *testing.T) {
	for name, least := range map[string]float64{"pages": 0.5, "intrusion": 0} {
		l := syntheticLab(t, name)
		detector, err := detect.KNN{K: 10, Encode: l.records.Scaled}.Fit(l.train.First(800), 0.005)
		if err != nil {
			t.Fatal(err)
		}
		watched := detect.MustGuard(oracle.Labels(l.clf), detector, detect.Reject)
		if _, err := watched.Query(t.Context(), l.test.X); err != nil {
			t.Fatal(err)
		}
		benign := watched.Report().Total()
		watched = detect.MustGuard(oracle.Labels(l.clf), detector, detect.Ban)
		hsj := attack.HopSkipJump{Norm: advlib.L2}
		free := l.attacked(t, oracle.Budget(oracle.Labels(l.clf), 150), 4, hsj).Evasion()
		seen := l.attacked(t, oracle.Budget(watched, 150), 4, hsj).Evasion()
		total := watched.Report().Total()
		t.Logf("%s: benign: %d of %d flagged; attack: %d of %d refused, the first at query %d; made to pass: %v, watched %v", name,
			benign.Flagged, benign.Queries, total.Refused, total.Queries, total.First, free[len(free)-1].Passed, seen[len(seen)-1].Passed)
		if benign.Flagged*50 > benign.Queries || float64(total.Refused) < least*float64(total.Queries) {
			t.Errorf("%s: %d of %d benign queries are flagged, %d of %d of an attack's are refused", name, benign.Flagged, benign.Queries,
				total.Refused, total.Queries)
		}
	}
}

// What makes no sense is refused before anything is computed, with the column.
func TestThreatsRefuse(t *testing.T) {
	table := scenario.SyntheticConnections(60, 2)
	f := dataset.NSLKDDFeatures()
	for want, threat := range map[string]scenario.Threat{
		`no column "bytes", which the threat has a rule for`: {Rules: []scenario.Rule{{Column: "bytes"}}},
		`no column of categories "service_x"`:                {Rules: []scenario.Rule{{Column: "count", Formula: "service_x[http]"}}},
		`there is no feature "nothing"`:                      {Behind: []scenario.Behind{{Column: "b", Of: "nothing + 1"}}},
	} {
		threat.Name = "mine"
		r, err := threat.Learn(f, table)
		if err == nil {
			_, err = r.Examples(table)
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "scenario: mine: ") {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
	// Rows whose columns do not fit together are left out, and counted.
	r := scenario.Intrusion().MustLearn(f, table)
	broken := scenario.SyntheticConnections(60, 2)
	broken.Column("serror_rate").Numbers[7] = 0.37
	broken.Column("count").Numbers[7] = 2
	e, err := r.Examples(broken)
	if err != nil || e.Len() != 59 || !strings.Contains(e.Notes[len(e.Notes)-1], `1 rows left out, whose columns do not fit together; `+
		`the first: line 8, column "serror_rate": it is 0.37, and `) {
		t.Errorf("%v: %v", err, e)
	}
	whole := r.MustExamples(table)
	if _, err := r.Behind(oracle.Func("f", advlib.Signature{Input: []int{3}, Box: advlib.UnitBox, Classes: 2, Returns: advlib.Logits},
		nil)); err == nil || !strings.Contains(err.Error(), "takes inputs of shape [3], a record") {
		t.Errorf("error %v", err)
	}
	other := &advlib.Result{Examples: &advlib.Examples{X: tensors.FromValue([][]float32{{1}}), Y: []int32{0}}}
	if _, err := r.Outcome(other, nil); err == nil ||
		!strings.Contains(err.Error(), "the result is of inputs of shape") {
		t.Errorf("error %v", err)
	}
	// The same size and seed are the same rows.
	if again := r.MustExamples(scenario.SyntheticConnections(60, 2)); again.Hash() != whole.Hash() {
		t.Error("synthetic connections of one seed differ")
	}
}

// What is exported is read back as the same records, and a diff names all that differs.
func TestOutcomeIsExported(t *testing.T) {
	l := syntheticLab(t, "intrusion")
	o := l.attacked(t, l.clf, 10, attack.PGD{Ball: advlib.Linf.Ball(100), Steps: 20})
	adversarial, err := o.Table(false)
	if err != nil {
		t.Fatal(err)
	}
	original, err := o.Originals(false)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := adversarial.WriteCSV(&b); err != nil {
		t.Fatal(err)
	}
	back, err := dataset.TableFile{Kinds: map[string]dataset.Kind{"attack_type": dataset.Category}}.Read(&b)
	if err != nil || back.Len() != adversarial.Len() || !slices.Equal(back.Names(), original.Names()) {
		t.Fatalf("%v: %v, %v", err, back, original)
	}
	diffs := o.Diffs()
	if len(diffs) != back.Len() || len(diffs) == 0 {
		t.Fatalf("%d diffs of %d records", len(diffs), back.Len())
	}
	for i, d := range diffs {
		differ := map[string]bool{}
		for _, name := range back.Names() {
			if back.Cell(i, name) != original.Cell(i, name) {
				differ[name] = true
			}
		}
		for _, m := range d.Moves {
			if behind := back.Column(m.Column) == nil; !behind && (!differ[m.Column] || back.Cell(i, m.Column) != m.To) {
				t.Errorf("line %d: %+v, exported as %q", d.Line, m, back.Cell(i, m.Column))
			}
			delete(differ, m.Column)
		}
		if len(differ) > 0 || d.Before != "attack" || d.After != "normal" || int64(back.Lines[i]) != int64(i+2) {
			t.Errorf("%v\nhas not %v", d, differ)
		}
	}
	var text strings.Builder
	if err := o.Report(&text, 100); err != nil || !strings.Contains(text.String(), "cost of a record") ||
		!strings.Contains(text.String(), "→") {
		t.Errorf("%v: %s", err, text.String())
	}
}
