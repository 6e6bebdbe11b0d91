package magic

// gonbHelp is what %help says of GoNB's commands: those that notebooks need. %help gonb shows all that GoNB says.
var gonbHelp = []struct{ command, text string }{
	{"%%", "the statements below it run now; what is above it, and functions and imports anywhere, is declared for later cells, too. " +
		"A cell without it runs from its first statement on"},
	{"%args ARG...", "the arguments of this cell's program"},
	{"%cd DIR", "where this and the following cells run"},
	{"%env NAME=VALUE", "a variable of the environment, for this and the following cells"},
	{"%goflags FLAG...", "flags of `go build`, for this and the following cells; `%goflags \"\"` takes them back"},
	{"%list, %rm NAME, %reset", "what is declared so far; forgets one of it, a type with its methods; forgets all"},
	{"%test", "runs the tests and benchmarks that this cell declares"},
	{"%%writefile FILE", "writes the cell into a file. It is the cell's first line"},
	{"%%bash", "runs the cell as a shell's script. It is the cell's first line"},
	{"!COMMAND", "a shell's command. One that fails ends the cell with an error; `!COMMAND || true` does not. What reads input is asked for in a box, " +
		"as fmt.Scanln in Go is"},
	{"!*COMMAND", "the same, in the folder in which cells are compiled: `!*go get MODULE@VERSION`"},
}

// gonbCommands are GoNB's commands of a line (specialcmd.execSpecialConfig in v0.11.5). To one that it does not know,
// GoNB says so and goes on.
var gonbCommands = map[string]bool{
	"%": true, "main": true, "args": true, "test": true, "exec": true, "wasm": true, "widgets": true, "widgets_hb": true, "env": true,
	"cd": true, "goflags": true, "autoget": true, "noautoget": true, "help": true, "version": true, "reset": true, "ls": true,
	"list": true, "rm": true, "remove": true, "with_inputs": true, "with_password": true, "track": true, "untrack": true,
	"goworkfix": true, "capture": true,
}
