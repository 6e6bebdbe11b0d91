"""Writes ../definitions.go: the opsets at which ONNX's operators were defined anew. Run with the newest onnx:

    python opsets.py > ../definitions.go

After a run with a newer onnx, read what changed (onnx.defs, docs/Changelog.md) for each operator of rules.go whose line
changed, mend its rule, and only then keep the file: the rules are taken to follow every definition in it.
"""
import onnx.defs as defs

versions = {}
for s in defs.get_all_schemas_with_history():
    if s.domain == "":
        versions.setdefault(s.name, []).append(s.since_version)
print("package onnx\n\n// Written by testdata/opsets.py.\n")
print(f"// maxOpset is the newest opset whose definitions are known.\nconst maxOpset = {defs.onnx_opset_version()}\n")
print("// definitions are the opsets at which ONNX defined each of its operators, or deprecated it.\nvar definitions = map[string][]int64{")
for name in sorted(versions):
    print(f'\t"{name}": {{{", ".join(str(v) for v in sorted(versions[name]))}}},')
print("}")
