"""What scikit-learn's principal components and logistic regression identify of the ORL faces, on the splits of
TestPersons: the rows to learn from are in orl.json, the results are written there.

    python orl.py FOLDER/orl-faces.npz      (scikit-learn 1.9.1, NumPy 2.4.6)
"""

import json
import sys

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

data = np.load(sys.argv[1])
x, y = data["x"].reshape(len(data["y"]), -1) / 255, data["y"].ravel()
with open("orl.json") as f:
    splits = json.load(f)
for split in splits:
    train = np.array(split["train"])
    test = np.setdiff1d(np.arange(len(y)), train)
    components = PCA(60, random_state=0).fit(x[train])
    model = LogisticRegression(max_iter=2000).fit(components.transform(x[train]), y[train])
    split["identified"] = round(model.score(components.transform(x[test]), y[test]), 6)
with open("orl.json", "w") as f:
    f.write("[\n" + ",\n".join(json.dumps(s) for s in splits) + "\n]\n")
