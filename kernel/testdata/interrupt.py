"""Interrupts a kernel while a cell compiles and while one runs, then kills it. Exits with a message if it misbehaves."""

import sys
import time

from jupyter_client.manager import start_new_kernel

manager, client = start_new_kernel(kernel_name=sys.argv[1], startup_timeout=60)


def reply(message, seconds):
    deadline = time.monotonic() + seconds
    while True:
        answer = client.get_shell_msg(timeout=max(0.01, deadline - time.monotonic()))
        if answer["parent_header"].get("msg_id") == message:
            return answer["content"]


def interrupted(code, after):
    message = client.execute(code)
    time.sleep(after)
    manager.interrupt_kernel()
    began = time.monotonic()
    content = reply(message, 15)
    print(f"answered {time.monotonic() - began:.2f} s after the interrupt: {content['status']}")
    if content["status"] != "error":
        sys.exit(f"the interrupted cell ended with status {content['status']}")


def works():
    content = reply(client.execute('import "fmt"\n\n%%\nfmt.Println("alive")'), 30)
    if content["status"] != "ok":
        sys.exit(f"after the interrupt a cell fails: {content}")


works()
interrupted('import "time"\n\n%%\ntime.Sleep(time.Minute)', 3)
works()
# At least 10 s of work for the compiler, of which this waits for 4.
interrupted("%%\nx := 1\n" + "if x > 3 { x = x*3 ^ (x>>2) } else { x += 7 }\n" * 120000 + "fmt.Println(x)", 4)
works()
client.execute('import "time"\n\n%%\ntime.Sleep(time.Minute)')
time.sleep(2)
manager.shutdown_kernel(now=True)
