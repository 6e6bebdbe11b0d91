package gonb

import (
	"io"
	"net"
	"path/filepath"
	"strings"
	"time"

	"advlab/kernel/internal/pump"
)

// Read is a program's wait for input, as its pump has noticed it. It is answered once; a Read that is dropped is
// noticed again.
type Read struct {
	Prompt string // the beginning of a line that the program has printed, and that is not shown
	conn   net.Conn
}

// Answer gives the program a line, without its end.
func (r *Read) Answer(line string) { r.reply(pump.InputText, line) }

// End ends the program's input.
func (r *Read) End() { r.reply(pump.InputEnd, "") }

// None says that there is nobody to ask: the input ends, and the output says why.
func (r *Read) None() { r.reply(pump.InputNone, "") }

// Later leaves the program waiting: something else gives it its input.
func (r *Read) Later() { r.reply(pump.InputLater, "") }

const (
	mostPrompt  = 8 << 10
	answerLimit = 2 * time.Second // for the pump to take an answer
)

func (r *Read) reply(sign byte, text string) {
	_ = r.conn.SetDeadline(time.Now().Add(answerLimit))
	_, _ = io.WriteString(r.conn, string(rune(sign))+text) // fails where the program has ended
	_ = r.conn.Close()
}

// listen hears of programs that wait for input.
func (e *Engine) listen() error {
	l, err := net.Listen("unix", filepath.Join(e.dir, pump.InputName))
	if err != nil {
		return err
	}
	e.inputs = l
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_ = conn.SetReadDeadline(time.Now().Add(answerLimit))
				prompt, err := io.ReadAll(io.LimitReader(conn, mostPrompt))
				if err != nil {
					_ = conn.Close()
					return
				}
				e.reads(e, &Read{strings.ToValidUTF8(string(prompt), "\uFFFD"), conn})
			}()
		}
	}()
	return nil
}
