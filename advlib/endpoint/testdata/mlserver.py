"""Prepares a folder for MLServer with a model of handwritten digits: python mlserver.py FOLDER HTTP_PORT GRPC_PORT

test.npz has examples x and labels y, and how far each is from the nearest decision, in L2 and in Linf, were there no
box: the model is linear. TestMLServer runs this, with the Python beside the mlserver that it is given.
"""

import json
import pathlib
import sys

import joblib
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

folder, http, grpc = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
x, y = load_digits(return_X_y=True)
x = x / 16
train, test, of_train, of_test = train_test_split(x, y, test_size=0.3, random_state=0)
model = LogisticRegression(max_iter=2000).fit(train, of_train)
joblib.dump(model, folder / "model.joblib")

right = model.predict(test) == of_test
test, of_test = test[right][:30], of_test[right][:30]
z = model.decision_function(test)
l2, linf = [], []
for scores, label in zip(z, of_test):
    others = np.arange(10) != label
    w = (model.coef_[label] - model.coef_)[others]
    margin = (scores[label] - scores)[others]
    l2.append((margin / np.linalg.norm(w, axis=1)).min())
    linf.append((margin / np.abs(w).sum(axis=1)).min())
np.savez(
    folder / "test.npz",
    x=test.reshape(-1, 8, 8).astype(np.float32),
    y=of_test.astype(np.int32),
    l2=np.array(l2, np.float32),
    linf=np.array(linf, np.float32),
)

settings = {"name": "digits", "implementation": "mlserver_sklearn.SKLearnModel", "parameters": {"uri": "./model.joblib"}}
(folder / "model-settings.json").write_text(json.dumps(settings))
# Without workers: with one, MLServer 1.7.1 answers nothing beside newer versions of uvloop (SeldonIO/MLServer #2286).
server = {"host": "127.0.0.1", "http_port": http, "grpc_port": grpc, "parallel_workers": 0, "metrics_endpoint": None, "debug": False}
(folder / "settings.json").write_text(json.dumps(server))
