"""The report of a run as one HTML file: scores, curves, confusion matrix, and the worst mistakes as images."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from torch import Tensor

from models.vision.finetuning.examples import Dataset, Example
from models.vision.finetuning.images import read_image
from models.vision.finetuning.metrics import average_precisions, confusion, f1_by_label, one_hot
from models.vision.finetuning.training import Epoch, loss_of

MISTAKES_MAX = 24
MATRIX_MAX = 40
"""How many labels the confusion matrix shows: those with the most mistakes."""
_SIDE_PX = 112
_CHART_PX = (360, 160)
_SHOWN = 0.5
"""The probability from which on a label is given, where an image may have several."""
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; } th, td { padding: .25rem .6rem; text-align: right; }
th { font-weight: 600; } th:first-child, td:first-child { text-align: left; }
.matrix { overflow-x: auto; } .matrix td { min-width: 1.6rem; text-align: center; }
.matrix thead th { writing-mode: vertical-rl; text-align: left; }
figure { display: inline-block; margin: .5rem; width: 8rem; vertical-align: top; font-size: .8rem; }
figure img { max-width: 7rem; max-height: 7rem; } svg { background: #f6f6f6; margin-right: 1rem; }
"""


@dataclass(frozen=True)
class Outcome:
    """What the finished model says of the held-out images."""

    dataset: Dataset
    held_out: Sequence[Example]
    logits: Tensor
    """[images, labels] on the CPU."""
    targets: Tensor
    epochs: Sequence[Epoch]


def report_html(title: str, facts: Mapping[str, object], outcome: Outcome) -> str:
    """The whole document; it refers to nothing outside of itself."""
    parts = [
        f"<h1>{escape(title)}</h1>",
        _table(("", ""), [(name, str(value)) for name, value in facts.items()]),
        "<h2>Curves</h2>", *_curves(outcome.epochs),
        "<h2>Labels</h2>", _label_table(outcome),
        *([] if outcome.dataset.is_multi_label else ["<h2>Confusion matrix</h2>", _matrix(outcome)]),
        "<h2>Worst mistakes</h2>", *_mistakes(outcome),
    ]  # fmt: skip
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(each)}</th>" for each in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(each)}</td>" for each in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead>{body}</table>"


def _curves(epochs: Sequence[Epoch]) -> Iterator[str]:
    yield _chart("loss", {"learnt": [each.loss for each in epochs], "held out": [e.held_out_loss for e in epochs]})
    for name in epochs[0].scores:
        yield _chart(name, {"held out": [each.scores[name] for each in epochs]}, top=1.0)


def _chart(name: str, lines: Mapping[str, Sequence[float]], top: float | None = None) -> str:
    """A line chart as SVG, from 0 to ``top`` or the largest value."""
    width, height = _CHART_PX
    largest = top or max(max(values) for values in lines.values()) or 1.0
    drawn = []
    for (title, values), colour in zip(lines.items(), ("#1f77b4", "#d62728"), strict=False):
        step = width / max(1, len(values) - 1)
        points = " ".join(f"{at * step:.1f},{height * (1 - value / largest):.1f}" for at, value in enumerate(values))
        drawn.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{points}"/>')
        drawn.append(f'<text x="{width - 8}" y="{16 * len(drawn) // 2 + 4}" fill="{colour}" text-anchor="end" '
                     f'font-size="12">{escape(title)}: {values[-1]:.4g}</text>')  # fmt: skip
    label = f'<text x="6" y="14" font-size="12">{escape(name)}, 0 to {largest:.3g}</text>'
    return f'<svg width="{width}" height="{height}" role="img">{label}{"".join(drawn)}</svg>'


def _label_table(outcome: Outcome) -> str:
    """For each label: its images, F1, and how it is recognised."""
    logits, dataset = outcome.logits, outcome.dataset
    if dataset.is_multi_label:
        guessed, right = logits > 0, outcome.targets > 0
        last, name = average_precisions(logits, outcome.targets).tolist(), "average precision"
    else:
        guessed, right = one_hot(logits.argmax(1), logits), one_hot(outcome.targets, logits)
        last, name = ((guessed & right).sum(0) / right.sum(0)).tolist(), "recognised"
    columns = zip(dataset.labels, right.sum(0).tolist(), f1_by_label(guessed, right).tolist(), last, strict=True)
    rows = [(label, str(count), f"{f1:.3f}", f"{score:.1%}") for label, count, f1, score in columns]
    return _table(("label", "held-out images", "F1", name), rows)


def _matrix(outcome: Outcome) -> str:
    """Rows are the right labels, columns the model's."""
    matrix, names = confusion(outcome.logits, outcome.targets), outcome.dataset.labels
    mistakes = matrix.sum(0) + matrix.sum(1) - 2 * matrix.diagonal()
    shown = sorted(mistakes.argsort(descending=True, stable=True)[:MATRIX_MAX].tolist())
    top = "".join(f"<th>{escape(names[each])}</th>" for each in shown)
    rows = "".join(f"<tr><th>{escape(names[row])}</th>{_cells(matrix, row, shown)}</tr>" for row in shown)
    left_out = f"<p>The {MATRIX_MAX} labels with the most mistakes.</p>" if len(shown) < len(names) else ""
    return f'{left_out}<div class="matrix"><table><thead><tr><th></th>{top}</tr></thead>{rows}</table></div>'


def _cells(matrix: Tensor, row: int, columns: Sequence[int]) -> str:
    total, cells = max(1, int(matrix[row].sum())), []
    for column in columns:
        count = int(matrix[row, column])
        colour = "70, 160, 90" if row == column else "210, 60, 60"
        cells.append(f'<td style="background: rgba({colour}, {count / total:.2f})">{count or ""}</td>')
    return "".join(cells)


def _mistakes(outcome: Outcome) -> Iterator[str]:
    """The held-out images with the largest loss among those that the model gets wrong."""
    losses = loss_of(outcome.logits, outcome.targets, "none")
    losses = losses.mean(1) if losses.dim() == 2 else losses
    wrong = [place for place in losses.argsort(descending=True).tolist() if not _is_right(outcome, place)]
    if not wrong:
        yield "<p>None: every held-out image is recognised.</p>"
    yield from (_figure(outcome, place) for place in wrong[:MISTAKES_MAX])


def _guess(outcome: Outcome, place: int) -> dict[int, float]:
    """The labels that the model gives to an image, with their probabilities."""
    logits = outcome.logits[place]
    if outcome.dataset.is_multi_label:
        return {label: float(value) for label, value in enumerate(logits.sigmoid()) if value > _SHOWN}
    best = int(logits.argmax())
    return {best: float(logits.softmax(0)[best])}


def _is_right(outcome: Outcome, place: int) -> bool:
    return set(_guess(outcome, place)) == set(outcome.held_out[place].labels)


def _figure(outcome: Outcome, place: int) -> str:
    example, names = outcome.held_out[place], outcome.dataset.labels
    image = read_image(example.file)
    image.thumbnail((_SIDE_PX, _SIDE_PX))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85)
    data = base64.b64encode(file.getvalue()).decode()
    right = ", ".join(names[label] for label in example.labels) or "nothing"
    guessed = ", ".join(f"{names[label]} ({share:.0%})" for label, share in _guess(outcome, place).items()) or "nothing"
    text = f"{escape(guessed)} instead of {escape(right)}<br>{escape(example.file.name)}"
    return f'<figure><img alt="" src="data:image/jpeg;base64,{data}"><figcaption>{text}</figcaption></figure>'
