"""How well scores tell a model's own answers from those of its neighbours.

Three steps, each in a process of its own, files in a folder of the caller's choice:

    P=.venv/bin/python; B=benchmarks/verification_separation.py; D=/tmp/separation
    $P $B quantize $D                        # neighbours in quantization, out of the embedded model
    $P $B answer $D right                    # and each of the others; --model FILE for any other
    $P $B score $D right                     # and each of the others
    $P $B report $D --plot docs/verification.png      # the plot needs matplotlib

The claim is always that the embedded model answered. A neighbour with another vocabulary sends
its text in the embedded model's tokens, as a cheating host would have to. `--backend FILE` answers
with another build of the library's processor backend (LLAMA_CPP_LIB_PATH names its folder): an
honest host with other instructions. Questions are made up here; no one's content is written.
"""

import argparse
import ctypes
import importlib
import itertools
import json
import os
from pathlib import Path
from typing import Any, Final

from peerllm.peer.batching import BatchingEngine
from peerllm.peer.chat import ChatTemplate, ChatTurn
from peerllm.peer.errors import ModelError
from peerllm.peer.generation import AnswerScores
from peerllm.peer.llama import LlamaModel, load_library
from peerllm.peer.models import embedded_model_path
from peerllm.peer.sampling import Sampling
from peerllm.peer.sequences import Produced, ScoredAnswer
from peerllm.peer.verification import judge_answer, pool

ANSWERS: Final = 300
TOKENS: Final = 24
SLOTS: Final = 8
POOLED: Final = 10
QUANTIZATIONS: Final = {"Q8_0": 7, "Q5_0": 8, "Q4_K_M": 15, "Q3_K_M": 12, "Q4_0": 2}
SUBJECTS: Final = (
    "the sea", "a small village", "bread", "the moon", "trains", "a lost dog", "winter", "music",
    "an old bridge", "honey bees", "chess", "the desert", "a lighthouse", "tea", "gardens",
    "a broken clock", "rivers", "kites", "the night shift", "mountains",
)  # fmt: skip
REQUESTS: Final = (
    "Tell a short story about {}.", "Explain {} to a child.", "Write two sentences about {}.",
    "What should everyone know about {}?", "Give me three facts about {}.",
    "Describe {} without using colours.", "Why do people like {}?", "Write a poem about {}.",
    "What would happen without {}?", "Ask me a question about {}.",
    "Compare {} with something surprising.", "Write an advertisement that mentions {}.",
    "Invent a proverb about {}.", "How would a scientist describe {}?",
    "Begin a letter to a friend about {}.",
)  # fmt: skip
MODES: Final = {"greedy": Sampling(), "drawn": Sampling(temperature=0.8, top_p=0.95)}


def questions() -> list[str]:
    return [form.format(about) for form, about in itertools.product(REQUESTS, SUBJECTS)]


def sampling(mode: str, number: int) -> Sampling:
    like = MODES[mode]
    return Sampling(temperature=like.temperature, top_p=like.top_p, seed=1000 + number)


def quantize(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    library = load_library()
    for name, kind in QUANTIZATIONS.items():
        wanted = library.llama_model_quantize_default_params()
        wanted.ftype = kind
        wanted.allow_requantize = True
        target = os.fsencode(folder / f"{name}.gguf")
        source = os.fsencode(embedded_model_path())
        if library.llama_model_quantize(source, target, ctypes.byref(wanted)):
            raise SystemExit(f"{name} could not be made")


def answer(folder: Path, name: str, model_file: Path | None, threads: int) -> None:
    """Answers of one model, as tokens of the embedded one."""
    made = folder / f"{name}.gguf"
    model = LlamaModel(model_file or (made if made.is_file() else embedded_model_path()))
    try:
        template = ChatTemplate(model.chat_template)
    except ModelError:
        # A model that was never taught to converse goes on with the question.
        template = ChatTemplate("{{ messages[0].content }}\n")
    claimed = LlamaModel(embedded_model_path())
    foreign = claimed.vocabulary_size != model.vocabulary_size
    engine = BatchingEngine(model, slots=SLOTS, context_tokens=512, threads=threads)
    rows: list[dict[str, Any]] = []
    for mode in MODES:
        drawn: dict[int, list[int]] = {}
        ended: dict[int, bool] = {}
        for number, question in enumerate(questions()[:ANSWERS]):
            prompt = template.prompt([ChatTurn("user", question)], "", model)
            engine.submit(number, prompt, max_tokens=TOKENS, sampling=sampling(mode, number))
        while not engine.idle:
            for outcome in engine.step():
                assert isinstance(outcome, Produced)
                drawn.setdefault(outcome.identifier, []).extend(outcome.tokens)
                ended[outcome.identifier] = outcome.finish == "stop"
        for number, own in sorted(drawn.items()):
            text = b"".join(map(model.piece, own)).decode("utf-8", "replace")
            tokens = claimed.tokenize(text, control=False) if foreign else own
            rows.append({"mode": mode, "number": number, "tokens": tokens, "ended": ended[number]})
    engine.close()
    folder.joinpath(f"{name}.answers.json").write_text(json.dumps(rows))


def score(folder: Path, name: str, threads: int) -> None:
    """What the embedded model says to these answers."""
    model = LlamaModel(embedded_model_path())
    template = ChatTemplate(model.chat_template)
    engine = BatchingEngine(model, slots=SLOTS, context_tokens=512, threads=threads)
    answers = json.loads(folder.joinpath(f"{name}.answers.json").read_text())
    rows = [row for row in answers if row["tokens"]]
    asked = questions()
    for at, row in enumerate(rows):
        prompt = template.prompt([ChatTurn("user", asked[row["number"]])], "", model)
        engine.score(
            at,
            prompt,
            row["tokens"],
            sampling=sampling(row["mode"], row["number"]),
            ended=row["ended"],
        )
    while not engine.idle:
        for outcome in engine.step():
            assert isinstance(outcome, ScoredAnswer)
            rows[outcome.identifier] |= {
                "margins": outcome.margins,
                "drawn": outcome.would_draw,
            }
    engine.close()
    folder.joinpath(f"{name}.scores.json").write_text(json.dumps(rows))


def area(honest: list[float], foreign: list[float]) -> float:
    """Chance that a foreign value lies above an honest one: the area under the ROC curve."""
    above = sum((f > h) + (f == h) / 2 for f in foreign for h in honest)
    return above / (len(honest) * len(foreign))


def caught_at(honest: list[float], foreign: list[float], false_alarms: float) -> float:
    """Share of foreign values beyond the bound that so many honest ones exceed."""
    bound = sorted(honest)[min(len(honest) - 1, int((1 - false_alarms) * len(honest)))]
    return sum(value > bound for value in foreign) / len(foreign)


def suspicion(scores: AnswerScores, mode: str) -> float:
    """What a verdict goes by; larger is more foreign."""
    if mode == "greedy":
        return sum(scores.margins) / len(scores.margins)
    return 1 - sum(scores.would_draw) / len(scores.would_draw)


def read(folder: Path, name: str, mode: str, together: int) -> list[AnswerScores]:
    rows = json.loads(folder.joinpath(f"{name}.scores.json").read_text())
    single = [
        AnswerScores(0, tuple(row["drawn"]), tuple(row["margins"]))
        for row in rows
        if row["mode"] == mode
    ]
    # Answers of one host to different kinds of question, as an auditor would meet them.
    groups = len(single) // together
    return [pool(single[at::groups][:together]) for at in range(groups)]


def verdicts(scores: list[AnswerScores], mode: str) -> str:
    counts = {"honest": 0, "undecided": 0, "foreign": 0}
    for one in scores:
        judged = judge_answer(one, greedy=mode == "greedy", same_logits=False).judgement
        counts[judged] += 1
    return " / ".join(f"{count / len(scores):.3f}" for count in counts.values())


def report(folder: Path, honest: str, plot: Path | None) -> None:
    names = sorted(path.name.removesuffix(".scores.json") for path in folder.glob("*.scores.json"))
    curves: list[tuple[str, str, int, list[float], list[float]]] = []
    for mode, together in itertools.product(MODES, (1, POOLED)):
        base = [suspicion(one, mode) for one in read(folder, honest, mode, together)]
        print(f"\n{mode}, {together} answers of {TOKENS} tokens a verdict; honest: {honest}")
        print(
            f"{'answered by':>16} {'n':>4} {'median':>8} {'p95':>8} {'area':>7} "
            f"{'caught at 1%':>13}  honest / undecided / foreign"
        )
        for name in names:
            scores = read(folder, name, mode, together)
            values = sorted(suspicion(one, mode) for one in scores)
            print(
                f"{name:>16} {len(values):4} {values[len(values) // 2]:8.4f} "
                f"{values[int(0.95 * len(values))]:8.4f} {area(base, values):7.4f} "
                f"{caught_at(base, values, 0.01):13.3f}  {verdicts(scores, mode)}"
            )
            if name not in (honest, "right"):
                curves.append((name, mode, together, base, values))
    if plot is not None:
        draw(curves, plot)


def draw(curves: list[tuple[str, str, int, list[float], list[float]]], plot: Path) -> None:
    # Only here: nothing else needs the library.
    pyplot = importlib.import_module("matplotlib.pyplot")
    pyplot.switch_backend("agg")

    kinds = list(dict.fromkeys((mode, together) for _, mode, together, _, _ in curves))
    figure, axes = pyplot.subplots(1, len(kinds), figsize=(4 * len(kinds), 4.2), sharey=True)
    for axis, kind in zip(axes, kinds, strict=True):
        for name, mode, together, base, values in curves:
            if (mode, together) != kind:
                continue
            bounds = sorted({*base, *values}, reverse=True)
            alarms = [0.0, *(sum(v >= b for v in base) / len(base) for b in bounds)]
            caught = [0.0, *(sum(v >= b for v in values) / len(values) for b in bounds)]
            axis.step(alarms, caught, where="post", label=name)
        axis.set_title(f"{kind[0]}, {kind[1]} answer{'s' * (kind[1] > 1)} a verdict", fontsize=10)
        axis.set_xlabel("honest answers suspected")
        axis.set_xscale("symlog", linthresh=0.01)
        axis.set_xlim(0, 1)
        axis.set_ylim(0, 1.02)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("foreign answers suspected")
    axes[0].legend(fontsize=8, loc="lower right")
    figure.tight_layout()
    figure.savefig(plot, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=("quantize", "answer", "score", "report"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("name", nargs="?", default="right")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--backend", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--honest", default="right", help="whose answers the curves compare with")
    parser.add_argument("--plot", type=Path)
    wanted = parser.parse_args()
    if wanted.backend:
        loader = ctypes.CDLL(str(wanted.backend.with_name("libggml.so")), mode=ctypes.RTLD_GLOBAL)
        loader.ggml_backend_load.restype = ctypes.c_void_p
        if not loader.ggml_backend_load(os.fsencode(wanted.backend)):
            raise SystemExit(f"{wanted.backend} cannot be loaded")
    match wanted.step:
        case "quantize":
            quantize(wanted.folder)
        case "answer":
            answer(wanted.folder, wanted.name, wanted.model, wanted.threads)
        case "score":
            score(wanted.folder, wanted.name, wanted.threads)
        case "report":
            report(wanted.folder, wanted.honest, wanted.plot)


if __name__ == "__main__":
    main()
