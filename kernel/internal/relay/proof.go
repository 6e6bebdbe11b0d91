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
	grade   *float64
}

// askProof writes the nonce of the program that is about to run.
func (x *execution) askProof(e *gonb.Engine, p *compose.Program) error {
	x.proof = proof{}
	if !p.Ends() {
		return nil
	}
	program, err := e.Program()
	if err != nil {
		return err
	}
	x.proof = proof{nonce: rand.Text() + rand.Text(), program: program}
	if err := os.Remove(program + compose.EndSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
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

// gradeText is what is signed of a grade. Package advlib/internal/notebook signs the same.
func gradeText(points float64) string { return fmt.Sprintf("grade %v", points) }

// takeGrade takes the grade of a bundle; the latest counts, once the program has come to its end. It returns false for
// a bundle that does not come from show.Grade.
func (p *proof) takeGrade(b Bundle) bool {
	sum := hmac.New(sha256.New, []byte(p.nonce))
	sum.Write([]byte(gradeText(*b.Grade)))
	said, err := hex.DecodeString(b.Proof)
	if p.nonce == "" || err != nil || !hmac.Equal(said, sum.Sum(nil)) {
		return false
	}
	p.grade = b.Grade
	return true
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
}

// gradingOf reads it from a request's metadata.
func gradingOf(metadata []byte) grading {
	var m struct {
		NBGrader grading `json:"nbgrader"`
	}
	_ = json.Unmarshal(metadata, &m)
	return m.NBGrader
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
