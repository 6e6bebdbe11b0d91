package relay

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"advlab/kernel/internal/compose"
	"advlab/kernel/internal/gonb"
)

// proof is what a program has to show so that its cell counts as passed, and its grade as the grader's: that it knows a
// nonce, which only its first lines and advlib's package notebook read (compose.NonceSuffix).
type proof struct {
	nonce   string // empty: the program proves nothing, as one of tests
	program string // its path
}

// askProof writes the nonce of the program that is about to run.
func (x *execution) askProof(e *gonb.Engine, p *compose.Program) error {
	program, err := e.Program()
	if err != nil {
		return err
	}
	x.proof = proof{program: program}
	for _, suffix := range []string{compose.EndSuffix, compose.StillSuffix, gradeSuffix} {
		if err := os.Remove(program + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if !p.Ends() {
		return nil
	}
	x.proof.nonce = rand.Text() + rand.Text()
	return os.WriteFile(program+compose.NonceSuffix, []byte(x.proof.nonce), 0o600)
}

// ended tells whether the program has come to its end, where it proves that.
func (p *proof) ended() bool {
	if p.nonce == "" {
		return true
	}
	said, err := os.ReadFile(p.program + compose.EndSuffix)
	_ = os.Remove(p.program + compose.EndSuffix)
	return err == nil && hmac.Equal(said, []byte(p.nonce))
}

// result is the file with the value of the cell's last expression; empty: there is none.
func (p *proof) result() string {
	if p.nonce == "" {
		return ""
	}
	return p.program + compose.ResultSuffix + p.nonce[compose.NonceSplit:]
}

// grade is what show.Grade has given, signed with the nonce; nil: nothing.
func (p *proof) grade() (points *float64, f *failure) {
	if p.nonce == "" {
		return nil, nil
	}
	text, err := os.ReadFile(p.program + gradeSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	_ = os.Remove(p.program + gradeSuffix)
	number, signature, _ := strings.Cut(string(text), " ")
	given, failed := strconv.ParseFloat(number, 64)
	if err != nil || failed != nil || !hmac.Equal([]byte(signature), []byte(sign(p.nonce, given))) {
		return nil, newFailure(checkFailed, "the cell's grade does not come from show.Grade")
	}
	return &given, nil
}

// gradeSuffix ends the name of the file with a program's grade. Package advlib/internal/notebook writes it.
const gradeSuffix = ".grade"

func sign(nonce string, points float64) string {
	sum := hmac.New(sha256.New, []byte(nonce))
	fmt.Fprintf(sum, "grade %v", points)
	return hex.EncodeToString(sum.Sum(nil))
}

// unproven is the failure of a program that ended with status 0, and not at its end; nil: it came to it.
func (p *proof) unproven() *failure {
	if p.ended() {
		return nil
	}
	return newFailure(exitError, "exit status 0 before the cell's end: something that it calls ends the program, as os.Exit(0) does")
}

// grading is what nbgrader says of a cell that it runs (advlab_nbgrader.py).
type grading struct {
	Locked bool     `json:"locked"` // it is the course's: an answer cannot have changed it
	Points *float64 `json:"points"` // the most that it may give; nil: it is not graded
	runs   bool     // nbgrader runs the cell
}

// gradingOf reads it from a request's metadata.
func gradingOf(metadata []byte) grading {
	var m struct {
		NBGrader *grading `json:"nbgrader"`
	}
	if json.Unmarshal(metadata, &m) != nil || m.NBGrader == nil {
		return grading{}
	}
	m.NBGrader.runs = true
	return *m.NBGrader
}

// tampering is what an answer has that could reach the nonce, or nbgrader's files, and a teacher should look at.
var tampering = regexp.MustCompile(`"(?:unsafe|C|syscall|plugin|os/exec|golang\.org/x/sys/\w+|` +
	`github\.com/janpfeifer/gonb/[\w/]+)"|\b(?:unsafe|syscall|unix|exec|gonbui)\.[A-Z]\w*|/proc\b|go:linkname|os\.Executable|\.nonce\b|` +
	`(?m:^(?:!|%%(?:bash|sh|script|writefile)).*)`)

// lookAt remembers what is to be looked at in an answer, and shows it in the graded cells that come after.
func (x *execution) lookAt() {
	switch r := x.relay; {
	case x.grading.runs && !x.grading.Locked:
		r.lookAt = slices.DeleteFunc(r.lookAt, func(n note) bool { return n.cell != "" && n.cell == x.cellID() })
		if found := tampering.FindString(x.query.Code); found != "" {
			text := fmt.Sprintf("look at cell %d before you trust this one's outcome: it has %s", x.count, found)
			r.lookAt = append(r.lookAt, note{x.cellID(), text})
		}
	case x.grading.Locked && x.grading.Points != nil:
		for _, n := range r.lookAt {
			x.notice(n.text)
		}
	}
}

// note is what a teacher is told of a cell.
type note struct{ cell, text string }

// leaveNothing ends what an answer has left in the background.
func (x *execution) leaveNothing(e *gonb.Engine) {
	if x.grading.runs && !x.grading.Locked {
		e.KillWorkers(x.ticks)
	}
}

// refuse is the failure of a graded cell whose points, its grade or else its result, nbgrader would not take, or take
// for full marks; nil: it may have them.
func (g grading) refuse(grade *float64, values []map[string]any) *failure {
	if g.Points == nil {
		return nil
	}
	if grade == nil && len(values) > 0 {
		text, _ := values[len(values)-1]["text/plain"].(string)
		points, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		if err != nil {
			return nil
		}
		grade = &points
	}
	if grade == nil || 0 <= *grade && *grade <= *g.Points {
		return nil
	}
	return newFailure(checkFailed, fmt.Sprintf("%v points, and the cell gives 0 to %v", *grade, *g.Points))
}
