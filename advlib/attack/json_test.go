package attack_test

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"advlab/advlib"
	"advlab/advlib/attack"
)

// someOf sets fields of an attack at random, to values that its table accepts.
func someOf(r *rand.Rand, v reflect.Value) {
	for i := range v.NumField() {
		f, t := v.Field(i), v.Type().Field(i)
		if !t.IsExported() || r.IntN(2) == 0 && t.Name != "Ball" && t.Name != "Norm" && t.Name != "T" {
			continue
		}
		switch to := f.Addr().Interface().(type) {
		case *advlib.Ball:
			*to = advlib.Linf.Ball(r.Float64())
		case *advlib.Norm:
			*to = advlib.L2
		case *advlib.Goal:
			*to = []advlib.Goal{advlib.Targeted(3), advlib.TargetedBy(1), advlib.TargetedEach([]int{1, 2})}[r.IntN(3)]
		case *advlib.Loss:
			*to = []advlib.Loss{advlib.CrossEntropy, advlib.Margin, advlib.DLR}[r.IntN(3)]
		case *attack.AutoAttackVersion:
			*to = attack.AutoAttackVersion(r.IntN(3))
		case *int:
			*to = 1 + r.IntN(50)
		case *float64:
			*to = r.Float64()
		case *bool:
			*to = true
		}
	}
}

// TestAttacksInJSON: what is read again is what was written, field by field and by name, for attacks whose fields are
// set at random.
func TestAttacksInJSON(t *testing.T) {
	inner := attack.FGM{Ball: advlib.Linf.Ball(8. / 255), Loss: advlib.Margin}
	alone := []advlib.Attack{
		attack.AllTargets{Attack: inner}, attack.APGD{}, attack.AutoAttack{}, attack.BIM{}, attack.CarliniWagner{}, attack.CarliniWagnerL0{},
		attack.CarliniWagnerLinf{}, attack.DDN{}, attack.DeepFool{}, attack.EAD{}, attack.EOT{Attack: inner}, attack.FAB{}, attack.FGM{},
		attack.FMN{}, attack.JSMA{}, attack.Lattice8{Attack: inner}, attack.MIFGSM{}, attack.PGD{}, attack.Repeat{Attack: inner},
		attack.SigmaZero{}, attack.Square{}, attack.Temperature{Attack: inner},
		attack.WorstOf{Attacks: []advlib.Attack{inner, attack.Repeat{Attack: inner, Times: 3}}},
	}
	r := rand.New(rand.NewPCG(1, 2))
	read := 0
	for _, a := range alone {
		for range 20 {
			v := reflect.New(reflect.TypeOf(a)).Elem()
			v.Set(reflect.ValueOf(a))
			someOf(r, v)
			want := v.Interface().(advlib.Attack)
			text, err := attack.JSON(want)
			if err != nil {
				t.Errorf("%v: %v", want, err)
				continue
			}
			got, err := attack.FromJSON(text)
			if err != nil {
				// Fields at random may contradict each other. Then the table says so, of the attack in Go too.
				if _, refused := want.Threat(nil); refused == nil {
					t.Errorf("%s: %v", text, err)
				}
				continue
			}
			read++
			if !reflect.DeepEqual(got, want) || got.String() != want.String() {
				t.Errorf("%s\nis read as %v, %+v\nwas written %v, %+v", text, got, got, want, want)
			}
		}
	}
	if all := 20 * len(alone); read < all/2 {
		t.Errorf("%d of %d attacks were read: this test compares too little", read, all)
	}
}

// TestSubjectsInJSON holds every attack of the suite to its form in JSON, so that a new one has one.
func TestSubjectsInJSON(t *testing.T) {
	for _, s := range everySubject() {
		for _, g := range []advlib.Goal{advlib.Untargeted, advlib.TargetedBy(1)} {
			want := s.New(g)
			text, err := attack.JSON(want)
			if err != nil {
				if !strings.Contains(err.Error(), "make this attack in Go") {
					t.Errorf("%v: %v", want, err)
				}
				continue
			}
			if got, err := attack.FromJSON(text); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%v is written as %s, and read as %+v, %v", want, text, got, err)
			}
		}
	}
}

// own is an attack of somebody else's.
type own struct {
	advlib.Attack
	Steps int
	Names []string
}

func TestOwnAttackInJSON(t *testing.T) {
	want := own{Attack: attack.FGM{Ball: advlib.L1.Ball(1)}, Steps: 3, Names: []string{"a", "b"}}
	text, err := attack.JSON(want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := attack.FromJSON(text, own{}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%s is read as %+v, %v; want %+v", text, got, err, want)
	}
	if _, err := attack.FromJSON(text); err == nil || !strings.Contains(err.Error(), `there is no attack "own"`) {
		t.Errorf("an attack that is not known: %v", err)
	}
}

func TestAttackInJSONIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		``:                        "EOF",
		`[]`:                      "it is no object",
		`{}`:                      `it has no "attack"`,
		`{"attack": 3}`:           `it has no "attack"`,
		`{"attack": "Universal"}`: `there is no attack "Universal" that can be read: there are APGD, AllTargets`,
		`{"attack": "PGD"}`:       "the ball is unset",
		`{"attack": "PGD"} {}`:    "more behind the object",
		`{"attack": "DeepFool"}`:  "the Norm is unset",
		`{"attack": "DDN", "Steps": 5, "Steps": 6}`:                                 `"Steps" is there twice`,
		`{"attack": "DDN", "Steps": -1}`:                                            "Steps = -1 is below 0",
		`{"attack": "DDN", "Steps": 1.5}`:                                           "Steps of DDN: json: cannot unmarshal number 1.5",
		`{"attack": "DDN", "steps": 5}`:                                             `no field "steps": it has Goal, Steps`,
		`{"attack": "PGD", "Ball": {"norm": "Linf", "radius": "8:255"}}`:            `neither a number nor a fraction`,
		`{"attack": "PGD", "Ball": {"norm": "L7", "radius": 1}}`:                    `there is no norm "L7" in JSON: there are Linf, L2`,
		`{"attack": "PGD", "Ball": {"norm": "Linf", "eps": 1}}`:                     `unknown field "eps"`,
		`{"attack": "PGD", "Ball": {"norm": "Linf", "radius": -1}}`:                 "not a finite number ≥ 0",
		`{"attack": "FGM", "Ball": {"norm": "Linf", "radius": 1}, "Loss": "hinge"}`: `there is no loss "hinge" in JSON`,
		`{"attack": "Repeat", "Attack": {"attack": "FGM"}}`:                         "Attack of Repeat: FGM: the ball is unset",
		`{"attack": "Transfer", "From": {}}`:                                        "make this attack in Go",
		`{"attack": "AutoAttack", "Version": "fast"}`:                               `no version of AutoAttack "fast"`,
	} {
		if _, err := attack.FromJSON([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", text, err, want)
		}
	}
	for _, a := range []advlib.Attack{
		attack.PGD{Ball: advlib.Linf.Ball(0.1), Loss: negated{advlib.Margin}},
		attack.Transfer{Attack: attack.DDN{}, From: new(advlib.Classifier)},
		attack.WorstOf{Attacks: []advlib.Attack{nil}},
		nil,
	} {
		if text, err := attack.JSON(a); err == nil {
			t.Errorf("%v is written as %s", a, text)
		}
	}
}

func TestReaderGivesABall(t *testing.T) {
	r := attack.Reader{Ball: advlib.L2.Ball(0.5)}
	for text, want := range map[string]string{
		`{"attack": "FGM"}`: "FGM L2 ≤ 0.5",
		`{"attack": "FGM", "Ball": {"norm": "Linf", "radius": "8/255"}}`: "FGM Linf ≤ 8/255",
		`{"attack": "FMN"}`: "FMN-1000 L2 minimal",
		`{"attack": "DDN"}`: "DDN-1000 L2 minimal",
		`{"attack": "Repeat", "Attack": {"attack": "FGM"}, "Times": 2}`: "FGM L2 ≤ 0.5, 2 times",
	} {
		if a, err := r.Read([]byte(text)); err != nil || a.String() != want {
			t.Errorf("%s is read as %v, %v; want %s", text, a, err, want)
		}
	}
}

func FuzzAttackInJSON(f *testing.F) {
	f.Add(`{"attack": "PGD", "Ball": {"norm": "Linf", "radius": "8/255"}, "Goal": {"targeted": true}}`)
	f.Add(`{"attack": "WorstOf", "Attacks": [{"attack": "DDN"}, {"attack": "FMN", "Norm": "L0"}]}`)
	f.Add(`{"attack": "AutoAttack", "Version": "plus"}`)
	f.Fuzz(func(t *testing.T, text string) {
		a, err := attack.FromJSON([]byte(text))
		if err != nil {
			return
		}
		again, err := attack.JSON(a)
		if err != nil {
			t.Fatalf("%q is read as %v, and not written: %v", text, a, err)
		}
		if b, err := attack.FromJSON(again); err != nil || !reflect.DeepEqual(a, b) {
			t.Errorf("%q is read as %+v, written as %s, and read as %+v, %v", text, a, again, b, err)
		}
	})
}
