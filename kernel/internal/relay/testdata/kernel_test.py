"""jupyter_kernel_test, the Jupyter project's own suite, on the kernel named by ADVLAB_TEST_KERNEL."""
import os
import sys
import unittest

import jupyter_kernel_test

DISPLAY = '%%\ngonbui.DisplayHTML("<b>x</b>")\ngonbui.Sync()'
BUNDLE = '%%%%\ngonbui.SendData(&protocol.DisplayData{Data: map[protocol.MIMEType]any{"application/vnd.advlab.cell+json": `%s`}})\ngonbui.Sync()'


class AdvlabTests(jupyter_kernel_test.KernelTests):
    kernel_name = os.environ["ADVLAB_TEST_KERNEL"]
    language_name = "go"
    file_extension = ".go"
    code_hello_world = '%%\nfmt.Println("hello, world")'
    code_stderr = '%%\nfmt.Fprintln(os.Stderr, "oops")'
    completion_samples = [{"text": "func f() { strings.TrimSpac", "matches": {"TrimSpace"}}]
    complete_code_samples = ["func f() {}", "%%\nfmt.Println(1)", "!ls", ""]
    incomplete_code_samples = ["func f() {", "%%\nfmt.Println(", "/* not closed"]
    invalid_code_samples = ["func )", "%%\nfmt.Println(1))"]
    code_generate_error = "%%\nundefinedName()"
    code_execute_result = [
        {"code": "6 * 7", "result": "42"},
        {"code": BUNDLE % '{"result": {"text/plain": "42"}}', "result": "42"},
        {"code": BUNDLE % '{"result": {"text/html": "<b>4</b>", "text/plain": "4"}}', "result": "<b>4</b>", "mime": "text/html"},
    ]
    code_display_data = [{"code": DISPLAY, "mime": "text/html"}, {"code": DISPLAY, "mime": "text/plain"}]
    code_history_pattern = "*42*"
    supported_history_operations = ("tail", "range", "search")
    code_inspect_sample = "fmt.Println"
    code_clear_output = BUNDLE % '{"clear": "now"}'

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # A first build links against a cold cache; the suite waits 15 s for a cell, no longer.
        cls.kc.execute_interactive("%%\ngonbui.Sync()", timeout=120, silent=True)

    def test_stdin(self):
        # What the suite has no test of: a program that reads asks the front end. (A docstring would split its line.)
        self.flush_channels()
        self.kc.execute("%%\nvar name string\nfmt.Scanln(&name)\nfmt.Println(\"hello\", name)", allow_stdin=True)
        request = self.kc.get_stdin_msg(timeout=30)
        self.assertEqual(request["msg_type"], "input_request")
        self.kc.input("world")
        said = ""
        while "hello" not in said:
            message = self.kc.get_iopub_msg(timeout=30)
            if message["msg_type"] == "stream":
                said += message["content"]["text"]
        self.assertIn("hello world", said)


class AdvlabIopubTests(jupyter_kernel_test.IopubWelcomeTests):
    kernel_name = os.environ["ADVLAB_TEST_KERNEL"]
    support_iopub_welcome = True


del jupyter_kernel_test.KernelTests, jupyter_kernel_test.IopubWelcomeTests  # else unittest runs them, too

if __name__ == "__main__":
    # The kernel writes to stderr; the results go to stdout.
    unittest.main(testRunner=unittest.TextTestRunner(stream=sys.stdout, verbosity=2))
