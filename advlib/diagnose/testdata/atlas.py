"""Writes atlas.json: identifiers and names of the techniques that ../threatmodel.go names, out of dist/ATLAS.yaml of
github.com/mitre-atlas/atlas-data at the tag v5.6.1 (commit 8ee2c689), whose version is 5.6.0 (Apache-2.0).

    git clone --depth 1 --branch v5.6.1 https://github.com/mitre-atlas/atlas-data && python3 atlas.py atlas-data/dist/ATLAS.yaml
"""

import hashlib
import json
import re
import sys

WANTED = ["AML.T0005", "AML.T0008", "AML.T0008.003", "AML.T0015", "AML.T0040", "AML.T0041", "AML.T0043", "AML.T0043.000",
          "AML.T0043.001", "AML.T0043.002", "AML.T0044"]

text = open(sys.argv[1], encoding="utf-8").read()
names = dict(re.findall(r"^  - id: (AML\.T[\d.]+)\n    name: (.+)$", text, re.M))
json.dump({
    "version": re.search(r"^version: (\S+)$", text, re.M).group(1),
    "sha256": hashlib.sha256(text.encode()).hexdigest(),
    "techniques": {k: names[k] for k in WANTED},
}, open("atlas.json", "w"), indent=1)
