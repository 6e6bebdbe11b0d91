package relay

import (
	"errors"
	"fmt"
	"go/token"
	"strings"
)

// checkStatement makes the main program of a cell whose line i is %check with arguments.
func (x *execution) checkStatement(arguments []string, i int) (string, error) {
	if len(arguments) != 1 || !token.IsIdentifier(arguments[0]) {
		return "", fmt.Errorf("takes the name of a function, and got %q", arguments)
	}
	if x.cell.MainLine >= 0 || x.cell.Test {
		return "", errors.New("stands for the main program, so its cell may not have %%, %main or %test")
	}
	for _, line := range x.cell.Lines[i+1:] {
		if strings.TrimSpace(line) != "" {
			return "", fmt.Errorf("is the last line of its cell, and %q follows", line)
		}
	}
	x.check = arguments[0]
	return x.relay.notebook.CheckCall(x.check), nil
}

// execCall makes the main program of a cell that has %exec with arguments.
func (x *execution) execCall(arguments []string) (string, error) {
	if len(arguments) == 0 || !token.IsIdentifier(arguments[0]) {
		return "", fmt.Errorf("takes the name of a function, and the arguments of the program; got %q", arguments)
	}
	if x.cell.MainLine >= 0 || x.cell.Test {
		return "", errors.New("stands for the main program, so its cell may not have %%, %main or %test")
	}
	return arguments[0] + "();", nil // whose value is no result
}

// checked gives the outcome of a %check that failed its class of error.
func (x *execution) checked(o outcome) outcome {
	if o = x.classCheck(o); x.checkSaid != "" && (o.failure == nil || o.failure.Class != checkFailed) {
		x.out.add("stderr", x.checkSaid)
	}
	return o
}

func (x *execution) classCheck(o outcome) outcome {
	if x.check == "" || o.failure == nil {
		return o
	}
	if o.failure.Class == compileError && strings.HasSuffix(o.failure.Text, "undefined: "+x.check) {
		o.failure = newFailure(checkFailed, x.check+" is not declared: run the cell that declares it, and see that it has no error")
		return o
	}
	if o.failure.Class != exitError {
		return o
	}
	at := strings.LastIndex("\n"+x.stderr, "\n"+x.check+": ")
	if at < 0 {
		o.failure = newFailure(checkFailed, x.check+": the program ended before the check did ("+o.failure.Text+")")
		return o
	}
	o.failure = newFailure(checkFailed, strings.TrimSpace(x.stderr[at:]))
	return o
}
