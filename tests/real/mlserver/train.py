"""Trains the two digit models that MLServer serves, and writes the held-out rows with their digits.

DIR/good and DIR/weak become model folders, DIR/held-out.csv has 64 pixels and the digit a line.
"""

import json
import pathlib
import sys

import joblib
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

TRAINING = 1000

out = pathlib.Path(sys.argv[1])
pixels, digits = load_digits(return_X_y=True)
models = {"good": LogisticRegression(max_iter=2000), "weak": DecisionTreeClassifier(max_depth=4, random_state=1)}
for name, model in models.items():
    model.fit(pixels[:TRAINING] / 16.0, digits[:TRAINING])
    print(name, round(model.score(pixels[TRAINING:] / 16.0, digits[TRAINING:]), 3))
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    joblib.dump(model, folder / "model.joblib")
    settings = {
        "name": "digits",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": "./model.joblib", "version": name},
    }
    (folder / "model-settings.json").write_text(json.dumps(settings))
rows = (",".join(str(int(v)) for v in row) + f",{digit}\n" for row, digit in zip(pixels[TRAINING:], digits[TRAINING:]))
(out / "held-out.csv").write_text("".join(rows))
