"""Parameters for Go notebooks in papermill.

papermill injects a cell with the parameters behind the one tagged "parameters"; in what language, a translator knows. It
has none for Go. It finds this one by the entry point papermill.engine, which it loads when it is imported (so papermill
is imported first, not this module); the engine is papermill's own.

In GoNB a later declaration of a name replaces an earlier one, so `var eps = 0.1` sets the parameter eps. The type comes
from the value: a parameter with a fraction has to be given with a dot (-p eps 1.0).
"""

import json
import math
import re

from papermill.engines import NBClientEngine
from papermill.exceptions import PapermillException
from papermill.models import Parameter
from papermill.translators import Translator, papermill_translators

IDENTIFIER = re.compile(r"[^\W\d]\w*\Z")
KEYWORDS = frozenset(
    "break case chan const continue default defer else fallthrough for func go goto if import interface map package "
    "range return select struct switch type var".split()
)
DECLARATION = re.compile(r"var\s+(?P<name>[^\W\d]\w*)(?:\s+(?P<type>[^=\s][^=]*?))?\s*=\s*(?P<value>.+)\Z")
STRING_OR_COMMENT = re.compile(r'"(?:[^"\\]|\\.)*"|`[^`]*`|\'(?:[^\'\\]|\\.)*\'|(?P<comment>//.*)')


class GoTranslator(Translator):
    """Writes Python's values as Go's."""

    @classmethod
    def translate(cls, val):
        return cls.literal(val)[1]

    @classmethod
    def literal(cls, val):
        """Returns the Go type and the literal of a value."""
        if isinstance(val, bool):
            return "bool", "true" if val else "false"
        if isinstance(val, int):
            if not -(2**63) <= val < 2**63:
                raise PapermillException(f"{val} does not fit Go's int")
            return "int", str(val)
        if isinstance(val, float):
            if math.isnan(val):
                return "float64", "math.NaN()"
            if math.isinf(val):
                return "float64", f"math.Inf({'1' if val > 0 else '-1'})"
            return "float64", repr(val)
        if isinstance(val, str):
            return "string", cls.string(val)
        if isinstance(val, (list, tuple)):
            kind, items = cls.same_type(val, "list")
            return f"[]{kind}", f"[]{kind}{{{', '.join(items)}}}"
        if isinstance(val, dict):
            kind, items = cls.same_type(list(val.values()), "dictionary")
            pairs = [f"{cls.string(str(key))}: {item}" for key, item in zip(val, items)]
            return f"map[string]{kind}", f"map[string]{kind}{{{', '.join(pairs)}}}"
        raise PapermillException(f"{val!r} of type {type(val).__name__} has no counterpart in Go: give numbers, strings, true, false, lists or dictionaries")

    @classmethod
    def same_type(cls, values, what):
        """Returns the type that all values have, and their literals. Whole numbers among others are float64."""
        if not values:
            raise PapermillException(f"the type of an empty {what} is not known: leave its default")
        if any(isinstance(v, float) for v in values):
            values = [float(v) if isinstance(v, int) and not isinstance(v, bool) else v for v in values]
        literals = [cls.literal(v) for v in values]
        kinds = {kind for kind, _ in literals}
        if len(kinds) > 1:
            raise PapermillException(f"the values of a {what} are of different types in Go: {', '.join(sorted(kinds))}")
        return kinds.pop(), [text for _, text in literals]

    @classmethod
    def string(cls, val):
        try:
            val.encode("utf-8")
        except UnicodeEncodeError as error:
            raise PapermillException(f"{val!r} is no valid text: {error}") from None
        # What JSON escapes, Go understands; a byte order mark may not stand in Go's source.
        return json.dumps(val, ensure_ascii=False).replace("\ufeff", "\\ufeff")

    @classmethod
    def comment(cls, cmt_str):
        return f"// {cmt_str}".strip()

    @classmethod
    def assign(cls, name, str_val):
        if not IDENTIFIER.match(name) or name in KEYWORDS:
            raise PapermillException(f"parameter {name!r} is no name in Go")
        return f"var {name} = {str_val}"

    @classmethod
    def inspect(cls, parameters_cell):
        """Finds the lines `var name = value // help`."""
        found = []
        for line in parameters_cell["source"].split("\n"):
            if line.startswith(("%%", "%main")):
                break  # what follows belongs to a function
            code, help_text = cls.split_comment(line)
            if match := DECLARATION.match(code.strip()):
                found.append(Parameter(match["name"], match["type"] or "None", match["value"].strip().rstrip(";"), help_text))
        return found

    @staticmethod
    def split_comment(line):
        for match in STRING_OR_COMMENT.finditer(line):
            if match["comment"]:
                return line[: match.start()], match["comment"][2:].strip()
        return line, ""


papermill_translators.register("go", GoTranslator)


class GoEngine(NBClientEngine):
    """papermill's own engine, by the name advlab."""
