package dataset

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/backend"
)

// read reads a text, which is a file's.
func read(t *testing.T, f TableFile, text string) *Table {
	t.Helper()
	table, err := f.Read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func cells(t *Table) (rows [][]string) {
	for i := range t.Len() {
		var row []string
		for j := range t.Columns {
			row = append(row, t.Columns[j].text(i))
		}
		rows = append(rows, row)
	}
	return rows
}

// The same table in all the ways in which people write it.
func TestTableFile(t *testing.T) {
	want := [][]string{{"1.5", "a,b", "7"}, {"", "c", "-2"}, {"-0.25", "", "0"}}
	plain := "size,name,count\n1.5,\"a,b\",7\n,c,-2\n-0.25,,0\n"
	packed := &bytes.Buffer{}
	z := gzip.NewWriter(packed)
	_, _ = z.Write([]byte(plain))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		file TableFile
		text string
	}{
		"plain":         {TableFile{}, plain},
		"CRLF":          {TableFile{}, strings.ReplaceAll(plain, "\n", "\r\n")},
		"byte order":    {TableFile{}, "\xef\xbb\xbf" + plain},
		"gzip":          {TableFile{}, packed.String()},
		"no last line":  {TableFile{}, strings.TrimSuffix(plain, "\n")},
		"spaces":        {TableFile{}, " size , name,count \n 1.5,\"a,b\", 7\n , c,-2\n-0.25, ,0\n"},
		"semicolons":    {TableFile{DecimalComma: true}, "size;name;count\n1,5;a,b;7\n;c;-2\n-0,25;;0\n"},
		"tabs":          {TableFile{}, "size\tname\tcount\n1.5\ta,b\t7\nNaN\tc\t-2\n-0.25\t?\t0\n"},
		"bars, missing": {TableFile{Missing: []string{"none"}}, "size|name|count\n1.5|a,b|7\nnone|c|-2\n-0.25|none|0\n"},
		"no header": {TableFile{NoHeader: true, Names: []string{"size", "name", "count"}}, strings.TrimPrefix(plain,
			"size,name,count\n")},
		"ARFF": {TableFile{}, "% a comment\n@RELATION r\n\n@attribute size numeric\n@ATTRIBUTE 'name' {'a,b',c}\n" +
			"@attribute count integer % n\n@DATA\n1.5,'a,b',7\n% between\n?, c ,-2\n-0.25,?,0\n"},
		"ARFF, sparse": {TableFile{}, "@relation r\n@attribute size real\n@attribute name {c,'a,b'}\n@attribute count integer\n" +
			"@data\n{0 1.5, 1 'a,b', 2 7}\n{0 ?,2 -2}\n{0 -0.25, 1 ?}\n"},
		"rows left out":  {TableFile{Skip: true}, plain + "1,2\nx,c,3\n4,\"c\"c,4\n"},
		"ignored column": {TableFile{Ignore: []string{"when"}}, "size,when,name,count\n1.5,x,\"a,b\",7\n,2,c,-2\n-0.25,\"\n\",,0\n"},
	} {
		table := read(t, c.file, c.text)
		if got := cells(table); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
		if kinds := []Kind{table.Columns[0].Kind, table.Columns[1].Kind, table.Columns[2].Kind}; !slices.Equal(kinds, []Kind{Number,
			Category, Whole}) ||
			!slices.Equal(table.Names(), []string{"size", "name", "count"}) {
			t.Errorf("%s: columns %q of kinds %v", name, table.Names(), kinds)
		}
		if skipped := len(table.Notes) == 1 && strings.Contains(table.Notes[0],
			"3 rows could not be read"); skipped != (name == "rows left out") {
			t.Errorf("%s: notes %q", name, table.Notes)
		}
	}
}

// What cannot be read says where, and what to do.
func TestTableFileRefuses(t *testing.T) {
	packed := &bytes.Buffer{}
	z := gzip.NewWriter(packed)
	for i := range 5000 {
		fmt.Fprintf(z, "%d,%d\n", i, rand.New(rand.NewPCG(1, uint64(i))).Uint32())
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		file TableFile
		text string
		want string
	}{
		{TableFile{}, "", "it is empty"},
		{TableFile{}, "a,b\n", "a header and no rows"},
		{TableFile{}, "a,b\n1,2\n3\n", "line 3: it has 1 cells, and there are 2 columns"},
		{TableFile{}, "a,b\n1,2\n3,x\n", `line 3, column 2 ("b"): "x" is not a number, as the 1 cells before it are`},
		{TableFile{}, "a,b\n1,\"x\ny\"\n3,\"x\n", "line 4: a cell in quotes has not ended by line"},
		{TableFile{}, "a,b\n1,2\n3,4\"5\"\n", "line 3: character 4: bare"},
		{TableFile{}, "a,b,a\n1,2,3\n", `line 1: the columns 1 and 3 are both called "a"`},
		{TableFile{Ignore: []string{"c"}}, "a,b\n1,2\n", `there is no column "c", which Ignore names`},
		{TableFile{Names: []string{"x"}}, "a,b\n1,2\n", "it has 2 columns, and Names are 1"},
		{TableFile{Kinds: map[string]Kind{"a": Whole}}, "a,b\n1.5,2\n", `line 2, column 1 ("a"): "1.5" is no whole number`},
		{TableFile{Categories: map[string][]string{"a": {"x", "y"}}}, "a,b\nz,2\n", `"z" is none of its categories "x", "y"`},
		{TableFile{}, "a,b\n1e39,2\n", "does not fit float32"},
		{TableFile{}, "a,b\n0x10,2\n1,2\n0x10,3\n", ""},
		{TableFile{}, "\xff\xfea\x00", "UTF-16"},
		{TableFile{NoHeader: true}, packed.String()[:packed.Len()/2], "unexpected EOF"},
		{TableFile{Skip: true}, "a,b\n1\n2\n", "none of its 2 rows can be read; the first: line 2"},
		{TableFile{}, "@relation r\n@attribute a numeric\n", "no line @data"},
		{TableFile{}, "@relation r\n@attribute a widget\n@data\n1\n", `line 2: @attribute "a" has the type "widget"`},
		{TableFile{}, "@relation r\n@attribute a {x,y}\n@data\nx\nz\n", `line 5, column 1 ("a"): "z" is none of its categories`},
		{TableFile{}, "@relation r\n@attribute a {x,y}\n@data\n'x\n", "line 4: a quote ' is not closed"},
		{TableFile{}, "@relation r\n@attribute a {x,x}\n@data\nx\n", "twice"},
		{TableFile{}, "@relation r\n@attribute a numeric\n@data\n{7 1}\n", "names no column from 0 to 0"},
		{TableFile{}, "@relation r\nsomething\n", `line 2: "something" stands before @data`},
	} {
		_, err := c.file.Read(strings.NewReader(c.text))
		if c.want == "" {
			if err != nil {
				t.Errorf("%.60q: %v", c.text, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60q: error %v does not say %q", c.text, err, c.want)
		}
	}
	table := read(t, TableFile{RenameDuplicates: true}, "a,b,a,a.1\n1,2,3,4\n")
	if got := table.Names(); !slices.Equal(got, []string{"a", "b", "a.1", "a.1.1"}) {
		t.Errorf("renamed to %q", got)
	}
}

// What is written is read back, whatever the texts.
func TestTableIsWritten(t *testing.T) {
	texts := []string{"plain", "with, comma", "it's", `"quoted"`, "back\\slash", "new\nline", "?", "{brace}",
		"% percent", "tab\there", "@data", "NaN", "é"}
	table := &Table{Name: "a relation's name", Columns: []Column{
		{Name: "number of 'it'", Kind: Number}, {Name: "whole", Kind: Whole}, {Name: "text", Kind: Category, Categories: texts},
	}}
	for i := range texts {
		table.Lines = append(table.Lines, int32(i))
		table.Columns[0].Numbers = append(table.Columns[0].Numbers, []float32{0.1, -3e-30, 16777216, float32(math.NaN()), 123.456}[i%5])
		table.Columns[1].Numbers = append(table.Columns[1].Numbers, float32(i*1000-5))
		table.Columns[2].Codes = append(table.Columns[2].Codes, int32(i)-int32(i%7/6))
	}
	for name, write := range map[string]func(b *bytes.Buffer) error{
		"CSV":  func(b *bytes.Buffer) error { return table.WriteCSV(b) },
		"ARFF": func(b *bytes.Buffer) error { return table.WriteARFF(b) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		back := read(t, TableFile{Missing: []string{"?"}, Categories: map[string][]string{"text": texts}}, b.String())
		if !reflect.DeepEqual(cells(back), cells(table)) {
			t.Errorf("%s: %q is read as %q", name, cells(table), cells(back))
		}
	}
}

// rows are training rows, test rows with what training has not seen, and how they are to be taken.
func schemaOf(t *testing.T, f Features) (*Schema, *Table) {
	t.Helper()
	train := read(t, TableFile{Categories: map[string][]string{"flag": {"S", "R", "never"}}},
		"bytes,proto,flag,one,share,class\n0,tcp,S,x,0.5,good\n10,udp,R,x,0.25,bad\n1000,tcp,S,x,,good\n4,tcp,S,x,0.75,bad\n")
	f.Label = "class"
	s, err := f.Learn(train)
	if err != nil {
		t.Fatal(err)
	}
	return s, train
}

func TestSchema(t *testing.T) {
	s, train := schemaOf(t, Features{Missing: Fill, Log: []string{"bytes"}, Unseen: Skip})
	e, err := s.Examples(train)
	if err != nil {
		t.Fatal(err)
	}
	want := []float32{ // bytes, tcp, udp, S, R, never, one, share
		0, 1, 0, 1, 0, 0, 0, 0.5,
		10, 0, 1, 0, 1, 0, 0, 0.25,
		1000, 1, 0, 1, 0, 0, 0, 0.5,
		4, 1, 0, 1, 0, 0, 0, 0.75,
	}
	if got := tensors.MustCopyFlatData[float32](e.X); !slices.Equal(got, want) || !slices.Equal(e.Y, []int32{1, 0, 1, 0}) ||
		!slices.Equal(e.Index, []int64{2, 3, 4, 5}) || !slices.Equal(e.Classes, []string{"bad", "good"}) {
		t.Fatalf("inputs %v, labels %v, lines %v, classes %q", got, e.Y, e.Index, e.Classes)
	}
	if len(e.Notes) != 1 || !strings.Contains(e.Notes[0], `1 rows missing in the column "share" and filled in; the first: line 4`) {
		t.Errorf("notes %q", e.Notes)
	}
	if got := s.Record(want[8:16]); !slices.Equal(got, []string{"10", "udp", "R", "x", "0.25"}) {
		t.Errorf("the record is %q", got)
	}
	back, err := s.Table("back", want, e.Y, e.Index)
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.Examples(back)
	if err != nil || again.Hash() != e.Hash() {
		t.Errorf("written and read again: %v, %v", cells(back), err)
	}
	d, err := s.Domain(e)
	if err != nil {
		t.Fatal(err)
	}
	wantDomain := advlib.Domain{{Name: "bytes", Hi: 1000, Step: 1, Scale: 1000}, {Name: "proto", OneHot: 2}, {Name: "flag", OneHot: 3},
		{Name: "one", Hi: 1, Change: advlib.Fixed}, {Name: "share", Lo: 0.25, Hi: 0.75, Scale: 0.5}}
	if !slices.Equal(d, wantDomain) {
		t.Errorf("domain %+v", d)
	}
	if err := e.Check(advlib.Spec{Name: "c", Input: []int{8}, Domain: d}, 2); err != nil {
		t.Error(err)
	}
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	out, err := graph.CallOnce(b, func(x *graph.Node) *graph.Node { return s.Normalize(x) }, e.X)
	if err != nil {
		t.Fatal(err)
	}
	z := tensors.MustCopyFlatData[float32](out)
	for i, w := range []float64{math.Log(11) / math.Log(1001), 0, 1, 0, 1, 0, 0, 0} {
		if math.Abs(float64(z[8+i])-w) > 1e-6 {
			t.Errorf("coordinate %d is normalised to %g, want %g", i, z[8+i], w)
		}
	}
}

// What test rows have that training has not is named, or counted; nothing of it is learned.
func TestSchemaIsOfTrainingAlone(t *testing.T) {
	refuse, _ := schemaOf(t, Features{})
	skip, _ := schemaOf(t, Features{Missing: Skip, Unseen: Skip})
	for _, c := range []struct{ text, want, note string }{
		{"bytes,proto,flag,one,class\n1,tcp,S,x,good\n", `the column "share" is missing`, ""},
		{"bytes,proto,flag,one,share\n1,tcp,S,x,0.5\n", `the column "class" is missing`, ""},
		{"bytes,proto,flag,one,share,class\ntcp,tcp,S,x,0.5,good\n", `the column "bytes" is of kind category, and was of kind whole`, ""},
		{"bytes,proto,flag,one,share,class\n1,tcp,S,x,0.5,good\n1,icmp,S,x,0.5,good\n",
			`line 3, column "proto": the category "icmp" is none of those in training: "tcp", "udp"`, "1 rows left out, of a category"},
		{"bytes,proto,flag,one,share,class\n1,tcp,S,x,0.5,good\n1,tcp,S,x,NaN,good\n",
			`line 3, column "share": the value is missing`, "1 rows left out, without a value"},
		{"bytes,proto,flag,one,share,class\n1,tcp,S,x,Infinity,good\n1,tcp,S,x,0.5,good\n",
			`line 2, column "share": the value is +Inf`, "1 rows left out, without a value"},
		{"bytes,proto,flag,one,share,class\n1,tcp,S,x,0.5,good\n1,tcp,S,x,0.5,ugly\n",
			`line 3, column "class": the class "ugly" is none of "bad", "good"`,
			"1 rows left out, of an unknown class"},
	} {
		table := read(t, TableFile{}, c.text)
		if _, err := refuse.Examples(table); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v does not say %s", err, c.want)
		}
		e, err := skip.Examples(table)
		if c.note == "" {
			if err == nil {
				t.Errorf("%q: no error where a column is missing", c.text)
			}
		} else if err != nil || e.Len() != 1 || len(e.Notes) != 1 || !strings.Contains(e.Notes[0], c.note) {
			t.Errorf("%q: %v, %v", c.text, e, err)
		}
	}
	// Of one file, split, the categories and the range of the test rows are not learned.
	train, test := read(t, TableFile{}, "a,b,y\n1,x,0\n2,x,1\n9,z,0\n").Split(3)
	s, err := Features{Label: "y"}.Learn(read(t, TableFile{Kinds: map[string]Kind{"y": Category}}, "a,b,y\n1,x,0\n2,w,1\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Examples(test); err == nil || !strings.Contains(err.Error(), `the category "z" is none`) {
		t.Errorf("error %v", err)
	}
	own, err := Features{Label: "y", Missing: Fill}.Learn(train)
	if err != nil {
		t.Fatal(err)
	}
	if f := own.Features; f[0].Hi != 2 || !slices.Equal(f[1].Categories, []string{"x"}) {
		t.Errorf("learned %+v from rows that hold 1, 2 and x", f)
	}
	for want, f := range map[string]Features{
		`there is no column "q"`:       {Label: "q"},
		`must be at least 2`:           {Label: "b"},
		`which has no logarithm`:       {Label: "y", Log: []string{"b"}},
		`no columns but the label`:     {Label: "y", Ignore: []string{"a", "b"}},
		`no policy 7 for missing`:      {Label: "y", Missing: 7},
		`no fill for unseen`:           {Label: "y", Unseen: Fill},
		`goes down to -3, and log(1 +`: {Label: "y", Log: []string{"a"}},
	} {
		rows := train
		if f.Log != nil {
			rows = read(t, TableFile{}, "a,b,y\n-3,x,0\n2,x,1\n")
		}
		if _, err := f.Learn(rows); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v does not say %s", f, err, want)
		}
	}
}

// nslRows writes rows in NSL-KDD's form, drawn at random.
func nslRows(b *bytes.Buffer, n int) {
	r := rand.New(rand.NewPCG(4, 1))
	attacks := []string{"normal", "neptune", "satan", "guess_passwd", "rootkit"}
	for range n {
		fmt.Fprintf(b, "%d,%s,%s,%s,%d,%d", r.IntN(100), nslCategories["protocol_type"][r.IntN(3)], nslCategories["service"][r.IntN(70)],
			nslCategories["flag"][r.IntN(11)], r.IntN(1<<20), r.IntN(1<<20))
		for j := 6; j < 41; j++ {
			if strings.HasSuffix(nslColumns[j], "_rate") {
				fmt.Fprintf(b, ",%.2f", r.Float64())
			} else {
				fmt.Fprintf(b, ",%d", r.IntN(256))
			}
		}
		fmt.Fprintf(b, ",%s,%d\n", attacks[r.IntN(len(attacks))], r.IntN(22))
	}
}

// A large file is read in memory of at most four times that of its data, 41 float32 for each row. It has 10⁶ rows with
// ADVLAB_FULL=1, else 5·10⁴.
func TestLargeTable(t *testing.T) {
	n := 50_000
	if os.Getenv("ADVLAB_FULL") != "" {
		n = 1_000_000
	}
	path := filepath.Join(t.TempDir(), "KDDTrain+.txt")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for left := n; left > 0; left -= 10_000 {
		b.Reset()
		nslRows(&b, min(left, 10_000))
		if _, err := file.Write(b.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	b = bytes.Buffer{}
	var peak atomic.Uint64
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse
	}
	runtime.GC()
	before := heap()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			peak.Store(max(peak.Load(), heap()))
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	start := time.Now()
	table, err := NSLKDD(path)
	elapsed := time.Since(start)
	peak.Store(max(peak.Load(), heap()))
	close(stop)
	<-done
	if err != nil {
		t.Fatal(err)
	}
	if table.Len() != n || len(table.Columns) != 43 {
		t.Fatalf("%v", table)
	}
	data := uint64(n) * 41 * 4
	used := peak.Load() - before
	t.Logf("%v in %v: %d MB at most, %.2f times the data's %d MB", table, elapsed.Round(time.Millisecond), used>>20,
		float64(used)/float64(data), data>>20)
	// What reading takes besides its columns, some MB, is not small beside a small table.
	if limit := 4*data + 8<<20; used > limit {
		t.Errorf("it took %d MB, at most %d", used>>20, limit>>20)
	}
}

// NSL-KDD without a header and with one, and KDD Cup 99, are the same.
func TestNSLKDDForms(t *testing.T) {
	var b bytes.Buffer
	nslRows(&b, 50)
	plain := b.String()
	headed := strings.Replace(strings.Join(nslColumns, ","), "land", "1", 1) + "\n" + plain
	var kdd strings.Builder
	for line := range strings.Lines(plain) {
		kdd.WriteString(line[:strings.LastIndex(line, ",")] + ".\n")
	}
	var hashes []string
	for _, text := range []string{plain, headed, kdd.String()} {
		table, err := nslKDD("KDDTest+.txt", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		f := NSLKDDFeatures()
		if len(table.Columns) == 42 {
			f.Ignore = nil
		}
		s, err := f.Learn(table)
		if err != nil {
			t.Fatal(err)
		}
		e, err := s.Examples(table)
		if err != nil {
			t.Fatal(err)
		}
		e.Index = nil
		hashes = append(hashes, e.Hash())
		if got := s.Coordinates(); got != 38+3+70+11 {
			t.Errorf("%d coordinates", got)
		}
	}
	if hashes[0] != hashes[1] || hashes[0] != hashes[2] {
		t.Errorf("three forms of the same rows have the hashes %q", hashes)
	}
	for attack, want := range map[string]string{"normal.": "normal", "5": "normal", "neptune": "dos", "4": "probe", "worm": "dos",
		"httptunnel": "u2r", "new": ""} {
		if got := NSLKDDGroup(attack); got != want {
			t.Errorf("%s is of the group %q, want %q", attack, got, want)
		}
	}
}

// Flows as CICFlowMeter writes them: blanks before names, a column twice, rates that are infinite.
func TestCICFlows(t *testing.T) {
	text := "Flow ID, Source IP, Flow Duration, Fwd Header Length, Flow Bytes/s, Fwd Header Length, Label\n" +
		"1-2,10.0.0.1,191,64,1319371.728,64,BENIGN\n3-4,10.0.0.2,0,32,Infinity,32,Bot\n5-6,10.0.0.3,7,20,NaN,20,Bot\n" +
		"7-8,10.0.0.3,7,20,3.5,20,Bot\n"
	table, err := cicFlows("monday.csv", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"Flow Duration", "Fwd Header Length", "Flow Bytes/s", "Fwd Header Length.1",
		"Label"}; !slices.Equal(table.Names(), want) {
		t.Fatalf("columns %q", table.Names())
	}
	s, err := Features{Label: "Label", Missing: Skip}.Learn(table)
	if err != nil {
		t.Fatal(err)
	}
	e, err := s.Examples(table)
	if err != nil || e.Len() != 2 || !strings.Contains(e.Notes[0],
		`2 rows left out, without a value; the first: line 3, column "Flow Bytes/s": the value is +Inf`) {
		t.Errorf("%v: %v, %q", err, e, e.Notes)
	}
	if _, err := cicFlows("x", strings.NewReader("a,b\n1,2\n")); err == nil || !strings.Contains(err.Error(), `no column "Label"`) {
		t.Errorf("error %v", err)
	}
}

// shared returns the path of a file of real data beside the checkout.
func shared(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join("..", "..", "..", "shared", "data", name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no %s beside the checkout", path)
	}
	return path
}

// The real files, where they are.
func TestRealTables(t *testing.T) {
	train, err := NSLKDD(shared(t, "nsl-kdd-train20.csv.gz"))
	if err != nil {
		t.Fatal(err)
	}
	test, err := NSLKDD(shared(t, "nsl-kdd-test.csv.gz"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := NSLKDDFeatures().Learn(train)
	if err != nil {
		t.Fatal(err)
	}
	for table, rows := range map[*Table]int{train: 25192, test: 22544} {
		e, err := s.Examples(table)
		if err != nil || e.Len() != rows {
			t.Errorf("%v: %v", table, err)
		}
	}
	count := map[string]int{}
	for i := range train.Len() {
		count[NSLKDDGroup(train.Cell(i, "attack_type"))]++
	}
	if want := map[string]int{"dos": 9234, "u2r": 11, "r2l": 209, "probe": 2289, "normal": 13449}; !reflect.DeepEqual(count, want) {
		t.Errorf("attacks %v", count)
	}
	flows, err := CICFlows(shared(t, "cicids2017-cut.csv.gz"))
	if err != nil || flows.Len() != 5292 || len(flows.Columns) != 78 {
		t.Errorf("%v, %v", flows, err)
	}
	for _, f := range []TableFile{
		{Path: shared(t, "phishing-pages.csv.gz"), Kinds: map[string]Kind{"phishing": Category}},
		{Path: shared(t, "phishing-urls.csv.gz"), Kinds: map[string]Kind{"phishing": Category}},
		{Path: shared(t, "phishing-websites.arff.gz"), NoHeader: true},
	} {
		table, err := f.Table()
		if err != nil {
			t.Error(err)
			continue
		}
		t.Log(table, table.Notes)
	}
}

// Whatever a file holds, it is read or refused; what was read is written and read again as the same.
func FuzzTableFile(f *testing.F) {
	for _, text := range []string{
		"a,b\n1,x\n2.5,\"y\n\"\n", "a;b\n1,5;?\n", "\xef\xbb\xbfa\tb\r\n1\t2\r\n",
		"@relation r\n@attribute 'a b' {x,'y,z'}\n@attribute b real\n@data\nx,1\n{0 'y,z',1 2}\n?,?\n",
		"@attribute a {\n@data\n{", "\"", "a\n1e400\n-Inf\n0x1p5\n", "a,a\n1,2\n", "a,b\n1,\n,2\n",
	} {
		f.Add(text, false)
		f.Add(text, true)
	}
	f.Fuzz(func(t *testing.T, text string, lenient bool) {
		file := TableFile{Skip: lenient, RenameDuplicates: lenient, DecimalComma: lenient}
		table, err := file.Read(strings.NewReader(text))
		if err != nil {
			return
		}
		for i := range table.Columns {
			if c := &table.Columns[i]; len(c.Numbers)+len(c.Codes) != table.Len() {
				t.Fatalf("column %q has %d numbers and %d codes, the table %d rows", c.Name, len(c.Numbers), len(c.Codes), table.Len())
			}
		}
		back := TableFile{Missing: []string{"?"}, Kinds: map[string]Kind{}, Categories: map[string][]string{}}
		for i := range table.Columns {
			c := &table.Columns[i]
			if back.Kinds[c.Name] = c.Kind; c.Kind == Category && len(c.Categories) > 0 {
				back.Categories[c.Name] = c.Categories
			}
		}
		var b bytes.Buffer
		if err := table.WriteARFF(&b); err != nil {
			t.Fatal(err)
		}
		again, err := back.Read(&b)
		if err != nil {
			t.Fatalf("%q was read, and written as something that is not: %v", text, err)
		}
		if !reflect.DeepEqual(cells(table), cells(again)) {
			t.Fatalf("%q is read as %q, and then as %q", text, cells(table), cells(again))
		}
	})
}
