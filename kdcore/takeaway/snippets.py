"""Ready scripts that run an exported model without KD Lab: what goes with each download. The tests
run every one.

Each defines ``logits(example)`` and prints what the model says to the test examples that come with
it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SCRIPT = '''"""Runs {file} on the examples that come with it: pip install numpy {packages}

One example is {input}.
"""

{standard}import numpy as np
{imports}

LABELS = {labels}

{body}

{row}
def probabilities(answer):
    """Turn logits [classes] into probabilities that sum to 1."""
    exponentials = np.exp(answer - answer.max())
    return exponentials / exponentials.sum()


def told(example):
    """Return what the model says to one example, in words."""
    answer = probabilities(logits(example))
    best = int(answer.argmax())
    return f"{{LABELS[best]}} ({{answer[best]:.1%}})"


if __name__ == "__main__":{rows}
    with np.load("examples.npz") as examples:
        for example, label in zip(examples["inputs"], examples["labels"]):
            print(f"{{told(example)}}, the true label is {{LABELS[label]}}")
'''

# For a table: from a row as it was in the file to what the model takes.
_ROW = '''
with np.load("examples.npz") as learnt:
    COLUMNS = json.loads(str(learnt["columns"]))
    FILL, CENTRE, SPREAD = learnt["fill"], learnt["centre"], learnt["spread"]


def number_of(value, column):
    """Return a number as the table has it; with signs for thousands, percent or money where it has them."""
    decimal = column.get("decimal", ".")
    if column.get("signs"):
        value = re.sub(r"[€$£¥%\\s]", "", value).replace("," if decimal == "." else ".", "")
    return float(value.replace(decimal, "."))


def example_of(row):
    """Return the example [features] of a row: a dict of column and value, "" or None where missing."""
    features = []
    for column in COLUMNS:
        value = str("" if row.get(column["name"]) is None else row[column["name"]]).strip()
        missing = value in ("", "nan", "NaN", "?")
        if column["categories"]:
            gap = 0.0 if column["flagged"] else np.nan
            features += [gap if missing else float(value == name) for name in column["categories"]]
        else:
            features.append(np.nan if missing else number_of(value, column))
        if column["flagged"]:
            features.append(float(missing))
    features = np.array(features, np.float64)
    features = np.where(np.isnan(features), FILL, features)
    return ((features - CENTRE) / SPREAD).astype(np.float32)

'''

_ROWS = """
    if len(sys.argv) > 1:  # a .csv with the columns of the table, divided by commas
        with open(sys.argv[1], newline="", encoding="utf-8-sig") as file:
            for row in csv.DictReader(file):
                print(told(example_of(row)))
        sys.exit()"""

# For texts: from a text to what the model takes.
_TEXT = '''
with np.load("examples.npz") as learnt:
    TOKENIZER = Tokenizer.from_str(str(learnt["vocabulary"]))
    TOKENIZER.encode_special_tokens = True  # "[PAD]" in a text is a text


def example_of(text):
    """Return the example [tokens] of a text: the numbers of its tokens, cut and padded."""
    return np.array(TOKENIZER.encode(text).ids, np.float32)

'''

_TEXTS = """
    if len(sys.argv) > 1:  # texts, each in quotes
        for text in sys.argv[1:]:
            print(f"{text!r}: {told(example_of(text))}")
        sys.exit()"""

_KERAS = '''
model = keras.saving.load_model("model.keras", compile=False)


def logits(example):
    """Return the logits [classes] of one example."""
    return keras.ops.convert_to_numpy(model(example[np.newaxis], training=False))[0]
'''

_SAVED_MODEL = '''
with zipfile.ZipFile("saved_model.zip") as archive:
    archive.extractall("saved_model")
model = tf.saved_model.load("saved_model")


def logits(example):
    """Return the logits [classes] of one example."""
    return model.serve(tf.constant(example[np.newaxis])).numpy()[0]
'''

_LITERT = '''
interpreter = Interpreter("model.tflite", num_threads=1)
interpreter.allocate_tensors()
source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]


def logits(example):
    """Return the logits [classes] of one example."""
    interpreter.set_tensor(source["index"], example[np.newaxis])
    interpreter.invoke()
    return interpreter.get_tensor(target["index"])[0]
'''

_LITERT_INT8 = '''
interpreter = Interpreter("model.tflite", num_threads=1)
interpreter.allocate_tensors()
source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
(scale_in, zero_in), (scale_out, zero_out) = source["quantization"], target["quantization"]


def logits(example):
    """Return the logits [classes] of one example; the model itself takes and gives whole numbers, -128 to 127.
    """
    whole = np.clip(np.rint(example / scale_in) + zero_in, -128, 127).astype(np.int8)
    interpreter.set_tensor(source["index"], whole[np.newaxis])
    interpreter.invoke()
    answer = interpreter.get_tensor(target["index"])[0]
    return (answer.astype(np.float32) - zero_out) * scale_out
'''

_ONNX = '''
session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])


def logits(example):
    """Return the logits [classes] of one example."""
    return session.run(None, {session.get_inputs()[0].name: example[np.newaxis]})[0][0]
'''

_LITERT_IMPORT = "from ai_edge_litert.interpreter import Interpreter"

# By format: what to install, what to import, and the code.
_PARTS = {
    "keras": ("keras tensorflow", "import keras", _KERAS),
    "saved-model": ("tensorflow", "import tensorflow as tf", _SAVED_MODEL),
    "litert-float32": ("ai-edge-litert", _LITERT_IMPORT, _LITERT),
    "litert-float16": ("ai-edge-litert", _LITERT_IMPORT, _LITERT),
    "litert-int8": ("ai-edge-litert", _LITERT_IMPORT, _LITERT_INT8),
    "onnx": ("onnxruntime", "import onnxruntime", _ONNX),
}


# What a format's code needs of Python itself.
_STANDARD = {"saved-model": ("zipfile",)}


def input_words(report: Mapping[str, Any]) -> str:
    """Return what one example is, for people: its shape and type, and how stored values become what
    a model takes.
    """
    words, scale = f"float32 of shape {tuple(report['input_shape'])}", report["input_scale"]
    if report["features_scaled"]:
        return (
            f"{words}: each feature less its centre, divided by its spread (both are in examples.npz); "
            "example_of(row) makes it of a row of the table, and python run.py FILE.csv reads rows"
        )
    if report.get("of_texts"):
        return (
            f"{words}: numbers of tokens, which the tokenizer in examples.npz makes of a text; "
            "example_of(text) does it, and python run.py 'a text' answers it"
        )
    if scale == 1:
        return f"{words}, the values as they are"
    return f"{words}, from 0 to 1: pixel values (0 to {1 / scale:g}) divided by {1 / scale:g}"


def snippet(format_name: str, file: str, report: Mapping[str, Any]) -> str:
    """Return a script that runs ``file`` as a download of ``format_name`` has it.

    ``report`` is what was measured.
    """
    packages, imports, body = _PARTS[format_name]
    row, rows, needed = _ways_in(report)
    standard = [*_STANDARD.get(format_name, ()), *needed]
    if report.get("of_texts"):
        packages += " tokenizers"
        imports += "\nfrom tokenizers import Tokenizer"
    if report.get("of_texts") and format_name == "keras":
        packages += " keras-hub"
        imports = imports.replace(
            "import keras\n", "import keras\nimport keras_hub  # knows its layers\n"
        )
    return _SCRIPT.format(
        file=file,
        packages=packages,
        input=input_words(report),
        standard="".join(f"import {name}\n" for name in sorted(standard)) + "\n" * bool(standard),
        imports=imports,
        row=row,
        rows=rows,
        labels=repr(list(report["labels"])),
        body=body.strip(),
    )


def _ways_in(report: Mapping[str, Any]) -> tuple[str, str, tuple[str, ...]]:
    """Return the code that makes examples of what people have, the code that reads it from the
    command line, and what they need of Python itself.
    """
    if report["features_scaled"]:
        return _ROW, _ROWS, ("csv", "json", "re", "sys")
    if report.get("of_texts"):
        return _TEXT, _TEXTS, ("sys",)
    return "", "", ()
