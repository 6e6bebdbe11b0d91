"""jupyter console, typed at a terminal: a function over two lines, then statements below %%."""
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
for _ in range(10):  # a key that arrives while the prompt is being drawn is lost
    c.sendeof()
    if c.expect(["really want to exit", pexpect.TIMEOUT], timeout=3) == 0:
        break
else:
    sys.exit("the console does not end")
c.send("y\r")
c.expect(pexpect.EOF)
