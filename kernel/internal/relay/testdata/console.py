"""jupyter console, typed at a terminal: a function over two lines, statements below %%, a value, and a question."""
import os
import sys

import pexpect

console = os.path.join(os.path.dirname(sys.executable), "jupyter-console")
c = pexpect.spawn(console, ["--kernel", os.environ["ADVLAB_TEST_KERNEL"]], encoding="utf8", timeout=60, dimensions=(40, 120))
c.expect(r"In \[")
c.send("func f() int {\r")
c.send("return 41 }\r")
c.expect(r"In \[.*2")
c.send("%%\r")
c.send("fmt.Println(f() + 1)\r\r")
c.expect("42")
c.expect(r"In \[.*3")
c.send("f() + 2\r")
c.expect(r"Out\[.*3.*43")
c.expect(r"In \[.*4")
c.send("!printf 'na''me? '; read -r x; echo \"got $x\"\r")
c.expect(r"name\? ")
c.send("gopher\r")
c.expect("got gopher")
c.expect(r"In \[.*5")
for _ in range(10):  # a key that arrives while the prompt is being drawn is lost
    c.sendeof()
    if c.expect(["really want to exit", pexpect.TIMEOUT], timeout=3) == 0:
        break
else:
    sys.exit("the console does not end")
c.send("y\r")
c.expect(pexpect.EOF)
